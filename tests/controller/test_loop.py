"""The cycle on fakes of its ports: order, holds, recovery."""

from __future__ import annotations

import asyncio

import pytest

from fakes import CHAT, Rig, decision, finding, observation, pool, scale_up
from joulery.adapters.kube_errors import MissingKindError
from joulery.controller.loop import verdict_of
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory
from joulery.domain.plan import NodeDirective
from joulery.domain.policy import Cadence, Policy
from joulery.domain.report import PoolReport
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.errors import ForbiddenError, UnavailableError
from joulery.planner.history import History
from joulery.ports import Rejected


async def test_restart_block_is_written_before_the_action_it_guards() -> None:
    rig = Rig(decide=lambda *_: decision(scale_up(), memory=PoolMemory(plan_id="p-1", goal_replicas=3)))
    assert await rig.loop.run_cycle() is None
    assert rig.journal.kinds[:2] == ["status", "scale"]
    report = rig.journal.of("status")[0]
    assert isinstance(report, PoolReport)
    assert report.memory.goal_replicas == 3


async def test_pool_whose_restart_block_was_not_written_is_not_scaled() -> None:
    rig = Rig(decide=lambda *_: decision(scale_up()))
    rig.status.failure = Verdict(reasons.API_UNAVAILABLE, "503")
    problem = await rig.loop.run_cycle()
    assert problem == rig.status.failure
    assert rig.journal.of("scale") == []


async def test_refused_scale_becomes_a_condition_an_event_and_another_look() -> None:
    rig = Rig(decide=lambda *_: decision(scale_up()))
    rig.actuator.refusal = Verdict(reasons.REPLICAS_MOVED, "replicas are no longer 2")
    await rig.loop.run_cycle()
    last = rig.journal.of("status")[-1]
    assert isinstance(last, PoolReport)
    actuated = next(f for f in last.findings if f.condition is ConditionType.ACTUATED)
    assert (actuated.status, actuated.verdict.reason) == (ConditionStatus.FALSE, reasons.REPLICAS_MOVED)
    assert (CHAT, rig.actuator.refusal, True) in rig.journal.of("event")
    await asyncio.wait_for(rig.wakeup.wait(60.0), 1.0)


async def test_memory_of_a_refused_write_is_taken_back() -> None:
    before = PoolMemory(plan_id="p-0", goal_replicas=2)
    rig = Rig(
        observation(memories={CHAT: before}),
        decide=lambda *_: decision(scale_up(), memory=PoolMemory(plan_id="p-1", goal_replicas=3)),
    )
    rig.actuator.refusal = Verdict(reasons.REPLICAS_MOVED, "moved")
    await rig.loop.run_cycle()
    await rig.loop.run_cycle()
    history = rig.decided[1][2]
    assert isinstance(history, History)
    assert history.pools[CHAT].memory == before


async def test_first_cycle_restores_memory_from_status() -> None:
    memory = PoolMemory(plan_id="p-7", goal_replicas=5)
    rig = Rig(observation(memories={CHAT: memory}))
    await rig.loop.run_cycle()
    assert rig.decided[0][2] == History.restored({CHAT: memory})


async def test_history_is_carried_from_cycle_to_cycle() -> None:
    rig = Rig()
    await rig.loop.run_cycle()
    await rig.loop.run_cycle()
    history = rig.decided[1][2]
    assert isinstance(history, History)
    assert history.pools[CHAT].memory.plan_id == "p-1"


async def test_cycle_woken_between_polls_reads_no_new_demand() -> None:
    rig = Rig()
    await rig.loop.run_cycle()
    rig.clock.at_s += 3.0
    await rig.loop.run_cycle()
    assert rig.demand.polls == 1
    rig.clock.at_s += 12.0
    await rig.loop.run_cycle()
    assert rig.demand.polls == 2


async def test_demand_is_polled_at_once_where_the_clock_was_put_back() -> None:
    rig = Rig()
    await rig.loop.run_cycle()
    rig.clock.at_s -= 3600.0
    await rig.loop.run_cycle()
    assert rig.demand.polls == 2


async def test_new_pool_is_polled_at_once() -> None:
    other = pool(ObjectKey("llm", "other"))
    rig = Rig(observation(), observation([pool(), other]))
    await rig.loop.run_cycle()
    await rig.loop.run_cycle()
    assert rig.demand.polls == 2


async def test_cadence_follows_the_policy_named_default() -> None:
    fast = Policy("default", cadence=Cadence(demand_poll_s=2.0))
    rig = Rig(observation(policies=(fast,)))
    await rig.loop.run_cycle()
    rig.clock.at_s += 2.0
    await rig.loop.run_cycle()
    assert rig.demand.polls == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnavailableError("listing pods: refused"), reasons.API_UNAVAILABLE),
        (ForbiddenError("listing nodes: 403"), reasons.FORBIDDEN),
        (MissingKindError("the cluster does not serve inferencepools"), reasons.CRD_MISSING),
    ],
    ids=["API server away", "right missing", "CRD missing"],
)
async def test_unreadable_cluster_is_named_in_readiness_and_recovered_from(
    error: UnavailableError, reason: str
) -> None:
    rig = Rig()
    rig.fleet.error = error
    problem = await rig.loop.run_guarded_cycle()
    assert problem is not None
    assert problem.reason == reason
    assert rig.health.problem == problem
    assert rig.metric("joulery_cycles_total", outcome=reason) == 1.0
    rig.fleet.error = None
    assert await rig.loop.run_guarded_cycle() is None
    assert rig.health.problem is None


async def test_bug_in_one_cycle_is_counted_and_the_next_one_runs() -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError("a bug")

    rig = Rig()
    healthy, rig.decide = rig.decide, broken  # type: ignore[assignment]
    problem = await rig.loop.run_guarded_cycle()
    assert problem is not None
    assert "ZeroDivisionError" in problem.message
    assert rig.metric("joulery_unexpected_errors_total", error="ZeroDivisionError") == 1.0
    rig.decide = healthy
    assert await rig.loop.run_guarded_cycle() is None


async def test_rejected_pool_is_told_and_the_others_go_on() -> None:
    refused = Finding(
        ConditionType.ACCEPTED, ConditionStatus.FALSE, Verdict(reasons.INVALID_SPEC, "spec.variants[1]")
    )
    bad = Rejected(ObjectKey("llm", "bad"), 3, (refused,))
    rig = Rig(observation(rejected=(bad,)))
    await rig.loop.run_cycle()
    assert rig.journal.of("rejected") == [bad]
    assert (bad.pool, refused.verdict, True) in rig.journal.of("event")
    assert len(rig.journal.of("status")) == 1


async def test_directives_are_written_after_scaling() -> None:
    directive = NodeDirective("node-0", "p-1", (), ())
    rig = Rig(decide=lambda *_: decision(scale_up(), directives=[directive]))
    await rig.loop.run_cycle()
    assert rig.journal.kinds.index("scale") < rig.journal.kinds.index("directive")


async def test_id_of_the_step_goes_with_every_scale_write() -> None:
    rig = Rig(decide=lambda *_: decision(scale_up(), plan_id="p-42"))
    await rig.loop.run_cycle()
    assert rig.journal.of("scale") == [(scale_up(), "p-42-step")]
    assert rig.loop.plan_id == "p-42"


async def test_condition_that_stands_is_told_once() -> None:
    stale = finding(ConditionType.METRICS_AVAILABLE, reasons.METRICS_STALE, good=False)
    rig = Rig(decide=lambda *_: decision(findings={CHAT: (stale,)}))
    await rig.loop.run_cycle()
    first = len(rig.journal.of("event"))
    assert first > 0
    await rig.loop.run_cycle()
    assert len(rig.journal.of("event")) == first


async def test_loop_retries_by_itself_while_the_cluster_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulery.controller.loop._RETRY_FIRST_S", 0.0)
    rig = Rig()
    rig.fleet.error = UnavailableError("refused")
    await rig.run_cycles(3)
    assert rig.decided == []
    assert rig.health.is_alive


async def test_many_wakes_are_one_cycle() -> None:
    rig = Rig()
    for _ in range(50):
        rig.wakeup.set()
    await rig.loop.run_guarded_cycle()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rig.wakeup.wait(60.0), 0.05)


def test_missing_kind_tells_the_cure() -> None:
    verdict = verdict_of(MissingKindError("the cluster does not serve x; install the CRDs of this release"))
    assert "install the CRDs" in verdict.message
