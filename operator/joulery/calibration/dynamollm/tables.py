"""Tables I-III and Fig. 3 of DynamoLLM (HPCA 2025), as they ship, cell by cell.

The unit of the energies is not defined in the paper; their values are those of instance power x latency of one
request. They are used relative to each other only.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from joulery.errors import ConfigError

TABLES_FILE = "dynamollm-energy-tables.csv"
POWER_FILE = "dynamollm-power-by-tokens.csv"
TABLE_COLUMNS = (
    "table",
    "model",
    "request_class",
    "input_tokens_per_s",
    "tensor_parallel_size",
    "clock_mhz",
    "energy_wh",
)
POWER_COLUMNS = ("parallel_tokens", "watts")

MODEL = "llama-2-70b"
CLASSES = ("SS", "SM", "SL", "MS", "MM", "ML", "LS", "LM", "LL")
HIGHEST_CLOCK_MHZ = 1980
GPUS_OF_FIGURE = 8

# TTFT objective by input letter, milliseconds, and that of every token interval (Table IV).
TTFT_OBJECTIVE_MS: Mapping[str, float] = MappingProxyType({"S": 250.0, "M": 400.0, "L": 2000.0})
TOKEN_INTERVAL_OBJECTIVE_MS = 100.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; `energy_wh` is None where the paper says that it violates the SLO."""

    table: str
    model: str
    request_class: str
    input_tokens_per_s: float
    tensor_parallel_size: int
    clock_mhz: int
    energy_wh: float | None

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.row[0]} {self.row[1]} TP{self.tensor_parallel_size} {self.clock_mhz} MHz"

    @property
    def row(self) -> tuple[str, str]:
        """Table and what its rows are: classes in Table I, loads in Table II, models in Table III."""
        loads = f"{self.input_tokens_per_s:g} tokens/s"
        of_table = {"I": self.request_class, "II": loads, "III": self.model}
        return f"Table {self.table}", of_table[self.table]

    @property
    def is_reference(self) -> bool:
        """Whether the energies of its row are given relative to it."""
        return (self.tensor_parallel_size, self.clock_mhz) == (8, HIGHEST_CLOCK_MHZ)


def shipped_cells(table: str) -> tuple[Cell, ...]:
    """The cells of one table."""
    with files("joulery.data").joinpath(f"measurements/{TABLES_FILE}").open("r", encoding="utf-8") as lines:
        return tuple(cell for cell in read_cells(lines, file=TABLES_FILE) if cell.table == table)


def shipped_power() -> tuple[tuple[int, float], ...]:
    """Fig. 3: tokens in parallel and watts of eight GPUs at the highest clock; the first is loaded and idle."""
    with files("joulery.data").joinpath(f"measurements/{POWER_FILE}").open("r", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        _check_columns(rows.fieldnames or (), POWER_COLUMNS, POWER_FILE)
        return tuple((int(row["parallel_tokens"]), float(row["watts"])) for row in rows)


def read_cells(lines: Iterable[str], *, file: str) -> tuple[Cell, ...]:
    """The cells of a CSV. Raises ConfigError naming file, row and column of the first that cannot be used."""
    rows = csv.DictReader(lines)
    _check_columns(rows.fieldnames or (), TABLE_COLUMNS, file)
    return tuple(_cell(row, f"{file} row {number}") for number, row in enumerate(rows, start=2))


def rows_of(cells: Sequence[Cell]) -> dict[tuple[str, str], tuple[Cell, ...]]:
    """Cells by row of their table, in the order of the paper."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell)
    return {name: tuple(row) for name, row in rows.items()}


def _check_columns(found: Sequence[str], known: Sequence[str], file: str) -> None:
    if tuple(found) != tuple(known):
        raise ConfigError(f"{file} row 1: columns must be {', '.join(known)}, not {', '.join(found)}")


def _cell(row: Mapping[str, str], where: str) -> Cell:
    if row["table"] not in ("I", "II", "III"):
        raise ConfigError(f"{where}, column table: must be I, II or III, not {row['table']!r}")
    if row["request_class"] not in CLASSES:
        known = ", ".join(CLASSES)
        raise ConfigError(
            f"{where}, column request_class: must be one of {known}, not {row['request_class']!r}"
        )
    return Cell(
        row["table"],
        row["model"],
        row["request_class"],
        _positive(row, "input_tokens_per_s", where),
        int(_positive(row, "tensor_parallel_size", where)),
        int(_positive(row, "clock_mhz", where)),
        _positive(row, "energy_wh", where) if row["energy_wh"] else None,
    )


def _positive(row: Mapping[str, str], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise ConfigError(f"{where}, column {column}: must be a positive number, not {row[column]!r}")
    return value
