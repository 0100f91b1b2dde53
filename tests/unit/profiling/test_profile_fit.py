"""A fit finds what the points were made with, says what they cannot tell, and is refused where it is wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from inspect import signature
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from joulery.__main__ import app
from joulery.api.convert_profile import profile_of
from joulery.errors import ConfigError
from joulery.profiling import commands
from joulery.profiling.document import decimal_text, manifest_text, spec_of
from joulery.profiling.fitting import FitRequest, fitted_profile, name_of
from joulery.profiling.held_out import BY_ROWS
from joulery.profiling.points import MeasuredPoint, render_points
from joulery.profiling.replay import Client
from joulery.serving.parameters import AcceleratorProfile, EngineProfile, Grade, worst_mean_error
from joulery.serving.profile_spec import profile_from_spec
from joulery.serving.truth import draw_truth
from made_up_points import CLIENT, made_up
from serving_cases import ACCELERATOR, shipped_profile

KNOWN = shipped_profile().accelerators[ACCELERATOR]


def _truth() -> EngineProfile:
    """Hidden parameters, but for what a fit assumes: weight streaming, idle watts, the knee, the board's limit."""
    drawn = draw_truth(shipped_profile(), 5).profile
    true = drawn.accelerators[ACCELERATOR]
    latency = replace(true.latency, weight_streaming_ns=KNOWN.latency.weight_streaming_ns)
    power = replace(
        true.power, idle_loaded_w=KNOWN.power.idle_loaded_w, compute_w=true.power.compute_w.moved(640.0)
    )
    clock = replace(true.clock, memory_knee=KNOWN.clock.memory_knee)
    true = replace(true, latency=latency, power=power, clock=clock)
    return replace(drawn, accelerators={ACCELERATOR: true})


TRUTH = _truth()
REQUEST = FitRequest("mine", "llama-3.1-70b", ("llama-3.1-70b-fp8",), CLIENT)


@cache
def points(profile: EngineProfile = TRUTH) -> tuple[MeasuredPoint, ...]:
    return made_up(profile, ACCELERATOR)


def fitted(rows: Sequence[MeasuredPoint], request: FitRequest = REQUEST) -> AcceleratorProfile:
    told = Console(file=io.StringIO())
    return fitted_profile(rows, request, file="a.csv", told=told).accelerators[ACCELERATOR]


def test_fit_recovers_the_parameters_that_the_engine_made_the_points_with() -> None:
    found, true = fitted(points()), TRUTH.accelerators[ACCELERATOR]
    for name in ("host_base_ns", "compute_token_ps", "context_token_ps", "sequence_ns", "client_base_ns"):
        parameter, expected = getattr(found.latency, name), getattr(true.latency, name).value
        assert parameter.value == pytest.approx(expected, rel=0.02), name
        assert parameter.low <= parameter.value <= parameter.high
        assert parameter.grade is Grade.MEASURED
        assert parameter.source.startswith("fit of 27 points of a.csv, Time")
        assert parameter.basis is not None
        assert (parameter.basis.points, parameter.basis.mean_error_percent is not None) == (27, True)
        assert (
            parameter.basis.valid
            == "TP 2, 4, 8; 4 to 48 clients; 300 to 3000 tokens in; 60 to 400 tokens out; 1980 MHz"
        )
    assert found.latency.weight_streaming_ns.basis is None
    assert {e.held_out for e in found.held_out_errors} == {"300/60", "300/400", "3000/60"}
    assert {e.quantity for e in found.held_out_errors} == {
        "TimePerOutputToken",
        "TimeToFirstToken",
        "WattsPerGPU",
    }
    worst = worst_mean_error(found)
    assert worst is not None
    assert worst.mean_percent < 4.0


def test_watts_by_kind_and_the_response_to_the_clock_are_found_from_points_at_several_clocks() -> None:
    rows = made_up(TRUTH, ACCELERATOR, sizes=(2, 8), clocks=(1200, 1590, 1980))
    found, true = fitted(rows), TRUTH.accelerators[ACCELERATOR]
    errors = [e for e in found.held_out_errors if e.quantity == "WattsPerGPU"]
    assert max(e.mean_percent for e in errors) < 2.0
    for name in ("host_w", "weight_streaming_w", "decode_attention_w", "compute_w"):
        parameter, expected = getattr(found.power, name), getattr(true.power, name).value
        assert parameter.value == pytest.approx(expected, rel=0.03), name
        assert parameter.grade is Grade.MEASURED
    for name in ("memory_floor", "compute_exponent"):
        parameter, expected = getattr(found.clock, name), getattr(true.clock, name).value
        assert parameter.value == pytest.approx(expected, rel=0.03), name
        assert parameter.low <= parameter.value <= parameter.high
    assert found.clock.bandwidth_slope.grade is Grade.ASSUMED
    assert found.device.measured_above_mhz == 1200


def test_one_measured_watt_scales_what_is_known_and_says_so() -> None:
    rows = [p if i == 4 else replace(p, watts_per_gpu=None) for i, p in enumerate(points())]
    found = fitted(rows)
    assert found.power.host_w.grade is found.power.compute_w.grade is Grade.INTERPOLATED
    assert "times 0." in found.power.compute_w.source or "times 1." in found.power.compute_w.source
    assert found.power.idle_loaded_w.grade is Grade.ASSUMED
    assert not [e for e in found.held_out_errors if e.quantity == "WattsPerGPU"]


def test_what_one_size_cannot_tell_is_taken_and_assumed() -> None:
    rows = [replace(p, watts_per_gpu=None) for p in points() if p.tensor_parallel_size == 4]
    found = fitted(rows)
    for name in ("host_per_doubling_ns", "compute_token_undivided_ps", "client_per_gpu_ns"):
        parameter = getattr(found.latency, name)
        assert (parameter.value, parameter.grade) == (getattr(KNOWN.latency, name).value, Grade.ASSUMED)
        assert parameter.source.startswith("from llama-3.1-70b-fp8, not told by the points: ")
    assert found.latency.compute_token_ps.grade is Grade.MEASURED
    assert found.power.compute_w.grade is Grade.ASSUMED
    assert found.device.tensor_parallel_sizes == (4,)


def test_a_model_of_half_the_bytes_starts_from_half_the_times() -> None:
    half = replace(REQUEST, weight_bytes=36_350_000_000, streamed_weight_bytes=35_300_000_000)
    found = fitted(points(), half)
    assert found.latency.weight_streaming_ns.value == pytest.approx(12_400_000)


def test_points_with_watts_and_times_of_the_wrong_load_generator_show_in_the_held_out_errors() -> None:
    declared = replace(REQUEST, client=Client(requests_per_client=9, shortest_share=1.0, token_budget=256))
    worst, right = worst_mean_error(fitted(points(), declared)), worst_mean_error(fitted(points()))
    assert worst is not None and right is not None
    assert worst.mean_percent > 2 * right.mean_percent


def test_the_command_declares_the_benchmark_client_unless_told() -> None:
    fit, plot = (
        {name: p.default for name, p in signature(command).parameters.items()}
        for command in (commands.fit, commands.plot)
    )
    assert Client() == Client(**{name: fit[name] for name in Client.__dataclass_fields__})
    # A drawing is of the load under which its profile was measured.
    assert plot.pop("token_budget") is None
    assert all(plot[name] == getattr(Client(), name) for name in Client.__dataclass_fields__ if name in plot)


def test_limits_of_engine_and_client_are_replayed_as_declared() -> None:
    declared = Client(requests_per_client=3, token_budget=512, max_num_seqs=8, shortest_share=0.5)
    rows = made_up(TRUTH, ACCELERATOR, sizes=(4,), clients=(4, 12, 20), client=declared)
    worst = worst_mean_error(fitted(rows, replace(REQUEST, client=declared)))
    assert worst is not None
    assert worst.mean_percent < 4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerator": "TPU"}, r"a\.csv row 2, column accelerator: unknown accelerator 'TPU': known are H100"),
        ({"watts_per_gpu": 2800.0}, "row 2, column watts_per_gpu: 2800 W is above the board limit of 700 W"),
        ({"watts_per_gpu": 0.45}, "row 2, column watts_per_gpu: 0.45 W is below what H100-SXM-80GB draws idle, 72.5 W"),
        ({"ttft_ms": 0.09}, r"row 2, column ttft_ms: 0.09 ms where .* TP2 300/60 B=4 1980 MHz takes about \S+ ms by"),
        ({"tpot_ms": 0.017}, "row 2, column tpot_ms: 0.017 ms where"),
        ({"sm_clock_mhz": 2500}, "row 2, column sm_clock_mhz: 2500 MHz is above the 1980 MHz"),
        ({"input_tokens": 5_000_000}, "row 2, column input_tokens: a request of 5000000/60 tokens does not fit"),
        ({"tensor_parallel_size": 1, "input_tokens": 9000}, "row 2, column input_tokens: .* tokens that TP1 leaves"),
        ({"concurrency": 9000}, "row 2, column concurrency: 9000 requests at once decode more tokens than the token"),
    ],
)  # fmt: skip
def test_a_point_that_no_engine_could_have_run_is_named(change: dict[str, object], message: str) -> None:
    rows = [replace(points()[0], **change), *points()[1:]]  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        fitted(rows)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_times_that_are_all_in_another_unit_are_named_by_row_and_column(factor: float) -> None:
    rows = [replace(p, tpot_ms=factor * p.tpot_ms, ttft_ms=factor * (p.ttft_ms or 1.0)) for p in points()]
    with pytest.raises(ConfigError, match=r"a\.csv row \d+, column t\w+_ms: .* times are in milliseconds"):
        fitted(rows)


def test_watts_of_another_unit_are_named_by_row_and_column() -> None:
    rows = [replace(p, watts_per_gpu=1e-3 * (p.watts_per_gpu or 0.0)) for p in points()]
    with pytest.raises(ConfigError, match=r"row 2, column watts_per_gpu: .* not kW"):
        fitted(rows)


@pytest.mark.parametrize("watts", [40.0, 60.0])
def test_watts_that_no_parameter_explains_show_in_the_errors(watts: float) -> None:
    worst = worst_mean_error(fitted([replace(p, watts_per_gpu=watts) for p in points()]))
    assert worst is not None
    assert worst.quantity == "WattsPerGPU"
    idle_w = 90.0  # the least that a fit may come to
    assert worst.mean_percent > 0.9 * 100.0 * (idle_w / watts - 1.0)


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (2, {"tpot_ms": 12.0}, "rows 3 and 4, column tpot_ms: .* B=20 .* B=48 1980 MHz 12, but more clients never"),
        (0, {"tpot_ms": 180.0}, "rows 2 and 3, column tpot_ms: .* B=4 1980 MHz holds 180 and .* B=20"),
    ],
)  # fmt: skip
def test_rows_that_contradict_each_other_over_loads_are_named(
    place: int, change: dict[str, object], message: str
) -> None:
    rows = list(points())
    rows[place] = replace(rows[place], **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        fitted(rows)


def test_rows_that_contradict_each_other_over_clocks_are_named() -> None:
    slow = replace(points()[0], sm_clock_mhz=1200, tpot_ms=0.7 * points()[0].tpot_ms, row=29)
    with pytest.raises(
        ConfigError, match=r"rows 2 and 29, column tpot_ms: .* a lower clock never takes less"
    ):
        fitted([*points(), slow])


def test_too_few_points_are_counted_against_the_parameters() -> None:
    with pytest.raises(
        ConfigError, match=r"a\.csv, H100-SXM-80GB: 3 rows .* hold 6 values .* too few for \d+ parameters"
    ):
        fitted(points()[:3])


def test_profiles_that_disagree_on_the_model_must_be_told_its_sizes() -> None:
    both = replace(REQUEST, like=("llama-3.1-70b-fp8", "llama-3.1-8b"))
    with pytest.raises(ConfigError, match="differ in weight_bytes: state --weight-bytes"):
        fitted(points(), both)


def test_times_of_one_length_tell_only_what_a_request_costs_in_all() -> None:
    rows = [
        replace(p, ttft_ms=None)
        for p in made_up(TRUTH, ACCELERATOR, shapes=((300, 400),), clients=(2, 4, 8, 16))
    ]
    found = fitted(rows)
    assert found.latency.context_token_ps.grade is found.latency.compute_token_ps.grade is Grade.ASSUMED
    assert found.latency.host_base_ns.grade is found.latency.sequence_ns.grade is Grade.MEASURED


def test_where_no_shape_can_be_spared_fifths_of_the_rows_are_held_out() -> None:
    rows = made_up(TRUTH, ACCELERATOR, sizes=(4,), shapes=((300, 400), (3000, 60)))
    found = fitted(rows)
    assert {e.held_out for e in found.held_out_errors} == {BY_ROWS}
    assert {e.points for e in found.held_out_errors} == {len(rows)}


@pytest.mark.parametrize(
    ("given", "file", "name"),
    [
        (None, "My Profile_2.yaml", "my-profile-2"),
        ("other", "a.yaml", "other"),
        (None, "7b.v2.yaml", "7b.v2"),
    ],
)
def test_the_object_is_named_after_its_file_unless_told(given: str | None, file: str, name: str) -> None:
    assert name_of(given, Path("somewhere") / file) == name


@pytest.mark.parametrize(("given", "file"), [("Mine", "a.yaml"), ("-a", "a.yaml"), (None, "___.yaml")])
def test_a_name_that_kubernetes_refuses_is_refused_first(given: str | None, file: str) -> None:
    with pytest.raises(ConfigError, match="lower-case letters, digits"):
        name_of(given, Path(file))


# ------------------------------------------------------------------ the command and its file


def run(folder: Path, rows: Sequence[MeasuredPoint], *options: str) -> tuple[int, str, Path]:
    source, out = folder / "points.csv", folder / "profile.yaml"
    source.write_text(render_points(rows))
    out.write_text("as it was")
    fixed = ["--model", "llama-3.1-70b", "--like", "llama-3.1-70b-fp8", "-o", str(out)]
    done = CliRunner().invoke(
        app, ["profile", "fit", str(source), *fixed, "--requests-per-client", "3", *options]
    )
    return done.exit_code, str(done.exception or done.stderr), out


def test_what_is_written_is_a_profile_that_the_operator_takes(tmp_path: Path) -> None:
    key = ("--engine-version", "0.12", "--token-budget", "4096", "--kv-cache-type", "FP8")
    code, said, out = run(tmp_path, points(), "--name", "mine", *key)
    assert code == 0, said
    profile = profile_of(yaml.safe_load(out.read_text()))
    assert (profile.name, profile.engine_version, profile.token_budget) == ("mine", "0.12", 4096)
    assert profile.kv_cache_type == profile.kv_cache(ACCELERATOR).type == "FP8"
    assert profile.accelerators[ACCELERATOR].device.kv_cache is None
    assert profile.accelerators[ACCELERATOR].held_out_errors
    assert out.read_text().startswith("# Fitted by `joulery profile fit` to points.csv")
    assert "WattsPerGPU" in said


def test_errors_above_the_limit_are_written_only_when_accepted_and_stand_in_the_file(tmp_path: Path) -> None:
    code, said, out = run(tmp_path, points(), "--limit", "0")
    assert code == 1  # the exception; main() makes it exit code 2
    assert "above the limit of 0 %" in said and "--accept" in said
    assert out.read_text() == "as it was"
    code, said, out = run(tmp_path, points(), "--limit", "0", "--accept")
    assert code == 0, said
    assert "# Accepted although the held-out error of " in out.read_text()


def test_points_that_cannot_be_used_leave_the_file_as_it_was(tmp_path: Path) -> None:
    code, said, out = run(tmp_path, [*points(), replace(points()[0], tpot_ms=1.0)])
    assert code == 1
    assert "rows 2 and 29, column tpot_ms" in said
    assert out.read_text() == "as it was"


@pytest.mark.parametrize("name", ["llama-3.1-70b-fp8", "llama-2-70b"])
def test_a_profile_that_is_written_is_read_as_it_was(name: str) -> None:
    profile = shipped_profile(name)
    assert profile_from_spec(spec_of(profile), name=name) == profile
    text = manifest_text(profile, comments=("a\nkind: Pod", "b"))
    assert text.startswith("# a kind: Pod\n# b\napiVersion")
    assert yaml.safe_load(text)["spec"] == spec_of(profile)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (1.0, "1"), (0.85, "0.85"), (12.0, "12"), (20.5, "20.5"), (1e9, "9999"), (-1, "0")],
)
def test_decimals_are_written_as_the_api_takes_them(number: float, text: str) -> None:
    assert decimal_text(number) == text
