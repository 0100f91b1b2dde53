"""Predictors of output lengths, by what they confuse."""

from __future__ import annotations

import csv
import io

from joulery.domain.request_class import DEFAULT_CLASSES
from joulery.errors import ConfigError
from joulery.optimizer.lanes.request import Confusion

# Of the predictor in DynamoLLM (HPCA 2025), which is right in 81 % of requests; its confusion is not published.
PUBLISHED_ACCURACY = 0.81


def of_output_accuracy(accuracy: float) -> Confusion:
    """A predictor that is right so often, else takes either other output range alike; prompts are counted."""
    names = tuple(each.name for each in DEFAULT_CLASSES)
    wrong = (1.0 - accuracy) / 2.0

    def share(true: str, taken: str) -> float:
        if true[0] != taken[0]:
            return 0.0
        return accuracy if true == taken else wrong

    return Confusion(names, tuple(tuple(share(true, taken) for taken in names) for true in names))


def of_csv(text: str) -> Confusion:
    """A measured confusion: a header `class,SS,...`, then one row per true class with the shares it is taken for.

    Raises ConfigError naming the line. Whether shares sum to 1 is for the partition to judge.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 2 or not rows[0] or rows[0][0].strip() != "class":
        raise ConfigError("line 1 must be `class` and the names of the classes, with a row for each below")
    columns = [name.strip() for name in rows[0][1:]]
    found: dict[str, tuple[float, ...]] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            found[row[0].strip()] = tuple(float(cell) for cell in row[1:])
        except (IndexError, ValueError) as error:
            raise ConfigError(f"line {number}: {','.join(row)!r} holds no shares of a class") from error
    missing = [name for name in columns if name not in found]
    if missing or len(found) != len(columns):
        raise ConfigError(f"rows {', '.join(found)} are not the classes {', '.join(columns)}")
    return Confusion(tuple(columns), tuple(found[name] for name in columns))
