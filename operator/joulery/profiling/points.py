"""Measured operating points as a CSV: read with every cell judged, written back the same."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from joulery.errors import ConfigError

# Repeats of one point that differ by more than this share cannot both be right.
CONTRADICTION_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """Means that so many closed-loop clients measured at nominal lengths; None where it was not measured.

    `row` is the line of the file that it was read from. Without a clock it is the highest of the device.
    """

    accelerator: str
    tensor_parallel_size: int
    concurrency: int
    input_tokens: int
    output_tokens: int
    ttft_ms: float | None
    tpot_ms: float
    watts_per_gpu: float | None = None
    sm_clock_mhz: int | None = None
    row: int = 0

    @property
    def shape(self) -> str:
        """Nominal lengths, input/output."""
        return f"{self.input_tokens}/{self.output_tokens}"

    @property
    def setting(self) -> tuple[object, ...]:
        """What was measured, apart from the result."""
        return self.accelerator, self.tensor_parallel_size, self.concurrency, self.shape, self.sm_clock_mhz

    @property
    def name(self) -> str:
        """The point in words."""
        clock = f" {self.sm_clock_mhz} MHz" if self.sm_clock_mhz else ""
        return f"{self.accelerator} TP{self.tensor_parallel_size} {self.shape} B={self.concurrency}{clock}"


COLUMNS = tuple(f.name for f in fields(MeasuredPoint) if f.name != "row")
OPTIONAL = ("watts_per_gpu", "sm_clock_mhz")
RESULTS = ("ttft_ms", "tpot_ms", "watts_per_gpu")
# Bounds that no served model reaches: beyond them a cell has another unit or is not what its column says.
_LARGEST_COUNT: Mapping[str, int] = {
    "tensor_parallel_size": 64,
    "concurrency": 65_536,
    "input_tokens": 10_000_000,
    "output_tokens": 10_000_000,
    "sm_clock_mhz": 10_000,
}
_LEAST_COUNT: Mapping[str, int] = {"output_tokens": 2, "sm_clock_mhz": 100}
_LARGEST_MEASURE: Mapping[str, float] = {"ttft_ms": 1e8, "tpot_ms": 1e6, "watts_per_gpu": 1e4}


def read_points(path: Path) -> tuple[MeasuredPoint, ...]:
    """The points of a CSV. Raises ConfigError naming file, row and column of the first that cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    return parse_points(text, file=str(path))


def parse_points(text: str, *, file: str) -> tuple[MeasuredPoint, ...]:
    """The points in the text of a CSV; as `read_points`."""
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(table.fieldnames or (), file)
        points = tuple(_Row(file, table.line_num, cells).point() for cells in table)
    except csv.Error as error:
        raise ConfigError(f"{file} row {table.line_num + 1}: not CSV: {error}") from error
    if not points:
        raise ConfigError(f"{file} holds no point: below the header one row per point is needed")
    if contradiction := next(contradictions(points), None):
        raise ConfigError(f"{file} {contradiction}")
    return points


def contradictions(points: Iterable[MeasuredPoint]) -> Iterator[str]:
    """Rows that measured the same setting and disagree, in words."""
    first: dict[tuple[object, ...], MeasuredPoint] = {}
    for point in points:
        before = first.setdefault(point.setting, point)
        for column in RESULTS:
            one, other = getattr(before, column), getattr(point, column)
            if one and other and abs(other / one - 1.0) > CONTRADICTION_SHARE:
                yield (
                    f"rows {before.row} and {point.row}, column {column}: both are {point.name} and hold {one:g} and "
                    f"{other:g}, more than {100 * CONTRADICTION_SHARE:.0f} % apart: keep the one that is right"
                )


def range_in_words(points: Sequence[MeasuredPoint], top_mhz: int) -> str:
    """Sizes, loads, lengths and clocks of points; without a clock a point is of the highest."""
    sizes = ", ".join(str(size) for size in sorted({p.tensor_parallel_size for p in points}))
    spans = (
        ("clients", [p.concurrency for p in points]),
        ("tokens in", [p.input_tokens for p in points]),
        ("tokens out", [p.output_tokens for p in points]),
        ("MHz", [p.sm_clock_mhz or top_mhz for p in points]),
    )
    return "; ".join((f"TP {sizes}", *(f"{_span(values)} {unit}" for unit, values in spans)))


def _span(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least} to {most}"


def out_of_bounds(point: MeasuredPoint) -> str | None:
    """The column that no reader would take, in words; None where all can be."""
    for column, largest in _LARGEST_COUNT.items():
        least, value = _LEAST_COUNT.get(column, 1), getattr(point, column)
        if value is not None and not least <= value <= largest:
            return f"column {column}: must be an integer from {least} to {largest}, not {value}"
    for column, most in _LARGEST_MEASURE.items():
        measure = getattr(point, column)
        if measure is not None and not 0.0 < measure <= most:
            return f"column {column}: must be above 0 and at most {most:g}, not {measure:g}"
    return None


def render_points(points: Sequence[MeasuredPoint]) -> str:
    """The CSV that `parse_points` reads; optional columns only where a point has them."""
    kept = [c for c in COLUMNS if c not in OPTIONAL or any(getattr(p, c) is not None for p in points)]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(kept)
    writer.writerows([_cell(getattr(point, c)) for c in kept] for point in points)
    return lines.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value


def _check_columns(found: Sequence[str | None], file: str) -> None:
    names = [str(name) for name in found]
    if unknown := [n for n in names if n not in COLUMNS]:
        hints = "; ".join(_hint(n) for n in unknown)
        raise ConfigError(f"{file} row 1: unknown column {hints}; known are {', '.join(COLUMNS)}")
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"{file} row 1: column {', '.join(twice)} is there twice")
    if missing := [c for c in COLUMNS if c not in names and c not in OPTIONAL]:
        raise ConfigError(f"{file} row 1: missing column {', '.join(missing)}")


def _hint(name: str) -> str:
    """The column as it was named, and the one with another unit that it may stand for."""
    stem = name.strip().lower().partition("_")[0]
    alike = [c for c in COLUMNS if stem and c.partition("_")[0] == stem]
    return f"{name!r} (meant {alike[0]}, in that unit?)" if alike else repr(name)


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    number: int
    cells: Mapping[str | None, str | list[str] | None]

    def point(self) -> MeasuredPoint:
        if None in self.cells:
            raise ConfigError(f"{self.file} row {self.number}: more cells than columns")
        return MeasuredPoint(
            accelerator=self._text("accelerator"),
            tensor_parallel_size=self._count("tensor_parallel_size"),
            concurrency=self._count("concurrency"),
            input_tokens=self._count("input_tokens"),
            output_tokens=self._count("output_tokens"),
            ttft_ms=self._measure("ttft_ms") if self._cell("ttft_ms") else None,
            tpot_ms=self._measure("tpot_ms"),
            watts_per_gpu=self._measure("watts_per_gpu") if self._cell("watts_per_gpu") else None,
            sm_clock_mhz=self._count("sm_clock_mhz") if self._cell("sm_clock_mhz") else None,
            row=self.number,
        )

    def _cell(self, column: str) -> str:
        return str(self.cells.get(column) or "").strip()

    def _text(self, column: str) -> str:
        if not (cell := self._cell(column)):
            raise self._refused(column, "must name the device as its profile does")
        return cell

    def _count(self, column: str) -> int:
        cell, least, largest = self._cell(column), _LEAST_COUNT.get(column, 1), _LARGEST_COUNT[column]
        # Python refuses to read integers of thousands of digits.
        value = int(cell) if cell.isdecimal() and len(cell) < 20 else None
        if value is None or not least <= value <= largest:
            raise self._refused(column, f"must be an integer from {least} to {largest}")
        return value

    def _measure(self, column: str) -> float:
        largest = _LARGEST_MEASURE[column]
        try:
            value = float(self._cell(column))
        except ValueError:
            value = math.nan
        if not 0.0 < value <= largest:
            raise self._refused(
                column, f"must be a number above 0 and at most {largest:g}, in the unit of its name"
            )
        return value

    def _refused(self, column: str, expected: str) -> ConfigError:
        value = self._cell(column)
        shown = repr(value if len(value) <= 40 else f"{value[:37]}...")
        return ConfigError(f"{self.file} row {self.number}, column {column}: {expected}, not {shown}")
