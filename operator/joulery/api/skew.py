"""Version skew between this program and the CRDs in the cluster.

A server-side apply of a field the CRD does not know fails as a whole, so fields are dropped and named
instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulery.api.labels import VERSION

Schema = Mapping[str, Any]


def status_schema(crd: Mapping[str, Any]) -> Schema | None:
    """The schema of `status` in a CRD as read from the cluster; None where our version is not served."""
    return _part_schema(crd, "status")


def spec_schema(crd: Mapping[str, Any]) -> Schema | None:
    """The schema of `spec` in a CRD as read from the cluster; None where our version is not served."""
    return _part_schema(crd, "spec")


def known_fields(value: Any, schema: Schema, path: str = "status") -> tuple[Any, tuple[str, ...]]:
    """The value without the fields that the schema does not know, and the paths of what was dropped."""
    if isinstance(value, Mapping):
        return _known_in_mapping(value, schema, path)
    if isinstance(value, list | tuple):
        kept = [known_fields(item, schema.get("items", {}), f"{path}[]") for item in value]
        dropped = dict.fromkeys(name for _, names in kept for name in names)
        return [item for item, _ in kept], tuple(dropped)
    return value, ()


def skew_text(plural: str, dropped: tuple[str, ...]) -> str:
    """The message of condition reason SchemaSkew."""
    return (
        f"the CRD {plural} in the cluster is older than this program and lacks {', '.join(dropped)}: "
        "apply the CRDs of this release (kubectl apply --server-side -f crds/)"
    )


def _part_schema(crd: Mapping[str, Any], part: str) -> Schema | None:
    for version in crd.get("spec", {}).get("versions", []):
        if version.get("name") == VERSION:
            schema: Schema | None = version["schema"]["openAPIV3Schema"]["properties"].get(part)
            return schema
    return None


def _known_in_mapping(value: Mapping[str, Any], schema: Schema, path: str) -> tuple[Any, tuple[str, ...]]:
    properties = schema.get("properties")
    if properties is None:
        return dict(value), ()
    kept: dict[str, Any] = {}
    dropped: dict[str, None] = {}
    for name, part in value.items():
        where = f"{path}.{name}"
        if name not in properties:
            dropped[where] = None
            continue
        kept[name], inner = known_fields(part, properties[name], where)
        dropped.update(dict.fromkeys(inner))
    return kept, tuple(dropped)
