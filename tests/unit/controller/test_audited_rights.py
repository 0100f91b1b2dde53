"""The comparison of granted and used rights tells exactly what is missing and what is too much."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from audited_rights import Right, granted, ungranted, unused, used

LABEL = {"kind": "ServiceAccount", "name": "agent", "namespace": "system"}
ROLE = {
    "kind": "ClusterRole",
    "metadata": {"name": "agent"},
    "rules": [
        {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["get", "patch"]}
    ],
}
NAMED = {
    "kind": "Role",
    "metadata": {"name": "agent", "namespace": "system"},
    "rules": [{"apiGroups": [""], "resources": ["leases"], "resourceNames": ["one"], "verbs": ["patch"]}],
}
BINDINGS = [
    {
        "kind": f"{role['kind']}Binding",
        "metadata": {k: v for k, v in role["metadata"].items() if k == "namespace"} | {"name": "b"},
        "roleRef": {"kind": role["kind"], "name": "agent"},
        "subjects": [LABEL],
    }
    for role in (ROLE, NAMED)
]


class Kustomize:
    """Answers `kubectl kustomize` with given objects."""

    def __init__(self, *objects: Any) -> None:
        self._text = yaml.safe_dump_all(objects)

    def kubectl(self, *_: str, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, stdout=self._text)


def rights(*objects: Any) -> set[Right]:
    return granted(Kustomize(*objects), ["x"], "agent", "system")  # type: ignore[arg-type]


def event(
    verb: str, resource: str, *, decision: str = "allow", code: int = 200, **ref: str
) -> dict[str, Any]:
    return {
        "user": {"username": "system:serviceaccount:system:agent"},
        "verb": verb,
        "objectRef": {"resource": resource, **ref},
        "annotations": {"authorization.k8s.io/decision": decision},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": "2026-01-01T00:00:10.000000Z",
    }


def test_rules_are_expanded_to_one_verb_on_one_resource() -> None:
    assert rights(ROLE, NAMED, *BINDINGS) == {
        Right("apps", "deployments", "get"),
        Right("apps", "deployments", "patch"),
        Right("apps", "deployments/scale", "get"),
        Right("apps", "deployments/scale", "patch"),
        Right("", "leases", "patch", "system", ("one",)),
    }


def test_roles_of_others_are_not_ours() -> None:
    assert rights(ROLE, BINDINGS[0] | {"subjects": [LABEL | {"name": "other"}]}) == set()


def test_wildcards_are_refused() -> None:
    with pytest.raises(AssertionError, match="wildcard"):
        rights(ROLE | {"rules": [ROLE["rules"][0] | {"verbs": ["*"]}]}, BINDINGS[0])  # type: ignore[index, operator]


def test_what_is_too_much_and_what_came_from_elsewhere_is_named() -> None:
    given = rights(ROLE, NAMED, *BINDINGS)
    seen = used(
        [
            event("get", "deployments", apiGroup="apps", namespace="team", name="chat"),
            event(
                "patch", "deployments", apiGroup="apps", subresource="scale", namespace="team", name="chat"
            ),
            event("patch", "leases", namespace="system", name="two"),
            event("list", "secrets", decision="forbid"),
        ],
        "agent",
        "system",
        0.0,
    )
    assert unused(given, seen.allowed) == [
        "get deployments/scale.apps",
        "patch deployments.apps",
        "patch leases.core named one in system",
    ]
    assert ungranted(given, seen.allowed) == ["patch leases.core named two in system"]
    assert seen.refused == ("list secrets.core",)


def test_an_apply_that_makes_its_object_needs_create() -> None:
    seen = used([event("patch", "nodes", code=201, name="n")], "agent", "system", 0.0)
    assert {r.verb for r in seen.allowed} == {"patch", "create"}


def test_earlier_requests_discovery_and_other_users_do_not_count() -> None:
    discovery = {k: v for k, v in event("get", "x").items() if k != "objectRef"}
    other = event("get", "pods") | {"user": {"username": "somebody"}}
    early = event("get", "pods")
    assert used([discovery, other], "agent", "system", 0.0).allowed == frozenset()
    assert used([early], "agent", "system", 2e9).allowed == frozenset()
