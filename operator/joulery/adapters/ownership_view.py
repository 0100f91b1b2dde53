"""Whose a workload's replicas are, as `managedFields` and the last-applied annotation tell it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from joulery.adapters.pod_view import Manifest
from joulery.domain.ownership import Claim, Owner

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def claim_of(manifest: Manifest, autoscaler: str | None = None) -> Claim:
    """The evidence that a workload's manifest holds."""
    metadata: Mapping[str, Any] = manifest.get("metadata") or {}
    return Claim(
        owners=tuple(_owners(metadata.get("managedFields") or ())),
        annotated=_declares((metadata.get("annotations") or {}).get(LAST_APPLIED)),
        autoscaler=autoscaler,
    )


def _owners(entries: Iterable[Mapping[str, Any]]) -> Iterable[Owner]:
    for entry in entries:
        spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if "f:replicas" in spec:
            yield Owner(
                manager=entry.get("manager", ""),
                operation=entry.get("operation", ""),
                subresource=entry.get("subresource", ""),
                since=entry.get("time", ""),
            )


def _declares(text: str | None) -> bool | None:
    """Whether the annotation declares replicas; None without it, or where it cannot be read."""
    if text is None:
        return None
    try:
        applied = json.loads(text)
        return (applied.get("spec") or {}).get("replicas") is not None
    except (ValueError, AttributeError):
        return None
