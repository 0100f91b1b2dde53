"""Measured closed-loop rows, read from CSV and refused by row and column where they cannot be used."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from joulery.calibration.client import Load
from joulery.errors import ConfigError

COLUMNS = (
    "accelerator",
    "engine",
    "tensor_parallel_size",
    "input_tokens",
    "output_tokens",
    "concurrency",
    "ttft_ms",
    "tpot_ms",
)
ACCELERATORS = ("H100-SXM-80GB", "H200-SXM-141GB")
ENGINES = ("VLLM", "TRTLLM")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Mean TTFT and TPOT that so many clients measured at nominal lengths."""

    accelerator: str
    engine: str
    tensor_parallel_size: int
    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_ms: float
    tpot_ms: float

    @property
    def shape(self) -> str:
        """Nominal lengths, input/output."""
        return f"{self.input_tokens}/{self.output_tokens}"

    @property
    def name(self) -> str:
        """The row in words."""
        return f"{self.accelerator} TP{self.tensor_parallel_size} {self.shape} B={self.concurrency}"

    @property
    def point(self) -> tuple[object, ...]:
        """What was measured, apart from the result."""
        return self.engine, self.accelerator, self.tensor_parallel_size, self.shape, self.concurrency

    def load(self, seed: int) -> Load:
        """The client of this row, its lengths drawn by a seed."""
        return Load(self.concurrency, self.input_tokens, self.output_tokens, seed=seed)


def shipped_measurements(name: str = "llama-3.1-70b-fp8") -> tuple[Measurement, ...]:
    """The rows that ship in `joulery.data.measurements`."""
    file = files("joulery.data").joinpath(f"measurements/{name}.csv")
    with file.open("r", encoding="utf-8") as lines:
        return read_measurements(lines, file=file.name)


def read_measurements(lines: Iterable[str], *, file: str) -> tuple[Measurement, ...]:
    """The rows of a CSV. Raises ConfigError naming file, row and column of the first that cannot be used."""
    table = csv.DictReader(lines)
    _check_columns(table.fieldnames or (), file)
    read: dict[tuple[object, ...], Measurement] = {}
    for number, row in enumerate(table, start=2):
        measurement = _Row(file, number, row).measurement()
        if measurement.point in read:
            raise ConfigError(f"{file} row {number}: {measurement.name} was measured twice")
        read[measurement.point] = measurement
    return tuple(read.values())


def _check_columns(found: Sequence[str], file: str) -> None:
    for problem, columns in (
        ("unknown column", [c for c in found if c not in COLUMNS]),
        ("missing column", [c for c in COLUMNS if c not in found]),
    ):
        if columns:
            raise ConfigError(f"{file} row 1: {problem} {', '.join(columns)}; known are {', '.join(COLUMNS)}")


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    number: int
    content: Mapping[str, str | None]

    def measurement(self) -> Measurement:
        return Measurement(
            self._one_of("accelerator", ACCELERATORS),
            self._one_of("engine", ENGINES),
            *(self._count(c) for c in COLUMNS[2:6]),
            *(self._milliseconds(c) for c in COLUMNS[6:]),
        )

    def _one_of(self, column: str, known: Sequence[str]) -> str:
        value = self.content[column] or ""
        if value not in known:
            raise self._refused(column, f"must be one of {', '.join(known)}")
        return value

    def _count(self, column: str) -> int:
        value = self.content[column] or ""
        # Answers of one token have no time per output token.
        if not value.isdecimal() or int(value) < (2 if column == "output_tokens" else 1):
            raise self._refused(column, "must be a positive integer (output_tokens at least 2)")
        return int(value)

    def _milliseconds(self, column: str) -> float:
        try:
            value = float(self.content[column] or "")
        except ValueError:
            value = math.nan
        if not 0.0 < value < math.inf:
            raise self._refused(column, "must be a positive number of milliseconds")
        return value

    def _refused(self, column: str, expected: str) -> ConfigError:
        value = self.content[column]
        return ConfigError(f"{self.file} row {self.number}, column {column}: {expected}, not {value!r}")
