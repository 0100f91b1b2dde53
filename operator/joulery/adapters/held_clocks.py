"""Which replicas their load holds at the highest clock, and since when: what agents report, put into the snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from joulery.adapters.pod_view import Manifest, seconds_of
from joulery.domain.fleet import PoolState, VariantState
from joulery.domain.keys import ObjectKey


def held_since_s(
    gpu_nodes: Mapping[str, Manifest], ages_s: Mapping[str, float], now_s: float
) -> dict[ObjectKey, float]:
    """By pod since when it has been held, in seconds since the Unix epoch by our clock.

    An agent's times are only compared with each other: how long a pod was held when it reported, and how long
    ago we saw that report.

    Args:
        gpu_nodes: those whose agent reports, by name.
        ages_s: how long ago each node's newest report was first seen.
        now_s: time of the snapshot.
    """
    found: dict[ObjectKey, float] = {}
    for name, gpu_node in gpu_nodes.items():
        status = gpu_node.get("status", {})
        for gpu in status.get("gpus") or ():
            held_s = _held_s(gpu, status)
            if held_s is not None:
                pod = ObjectKey(gpu["ownerNamespace"], gpu["ownerPod"])
                since_s = now_s - ages_s.get(name, 0.0) - held_s
                found[pod] = max(found.get(pod, since_s), since_s)
    return found


def _held_s(gpu: Mapping[str, Any], status: Mapping[str, Any]) -> float | None:
    since, reported = gpu.get("highestClockSinceTime"), status.get("reportTime")
    if since is None or reported is None or not gpu.get("ownerPod"):
        return None
    return max(0.0, seconds_of(reported) - seconds_of(since))


def with_held_clocks(states: Sequence[PoolState], held: Mapping[ObjectKey, float]) -> tuple[PoolState, ...]:
    """The states, each replica with the time since which it has been held."""
    return tuple(_pool(state, held) for state in states) if held else tuple(states)


def _pool(state: PoolState, held: Mapping[ObjectKey, float]) -> PoolState:
    namespace = state.pool.key.namespace
    return replace(state, variants=tuple(_variant(v, namespace, held) for v in state.variants))


def _variant(state: VariantState, namespace: str, held: Mapping[ObjectKey, float]) -> VariantState:
    replicas = (replace(r, highest_since_s=held.get(ObjectKey(namespace, r.name))) for r in state.replicas)
    return replace(state, replicas=tuple(replicas))
