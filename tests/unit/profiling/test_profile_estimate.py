"""What data tell is found, what they do not tell keeps its prior, and what cannot be is not found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from joulery.profiling.estimate import Estimate, Unknown, estimate

X = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


Model = Callable[[Mapping[str, float]], np.ndarray]


def found(unknowns: list[Unknown], model: Model, measured: np.ndarray, *, decide: bool = True) -> Estimate:
    return estimate(unknowns, lambda values: np.log(model(values) / measured), decide=decide)


def line(v: Mapping[str, float]) -> np.ndarray:
    return v["a"] + v["b"] * X


def test_parameters_that_the_data_tell_are_found_from_far_off() -> None:
    fit = found([Unknown("a", 1.0, 1.0), Unknown("b", 1.0, 1.0)], line, 3.0 + 0.5 * X)
    assert fit.values == {"a": pytest.approx(3.0), "b": pytest.approx(0.5)}
    assert fit.given_up == frozenset()
    assert 0.0 < fit.standard_errors["a"] < 0.5


def test_of_two_that_cannot_be_told_apart_the_first_keeps_its_prior() -> None:
    fit = found(
        [Unknown("least", 1.0, 1.0), Unknown("sure", 1.0, 1.0)],
        lambda v: v["least"] + v["sure"] + 0.0 * X,
        5.0 + 0.0 * X,
    )
    assert fit.given_up == {"least"}
    assert fit.values == {"least": 1.0, "sure": pytest.approx(4.0)}


def test_one_without_any_effect_keeps_a_prior_of_nothing() -> None:
    fit = found([Unknown("idle", 0.0, 1.0), Unknown("a", 1.0, 1.0)], lambda v: v["a"] * X, 2.0 * X)
    assert fit.given_up == {"idle"}
    assert fit.values == {"idle": 0.0, "a": pytest.approx(2.0)}


def test_one_that_is_nothing_in_the_known_profile_can_still_be_found() -> None:
    fit = found(
        [Unknown("step", 0.0, 1.0), Unknown("a", 1.0, 1.0)],
        lambda v: v["a"] + v["step"] * (X > 3),
        2.0 + 1.5 * (X > 3),
    )
    assert fit.values == {"step": pytest.approx(1.5), "a": pytest.approx(2.0)}


def test_a_value_at_the_end_of_what_can_be_is_no_finding() -> None:
    bounded = [Unknown("a", 1.0, 1.0, least=0.2, most=5.0), Unknown("b", 1.0, 1.0)]
    assert found(bounded, line, 40.0 + X).given_up == {"a"}
    assert found(bounded, line, 4.0 + X).given_up == frozenset()


def test_nothing_is_given_up_where_it_is_decided_already() -> None:
    fit = found(
        [Unknown("idle", 1.0, 1.0), Unknown("a", 1.0, 1.0)], lambda v: v["a"] * X, 2.0 * X, decide=False
    )
    assert fit.given_up == frozenset()
    assert fit.values["a"] == pytest.approx(2.0)


def test_one_wrong_value_does_not_bend_the_fit() -> None:
    measured = 2.0 * X
    measured[2] *= 1.5
    assert found([Unknown("a", 1.0, 1.0)], lambda v: v["a"] * X, measured).values["a"] == pytest.approx(
        2.0, rel=0.04
    )
