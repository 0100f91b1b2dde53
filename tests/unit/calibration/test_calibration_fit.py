"""The fit finds what made-up rows were made with, and says what it cannot use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from joulery.calibration.claims import Bound, Claim
from joulery.calibration.client import Load, engine_of, play
from joulery.calibration.fit import Point, Setting, fit
from joulery.calibration.form import replayed
from joulery.calibration.holdout import Errors, judged
from joulery.calibration.lanes import Lane, law_of_profile
from joulery.calibration.measurements import Measurement, read_measurements, shipped_measurements
from joulery.calibration.report import merge_into
from joulery.calibration.schedule import schedule_of
from joulery.errors import ConfigError
from joulery.serving.instance import instance_model
from joulery.serving.truth import draw_truth
from serving_cases import ACCELERATOR, instance, shipped_profile

HEADER = "accelerator,engine,tensor_parallel_size,input_tokens,output_tokens,concurrency,ttft_ms,tpot_ms\n"
GOOD = "H100-SXM-80GB,VLLM,4,1024,1024,8,96.3,12.1\n"
LAW = law_of_profile(shipped_profile(), ACCELERATOR)
SETTING = Setting(LAW.weight_streaming_ms)


def made_up(*, clients: tuple[int, ...] = (4, 20, 48)) -> list[Point]:
    """Rows that the engine itself made with the shipped parameters, small ones."""
    points = []
    for tp in (2, 4, 8):
        model = instance(tp)
        for shape in ((300, 60), (300, 400), (3000, 60)):
            for count in clients:
                load = Load(count, *shape, requests_per_client=3)
                answers = play(engine_of(model, load), load)
                ttft_ms = answers.ttft_ms + 1e-6 * model.client_ns
                row = Measurement(ACCELERATOR, "VLLM", tp, *shape, count, ttft_ms, answers.tpot_ms)
                run = replayed([schedule_of(load, model.kv_capacity_tokens)], tp)
                points.append(Point(row, run))
    return points


def test_fit_recovers_the_parameters_that_the_engine_made_the_rows_with() -> None:
    found = fit(made_up(), SETTING)
    for name in ("host_base_ms", "compute_token_us", "context_token_ns", "client_base_ms"):
        assert getattr(found, name) == pytest.approx(getattr(LAW, name), rel=0.01), name
    assert found.sequence_us == pytest.approx(LAW.sequence_us, rel=0.05)
    for tp, step_ms in LAW.streaming_step_ms.items():
        assert found.streaming_step_ms[tp] == pytest.approx(step_ms, rel=0.02)


def test_held_out_rows_of_a_true_law_are_predicted_and_one_wrong_row_is_found() -> None:
    points = made_up()
    wrong = replace(points[3], row=replace(points[3].row, tpot_ms=1.5 * points[3].row.tpot_ms))
    lane = Lane(ACCELERATOR, "VLLM", (*points[:3], wrong, *points[4:]), (), SETTING)
    found = judged(lane, SETTING)
    assert set(found.shapes) == {"300/60", "300/400", "3000/60"}
    assert found.sizes[4].tpot.max_percent < 8.0  # the step of a size that no row has is a guess
    name, error = found.in_sample.tpot.worst
    assert name == wrong.row.name
    assert error == pytest.approx(-33.3, abs=1.5)
    assert found.in_sample.tpot.without_worst().max_percent < 2.0
    low, high = found.ranges()["host_base_ms"]
    assert low <= found.parameters()["host_base_ms"] <= high


def test_too_few_rows_are_refused_with_their_number() -> None:
    with pytest.raises(
        ConfigError, match=r"4 rows hold 8 values of ttft_ms and tpot_ms, too few for 10 parameters"
    ):
        fit(made_up(clients=(4,))[:4], SETTING)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("tpot_ms", "tpot_s") + GOOD, "a.csv row 1: unknown column tpot_s"),
        (HEADER.replace(",tpot_ms", "") + GOOD, "a.csv row 1: missing column tpot_ms"),
        (HEADER + GOOD.replace("12.1", "nan"), "row 2, column tpot_ms: must be .* not 'nan'"),
        (HEADER + GOOD.replace("96.3", "-1"), "row 2, column ttft_ms: must be a positive number of milliseconds"),
        (HEADER + GOOD.replace("96.3", "inf"), "row 2, column ttft_ms"),
        (HEADER + GOOD.replace("96.3", "fast"), "row 2, column ttft_ms"),
        (HEADER + GOOD.replace("H100-SXM-80GB", "B200"), "row 2, column accelerator: must be one of H100"),
        (HEADER + GOOD.replace("VLLM", "SGLANG"), "row 2, column engine: must be one of VLLM, TRTLLM"),
        (HEADER + GOOD.replace(",4,", ",0,"), "row 2, column tensor_parallel_size: must be a positive integer"),
        (HEADER + GOOD.replace("1024,8", "1,8"), "row 2, column output_tokens"),
        (HEADER + GOOD + GOOD.replace("12.1", "13.0"), "row 3: H100-SXM-80GB TP4 1024/1024 B=8 was measured twice"),
        (HEADER + GOOD.replace(",12.1", ""), "row 2, column tpot_ms"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_refused_by_row_and_column(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_measurements(text.splitlines(), file="a.csv")


def test_the_profile_that_ships_for_h200_is_usable_and_has_the_cache_that_its_rows_had() -> None:
    profile = shipped_profile()
    assert profile.validate() == ()
    assert profile.kv_cache("H200-SXM-141GB").type == "FP8"
    assert profile.kv_cache("H100-SXM-80GB").type == "BF16"
    assert profile.accelerators["H200-SXM-141GB"].device.tensor_parallel_sizes == (1, 2, 4, 8)
    assert instance_model(profile, "H200-SXM-141GB", 1).kv_capacity_tokens == pytest.approx(366_000, rel=0.02)
    assert draw_truth(profile, 3).profile.validate() == ()


def test_shipped_rows_are_the_three_lanes_of_the_source() -> None:
    rows = shipped_measurements()
    counts = {
        (r.accelerator, r.engine): sum((o.accelerator, o.engine) == (r.accelerator, r.engine) for o in rows)
        for r in rows
    }
    assert counts == {
        ("H100-SXM-80GB", "VLLM"): 45,
        ("H200-SXM-141GB", "VLLM"): 60,
        ("H200-SXM-141GB", "TRTLLM"): 72,
    }
    assert {r.shape for r in rows} == {"1024/1024", "1024/8192", "8192/1024"}


def errors(*percents: float) -> Errors:
    return Errors(tuple((f"row {i}", e) for i, e in enumerate(percents)))


def test_a_bound_is_missed_by_its_mean_or_by_its_largest_error_and_an_outlier_is_only_left_out_by_name() -> (
    None
):
    bound = Bound(5.0, 15.0)
    assert Claim("TTFT", "a", "b", errors(1, -9), bound, "").is_met is True
    assert Claim("TTFT", "a", "b", errors(9, -9), bound, "").is_met is False
    assert Claim("TTFT", "a", "b", errors(0, 0, 0, -16), bound, "").is_met is False
    assert Claim("TTFT", "a", "b", errors(0, 0, 0, -16), bound, "", outlier="row 3").is_met is True
    assert Claim("TTFT", "a", "b", errors(50), None, "").is_met is None


def test_figures_are_merged_beside_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "build" / "calibration.json"
    merge_into(file, {"latency": {"a": 1}})
    merge_into(file, {"power": {"b": 2}})
    assert json.loads(file.read_text()) == {"schemaVersion": 1, "latency": {"a": 1}, "power": {"b": 2}}
    file.write_text('{"schemaVersion": 7}')
    with pytest.raises(ConfigError, match="schemaVersion 7, not 1"):
        merge_into(file, {"latency": {}})
    assert json.loads(file.read_text()) == {"schemaVersion": 7}
