"""What the optimizer returns: one option per pool, how good it is, and why it is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SolveStatus(StrEnum):
    """How far a solution is proven."""

    OPTIMAL = "Optimal"
    """Least shed, then least cost, to the asked gap."""
    FEASIBLE = "Feasible"
    """The solver's best at its limit: checked, not proven."""
    FALLBACK = "Fallback"
    """The greedy engine's: checked, not proven."""
    REFUSED = "Refused"
    """No plan: the problem itself is unusable and `why` names the fault."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Index of the chosen option per pool, in the problem's order of pools."""

    option: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shortage:
    """GPUs that would have to be added, on nodes of their own, to serve every pool as well as it can be.

    `accelerator` is `quota NAME` where it is a quota that has to be raised by so many.
    """

    accelerator: str
    gpus_missing: int


@dataclass(frozen=True, slots=True)
class Solution:
    """One joint plan.

    Attributes:
        choice: option per pool; empty if refused.
        cost_w: watts plus switching cost of the choice, and what nodes take that it switches on; NaN if refused.
        bound_w: proven lower bound of the cost at this shed; NaN if refused.
        shed: share of its planned peak that each pool loses, in the problem's order.
        status: how far it is proven.
        why: what decided between engines, in a sentence for people.
        engine: which engine made the choice: `milp`, `columns` or `fallback`.
        starts_over_limit: instances started beyond the problem's limit, all of them needed for what is served.
        shortage: accelerators that are short; `at most` these when the engine is `fallback`.
        node_w: of the cost, watts of nodes that it switches on.
        power_missing_w: by which the power budget would have to rise before it could serve all, at least.
    """

    choice: Choice
    cost_w: float
    bound_w: float
    shed: tuple[float, ...]
    status: SolveStatus
    why: str
    engine: str
    shortage: tuple[Shortage, ...] = ()
    starts_over_limit: int = 0
    node_w: float = 0.0
    power_missing_w: float = 0.0

    @property
    def is_plan(self) -> bool:
        """Whether there is a choice to act on."""
        return self.status is not SolveStatus.REFUSED
