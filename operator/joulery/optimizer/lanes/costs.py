"""What a lane costs, asked once, and what partitions of known and of guessed lanes come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import Atom, LaneLoad, lane_of
from joulery.optimizer.lanes.request import Promise

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class LaneCost:
    """The cheapest way to run a lane.

    Attributes:
        cost_w: what is compared: watts plus the price of its GPUs.
        gpus: by accelerator.
        how: instances, variant and clock, for people.
    """

    cost_w: float
    watts: float
    gpus: tuple[tuple[str, int], ...]
    how: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A cost guessed by a cheaper look, and by what share of it the true one may be lower."""

    cost_w: float
    error: float

    @property
    def floor_w(self) -> float:
        """The least that it may cost."""
        return self.cost_w * (1.0 - self.error)


class LaneCosts(Protocol):
    """Where costs of lanes come from: operating points of the lane's own mix under its own objective."""

    def cost(self, lane: LaneLoad) -> LaneCost | Verdict:
        """The cheapest way to run it; a verdict where there is none."""
        ...

    def estimate(self, lane: LaneLoad) -> Estimate | None:
        """What it may cost, to rank by; None where it seems that it cannot be run."""
        ...


class Look(Enum):
    """What an unpriced lane counts for."""

    GUESS = "guess"
    FLOOR = "floor"
    NOTHING = "nothing"
    """It cannot be taken."""


@dataclass(frozen=True, slots=True, order=True)
class Value:
    """What is minimised, in this order; load not served is whole, so that sums do not depend on their order."""

    unserved_micro_rps: int
    cost_w: float
    lanes: int = 1

    @property
    def unserved_rps(self) -> float:
        """Requests per second in lanes that nothing serves."""
        return self.unserved_micro_rps / _MICRO

    def __add__(self, other: Value) -> Value:
        return Value(
            self.unserved_micro_rps + other.unserved_micro_rps,
            self.cost_w + other.cost_w,
            self.lanes + other.lanes,
        )


NEVER = Value(10**18, math.inf)


class Memory:
    """Costs asked once for the same lane, whichever way it was put together."""

    def __init__(self, costs: LaneCosts) -> None:
        self._costs = costs
        self._known: dict[object, LaneCost | Verdict] = {}
        self._guessed: dict[object, Estimate | None] = {}

    @property
    def priced(self) -> int:
        """Lanes whose cost was asked for."""
        return len(self._known)

    @property
    def broken_floors(self) -> int:
        """Lanes that cost less than their estimate with its error allows."""
        pairs = ((self._known.get(key), guess) for key, guess in self._guessed.items())
        return sum(
            isinstance(cost, LaneCost) and guess is not None and cost.cost_w < guess.floor_w * (1.0 - 1e-9)
            for cost, guess in pairs
        )

    def cost(self, lane: LaneLoad) -> LaneCost | Verdict:
        """The cost, or a verdict where there is none or it is no number."""
        key = _key(lane)
        if key not in self._known:
            self._known[key] = _sound(lane, self._costs.cost(lane))
        return self._known[key]

    def estimate(self, lane: LaneLoad) -> Estimate | None:
        """The guess, None where there is none."""
        key = _key(lane)
        if key not in self._guessed:
            found = self._costs.estimate(lane)
            self._guessed[key] = found if found and _is_cost(found.cost_w) else None
        return self._guessed[key]


def _key(lane: LaneLoad) -> object:
    # Sums over shares of a class differ in the last bit with the way that they are summed.
    return lane.members, lane.objective, tuple((a.load.name, round(a.rate_rps, 9)) for a in lane.arrivals)


class Board:
    """Atoms with a memory of what their unions cost; lanes are bit masks over atoms."""

    def __init__(self, atoms: Sequence[Atom], promise: Promise, memory: Memory) -> None:
        self.atoms = tuple(sorted(atoms, key=lambda atom: atom.members))
        self._promise = promise
        self._memory = memory
        self._lanes: dict[int, LaneLoad] = {}
        self._known: dict[int, LaneCost | Verdict] = {}
        self._guessed: dict[int, Estimate | None] = {}

    @property
    def whole(self) -> int:
        """All atoms in one lane."""
        return (1 << len(self.atoms)) - 1

    @property
    def singles(self) -> tuple[int, ...]:
        """Each atom in a lane of its own."""
        return tuple(1 << place for place in range(len(self.atoms)))

    @property
    def priced(self) -> int:
        """Lanes that were asked for."""
        return len(self._known)

    def is_known(self, mask: int) -> bool:
        """Whether a lane's cost was asked for."""
        return mask in self._known

    def lane(self, mask: int) -> LaneLoad:
        """The lane of some atoms."""
        if mask not in self._lanes:
            chosen = [atom for place, atom in enumerate(self.atoms) if mask >> place & 1]
            self._lanes[mask] = lane_of(chosen, self._promise)
        return self._lanes[mask]

    def cost(self, mask: int) -> LaneCost | Verdict:
        """Its cost, asked once."""
        if mask not in self._known:
            self._known[mask] = self._memory.cost(self.lane(mask))
        return self._known[mask]

    def estimate(self, mask: int) -> Estimate | None:
        """Its guessed cost."""
        if mask not in self._guessed:
            self._guessed[mask] = self._memory.estimate(self.lane(mask))
        return self._guessed[mask]

    def value(self, mask: int, look: Look) -> Value:
        """What a lane counts for."""
        if mask in self._known:
            known = self._known[mask]
            return Value(0, known.cost_w) if isinstance(known, LaneCost) else self._unserved(mask)
        if look is Look.NOTHING:
            return NEVER
        guess = self.estimate(mask)
        if look is Look.FLOOR:
            return Value(0, guess.floor_w if guess else 0.0)
        return Value(0, guess.cost_w) if guess else self._unserved(mask)

    def total(self, masks: Sequence[int], look: Look = Look.NOTHING) -> Value:
        """What lanes come to together."""
        values = [self.value(mask, look) for mask in masks]
        return Value(
            sum(v.unserved_micro_rps for v in values), math.fsum(v.cost_w for v in values), len(values)
        )

    def _unserved(self, mask: int) -> Value:
        return Value(max(1, round(self.lane(mask).rate_rps * _MICRO)), 0.0)


def _sound(lane: LaneLoad, cost: LaneCost | Verdict) -> LaneCost | Verdict:
    if isinstance(cost, Verdict) or (_is_cost(cost.cost_w) and _is_cost(cost.watts)):
        return cost
    return Verdict(
        reasons.PROFILE_INVALID,
        f"lane {lane.name}: cost is {cost.cost_w} W at {cost.watts} W; the profile gives watts that are none",
    )


def _is_cost(value: float) -> bool:
    return math.isfinite(value) and value >= 0.0
