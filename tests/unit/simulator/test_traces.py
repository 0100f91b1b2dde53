"""Request streams follow the public curves, thinned and squeezed as declared."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from joulery.simulator.traces import NS_PER_S, Workload, rates_per_s, request_lengths, requests_of_day

CHAT = Workload("conv", 0.02, 1.39)
CODE = Workload("code", 0.02, 13.2)
TUESDAY = date(2024, 5, 14)


@pytest.mark.parametrize("workload", [CHAT, CODE], ids=["chat", "code"])
def test_a_day_holds_the_kept_share_of_the_published_load(workload: Workload) -> None:
    stream = requests_of_day(workload, TUESDAY, seed=1)
    expected = float(rates_per_s(workload, TUESDAY, np.arange(86_400) + 0.5).sum())
    spread = (workload.thinned_dispersion * expected) ** 0.5
    assert abs(len(stream) - expected) < 4 * spread


def test_tuesdays_conversation_load_has_the_published_mean() -> None:
    mean_per_min = (
        float(rates_per_s(Workload("conv", 1.0, 1.0), TUESDAY, np.arange(0.0, 86_400.0, 60.0)).mean()) * 60
    )
    assert mean_per_min == pytest.approx(3311, rel=0.01)


def test_arrivals_are_ordered_and_inside_the_day() -> None:
    stream = requests_of_day(CODE, TUESDAY, seed=2)
    assert (np.diff(stream.arrival_ns) >= 0).all()
    assert stream.arrival_ns[0] >= 0
    assert stream.arrival_ns[-1] < 86_400 * NS_PER_S


def test_squeezing_keeps_rates_and_shortens_the_day() -> None:
    whole, squeezed = (requests_of_day(CHAT, TUESDAY, seed=3, squeeze=s) for s in (1.0, 100.0))
    assert len(squeezed) == pytest.approx(len(whole) / 100, rel=0.2)
    assert squeezed.arrival_ns[-1] < 864 * NS_PER_S


def test_counts_have_the_thinned_dispersion() -> None:
    bursty = Workload("code", 0.5, 13.2)
    stream = requests_of_day(bursty, TUESDAY, seed=4, start_s=18 * 3600, duration_s=1800)
    counts = np.bincount(stream.arrival_ns // NS_PER_S, minlength=1800)
    dispersion = np.var(np.diff(counts)) / 2 / counts.mean()  # differences remove the slow curve
    assert dispersion == pytest.approx(bursty.thinned_dispersion, rel=0.25)


def test_same_seed_same_stream_and_another_seed_another() -> None:
    first, again, other = (requests_of_day(CHAT, TUESDAY, seed=s) for s in (5, 5, 6))
    assert np.array_equal(first.arrival_ns, again.arrival_ns)
    assert not np.array_equal(first.arrival_ns[:100], other.arrival_ns[:100])


def test_lengths_are_those_of_2023_cut_to_the_longest_class() -> None:
    inputs, outputs = request_lengths("conv")
    assert len(inputs) == len(outputs) == 19_366
    assert inputs.max() == 8192
    assert float(outputs.mean()) == pytest.approx(211.1, abs=0.1)


def test_a_day_outside_the_week_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="2024-05-20"):
        requests_of_day(CHAT, date(2024, 5, 20), seed=0)


def test_a_lead_comes_before_the_day_at_its_first_rate() -> None:
    plain, led = (requests_of_day(CHAT, TUESDAY, seed=3, squeeze=100.0, lead_s=s) for s in (0.0, 600.0))
    first_rate = float(rates_per_s(CHAT, TUESDAY, np.array([0.0]))[0])
    assert len(led.between(0, 600 * NS_PER_S)) / 600 == pytest.approx(first_rate, rel=0.1)
    assert len(led.between(600 * NS_PER_S, 2000 * NS_PER_S)) == pytest.approx(len(plain), rel=0.1)
