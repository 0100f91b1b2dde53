"""Public tables of measurements as points: which columns they have, which rows can be used, what is assumed."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from joulery.errors import ConfigError
from joulery.profiling.points import MeasuredPoint, contradictions, out_of_bounds

Cells = Mapping[str, str]

# Of the values of a column, in a message.
_MOST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted, each as the table writes it; None takes what there is, if it is all the same.

    `input_tokens` is the prompt length of tables that do not hold it.
    """

    model: str | None = None
    engine: str | None = None
    version: str | None = None
    precision: str | None = None
    task: str | None = None
    accelerator: str | None = None
    input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """Points, and how many rows were left out for which reason."""

    points: tuple[MeasuredPoint, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of a table; what it holds is told with row and column where it cannot be used."""

    file: str
    number: int
    cells: Cells

    def measure(self, column: str) -> float:
        """A positive number."""
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not 0.0 < value < math.inf:
            raise self.refused(column, "must be a number above 0")
        return value

    def count(self, column: str) -> int:
        """A positive number that stands for an integer: `4.0` is 4, a mean of 31.98 is 32."""
        return max(1, round(self.measure(column)))

    def is_one(self, column: str) -> bool:
        """Whether a degree of parallelism is one or not stated."""
        return self.cells[column] in {"", "1", "1.0"}

    def refused(self, column: str, expected: str) -> ConfigError:
        """What is wrong with a cell."""
        return ConfigError(
            f"{self.file} row {self.number}, column {column}: {expected}, not {self.cells[column]!r}"
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """A table of one source.

    Attributes:
        columns: columns that are read; others are ignored, their meaning being the source's own.
        keys: fields of `Selection` by the column that they choose from.
        device: the column of the accelerator, and `devices` what its values are called in profiles.
        unusable: why a row is no closed-loop run of one tensor-parallel instance; None where it is one.
    """

    columns: tuple[str, ...]
    keys: Mapping[str, str]
    device: str
    devices: Mapping[str, str]
    unusable: Callable[[SourceRow], str | None]
    point: Callable[[SourceRow, str, Selection], MeasuredPoint]


def read_layout(path: Path, layout: Layout, selection: Selection) -> Imported:
    """The points of a table. Raises ConfigError naming row and column of the first that cannot be used."""
    rows: list[SourceRow] = []
    left_out, table = Counter[str](), tuple(_rows(path, layout))
    _check_choices(table, layout, selection, path)
    for row in table:
        reason = _not_wanted(row, layout, selection) or layout.unusable(row)
        if reason:
            left_out[reason] += 1
        else:
            rows.append(row)
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it is empty"
        raise ConfigError(f"{path} holds no row that can be used: {reasons}")
    for key, column in layout.keys.items():
        if len(found := _values(rows, column)) > 1:
            raise ConfigError(f"{path} column {column} holds {_shown(found)}: choose one with --{key}")
    points = tuple(layout.point(row, _device(row, layout), selection) for row in rows)
    for point in points:
        if problem := out_of_bounds(point):
            raise ConfigError(f"{path} row {point.row}, {problem}")
    if contradiction := next(contradictions(points), None):
        raise ConfigError(f"{path} {contradiction}")
    return Imported(points, MappingProxyType(dict(left_out)))


def _check_choices(rows: Sequence[SourceRow], layout: Layout, selection: Selection, path: Path) -> None:
    for key, column in layout.keys.items():
        wanted, found = getattr(selection, key), _values(rows, column)
        if found and wanted is not None and wanted.lower() not in {value.lower() for value in found}:
            raise ConfigError(f"{path} column {column} holds {_shown(found)}: none is --{key} {wanted!r}")


def _values(rows: Sequence[SourceRow], column: str) -> list[str]:
    return sorted({row.cells[column] for row in rows})


def _shown(values: Sequence[str]) -> str:
    more = f" and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else ""
    return ", ".join(map(repr, values[:_MOST_SHOWN])) + more


def _not_wanted(row: SourceRow, layout: Layout, selection: Selection) -> str | None:
    for key, column in layout.keys.items():
        wanted = getattr(selection, key)
        if wanted is not None and row.cells[column].lower() != wanted.lower():
            return f"of another {key}"
    wanted = selection.accelerator
    if wanted is not None and wanted not in (
        row.cells[layout.device],
        layout.devices.get(row.cells[layout.device]),
    ):
        return "of another accelerator"
    return None


def _device(row: SourceRow, layout: Layout) -> str:
    known = layout.devices.get(row.cells[layout.device])
    if known is None:
        raise row.refused(
            layout.device,
            f"unknown accelerator (known are {', '.join(layout.devices)}; choose with --accelerator)",
        )
    return known


def _rows(path: Path, layout: Layout) -> Iterator[SourceRow]:
    table = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        if missing := [c for c in layout.columns if c not in (table.fieldnames or ())]:
            raise ConfigError(f"{path} row 1: missing column {', '.join(missing)}: is it another layout?")
        for cells in table:
            yield SourceRow(str(path), table.line_num, {c: (cells[c] or "").strip() for c in layout.columns})
    except csv.Error as error:
        raise ConfigError(f"{path} row {table.line_num + 1}: not CSV: {error}") from error


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
