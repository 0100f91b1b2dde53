"""The generated CRDs are structural, explained field by field, and what lies in crds/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from kubernetes.client import models
from pydantic import Field

from joulery.api.crd import definition, main_check, main_write, render_all
from joulery.api.structural import object_schema
from joulery.api.v1alpha1.common import ApiModel, camel
from joulery.api.v1alpha1.kinds import KINDS
from joulery.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[3]
UNITS = {
    "Seconds": "second", "Milliseconds": ("ms", "millisecond"), "Nanoseconds": "nanosecond",
    "Picoseconds": "picosecond", "Milliwatts": "milliwatt", "Watts": ("watt", "Watt"), "MHz": "MHz",
    "Bytes": "byte", "Percent": "percent", "Millijoules": "millijoule", "Tokens": "oken",
    "Minute": "per minute", "Second": "per second",
}  # fmt: skip


def _root(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _leaves(
    schema: dict[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        yield (*path, name), part
        yield from _leaves(part, (*path, name))
    if isinstance(schema.get("items"), dict):
        yield from _leaves(schema["items"], path)


def _fields(part: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (f"{kind.kind}.{'.'.join(path)}", path[-1], schema)
        for kind in KINDS
        if part in _root(kind)["properties"]
        for path, schema in _leaves(_root(kind)["properties"][part], (part,))
    ]


def test_crds_folder_is_what_the_models_say() -> None:
    assert main_check(REPOSITORY / "crds") == []


def test_check_names_what_differs_and_write_mends_it(tmp_path: Path) -> None:
    written = main_write(tmp_path)
    assert len(written) == len(KINDS)
    written[0].write_text("kind: Other\n")
    (tmp_path / "joulery.dev_strays.yaml").write_text("")
    problems = main_check(tmp_path)
    assert any(written[0].name in p and "joulery crds --write" in p for p in problems)
    assert any("strays" in p and "remove" in p for p in problems)
    (tmp_path / "joulery.dev_strays.yaml").unlink()
    main_write(tmp_path)
    assert main_check(tmp_path) == []


def test_rendering_is_deterministic() -> None:
    assert render_all() == render_all()


@pytest.mark.parametrize("name", sorted(render_all()))
def test_the_client_models_know_every_keyword(name: str) -> None:
    """The client's model refuses unknown keys and numbers where CRDs want booleans."""
    crd = yaml.safe_load(render_all()[name])
    parsed = models.V1CustomResourceDefinition.model_validate(crd)
    assert parsed.spec.names.short_names[0].startswith("j")


def test_every_spec_field_says_required_or_its_default() -> None:
    silent = [
        where
        for where, _, schema in _fields("spec")
        if not schema["description"].endswith("Required.") and "Default:" not in schema["description"]
    ]
    assert silent == []


@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_number_with_a_unit_in_its_name_explains_the_unit(part: str) -> None:
    silent = []
    for where, name, schema in _fields(part):
        unit = next((UNITS[u] for u in sorted(UNITS, key=len, reverse=True) if name.endswith(u)), None)
        words = (unit,) if isinstance(unit, str) else unit or ()
        if (
            schema["type"] in ("integer", "string")
            and words
            and not any(w in schema["description"] for w in words)
        ):
            silent.append(where)
    assert silent == []


def test_no_spec_holds_a_float_or_unknown_fields() -> None:
    wrong = [
        where
        for part in ("spec", "status")
        for where, _, schema in _fields(part)
        if schema["type"] == "number" or "x-kubernetes-preserve-unknown-fields" in schema
    ]
    assert wrong == []


def test_a_stored_default_is_the_models_default() -> None:
    stored = {where: schema["default"] for where, _, schema in _fields("spec") if "default" in schema}
    assert stored["InferencePool.spec.mode"] == "Observe"
    assert stored["InferencePool.spec.variants.minReplicas"] == 0
    assert stored["EnergyPolicy.spec.maxMode"] == "Recommend"
    assert "InferencePool.spec.engine.metricsPort" not in stored


def test_conditions_are_maps_by_type_everywhere() -> None:
    conditions = [schema for _, name, schema in _fields("status") if name == "conditions"]
    assert len(conditions) == 2
    assert all(c["x-kubernetes-list-map-keys"] == ["type"] for c in conditions)


@pytest.mark.parametrize(
    ("python", "api"),
    [
        ("max_clock_mhz", "maxClockMHz"),
        ("pod_uid", "podUID"),
        ("max_kv_usage_percent", "maxKVUsagePercent"),
        ("inter_token_latency_p99_milliseconds", "interTokenLatencyP99Milliseconds"),
        ("gpus_per_server", "gpusPerServer"),
    ],
)
def test_names_are_spelled_as_kubernetes_does(python: str, api: str) -> None:
    assert camel(python) == api


class _Silent(ApiModel):
    """A part."""

    amount: int


class _Union(ApiModel):
    """A part."""

    amount: Annotated[int | str, Field(description="Amount, in pieces.")]


class _Wordless(ApiModel):
    """A part."""

    amount: Annotated[int | None, Field(description="Amount, in pieces.")] = None


class _Recursive(ApiModel):
    """A part."""

    inner: Annotated[_Recursive | None, Field(description="Itself. Default: none.")] = None


@pytest.mark.parametrize(
    ("model", "word"),
    [(_Silent, "description"), (_Union, "union"), (_Wordless, "default"), (_Recursive, "recursive")],
)
def test_refuses_to_make_what_the_server_or_the_reader_could_not_use(
    model: type[ApiModel], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        object_schema(model, spec=True)
