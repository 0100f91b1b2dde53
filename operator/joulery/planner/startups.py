"""Start-up times, learned until a replica is warm: what is counted on sooner is not there yet."""

from __future__ import annotations

from dataclasses import replace

from joulery.domain.memory import PoolMemory
from joulery.domain.pool import Variant
from joulery.planner.history import PoolHistory, remembered
from joulery.planner.replicas import is_warm, warm_after_s
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import PoolView


def with_starts(
    view: PoolView, *, now_s: float, last_poll_s: float | None, settings: PlannerSettings
) -> PoolHistory:
    """The history with start-up times of replicas that have become warm since the last poll.

    A replica that was there and warm at the first poll of a process started at a time that nobody saw.
    """
    past = view.past
    memory, cold = past.memory, set[str]()
    for variant, state in view.variants():
        for replica in state.replicas:
            if not is_warm(replica, now_s, settings):
                cold.add(replica.uid)
            elif replica.uid in past.cold or (last_poll_s is not None and replica.created_s > last_poll_s):
                memory = _learned(memory, variant, warm_after_s(replica, now_s, settings), settings)
    return replace(past, memory=memory, cold=tuple(sorted(cold)))


def _learned(memory: PoolMemory, variant: Variant, seconds: float, settings: PlannerSettings) -> PoolMemory:
    if seconds > settings.startup_credible_factor * max(variant.startup_s, 1.0):
        return memory
    known = memory.variant(variant.name)
    before = known.startup_s if known.startup_s is not None else seconds
    slower = before + settings.startup_decay * (seconds - before)
    return remembered(memory, replace(known, startup_s=max(seconds, slower)))
