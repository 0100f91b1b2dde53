"""Measured watts of served models, read from CSV and refused by row and column where they cannot be used."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from joulery.calibration.power.models import MODELS, ServedModel
from joulery.errors import ConfigError

COLUMNS = (
    "task",
    "model",
    "precision",
    "tensor_parallel_size",
    "max_num_seqs",
    "batch",
    "output_tokens",
    "output_tokens_per_s",
    "watts",
)
FITTED_TASK, HELD_OUT_TASK = "lm-arena-chat", "gpqa"

# Mean prompt of each task; no column tells it. Assumed, as in the reference fits of these rows.
INPUT_TOKENS: Mapping[str, float] = MappingProxyType({FITTED_TASK: 250.0, HELD_OUT_TASK: 300.0})
# Rows of the smallest batch that was run are the ones that compare tensor-parallel sizes.
SMALL_BATCH = 8


@dataclass(frozen=True, slots=True)
class PowerRow:
    """A steady run: mean batch and answer, tokens per second and watts of the whole instance."""

    task: str
    model: str
    tensor_parallel_size: int
    max_num_seqs: int
    batch: float
    output_tokens: float
    output_tokens_per_s: float
    watts: float

    @property
    def deployment(self) -> tuple[str, int]:
        """The model on so many GPUs."""
        return self.model, self.tensor_parallel_size

    @property
    def name(self) -> str:
        """The row in words."""
        model = self.model.rpartition("/")[2]
        return f"{model} TP{self.tensor_parallel_size} {self.task} B={self.max_num_seqs}"

    @property
    def served(self) -> ServedModel:
        """What the model reads and computes."""
        return MODELS[self.model]

    @property
    def input_tokens(self) -> float:
        """Mean prompt, assumed by task."""
        return INPUT_TOKENS[self.task]

    @property
    def iteration_s(self) -> float:
        """Mean time of an iteration: every request of the batch gains one token in it, prefills included."""
        return self.batch / self.output_tokens_per_s

    @property
    def context_tokens(self) -> float:
        """Mean tokens in the KV cache: answers are half done on average."""
        return self.batch * (self.input_tokens + self.output_tokens / 2)

    @property
    def arrivals_per_iteration(self) -> float:
        """Requests that begin, and so end, per iteration."""
        return self.batch / self.output_tokens

    @property
    def watts_per_gpu(self) -> float:
        """Mean watts of one GPU."""
        return self.watts / self.tensor_parallel_size


def shipped_power_rows() -> tuple[PowerRow, ...]:
    """The rows that ship in `joulery.data.measurements`."""
    file = files("joulery.data").joinpath("measurements/dense-h100-power.csv")
    with file.open("r", encoding="utf-8") as lines:
        return read_power_rows(lines, file=file.name)


def of_task(rows: Sequence[PowerRow], task: str) -> tuple[PowerRow, ...]:
    """The rows of one task."""
    return tuple(r for r in rows if r.task == task)


def small_batches(rows: Sequence[PowerRow]) -> tuple[PowerRow, ...]:
    """The rows of the smallest batch."""
    return tuple(r for r in rows if r.max_num_seqs == SMALL_BATCH)


def read_power_rows(lines: Iterable[str], *, file: str) -> tuple[PowerRow, ...]:
    """The rows of a CSV. Raises ConfigError naming file, row and column of the first that cannot be used."""
    table = csv.DictReader(lines)
    found = table.fieldnames or ()
    if set(found) != set(COLUMNS):
        raise ConfigError(f"{file} row 1: columns must be {', '.join(COLUMNS)}, not {', '.join(found)}")
    read: dict[tuple[object, ...], PowerRow] = {}
    for number, cells in enumerate(table, start=2):
        row = _read(cells, f"{file} row {number}")
        point = row.task, row.deployment, row.max_num_seqs
        if point in read:
            raise ConfigError(f"{file} row {number}: {row.name} was measured twice")
        read[point] = row
    return tuple(read.values())


def _read(cells: Mapping[str, str | None], where: str) -> PowerRow:
    task = _one_of(cells, "task", tuple(INPUT_TOKENS), where)
    model = _one_of(cells, "model", tuple(MODELS), where)
    _one_of(cells, "precision", (MODELS[model].precision,), where)
    return PowerRow(
        task,
        model,
        *(_count(cells, column, where) for column in COLUMNS[3:5]),
        *(_positive(cells, column, where) for column in COLUMNS[5:]),
    )


def _one_of(cells: Mapping[str, str | None], column: str, known: Sequence[str], where: str) -> str:
    value = cells[column] or ""
    if value not in known:
        raise ConfigError(f"{where}, column {column}: must be one of {', '.join(known)}, not {value!r}")
    return value


def _count(cells: Mapping[str, str | None], column: str, where: str) -> int:
    value = cells[column] or ""
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"{where}, column {column}: must be a positive integer, not {value!r}")
    return int(value)


def _positive(cells: Mapping[str, str | None], column: str, where: str) -> float:
    try:
        value = float(cells[column] or "")
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise ConfigError(f"{where}, column {column}: must be a positive number, not {cells[column]!r}")
    return value
