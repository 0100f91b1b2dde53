"""What is asked: the load of each class, how lanes may be cut, and how well a predictor tells classes apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from joulery.domain import reasons
from joulery.domain.request_class import RequestClass
from joulery.domain.verdict import Verdict
from joulery.serving.mix import LengthMix

# More is a fault of the measurement; sums of what is not served stay exact below.
_MOST_RPS = 1e9
# Rows of measured shares are printed with a few digits.
_ROW_TOLERANCE = 1e-6


class LanePolicy(StrEnum):
    """How lanes are cut."""

    SINGLE = "Single"
    """All classes in one lane."""
    BY_INPUT = "ByInput"
    """One lane per range of input tokens: prompts are counted, nothing has to be predicted."""
    PER_CLASS = "PerClass"
    """One lane per class; a predictor of output lengths sends requests there."""
    AUTO = "Auto"
    """The cheapest partition of all, the other three among them."""


class Promise(StrEnum):
    """Which objective the requests of a lane get."""

    LARGEST_INPUT = "LargestInput"
    """That of the class with the largest inputs: first come, first served has one for all."""
    STRICTEST = "Strictest"
    """The tightest of all, so that no class gives up its own by sharing."""


@dataclass(frozen=True, slots=True)
class ClassLoad:
    """Load of one class to plan for; `mix` are its lengths, where costs depend on them."""

    request_class: RequestClass
    rate_rps: float
    mix: LengthMix | None = None

    @property
    def name(self) -> str:
        """The class's name."""
        return self.request_class.name


@dataclass(frozen=True, slots=True)
class Confusion:
    """Measured shares of a predictor: `rows[i][j]` of the requests of `names[i]` are taken for `names[j]`."""

    names: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    def share(self, true: str, predicted: str) -> float:
        """Share of the requests of a class that is taken for another; KeyError for one it does not know."""
        places = {name: place for place, name in enumerate(self.names)}
        return self.rows[places[true]][places[predicted]]


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """One partition to find.

    Attributes:
        classes: with their loads, in any order.
        confusion: of the predictor; None where every request is sent where it belongs.
        most_priced: lanes beyond those of the three fixed policies whose cost `Auto` may ask for.
    """

    classes: tuple[ClassLoad, ...]
    policy: LanePolicy = LanePolicy.AUTO
    confusion: Confusion | None = None
    promise: Promise = Promise.LARGEST_INPUT
    most_priced: int = 200


def class_faults(classes: Sequence[ClassLoad]) -> Mapping[str, Verdict]:
    """Classes that nothing can be planned for, by name, each with the cure."""
    return {verdict[0]: verdict[1] for each in classes for verdict in _faults(each, classes)}


def _faults(each: ClassLoad, classes: Sequence[ClassLoad]) -> Iterator[tuple[str, Verdict]]:
    objective = each.request_class.objective
    if not 0.0 <= each.rate_rps <= _MOST_RPS:  # true for NaN as well
        yield (
            each.name,
            Verdict(
                reasons.METRICS_INVALID,
                f"class {each.name}: load is {each.rate_rps} requests/s; it must be 0 to {_MOST_RPS:.0e}",
            ),
        )
    elif objective.time_to_first_token_ms <= 0 or objective.time_per_output_token_ms <= 0:
        yield (
            each.name,
            Verdict(
                reasons.OBJECTIVE_MISSING,
                f"class {each.name}: no latency objective; give it a time to first token and a time per output "
                "token above 0 ms",
            ),
        )
    elif sum(other.name == each.name for other in classes) > 1:
        yield (
            each.name,
            Verdict(
                reasons.INVALID_SPEC, f"class {each.name}: given more than once; give each class its own name"
            ),
        )


def confusion_fault(confusion: Confusion, names: Sequence[str]) -> Verdict | None:
    """Why a predictor's shares cannot be used for these classes; None where they can."""
    fault = _shape_fault(confusion, names) or next(_row_faults(confusion), None)
    return Verdict(reasons.CONFUSION_INVALID, f"confusion of the predictor: {fault}") if fault else None


def _shape_fault(confusion: Confusion, names: Sequence[str]) -> str | None:
    size = len(confusion.names)
    if len(set(confusion.names)) < size:
        return f"a class is given more than once among {', '.join(confusion.names)}"
    if len(confusion.rows) != size or any(len(row) != size for row in confusion.rows):
        return f"it needs {size} rows of {size} shares for {', '.join(confusion.names)}"
    missing = sorted(set(names) - set(confusion.names))
    strange = sorted(set(confusion.names) - set(names))
    if missing or strange:
        parts = [f"no row for class {', '.join(missing)}"] if missing else []
        parts += [f"class {', '.join(strange)} does not exist in the pool"] if strange else []
        return f"{'; '.join(parts)}; measure it again for these classes"
    return None


def _row_faults(confusion: Confusion) -> Iterator[str]:
    for name, row in zip(confusion.names, confusion.rows, strict=True):
        if not all(math.isfinite(share) and share >= 0.0 for share in row):
            yield f"row {name} holds {row}; shares must be finite and not negative"
        elif abs(math.fsum(row) - 1.0) > _ROW_TOLERANCE:
            yield f"row {name} sums to {math.fsum(row):.6g}; the shares of a class must sum to 1"
