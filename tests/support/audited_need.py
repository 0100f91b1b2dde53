"""Whether replicas ever fell below what the load needed, from the audit log and the load that was injected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from joulery.demo.actions import ScaleWrite
from joulery.domain.pool import Pool
from live_centre import PATIENCE, SteppedLoad, capacity_rps

# A rate is taken over four scrapes of a second, and read once a second: what was observed at a write lies
# between the rates that were injected within so long before it.
OBSERVED_OVER_S = 8.0 * PATIENCE
_RATE_WINDOW_S = 4.0


def below_need(
    pool: Pool, writes: Iterable[ScaleWrite], load: SteppedLoad, running: Mapping[str, int]
) -> list[str]:
    """Writes that took away replicas and left fewer than the observed load needs at the highest clock."""
    rates = {v.target.name: capacity_rps(pool, v.name) for v in pool.variants}
    asked = {v.target.name: running.get(v.name, 0) for v in pool.variants}
    found: list[str] = []
    for write in writes:
        asked[write.target] = write.want
        used = {target: n for target, n in asked.items() if n}
        weakest = min((rates[target] for target in used), default=math.inf)
        need = math.ceil(_least_rate(load, write.at_s) / weakest)
        if write.want < write.seen and sum(used.values()) < need:
            found.append(f"{write.target} {write.seen} -> {write.want} leaves {asked}, {need} are needed")
    return found


def repeated(writes: Iterable[ScaleWrite]) -> list[tuple[str, str]]:
    """Targets that were written more than once under one plan id."""
    counts = Counter((w.target, w.user_agent) for w in writes)
    return [write for write, count in counts.items() if count > 1]


def _least_rate(load: SteppedLoad, at_s: float) -> float:
    since_s = at_s - OBSERVED_OVER_S
    within = [rate for step_s, rate in load.steps if since_s <= step_s <= at_s]
    ends_s = (
        since_s + _RATE_WINDOW_S + offset_s for offset_s in range(round(OBSERVED_OVER_S - _RATE_WINDOW_S) + 1)
    )
    arrived = [load.arrived(end_s - _RATE_WINDOW_S, end_s) / _RATE_WINDOW_S for end_s in ends_s]
    return min([load.rate_at(since_s), *within, *arrived])
