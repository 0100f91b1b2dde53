"""Operating points: monotone, within the objective they promise, and known again from the catalog."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.domain.keys import TargetRef
from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.serving import trial as trials
from joulery.serving.catalog import PointCatalog
from joulery.serving.mix import of_requests
from joulery.serving.points import LOAD_GRID, SAMPLE_REQUESTS, OperatingPoints, clock_table, operating_points
from joulery.serving.sample import Sample, Samples
from joulery.serving.trial import Trial
from joulery.serving.truth import perturbed
from serving_cases import ACCELERATOR, Ints, azure_lengths, instance, shipped_profile

CLOCKS = (1200, 1470, 1725, 1980)
OBJECTIVE = Objective(time_to_first_token_ms=2000, time_per_output_token_ms=100)
MIX = of_requests(*azure_lengths("conv"))
VARIANT = Variant("tp4", TargetRef("apps/v1", "Deployment", "tp4"), ACCELERATOR, 4, 512, 256, 0, 8, 120.0)


def points(
    tensor_parallel_size: int = 4, *, objective: Objective = OBJECTIVE, requests: int = 3000
) -> OperatingPoints:
    return operating_points(
        instance(tensor_parallel_size),
        token_budget=512,
        max_num_seqs=256,
        mix=MIX,
        objective=objective,
        clocks_mhz=CLOCKS,
        requests=requests,
    )


@pytest.mark.parametrize("tensor_parallel_size", [2, 4, 8])
def test_more_clock_never_lowers_the_rate_and_more_load_never_lowers_the_watts(
    tensor_parallel_size: int,
) -> None:
    found = points(tensor_parallel_size)
    assert (np.diff(found.max_rate_rps) >= 0).all()
    assert (np.diff(found.watts, axis=1) >= 0).all()
    assert found.max_rate_rps[0] > 0.5 * found.max_rate_rps[-1]
    assert found.watts.shape == (len(CLOCKS), len(LOAD_GRID))
    assert (found.watts[:, 0] == found.idle_w).all()
    assert found.watts.max() <= 700 * tensor_parallel_size


def test_highest_rate_attains_and_a_twentieth_more_does_not() -> None:
    sample = Sample.of_mix(MIX, 6000, seed=5, longest=8192)
    trial = Trial(instance(4), 512, 256, sample, OBJECTIVE, 0.995)
    rate = trial.highest_rate_rps(1980)
    assert trial.attains(1980, 0.98 * rate)
    assert not trial.attains(1980, 1.05 * rate)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_last_times_are_the_quantiles_that_numpy_tells(values: list[int], share: float) -> None:
    assert trials._quantile(np.array(values), share) == pytest.approx(np.quantile(values, share), rel=1e-12)


def test_latency_at_the_highest_rate_is_within_the_objective() -> None:
    found = points()
    assert (found.p99_ttft_ms <= 2000).all()
    assert (found.p99_tpot_ms <= 100).all()
    assert (found.best_ttft_ms < found.p99_ttft_ms).all()


def test_watts_against_load_are_far_above_the_line_from_idle_to_peak() -> None:
    found = points()
    top = len(CLOCKS) - 1
    rate = 0.1 * found.rate_at(top)
    line = found.idle_w + 0.1 * (found.watts_at(top, found.rate_at(top)) - found.idle_w)
    assert found.watts_at(top, rate) > 1.8 * line
    assert found.watts_at(top, 0.0) == found.idle_w


def test_objective_that_not_even_one_request_meets_yields_rate_zero_and_the_best_there_is() -> None:
    found = points(
        objective=Objective(time_to_first_token_ms=20, time_per_output_token_ms=100), requests=1000
    )
    assert not found.is_feasible
    assert (found.max_rate_rps == 0).all()
    assert (found.best_ttft_ms > 20).all()
    assert clock_table(found, headroom=0.1, floor_mhz=1200, ceiling_mhz=1980) == ()


def test_interval_objective_needs_a_budget_whose_chunks_fit() -> None:
    strict = replace(OBJECTIVE, inter_token_latency_p99_ms=30)
    sample = Sample.of_mix(MIX, 3000, seed=0, longest=8192)
    small, large = (Trial(instance(4), budget, 256, sample, strict, 0.995) for budget in (256, 2048))
    assert small.highest_rate_rps(1980) > 3.0 * large.highest_rate_rps(1980)


def test_chunk_longer_than_the_objective_leaves_a_small_rate_and_not_none() -> None:
    found = operating_points(
        instance(2),
        token_budget=1024,  # one chunk takes 92 ms at 1980 MHz and 98 ms at 1860 MHz, and 4 ms of host
        max_num_seqs=256,
        mix=of_requests(*azure_lengths("code")),
        objective=OBJECTIVE,
        clocks_mhz=(1860, 1980),
        requests=3000,
    )
    assert 0.0 < found.rate_at(0) < 0.5 * found.rate_at(1)


def test_clock_table_gives_each_load_the_cheapest_clock_that_attains_and_ends_at_the_ceiling() -> None:
    found = points()
    rows = clock_table(found, headroom=0.1, floor_mhz=1200, ceiling_mhz=1980)
    assert [row.clock_mhz for row in rows] == sorted(row.clock_mhz for row in rows)
    assert rows[-1].clock_mhz == 1980
    loads = [row.prompt_tokens_per_s for row in rows]
    assert loads == sorted(loads)
    for row in rows:
        rate = row.prompt_tokens_per_s / found.mean_input_tokens
        assert row.generation_tokens_per_s == pytest.approx(rate * found.mean_output_tokens)
        assert rate <= 0.9 * found.rate_at(CLOCKS.index(row.clock_mhz)) + 1e-9


def test_clock_table_stays_between_its_bounds() -> None:
    rows = clock_table(points(), headroom=0.0, floor_mhz=1400, ceiling_mhz=1800)
    assert {row.clock_mhz for row in rows} <= {1470, 1725}
    assert rows[-1].clock_mhz == 1725


def test_same_question_is_answered_once_and_a_changed_one_anew() -> None:
    catalog = PointCatalog(requests=500)
    profile = shipped_profile()

    def ask(variant: Variant, budget: int) -> OperatingPoints:
        asked = replace(variant, token_budget=budget)
        return catalog.points(profile, asked, mix=MIX, objective=OBJECTIVE, clocks_mhz=(1980,))

    first = ask(VARIANT, 512)
    assert ask(replace(VARIANT, name="renamed", max_replicas=3), 512) is first
    assert ask(VARIANT, 1024) is not first
    assert len(catalog) == 2


def test_a_variant_s_own_token_budget_decides_its_points_and_the_measured_one_only_the_key() -> None:
    profile = shipped_profile()
    assert profile.token_budget == 8192
    other = replace(profile, token_budget=2048)
    assert other.content_hash != profile.content_hash
    catalog, asked = PointCatalog(requests=500), {"mix": MIX, "objective": OBJECTIVE, "clocks_mhz": (1980,)}
    own, same = (catalog.points(each, VARIANT, **asked) for each in (profile, other))  # type: ignore[arg-type]
    assert same is not own
    assert same.max_rate_rps == own.max_rate_rps
    wide = catalog.points(profile, replace(VARIANT, token_budget=2048), **asked)  # type: ignore[arg-type]
    assert wide.max_rate_rps != own.max_rate_rps


def test_catalog_forgets_the_least_recently_asked() -> None:
    catalog = PointCatalog(requests=300, capacity=1)
    ask = {"mix": MIX, "objective": OBJECTIVE, "clocks_mhz": (1980,)}
    first = catalog.points(shipped_profile(), VARIANT, **ask)  # type: ignore[arg-type]
    catalog.points(shipped_profile(), replace(VARIANT, token_budget=1024), **ask)  # type: ignore[arg-type]
    assert len(catalog) == 1
    again = catalog.points(shipped_profile(), VARIANT, **ask)  # type: ignore[arg-type]
    assert again is not first
    assert (again.watts == first.watts).all()


def test_spread_told_from_one_sample_is_about_that_over_samples() -> None:
    asked = {
        "token_budget": 512,
        "max_num_seqs": 256,
        "mix": MIX,
        "objective": OBJECTIVE,
        "clocks_mhz": CLOCKS,
    }
    found = [operating_points(instance(4), **asked, seed=seed) for seed in range(8)]  # type: ignore[arg-type]
    rates = np.array([each.max_rate_rps for each in found])
    told = np.array([each.seed_spread for each in found]).mean(axis=0)
    over_samples = rates.std(axis=0, ddof=1) / rates.mean(axis=0)
    assert (over_samples < 2.0 * told).all()
    assert (told < 2.0 * over_samples).all()


def test_a_sample_that_tells_too_little_grows_and_the_result_says_how_large_it_was() -> None:
    asked = {"token_budget": 512, "max_num_seqs": 256, "objective": OBJECTIVE, "clocks_mhz": (1200, 1980)}
    long_prompts = of_requests(*azure_lengths("code"))
    few = operating_points(instance(2), **asked, mix=long_prompts, requests=3000)  # type: ignore[arg-type]
    assert few.requests == 6000
    assert points(requests=40_000).requests == 40_000


@pytest.mark.parametrize("tensor_parallel_size", [2, 4, 8])
@pytest.mark.parametrize("trace", ["conv", "code"])
def test_a_clock_alone_has_the_rate_that_it_has_among_others(trace: str, tensor_parallel_size: int) -> None:
    longest = instance(tensor_parallel_size).longest_request_tokens
    sample = Sample.of_mix(of_requests(*azure_lengths(trace)), SAMPLE_REQUESTS, seed=1, longest=longest)
    trial = Trial(instance(tensor_parallel_size), 512, 256, sample, OBJECTIVE, 0.995)
    alone, among = trial.quick_crossing(1980), trial.crossing(1980)
    assert alone.rate_rps == pytest.approx(among.rate_rps, rel=0.022)


def test_a_clock_alone_of_which_one_sample_tells_too_little_is_between_two() -> None:
    model, long_prompts = instance(2), of_requests(*azure_lengths("code"))
    asked = {"token_budget": 512, "max_num_seqs": 256, "objective": OBJECTIVE, "clocks_mhz": (1980,)}
    found = operating_points(model, **asked, mix=long_prompts, requests=5000)  # type: ignore[arg-type]
    one, other = (
        Trial(
            model,
            512,
            256,
            Sample.of_mix(long_prompts, 5000, seed=seed, longest=model.longest_request_tokens),
            OBJECTIVE,
            0.995,
        )
        for seed in (0, 1_000_003)
    )
    first = one.quick_crossing(1980)
    second = other.quick_crossing(1980, first)
    assert first.deviation > 0.032
    assert found.requests == 10_000
    assert found.rate_at(0) == pytest.approx((first.rate_rps * second.rate_rps) ** 0.5)
    assert found.seed_spread[0] == pytest.approx(np.hypot(first.deviation, second.deviation) / 2.0)


def test_points_are_the_same_whenever_they_are_computed() -> None:
    first, again = points(requests=1000), points(requests=1000)
    for name in ("max_rate_rps", "watts", "seed_spread", "p99_ttft_ms"):
        assert (getattr(first, name) == getattr(again, name)).all()


def test_clocks_must_rise() -> None:
    with pytest.raises(ValueError, match="clocks must rise"):
        operating_points(
            instance(4),
            token_budget=512,
            max_num_seqs=256,
            mix=MIX,
            objective=OBJECTIVE,
            clocks_mhz=(1980, 1200),
        )


class CountedMix:
    """A mix that counts how often it is drawn from."""

    content_hash = MIX.content_hash

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def sample(self, count: int, seed: int) -> tuple[Ints, Ints]:
        self.seeds.append(seed)
        return MIX.sample(count, seed)


def test_variants_are_tried_under_one_sample_each_as_far_as_it_has_room() -> None:
    mix, samples = CountedMix(), Samples()
    for longest in (8192, 700, 8192):
        found = samples.of_mix(mix, 500, seed=3, longest=longest, dispersion=1.5)
        own = Sample.of_mix(MIX, 500, seed=3, longest=longest, dispersion=1.5)
        for name in ("input_tokens", "output_tokens", "gaps", "late_s"):
            assert (getattr(found, name) == getattr(own, name)).all()
        assert (found.input_tokens + found.output_tokens).max() <= longest
    assert mix.seeds == [3]


def test_another_question_draws_another_sample_and_the_least_recent_is_dropped() -> None:
    mix, samples = CountedMix(), Samples(capacity=2)
    for seed in (1, 2, 1, 3, 1, 2):
        samples.of_mix(mix, 100, seed=seed, longest=8192)
    assert mix.seeds == [1, 2, 3, 2]
    samples.of_mix(mix, 200, seed=2, longest=8192)
    samples.of_mix(mix, 200, seed=2, longest=8192, dispersion=2.0)
    assert mix.seeds == [1, 2, 3, 2, 2, 2]


@pytest.mark.parametrize("dispersion", [1.0, 1.5, 4.0])
def test_arrivals_have_the_mean_rate_and_the_dispersion_asked_for(dispersion: float) -> None:
    sample = Sample.of_lengths(*(np.full(60_000, 100),) * 2, seed=2, dispersion=dispersion)
    arrivals = np.sort(np.cumsum(sample.gaps) / 5.0 + sample.late_s)
    counts = np.bincount((arrivals / 20.0).astype(np.int64))[1:-1]
    assert counts.mean() == pytest.approx(100.0, rel=0.01)
    assert counts.var() / counts.mean() == pytest.approx(dispersion, rel=0.2)


def test_burstier_traffic_gets_a_lower_rate_and_never_an_endless_search() -> None:
    rates = [
        Trial(
            instance(2),
            512,
            256,
            Sample.of_mix(MIX, 3000, seed=1, longest=8192, dispersion=d),
            OBJECTIVE,
            0.995,
        ).highest_rate_rps(1980)
        for d in (1.0, 2.0, 4.0, 32.0)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1.1 * rates[1] > 0.0
    assert rates[-1] == 0.0


@pytest.mark.parametrize("speed", [0.95, 0.83])
def test_points_of_a_speed_between_tenths_are_near_those_of_an_engine_of_that_speed(speed: float) -> None:
    catalog, asked = PointCatalog(requests=20_000), {"mix": MIX, "objective": OBJECTIVE, "clocks_mhz": CLOCKS}
    mixed = catalog.points(shipped_profile(), VARIANT, speed=speed, **asked)  # type: ignore[arg-type]
    slower = perturbed(shipped_profile(), time_factor=1.0 / speed, power_factor=1.0)
    own = catalog.points(slower, VARIANT, **asked)  # type: ignore[arg-type]
    assert mixed.max_rate_rps == pytest.approx(own.max_rate_rps, rel=0.04)
    assert mixed.watts == pytest.approx(own.watts, rel=0.04)


def test_an_engine_slower_than_its_profile_carries_less_at_every_clock() -> None:
    catalog, asked = PointCatalog(requests=1000), {"mix": MIX, "objective": OBJECTIVE, "clocks_mhz": CLOCKS}
    rates = [
        catalog.points(shipped_profile(), VARIANT, speed=speed, **asked).max_rate_rps  # type: ignore[arg-type]
        for speed in (1.0, 0.97, 0.9, 0.86, 0.7)
    ]
    assert all((after < before).all() for before, after in pairwise(rates))
    assert len(catalog) == 4
