"""The shipped 8B profile is what the calibration finds, and the engine plays the public rows with it."""

from __future__ import annotations

from functools import lru_cache

import pytest

from joulery.calibration.power.claims import SMALL_MODEL, PowerFound, calibrate_power
from joulery.calibration.power.parameters import fitted_parameters
from joulery.calibration.power.played import played_errors
from joulery.calibration.power.rows import shipped_power_rows
from joulery.serving.instance import kv_capacity_tokens
from joulery.serving.parameters import Grade
from serving_cases import ACCELERATOR, PROFILES, shipped_profile

ROWS = {row.max_num_seqs: row for row in shipped_power_rows() if row.deployment == SMALL_MODEL}
PROFILE = shipped_profile("llama-3.1-8b")


@lru_cache
def found() -> PowerFound:
    """The calibration on the shipped rows."""
    return calibrate_power()


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_shipped_profile_is_usable(name: str) -> None:
    assert shipped_profile(name).validate() == ()


def test_the_profiles_watts_and_times_are_those_that_the_calibration_finds() -> None:
    fitted = {p.name: p for p in fitted_parameters(found())}
    power, latency = PROFILE.accelerators[ACCELERATOR].power, PROFILE.accelerators[ACCELERATOR].latency
    offset = fitted["offset Llama-3.1-8B-Instruct TP1"]
    for kind in ("host_w", "weight_streaming_w", "decode_attention_w", "compute_w"):
        shipped, fit = getattr(power, kind), fitted[kind]
        expected = (fit.value * offset.value, fit.low * offset.low, fit.high * offset.high)
        assert (shipped.value, shipped.low, shipped.high) == pytest.approx(expected, rel=0.01)
        assert shipped.grade is Grade.MEASURED
    for name, shipped in (("host", latency.host_base_ns), ("per sequence", latency.sequence_ns)):
        fit = fitted[f"{name} Llama-3.1-8B-Instruct TP1"]
        assert (shipped.value, shipped.low) == pytest.approx((1e3 * fit.value, 1e3 * fit.low), rel=0.01)


def test_the_profiles_errors_are_those_that_the_calibration_finds() -> None:
    times, watts = PROFILE.accelerators[ACCELERATOR].held_out_errors
    speed, offset = found().speed, found().judged.offsets[SMALL_MODEL]
    for shipped, errors in ((times, speed.errors), (watts, offset.held_out)):
        assert shipped.points == errors.rows
        assert shipped.mean_percent == pytest.approx(errors.mean_percent, abs=0.05)
        assert shipped.max_percent == pytest.approx(errors.max_percent, abs=0.05)


@pytest.mark.parametrize("batch", sorted(ROWS))
def test_the_engine_plays_the_measured_times_and_watts_within_ten_percent(batch: int) -> None:
    for errors in played_errors(PROFILE, [ROWS[batch]]):
        assert errors.max_percent < 10.0


def test_memory_is_arithmetic() -> None:
    """0.9 of 80 GiB less weights and reserve, at 128 KiB per token of 32 layers, 8 heads and 128 values of 2 bytes."""
    assert PROFILE.parameters.kv_bytes_per_token == 2 * 2 * 32 * 8 * 128
    assert kv_capacity_tokens(PROFILE, ACCELERATOR, 1) == (
        0.9 * 80 * 2**30 - 16_060_000_000 - 2_450_000_000
    ) // (128 * 1024)


def test_what_no_row_holds_is_graded_assumed() -> None:
    latency = PROFILE.accelerators[ACCELERATOR].latency
    for parameter in (latency.client_base_ns, latency.client_per_gpu_ns, latency.host_per_doubling_ns):
        assert parameter.grade is Grade.ASSUMED
