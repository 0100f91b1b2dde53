"""How busy each replica is: what Prometheus tells by pod, put into the snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from joulery.domain.fleet import Fleet, PoolState, Replica, VariantState

# Running requests by (namespace, pod).
RunningByPod = Mapping[tuple[str, str], float]


def with_running_requests(fleet: Fleet, running: RunningByPod) -> Fleet:
    """The fleet, each replica with its running requests; a pod without a series stays unknown, not idle."""
    return replace(fleet, pools=tuple(_pool(state, running) for state in fleet.pools)) if running else fleet


def _pool(state: PoolState, running: RunningByPod) -> PoolState:
    namespace = state.pool.key.namespace
    return replace(state, variants=tuple(_variant(v, namespace, running) for v in state.variants))


def _variant(state: VariantState, namespace: str, running: RunningByPod) -> VariantState:
    return replace(state, replicas=tuple(_replica(r, namespace, running) for r in state.replicas))


def _replica(replica: Replica, namespace: str, running: RunningByPod) -> Replica:
    requests = running.get((namespace, replica.name))
    if requests is None or not math.isfinite(requests):
        return replica
    return replace(replica, running_requests=max(0, round(requests)))
