"""Whether a pod may go to a node: taints, node selector and required node affinity, as kube-scheduler reads them.

Preferences, topology spread and pod affinity are not judged: they move pods between nodes that are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulery.adapters.pod_view import Manifest
from joulery.api.labels import GPU_RESOURCE

_REPELLING = ("NoSchedule", "NoExecute")
# What the API server or kubelet puts on a node by itself; the node's own state says it better.
_OF_NODE_STATE = "node.kubernetes.io/"


def allows(node: Manifest, pod_spec: Manifest) -> bool:
    """Whether nothing but the node's own state keeps a pod of that spec away."""
    untolerated = (t for t in repelling_taints(node) if not tolerates(pod_spec, t))
    return next(untolerated, None) is None and _selected(node, pod_spec) and _is_affine(node, pod_spec)


def repelling_taints(node: Manifest) -> tuple[Manifest, ...]:
    """Taints that keep pods away, but those that mirror the node's conditions or its cordon.

    Pods that ask for GPUs tolerate the taint of that name (ExtendedResourceToleration admission).
    """
    return tuple(
        taint
        for taint in node.get("spec", {}).get("taints") or ()
        if taint["effect"] in _REPELLING
        and taint["key"] != GPU_RESOURCE
        and not taint["key"].startswith(_OF_NODE_STATE)
    )


def tolerates(pod_spec: Manifest, taint: Manifest) -> bool:
    """Whether any toleration of a pod matches a taint; one without key and effect matches all."""
    return any(_matches(toleration, taint) for toleration in pod_spec.get("tolerations") or ())


def _matches(toleration: Manifest, taint: Manifest) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    same_value = (toleration.get("value") or "") == (taint.get("value") or "")
    return toleration.get("key") == taint["key"] and same_value


def cordoned_since(node: Manifest) -> str | None:
    """When a node was cordoned, as its taint tells; None where it does not."""
    taints = node.get("spec", {}).get("taints") or ()
    added = (t.get("timeAdded") for t in taints if t["key"] == f"{_OF_NODE_STATE}unschedulable")
    return next((time for time in added if time), None)


def _labels(node: Manifest) -> Mapping[str, str]:
    return node["metadata"].get("labels") or {}


def _selected(node: Manifest, pod_spec: Manifest) -> bool:
    labels = _labels(node)
    return all(labels.get(k) == v for k, v in (pod_spec.get("nodeSelector") or {}).items())


def _is_affine(node: Manifest, pod_spec: Manifest) -> bool:
    """Terms are alternatives; the expressions of one must all hold, and a term without any matches nothing."""
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_meets(node, term) for term in required.get("nodeSelectorTerms") or ())


def _meets(node: Manifest, term: Manifest) -> bool:
    labels, name = _labels(node), {"metadata.name": node["metadata"]["name"]}
    expressions = [(labels, e) for e in term.get("matchExpressions") or ()]
    expressions += [(name, e) for e in term.get("matchFields") or ()]
    return bool(expressions) and all(_holds(e, known.get(e["key"])) for known, e in expressions)


def _holds(expression: Manifest, value: str | None) -> bool:
    values: Sequence[str] = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            return _is_beyond(operator, value, next(iter(values), ""))


def _is_beyond(operator: str, value: str | None, bound: str) -> bool:
    try:
        number, limit = int(value or ""), int(bound)
    except ValueError:
        return False
    return number > limit if operator == "Gt" else number < limit
