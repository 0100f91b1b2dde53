"""Mixing rates of classes: right within its stated error, and only of rates under the lane's objective."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.domain.request_class import DEFAULT_CLASSES, Objective, RequestClass, class_of
from joulery.serving.lane_rates import USUAL_ERROR, WORST_ERROR, LaneRates
from joulery.serving.sample import Sample
from joulery.serving.trial import Trial
from serving_cases import Ints, azure_lengths, instance, resampled

ATTAINMENT = 0.995
LANE = Objective(2000, 100)
CLASSES = {each.name: each for each in DEFAULT_CLASSES}


def highest_rps(lengths: tuple[Ints, Ints], clock_mhz: int, *, size: int) -> float:
    sample = Sample.of_lengths(*resampled(*lengths, count=30_000, seed=3), seed=3)
    return Trial(instance(size), 512, 256, sample, LANE, ATTAINMENT).highest_rate_rps(clock_mhz)


def by_class(trace: str) -> dict[str, tuple[Ints, Ints]]:
    """Lengths of a trace's requests by class; classes of fewer than 20 requests are left out."""
    inputs, outputs = azure_lengths(trace)
    found = [class_of(DEFAULT_CLASSES, int(i), int(o)) for i, o in zip(inputs, outputs, strict=True)]
    names = np.array([each.name if each else "" for each in found])
    wanted = [name for name in CLASSES if (names == name).sum() >= 20]
    return {name: (inputs[names == name], outputs[names == name]) for name in wanted}


@pytest.mark.parametrize(
    ("trace", "size", "clock_mhz"), [("conv", 4, 1980), ("conv", 2, 1200), ("code", 8, 1980)]
)
def test_the_estimate_is_within_its_error_of_the_search_on_the_actual_mix(
    trace: str, size: int, clock_mhz: int
) -> None:
    lengths = by_class(trace)
    lane = LaneRates(
        [CLASSES[name] for name in lengths],
        lambda each, _: highest_rps(lengths[each.name], clock_mhz, size=size),
    )
    assert lane.objective == LANE
    total = sum(len(inputs) for inputs, _ in lengths.values())
    shares = {name: len(inputs) / total for name, (inputs, _) in lengths.items()}
    together = tuple(np.concatenate([pair[side] for pair in lengths.values()]) for side in (0, 1))
    error = lane.mixed_rps(shares) / highest_rps((together[0], together[1]), clock_mhz, size=size) - 1.0
    assert WORST_ERROR <= error <= USUAL_ERROR


def test_every_class_is_measured_under_the_objective_of_the_largest_inputs() -> None:
    told: list[Objective] = []

    def measure(_: RequestClass, objective: Objective) -> float:
        told.append(objective)
        return 1.0

    lane = LaneRates(DEFAULT_CLASSES, measure)
    assert told == [LANE] * len(DEFAULT_CLASSES)
    assert CLASSES["SS"].objective != LANE
    with pytest.raises(TypeError):
        lane.rates_rps["SS"] = 77.0  # type: ignore[index]


def test_a_mix_is_bound_by_its_classes_and_by_what_cannot_be_served() -> None:
    lane = LaneRates(DEFAULT_CLASSES[:2], lambda each, _: {"SS": 10.0, "SM": 0.0}[each.name])
    assert lane.mixed_rps({"SS": 1.0, "SM": 0.0}) == 10.0
    assert lane.mixed_rps({"SS": 0.9, "SM": 0.1}) == 0.0
    twice = LaneRates(DEFAULT_CLASSES[:2], lambda each, _: {"SS": 10.0, "SM": 5.0}[each.name])
    assert twice.mixed_rps({"SS": 0.5, "SM": 0.5}) == pytest.approx(1.0 / (0.05 + 0.1))


def test_shares_that_are_none_are_refused() -> None:
    lane = LaneRates(DEFAULT_CLASSES, lambda *_: 1.0)
    with pytest.raises(ValueError, match="sum to 1"):
        lane.mixed_rps({"SS": 0.5})
    with pytest.raises(KeyError):
        lane.mixed_rps({"XX": 1.0})
    with pytest.raises(ValueError, match="not be negative"):
        LaneRates(DEFAULT_CLASSES, lambda *_: -1.0)
