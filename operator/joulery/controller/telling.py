"""The end of a cycle: news to Events, figures to metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from joulery.controller.reports import joules_per_token
from joulery.controller.transitions import Transitions
from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.report import PoolReport
from joulery.domain.verdict import Verdict
from joulery.planner.decision import Decision
from joulery.ports import EventSink, Observation, WriteOutcome
from joulery.telemetry.metrics import ControllerMetrics, PoolFigures

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one cycle saw, decided and did."""

    observation: Observation
    demand: Mapping[ObjectKey, Demand]
    decision: Decision
    reports: Sequence[PoolReport]
    scaled: Sequence[tuple[ScaleChange, WriteOutcome]]


@dataclass(frozen=True, slots=True)
class _News:
    pool: ObjectKey
    verdict: Verdict
    is_warning: bool = False


class Telling:
    """Remembers how conditions stood, so that only what changed is told."""

    def __init__(self, events: EventSink, metrics: ControllerMetrics) -> None:
        self._events = events
        self._metrics = metrics
        self._transitions = Transitions()

    def tell_policies(self, observation: Observation) -> None:
        """Log policies that cannot be understood, once each."""
        for problem in self._transitions.new_policy_problems(observation.policy_problems):
            _log.warning("policy not understood", extra={"detail": problem})

    async def tell(self, cycle: Cycle) -> None:
        """Post what is new, and record figures of all pools."""
        found = self._transitions.news(cycle.reports, cycle.observation.rejected)
        changed = [_News(pool, f.verdict, f.status != "True") for pool, f in found]
        news = (*_of_writes(cycle), *_notices(cycle), *_once(changed, cycle))
        await asyncio.gather(*(self._events.emit(n.pool, n.verdict, warning=n.is_warning) for n in news))
        self._metrics.record_pools(
            PoolFigures(r, cycle.demand.get(r.pool), joules_per_token(r.measured_w, cycle.demand.get(r.pool)))
            for r in cycle.reports
        )


def _once(changed: Sequence[_News], cycle: Cycle) -> list[_News]:
    """One piece of news per reason: Ready repeats another condition, and a condition may repeat a write."""
    written = {(c.pool, o.verdict.reason) for c, o in cycle.scaled}
    first = {(n.pool, n.verdict.reason): n for n in reversed(changed)}
    return [news for told, news in first.items() if told not in written]


def _of_writes(cycle: Cycle) -> Iterator[_News]:
    """Every write, and the replicas that one took over."""
    for change, outcome in cycle.scaled:
        yield _News(change.pool, outcome.verdict, is_warning=not outcome.done)
        taken = cycle.decision.adoptions.get((change.pool, change.variant))
        if outcome.done and taken is not None:
            yield _News(change.pool, taken)


def _notices(cycle: Cycle) -> Iterator[_News]:
    for pool, verdicts in cycle.decision.notices.items():
        for verdict in verdicts:
            yield _News(pool, verdict, is_warning=verdict.reason == reasons.REQUESTS_LOST)
