"""What a cell of the tables was loaded with: lengths fixed per class, and two readings of its tokens per second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from joulery.calibration.dynamollm.steady import Load
from joulery.calibration.dynamollm.tables import Cell


class Reading(StrEnum):
    """What "2000 tokens/s" means for classes other than MM; the paper counts input tokens."""

    SAME_RATE = "the request rate of MM for every class"
    SAME_TOKENS = "so many input tokens for every class"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a request by letter of its class; the paper gives buckets only."""

    name: str
    inputs: Mapping[str, float]
    outputs: Mapping[str, float]


# Shortest and longest of each bucket of Table IV.
INPUT_BUCKETS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"S": (1, 255), "M": (256, 1023), "L": (1024, 8192)}
)
OUTPUT_BUCKETS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"S": (1, 99), "M": (100, 349), "L": (350, 8192)}
)

# Of the Azure 2023 conversation requests that fall into each bucket of Table IV (those that ship in joulery.data).
MEAN_LENGTHS = Lengths(
    "means",
    MappingProxyType({"S": 172, "M": 561, "L": 1868}),
    MappingProxyType({"S": 69, "M": 147, "L": 427}),
)
MEDIAN_LENGTHS = Lengths(
    "medians",
    MappingProxyType({"S": 197, "M": 406, "L": 1196}),
    MappingProxyType({"S": 75, "M": 137, "L": 408}),
)


@dataclass(frozen=True, slots=True)
class Workload:
    """How cells become loads."""

    lengths: Lengths = MEAN_LENGTHS
    reading: Reading = Reading.SAME_RATE

    def of(self, cell: Cell) -> Load:
        """The load of a cell."""
        of_input, of_output = cell.request_class[0], cell.request_class[1]
        inputs = self.lengths.inputs
        per_request = inputs["M" if self.reading is Reading.SAME_RATE else of_input]
        rate = cell.input_tokens_per_s / per_request
        return Load(inputs[of_input], self.lengths.outputs[of_output], rate)

    def with_lengths(self, values: Mapping[str, float]) -> Workload:
        """Of other lengths, where values hold any by the names of `length_name`."""
        lengths = self.lengths
        inputs = {of: values.get(length_name("input", of), n) for of, n in lengths.inputs.items()}
        outputs = {of: values.get(length_name("output", of), n) for of, n in lengths.outputs.items()}
        return replace(self, lengths=replace(lengths, inputs=inputs, outputs=outputs))


def length_name(kind: str, of: str) -> str:
    """The name of a length among the fitted terms: kind is input or output, `of` the letter of a class."""
    return f"{kind}_tokens_{of}"


# What nothing is fitted under, and what fits are made under: of means and medians, those by which a fit predicts a
# class left out better.
STANDARD = Workload()
FITTED = Workload(MEDIAN_LENGTHS)
