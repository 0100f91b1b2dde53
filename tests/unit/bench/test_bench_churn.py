"""What starts cost in power, counted from the plans themselves, and how late a plan comes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from joulery.bench.churn import LOADING, WITHIN, Drift, foresight_of, frontier_of, loading_w, steps_of
from joulery.bench.deadline import overshoot_of
from joulery.bench.fewest import fewest, fewest_of, starts_of, with_starts
from joulery.bench.foresight import least_power_w, ways_of
from joulery.bench.forms import Form, Running, Wanted, equal
from joulery.bench.plan import drifts
from joulery.bench.step import begun, running_of, step
from joulery.bench.suite import Case, drawn
from joulery.optimizer.checker import check
from joulery.optimizer.problem import Kind
from joulery.optimizer.solve import solve
from problems import solution_of

CASE = Case(12, 2, 12)


def test_a_cost_of_starting_means_fewer_starts_and_no_less_power() -> None:
    found = frontier_of(Drift(CASE, 4, (25.0, 100.0)), seed=1)
    few, fewer = found["25W"], found["100W"]
    assert fewer["startsPerCycle"] <= few["startsPerCycle"] <= few["startsPerCycleAtNoCost"]
    assert fewer["startsPerCycle"] < fewer["startsPerCycleAtNoCost"]
    assert fewer["morePowerPercent"] >= few["morePowerPercent"] >= 0.0


def test_lanes_that_fill_start_less_for_a_cost_and_keep_what_runs_of_each_kind() -> None:
    found = frontier_of(Drift(CASE, 4, (25.0, 100.0), form=Form.FILL), seed=1)
    assert set(found) == {"25W", "100W", WITHIN}
    assert found["100W"]["startsPerCycle"] < found["25W"]["startsPerCycle"]
    assert found["25W"]["startsPerCycle"] < found["25W"]["startsPerCycleAtNoCost"]
    assert found["100W"]["morePowerPercent"] > 0.0


@pytest.mark.parametrize("form", [Form.EQUAL, Form.FILL])
def test_what_was_wanted_of_late_is_kept_while_loads_are_low(form: Form) -> None:
    fleet = drawn(CASE, 1)
    start_w = np.full(len(fleet.kinds), 20.0)
    before = step(form, fleet, {}, start_w).running
    low = fleet.loaded(np.full(len(fleet.lanes), 0.5))
    of_low = step(form, low, {}, start_w).running
    given_up = [
        sum(begun(step(form, low, before, start_w, wanted=Wanted(wanted)).running, before).values())
        for wanted in ((), (before, of_low), (before,))
    ]
    assert given_up[0] >= given_up[1] >= given_up[2]
    assert given_up[0] > given_up[2]
    dear = step(form, low, before, 50.0 * start_w, wanted=Wanted([before])).running
    assert form is Form.EQUAL or not sum(begun(dear, before).values())
    assert "starts-alone" in Drift(CASE, 4, form=form, recent=0).name


def test_only_cycles_up_to_the_one_at_hand_tell_what_is_wanted_later() -> None:
    drift = Drift(Case(40, 2, 12), 6, (), form=Form.FILL)
    fleet = drawn(drift.case, 1)
    start_w = np.full(len(fleet.kinds), 80.0)
    free = steps_of(fleet, drift, 0.0 * start_w)
    told = steps_of(fleet, drift, start_w, free)
    assert steps_of(fleet, drift, start_w, [*free[:3], free[0], free[0]])[:3] == told[:3]
    assert told != steps_of(fleet, replace(drift, recent=0), start_w, free)


def test_an_option_leaves_to_be_started_later_what_it_has_not_of_what_is_wanted() -> None:
    fleet = drawn(CASE, 1)
    key, start_w = fleet.lanes[0].key, np.arange(1.0, 1.0 + len(fleet.kinds))
    nothing: Running = {lane.key: {} for lane in fleet.lanes}
    wanted: list[Running] = [{**nothing, key: {0: 4}}, {**nothing, key: {1: 2}}]
    pool, plain = (
        equal(fleet, nothing, start_w, later).pools[0] for later in (Wanted(wanted, 0.5), Wanted())
    )
    for option in range(len(pool)):
        kind, count = int(pool.kind[option]), int(pool.count[option])
        later_w = [
            start_w[k] * max(0, number - (count if k == kind else 0)) for k, number in ((0, 4), (1, 2))
        ]
        assert pool.switch_w[option] - plain.switch_w[option] == pytest.approx(sum(later_w) / 4)


def test_watts_of_a_step_are_those_of_what_serves_without_what_starts_cost() -> None:
    fleet = drawn(CASE, 1)
    nothing = np.zeros(len(fleet.kinds))
    first = step(Form.FILL, fleet, {}, nothing)
    again = step(Form.FILL, fleet, first.running, nothing + 1e5)
    assert sum(begun(first.running, again.running).values()) == 0
    assert again.watts == pytest.approx(first.watts, rel=1e-3)
    free = step(Form.FILL, fleet.drifted(0, 0.2), first.running, nothing)
    dear = step(Form.FILL, fleet.drifted(0, 0.2), first.running, nothing + 1e5)
    assert sum(begun(first.running, dear.running).values()) < sum(begun(first.running, free.running).values())
    assert free.watts <= dear.watts < free.watts + 1e4


def test_lanes_without_gpus_are_counted_as_shed() -> None:
    fleet = replace(drawn(CASE, 1), nodes=(0, 0))
    assert step(Form.FILL, fleet, {}, np.zeros(len(fleet.kinds))).shed == CASE.pools


def test_lanes_that_are_refused_are_no_step() -> None:
    fleet = drawn(CASE, 1)
    with pytest.raises(ValueError, match="costs of starts"):
        step(Form.FILL, fleet, step(Form.FILL, fleet, {}, np.zeros(8)).running, np.full(8, np.inf))


def test_a_mean_over_fleets_is_of_all_their_starts_and_tells_the_least_saving() -> None:
    drift = Drift(CASE, 3, (75.0,), seeds=2)
    both, one, other = (frontier_of(drift, seed)["75W"] for seed in (None, 0, 1))
    assert both["fleets"] == 2
    assert both["startsPerCycle"] == pytest.approx(
        (one["startsPerCycle"] + other["startsPerCycle"]) / 2, abs=0.01
    )
    assert both["fewerStartsPercentLeast"] == min(one["fewerStartsPercent"], other["fewerStartsPercent"])


def test_within_the_target_counts_only_costs_that_keep_its_power() -> None:
    found = frontier_of(Drift(CASE, 4, (25.0, 100.0, 2e3), form=Form.FILL), seed=1)
    within = found[WITHIN]
    able = [f for name, f in found.items() if name != WITHIN and f["morePowerPercent"] <= 0.2]
    assert found["2000W"] not in able
    assert within["fewerStartsPercent"] == max(f["fewerStartsPercent"] for f in able)
    assert within["morePowerPercent"] <= within["mostMorePowerPercent"] == 0.2


def test_the_full_form_drifts_as_the_target_was_set_and_beside_it_under_equal_split() -> None:
    gate, *others = drifts(is_full=True)
    assert (gate.form, gate.case, gate.cycles, gate.step) == (Form.FILL, Case(100, 2, 80), 25, None)
    assert any((d.form, d.case, d.step) == (Form.EQUAL, gate.case, None) for d in others)
    assert len({d.name for d in (gate, *others)}) == 1 + len(others)


def test_starts_at_no_cost_are_the_same_as_without_one() -> None:
    found = frontier_of(Drift(CASE, 3, (0.0,)), seed=1)["0W"]
    assert found["startsPerCycle"] == found["startsPerCycleAtNoCost"]
    assert found["morePowerPercent"] == found["morePowerWithLoadingPercent"] == 0.0


def test_walking_loads_stay_near_where_they_were_and_within_their_ends() -> None:
    walk = np.stack(list(Drift(CASE, 60, step=0.05).loads(12)))
    assert abs(walk[1:] / walk[:-1] - 1.0).max() <= 0.05 + 1e-12
    assert (walk.min(), walk.max()) == (pytest.approx(0.8), pytest.approx(1.2))


def test_nobody_beats_foresight_and_more_starts_never_need_more_power() -> None:
    drift = Drift(Case(12, 2, 12, 0.5), 4, (25.0, 100.0))
    frontier = frontier_of(drift, seed=1)
    for churn in (frontier[cost] for cost in ("25W", "100W", LOADING)):
        assert churn["shedPoolsPerCycle"] == 0.0
        bound = foresight_of(drift, seed=1, fewer_percent=float(churn["fewerStartsPercent"]) - 0.1)
        assert bound["morePowerPercentAtLeast"] <= churn["morePowerPercent"]
    few, fewer = (foresight_of(drift, 1, percent)["morePowerPercentAtLeast"] for percent in (20.0, 90.0))
    assert few <= fewer + 0.02


def test_foresight_of_one_pool_is_what_trying_every_way_finds() -> None:
    fleet = drawn(Case(1, 1, 6, 0.2), 3)
    fleets = [fleet.loaded(np.array([factor])) for factor in (0.8, 1.2, 0.9, 1.1)]
    running = {fleet.lanes[0].key: {int(fleet.lanes[0].kind[0]): 1}}
    ways = ways_of(fleets, 0, running[fleet.lanes[0].key])
    for most in (0, 2, 9):
        found = [
            sum(ways.watts[cycle, state] for cycle, state in enumerate(way))
            for way in itertools.product(range(ways.watts.shape[1]), repeat=len(fleets))
            if ways.first[way[0]] + sum(ways.starts[a, b] for a, b in pairwise(way)) <= most
        ]
        least_w = min(found, default=np.inf) / len(fleets)
        bound_w = least_power_w(fleets, running, most)
        assert bound_w <= least_w * (1.0 + 1e-9)
    assert bound_w == pytest.approx(least_w, rel=1e-3)


def test_the_fewest_starts_within_some_power_are_what_trying_everything_finds() -> None:
    fleet = drawn(Case(3, 2, 4, 0.4), 2)
    first = solve(equal(fleet))
    running = running_of(equal(fleet), first)
    saved = []
    for seed in range(6):
        problem = with_starts(fleet.drifted(seed, 0.3), running)
        least = solve(problem)
        for power in (1.0005, 1.05, 1.3):
            found = fewest(problem, least, power)
            tried = [
                starts_of(problem, plan)
                for options in itertools.product(*(range(1, len(pool)) for pool in problem.pools))
                if not check(problem, plan := solution_of(problem, options))
                and plan.cost_w <= power * least.cost_w
            ]
            assert found.starts == min(tried)
            assert found.is_proven
            saved.append(starts_of(problem, least) - found.starts)
    assert max(saved) > 0


def test_every_cycle_keeps_its_power_and_proves_its_fewest_starts() -> None:
    drift = Drift(Case(20, 2, 12, 0.3), 4, ())
    found = fewest_of(drift, seed=1)
    assert found["cyclesProven"] == found["cycles"] == 4
    assert 0.0 <= found["morePowerPercent"] <= found["mostMorePowerPercentPerCycle"]
    assert 0.0 < found["startsPerCycle"] < found["startsPerCycleAtNoCost"]


def test_what_loading_costs_is_counted_in_the_power_of_the_boundary() -> None:
    found = frontier_of(Drift(CASE, 4, ()), seed=1)[LOADING]
    assert found["morePowerWithLoadingPercent"] < found["morePowerPercent"]


def test_a_start_draws_the_idle_power_of_its_gpus_for_as_long_as_it_takes() -> None:
    (watts,) = loading_w([Kind("H100-like", 4)]).tolist()
    assert watts == 4 * 75.0 * 120.0 / 300.0


@pytest.mark.parametrize("form", [Form.EQUAL, Form.FILL])
def test_every_plan_of_the_deadline_bench_is_checked(form: Form) -> None:
    found = overshoot_of(CASE, seeds=2, limits_s=(0.001, 5.0), form=form)
    assert found["solves"] == 8
    assert found["plansRefused"] == 0
    assert 0.0 <= found["overshootP50CpuMilliseconds"] <= found["overshootMaxCpuMilliseconds"]


def test_cycles_of_the_warm_up_count_for_what_is_known_but_not_as_starts() -> None:
    drift = Drift(CASE, 3, (60.0,), form=Form.FILL)
    warm = replace(drift, warm_up=2, cycles=1)
    pairs = zip(drift.loads(4), warm.loads(4), strict=True)
    assert all((one == other).all() for one, other in pairs)
    fleet = drawn(CASE, 1)
    steps = steps_of(fleet, warm, np.zeros(len(fleet.kinds)))
    found = frontier_of(warm, seed=1)["60W"]
    assert found["startsPerCycleAtNoCost"] == sum(begun(steps[2].running, steps[3].running).values())
    assert foresight_of(replace(warm, form=Form.EQUAL), 1)["cycles"] == 1
