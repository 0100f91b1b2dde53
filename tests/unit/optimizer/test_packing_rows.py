"""Nested packing rows and the greedy placement against brute force."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulery.optimizer.packing import binding_rows, packing_rows, place
from joulery.optimizer.problem import Kind, supply_of

SIZES = (8, 4, 2, 1)
CASES = 20_000


@cache
def goes_on(nodes: tuple[int, ...], counts: tuple[int, ...]) -> bool:
    """Whether any assignment of instances to nodes exists, by trying each node for the next instance."""
    wanted = next((i for i, n in enumerate(counts) if n), None)
    if wanted is None:
        return True
    rest = tuple(n - (i == wanted) for i, n in enumerate(counts))
    return any(
        free >= SIZES[wanted]
        and goes_on(tuple(sorted((*nodes[:i], free - SIZES[wanted], *nodes[i + 1 :]))), rest)
        for i, free in enumerate(nodes)
    )


def random_cases() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    rng = np.random.default_rng(6)
    cases = []
    for _ in range(CASES):
        nodes = tuple(sorted(rng.integers(0, 13, size=rng.integers(0, 5)).tolist()))
        counts = tuple(int(rng.integers(0, most + 1)) for most in (2, 3, 4, 6))
        cases.append((nodes, counts))
    return cases


def test_rows_are_necessary_and_sufficient_and_greedy_places_whatever_fits() -> None:
    kinds = [Kind("gpu", size) for size in SIZES]
    feasible = 0
    for nodes, counts in random_cases():
        rows = packing_rows(kinds, [supply_of("gpu", nodes)])
        by_rows = rows.fit(np.array(counts) @ rows.per_instance)
        truth = goes_on(nodes, counts)
        placement = place(nodes, dict(zip(SIZES, counts, strict=True)))
        assert by_rows == truth == (placement is not None), (nodes, counts)
        feasible += truth
    assert CASES * 0.1 < feasible < CASES * 0.9


@given(
    nodes=st.lists(st.integers(0, 16), max_size=6),
    counts=st.fixed_dictionaries({size: st.integers(0, 4) for size in SIZES}),
)
def test_a_placement_holds_every_instance_once_and_overfills_no_node(
    nodes: list[int], counts: dict[int, int]
) -> None:
    placement = place(nodes, counts)
    if placement is None:
        return
    assert all(sum(sizes) <= free for sizes, free in zip(placement, nodes, strict=True))
    placed = [size for sizes in placement for size in sizes]
    assert {size: placed.count(size) for size in SIZES} == counts


def test_missing_gpus_count_fragmentation_not_only_totals() -> None:
    rows = packing_rows([Kind("gpu", 8), Kind("gpu", 4)], [supply_of("gpu", [4, 4])])
    assert rows.gpus_missing(np.array([2, 1])) == {"gpu": 8}  # one TP8: eight GPUs are free, on two nodes
    assert rows.gpus_missing(np.array([3, 0])) == {"gpu": 4}
    assert rows.gpus_missing(np.array([2, 0])) == {}


def test_kinds_without_supply_have_no_room() -> None:
    rows = packing_rows([Kind("gpu", 2), Kind("other", 4)], [supply_of("gpu", [8])])
    assert rows.fit(np.array([4, 0]))
    assert not rows.fit(np.array([0, 1]))


def test_a_negative_number_of_free_gpus_counts_as_none() -> None:
    assert supply_of("gpu", [-3, 8]).slots == ((8, 1), (4, 2), (2, 4), (1, 8))


def test_leaving_out_implied_rows_changes_nothing_that_fits() -> None:
    kinds = [Kind("gpu", size) for size in SIZES]
    dropped = 0
    for nodes, counts in random_cases()[:5000]:
        rows = packing_rows(kinds, [supply_of("gpu", nodes)])
        fewer = binding_rows(rows)
        used = np.array(counts)
        assert rows.fit(used @ rows.per_instance) == fewer.fit(used @ fewer.per_instance), (nodes, counts)
        dropped += len(rows.slots) - len(fewer.slots)
    assert dropped > 0
