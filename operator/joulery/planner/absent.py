"""Replicas that were asked for and cannot be relied on, in words: how many, what they lack, since when, the cure."""

from __future__ import annotations

from collections.abc import Iterable

from joulery.domain import reasons
from joulery.domain.fleet import Replica, ReplicaPhase
from joulery.domain.moments import utc
from joulery.domain.pool import Variant
from joulery.planner.view import PoolView


def absent_replicas(view: PoolView) -> str | None:
    """What is absent of a pool, variant by variant; None where nothing is."""
    texts = [text for variant in view.pool.variants for text in _absent(view, variant)]
    return "; ".join(texts) if texts else None


def absent_reason(view: PoolView) -> str:
    """Whether nodes or starts are what absent replicas lack."""
    states = (s for _, s in view.variants())
    homeless = any(s.in_phase(ReplicaPhase.UNSCHEDULED) for s in states)
    return reasons.UNSCHEDULABLE if homeless else reasons.REPLICAS_NOT_READY


def _absent(view: PoolView, variant: Variant) -> Iterable[str]:
    absent = view.counts[variant.name].absent if variant.name in view.counts else 0
    state = view.state.variant(variant.name)
    homeless = state.in_phase(ReplicaPhase.UNSCHEDULED)[:absent]
    unready = _oldest(state.in_phase(ReplicaPhase.STARTING))[: absent - len(homeless)]
    if homeless:
        gpus = f"{variant.tensor_parallel_size} free GPUs of {variant.accelerator}"
        yield (
            f"{len(homeless)} of {variant.name} found no node with {gpus}{_since(homeless)}, and "
            f"{_count_as(homeless)} absent: free such GPUs, add a node, or see why the scheduler refuses "
            f"{_pods(homeless)} with kubectl describe pod"
        )
    if unready:
        places = ", ".join(sorted({str(r.node) for r in unready}))
        yield (
            f"{len(unready)} of {variant.name} on {places} did not become ready{_since(unready)}, and "
            f"{_count_as(unready)} absent: see kubectl logs and kubectl describe of {_pods(unready)}"
        )
    rest = absent - len(homeless) - len(unready)
    if rest > 0:
        yield f"{rest} of {variant.name} are not created by the workload's controller and count as absent"


def _oldest(replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
    return tuple(sorted(replicas, key=lambda r: (r.created_s, r.name)))


def _since(replicas: tuple[Replica, ...]) -> str:
    return f" since {utc(min(r.created_s for r in replicas))}"


def _pods(replicas: tuple[Replica, ...]) -> str:
    first, *rest = sorted(r.name for r in replicas)
    return f"pod {first}" + (f" and {len(rest)} more" if rest else "")


def _count_as(replicas: tuple[Replica, ...]) -> str:
    return "counts as" if len(replicas) == 1 else "count as"
