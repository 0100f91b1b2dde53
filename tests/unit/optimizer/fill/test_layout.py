"""How lanes are laid out: the same table for any order of their items, and nothing of the caller's written over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.kernel_order import find_kinds
from joulery.optimizer.fill.lane import Lane
from joulery.optimizer.fill.layout import lay_out

PER_ITEM = ("kind", "clock_mhz", "capacity", "idle_w", "full_w")


def shuffled(lane: Lane, seed: int) -> Lane:
    order = np.random.default_rng(seed).permutation(len(lane))
    return replace(lane, **{name: getattr(lane, name)[order] for name in PER_ITEM})


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_items_changes_only_where_each_is_found_again(seed: int) -> None:
    problem = fill(drawn(Case(6, 2, 12), seed))
    turned = replace(problem, lanes=tuple(shuffled(lane, seed) for lane in problem.lanes))
    one, other = lay_out(problem), lay_out(turned)
    for name in one.items._fields:
        assert np.array_equal(getattr(one.items, name), getattr(other.items, name)), name
    assert np.array_equal(one.searched.cost, other.searched.cost)
    for at, lane in zip(range(one.lanes), (turned.lanes[p] for p in other.position.tolist()), strict=True):
        own = slice(one.items.start[at], one.items.start[at + 1])
        assert np.array_equal(lane.capacity[other.place[own]], other.items.capacity[own])


@pytest.mark.parametrize("lanes", [1, 6])
def test_what_the_caller_gave_is_not_written_over(lanes: int) -> None:
    problem = fill(drawn(Case(lanes, 2, 12), 3))
    before = [{name: getattr(lane, name).copy() for name in PER_ITEM} for lane in problem.lanes]
    lay_out(problem)
    for lane, kept in zip(problem.lanes, before, strict=True):
        assert all(np.array_equal(getattr(lane, name), kept[name]) for name in PER_ITEM)


def test_items_cost_when_full_what_their_watts_say() -> None:
    problem = fill(drawn(Case(6, 2, 12), 3))
    table = lay_out(problem)
    watts = np.concatenate([problem.lanes[p].full_w for p in table.position.tolist()])
    assert table.searched.cost * table.unit_w == pytest.approx(watts, rel=1e-12)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    kinds=st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    is_sorted=st.booleans(),
)
def test_kinds_are_found_where_items_come_in_order_and_nowhere_else(
    kinds: list[list[int]], seed: int, is_sorted: bool
) -> None:
    start = np.concatenate([[0], np.cumsum([len(lane) for lane in kinds])]).astype(np.int64)
    kind = np.concatenate([np.array(lane, dtype=np.int64) for lane in kinds])
    owner = np.repeat(np.arange(len(kinds)), np.diff(start))
    capacity = np.random.default_rng(seed).integers(1, 4, len(kind)).astype(np.float64)
    order = np.lexsort((capacity, kind, owner))
    if is_sorted:
        kind, capacity = kind[order], capacity[order]
    kind_at = np.zeros((len(kinds), 5), dtype=np.int64)
    keys = list(zip(owner.tolist(), kind.tolist(), capacity.tolist(), strict=True))
    assert find_kinds(start, kind, capacity, kind_at) == (keys == sorted(keys))
    if keys == sorted(keys):
        wanted = np.searchsorted(owner * 4 + kind, np.arange(4 * len(kinds))).reshape(-1, 4)
        assert np.array_equal(kind_at, np.column_stack([wanted, start[1:]]))
