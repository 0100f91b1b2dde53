"""A report becomes the pool's status, and the restart block comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import api_cases as cases
from joulery.api.convert_memory import memory_block, memory_of
from joulery.api.convert_status import pool_status, rejected_status
from joulery.api.v1alpha1.inference_pool_status import InferencePoolStatus
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import Derate, PoolMemory, Reinforcement, VariantMemory
from joulery.domain.report import PoolReport, VariantReport
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict

NOW_S = 1_778_572_800.0


def finding(condition: ConditionType, status: ConditionStatus, reason: str = "Because") -> Finding:
    return Finding(condition, status, Verdict(reason, f"{reason} of it"))


READY = finding(ConditionType.READY, ConditionStatus.TRUE)
NOT_READY = finding(ConditionType.READY, ConditionStatus.FALSE, "Broken")


def report(**changes: Any) -> PoolReport:
    base = PoolReport(
        pool=ObjectKey("default", "chat"),
        generation=3,
        mode="Act",
        findings=(READY,),
        variants=(VariantReport("tp4", 3, 3, 4, 1410), VariantReport("tp8", 0, 0, None)),
        plan_id="p-1",
        predicted_w=5300.4,
        measured_w=5119.6,
        requests_per_s=12.4,
        attainment_percent=99.999,
        decisions=(Verdict("ScaleUp", "demand rose"),),
        memory=PoolMemory("p-1", NOW_S, "tp4", 4, 1410, (VariantMemory("tp4", 4, NOW_S, None, 118.0),)),
    )
    return replace(base, **changes)


def condition(status: dict[str, Any], name: str = "Ready") -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == name)


def test_the_columns_say_it_in_short() -> None:
    status = pool_status(report(), None, NOW_S, tensor_parallel={"tp4": 4, "tp8": 8})
    assert status["summary"] == {
        "replicas": "3/4",
        "shards": "TP4x3",
        "clock": "1410 MHz",
        "watts": "5120/5300",
        "slo": "99.99%",
    }


def test_what_is_unknown_is_a_dash_and_not_zero() -> None:
    bare = report(
        variants=(), predicted_w=None, measured_w=None, attainment_percent=None, requests_per_s=None
    )
    status = pool_status(bare, None, NOW_S)
    assert status["summary"] == {"replicas": "0/0", "shards": "-", "clock": "-", "watts": "-/-", "slo": "-"}
    assert {"predictedWatts", "measuredWatts", "attainmentPercent", "requestsPerMinute"}.isdisjoint(status)


def test_attainment_is_never_rounded_up() -> None:
    assert pool_status(report(attainment_percent=98.9999), None, NOW_S)["attainmentPercent"] == "98.99"
    assert pool_status(report(attainment_percent=100.0), None, NOW_S)["attainmentPercent"] == "100.00"


def test_what_a_profile_is_worth_shows_per_variant_and_never_rounded_up() -> None:
    judged = (VariantReport("tp4", 3, 3, 3, derate=0.86999), VariantReport("tp8", 0, 0, 0))
    shown = pool_status(report(variants=judged), None, NOW_S)["variants"]
    assert shown[0]["deratePercent"] == "86.99"
    assert "deratePercent" not in shown[1]


def test_a_profile_that_was_never_judged_leaves_nothing_in_the_restart_block() -> None:
    plain = memory_block(PoolMemory(variants=(VariantMemory("tp4"),)))
    assert "reinforcement" not in plain
    assert "derate" not in plain["variants"][0]


def test_an_unchanged_pool_gives_an_equal_status() -> None:
    first = pool_status(report(), None, NOW_S)
    assert pool_status(report(), first, NOW_S + 60) == first


def test_a_condition_keeps_its_time_until_its_status_flips() -> None:
    first = pool_status(report(), None, NOW_S)
    other_reason = finding(ConditionType.READY, ConditionStatus.TRUE, "Other")
    kept = pool_status(report(findings=(other_reason,), generation=4), first, NOW_S + 60)
    flipped = pool_status(report(findings=(NOT_READY,)), kept, NOW_S + 120)
    assert condition(kept)["lastTransitionTime"] == condition(first)["lastTransitionTime"]
    assert (condition(kept)["reason"], condition(kept)["observedGeneration"]) == ("Other", 4)
    assert condition(flipped)["lastTransitionTime"] != condition(first)["lastTransitionTime"]


def test_of_several_findings_on_one_condition_the_worst_is_told_whole() -> None:
    also = finding(ConditionType.READY, ConditionStatus.FALSE, "AlsoBroken")
    told = condition(pool_status(report(findings=(READY, NOT_READY, also)), None, NOW_S))
    assert (told["status"], told["reason"]) == ("False", "Broken")
    assert told["message"] == "Broken of it; AlsoBroken of it"


def test_the_last_five_decisions_stay_newest_first_and_repeats_are_dropped() -> None:
    status: dict[str, Any] | None = None
    for number in range(7):
        decision = Verdict("ScaleUp", f"step {number}")
        for _ in range(2):
            status = pool_status(report(decisions=(decision,)), status, NOW_S + number)
    assert status is not None
    assert [d["message"] for d in status["decisions"]] == [f"step {n}" for n in (6, 5, 4, 3, 2)]


def test_a_recommendation_shows_only_in_recommend() -> None:
    assert "recommendation" not in pool_status(report(), None, NOW_S)
    status = pool_status(report(mode="Recommend"), None, NOW_S)
    assert status["recommendation"] == {"variant": "tp4", "replicas": 4, "clockMHz": 1410}


def test_a_recommendation_is_the_plan_and_needs_no_memory() -> None:
    """Only what Act has begun is remembered, and in Recommend nothing is."""
    planned = (VariantReport("tp4", 3, 3, 0), VariantReport("tp8", 0, 0, 2, 1600))
    status = pool_status(report(mode="Recommend", memory=PoolMemory(), variants=planned), None, NOW_S)
    assert status["recommendation"] == {"variant": "tp8", "replicas": 2, "clockMHz": 1600}
    assert "goalReplicas" not in status["memory"]


def test_columns_in_recommend_show_what_runs_and_what_is_planned() -> None:
    planned = (VariantReport("tp4", 3, 3, 0), VariantReport("tp8", 0, 0, 2, 1600))
    sizes = {"tp4": 4, "tp8": 8}
    status = pool_status(report(mode="Recommend", variants=planned), None, NOW_S, tensor_parallel=sizes)
    summary = status["summary"]
    assert (summary["replicas"], summary["shards"], summary["clock"]) == ("3/2", "TP4x3", "1600 MHz")


def test_recommending_no_replicas_names_the_variant() -> None:
    status = pool_status(
        report(mode="Recommend", variants=(VariantReport("tp4", 1, 1, 0, 990),)), None, NOW_S
    )
    assert status["recommendation"] == {"variant": "tp4", "replicas": 0, "clockMHz": 990}


def test_nothing_is_recommended_without_a_plan() -> None:
    unplanned = (VariantReport("tp4", 3, 3, None),)
    assert "recommendation" not in pool_status(report(mode="Recommend", variants=unplanned), None, NOW_S)


def test_long_messages_are_cut_to_what_the_schema_takes() -> None:
    long = Verdict("Held", "x" * 9000)
    held = VariantReport("tp4", 1, 1, 1, None, long)
    status = pool_status(
        report(
            variants=(held,),
            decisions=(long,),
            findings=(Finding(ConditionType.READY, ConditionStatus.FALSE, long),),
        ),
        None,
        NOW_S,
    )
    assert InferencePoolStatus.model_validate(status).variants[0].hold_reason == "Held"
    assert condition(status)["message"].endswith("...")


def test_a_rejected_pool_keeps_its_memory_and_says_why() -> None:
    before = pool_status(report(), None, NOW_S)
    accepted = finding(ConditionType.ACCEPTED, ConditionStatus.FALSE, "InvalidSpec")
    status = rejected_status(4, [accepted], before, NOW_S + 60)
    assert status["memory"] == before["memory"]
    assert [c["type"] for c in status["conditions"]] == ["Accepted"]
    assert status["observedGeneration"] == 4
    assert "summary" not in status


times = st.none() | st.integers(10**15, 4 * 10**15).map(lambda us: us / 1e6)
counts = st.none() | st.integers(0, 1000)
names = st.sampled_from(["tp2", "tp4", "tp8"])
memories = st.builds(
    PoolMemory,
    plan_id=st.none() | st.just("p-1"),
    planned_at_s=times,
    goal_variant=st.none() | names,
    goal_replicas=counts,
    goal_clock_mhz=counts,
    variants=st.lists(
        st.builds(
            VariantMemory,
            variant=names,
            last_set_replicas=counts,
            last_up_s=times,
            last_down_s=times,
            startup_s=st.none() | st.integers(0, 10**6).map(lambda ms: ms / 1000),
            adopted=st.booleans(),
            pending_from_replicas=counts,
            set_backs_s=st.lists(times.filter(lambda s: s is not None), max_size=3).map(tuple),
            held_generation=counts,
            held_replicas=counts,
            asked_replicas=counts,
            held_by=st.none() | st.just("helm/Update//2026-11-21T10:00:00Z"),
            held_reason=st.none() | st.sampled_from(["ReplicasHeld", "ReplicasDeclared"]),
            derate=st.builds(
                Derate,
                share=st.integers(7_000, 10_000).map(lambda points: points / 10_000),
                optimistic_since_s=times,
                profile=st.none() | st.just("0123456789abcdef"),
            ),
        ),
        max_size=3,
        unique_by=lambda v: v.variant,
    ).map(tuple),
    reinforcement=st.builds(Reinforcement, instances=st.integers(0, 4), changed_s=times),
)


@given(memories)
def test_memory_survives_the_api_server(memory: PoolMemory) -> None:
    assert memory_of({"memory": memory_block(memory)}) == memory


def test_memory_of_another_version_is_read_as_far_as_known() -> None:
    block = {**cases.pool_status()["memory"], "fromTheFuture": {"x": 1}}
    assert memory_of({"memory": block}).goal_replicas == 4
    assert memory_of({"memory": {"goalReplicas": "many"}}) == PoolMemory()
    assert memory_of(None) == PoolMemory()
