"""A clock that was wrong and is put right holds nothing up: neither times in a restart block nor a plan."""

from __future__ import annotations

import pytest

from fleets import CHAT, Cluster, poll, pool, variant
from joulery.domain.memory import PoolMemory, VariantMemory
from joulery.domain.plan import PlanKind
from joulery.planner.history import History

HOUR_S = 3600.0
ONE_SIZE = pool(variants=(variant(4),))
POLL_S = 15.0


def replicas_after(cluster: Cluster, rate_rps: float, history: History, *, polls: int) -> int:
    for _ in range(polls):
        decision = poll(cluster, rate_rps, history)
        cluster.apply(decision)
        history = decision.history
        cluster.pass_time(POLL_S)
    return cluster.desired[CHAT, "tp4"]


@pytest.mark.parametrize("ahead_s", [0.0, HOUR_S, 1000 * HOUR_S])
def test_times_of_the_future_in_a_restart_block_hold_ways_down_no_longer_than_those_of_now(
    ahead_s: float,
) -> None:
    cluster = Cluster([ONE_SIZE]).run(CHAT, "tp4", 6)
    later_s = cluster.now_s + ahead_s
    block = PoolMemory("a-plan", later_s, "tp4", 6, 1980, (VariantMemory("tp4", 6, later_s, later_s, 120.0),))
    assert replicas_after(cluster, 2.0, History.restored({CHAT: block}), polls=130) < 6


def test_set_backs_of_the_future_are_forgotten_in_time_too() -> None:
    block = PoolMemory(variants=(VariantMemory("tp4", set_backs_s=(5.0, 9000.0)),))
    assert block.no_later_than(10.0).variant("tp4").set_backs_s == (5.0, 10.0)


def test_a_clock_put_back_is_a_restart_and_plans_at_once() -> None:
    cluster = Cluster([ONE_SIZE]).run(CHAT, "tp4", 2)
    cluster.now_s += HOUR_S
    history = poll(cluster, 2.0, History.empty()).history
    cluster.now_s -= HOUR_S
    decision = poll(cluster, 2.0, history)
    assert decision.plan.made_at_s == cluster.now_s
    assert decision.plan.kind is PlanKind.EPOCH
    assert decision.history.pools[CHAT].first_seen_s == cluster.now_s


def test_polls_out_of_step_by_a_moment_are_no_jump() -> None:
    cluster = Cluster([ONE_SIZE]).run(CHAT, "tp4", 2)
    first = poll(cluster, 2.0, History.empty())
    cluster.now_s -= 0.5
    assert poll(cluster, 2.0, first.history).plan is first.plan
