"""How the requests of a pool lie on its pods, and what that costs in capacity.

Behind a plain Service with keep-alive clients stay with the pods they know: a new pod may get nothing, an
old one twice its share. Chance alone spreads shares too, so only what exceeds it counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from joulery.domain import reasons
from joulery.domain.fleet import SHARE_WINDOW_S, PoolState, Replica, ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class Traffic:
    """Shares of the pods that have been ready for a whole window.

    Attributes:
        pods: how many were compared.
        busiest: pod with the largest share.
        busiest_share: its share of their requests.
        idle: pods that got nothing all the while: they count as not serving.
        spread: largest over mean share of the others, 1 within what counts as even.
        unevenness: what capacity is divided by, bounded.
    """

    pods: int
    busiest: str
    busiest_share: float
    idle: tuple[str, ...]
    spread: float
    unevenness: float


def traffic_of(
    state: PoolState, past: Traffic | None, now_s: float, settings: PlannerSettings
) -> Traffic | None:
    """Shares now, the spread held until it has drifted; None where there is too little to tell from."""
    rates = {r.name: r.requests_per_s for r in _settled(state, now_s) if r.requests_per_s is not None}
    requests = sum(rates.values()) * SHARE_WINDOW_S
    if len(rates) < 2 or requests < settings.least_share_requests * len(rates):
        return None
    idle = tuple(sorted(name for name, rate in rates.items() if rate <= 0.0))
    busy = [rate * SHARE_WINDOW_S for rate in rates.values() if rate > 0.0]
    spread = _held(past, _spread(busy, settings), settings)
    busiest = max(rates, key=lambda name: (rates[name], name))
    return Traffic(
        pods=len(rates),
        busiest=busiest,
        busiest_share=rates[busiest] * SHARE_WINDOW_S / requests,
        idle=idle,
        spread=spread,
        unevenness=min(settings.most_uneven, spread * len(rates) / len(busy)),
    )


def traffic_finding(key: ObjectKey, traffic: Traffic | None) -> Finding | None:
    """The condition `TrafficBalanced`; None where shares are not known."""
    if traffic is None:
        return None
    condition = ConditionType.TRAFFIC_BALANCED
    if traffic.unevenness <= 1.0:
        even = f"the {traffic.pods} ready pods of pool {key} get even shares of its requests"
        return Finding(condition, ConditionStatus.TRUE, Verdict(reasons.TRAFFIC_EVEN, even))
    return Finding(condition, ConditionStatus.FALSE, Verdict(reasons.UNEVEN_TRAFFIC, _uneven(key, traffic)))


def _settled(state: PoolState, now_s: float) -> Iterable[Replica]:
    for variant in state.variants:
        for replica in variant.in_phase(ReplicaPhase.READY):
            if replica.ready_since_s is not None and now_s - replica.ready_since_s >= SHARE_WINDOW_S:
                yield replica


def _spread(requests: Sequence[float], settings: PlannerSettings) -> float:
    """Largest over mean number of requests, less what chance may have added to the largest (Poisson)."""
    largest = max(requests)
    sure = largest - settings.share_deviations * math.sqrt(largest)
    return max(1.0, sure * len(requests) / sum(requests))


def _held(past: Traffic | None, found: float, settings: PlannerSettings) -> float:
    held = past.spread if past is not None else 1.0
    return held if abs(found / held - 1.0) <= settings.share_drift else found


def _uneven(key: ObjectKey, traffic: Traffic) -> str:
    idle = f"; {_named(traffic.idle)} got none of them" if traffic.idle else ""
    return (
        f"of the requests of pool {key} in the last {SHARE_WINDOW_S:.0f} s pod {traffic.busiest} got "
        f"{100.0 * traffic.busiest_share:.0f} %, an even share of {traffic.pods} pods is "
        f"{100.0 / traffic.pods:.0f} %{idle}; capacity is counted as 1/{traffic.unevenness:.2f} of what even "
        f"shares carry; clients that keep connections open stay with one pod: let them reconnect from time to "
        f"time (keep-alive limits), or balance by request with a gateway or a client-side load balancer"
    )


def _named(pods: Sequence[str]) -> str:
    more = f" and {len(pods) - 3} more" if len(pods) > 3 else ""
    return ", ".join(pods[:3]) + more
