"""Every CEL rule has a manifest that the real API server takes and one that it refuses, with the cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import api_cases as cases
from api_cases import changed, request_class, variant
from joulery.api.crd import definition
from joulery.api.v1alpha1.kinds import KINDS

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Case:
    """One rule: its message's start, a manifest it lets pass and one it stops."""

    id: str
    message: str
    accepted: dict[str, Any]
    refused: dict[str, Any]


def _pool(*path: str | int, accepted: Any, refused: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return _both(cases.pool, path, accepted, refused)


def _both(
    base: Callable[[], dict[str, Any]], path: tuple[str | int, ...], accepted: Any, refused: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    return changed(base(), ("spec", *path), accepted), changed(base(), ("spec", *path), refused)


PARAMETER = ("accelerators", 0, "latency", "hostBaseNanoseconds", "value")
WATTS = ("accelerators", 0, "power", "computeMilliwatts", "value")
RATIO = ("accelerators", 0, "clockResponse", "memoryFloor", "value")
OFFSET = ("accelerators", 0, "power", "offset", "value")
CLOCKS = ("accelerators", 0, "supportedClocksMHz")
SAME_TARGET = [
    variant("tp4", 4),
    {**variant("tp8", 8), "scaleTargetRef": variant("tp4", 4)["scaleTargetRef"]},
]
OTHER_KIND = [
    variant("tp4", 4),
    {**variant("tp8", 8), "scaleTargetRef": {**variant("tp4", 4)["scaleTargetRef"], "kind": "StatefulSet"}},
]

CASES = [
    Case(
        "replicas", "minReplicas must not exceed", *_pool("variants", 0, "minReplicas", accepted=6, refused=7)
    ),
    Case(
        "replicas-against-the-stored-default",
        "minReplicas must not exceed",
        changed(cases.minimal_pool(), ("spec", "variants", 0, "maxReplicas"), 0),
        changed(cases.pool(), ("spec", "variants", 0, "maxReplicas"), 0),
    ),
    Case(
        "batch",
        "maxNumSeqs must not exceed maxNumBatchedTokens",
        *_pool("variants", 0, "maxNumBatchedTokens", accepted=256, refused=255),
    ),
    Case(
        "redundancy",
        "redundancy.instances leaves no instance",
        *_pool("redundancy", "instances", accepted=5, refused=6),
    ),
    Case(
        "targets", "two variants name the same", *_pool("variants", accepted=OTHER_KIND, refused=SAME_TARGET)
    ),
    Case(
        "class-range",
        "minimum must not exceed",
        *_pool(
            "requestClasses",
            accepted=[request_class("one", (7, 7), (1, 9))],
            refused=[request_class("one", (8, 7), (1, 9))],
        ),
    ),
    Case(
        "class-overlap",
        "request classes overlap",
        *_pool(
            "requestClasses",
            accepted=[request_class("a", (1, 9), (1, 9)), request_class("b", (10, 20), (1, 9))],
            refused=[request_class("a", (1, 10), (1, 9)), request_class("b", (10, 20), (1, 9))],
        ),
    ),
    Case(
        "class-hole",
        "request classes leave a hole",
        *_pool(
            "requestClasses",
            accepted=[
                request_class(f"{i}{o}", i_range, o_range)
                for i, i_range in (("S", (1, 9)), ("L", (10, 99)))
                for o, o_range in (("S", (1, 5)), ("L", (6, 50)))
            ],
            refused=[request_class("a", (1, 9), (1, 9)), request_class("b", (11, 20), (1, 9))],
        ),
    ),
    Case(
        "demand-labels",
        "matchLabels names Prometheus labels",
        *_pool("demand", "matchLabels", accepted={"_cluster9": ""}, refused={"bad-name": "x"}),
    ),
    Case(
        "clock-bounds",
        "floorMHz must not exceed",
        *_both(cases.policy, ("clockBounds", 0, "floorMHz"), 1980, 1981),
    ),
    Case(
        "namespaces",
        "namespaces are exact names",
        *_both(cases.policy, ("namespaces",), ["team-a", "b"], ["team-*"]),
    ),
    Case(
        "poll-within-epoch",
        "demandPollSeconds must not exceed",
        *_both(cases.policy, ("cadence", "demandPollSeconds"), 60, 61),
    ),
    Case(
        "poll-against-the-stored-default",
        "demandPollSeconds must not exceed",
        *_both(cases.policy, ("cadence",), {"demandPollSeconds": 300}, {"demandPollSeconds": 301}),
    ),
    Case(
        "lease-outlives-clock-epoch",
        "leaseTimeoutSeconds must be at least twice",
        *_both(cases.policy, ("cadence", "leaseTimeoutSeconds"), 4, 3),
    ),
    Case(
        "cadence-only-on-default",
        "cadence holds for the whole cluster",
        cases.policy(),
        changed(cases.policy("team"), ("spec", "cadence"), {}),
    ),
    Case(
        "solver-only-on-default",
        "solver holds for the whole cluster",
        cases.policy("team"),
        changed(cases.policy("team"), ("spec", "solver"), {}),
    ),
    Case("time-range", "value must lie within", *_both(cases.profile, PARAMETER, 600, 601)),
    Case("power-range", "value must lie within", *_both(cases.profile, WATTS, 40_000, 39_999)),
    Case("ratio-range", "value must lie within", *_both(cases.profile, RATIO, "0.90", "0.91")),
    Case("offset-range", "value must lie within", *_both(cases.profile, OFFSET, "1.10", "1.11")),
    Case(
        "clocks-rise",
        "supportedClocksMHz must rise",
        *_both(cases.profile, CLOCKS, [1200, 1980], [1980, 1200]),
    ),
    Case("clocks-end", "supportedClocksMHz must rise", *_both(cases.profile, CLOCKS, [1980], [1200, 1590])),
    Case(
        "table-range",
        "lowestMHz must not exceed",
        *_both(cases.gpu_node, ("tables", 0, "lowestMHz"), 1980, 1981),
    ),
    Case(
        "binding-without-table",
        "a binding names a table that is not in tables",
        changed(cases.gpu_node(), ("spec", "bindings"), []),
        changed(cases.gpu_node(), ("spec", "tables"), ...),
    ),
]


def _rules(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for entry in schema.get("x-kubernetes-validations", []):
            yield entry["message"]
        for part in schema.values():
            yield from _rules(part)


def test_every_rule_has_a_case() -> None:
    messages = {
        message for kind in KINDS for message in _rules(definition(kind)["spec"]["versions"][0]["schema"])
    }
    proven = {message for message in messages if any(message.startswith(case.message) for case in CASES)}
    assert {m for m in messages - proven if not m.startswith("a profile's spec is immutable")} == set()
    assert len(messages) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_accepts(judge: Any, case: Case) -> None:
    assert judge.refusal(case.accepted) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_refuses_and_says_what_to_do(judge: Any, case: Case) -> None:
    refusal = judge.refusal(case.refused)
    assert refusal is not None
    assert case.message in refusal
    assert ": " in refusal.split(case.message, 1)[1], "the message ends with a cure"


def test_profile_spec_cannot_be_changed(judge: Any) -> None:
    stored = cases.profile()
    judge.refusal(stored, store=True)
    try:
        assert judge.refusal_of_update(stored) is None
        refusal = judge.refusal_of_update(changed(stored, ("spec", "precision"), "BF16"))
        assert refusal is not None
        assert "create one of a new name" in refusal
    finally:
        judge.remove(stored)
