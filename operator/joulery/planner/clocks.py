"""From a plan to what node agents are told: a clock table per variant, and which replica follows which."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from joulery.domain.clock_table import ClockGuards, ClockTable
from joulery.domain.fleet import Fleet, Replica, ReplicaPhase
from joulery.domain.plan import Binding, NodeDirective, Plan
from joulery.domain.pool import Knob, Variant
from joulery.planner.pricing import Pricing
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import PoolView
from joulery.serving.points import OperatingPoints, clock_table

# A batch filled beyond this share of the engine's limit is about to queue.
_FULL_BATCH_SHARE = 0.75


def tables_of(
    view: PoolView, pricing: Pricing, settings: PlannerSettings
) -> tuple[tuple[str, ClockTable], ...]:
    """A table per variant with operating points, for replicas of the old variant run on during a reshard."""
    if not view.has(Knob.CLOCKS):
        return ()
    return tuple(
        (v.name, table_of(view, v, pricing.points[v.name], settings))
        for v in view.pool.variants
        if v.name in pricing.points
    )


def table_of(
    view: PoolView, variant: Variant, points: OperatingPoints, settings: PlannerSettings
) -> ClockTable:
    """The variant's table within the policy's bounds, named by its content; pinned to the highest clock where
    no clock meets the objective.
    """
    lowest, highest = points.clocks_mhz[0], points.clocks_mhz[-1]
    rows = clock_table(points, headroom=settings.clock_headroom, floor_mhz=lowest, ceiling_mhz=highest)
    guards = ClockGuards(max_running_requests=int(_FULL_BATCH_SHARE * variant.max_num_seqs))
    table = ClockTable(
        "",
        rows,
        lowest if rows else highest,
        highest,
        guards,
        settings.clock_dwell_s,
        # Whole percents, as the GPUNode carries them.
        prompt_weight=round(points.prompt_time_share, 2),
    )
    digest = hashlib.sha256(repr((variant.accelerator, table)).encode()).hexdigest()[:10]
    return replace(table, name=f"{view.key.name}-{variant.name}-{digest}")


def directives(fleet: Fleet, views: Sequence[PoolView], plan: Plan) -> tuple[NodeDirective, ...]:
    """One directive per node; a node without bindings is told so, and its agent resets what it had set."""
    bound: dict[str, list[tuple[Binding, ClockTable]]] = {node.name: [] for node in fleet.nodes}
    for view in views:
        if view.acts and view.has(Knob.CLOCKS):
            for node, binding, table in _bindings(view, plan):
                if node in bound:
                    bound[node].append((binding, table))
    return tuple(_directive(node, plan.id, bound[node]) for node in sorted(bound))


def _bindings(view: PoolView, plan: Plan) -> list[tuple[str, Binding, ClockTable]]:
    part = plan.pool(view.key)
    tables = dict(part.tables) if part is not None else {}
    return [
        (replica.node, _binding(view, replica, tables[state.variant].name), tables[state.variant])
        for state in view.state.variants
        if state.variant in tables
        for replica in state.replicas
        if replica.node is not None and replica.address and _is_bound(replica)
    ]


def _is_bound(replica: Replica) -> bool:
    return replica.phase in (ReplicaPhase.READY, ReplicaPhase.STARTING)


def _binding(view: PoolView, replica: Replica, table: str) -> Binding:
    engine = view.pool.engine
    return Binding(
        pod_uid=replica.uid,
        namespace=view.key.namespace,
        pod=replica.name,
        address=replica.address or "",
        metrics_port=engine.metrics_port,
        metrics_path=engine.metrics_path,
        table=table,
    )


def _directive(node: str, plan_id: str, bound: list[tuple[Binding, ClockTable]]) -> NodeDirective:
    tables = {table.name: table for _, table in bound}
    return NodeDirective(
        node,
        plan_id,
        tuple(tables[name] for name in sorted(tables)),
        tuple(sorted((b for b, _ in bound), key=lambda b: (b.namespace, b.pod))),
    )
