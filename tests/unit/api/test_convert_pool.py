"""Manifests of pools, policies and profiles become domain objects, or say which field is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import api_cases as cases
from api_cases import changed, request_class, variant
from joulery.api.convert import policy_of, pool_of, profile_of
from joulery.api.v1alpha1.energy_policy import EnergyPolicySpec
from joulery.api.v1alpha1.inference_pool import Engine, InferencePoolSpec
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.policy import Policy
from joulery.domain.pool import Adopt, Knob, Mode, Pool, ReplicaActuator
from joulery.domain.request_class import DEFAULT_CLASSES
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.domain.vllm_metrics import SUPPORTED
from joulery.errors import ConfigError, ProfileError


def _accepted(manifest: dict[str, Any]) -> Pool:
    pool = pool_of(manifest)
    assert isinstance(pool, Pool), pool
    return pool


def _refused(manifest: dict[str, Any]) -> tuple[Finding, ...]:
    findings = pool_of(manifest)
    assert isinstance(findings, tuple)
    assert {(f.condition, f.status) for f in findings} == {(ConditionType.ACCEPTED, ConditionStatus.FALSE)}
    return findings


def test_a_full_manifest_arrives_whole() -> None:
    pool = _accepted(cases.pool())
    assert pool.key == ObjectKey("default", "chat")
    assert (pool.generation, pool.uid, pool.weight, pool.mode) == (3, "u-1", 10, Mode.ACT)
    assert pool.spare_instances == 1
    assert pool.knobs == frozenset(Knob)
    assert (pool.adopt, pool.actuator) == (Adopt.DECLARED, ReplicaActuator.METRIC)
    assert pool.demand_source.matchers == (("cluster", "demo"),)
    assert pool.objective.inter_token_latency_p99_ms == 200
    tp4 = pool.variant("tp4")
    assert tp4.target == TargetRef("apps/v1", "Deployment", "chat-tp4")
    assert (tp4.token_budget, tp4.min_replicas, tp4.max_replicas, tp4.startup_s) == (2048, 1, 6, 120.0)


def test_what_is_left_out_gets_the_defaults() -> None:
    pool = _accepted(cases.minimal_pool())
    assert pool.classes == DEFAULT_CLASSES
    assert (pool.mode, pool.knobs, pool.weight) == (Mode.OBSERVE, frozenset({Knob.CLOCKS}), 1)
    assert pool.spare_instances == 0
    assert (pool.adopt, pool.actuator) == (Adopt.UNDECLARED, ReplicaActuator.SCALE)
    assert (pool.engine.metrics_port, pool.engine.metrics_path) == (8000, "/metrics")
    assert (pool.variants[0].min_replicas, pool.variants[0].startup_s) == (0, 300.0)


def test_fields_of_a_newer_crd_are_ignored() -> None:
    assert _accepted(changed(cases.pool(), ("spec", "routing"), "ClassAware")).mode is Mode.ACT


SAME_TARGET = [variant("a", 4), {**variant("b", 8), "scaleTargetRef": variant("a", 4)["scaleTargetRef"]}]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("mode",), "Maybe", "spec.mode"),
        (("knobs",), ["Voltage"], "spec.knobs[0]"),
        (("scaling", "adopt"), "Everything", "spec.scaling.adopt"),
        (("engine", "type"), "TGI", "spec.engine.type"),
        (("profileRef",), ..., "spec.profileRef"),
        (("variants",), [], "spec.variants"),
        (("variants", 1, "minReplicas"), 7, "spec.variants[1].minReplicas"),
        (("variants", 1, "maxNumBatchedTokens"), 1, "spec.variants[1].maxNumSeqs"),
        (("variants", 0, "tensorParallelSize"), 0, "spec.variants[0].tensorParallelSize"),
        (("variants",), SAME_TARGET, "spec.variants[1].scaleTargetRef"),
        (("variants",), [variant("a", 4), variant("a", 8)], "spec.variants[1].name"),
        (("requestClasses",), [request_class("a", (9, 1), (1, 9))], "spec.requestClasses[0].inputTokens"),
        (
            ("requestClasses",),
            [request_class("a", (1, 9), (1, 9)), request_class("b", (9, 20), (1, 9))],
            "spec.requestClasses[1]: 'b' overlaps 'a'",
        ),
        (
            ("requestClasses",),
            [request_class("a", (1, 9), (1, 9)), request_class("b", (11, 20), (1, 9))],
            "no class for 10 input and 1 output tokens",
        ),
        (("demand", "matchLabels"), {"bad-name": "x"}, "spec.demand.matchLabels"),
        (("redundancy", "instances"), 6, "spec.redundancy.instances"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str | int, ...], value: Any, field: str) -> None:
    findings = _refused(changed(cases.pool(), ("spec", *path), value))
    assert any(field in f.verdict.message for f in findings)
    assert {f.verdict.reason for f in findings} == {reasons.INVALID_SPEC}


def test_an_unknown_engine_version_is_refused_by_name() -> None:
    (finding,) = _refused(changed(cases.pool(), ("spec", "engine", "version"), "0.2.7"))
    assert finding.verdict.reason == reasons.UNKNOWN_ENGINE
    assert "VLLM 0.2.7" in finding.verdict.message
    assert "supported" in finding.verdict.message


def test_every_problem_is_told_at_once() -> None:
    manifest = changed(cases.pool(), ("spec", "variants", 0, "minReplicas"), 9)
    manifest = changed(manifest, ("spec", "engine", "version"), "0.2.7")
    assert len(_refused(manifest)) == 2


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=3, unique=True), st.integers(1, 8000))
def test_a_grid_of_classes_is_accepted_and_any_missing_cell_is_found(edges: list[int], top: int) -> None:
    bounds = sorted({*edges, 5001})
    starts = [1, *(b + 1 for b in bounds[:-1])]
    ranges = list(zip(starts, bounds, strict=True))
    classes = [
        request_class(f"c{i}-{j}", inputs, outputs)
        for i, inputs in enumerate(ranges)
        for j, outputs in enumerate(((1, top), (top + 1, 9000)))
    ]
    _accepted(changed(cases.pool(), ("spec", "requestClasses"), classes[:16]))
    holed = classes[:2] + classes[3:]
    assert any(
        "no class for" in f.verdict.message
        for f in _refused(changed(cases.pool(), ("spec", "requestClasses"), holed))
    )


def test_a_policy_arrives_whole() -> None:
    policy = policy_of(cases.policy())
    assert (policy.name, policy.priority, policy.max_mode) == ("default", 5, Mode.ACT)
    assert policy.governs("chat")
    assert not policy.governs("other")
    bounds = policy.clock_bounds("H100-SXM-80GB")
    assert bounds is not None
    assert (bounds.floor_mhz, bounds.ceiling_mhz) == (900, 1980)
    assert (policy.cadence.plan_epoch_s, policy.cadence.lease_timeout_s) == (60.0, 120.0)
    assert policy.solver_time_limit_s == 2.0
    assert policy.max_starts_per_plan == 40


def test_an_empty_policy_has_the_domains_defaults() -> None:
    assert policy_of({"metadata": {"name": "default"}, "spec": {}}) == Policy("default")


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (
            changed(cases.policy(), ("spec", "clockBounds", 0, "floorMHz"), 1990),
            "spec.clockBounds[0].floorMHz",
        ),
        (changed(cases.policy("team"), ("spec", "cadence"), {}), "spec.cadence"),
        (changed(cases.policy(), ("spec", "maxMode"), "Yes"), "spec.maxMode"),
    ],
)
def test_a_wrong_policy_names_the_field(manifest: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(manifest)
    assert field in str(caught.value)
    assert manifest["metadata"]["name"] in str(caught.value)


def test_the_words_of_api_and_domain_are_the_same() -> None:
    fields = InferencePoolSpec.model_fields
    assert get_args(fields["mode"].annotation) == tuple(mode.value for mode in Mode)
    assert get_args(get_args(fields["knobs"].annotation)[0]) == tuple(knob.value for knob in Knob)
    assert get_args(EnergyPolicySpec.model_fields["max_mode"].annotation) == tuple(
        mode.value for mode in Mode
    )
    assert {m.engine_type for m in SUPPORTED} == set(get_args(Engine.model_fields["type"].annotation))


def test_every_reason_fits_a_condition() -> None:
    known = [value for name, value in vars(reasons).items() if name.isupper()]
    assert len(known) > 40
    assert [r for r in known if not re.fullmatch("[A-Z][A-Za-z0-9]{0,63}", r)] == []


def test_a_profile_without_spec_is_named() -> None:
    with pytest.raises(ProfileError, match="broken"):
        profile_of({"metadata": {"name": "broken"}})


SHIPPED = Path(__file__).resolve().parents[3] / "operator/joulery/data/profiles/llama-3.1-70b-fp8.yaml"


def test_the_shipped_profile_is_usable() -> None:
    profile = profile_of(yaml.safe_load(SHIPPED.read_text()))
    assert profile.validate() == ()


def test_a_profile_with_negative_watts_names_the_failing_parameter() -> None:
    manifest = yaml.safe_load(SHIPPED.read_text())
    manifest["spec"]["accelerators"][0]["power"]["computeMilliwatts"] |= {"value": -5, "low": -5}
    with pytest.raises(ProfileError, match=r"compute_w: -0\.005 is negative"):
        profile_of(manifest)
