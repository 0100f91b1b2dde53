"""What waits, and what more will wait until an instance that is asked for now could take of it."""

from __future__ import annotations

from dataclasses import replace

from joulery.domain.demand import Demand
from joulery.domain.fleet import ReplicaPhase
from joulery.planner.forecast import Forecast
from joulery.planner.history import PoolHistory
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import PoolView

_ON_THE_WAY = (ReplicaPhase.STARTING, ReplicaPhase.UNSCHEDULED)


def with_backlog(ahead: Forecast, waiting_requests: float, over_s: float) -> Forecast:
    """The forecast with what waits worked off over so many seconds, beside what comes.

    Shares are equal whoever waits, so what came while capacity was missing stays in the queues of the instances that
    were there: with room for new requests alone it would keep all behind it late for many times as long.
    """
    backlog_rps = waiting_requests / over_s
    return replace(
        ahead, peak_rps=ahead.peak_rps + backlog_rps, peak_now_rps=ahead.peak_now_rps + backlog_rps
    )


def backlog_requests(
    view: PoolView, before: PoolHistory, demand: Demand, ahead: Forecast, *, startup_s: float, now_s: float
) -> float:
    """Requests that will wait by the time that an instance asked for now, or before, could serve.

    Args:
        view: the pool, its counts those of this poll.
        before: its history before this poll, for what waited then.
        demand: of this poll, without a problem.
        ahead: the load alone.
        startup_s: from asking for an instance until it serves.
        now_s: time of this poll.
    """
    growth = min(_measured_growth_rps(before.last_good_demand, demand), _excess_rps(view, before, ahead))
    return demand.waiting_requests + growth * _until_more_s(view, startup_s, now_s)


def catch_up_s(startup_s: float, settings: PlannerSettings) -> float:
    """How long working it off may take: a share of what an instance needs to come."""
    return max(settings.catch_up_share * startup_s, settings.least_catch_up_s)


def _measured_growth_rps(last: Demand | None, demand: Demand) -> float:
    """By how much the queue has grown since the last good poll; 0 where there was none."""
    passed_s = demand.observed_at_s - last.observed_at_s if last is not None else 0.0
    if last is None or passed_s <= 0.0:
        return 0.0
    return max(0.0, demand.waiting_requests - last.waiting_requests) / passed_s


def _excess_rps(view: PoolView, before: PoolHistory, ahead: Forecast) -> float:
    """Load beyond what serves now carries: a queue that grows without it is one burst's."""
    rates = {name: before.max_rate_rps(name) for name, counts in view.counts.items() if counts.serving > 0}
    parties = [(view.counts[name].serving, rate) for name, rate in rates.items() if rate is not None]
    return max(0.0, ahead.level_rps - view.sharing.without_spares().capacity_rps(parties)) if parties else 0.0


def _until_more_s(view: PoolView, startup_s: float, now_s: float) -> float:
    """Until all that is coming serves; a whole start-up where nothing is, or nothing is there yet of it."""
    created = [r.created_s for _, state in view.variants() for r in state.replicas if r.phase in _ON_THE_WAY]
    coming = sum(counts.coming for counts in view.counts.values())
    if not created or coming > len(created):
        return startup_s
    return min(startup_s, max(0.0, max(created) + startup_s - now_s))
