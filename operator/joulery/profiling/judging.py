"""The commands without kernel work: validate, show, import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from joulery.errors import ConfigError
from joulery.profiling.checks import problems_in
from joulery.profiling.files import manifests_of, profile_at, write_whole
from joulery.profiling.layouts import Selection, read_layout
from joulery.profiling.points import render_points
from joulery.profiling.sources import LAYOUTS
from joulery.profiling.tables import tables_of

# Tables are read from files too, where no terminal says how wide it is.
_LEAST_WIDTH = 132


def judge(references: Sequence[str]) -> int:
    """Print each profile's problems, one a line; the exit code, 2 where there is one."""
    usable, refusals = _terminal(), Console(stderr=True, soft_wrap=True, highlight=False)
    code = 0
    for reference in references:
        try:
            judged = [(manifest, problems_in(manifest)) for manifest in manifests_of(reference)]
        except ConfigError as error:
            refusals.print(f"joulery: {error}", markup=False)
            code = 2
            continue
        for manifest, problems in judged:
            if not problems:
                usable.print(f"{reference}: {manifest.name} can be used", markup=False)
                continue
            code = 2
            for problem in problems:
                refusals.print(f"joulery: {reference}: {manifest.name}: {problem}", markup=False)
    return code


def show(reference: str) -> None:
    """Print a profile as tables. Raises ConfigError where it cannot be used."""
    terminal = _terminal()
    for table in tables_of(profile_at(reference)):
        terminal.print(table)


def import_table(layout: str, file: Path, selection: Selection, out: Path) -> None:
    """Write the points of a public table. Raises ConfigError for what cannot be used; nothing is written then."""
    known = LAYOUTS.get(layout)
    if known is None:
        raise ConfigError(f"unknown layout {layout!r}: known are {', '.join(LAYOUTS)}")
    imported = read_layout(file, known, selection)
    write_whole(out, render_points(imported.points))
    told = Console(stderr=True, soft_wrap=True)
    told.print(f"{len(imported.points)} points in {out}")
    for reason, count in imported.left_out.items():
        told.print(f"left out: {count} {reason}")


def _terminal() -> Console:
    terminal = Console(soft_wrap=False)
    terminal.width = max(terminal.width, _LEAST_WIDTH)
    return terminal
