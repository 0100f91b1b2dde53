"""Options that no plan needs: those of one packing row in one sweep, as all rows compared in pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.bench.forms import equal
from joulery.bench.suite import Case, drawn
from joulery.optimizer.packing import PackingRows, binding_rows
from joulery.optimizer.pruning import full_options, improving_of_one_row
from joulery.optimizer.table import tabulate


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    options=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=40
    )
)
def test_what_is_kept_is_what_no_other_of_its_group_matches(options: list[tuple[int, int, int]]) -> None:
    kept = improving_of_one_row(*(np.array(column) for column in zip(*options, strict=True)))
    expected = [
        place
        for place, (group, use, cost) in enumerate(options)
        if not any(
            other_group == group and other_use <= use and other_cost <= cost
            and ((other_use, other_cost) != (use, cost) or other < place)
            for other, (other_group, other_use, other_cost) in enumerate(options)
        )
    ]  # fmt: skip
    assert kept.tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_a_row_that_another_implies_changes_nothing_of_what_is_kept(seed: int) -> None:
    """With rows for every size options take several, and are compared in pairs."""
    table = tabulate(equal(drawn(Case(9, 2, 12), seed)))
    few = binding_rows(table.rows)
    assert len(few.slots) < len(table.rows.slots)
    twice = PackingRows(
        few.accelerator * 2,
        np.tile(few.size, 2),
        np.tile(few.slots, 2),
        np.tile(few.per_instance, (1, 2)),
    )
    swept, paired = (full_options(replace(table, rows=rows)) for rows in (few, twice))
    assert swept.tolist() == paired.tolist()
