"""Owners of replicas as manifests tell them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from joulery.adapters.ownership_view import LAST_APPLIED, claim_of
from joulery.domain.ownership import Claim, Owner


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def test_only_managers_of_replicas_are_owners() -> None:
    since = "2026-11-21T10:00:00Z"
    fields = [
        entry("helm", "Apply", {"f:spec": {"f:replicas": {}}}, time=since),
        entry("kubectl", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale"),
        entry("kube-controller-manager", "Update", {"f:status": {"f:replicas": {}}}, subresource="status"),
        entry("somebody", "Update", {"f:metadata": {}}),
    ]
    assert claim_of({"metadata": {"managedFields": fields}}).owners == (
        Owner("helm", "Apply", since=since),
        Owner("kubectl", "Update", "scale"),
    )


@pytest.mark.parametrize(
    ("annotation", "declared"),
    [
        (json.dumps({"spec": {"replicas": 2}}), True),
        (json.dumps({"spec": {"replicas": 0}}), True),
        (json.dumps({"spec": {}}), False),
        (json.dumps({"spec": {"replicas": None}}), False),
        ("{}", False),
        ("not json", None),
        ("[]", None),
    ],
)
def test_last_applied_tells_whether_replicas_are_declared(annotation: str, declared: bool | None) -> None:
    assert claim_of({"metadata": {"annotations": {LAST_APPLIED: annotation}}}).annotated is declared


def test_bare_object_tells_nothing() -> None:
    assert claim_of({"metadata": {}}, "hpa") == Claim((), None, "hpa")


def test_who_wrote_the_annotation_is_known_though_a_person_owns_the_field() -> None:
    annotated = {"f:metadata": {"f:annotations": {f"f:{LAST_APPLIED}": {}}}}
    fields = [
        entry("kubectl", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale"),
        entry("argocd-controller", "Update", annotated),
    ]
    claim = claim_of({"metadata": {"managedFields": fields}})
    assert claim.annotator == Owner("argocd-controller", "Update")
