"""What waits is load as well: it brings capacity to work it off, and lets nothing go before it is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleets import CHAT, PROFILES, START_S, Cluster, demand, policy, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.plan import PlanKind
from joulery.domain.verdict import Verdict
from joulery.planner.backlog import backlog_requests, with_backlog
from joulery.planner.decide import Decision
from joulery.planner.forecast import forecast
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import view_pools

SAMPLES = [(START_S + 15.0 * i, 8.0) for i in range(20)]
AHEAD = forecast(SAMPLES, epoch_s=300.0, startup_s=120.0, settings=PlannerSettings())


def step(cluster: Cluster, history: History, waiting: float, problem: Verdict | None = None) -> Decision:
    load = replace(demand(8.0, at_s=cluster.now_s, problem=problem), waiting_requests=waiting)
    decision = poll(cluster, {CHAT: load}, history)
    cluster.apply(decision)
    cluster.pass_time(15.0)
    return decision


def settled() -> tuple[Cluster, History]:
    """Two instances of 4.5 requests/s each under 8."""
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 2)
    history = History.empty()
    for _ in range(26):
        history = step(cluster, history, 0.0).history
    return cluster, history


@given(st.floats(0.0, 1e5), st.floats(0.0, 1e5), st.floats(10.0, 1000.0))
def test_more_that_waits_never_means_less(waiting: float, more: float, over_s: float) -> None:
    some, all_of_it = with_backlog(AHEAD, waiting, over_s), with_backlog(AHEAD, waiting + more, over_s)
    assert AHEAD.peak_rps <= some.peak_rps <= all_of_it.peak_rps
    assert AHEAD.peak_now_rps <= some.peak_now_rps <= all_of_it.peak_now_rps
    assert some.mean_rps == AHEAD.mean_rps, "what it costs is what comes"
    assert (some.peak_rps - AHEAD.peak_rps) * over_s == pytest.approx(waiting, abs=1e-6 * (1.0 + waiting))


def test_queue_that_stays_brings_an_up_only_plan_though_the_rate_is_within_capacity() -> None:
    cluster, history = settled()
    first = step(cluster, history, 300.0)
    decision = step(cluster, first.history, 300.0)
    assert [d.plan.kind for d in (first, decision)] == [PlanKind.EPOCH, PlanKind.UP_ONLY]
    (change,) = decision.changes
    assert (change.seen, change.want) == (2, 4), "8 requests/s, and 300 requests in a minute"


def backlog(waiting: float, level_rps: float, *, coming: int = 0, asked_s: float = 0.0) -> float:
    """Of two instances that carry 9 requests/s, with an empty queue 15 s ago."""
    cluster, history = settled()
    cluster.desired[CHAT, "tp4"] += coming
    for _ in range(coming):
        cluster._create(CHAT, "tp4", cluster.now_s - asked_s)
    load = replace(demand(level_rps, at_s=cluster.now_s), waiting_requests=waiting)
    settings = PlannerSettings()
    (view,) = view_pools(cluster.fleet(), {CHAT: load}, (policy(),), PROFILES, history, settings)  # type: ignore[arg-type]
    ahead = replace(AHEAD, level_rps=level_rps)
    return backlog_requests(view, view.past, load, ahead, startup_s=120.0, now_s=cluster.now_s)


def test_queue_that_grows_is_planned_for_as_long_as_it_will_be_when_help_comes() -> None:
    assert backlog(30.0, 12.0) == pytest.approx(30.0 + 2.0 * 120.0)


def test_queue_grows_by_no_more_than_what_comes_beyond_capacity() -> None:
    assert backlog(150.0, 12.0) == pytest.approx(150.0 + 3.0 * 120.0)
    assert backlog(150.0, 8.0) == 150.0, "a burst"


def test_queue_grows_no_longer_than_until_what_was_asked_for_comes() -> None:
    assert backlog(30.0, 12.0, coming=2, asked_s=90.0) == pytest.approx(30.0 + 2.0 * 30.0)
    assert backlog(30.0, 12.0, coming=2, asked_s=500.0) == pytest.approx(30.0)


def test_queue_that_grows_under_a_load_that_is_carried_brings_no_instance() -> None:
    cluster, history = settled()
    for waiting in (10.0, 20.0, 30.0):
        decision = step(cluster, history, waiting)
        history = decision.history
        assert not decision.changes


def test_queue_of_one_poll_brings_none() -> None:
    cluster, history = settled()
    decisions = [step(cluster, history, 300.0)]
    decisions.append(step(cluster, decisions[0].history, 0.0))
    assert not any(d.changes for d in decisions)


def test_queue_read_long_ago_is_not_believed() -> None:
    cluster, history = settled()
    stale = Verdict(reasons.METRICS_STALE, "no sample for 90 s")
    for _ in range(4):
        decision = step(cluster, history, 5000.0, stale)
        history = decision.history
        assert not decision.changes


def test_nothing_goes_before_what_waits_is_gone() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 4)
    history = History.empty()
    for _ in range(80):
        history = step(cluster, history, 2000.0).history
    assert cluster.desired[CHAT, "tp4"] >= 4
    for _ in range(200):
        history = step(cluster, history, 0.0).history
    assert cluster.desired[CHAT, "tp4"] == 2
