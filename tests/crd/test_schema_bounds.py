"""Every bound in the schemas stops something, and a manifest exactly at its bounds passes."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

import api_cases as cases
from api_cases import changed
from joulery.api.crd import definition
from joulery.api.v1alpha1.kinds import GPU_NODE, INFERENCE_POOL, KINDS, Kind

pytestmark = pytest.mark.e2e

FULL = {
    "InferencePool": cases.pool(),
    "EnergyPolicy": cases.policy(),
    "EnergyProfile": cases.profile(),
    "GPUNode": cases.gpu_node(),
}
STATUS = {"InferencePool": cases.pool_status(), "GPUNode": cases.gpu_node_status()}


@dataclass(frozen=True)
class Violation:
    """A value beyond one bound at one place of a manifest."""

    kind: str
    path: tuple[str | int, ...]
    bound: str
    value: Any

    def __str__(self) -> str:
        return f"{self.kind}.{'.'.join(map(str, self.path))}-{self.bound}"


def _schema(kind: Kind, part: str) -> dict[str, Any]:
    version = definition(kind)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"][part]
    return schema


def _beyond(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    """Values beyond each bound of one schema node, made from a valid value."""
    kind = schema["type"]
    if kind == "integer":
        if "minimum" in schema:
            yield "minimum", schema["minimum"] - 1
        if "maximum" in schema:
            yield "maximum", schema["maximum"] + 1
        yield "type", "12"
    if kind == "string":
        if schema.get("minLength"):
            yield "minLength", ""
        if "maxLength" in schema:
            yield "maxLength", "1" * (schema["maxLength"] + 1)
        if "pattern" in schema:
            yield "pattern", " "
        if "enum" in schema:
            yield "enum", "Nonsense"
        if schema.get("format") == "date-time":
            yield "format", "yesterday"
    if kind == "array":
        if schema.get("minItems"):
            yield "minItems", []
        yield "maxItems", [deepcopy(value[0]) for _ in range(schema["maxItems"] + 1)]
        if schema.get("x-kubernetes-list-type") in ("map", "set"):
            yield "duplicates", [value[0], value[0]]
    if kind == "object" and "maxProperties" in schema:
        yield "maxProperties", {f"label{i}": "x" for i in range(schema["maxProperties"] + 1)}


def _violations(kind: str, schema: dict[str, Any], value: Any, path: tuple[Any, ...]) -> Iterator[Violation]:
    for bound, beyond in _beyond(schema, value):
        yield Violation(kind, path, bound, beyond)
    if "properties" in schema:
        for name in schema.get("required", ()):
            yield Violation(kind, (*path, name), "required", ...)
        for name, part in schema["properties"].items():
            yield from _violations(kind, part, value[name], (*path, name))
    elif schema["type"] == "array":
        yield from _violations(kind, schema["items"], value[0], (*path, 0))


SPECS = [
    v for kind in KINDS for v in _violations(kind.kind, _schema(kind, "spec"), FULL[kind.kind]["spec"], ())
]
STATUSES = [
    v
    for kind in (INFERENCE_POOL, GPU_NODE)
    for v in _violations(kind.kind, _schema(kind, "status"), STATUS[kind.kind], ())
]


def test_every_list_and_string_is_bounded() -> None:
    def unbounded(schema: dict[str, Any], path: str) -> Iterator[str]:
        limits = {"array": ("maxItems",), "string": ("maxLength", "enum", "format")}.get(
            schema.get("type", "")
        )
        if limits and not any(limit in schema for limit in limits):
            yield path
        for name, part in schema.get("properties", {}).items():
            yield from unbounded(part, f"{path}.{name}")
        for inner in ("items", "additionalProperties"):
            if isinstance(schema.get(inner), dict):
                yield from unbounded(schema[inner], f"{path}.{inner}")

    parts = [(k, p) for k in KINDS for p in ("spec", "status") if p == "spec" or k.status]
    assert [u for kind, part in parts for u in unbounded(_schema(kind, part), f"{kind.kind}.{part}")] == []


@pytest.mark.parametrize("kind", [k.kind for k in KINDS])
def test_accepts_a_manifest_with_every_field(judge: Any, kind: str) -> None:
    assert judge.refusal(FULL[kind]) is None


def test_accepts_a_pool_of_required_fields_only(judge: Any) -> None:
    assert judge.refusal(cases.minimal_pool()) is None


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("InferencePool", ("sheddingWeight",), 1000),
        ("InferencePool", ("engine", "version"), "0." + "1" * 62),
        ("InferencePool", ("engine", "metricsPort"), 65535),
        ("InferencePool", ("knobs",), []),
        ("InferencePool", ("variants", 0, "minReplicas"), 0),
        ("InferencePool", ("variants",), [cases.variant(f"v{i}", 1) for i in range(16)]),
        ("InferencePool", ("demand", "matchLabels"), {f"l{i}": "x" * 253 for i in range(16)}),
        ("EnergyPolicy", ("namespaces",), [f"team-{i}" for i in range(256)]),
        ("EnergyPolicy", ("guardrails", "maxStepDownPercent"), 1),
        ("EnergyProfile", ("model",), "m" * 128),
        ("EnergyProfile", ("accelerators", 0, "server", "slope"), "9999.999999"),
        ("GPUNode", ("tables", 0, "rows"), []),
        ("GPUNode", ("bindings", 0, "address"), "fd00::1"),
    ],
)
def test_accepts_values_at_their_bounds(
    judge: Any, kind: str, path: tuple[str | int, ...], value: Any
) -> None:
    assert judge.refusal(changed(FULL[kind], ("spec", *path), value)) is None


@pytest.mark.parametrize("violation", SPECS, ids=str)
def test_refuses_a_spec_beyond_a_bound(judge: Any, violation: Violation) -> None:
    refusal = judge.refusal(changed(FULL[violation.kind], ("spec", *violation.path), violation.value))
    assert refusal is not None
    assert str(violation.path[-1] if isinstance(violation.path[-1], str) else violation.path[-2]) in refusal


@pytest.fixture(scope="module", params=[INFERENCE_POOL, GPU_NODE], ids=lambda kind: kind.kind)
def stored(request: pytest.FixtureRequest, judge: Any) -> Iterator[Kind]:
    manifest = FULL[request.param.kind]
    assert judge.refusal(manifest, store=True) is None
    yield request.param
    judge.remove(manifest)


def test_takes_a_status_and_stops_every_violation(judge: Any, stored: Kind) -> None:
    name = FULL[stored.kind]["metadata"]["name"]
    assert judge.refusal_of_status(stored, name, STATUS[stored.kind]) is None
    violations = [v for v in STATUSES if v.kind == stored.kind]
    taken = [
        str(v)
        for v in violations
        if judge.refusal_of_status(stored, name, changed(STATUS[stored.kind], v.path, v.value)) is None
    ]
    assert violations
    assert taken == []
