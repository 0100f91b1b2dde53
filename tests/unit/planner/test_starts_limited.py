"""A policy's limit on the starts of one plan: kept where starts only save energy, told, never at the load's cost."""

from __future__ import annotations

import pytest

from fleets import CHAT, Cluster, demand, policy, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PlanKind
from joulery.planner.decide import Decision
from joulery.planner.history import History

CODE = ObjectKey("team", "code")
# Five instances carry it at the highest clock but one; six do so for fewer watts.
BUSY_RPS = 20.0


def decided(replicas: int, rate_rps: float, most: int | None) -> Decision:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", replicas)
    return poll(cluster, rate_rps, History.empty(), policies=[policy(max_starts_per_plan=most)])


def replicas(decision: Decision, key: ObjectKey = CHAT) -> int:
    part = decision.plan.pool(key)
    assert part is not None
    return part.replicas


def told(decision: Decision, key: ObjectKey = CHAT) -> list[str]:
    return [v.message for v in decision.decisions[key] if v.reason == reasons.STARTS_LIMITED]


def test_an_instance_that_would_only_save_energy_waits_and_the_pool_says_so() -> None:
    assert replicas(decided(4, BUSY_RPS, None)) == 6
    limited = decided(4, BUSY_RPS, 1)
    assert replicas(limited) == 5
    (message,) = told(limited)
    assert "5 x tp4, not 6 x tp4: one plan starts at most 1 instances to save energy" in message
    assert "raise spec.solver.maxStartsPerPlan" in message


def test_within_the_limit_nothing_is_told() -> None:
    enough = decided(4, BUSY_RPS, 2)
    assert replicas(enough) == 6
    assert told(enough) == []


@pytest.mark.parametrize("running", [1, 2, 3])
def test_what_the_load_needs_starts_whatever_the_limit_says(running: int) -> None:
    needed = decided(running, 14.0, 0)
    assert replicas(needed) == replicas(decided(running, 14.0, None)) == 4
    (message,) = told(needed)
    assert f"the load needs {4 - running} starts more than the 0 that one plan may make" in message


def test_the_limit_is_of_the_plan_and_not_of_each_pool() -> None:
    pools = [pool(key, variants=(variant(4),)) for key in (CHAT, CODE)]
    cluster = Cluster(pools, nodes=12).run(CHAT, "tp4", 4).run(CODE, "tp4", 4)
    loads = {key: demand(BUSY_RPS, key=key) for key in (CHAT, CODE)}
    free = poll(cluster, loads, History.empty(), policies=[policy()])
    limited = poll(cluster, loads, History.empty(), policies=[policy(max_starts_per_plan=3)])
    assert sum(replicas(free, key) for key in (CHAT, CODE)) == 12
    assert sum(replicas(limited, key) for key in (CHAT, CODE)) == 11
    assert sum(len(told(limited, key)) for key in (CHAT, CODE)) == 1


def test_a_way_up_at_once_is_not_limited() -> None:
    cluster = Cluster([pool(variants=(variant(4),))]).run(CHAT, "tp4", 2)
    rules = [policy(max_starts_per_plan=0)]
    history = poll(cluster, 5.0, History.empty(), policies=rules).history
    for _ in range(6):
        cluster.pass_time(15.0)
        decision = poll(cluster, 18.0, history, policies=rules)
        history = decision.history
        if decision.plan.kind is PlanKind.UP_ONLY:
            break
    assert decision.plan.kind is PlanKind.UP_ONLY
    assert replicas(decision) >= 5
    assert told(decision) == []
