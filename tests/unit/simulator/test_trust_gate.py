"""The trust gate's figures are drawn from its cases and hide none that stays below the promise."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from joulery.planner.settings import PlannerSettings
from joulery.simulator.campaign import written
from joulery.simulator.evaluation import believing
from joulery.simulator.trust import FACTOR_BY_SEED, TrustCampaign, trust


def case(factor: float, ours: float, without: float, cost: float, **more: Any) -> dict[str, Any]:
    return {
        "day": "2024-05-14",
        "seed": 20,
        "startupSeconds": 360.0,
        "timeFactor": factor,
        "attainmentPercent": {"chat": 99.9, "code": ours},
        "attainmentPercentWithoutLoop": {"chat": without, "code": 99.9},
        "loopCostPercent": cost,
        **more,
    }


def test_slower_and_faster_engines_are_told_apart() -> None:
    figures = trust([case(1.15, 99.2, 98.1, 4.0), case(1.08, 99.4, 99.1, 2.0), case(0.85, 99.9, 99.9, 0.0)])
    assert figures["caseCount"] == 3
    assert figures["slower"]["lowestAttainmentPercent"] == 99.2
    assert figures["slower"]["lowestAttainmentPercentWithoutLoop"] == 98.1
    assert figures["slower"]["casesBelow99PercentWithoutLoop"] == 1
    assert figures["slower"]["loopCostPercent"] == {"low": 2.0, "median": 3.0, "high": 4.0}
    assert figures["faster"]["lowestAttainmentPercent"] == 99.9
    assert figures["casesBelow99Percent"] == []


def test_a_case_below_the_promise_is_named_beside_what_the_true_profile_attains() -> None:
    as_profiled = {"chat": 99.9, "code": 98.9}
    figures = trust([case(1.15, 98.7, 97.0, 4.0, attainmentPercentAsProfiled=as_profiled)])
    (below,) = figures["casesBelow99Percent"]
    assert below["case"] == "2024-05-14 seed 20 start-up 360 s, time x 1.15"
    assert below["asProfiled"] == as_profiled


def test_savings_are_told_where_a_baseline_ran_and_nowhere_else() -> None:
    figures = trust([case(1.15, 99.2, 98.1, 4.0, savingPercentAgainstReactive=12.0)])
    assert figures["slower"]["savingPercentAgainstReactive"]["median"] == 12.0
    assert trust([case(1.15, 99.2, 98.1, 4.0)])["slower"]["savingPercentAgainstReactive"] is None
    assert figures["faster"] == {}


def test_all_days_and_start_up_times_meet_engines_of_every_speed() -> None:
    cases = [c for _, c in TrustCampaign().cases()]
    assert {c.startup_s for c in cases} == {120.0, 360.0}
    assert {c.day for c in cases} == {date(2024, 5, day) for day in range(12, 17)}
    assert {c.time_factor for c in cases} == set(FACTOR_BY_SEED.values())
    assert len(cases) == len(set(cases)) == 50


def test_figures_of_other_commands_stay_in_the_file(tmp_path: Path) -> None:
    out = tmp_path / "build" / "evaluation.json"
    written(out, {"gate": {"cases": 1}})
    written(out, {"trust": {"caseCount": 2}})
    assert json.loads(out.read_text()) == {
        "schemaVersion": 1,
        "gate": {"cases": 1},
        "trust": {"caseCount": 2},
    }


def test_without_the_loop_no_window_moves_anything() -> None:
    settings = believing(PlannerSettings())
    assert settings.derate.lowest == pytest.approx(1.0)
    assert settings.reinforcement.most == 0
