"""A ready replica without series serves load that nobody sees: nothing is taken away on the word of the others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from fleets import CHAT, Cluster, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.fleet import Fleet, Replica
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.planner.decide import Decision
from joulery.planner.history import History

POLL_S = 15.0
ONE_SIZE = pool(variants=(variant(4),))
BOTH_SIZES = pool(variants=(variant(4), variant(8)))


@dataclass(slots=True)
class Scraped(Cluster):
    """A cluster whose pods have series but for those named."""

    hidden: set[str] = field(default_factory=set)

    def fleet(self) -> Fleet:
        plain = Cluster.fleet(self)
        pools = (
            replace(p, variants=tuple(replace(v, replicas=self._seen(v.replicas)) for v in p.variants))
            for p in plain.pools
        )
        return replace(plain, pools=tuple(pools))

    def _seen(self, replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
        return tuple(replace(r, running_requests=None) if r.name in self.hidden else r for r in replicas)

    def hide(self, count: int) -> None:
        self.hidden |= {r.name for r in self.pods[CHAT, "tp4"][:count]}


def night(cluster: Cluster, rate_rps: float = 1.0, polls: int = 100) -> Decision:
    history = History.empty()
    for _ in range(polls):
        decision = poll(cluster, rate_rps, history)
        cluster.apply(decision)
        history = decision.history
        cluster.pass_time(POLL_S)
    return decision


def metrics(decision: Decision) -> Finding:
    return next(f for f in decision.findings[CHAT] if f.condition is ConditionType.METRICS_AVAILABLE)


@pytest.mark.parametrize("spec", [ONE_SIZE, BOTH_SIZES], ids=["one-size", "both-sizes"])
@pytest.mark.parametrize("hidden", [1, 2, 5])
def test_no_replica_goes_while_a_ready_one_has_no_series(spec: object, hidden: int) -> None:
    cluster = Scraped([spec]).run(CHAT, "tp4", 6)  # type: ignore[list-item]
    cluster.hide(hidden)
    decision = night(cluster)
    assert cluster.desired[CHAT, "tp4"] == 6
    told = metrics(decision)
    assert (told.status, told.verdict.reason) == (ConditionStatus.FALSE, reasons.METRICS_INCOMPLETE)
    assert f"{hidden} of 6" in told.verdict.message
    assert cluster.pods[CHAT, "tp4"][0].name in told.verdict.message


def test_replicas_go_when_all_are_seen_again() -> None:
    cluster = Scraped([ONE_SIZE]).run(CHAT, "tp4", 6)
    cluster.hide(1)
    night(cluster, polls=60)
    cluster.hidden.clear()
    decision = night(cluster)
    assert cluster.desired[CHAT, "tp4"] < 6
    assert metrics(decision).status is ConditionStatus.TRUE


def test_ways_up_stay_open() -> None:
    cluster = Scraped([ONE_SIZE]).run(CHAT, "tp4", 2)
    cluster.hide(1)
    night(cluster, rate_rps=40.0)
    assert cluster.desired[CHAT, "tp4"] > 2


def test_pods_that_nobody_measures_one_by_one_hold_nothing() -> None:
    cluster = Scraped([ONE_SIZE]).run(CHAT, "tp4", 6)
    cluster.hide(6)
    night(cluster)
    assert cluster.desired[CHAT, "tp4"] < 6
