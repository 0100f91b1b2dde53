"""What users are told of replicas that are not Joulery's: whose they are, since when, and a cure that is safe.

A manifest that merely drops `replicas` sets them to 1 at once under most appliers, so that is never advised
bare: what each applier needs first was tried on Kubernetes 1.36.
"""

from __future__ import annotations

from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.ownership import Owner

_ADOPT = "set spec.scaling.adopt: Declared in the pool"


def declared_text(pool: ObjectKey, target: TargetRef, desired: int, owner: Owner | None) -> str:
    """Held because an applier declares replicas."""
    who = _who(owner)
    return (
        f"replicas of {target} in pool {pool} are held at {desired}: {who} declares them. "
        f"To let Joulery scale it, {_cure(owner)}"
    )


def held_text(pool: ObjectKey, target: TargetRef, desired: int, owner: Owner | None) -> str:
    """Held because a person chose them."""
    who = _who(owner) if owner is not None else "somebody whom the API server did not record"
    return (
        f"replicas of {target} in pool {pool} are held: {who} set them by hand, now {desired}. "
        f"To let Joulery scale it again, change the pool's spec (any field)"
    )


def contested_text(pool: ObjectKey, target: TargetRef, desired: int, owner: Owner | None) -> str:
    """No longer written, because it was set back again and again."""
    who = _who(owner) if owner is not None and not owner.is_ours else "somebody else"
    return (
        f"replicas of {target} in pool {pool} were set back three times within an hour, to {desired} by {who}; "
        f"Joulery writes nothing there until the pool's spec changes. First end the contest: {_cure(owner)}"
    )


def adopted_text(pool: ObjectKey, target: TargetRef, owner: Owner | None) -> str:
    """Taken over once, since nobody can tell whether they were declared."""
    return (
        f"replicas of {target} in pool {pool} taken over from {_who(owner)}, which does not tell whether its "
        f"manifest declares them; if they are set back, Joulery holds them as declared"
    )


def _who(owner: Owner | None) -> str:
    if owner is None:
        return "an applier"
    through = f" through /{owner.subresource}" if owner.subresource else ""
    since = f" since {owner.since}" if owner.since else ""
    return f"{owner.manager} ({owner.operation}{through}){since}"


def _cure(owner: Owner | None) -> str:
    if owner is None or owner.is_ours or owner.is_hand:
        return f"{_ADOPT}, and stop what writes replicas"
    if owner.is_apply:
        return _cure_of_apply(owner)
    if owner.manager == "kubectl-client-side-apply":
        return (
            "run `kubectl apply set-last-applied -f` with a manifest without replicas and only then "
            "`kubectl apply` it (dropping the line alone sets 1 replica at once)"
        )
    if owner.manager.startswith("helm"):
        return (
            "remove replicas from the chart and run `helm upgrade --server-side=true` (Helm 4; with Helm 3 or "
            f"without that flag the release sets 1 replica at once, so keep the line there), or {_ADOPT}"
        )
    return (
        f"{_ADOPT}, and keep replicas in what {owner.manager} writes or move to `kubectl apply --server-side` "
        "(writing the object whole without replicas sets 1 at once)"
    )


def _cure_of_apply(owner: Owner) -> str:
    then = (
        "remove replicas from the manifest once managedFields names joulery as their owner (before that, "
        "dropping the line sets 1 replica at once)"
    )
    if "argocd" in owner.manager:
        return (
            f"{_ADOPT} and let Argo CD ignore the field: ignoreDifferences with managedFieldsManagers "
            f"[joulery] and RespectIgnoreDifferences=true; then {then}"
        )
    return (
        f"{_ADOPT}, then {then}; until it is removed, the next apply by {owner.manager} fails with a conflict"
    )
