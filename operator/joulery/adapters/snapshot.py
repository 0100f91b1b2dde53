"""From manifests to the truth about each variant: what bounds it, and what stops or holds it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from joulery.adapters.engine_flags import stale
from joulery.adapters.limit_view import budgets_of
from joulery.adapters.node_view import allocatable_gpus, is_draining
from joulery.adapters.pending_view import priority_of
from joulery.adapters.pod_view import Manifest
from joulery.adapters.provisioner_view import disruptable
from joulery.adapters.scheduling import allows, repelling_taints
from joulery.adapters.workload_view import (
    disrupted,
    disruption,
    pod_spec_of,
    rollout,
    template_of,
    uncreated,
    uncreated_since_s,
    unscheduled,
)
from joulery.domain.fleet import VariantState
from joulery.domain.limits import Limits, Provisioner
from joulery.domain.pool import Pool, Variant


@dataclass(frozen=True, slots=True)
class Workload:
    """A variant's workload, whole, with its living pods."""

    manifest: Manifest
    pods: tuple[Manifest, ...]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all variants share: GPU nodes, those with taints and those being drained among them."""

    nodes: tuple[Manifest, ...]
    tainted: tuple[Manifest, ...]
    draining: frozenset[str]
    budgets: Sequence[Manifest]
    provisioner: Provisioner | None

    @classmethod
    def of(
        cls, nodes: Sequence[Manifest], budgets: Sequence[Manifest], provisioner: Provisioner | None
    ) -> Surroundings:
        """From the lists of one snapshot."""
        with_gpus = tuple(n for n in nodes if allocatable_gpus(n))
        tainted = tuple(n for n in with_gpus if repelling_taints(n))
        draining = frozenset(n["metadata"]["name"] for n in nodes if is_draining(n))
        return cls(with_gpus, tainted, draining, budgets, provisioner)


def true_state(
    state: VariantState, pool: Pool, variant: Variant, workload: Workload, around: Surroundings
) -> VariantState:
    """The state with what its workload, nodes and budgets say; a hold that it has already stays the first."""
    where = f"{variant.target} in namespace {pool.key.namespace}"
    template = template_of(workload.manifest)
    hold = state.hold or (stale(template, pool, variant, where) if template else None)
    return replace(state, hold=hold, limits=_limits(pool, workload, around, where))


def _limits(pool: Pool, workload: Workload, around: Surroundings, where: str) -> Limits:
    manifest, pods = workload.manifest, workload.pods
    notes = (
        uncreated(manifest, where),
        unscheduled(pods),
        disruptable(template_of(manifest), around.provisioner, where),
    )
    return Limits(
        keep=rollout(manifest, pods, where) or disruption(pods, around.draining, where),
        barred=_barred(workload, around),
        budgets=budgets_of(around.budgets, pool.key.namespace, pods),
        uncreated_since_s=uncreated_since_s(manifest),
        leaving=frozenset(p["metadata"]["name"] for p in pods if _leaves(p, around.draining)),
        notes=tuple(note for note in notes if note is not None),
    )


def _barred(workload: Workload, around: Surroundings) -> frozenset[str]:
    """GPU nodes that new pods may not go to; where a kind has its template elsewhere its pods tell of it."""
    spec = pod_spec_of(workload.manifest) or next((pod["spec"] for pod in workload.pods), {})
    chooses = bool(spec.get("nodeSelector")) or "nodeAffinity" in (spec.get("affinity") or {})
    judged = around.nodes if chooses else around.tainted
    return frozenset(n["metadata"]["name"] for n in judged if not allows(n, spec))


def _leaves(pod: Manifest, draining: frozenset[str]) -> bool:
    return disrupted(pod) is not None or pod.get("spec", {}).get("nodeName") in draining


def least_priority(workloads: Sequence[Workload]) -> int:
    """The lowest priority among pods of workloads; a template without pods counts as the default, 0."""
    known = [priority_of(pod) for w in workloads for pod in (w.pods or (template_of(w.manifest),))]
    return min(known, default=0)
