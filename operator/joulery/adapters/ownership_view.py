"""Whose a workload's replicas are, as `managedFields` and the last-applied annotation tell it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joulery.adapters.pod_view import Manifest
from joulery.domain.ownership import Claim, Owner

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def claim_of(manifest: Manifest, autoscaler: str | None = None) -> Claim:
    """The evidence that a workload's manifest holds."""
    metadata: Mapping[str, Any] = manifest.get("metadata") or {}
    entries = metadata.get("managedFields") or ()
    return Claim(
        owners=tuple(_owner(e) for e in entries if "f:replicas" in _fields(e, "f:spec")),
        annotated=_declares((metadata.get("annotations") or {}).get(LAST_APPLIED)),
        autoscaler=autoscaler,
        annotator=next((_owner(e) for e in entries if _annotates(e)), None),
    )


def _owner(entry: Mapping[str, Any]) -> Owner:
    return Owner(
        manager=entry.get("manager", ""),
        operation=entry.get("operation", ""),
        subresource=entry.get("subresource", ""),
        since=entry.get("time", ""),
    )


def _annotates(entry: Mapping[str, Any]) -> bool:
    return f"f:{LAST_APPLIED}" in (_fields(entry, "f:metadata").get("f:annotations") or {})


def _fields(entry: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    return (entry.get("fieldsV1") or {}).get(part) or {}


def _declares(text: str | None) -> bool | None:
    """Whether the annotation declares replicas; None without it, or where it cannot be read."""
    if text is None:
        return None
    try:
        applied = json.loads(text)
        return (applied.get("spec") or {}).get("replicas") is not None
    except (ValueError, AttributeError):
        return None
