"""How busy each replica is: what Prometheus tells by pod, put into the snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from joulery.domain.fleet import Fleet, PoolState, Replica, VariantState

# A figure by (namespace, pod).
ByPod = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class PodLoads:
    """What each pod had to do: requests running, and per second over the last `SHARE_WINDOW_S`; answers begun.

    `measured_s` is when the running ones were counted: a sample may be read long after it was scraped.
    """

    running: ByPod = field(default_factory=dict)
    requests_per_s: ByPod = field(default_factory=dict)
    answers: ByPod = field(default_factory=dict)
    measured_s: ByPod = field(default_factory=dict)


def with_pod_loads(fleet: Fleet, loads: PodLoads) -> Fleet:
    """The fleet, each replica with its load; a pod without a series stays unknown, not idle."""
    return replace(fleet, pools=tuple(_pool(state, loads) for state in fleet.pools))


def _pool(state: PoolState, loads: PodLoads) -> PoolState:
    namespace = state.pool.key.namespace
    return replace(state, variants=tuple(_variant(v, namespace, loads) for v in state.variants))


def _variant(state: VariantState, namespace: str, loads: PodLoads) -> VariantState:
    return replace(state, replicas=tuple(_replica(r, namespace, loads) for r in state.replicas))


def _replica(replica: Replica, namespace: str, loads: PodLoads) -> Replica:
    running = _known(loads.running, namespace, replica)
    measured_s = _known(loads.measured_s, namespace, replica) if running is not None else None
    rate = _known(loads.requests_per_s, namespace, replica)
    answers = _known(loads.answers, namespace, replica)
    return replace(
        replica,
        running_requests=replica.running_requests if running is None else round(running),
        running_measured_s=replica.running_measured_s if running is None else measured_s,
        requests_per_s=replica.requests_per_s if rate is None else rate,
        answers=replica.answers if answers is None else round(answers),
    )


def _known(figures: ByPod, namespace: str, replica: Replica) -> float | None:
    figure = figures.get((namespace, replica.name))
    return max(0.0, figure) if figure is not None and math.isfinite(figure) else None
