"""What the clock alone saves: never more than physics allows, and no shipped clock that nobody measured."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import pytest

from joulery.calibration.dynamollm.page import PUBLISHED_SAVINGS, SAVING_HEADS, saving_cells
from joulery.calibration.dynamollm.savings import ASSUMED_CLOCKS_MHZ, LOADS, Savings, clock_savings
from joulery.serving.parameters import ClockResponse, Grade
from serving_cases import PROFILES, shipped_profile

SHIPPED = tuple(path.stem for path in sorted(PROFILES.glob("*.yaml")))


@pytest.fixture(scope="module")
def savings() -> Savings:
    return clock_savings(draws=6)


def test_more_than_35_percent_from_the_clock_alone_or_20_near_full_load_is_a_bug(savings: Savings) -> None:
    for banded in savings.by_load:
        own, everywhere = banded.shipped, banded.with_assumed_clocks
        most = 0.35 if own.load <= 0.8 else 0.20
        assert 0.0 < own.wall_share < own.gpu_share <= most, own
        assert own.gpu_share - 1e-9 <= everywhere.gpu_share <= most, everywhere
        assert banded.gpu_band[1] <= most, banded


def test_savings_of_the_shipped_profile_lie_in_their_bands_and_load_is_cheaper_by_token(
    savings: Savings,
) -> None:
    assert tuple(b.shipped.load for b in savings.by_load) == LOADS == tuple(PUBLISHED_SAVINGS)
    for banded in savings.by_load:
        low, high = banded.gpu_band
        assert low - 0.05 <= banded.shipped.gpu_share <= high + 0.05
        assert banded.clock_band_mhz[0] <= banded.clock_band_mhz[1]
        assert len(saving_cells(banded)) == len(SAVING_HEADS)
    for lighter, heavier in pairwise(b.shipped for b in savings.by_load):
        assert heavier.watts_per_gpu > lighter.watts_per_gpu
        assert heavier.joules_per_token < lighter.joules_per_token


def test_the_cheapest_clock_rises_again_where_the_objective_needs_it(savings: Savings) -> None:
    clocks = [b.shipped.best_clock_mhz for b in savings.by_load]
    assert clocks[0] < 1400 <= clocks[-1]
    assert max(ASSUMED_CLOCKS_MHZ) < min(clocks)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_clock_is_below_the_measured_range_unless_assumed_and_above_the_default_floor(
    name: str,
) -> None:
    for accelerator in shipped_profile(name).accelerators.values():
        device = accelerator.device
        # Without clock bounds in a policy the lowest supported clock is the floor.
        assert min(device.supported_clocks_mhz) >= device.measured_above_mhz
        below = [c for c in device.supported_clocks_mhz if c < device.measured_above_mhz]
        grades = {getattr(accelerator.clock, field.name).grade for field in fields(ClockResponse)}
        assert not below or grades == {Grade.ASSUMED}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_profile_is_usable_and_every_parameter_has_a_source(name: str) -> None:
    profile = shipped_profile(name)
    assert profile.validate() == ()
    for accelerator in profile.accelerators.values():
        for group in (accelerator.latency, accelerator.power, accelerator.clock):
            for field in fields(group):
                value = getattr(group, field.name)
                for parameter in value.values() if isinstance(value, dict) else (value,):
                    assert parameter.source, field.name
                    assert parameter.low <= parameter.value <= parameter.high, field.name
