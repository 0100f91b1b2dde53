"""The suite is what its page says, the same every time, and its figures are those of the plans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from joulery.bench.app import run
from joulery.bench.churn import WITHIN
from joulery.bench.engines import Found, engine_on
from joulery.bench.figures import exact_of, faults_of, figures_of, times_faster
from joulery.bench.forms import Form, concave, equal, mixed
from joulery.bench.measure import Measured, Solve, Task
from joulery.bench.plan import DEADLINE_CASES, deadline_name, drifts, tasks
from joulery.bench.suite import Case, drawn
from joulery.bench.targets import Target, judged, row, targets
from joulery.optimizer.faults import faults_of as problem_faults
from joulery.optimizer.solve import solve

SMALL = Case(9, 2, 12)


def found(cost_w: float, bound_w: float, faults: tuple[str, ...] = (), shed: float = 0.0) -> Found:
    return Found(cost_w, bound_w, shed, gpus=8, is_proven=cost_w == bound_w, faults=faults)


def measured_row(engine: str, *cold: Found) -> Measured:
    task = Task(SMALL, Form.EQUAL, engine, len(cold), 1.0, 1.0)
    solves = tuple(Solve(0.002 * (1 + place), 0.001, f) for place, f in enumerate(cold))
    return Measured(task, solves, solves, 2**20 * 50)


def test_a_seed_draws_the_same_fleet_every_time_and_another_seed_another() -> None:
    first, again, other = drawn(SMALL, 3), drawn(SMALL, 3), drawn(SMALL, 4)
    assert first.nodes == again.nodes
    assert all(np.array_equal(a.capacity, b.capacity) for a, b in zip(first.lanes, again.lanes, strict=True))
    assert [len(n) for n in first.lanes] != [len(n) for n in other.lanes]


def test_more_clocks_are_of_the_same_fleet() -> None:
    few, many = drawn(SMALL, 3), drawn(Case(9, 2, 80), 3)
    assert few.nodes == many.nodes
    for coarse, fine in zip(few.lanes, many.lanes, strict=True):
        assert fine.capacity.max() == pytest.approx(coarse.capacity.max())


def test_about_a_third_of_the_items_cannot_hold_their_objective_and_every_lane_has_some() -> None:
    fleet = drawn(Case(100, 2, 12), 0)
    share = sum(len(n) for n in fleet.lanes) / (100 * 2 * 4 * 12)
    assert 0.55 < share < 0.85
    assert all(len(n) > 0 for n in fleet.lanes)


@pytest.mark.parametrize("build", [equal, concave])
@pytest.mark.parametrize("seed", range(4))
def test_forms_are_faultless_problems_whose_counts_carry_the_load(build: object, seed: int) -> None:
    fleet = drawn(SMALL, seed)
    problem = build(fleet)  # type: ignore[operator]
    assert problem_faults(problem) == ()
    for lane, pool in zip(fleet.lanes, problem.pools, strict=True):
        assert (pool.count[1:] * lane.capacity >= 1.0 - 1e-8).all()


def test_the_redundant_form_carries_the_load_with_an_instance_lost() -> None:
    fleet = drawn(SMALL, 1)
    for lane, pool in zip(fleet.lanes, concave(fleet).pools, strict=True):
        most = {kind: lane.capacity[lane.kind == kind].max() for kind in np.unique(lane.kind).tolist()}
        left = (pool.count[1:] - 1) * np.array([most[kind] for kind in lane.kind.tolist()])
        assert (left >= 1.0 - 1e-8).all()


def test_gpus_bind_in_the_tight_form_and_watts_fall_with_more_of_them() -> None:
    tight, loose = (solve(equal(drawn(Case(20, 2, 12, t), 0)), engine="columns") for t in (0.75, 0.3))
    assert tight.why == "supply binding"
    assert loose.cost_w < tight.cost_w


def test_drift_changes_every_load_by_no_more_than_it_says() -> None:
    fleet = drawn(SMALL, 0)
    for before, after in zip(fleet.lanes, fleet.drifted(1, 0.05).lanes, strict=True):
        factor = float(before.capacity[0] / after.capacity[0])
        assert 0.95 <= factor <= 1.05
        assert factor != 1.0


def test_instances_that_run_cost_no_start() -> None:
    fleet = drawn(SMALL, 0)
    lane = fleet.lanes[0]
    kind = int(lane.kind[0])
    cost_w = np.full(len(fleet.kinds), 50.0)
    cold, warm = equal(fleet, None, cost_w).pools[0], equal(fleet, {lane.key: {kind: 1}}, cost_w).pools[0]
    saved = (cold.switch_w - warm.switch_w)[1:]
    assert set(saved[lane.kind == kind]) == {50.0}
    assert set(saved[lane.kind != kind]) <= {0.0}


def test_the_figures_are_of_the_solves_and_against_the_proven_optimum() -> None:
    rows = [
        measured_row("milp", found(100.0, 100.0), found(200.0, 150.0)),
        measured_row("fallback", found(110.0, 99.0)),
        measured_row("columns", found(90.0, 90.0)),
    ]
    exact = exact_of(rows)
    assert exact == {0: 100.0}
    figures = figures_of(rows[1], exact)
    assert figures["excessOverExactMax"] == pytest.approx(0.1)
    assert figures["gapToBoundP50"] == pytest.approx(0.1)
    assert figures["coldP50Milliseconds"] == pytest.approx(2.0)
    assert figures["residentMebibytes"] == 50


def test_how_much_faster_is_the_median_over_seeds_that_both_solved() -> None:
    quick, slow = (
        measured_row("columns", found(1.0, 1.0), found(1.0, 1.0)),
        measured_row("textbook", found(1.0, 1.0)),
    )
    assert times_faster(quick, slow) == pytest.approx(1.0)


def test_a_plan_that_sheds_is_counted_and_not_compared() -> None:
    figures = figures_of(measured_row("fallback", found(10.0, 10.0, shed=1.0)), {0: 100.0})
    assert figures["fullyServedSeeds"] == 0
    assert "excessOverExactP50" not in figures


def test_what_the_checker_refuses_is_named_with_case_and_seed() -> None:
    faults = faults_of(measured_row("milp", found(1.0, 1.0, faults=("too many GPUs",))))
    assert faults[0] == f"{SMALL.name} equal milp seed 0: too many GPUs"


def test_names_in_the_plan_are_unique_and_the_short_form_is_part_of_the_sizes_of_the_full() -> None:
    for is_full in (False, True):
        names = [f"{t.case.name}/{t.form}/{t.engine}" for t in tasks(is_full=is_full)]
        assert len(names) == len(set(names))
    assert {t.case for t in tasks(is_full=False)} <= {t.case for t in tasks(is_full=True)}


@pytest.mark.parametrize("form", list(Form))
def test_engines_are_measured_on_checked_plans(form: Form) -> None:
    others = ("textbook", "textbook-partial") if form in {Form.FILL, Form.MIXED} else ("milp",)
    for engine in ("columns", "fallback", *others):
        prepared = engine_on(form, engine, 5.0)(drawn(Case(4, 2, 6), 1))
        judged = prepared.judge(prepared.solve())
        assert judged.faults == ()
        assert judged.bound_w <= judged.cost_w


def test_the_mixed_form_is_measured_beside_both_pure_ones() -> None:
    for is_full in (False, True):
        forms = {
            t.form for t in tasks(is_full=is_full) if t.case == Case(100, 2, 80) and t.engine == "columns"
        }
        assert forms == set(Form)
    problem = mixed(drawn(Case(5, 2, 6), 1))
    assert (len(problem.lanes), len(problem.pools)) == (3, 2)
    assert {lane.key for lane in problem.lanes}.isdisjoint(pool.key for pool in problem.pools)


def test_the_command_prints_a_line_per_engine_and_writes_the_same_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    only = "9pools/1types/12clocks/tight/concave/fallback"
    assert run(is_full=False, only=only, out=out) == 0
    document = json.loads(out.read_text())
    assert document["schemaVersion"] == 1
    assert list(document["benchmarks"]) == [only]
    assert "fallback" in capsys.readouterr().out


def test_every_target_is_of_a_figure_that_the_full_form_measures() -> None:
    measured = {f"{t.case.name}/{t.form}/{t.engine}" for t in tasks(is_full=True)}
    measured |= {deadline_name(case, form) for case, form in DEADLINE_CASES}
    measured |= {f"{drift.name}/{WITHIN}" for drift in drifts(is_full=True)}
    assert {key for key, _ in targets()} <= measured


def test_the_short_form_measures_a_target_of_every_size_but_the_largest() -> None:
    measured = {f"{t.case.name}/{t.form}/{t.engine}" for t in tasks(is_full=False)}
    sizes = {key.partition("pools")[0] for key, _ in targets() if key in measured}
    assert sizes == {"9", "100", "1000"}


def test_a_target_is_judged_by_its_own_figure_and_not_where_nothing_was_measured() -> None:
    key = "100pools/2types/80clocks/tight/equal/columns"
    verdicts = judged({key: {"coldP50CpuMilliseconds": 100.1, "warmP50CpuMilliseconds": 50.0}})
    assert {name: v["isMet"] for name, v in verdicts.items()} == {
        f"{key}/coldP50CpuMilliseconds": False,
        f"{key}/warmP50CpuMilliseconds": True,
    }
    lines = [row(name, verdict) for name, verdict in verdicts.items()]
    assert [line.split()[0] for line in lines] == ["MISSED", "met"]
    assert lines[0].endswith("100.1 <= 100")
    assert not Target("timesFasterThanTextbook", least=300.0).is_met(299.9)


def test_a_name_that_fits_no_case_is_an_error() -> None:
    assert run(is_full=False, only="no such case", out=None) == 1
