"""Whose replicas they are: every applier, what its manifest says, and what it does next, with the outcome for both.

Data alone: the end-to-end tests play each cell on a real API server, and docs/ownership.md is written from it.
In every cell Joulery wants WANTED replicas, the load needs NEEDED, and a manifest that declares any says DECLARED.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from joulery.domain import reasons

WANTED, NEEDED, DECLARED, BY_HAND, AUTOSCALED = 4, 2, 3, 5, 6


class Applier(StrEnum):
    """Who applies the workload, by what it leaves in managedFields."""

    KUBECTL = "kubectl apply"
    KUBECTL_SERVER = "kubectl apply --server-side"
    KUBECTL_REPLACE = "kubectl create, replace"
    HELM_3 = "Helm 3"
    HELM_4 = "Helm 4"
    ARGO = "Argo CD"
    ARGO_SERVER = "Argo CD (ServerSideApply)"
    FLUX = "Flux"


class Says(StrEnum):
    """What the manifest says of replicas, and whether the pool may take over declared ones."""

    NOTHING = "no replicas"
    REPLICAS = "replicas"
    ADOPTED = "replicas, adopt: Declared"


class Next(StrEnum):
    """What happens once Joulery has found the workload."""

    NOTHING = "nothing"
    SAME = "applies it again"
    IMAGE = "applies another image"
    DROP = "applies it without replicas"
    DECLARE = "applies it with replicas"
    AGAIN = "applies it again and again"
    SCALE = "a person scales it up"
    SCALE_DOWN = "a person scales it below the load"
    SCALE_THEN_SPEC = "a person scales it, then changes the pool"
    HPA_MOVES = "an HPA whose bounds exclude it"
    HPA_RESTS = "an HPA whose bounds include it"
    HPA_GOES = "an HPA moves it and is deleted"
    SCALED_OBJECT = "a KEDA ScaledObject that has made no HPA"


# What a condition that names the applier's declaration must advise, and nothing less.
CURES = {
    Applier.KUBECTL: "kubectl apply set-last-applied",
    Applier.KUBECTL_SERVER: "the next apply by kubectl fails",
    Applier.KUBECTL_REPLACE: "move to `kubectl apply --server-side`",
    Applier.HELM_3: "helm upgrade --server-side=true",
    Applier.HELM_4: "the next apply by helm fails",
    Applier.ARGO: "RespectIgnoreDifferences=true, and keep the line",
    Applier.ARGO_SERVER: "RespectIgnoreDifferences=true; then remove replicas",
    Applier.FLUX: "flux suspend",
}


class Sees(StrEnum):
    """What the applier's next run of its manifest would meet."""

    IN_SYNC = "in sync"
    DRIFT = "would set its own value back"
    CONFLICT = "its command fails: conflict with joulery"
    FOREIGN = "its command fails: conflict with another"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stands at the end.

    Attributes:
        replicas: of the workload.
        reason: of the pool's condition Actuated.
        writes: values that Joulery set, in order.
        sees: what the applier's next run would meet.
    """

    replicas: int
    reason: str
    writes: tuple[int, ...]
    sees: Sees


@dataclass(frozen=True, slots=True)
class Cell:
    """One case; `outcome` is for both sides."""

    applier: Applier
    says: Says
    then: Next
    outcome: Outcome

    @property
    def name(self) -> str:
        """A name that Kubernetes takes, unique among cells."""
        words = f"{self.applier.name}-{self.says.name}-{self.then.name}"
        return words.lower().replace("_", "-")

    @property
    def cure(self) -> str:
        """What the condition must advise; empty where nothing is held."""
        advice = {
            reasons.REPLICAS_DECLARED: CURES[self.applier],
            reasons.REPLICAS_CONTESTED: CURES[self.applier],
            reasons.REPLICAS_HELD: "change the pool's spec",
            reasons.FOREIGN_SCALER: "delete the autoscaler",
        }
        return advice.get(self.outcome.reason, "")

    @property
    def events(self) -> dict[str, int]:
        """How often each Event about ownership is posted."""
        is_untold = self.applier in _UNTOLD and self.says is not Says.ADOPTED
        return {
            reasons.REPLICAS_ADOPTED: int(is_untold),
            reasons.REPLICAS_RAISED: self.outcome.writes.count(NEEDED),
            reasons.REPLICAS_CONTESTED: int(self.outcome.reason == reasons.REPLICAS_CONTESTED),
        }

    @property
    def is_declared(self) -> bool:
        """Whether the manifest declares replicas to begin with."""
        return self.says is not Says.NOTHING


# By Update only the values tell whose they are; who applies server-side is refused or forces; the rest is between.
_REFUSED = (Applier.KUBECTL_SERVER, Applier.HELM_4)
_FORCED = (Applier.ARGO_SERVER, Applier.FLUX)
_ANNOTATED = (Applier.KUBECTL, Applier.ARGO)
_UNTOLD = (Applier.HELM_3, Applier.KUBECTL_REPLACE)

_IN_SYNC, _DRIFT, _CONFLICT = Sees.IN_SYNC, Sees.DRIFT, Sees.CONFLICT
_OURS = Outcome(WANTED, reasons.ACTUATED, (WANTED,), _IN_SYNC)
_OURS_TWICE = Outcome(WANTED, reasons.ACTUATED, (WANTED, WANTED), _IN_SYNC)
_OURS_DRIFTING = Outcome(WANTED, reasons.ACTUATED, (WANTED,), _DRIFT)
_OURS_DRIFTING_TWICE = Outcome(WANTED, reasons.ACTUATED, (WANTED, WANTED), _DRIFT)
_OURS_REFUSING = Outcome(WANTED, reasons.ACTUATED, (WANTED,), _CONFLICT)
_THEIRS = Outcome(DECLARED, reasons.REPLICAS_DECLARED, (), _IN_SYNC)
_THEIRS_AGAIN = Outcome(DECLARED, reasons.REPLICAS_DECLARED, (WANTED,), _IN_SYNC)
_BY_HAND = Outcome(BY_HAND, reasons.REPLICAS_HELD, (WANTED,), _IN_SYNC)
_BY_HAND_DRIFTING = Outcome(BY_HAND, reasons.REPLICAS_HELD, (WANTED,), _DRIFT)


def _cells(appliers: tuple[Applier, ...], says: Says, **outcomes: Outcome) -> list[Cell]:
    return [Cell(a, says, Next[then], outcome) for a in appliers for then, outcome in outcomes.items()]


def _cell_rows() -> list[Cell]:
    by_hand_foreign = Outcome(BY_HAND, reasons.REPLICAS_HELD, (), Sees.FOREIGN)
    rows = [
        *_cells(
            (*_ANNOTATED, Applier.HELM_3, *_REFUSED, *_FORCED),
            Says.NOTHING,
            NOTHING=_OURS,
            SAME=_OURS,
            IMAGE=_OURS,
            SCALE=_BY_HAND,
            SCALE_DOWN=Outcome(NEEDED, reasons.REPLICAS_HELD, (WANTED, NEEDED), _IN_SYNC),
            SCALE_THEN_SPEC=_OURS_TWICE,
        ),
        # Replicas that nobody owned have no owner after a write of /scale either, so no apply meets a conflict.
        *_cells((*_ANNOTATED, *_UNTOLD, *_FORCED, *_REFUSED), Says.NOTHING, DECLARE=_THEIRS_AGAIN),
        # The object is written whole: what its manifest leaves out becomes 1.
        *_cells(
            (Applier.KUBECTL_REPLACE,),
            Says.NOTHING,
            NOTHING=_OURS_DRIFTING,
            SAME=Outcome(NEEDED, reasons.REPLICAS_DECLARED, (WANTED, NEEDED), _DRIFT),
            IMAGE=Outcome(NEEDED, reasons.REPLICAS_DECLARED, (WANTED, NEEDED), _DRIFT),
            SCALE=_BY_HAND_DRIFTING,
        ),
        *_cells((*_ANNOTATED, *_REFUSED, *_FORCED), Says.REPLICAS, NOTHING=_THEIRS, SAME=_THEIRS, IMAGE=_THEIRS),
        *_cells((*_ANNOTATED, *_REFUSED, *_FORCED), Says.REPLICAS, DROP=_OURS),
        *_cells(
            _ANNOTATED,
            Says.REPLICAS,
            SCALE=Outcome(BY_HAND, reasons.REPLICAS_DECLARED, (), _DRIFT),
            SCALE_DOWN=Outcome(NEEDED, reasons.REPLICAS_DECLARED, (NEEDED,), _DRIFT),
        ),
        *_cells(_REFUSED, Says.REPLICAS, SCALE=by_hand_foreign),
        *_cells(_FORCED, Says.REPLICAS, SCALE=Outcome(BY_HAND, reasons.REPLICAS_HELD, (), _DRIFT)),
        *_cells(
            _UNTOLD, Says.REPLICAS, NOTHING=_OURS_DRIFTING, SAME=_THEIRS_AGAIN, IMAGE=_THEIRS_AGAIN,
            SCALE=_BY_HAND_DRIFTING,
        ),
        *_cells(
            (Applier.HELM_3,),
            Says.REPLICAS,
            DROP=Outcome(NEEDED, reasons.REPLICAS_DECLARED, (WANTED, NEEDED), _IN_SYNC),
        ),
        *_cells(
            (Applier.KUBECTL_REPLACE,),
            Says.REPLICAS,
            DROP=Outcome(NEEDED, reasons.REPLICAS_DECLARED, (WANTED, NEEDED), _DRIFT),
        ),
    ]  # fmt: skip
    return rows + _adopted_rows() + _autoscaler_rows()


def _adopted_rows() -> list[Cell]:
    contested = Outcome(DECLARED, reasons.REPLICAS_CONTESTED, (WANTED, WANTED, WANTED), _IN_SYNC)
    by_hand_foreign = Outcome(BY_HAND, reasons.REPLICAS_HELD, (WANTED,), Sees.FOREIGN)
    return [
        *_cells(
            (*_ANNOTATED, *_UNTOLD, *_FORCED),
            Says.ADOPTED,
            NOTHING=_OURS_DRIFTING,
            SAME=_OURS_DRIFTING_TWICE,
            IMAGE=_OURS_DRIFTING_TWICE,
            AGAIN=contested,
            SCALE=_BY_HAND_DRIFTING,
        ),
        *_cells((*_ANNOTATED, Applier.HELM_3), Says.ADOPTED, DROP=_OURS_TWICE),
        *_cells((Applier.KUBECTL_REPLACE,), Says.ADOPTED, DROP=_OURS_DRIFTING_TWICE),
        *_cells(_FORCED, Says.ADOPTED, DROP=_OURS),
        *_cells(
            _REFUSED,
            Says.ADOPTED,
            NOTHING=_OURS_REFUSING,
            SAME=_OURS_REFUSING,
            IMAGE=_OURS_REFUSING,
            AGAIN=_OURS_REFUSING,
            DROP=_OURS,
            SCALE=by_hand_foreign,
        ),
    ]


def _autoscaler_rows() -> list[Cell]:
    moved = Outcome(AUTOSCALED, reasons.FOREIGN_SCALER, (WANTED,), _IN_SYNC)
    return _cells(
        (Applier.KUBECTL, Applier.KUBECTL_SERVER),
        Says.NOTHING,
        HPA_MOVES=moved,
        HPA_RESTS=Outcome(WANTED, reasons.FOREIGN_SCALER, (WANTED,), _IN_SYNC),
        HPA_GOES=_OURS_TWICE,
        SCALED_OBJECT=Outcome(WANTED, reasons.FOREIGN_SCALER, (WANTED,), _IN_SYNC),
    )


CELLS = tuple(_cell_rows())
