"""The nine default classes and the one objective of a lane."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulery.domain.request_class import DEFAULT_CLASSES, Objective, class_of, lane_objective


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_every_request_belongs_to_exactly_one_default_class(input_tokens: int, output_tokens: int) -> None:
    holding = [
        c for c in DEFAULT_CLASSES if input_tokens in c.input_tokens and output_tokens in c.output_tokens
    ]
    assert len(holding) == 1
    assert class_of(DEFAULT_CLASSES, input_tokens, output_tokens) == holding[0]


def test_the_lane_has_the_objective_of_its_largest_input_class() -> None:
    assert lane_objective(DEFAULT_CLASSES) == Objective(2000, 100)


def test_a_prompt_beyond_every_class_belongs_to_none() -> None:
    assert class_of(DEFAULT_CLASSES, 9000, 10) is None
