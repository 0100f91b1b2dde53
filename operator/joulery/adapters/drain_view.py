"""How the replicas of a workload end: read from its pod template and from the pods that run."""

from __future__ import annotations

from collections.abc import Sequence

from joulery.adapters.pod_view import Manifest
from joulery.api.termination import grace_s, waits_s
from joulery.domain.drain import Drain, EndOrder
from joulery.domain.keys import TargetRef

_ORDERS = {"ReplicaSet": EndOrder.BY_COST, "StatefulSet": EndOrder.HIGHEST_ORDINAL}
# Whose pods the template's own kind makes.
_MAKERS = {"Deployment": "ReplicaSet", "ReplicaSet": "ReplicaSet", "StatefulSet": "StatefulSet"}


def drain_of(ref: TargetRef, template: Manifest | None, pods: Sequence[Manifest]) -> Drain | None:
    """The weakest drain among template and living pods; None where neither can be seen.

    Pods of an older revision end by their own specification, whatever the template says since. Kinds that are
    read through `/scale` alone show no template: there the pods tell, by their owner which of them goes.
    """
    ends = [_drain(ref, template["spec"], f"the pod template of {ref}", None)] if template is not None else []
    ends += [
        _drain(ref, pod["spec"], f"pod {pod['metadata']['name']}", pod)
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
    ]
    return min(ends, key=lambda d: (d.order is not EndOrder.UNKNOWN, d.lasts_s)) if ends else None


def _drain(ref: TargetRef, spec: Manifest, where: str, pod: Manifest | None) -> Drain:
    owner = _MAKERS.get(ref.kind, ref.kind) if pod is None else _owner(pod)
    return Drain(grace_s(spec), waits_s(spec), _ORDERS.get(owner, EndOrder.UNKNOWN), where, owner)


def _owner(pod: Manifest) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(o["kind"]) for o in owners if o.get("controller")), "no controller")
