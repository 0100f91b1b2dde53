"""Which engines are measured on which cases: the short form of every change, and the full form."""

from __future__ import annotations

from collections.abc import Iterator

from joulery.bench.forms import Form
from joulery.bench.measure import Task
from joulery.bench.suite import Case

# Above, the monolithic model needs minutes, and a table of limits reached says nothing.
MOST_POOLS_MILP = 100
LARGE_POOLS = 1000
LOOSE = 0.5
TIME_LIMIT_S = 20.0

SHORT = (
    (Case(9, 1, 12), 5),
    (Case(9, 2, 80), 5),
    (Case(100, 2, 80), 3),
    (Case(1000, 2, 80), 1),
)
FULL = (
    (Case(9, 1, 12), 40),
    (Case(9, 2, 12), 40),
    (Case(9, 1, 80), 20),
    (Case(9, 2, 80), 20),
    (Case(9, 4, 80), 20),
    (Case(9, 2, 80, LOOSE), 20),
    (Case(9, 2, 80, gpus_per_pool=100), 10),
    (Case(100, 1, 80), 10),
    (Case(100, 2, 12), 10),
    (Case(100, 2, 80), 20),
    (Case(100, 4, 80), 10),
    (Case(100, 2, 80, LOOSE), 10),
    (Case(1000, 2, 12), 4),
    (Case(1000, 2, 80), 4),
    (Case(1000, 4, 80), 2),
    (Case(5000, 2, 80, gpus_per_pool=20), 1),
    (Case(5000, 4, 80, gpus_per_pool=20), 1),
)


def tasks(*, is_full: bool) -> Iterator[Task]:
    """All tasks, those to be compared beside each other."""
    for case, seeds in FULL if is_full else SHORT:
        for form in (Form.EQUAL, Form.CONCAVE):
            for engine in _engines(case):
                yield Task(case, form, engine, seeds, TIME_LIMIT_S, most_s=120.0 if is_full else 20.0)


def _engines(case: Case) -> tuple[str, ...]:
    return ("columns", "milp", "fallback") if case.pools <= MOST_POOLS_MILP else ("columns", "fallback")
