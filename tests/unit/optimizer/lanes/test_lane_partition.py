"""Lanes: all load is kept, `Auto` is the best of all partitions, and order, faults and confusion do no harm."""

from __future__ import annotations

import math
import random
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.domain import reasons
from joulery.domain.request_class import Objective, lane_objective
from joulery.optimizer.lanes.costs import Estimate
from joulery.optimizer.lanes.partition import partition
from joulery.optimizer.lanes.plan import LanePartition
from joulery.optimizer.lanes.request import ClassLoad, LanePolicy, LaneRequest, Promise
from joulery.optimizer.lanes.search import Quality
from lane_cases import NAMES, Given, Stepwise, confused, loads, many, partitions

FIXED = (LanePolicy.SINGLE, LanePolicy.BY_INPUT, LanePolicy.PER_CLASS)
rates = st.lists(st.floats(0.01, 40.0), min_size=1, max_size=6)


def asked(
    classes: tuple[ClassLoad, ...],
    costs: Stepwise | Given,
    policy: LanePolicy = LanePolicy.AUTO,
    **options: object,
) -> LanePartition:
    return partition(LaneRequest(classes, policy, **options), costs)  # type: ignore[arg-type]


def members(plan: LanePartition) -> list[str]:
    return [lane.name for lane in plan.lanes]


def drawn(names: list[str], seed: int, *, gap: float = 0.0) -> Given:
    """Watts of every lane drawn at random; the share `gap` of lanes cannot be served."""
    rng = random.Random(seed)
    lanes = chain.from_iterable(combinations(sorted(names), size) for size in range(1, len(names) + 1))
    return Given(
        {lane: rng.uniform(100.0, 100.0 + 400.0 * len(lane)) for lane in lanes if rng.random() >= gap}
    )


@given(rates, st.sampled_from(list(LanePolicy)), st.floats(0.3, 1.0), st.sampled_from(list(Promise)))
@settings(deadline=None)
def test_every_request_lands_in_exactly_one_lane(
    offered: list[float], policy: LanePolicy, accuracy: float, promise: Promise
) -> None:
    classes = loads(offered)
    confusion = confused([each.name for each in classes], accuracy)
    plan = asked(classes, Stepwise(), policy, confusion=confusion, promise=promise)
    for each in classes:
        landed = math.fsum(dict(lane.rates_rps).get(each.name, 0.0) for lane in plan.lanes)
        assert landed == pytest.approx(each.rate_rps, rel=1e-9)
    sent = [name for lane in plan.lanes for name in lane.members]
    assert sorted(sent) == sorted(each.name for each in classes)


@given(rates, st.sampled_from(list(LanePolicy)), st.floats(0.3, 1.0))
@settings(deadline=None)
def test_a_lane_has_the_objective_of_the_largest_inputs_that_land_there(
    offered: list[float], policy: LanePolicy, accuracy: float
) -> None:
    classes = {each.name: each.request_class for each in loads(offered)}
    confusion = confused(sorted(classes), accuracy)
    for lane in asked(loads(offered), Stepwise(), policy, confusion=confusion).lanes:
        assert lane.objective == lane_objective([classes[name] for name, _ in lane.rates_rps])


def test_where_no_class_gives_up_its_own_objective_a_lane_has_the_strictest() -> None:
    plan = asked(loads([1.0] * 9), Stepwise(), LanePolicy.SINGLE, promise=Promise.STRICTEST)
    assert plan.lanes[0].objective == Objective(250, 100)


@given(st.integers(1, 6), st.integers(0, 10**6), st.sampled_from([0.0, 0.3]))
@settings(deadline=None)
def test_auto_is_the_best_of_all_set_partitions(count: int, seed: int, gap: float) -> None:
    classes = loads([1.0, 2.0, 4.0, 8.0, 16.0, 32.0][:count])
    rate = {each.name: each.rate_rps for each in classes}
    costs = drawn(list(rate), seed, gap=gap)

    def worth(cut: list[list[str]]) -> tuple[float, float]:
        lanes = [tuple(sorted(part)) for part in cut]
        unserved = sum(rate[name] for lane in lanes if lane not in costs.watts for name in lane)
        return unserved, math.fsum(costs.watts.get(lane, 0.0) for lane in lanes)

    best = min(worth(cut) for cut in partitions(list(rate)))
    plan = asked(classes, costs)
    assert (plan.unserved_rps, plan.cost_w) == (pytest.approx(best[0]), pytest.approx(best[1]))
    assert plan.quality is Quality.OPTIMAL
    assert plan.bound_w == pytest.approx(plan.cost_w)


def test_auto_is_the_best_of_the_877_partitions_of_seven_classes() -> None:
    costs = drawn(list(NAMES[:7]), seed=1)
    cuts = list(partitions(list(NAMES[:7])))
    assert len(cuts) == 877
    best = min(math.fsum(costs.watts[tuple(sorted(part))] for part in cut) for cut in cuts)
    assert asked(loads([1.0] * 7), costs).cost_w == pytest.approx(best)


@given(rates, st.floats(0.3, 1.0), st.integers(0, 60), st.sampled_from(list(Promise)))
@settings(deadline=None, max_examples=40)
def test_auto_never_costs_more_than_a_fixed_policy_whatever_the_budget(
    offered: list[float], accuracy: float, budget: int, promise: Promise
) -> None:
    classes = loads(offered)
    options = {"confusion": confused([each.name for each in classes], accuracy), "promise": promise}
    auto = asked(classes, Stepwise(), most_priced=budget, **options)
    fixed = {policy: asked(classes, Stepwise(), policy, **options) for policy in FIXED}
    assert auto.cost_w <= min(plan.cost_w for plan in fixed.values())
    assert {each.policy: each.cost_w for each in auto.alternatives} == {
        policy: plan.cost_w for policy, plan in fixed.items()
    }
    assert auto.bound_w is not None and auto.bound_w <= auto.cost_w


@given(st.integers(1, 6), st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_the_order_of_classes_changes_nothing(count: int, seed: int, rng: random.Random) -> None:
    classes = list(loads([3.0, 0.0, 5.0, 1.0, 7.0, 2.0][:count]))
    costs = drawn([each.name for each in classes], seed, gap=0.2)
    confusion = confused([each.name for each in classes], 0.8)
    first = asked(tuple(classes), costs, confusion=confusion)
    rng.shuffle(classes)
    shuffled = confused([each.name for each in classes], 0.8)
    assert asked(tuple(classes), costs, confusion=shuffled) == first


@given(rates, st.integers(0, 5), st.floats(1.0, 3.0), st.floats(0.5, 1.0))
@settings(deadline=None, max_examples=40)
def test_more_load_never_costs_less(offered: list[float], place: int, factor: float, accuracy: float) -> None:
    confusion = confused([each.name for each in loads(offered)], accuracy)
    less = asked(loads(offered), Stepwise(), confusion=confusion)
    offered[place % len(offered)] *= factor
    more = asked(loads(offered), Stepwise(), confusion=confusion)
    assert more.cost_w >= less.cost_w - 1e-6


def test_a_small_fleet_is_one_lane_and_a_large_one_specialises() -> None:
    small = asked(loads([0.1] * 9), Stepwise())
    large = asked(loads([400.0] * 9), Stepwise())
    assert len(small.lanes) == 1 and small.lanes[0].verdict.reason == reasons.LANE_MERGED
    assert len(large.lanes) == 9 and {lane.verdict.reason for lane in large.lanes} == {reasons.LANE_APART}
    said = small.lanes[0].verdict.message
    assert "merging saves" in said and "2000 ms to the first token instead of 250 to 400 ms" in said
    assert all("the nearest, it would draw" in lane.verdict.message for lane in large.lanes)


def test_every_lane_of_several_says_what_merging_more_would_cost() -> None:
    plan = asked(loads([5.0] * 9), Stepwise())
    merged = [lane.verdict.message for lane in plan.lanes if lane.verdict.reason == reasons.LANE_MERGED]
    assert len(plan.lanes) > 1 and merged
    assert all("merging saves" in said and "the nearest, it would draw" in said for said in merged)


def test_a_merge_that_an_estimate_promises_but_nobody_priced_is_said() -> None:
    watts = {("SM", "SS"): 190.0, ("SM",): 100.0, ("SS",): 100.0, ("MS",): 100.0, ("MS", "SM", "SS"): 500.0}
    guesses = {("MS", "SS"): Estimate(150.0, 0.5), ("MS", "SM"): Estimate(150.0, 0.5)}
    rates = dict.fromkeys(NAMES, 0.0) | {"SS": 1.0, "SM": 1.0, "MS": 1.0}
    plan = asked(loads(list(rates.values())), Given(watts, guesses), most_priced=0)
    assert plan.quality is Quality.BOUNDED
    assert any("not looked into" in lane.verdict.message for lane in plan.lanes)


def test_fixed_policies_cut_as_they_say() -> None:
    plans = {policy: asked(loads([1.0] * 9), Stepwise(), policy) for policy in FIXED}
    assert [len(plan.lanes) for plan in plans.values()] == [1, 3, 9]
    assert members(plans[LanePolicy.BY_INPUT]) == ["LL+LM+LS", "ML+MM+MS", "SL+SM+SS"]
    assert [plan.needs_prediction for plan in plans.values()] == [False, False, True]


def test_confused_requests_bring_their_length_and_their_objective() -> None:
    classes = tuple(each for each in loads([1.0] * 9) if each.name in {"SS", "LS"})
    confusion = confused(["SS", "LS"], 0.9)
    lanes = {
        lane.name: lane
        for lane in asked(classes, Stepwise(), LanePolicy.PER_CLASS, confusion=confusion).lanes
    }
    assert dict(lanes["SS"].rates_rps) == {"LS": pytest.approx(0.1), "SS": pytest.approx(0.9)}
    assert lanes["SS"].objective == Objective(2000, 100)


def test_what_needs_no_prediction_is_not_hurt_by_a_predictor_that_only_guesses() -> None:
    classes = loads([50.0] * 9)
    guesses = confused(NAMES, 1.0 / 9.0)
    for policy in (LanePolicy.SINGLE, LanePolicy.BY_INPUT):
        assert asked(classes, Stepwise(), policy, confusion=guesses) == asked(classes, Stepwise(), policy)
    auto = asked(classes, Stepwise(), confusion=guesses)
    assert not auto.needs_prediction
    assert asked(classes, Stepwise(), LanePolicy.PER_CLASS, confusion=guesses).cost_w > auto.cost_w


def test_equal_costs_go_to_fewer_lanes_and_to_what_needs_no_prediction() -> None:
    costs = Given({("SM", "SS"): 200.0, ("SM",): 100.0, ("SS",): 100.0})
    plan = asked(loads([1.0, 1.0]), costs)
    assert members(plan) == ["SM+SS"] and not plan.needs_prediction


def test_estimates_spare_costs_and_the_bound_says_what_they_leave_open() -> None:
    costs = drawn(list(NAMES[:6]), seed=5)
    guided = Given(costs.watts, {lane: Estimate(1.02 * w, 0.3) for lane, w in costs.watts.items()})
    whole = asked(loads([1.0] * 6), costs)
    quick = asked(loads([1.0] * 6), guided, most_priced=6)
    assert len(guided.asked) < len(costs.asked) / 2
    assert quick.quality is Quality.BOUNDED
    assert quick.bound_w is not None and quick.bound_w <= whole.cost_w <= quick.cost_w
    assert quick.cost_w <= 1.05 * whole.cost_w


def test_many_classes_are_cut_by_steps_and_say_that_nothing_is_proven() -> None:
    classes = many([0.3 * (1 + place % 5) for place in range(13)])
    auto = asked(classes, Stepwise())
    fixed = [asked(classes, Stepwise(), policy).cost_w for policy in FIXED]
    assert auto.quality is Quality.LOCAL and auto.bound_w is None
    assert auto.cost_w <= min(fixed)
    assert auto == asked(tuple(reversed(classes)), Stepwise())


@given(st.lists(st.floats(0.01, 40.0), min_size=2, max_size=8))
@settings(deadline=None, max_examples=25)
def test_steps_find_what_the_whole_search_finds_to_five_percent(offered: list[float]) -> None:
    from joulery.optimizer.lanes import search

    whole = asked(many(offered), Stepwise())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "MOST_WHOLE", 1)
        steps = asked(many(offered), Stepwise())
    assert whole.cost_w <= steps.cost_w + 1e-6
    assert steps.cost_w <= 1.05 * whole.cost_w
