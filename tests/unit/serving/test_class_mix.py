"""Lengths of classes together: each class keeps its own, shares are held, order and small changes do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.serving.class_mix import QUANTA, ClassMix, of_rates
from joulery.serving.mix import LengthMix, of_requests
from serving_cases import azure_lengths


def between(inputs: tuple[int, int], outputs: tuple[int, int]) -> LengthMix:
    return LengthMix(inputs, (1.0,), outputs, (1.0,))


SHORT = between((9, 20), (9, 20))
LONG = between((999, 2000), (999, 2000))


def test_long_answers_stay_with_the_prompts_that_have_them() -> None:
    inputs, outputs = of_rates([(3.0, SHORT), (1.0, LONG)]).sample(4000, seed=0)
    assert np.array_equal(inputs >= 1000, outputs >= 1000)
    assert (inputs >= 1000).sum() == 1000


def test_one_class_alone_has_the_lengths_of_its_histograms() -> None:
    mix = of_requests(*azure_lengths("conv"))
    inputs, outputs = of_rates([(7.0, mix)]).sample(20_000, seed=1)
    assert inputs.mean() == pytest.approx(mix.mean_input_tokens, rel=0.01)
    assert outputs.mean() == pytest.approx(mix.mean_output_tokens, rel=0.01)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=9), st.integers(1, 3000), st.integers(0, 99))
@settings(deadline=None)
def test_every_class_has_its_part_of_the_requests_to_one(rates: list[float], count: int, seed: int) -> None:
    mixes = [between((1000 * i, 1000 * i + 500), (0, 10)) for i in range(len(rates))]
    mix = of_rates(list(zip(rates, mixes, strict=True)))
    inputs, outputs = mix.sample(count, seed)
    assert len(inputs) == len(outputs) == count
    total = sum(part for part, _ in mix.parts)
    for part, lengths in mix.parts:
        low, high = lengths.input_edges
        assert abs(int(((inputs > low) & (inputs <= high)).sum()) - count * part / total) <= 1.0


@given(st.permutations([(1.0, SHORT), (2.0, LONG), (0.5, between((20, 40), (5, 9)))]))
def test_the_order_of_classes_and_the_size_of_the_load_do_not_matter(
    rates: list[tuple[float, LengthMix]],
) -> None:
    again = of_rates([(30.0 * rate, mix) for rate, mix in rates])
    assert again.content_hash == of_rates(sorted(rates, key=lambda each: each[0])).content_hash


def test_a_load_that_wanders_by_less_than_a_part_asks_the_same_question() -> None:
    before, after = of_rates([(1.0, SHORT), (1.0, LONG)]), of_rates([(1.001, SHORT), (0.999, LONG)])
    assert before.content_hash == after.content_hash
    assert before.content_hash != of_rates([(1.1, SHORT), (0.9, LONG)]).content_hash


def test_the_rarest_class_is_not_lost_and_one_without_load_is_none() -> None:
    mix = of_rates([(1e6, SHORT), (1e-6, LONG), (0.0, between((1, 2), (1, 2)))])
    assert sorted(part for part, _ in mix.parts) == [1, QUANTA]


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    mix = ClassMix(((1, SHORT), (1, LONG)))
    assert np.array_equal(mix.sample(100, 3)[0], mix.sample(100, 3)[0])
    assert not np.array_equal(mix.sample(100, 3)[0], mix.sample(100, 4)[0])


@pytest.mark.parametrize("rates", [[], [(0.0, SHORT)], [(-1.0, SHORT), (2.0, LONG)], [(float("nan"), SHORT)]])
def test_rates_that_are_none_are_refused(rates: list[tuple[float, LengthMix]]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        of_rates(rates)
