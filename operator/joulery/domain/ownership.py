"""Who owns a workload's replicas: evidence from the API server beside what Joulery itself remembers.

Facts behind the order of evidence: which applier leaves which owner of `f:replicas` in `managedFields`, as seen
on Kubernetes 1.36. Where nobody is recorded, only the value last set tells a person's choice from ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from joulery.domain.memory import VariantMemory
from joulery.domain.pool import Adopt

OUR_MANAGER = "joulery"
AUTOSCALER_MANAGER = "kube-controller-manager"
_BY_HAND = frozenset({"kubectl-edit", "kubectl-patch"})


@dataclass(frozen=True, slots=True)
class Owner:
    """One field manager of `spec.replicas`; `since` is its last write as the API server spells it."""

    manager: str
    operation: str
    subresource: str = ""
    since: str = ""

    @property
    def key(self) -> str:
        """All of it in one string, for the restart block."""
        return "/".join((self.manager, self.operation, self.subresource, self.since))

    @classmethod
    def of_key(cls, key: str | None) -> Owner | None:
        """The owner of a `key`; None where there is none, or where it is not one."""
        parts = (key or "").rsplit("/", 3)
        return cls(*parts) if len(parts) == 4 else None

    @property
    def is_ours(self) -> bool:
        """Whether it is this operator."""
        return self.manager == OUR_MANAGER

    @property
    def is_apply(self) -> bool:
        """Whether it declares the field by server-side apply."""
        return self.operation == "Apply"

    @property
    def is_hand(self) -> bool:
        """Whether a person wrote the field, or a script in a person's place."""
        scaled = self.subresource == "scale" and self.manager != AUTOSCALER_MANAGER
        return not self.is_ours and not self.is_apply and (scaled or self.manager in _BY_HAND)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the API server tells of a workload's replicas.

    Attributes:
        owners: managers of `f:replicas`.
        annotated: whether the last-applied annotation declares replicas, None without that annotation.
        autoscaler: name of the autoscaler that targets the workload.
        annotator: manager of that annotation, who applies even where a person has since taken the field over.
    """

    owners: tuple[Owner, ...] = ()
    annotated: bool | None = None
    autoscaler: str | None = None
    annotator: Owner | None = None


class Standing(StrEnum):
    """Whose the replicas are."""

    OURS = "Ours"
    FREE = "Free"
    ADOPTABLE = "Adoptable"
    DECLARED = "Declared"
    HAND = "Hand"
    AUTOSCALED = "Autoscaled"


@dataclass(frozen=True, slots=True)
class Ownership:
    """A standing and the owner that it rests on, None where nobody is recorded."""

    standing: Standing
    owner: Owner | None = None


def owned_by(claim: Claim, memory: VariantMemory, desired: int, adopt: Adopt) -> Ownership:
    """Whose a workload's replicas are; the first evidence that applies decides."""
    if claim.autoscaler is not None:
        return Ownership(Standing.AUTOSCALED)
    declared = _declared(claim)
    if declared is not None and adopt is not Adopt.DECLARED:
        return declared
    ours = next((o for o in claim.owners if o.is_ours), None)
    if ours is not None:
        return Ownership(Standing.OURS, ours)
    if not claim.owners:
        return _nobody(memory, desired)
    hand = next((o for o in claim.owners if o.is_hand), None)
    if hand is not None:
        return Ownership(Standing.HAND, hand)
    return _updated(claim, memory, adopt)


def _declared(claim: Claim) -> Ownership | None:
    applier = next((o for o in claim.owners if o.is_apply and not o.is_ours), None)
    if applier is not None:
        return Ownership(Standing.DECLARED, applier)
    if not claim.annotated:
        return None
    others = (o for o in claim.owners if not o.is_ours and not o.is_hand)
    applies = claim.annotator or Owner("kubectl-client-side-apply", "Update")
    return Ownership(Standing.DECLARED, next(others, applies))


def _nobody(memory: VariantMemory, desired: int) -> Ownership:
    """`kubectl scale` leaves no owner where there was none, so the value alone tells."""
    moved = memory.last_set_replicas not in (None, desired) and memory.pending_from_replicas is None
    return Ownership(Standing.HAND if moved else Standing.FREE)


def _updated(claim: Claim, memory: VariantMemory, adopt: Adopt) -> Ownership:
    """An owner by Update: a stale autoscaler, an applier that declares nothing, or one that cannot be told."""
    owner = claim.owners[0]
    is_stale = any(o.manager == AUTOSCALER_MANAGER for o in claim.owners)
    if is_stale or claim.annotated is False or adopt is Adopt.DECLARED:
        return Ownership(Standing.FREE, owner)
    was_set_back = memory.adopted and memory.pending_from_replicas is None
    return Ownership(Standing.DECLARED if was_set_back else Standing.ADOPTABLE, owner)
