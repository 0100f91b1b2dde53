"""Profiles: what is read, what is refused and where it fails, and the hidden truth drawn from the ranges."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from dataclasses import replace
from typing import cast

import pytest

from joulery.errors import ProfileError
from joulery.serving.instance import instance_model
from joulery.serving.parameter_walk import named_parameters
from joulery.serving.parameters import EngineProfile, Grade, UnknownVariantError
from joulery.serving.profile_spec import profile_from_spec
from joulery.serving.truth import draw_truth, perturbed
from serving_cases import ACCELERATOR, PROFILES, shipped_profile, shipped_spec

ITERATIONS = ((1, 500, 0), (12, 15_000, 0), (64, 80_000, 0), (0, 0, 64), (0, 0, 512), (24, 30_000, 1000))


def changed(path: tuple[str | int, ...], value: object) -> dict[str, object]:
    """The shipped spec with one field changed, or removed where the value is Ellipsis."""
    spec = copy.deepcopy(shipped_spec())
    place: object = spec
    for key in path[:-1]:
        place = place[key]  # type: ignore[index]
    target = cast("dict[str | int, object]", place)
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return spec


def test_shipped_profile_is_usable_and_every_parameter_has_source_range_and_grade() -> None:
    profile = shipped_profile()
    assert profile.validate() == ()
    assert profile.accelerators[ACCELERATOR].device.tensor_parallel_sizes == (2, 4, 8)
    power = profile.accelerators[ACCELERATOR].power
    assert power.compute_w.value == 673.0
    assert power.compute_w.grade is Grade.INTERPOLATED
    assert power.host_w.source


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_what_was_fitted_says_from_how_many_points_and_where_they_were(name: str) -> None:
    for accelerator in shipped_profile(name).accelerators.values():
        for where, parameter in named_parameters(accelerator):
            if "fit" in parameter.source.split() or parameter.source.startswith("fit,"):
                is_told = parameter.grade is Grade.ASSUMED or parameter.basis is not None
                assert is_told, where
            if parameter.grade is Grade.ASSUMED:
                assert parameter.basis is None, where


@pytest.mark.parametrize("accelerator", ["H100-SXM-80GB", "H200-SXM-141GB"])
def test_the_error_stated_for_a_time_is_that_on_the_shapes_held_out(accelerator: str) -> None:
    known = shipped_profile().accelerators[accelerator]
    errors = [e for e in known.held_out_errors if e.quantity == "TimePerOutputToken"]
    mean = sum(e.points * e.mean_percent for e in errors) / sum(e.points for e in errors)
    basis = known.latency.host_base_ns.basis
    assert basis is not None and basis.mean_error_percent is not None
    assert basis.points == sum(e.points for e in errors)
    assert basis.mean_error_percent == pytest.approx(mean, abs=0.06)


OFFSET = {"value": "1.2", "low": "1.1", "high": "1.3", "grade": "Measured", "source": "one row"}


def offset_profile() -> EngineProfile:
    """The shipped profile with an offset on its watts."""
    return profile_from_spec(changed(("accelerators", 0, "power", "offset"), OFFSET), name="offset")


def test_an_offset_scales_the_watts_of_busy_time_with_its_band_and_leaves_idle() -> None:
    plain = shipped_profile().accelerators[ACCELERATOR].power
    power = offset_profile().accelerators[ACCELERATOR].power
    assert power.idle_loaded_w == plain.idle_loaded_w
    assert power.idle_empty_w == plain.idle_empty_w
    for kind in ("host_w", "weight_streaming_w", "decode_attention_w", "compute_w"):
        before, after = getattr(plain, kind), getattr(power, kind)
        expected = (1.2 * before.value, 1.1 * before.low, 1.3 * before.high)
        assert (after.value, after.low, after.high) == pytest.approx(expected)
        assert after.grade is before.grade
        assert after.source == f"{before.source}; times 1.2: one row"


def test_an_offset_never_takes_watts_over_the_board_limit() -> None:
    clock = instance_model(offset_profile(), ACCELERATOR, 4).at_clock(1980)
    assert clock.compute_w == 4 * 700.0
    assert clock.host_w == pytest.approx(4 * 1.2 * 256.0)


def test_a_profile_without_an_offset_is_the_one_with_an_offset_of_one_but_for_its_sources() -> None:
    one = OFFSET | {"value": "1", "low": "1", "high": "1"}
    profile = profile_from_spec(changed(("accelerators", 0, "power", "offset"), one), name="one")
    at_clock = [instance_model(p, ACCELERATOR, 4).at_clock(1590) for p in (profile, shipped_profile())]
    assert at_clock[0] == at_clock[1]


def test_parameters_load_without_the_compiler() -> None:
    code = (
        "import sys, joulery.serving.parameters, joulery.serving.catalog, joulery.serving.truth; "
        "assert 'numba' not in sys.modules"
    )
    paths = [p for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model",), ..., "model is missing"),
        (("precision",), 8, "precision must be a string"),
        (("accelerators", 0, "maxClockMHz"), "fast", r"accelerators\[0\].maxClockMHz must be an integer"),
        (("accelerators", 0, "power", "hostMilliwatts", "value"), 1.5, "value must be an integer"),
        (("accelerators", 0, "power", "hostMilliwatts", "grade"), "Guess", "grade must be one of Measured"),
        (("accelerators", 0, "clockResponse", "memoryKnee", "value"), "abc", "Knee.value must be a decimal"),
        (("accelerators", 0, "power", "offset"), {"value": "1"}, r"power.offset.grade is missing"),
        (("accelerators", 0, "clockResponse", "memoryKnee", "low"), "NaN", "memoryKnee.low must be finite"),
        (("accelerators", 0, "supportedClocksMHz"), [1200, "x"], "must be a list of integers"),
        (("accelerators", 0, "latency"), [], r"latency must be an object"),
        (("accelerators",), {}, "accelerators must be a list"),
    ],
)  # fmt: skip
def test_field_that_cannot_be_read_is_named(path: tuple[str | int, ...], value: object, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        profile_from_spec(changed(path, value), name="broken")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("power", "idleLoadedMilliwatts", "value"), -5000, "power.idle_loaded_w: -5 is negative"),
        (("power", "hostMilliwatts", "value"), 60_000, "host_w: 60 is outside its range 157..323"),
        (("latency", "hostBaseNanoseconds", "value"), 9_000_000, "host_base_ns: 9e.06 is outside its range"),
        (("supportedClocksMHz",), [1980, 1200], "must rise"),
        (("supportedClocksMHz",), [1200, 1500], "must end at maxClockMHz 1980"),
        (("memoryBytes",), 20_000_000_000, "TP2: 0 tokens of KV cache fit"),
        (
            ("clockResponse", "bandwidthSlope"),
            {"value": "-2.2", "low": "-3", "high": "0", "grade": "Assumed", "source": "test"},
            "TP2 at 1335 MHz: throughput falls as the clock rises, for 1 decodes, 500 context",
        ),
    ],
)
def test_unusable_profile_is_refused_with_the_failing_point(
    path: tuple[str | int, ...], value: object, message: str
) -> None:
    problems = profile_from_spec(changed(("accelerators", 0, *path), value), name="broken").validate()
    assert any(re.search(message, problem) for problem in problems), problems


def test_watts_that_fall_below_idle_are_refused_at_their_clock() -> None:
    spec = changed(("accelerators", 0, "power", "hostMilliwatts"), {
        "value": 50_000, "low": 40_000, "high": 60_000, "grade": "Assumed", "source": "test",
    })  # fmt: skip
    problems = profile_from_spec(spec, name="broken").validate()
    assert any("TP2 at 1980 MHz: host_w 100 W is below idle 180 W" in p for p in problems), problems


def test_unknown_variant_names_what_the_profile_holds() -> None:
    with pytest.raises(UnknownVariantError, match=f"no accelerator 'B200', only {ACCELERATOR}"):
        instance_model(shipped_profile(), "B200", 4)
    with pytest.raises(UnknownVariantError, match=r"no TP16 on .* only TP \(2, 4, 8\)"):
        instance_model(shipped_profile(), ACCELERATOR, 16)


def test_content_hash_ignores_the_name_and_sees_every_number() -> None:
    profile = shipped_profile()
    assert replace(profile, name="other").content_hash == profile.content_hash
    slower = perturbed(profile, time_factor=1.001, power_factor=1.0)
    assert slower.content_hash != profile.content_hash


def test_perturbed_scales_every_iteration_and_every_watt() -> None:
    scaled = perturbed(shipped_profile(), time_factor=1.1, power_factor=0.9)
    assert scaled.validate() == ()
    for ratio in _time_ratios(scaled):
        assert ratio == pytest.approx(1.1, rel=1e-5)
    for ratio in _watts_ratios(scaled):
        assert ratio == pytest.approx(0.9, rel=1e-9)


@pytest.mark.parametrize("seed", range(25))
def test_truth_stays_within_its_spread_at_every_clock_and_load(seed: int) -> None:
    truth = draw_truth(shipped_profile(), seed, on=ACCELERATOR)
    assert truth.profile.validate() == ()
    times, watts = _time_ratios(truth.profile), _watts_ratios(truth.profile)
    assert 0.9 - 1e-4 <= min(times) <= max(times) <= 1.1 + 1e-4
    assert 0.85 - 1e-6 <= min(watts) <= max(watts) <= 1.15 + 1e-6
    assert min(times) <= truth.time_factor <= truth.slowest_time_factor <= max(times) + 0.05


@pytest.mark.parametrize("seed", [3, 17])
def test_another_accelerator_in_the_profile_changes_no_truth_of_the_first(seed: int) -> None:
    both = shipped_profile()
    alone = replace(both, accelerators={ACCELERATOR: both.accelerators[ACCELERATOR]})
    told, own = draw_truth(both, seed, on=ACCELERATOR), draw_truth(alone, seed)
    assert told.profile.accelerators[ACCELERATOR] == own.profile.accelerators[ACCELERATOR]
    assert (told.time_factor, told.power_factor) == (own.time_factor, own.power_factor)
    assert draw_truth(both, seed).time_factor != own.time_factor


def test_truth_is_decided_by_its_seed() -> None:
    profile = shipped_profile()
    assert draw_truth(profile, 3) == draw_truth(profile, 3)
    factors = [draw_truth(profile, seed).time_factor for seed in range(40)]
    assert min(factors) < 0.97
    assert max(factors) > 1.03


def _time_ratios(true: EngineProfile) -> list[float]:
    ratios = []
    for tp in (2, 4, 8):
        said, is_ = (instance_model(p, ACCELERATOR, tp) for p in (shipped_profile(), true))
        for mhz in said.supported_clocks_mhz:
            for decodes, context, prefill in ITERATIONS:
                before, after = (
                    m.at_clock(mhz).iteration_ns(
                        decodes=decodes, context_tokens=context, prefill_tokens=prefill
                    )
                    for m in (said, is_)
                )
                ratios.append(after / before)
    return ratios


def _watts_ratios(true: EngineProfile) -> list[float]:
    ratios = []
    said, is_ = (instance_model(p, ACCELERATOR, 4) for p in (shipped_profile(), true))
    for mhz in said.supported_clocks_mhz:
        before, after = said.at_clock(mhz), is_.at_clock(mhz)
        for kind in ("idle_w", "host_w", "streaming_w", "attention_w", "compute_w"):
            ratios.append(getattr(after, kind) / getattr(before, kind))
    return ratios
