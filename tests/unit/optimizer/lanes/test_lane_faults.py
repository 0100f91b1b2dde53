"""Bad input: a verdict for the lane, the others planned, nothing thrown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.domain import reasons
from joulery.domain.request_class import DEFAULT_CLASSES, Objective
from joulery.optimizer.lanes.atoms import LaneLoad
from joulery.optimizer.lanes.costs import Estimate, LaneCost
from joulery.optimizer.lanes.partition import partition
from joulery.optimizer.lanes.plan import LanePartition
from joulery.optimizer.lanes.request import ClassLoad, Confusion, LanePolicy, LaneRequest
from lane_cases import NAMES, Given, Stepwise, confused, loads

NAN = math.nan


def verdicts(plan: LanePartition) -> dict[str, str]:
    return {lane.name: lane.verdict.reason for lane in plan.lanes}


@pytest.mark.parametrize("policy", list(LanePolicy))
@pytest.mark.parametrize("rate", [NAN, math.inf, -1.0, 1e300])
def test_a_load_that_is_none_is_named_and_the_others_are_planned(policy: LanePolicy, rate: float) -> None:
    plan = partition(LaneRequest(loads([1.0, rate, 1.0]), policy), Stepwise())
    bad = plan.lanes[-1]
    assert (bad.name, bad.verdict.reason, bad.cost) == ("SM", reasons.METRICS_INVALID, None)
    assert "class SM: load is" in plan.refused[0].message
    assert math.fsum(lane.rate_rps for lane in plan.lanes) == 2.0
    assert all(lane.cost is not None for lane in plan.lanes[:-1])


def test_a_class_without_objective_is_named_with_the_cure() -> None:
    broken = ClassLoad(replace(DEFAULT_CLASSES[1], objective=Objective(0, 100)), 1.0)
    plan = partition(LaneRequest((loads([1.0])[0], broken)), Stepwise())
    assert verdicts(plan) == {"SS": reasons.LANE_APART, "SM": reasons.OBJECTIVE_MISSING}
    assert "give it a time to first token" in plan.lanes[-1].verdict.message


def test_a_class_given_twice_is_named_once() -> None:
    plan = partition(LaneRequest((*loads([1.0, 2.0]), loads([3.0])[0])), Stepwise())
    assert verdicts(plan) == {"SM": reasons.LANE_APART, "SS": reasons.INVALID_SPEC}
    assert len(plan.refused) == 1


def test_no_class_and_no_load_are_plans_that_say_so() -> None:
    nothing = partition(LaneRequest(()), Stepwise())
    assert (nothing.lanes, nothing.cost_w, nothing.why) == ((), 0.0, "no class to plan for")
    idle = partition(LaneRequest(loads([0.0, 0.0])), Stepwise())
    assert verdicts(idle) == {"SM+SS": reasons.NO_LOAD}
    assert idle.lanes[0].guests == ("SM", "SS")


def test_a_class_without_load_is_a_guest_where_inputs_are_as_large_and_counts_for_nothing() -> None:
    rates = dict.fromkeys(NAMES, 0.0) | {"SS": 400.0, "LL": 400.0}
    costs = Stepwise()
    plan = partition(LaneRequest(loads(list(rates.values())), LanePolicy.PER_CLASS), costs)
    guests = {lane.name: lane.guests for lane in plan.lanes}
    assert guests == {"LL": ("LM", "LS", "ML", "MM", "MS"), "SS": ("SL", "SM")}
    assert sorted(lane.members for lane in costs.asked) == [("LL",), ("SS",)]
    assert {lane.objective for lane in plan.lanes} == {Objective(250, 100), Objective(2000, 100)}


def test_a_guest_with_the_largest_inputs_goes_to_the_widest_lane() -> None:
    plan = partition(LaneRequest(loads([1.0, 0, 0, 1.0, 0, 0, 0, 0, 0.0]), LanePolicy.PER_CLASS), Stepwise())
    assert {lane.name: lane.guests for lane in plan.lanes}["MS"] == ("LL", "LM", "LS", "ML", "MM")


BROKEN = {
    "sums to 0.9": Confusion(("SS", "SM"), ((0.9, 0.0), (0.0, 1.0))),
    "finite and not negative": Confusion(("SS", "SM"), ((1.5, -0.5), (0.0, 1.0))),
    "holds (nan": Confusion(("SS", "SM"), ((NAN, 0.5), (0.0, 1.0))),
    "2 rows of 2 shares": Confusion(("SS", "SM"), ((1.0,), (0.0, 1.0))),
    "no row for class SM": Confusion(("SS",), ((1.0,),)),
    "class XX does not exist": Confusion(("SS", "SM", "XX"), ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))),
    "given more than once": Confusion(("SS", "SS"), ((1.0, 0.0), (0.0, 1.0))),
}


@pytest.mark.parametrize("said", list(BROKEN))
@pytest.mark.parametrize("policy", list(LanePolicy))
def test_a_confusion_that_cannot_be_used_leaves_what_needs_no_prediction(
    policy: LanePolicy, said: str
) -> None:
    plan = partition(LaneRequest(loads([400.0, 400.0]), policy, BROKEN[said]), Stepwise())
    assert plan.refused[-1].reason == reasons.CONFUSION_INVALID
    assert said in plan.refused[-1].message
    assert not plan.needs_prediction
    assert plan.policy is (LanePolicy.BY_INPUT if policy is LanePolicy.PER_CLASS else policy)
    assert [lane.name for lane in plan.lanes] == ["SM+SS"]


def test_requests_taken_for_a_class_with_a_fault_are_not_lost() -> None:
    plan = partition(
        LaneRequest(loads([1.0, NAN, 1.0]), LanePolicy.PER_CLASS, confused(NAMES[:3], 0.8)), Stepwise()
    )
    assert math.fsum(lane.rate_rps for lane in plan.lanes) == pytest.approx(2.0)
    assert [lane.name for lane in plan.lanes] == ["SL", "SM", "SS"]
    assert plan.refused[0].reason == reasons.METRICS_INVALID


def test_a_lane_that_nothing_serves_keeps_its_verdict_and_the_others_their_plan() -> None:
    costs = Given({("SS",): 100.0})
    plan = partition(LaneRequest(loads([1.0, 2.0]), LanePolicy.PER_CLASS), costs)
    assert verdicts(plan) == {"SM": reasons.OBJECTIVE_UNREACHABLE, "SS": reasons.LANE_ASKED_FOR}
    assert (plan.cost_w, plan.unserved_rps) == (100.0, 2.0)
    auto = partition(LaneRequest(loads([1.0, 2.0])), costs)
    assert (auto.cost_w, auto.unserved_rps) == (100.0, 2.0)


class Absurd:
    """Costs that are no numbers."""

    def __init__(self, watts: float) -> None:
        self.watts = watts

    def cost(self, lane: LaneLoad) -> LaneCost:
        return LaneCost(self.watts, self.watts, (), "")

    def estimate(self, lane: LaneLoad) -> Estimate:
        return Estimate(self.watts, 0.1)


@pytest.mark.parametrize("watts", [NAN, math.inf, -5.0])
@pytest.mark.parametrize("policy", list(LanePolicy))
def test_costs_that_are_no_watts_are_a_verdict_and_no_plan(policy: LanePolicy, watts: float) -> None:
    plan = partition(LaneRequest(loads([1.0, 2.0]), policy), Absurd(watts))
    assert {lane.verdict.reason for lane in plan.lanes} == {reasons.PROFILE_INVALID}
    assert (plan.cost_w, plan.unserved_rps) == (0.0, 3.0)


@given(
    st.lists(st.one_of(st.floats(), st.just(0.0), st.floats(0.1, 10.0)), max_size=5),
    st.lists(st.lists(st.floats(), max_size=5), max_size=5),
    st.sampled_from(list(LanePolicy)),
    st.integers(-3, 5),
)
@settings(deadline=None)
def test_nothing_is_thrown_whatever_comes_in(
    rates: list[float], rows: list[list[float]], policy: LanePolicy, budget: int
) -> None:
    confusion = Confusion(NAMES[: len(rates)], tuple(tuple(row) for row in rows))
    request = LaneRequest(loads(rates), policy, confusion, most_priced=budget)
    plan = partition(request, Stepwise())
    named = {name for lane in plan.lanes for name in (*lane.members, *lane.guests)}
    assert named == {each.name for each in loads(rates)}
    assert all(lane.verdict.message for lane in plan.lanes)
