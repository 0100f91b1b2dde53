"""ResourceQuotas and PodDisruptionBudgets as limits on GPUs and on ways down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from joulery.adapters.pod_view import Manifest, selects
from joulery.api.labels import GPU_RESOURCE
from joulery.domain.limits import Budget, Quota

_RESOURCE = f"requests.{GPU_RESOURCE}"


def quotas_of(manifests: Iterable[Manifest]) -> tuple[Quota, ...]:
    """Quotas on GPUs, by namespace and name; those with scopes bound only some pods and are left to the server."""
    found = (_quota(m) for m in manifests if not _has_scope(m))
    return tuple(sorted((q for q in found if q is not None), key=lambda q: (q.namespace, q.name)))


def _has_scope(manifest: Manifest) -> bool:
    spec = manifest.get("spec", {})
    return bool(spec.get("scopes") or spec.get("scopeSelector"))


def _quota(manifest: Manifest) -> Quota | None:
    """The spec's limit, since the status lags behind it; usage is the quota controller's."""
    hard = _gpus(manifest.get("spec", {}).get("hard") or {})
    if hard is None:
        return None
    used = _gpus((manifest.get("status") or {}).get("used") or {})
    metadata = manifest["metadata"]
    return Quota(metadata["namespace"], metadata["name"], hard, used or 0)


def _gpus(amounts: Mapping[str, str]) -> int | None:
    text = amounts.get(_RESOURCE)
    return int(text) if text is not None and text.isdigit() else None


def budgets_of(manifests: Iterable[Manifest], namespace: str, pods: Sequence[Manifest]) -> tuple[Budget, ...]:
    """Budgets that select any of these pods; the eviction API obeys them, a scale-down would not."""
    labels = [pod["metadata"].get("labels") or {} for pod in pods]
    return tuple(
        _budget(m)
        for m in sorted(manifests, key=lambda m: m["metadata"]["name"])
        if m["metadata"]["namespace"] == namespace and any(_selects(m, found) for found in labels)
    )


def _selects(manifest: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a budget selects a pod; here an empty selector means all pods of the namespace (policy/v1)."""
    selector = manifest.get("spec", {}).get("selector")
    return selector == {} or (selector is not None and selects(selector, labels))


def _budget(manifest: Manifest) -> Budget:
    """What its controller allows; nothing while it has not seen the newest specification."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    is_seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    rule = ", ".join(f"{name} {spec[name]}" for name in ("minAvailable", "maxUnavailable") if name in spec)
    healthy = f"{status.get('currentHealthy', 0)} healthy, {status.get('desiredHealthy', 0)} wanted"
    allowed = int(status.get("disruptionsAllowed", 0)) if is_seen else 0
    return Budget(metadata["name"], allowed, f"{rule or 'maxUnavailable 1'}: {healthy}")
