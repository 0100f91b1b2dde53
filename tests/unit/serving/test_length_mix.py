"""Length mixes: what is sampled is what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.domain.demand import LengthHistogram
from joulery.serving.mix import VLLM_TOKEN_EDGES, LengthMix, of_histograms, of_requests
from serving_cases import azure_lengths


def test_token_edges_are_those_of_vllm() -> None:
    assert VLLM_TOKEN_EDGES[:6] == (1, 2, 5, 10, 20, 50)
    assert VLLM_TOKEN_EDGES[-1] == 100_000
    assert len(VLLM_TOKEN_EDGES) == 16


@pytest.mark.parametrize("trace", ["conv", "code"])
def test_sample_reproduces_means_and_quantiles_of_a_trace_seen_through_a_histogram(trace: str) -> None:
    lengths = azure_lengths(trace)
    mix = of_requests(*lengths)
    for measured, sampled in zip(lengths, mix.sample(20_000, seed=3), strict=True):
        assert sampled.mean() == pytest.approx(measured.mean(), rel=0.01)
        for edge in (100, 500, 1000, 2000):  # bucket edges: exact up to sampling
            assert (sampled <= edge).mean() == pytest.approx((measured <= edge).mean(), abs=0.005)


def test_mean_without_an_exact_one_is_within_a_fifth() -> None:
    inputs, outputs = azure_lengths("conv")
    exact = of_requests(inputs, outputs)
    blind = LengthMix(exact.input_edges, exact.input_shares, exact.output_edges, exact.output_shares)
    assert blind.mean_input_tokens == pytest.approx(float(inputs.mean()), rel=0.2)
    assert blind.mean_output_tokens == pytest.approx(float(outputs.mean()), rel=0.2)


def test_same_seed_samples_the_same_requests() -> None:
    mix = of_requests(*azure_lengths("conv"))
    assert all((a == b).all() for a, b in zip(mix.sample(100, 1), mix.sample(100, 1), strict=True))
    assert any((a != b).any() for a, b in zip(mix.sample(100, 1), mix.sample(100, 2), strict=True))


def test_histogram_of_rates_becomes_shares_and_its_open_bucket_is_closed() -> None:
    measured = LengthHistogram((10, 100), (1.0, 2.0, 1.0))
    mix = of_histograms(measured, measured, longest=1000)
    assert mix is not None
    assert (mix.input_edges, mix.input_shares) == ((0, 10, 100, 1000), (0.25, 0.5, 0.25))


def test_histogram_edges_beyond_the_longest_request_fold_into_its_bucket() -> None:
    measured = LengthHistogram((10, 100, 2000), (1.0, 1.0, 1.0, 1.0))
    mix = of_histograms(measured, measured, longest=100)
    assert mix is not None
    assert (mix.input_edges, mix.input_shares) == ((0, 10, 100), (0.25, 0.75))


@pytest.mark.parametrize(
    ("last", "beyond"), [(1, 2), (10, 20), (20, 50), (50, 100), (10_000, 20_000), (3000, 5000)]
)
def test_open_bucket_ends_at_the_next_edge_of_the_series(last: int, beyond: int) -> None:
    measured = LengthHistogram((last,), (3.0, 1.0))
    mix = of_histograms(measured, measured)
    assert mix is not None
    assert mix.input_edges == mix.output_edges == (0, last, beyond)


def test_histogram_without_requests_has_no_mix() -> None:
    empty = LengthHistogram((10,), (0.0, 0.0))
    assert of_histograms(empty, empty) is None


def test_distance_sees_a_change_of_mean_and_of_shape() -> None:
    conv, code = of_requests(*azure_lengths("conv")), of_requests(*azure_lengths("code"))
    assert conv.distance(conv) == 0.0
    assert conv.distance(code) > 1.0
    wider = LengthMix((0, 100, 300), (0.5, 0.5), (0, 10), (1.0,), 100.0, 5.0)
    narrow = LengthMix((0, 100, 300), (0.8, 0.2), (0, 10), (1.0,), 100.0, 5.0)
    assert wider.distance(narrow) == pytest.approx(0.3)


def test_equal_content_has_an_equal_hash() -> None:
    one, same = of_requests(*azure_lengths("conv")), of_requests(*azure_lengths("conv"))
    assert one.content_hash == same.content_hash
    assert one.content_hash != of_requests(*azure_lengths("code")).content_hash


@pytest.mark.parametrize(
    ("edges", "shares"),
    [((0, 10, 5), (0.5, 0.5)), ((0, 10), (0.5, 0.5)), ((0, 10), (0.7,)), ((0, 5, 9), (1.5, -0.5))],
)
def test_refuses_what_is_no_distribution(edges: tuple[int, ...], shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="input"):
        LengthMix(edges, shares, (0, 10), (1.0,))


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=60), st.integers(0, 100))
def test_samples_stay_inside_the_measured_buckets(lengths: list[int], seed: int) -> None:
    values = np.array(lengths, np.int64)
    inputs, outputs = of_requests(values, values).sample(200, seed)
    for sampled in (inputs, outputs):
        assert sampled.min() >= 1
        assert sampled.max() <= max(lengths)
