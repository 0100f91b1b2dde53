"""What the API server records of each applier, read back as evidence of who owns replicas."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from controller_cluster import deployment, eventually, namespace
from fakes import scale_up
from joulery.adapters.kube_actuator import KubeActuator
from joulery.adapters.kube_client import connect
from joulery.adapters.kube_discovery import Discovery
from joulery.adapters.ownership_view import claim_of
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import VariantMemory
from joulery.domain.ownership import Standing, owned_by
from joulery.domain.pool import Adopt
from joulery.emulator.cluster_access import Cluster

pytestmark = pytest.mark.e2e

NAMESPACE = "owners"
CLIENT_SIDE = ("apply", "--server-side=false", "-f", "-")
SERVER_SIDE = ("apply", "--server-side", "-f", "-")
ARGO = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-")
HELM_3 = ("create", "--field-manager=helm", "-f", "-")


@pytest.fixture(scope="module")
def home(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace of this module's own."""
    cluster.kubectl(*SERVER_SIDE, stdin=yaml.safe_dump(namespace(NAMESPACE)))
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def workload(name: str, *, declares: bool) -> str:
    manifest = deployment(NAMESPACE, name, replicas=2)
    if not declares:
        del manifest["spec"]["replicas"]
    return yaml.safe_dump(manifest)


def replaced(home: Cluster, manifest: str) -> bool:
    """False where the workload's status was written between kubectl's read and its put."""
    replace = ("replace", "--field-manager=helm", "-f", "-")
    return home.kubectl(*replace, stdin=manifest, check=False).returncode == 0


def standing(home: Cluster, name: str, memory: VariantMemory | None = None) -> Standing:
    # kubectl leaves managedFields out unless asked for them.
    shown = ("-o=json", "--show-managed-fields")
    manifest = json.loads(home.kubectl("get", "deployment", name, f"-n={NAMESPACE}", *shown).stdout)
    known = memory or VariantMemory("tp4")
    return owned_by(claim_of(manifest), known, manifest["spec"]["replicas"], Adopt.UNDECLARED).standing


@pytest.mark.parametrize(
    ("name", "applier", "declares", "expected"),
    [
        ("client-none", CLIENT_SIDE, False, Standing.FREE),
        ("client-two", CLIENT_SIDE, True, Standing.DECLARED),
        ("server-none", SERVER_SIDE, False, Standing.FREE),
        ("server-two", SERVER_SIDE, True, Standing.DECLARED),
        ("argo-none", ARGO, False, Standing.FREE),
        ("argo-two", ARGO, True, Standing.DECLARED),
        ("helm-none", HELM_3, False, Standing.ADOPTABLE),
        ("helm-two", HELM_3, True, Standing.ADOPTABLE),
    ],
)
def test_applier_stands_as_it_declares(
    home: Cluster, name: str, applier: tuple[str, ...], declares: bool, expected: Standing
) -> None:
    home.kubectl(*applier, stdin=workload(name, declares=declares))
    assert standing(home, name) is expected


@pytest.mark.parametrize("applier", [CLIENT_SIDE, SERVER_SIDE], ids=["recorded", "unrecorded"])
def test_person_who_scales_is_told_from_us(
    home: Cluster, applier: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    name = f"scaled-{request.node.callspec.id}"
    home.kubectl(*applier, stdin=workload(name, declares=False))
    home.kubectl("scale", f"deployment/{name}", f"--namespace={NAMESPACE}", "--replicas=3")
    set_to_one = VariantMemory("tp4", last_set_replicas=1, last_up_s=1.0)
    assert standing(home, name, set_to_one) is Standing.HAND


async def test_write_of_ours_makes_replicas_ours_until_they_are_set_back(home: Cluster) -> None:
    home.kubectl(*HELM_3, stdin=workload("chat-tp4", declares=True))
    client = await connect(home.kubeconfig)
    try:
        change = scale_up(ObjectKey(NAMESPACE, "chat"), seen=2, want=5)
        outcome = await KubeActuator(client, Discovery(client)).scale(change, "p-1")
    finally:
        await client.close()
    assert outcome.done, outcome.verdict
    written = VariantMemory("tp4", last_set_replicas=5, last_up_s=1.0, adopted=True)
    assert standing(home, "chat-tp4", written) is Standing.OURS
    await eventually(lambda: replaced(home, workload("chat-tp4", declares=True)))
    assert standing(home, "chat-tp4", written) is Standing.DECLARED
