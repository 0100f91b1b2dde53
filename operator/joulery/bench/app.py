"""`joulery bench optimizer`: measure, print a table as results come, write JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from joulery.bench.churn import foresight_of, frontier_of
from joulery.bench.deadline import overshoot_of
from joulery.bench.fewest import fewest_of
from joulery.bench.figures import exact_of, faults_of, figures_of, times_faster
from joulery.bench.forms import Form
from joulery.bench.measure import Measured, measured
from joulery.bench.plan import DEADLINE_CASES, deadline_name, drifts, tasks
from joulery.bench.table import heading, line
from joulery.bench.targets import judged, row

SCHEMA_VERSION = 1
Figures = dict[str, dict[str, float | int]]


def suite(
    *, is_full: bool, only: str = "", say: Callable[[str], None] = lambda _: None
) -> tuple[Figures, list[str]]:
    """Figures by `case/form/engine`, and what failed.

    Args:
        only: a part of the names to measure.
        say: told each line of the table as it is measured.
    """
    figures: Figures = {}
    failures: list[str] = []
    wanted = [
        task for task in tasks(is_full=is_full) if only in f"{task.case.name}/{task.form}/{task.engine}"
    ]
    for (case, form), group in groupby(wanted, key=lambda task: (task.case, task.form)):
        rows = [(task.engine, measured(task)) for task in group]
        done = [row for _, row in rows if isinstance(row, Measured)]
        failures += [f"{case.name}/{form}/{name}: {row}" for name, row in rows if isinstance(row, str)]
        failures += [fault for row in done for fault in faults_of(row)]
        found = {row.task.engine: figures_of(row, exact_of(done)) for row in done}
        by_engine = {row.task.engine: row for row in done}
        if {"columns", "textbook"} <= set(by_engine):
            faster = times_faster(by_engine["columns"], by_engine["textbook"])
            found["columns"]["timesFasterThanTextbook"] = faster
        figures |= {f"{case.name}/{form}/{engine}": values for engine, values in found.items()}
        for engine, values in found.items():
            say(line(f"{case.name} {form}", engine, values))
    for drift in drifts(is_full=is_full):
        if only in drift.name:
            for cost, churn in frontier_of(drift).items():
                figures[f"{drift.name}/{cost}"] = churn
                say(f"{drift.name}/{cost}: {json.dumps(churn)}")
            if is_full and drift.form is Form.EQUAL:
                for name, found_by in (("fewest", fewest_of), ("foresight", foresight_of)):
                    figures[f"{drift.name}/{name}"] = found_by(drift, 0)
                    say(f"{drift.name}/{name}: {json.dumps(figures[f'{drift.name}/{name}'])}")
    for case, form in DEADLINE_CASES:
        name = deadline_name(case, form)
        if only in name:
            figures[name] = overshoot_of(case, seeds=20 if is_full else 3, form=form)
            say(f"{name}: {json.dumps(figures[name])}")
    return figures, failures


def run(*, is_full: bool, only: str, out: Path | None) -> int:
    """The command; exit code 1 where an engine failed or the checker refused a plan.

    A target that is missed is told and no failure: times are of the machine.
    """
    print(heading(), flush=True)
    figures, failures = suite(is_full=is_full, only=only, say=lambda text: print(text, flush=True))
    for failure in failures:
        print(f"FAILED {failure}")
    verdicts = judged(figures)
    for name, verdict in verdicts.items():
        print(row(name, verdict))
    if out is not None:
        document = {"schemaVersion": SCHEMA_VERSION, "benchmarks": figures}
        document |= {"targets": verdicts, "failures": failures}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(document, indent=2) + "\n")
        print(f"wrote {out}")
    return 1 if failures or not figures else 0
