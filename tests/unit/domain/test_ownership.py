"""Whose replicas are, from what the API server and the restart block tell."""

from __future__ import annotations

import pytest

from joulery.domain.memory import VariantMemory
from joulery.domain.ownership import Claim, Owner, Standing, owned_by
from joulery.domain.pool import Adopt

CLIENT_SIDE = Owner("kubectl-client-side-apply", "Update")
SERVER_SIDE = Owner("kubectl", "Apply")
ARGO = Owner("argocd-controller", "Apply")
HELM_3 = Owner("helm", "Update")
PERSON = Owner("kubectl", "Update", "scale")
EDITOR = Owner("kubectl-edit", "Update")
STALE_HPA = Owner("kube-controller-manager", "Update", "scale")
OURS = Owner("joulery", "Update", "scale")
NEW = VariantMemory("tp4")
SET_TO_5 = VariantMemory("tp4", last_set_replicas=5, last_up_s=1.0)
ADOPTED_TO_5 = VariantMemory("tp4", last_set_replicas=5, last_up_s=1.0, adopted=True)
WRITING_5 = VariantMemory("tp4", last_set_replicas=5, adopted=True, pending_from_replicas=2)


@pytest.mark.parametrize(
    ("claim", "memory", "standing"),
    [
        (Claim((OURS,), autoscaler="chat"), SET_TO_5, Standing.AUTOSCALED),
        (Claim((), autoscaler="chat"), NEW, Standing.AUTOSCALED),
        (Claim((SERVER_SIDE,)), NEW, Standing.DECLARED),
        (Claim((ARGO, OURS)), SET_TO_5, Standing.DECLARED),
        (Claim((CLIENT_SIDE,), annotated=True), NEW, Standing.DECLARED),
        (Claim((OURS,), annotated=True), SET_TO_5, Standing.DECLARED),
        (Claim((OURS,), annotated=False), SET_TO_5, Standing.OURS),
        (Claim((OURS,)), NEW, Standing.OURS),
        (Claim((STALE_HPA,)), NEW, Standing.FREE),
        (Claim((PERSON,)), NEW, Standing.HAND),
        (Claim((PERSON,), annotated=False), SET_TO_5, Standing.HAND),
        (Claim((EDITOR,), annotated=False), NEW, Standing.HAND),
        (Claim((CLIENT_SIDE,), annotated=False), NEW, Standing.FREE),
        (Claim((CLIENT_SIDE,), annotated=False), ADOPTED_TO_5, Standing.FREE),
        (Claim((HELM_3,)), NEW, Standing.ADOPTABLE),
        (Claim((HELM_3,)), WRITING_5, Standing.ADOPTABLE),
        (Claim((HELM_3,)), ADOPTED_TO_5, Standing.DECLARED),
        (Claim(), NEW, Standing.FREE),
        (Claim(), WRITING_5, Standing.FREE),
        (Claim(), SET_TO_5, Standing.HAND),
    ],
)
def test_first_evidence_that_applies_decides(claim: Claim, memory: VariantMemory, standing: Standing) -> None:
    assert owned_by(claim, memory, 2, Adopt.UNDECLARED).standing is standing


@pytest.mark.parametrize(
    "claim", [Claim((SERVER_SIDE,)), Claim((CLIENT_SIDE,), annotated=True), Claim((HELM_3,))]
)
def test_pool_that_adopts_declared_replicas_is_not_held(claim: Claim) -> None:
    found = owned_by(claim, ADOPTED_TO_5, 2, Adopt.DECLARED).standing
    assert found in (Standing.FREE, Standing.ADOPTABLE)


@pytest.mark.parametrize("claim", [Claim((PERSON,), annotated=True), Claim((), autoscaler="chat")])
def test_adopting_what_is_declared_takes_nothing_from_people_and_autoscalers(claim: Claim) -> None:
    found = owned_by(claim, NEW, 2, Adopt.DECLARED).standing
    assert found in (Standing.HAND, Standing.AUTOSCALED)


def test_value_that_nobody_owns_and_we_set_is_free() -> None:
    assert owned_by(Claim(), SET_TO_5, 5, Adopt.UNDECLARED).standing is Standing.FREE
