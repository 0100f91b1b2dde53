"""Which engines are measured on which cases: the short form of every change, and the full form."""

from __future__ import annotations

from collections.abc import Iterator

from joulery.bench.churn import RECENT, Drift
from joulery.bench.forms import Form
from joulery.bench.measure import Task
from joulery.bench.suite import Case

# Above, the monolithic model needs minutes, and a table of limits reached says nothing.
MOST_POOLS_MILP = 100
LARGE_POOLS = 1000
LOOSE = 0.5
# A tenth of the pools are two thirds of the load.
UNEVEN = 1.8
# Over what serves all.
SHORT_OF_GPUS = 1.2
TIME_LIMIT_S = 20.0
# Of the model that one would write first, which most often ends there; as many seeds as a median needs.
TEXTBOOK_LIMIT_S, TEXTBOOK_SEEDS = 60.0, 15
# Larger fill cases have no incumbent in the textbook model's time.
FEW_POOLS, FEW_CLOCKS = 9, 12

SHORT = (
    (Case(9, 1, 12), 5),
    (Case(9, 2, 80), 5),
    (Case(100, 2, 80), 3),
    (Case(100, 2, 80, SHORT_OF_GPUS), 3),
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
    (Case(40, 4, 12, load_spread=UNEVEN), 20),
    (Case(100, 1, 80), 10),
    (Case(100, 2, 12), 10),
    (Case(100, 2, 80), 20),
    (Case(100, 4, 80), 10),
    (Case(100, 2, 80, SHORT_OF_GPUS), 10),
    (Case(100, 2, 80, LOOSE), 10),
    (Case(100, 2, 80, load_spread=UNEVEN), 10),
    (Case(1000, 2, 12), 4),
    (Case(1000, 2, 80), 4),
    (Case(1000, 4, 80), 2),
    (Case(5000, 2, 80, gpus_per_pool=20), 1),
    (Case(5000, 4, 80, gpus_per_pool=20), 1),
)

# Watts per start round where lanes that fill reach the target.
FILL_COSTS_W = (60.0, 80.0, 90.0, 95.0, 100.0, 110.0)
# The same where nothing is awaited, beside it.
ALONE_COSTS_W = (70.0, 80.0, 90.0)

# Where pools of both kinds share GPUs, beside the rows of each kind alone.
MIXED_CASES = (Case(100, 2, 80),)

DEADLINE_CASES = (
    *((Case(pools, 2, 80), form) for form in (Form.EQUAL, Form.FILL) for pools in (9, 100)),
    (Case(100, 2, 80, SHORT_OF_GPUS), Form.FILL),
)


def deadline_name(case: Case, form: Form) -> str:
    """Key of the figures of a deadline."""
    return f"{case.name}/deadline/{form}"


def tasks(*, is_full: bool) -> Iterator[Task]:
    """All tasks, those to be compared beside each other."""
    most_s = 120.0 if is_full else 10.0
    for case, seeds in FULL if is_full else SHORT:
        for form in Form:
            for engine in _engines(case, form):
                is_columns = engine == "columns"
                limit_s = TEXTBOOK_LIMIT_S if is_full and engine == "textbook" else TIME_LIMIT_S
                # An oracle that takes minutes is worth its time only as far as it proves something.
                longest_s = 30.0 * most_s if is_full and engine.startswith("textbook") else most_s
                number = min(seeds, TEXTBOOK_SEEDS) if engine == "textbook" else seeds
                yield Task(case, form, engine, number, limit_s, longest_s, has_warm=is_columns)


def drifts(*, is_full: bool) -> tuple[Drift, ...]:
    """Drifting loads: that of the target first; beside it equal split, walks, in full also where GPUs do not bind."""
    case = Case(100, 2, 80)
    if not is_full:
        few, form = (50.0, 100.0), Form.FILL
        return Drift(case, 6, (90.0, 95.0), form=form), Drift(case, 6, few), Drift(case, 6, few, step=0.05)
    loose = Case(100, 2, 80, LOOSE)
    return (
        # The costs, and what a later start counts, were chosen on these fleets; none on seeds 20 to 39.
        Drift(case, 25, FILL_COSTS_W, form=Form.FILL, seeds=20, warm_up=RECENT),
        Drift(case, 25, ALONE_COSTS_W, form=Form.FILL, seeds=10, warm_up=RECENT, recent=0),
        *(
            Drift(case, 25, FILL_COSTS_W, step, form=Form.FILL, seeds=5, warm_up=RECENT)
            for step in (0.05, 0.10)
        ),
        *(Drift(case, 25, step=step, warm_up=RECENT) for step in (None, 0.02, 0.05, 0.10)),
        *(Drift(loose, 25, step=step, warm_up=RECENT) for step in (None, 0.05)),
    )


def _engines(case: Case, form: Form) -> tuple[str, ...]:
    if form is Form.MIXED:
        return ("columns", "fallback") if case in MIXED_CASES else ()
    if case.tightness > 1.0 and form is not Form.FILL:
        return ("columns", "fallback")  # the monolithic model takes until its limit
    is_small = case.pools <= FEW_POOLS and case.clocks <= FEW_CLOCKS
    if form is Form.FILL:
        return ("columns", "fallback", *(("textbook-partial", "textbook") if is_small else ()))
    return ("columns", "milp", "fallback") if case.pools <= MOST_POOLS_MILP else ("columns", "fallback")
