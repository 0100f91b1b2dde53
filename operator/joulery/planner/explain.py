"""A decision as text: load, what was chosen, what bound it, and what was rejected and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet, PoolState
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PoolPlan
from joulery.planner.decision import Decision


def explain(decision: Decision, fleet: Fleet, demand: Mapping[ObjectKey, Demand]) -> str:
    """Several lines per pool; the same reasons as in status and Events."""
    lines = [*_plan_lines(decision)]
    for state in fleet.pools:
        lines += ["", *_pool_lines(decision, state, demand.get(state.pool.key))]
    return "\n".join(lines)


def _plan_lines(decision: Decision) -> Iterator[str]:
    plan = decision.plan
    yield f"plan {plan.id} ({plan.kind}), engine {plan.engine}, {plan.status}"
    if plan.pools:
        yield f"cost {plan.cost_w:.0f} W with switching, proven bound {plan.bound_w:.0f} W"


def _pool_lines(decision: Decision, state: PoolState, load: Demand | None) -> Iterator[str]:
    pool = state.pool
    spares = f", to be held with {pool.spare_instances} lost" if pool.spare_instances else ""
    yield f"pool {pool.key}: {pool.mode}, knobs {', '.join(sorted(pool.knobs)) or 'none'}{spares}"
    yield f"  load: {_load(load)}"
    running = ", ".join(f"{s.ready}/{s.desired} x {s.variant}" for s in state.variants if s.desired)
    yield f"  runs: {running or 'nothing'} (ready/asked for)"
    part = decision.plan.pool(pool.key)
    yield f"  plan: {_part(part)}"
    for candidate in decision.history.pools[pool.key].candidates:
        mark = "*" if part is not None and candidate.variant == part.variant else " "
        yield (
            f"   {mark} {candidate.instances} x {candidate.variant} at {candidate.clock_mhz} MHz: "
            f"{candidate.watts:.0f} W, carries {candidate.capacity_rps:.2f} requests/s{_note(candidate.note)}"
        )
    for verdict in decision.decisions[pool.key]:
        yield f"  rule {verdict.reason}: {verdict.message}"
    for change in decision.changes:
        if change.pool == pool.key:
            yield f"  write {change.target}: {change.seen} -> {change.want} ({change.reason})"
    for finding in decision.findings[pool.key]:
        yield f"  {finding.condition}={finding.status} {finding.verdict.reason}: {finding.verdict.message}"


def _load(load: Demand | None) -> str:
    if load is None:
        return "not measured"
    trouble = f" ({load.problem.reason}: {load.problem.message})" if load.problem is not None else ""
    return (
        f"{load.requests_per_s:.2f} requests/s, {load.prompt_tokens_per_s:.0f} prompt and "
        f"{load.generation_tokens_per_s:.0f} generation tokens/s{trouble}"
    )


def _part(part: PoolPlan | None) -> str:
    if part is None:
        return "none"
    shed = f", sheds {100.0 * part.shed_fraction:.0f} %" if part.shed_fraction > 0.0 else ""
    return (
        f"{part.replicas} x {part.variant} at {part.clock_mhz} MHz for a peak of {part.planned_rate_rps:.2f} "
        f"requests/s: carries {part.capacity_rps:.2f}, draws {part.predicted_w:.0f} W{shed}"
    )


def _note(note: str) -> str:
    return f"; {note}" if note else ""
