"""Replicas through `/scale` on a real API server, down to none and up again."""

from __future__ import annotations

import pytest

from cluster import cluster_fixture
from controller_cluster import apply, deployment, namespace, read
from fakes import scale_up
from joulery.adapters.kube_actuator import KubeActuator
from joulery.adapters.kube_client import connect
from joulery.adapters.kube_discovery import Discovery
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.emulator.cluster_access import Cluster

pytestmark = pytest.mark.e2e

cluster = cluster_fixture()
NAMESPACE = "zero"


async def test_workload_goes_to_zero_and_back(cluster: Cluster) -> None:
    apply(cluster, namespace(NAMESPACE), deployment(NAMESPACE, "chat-tp4", replicas=3))
    client = await connect(cluster.kubeconfig)
    actuator = KubeActuator(client, Discovery(client))
    pool = ObjectKey(NAMESPACE, "chat")
    try:
        for seen, want in ((3, 0), (0, 3)):
            outcome = await actuator.scale(scale_up(pool, seen=seen, want=want), "p-1")
            assert outcome.done, outcome.verdict
            assert read(cluster, "deployment", NAMESPACE, "chat-tp4")["spec"]["replicas"] == want
        # What was none when it was decided is not written over what somebody set since.
        outcome = await actuator.scale(scale_up(pool, seen=0, want=1), "p-2")
    finally:
        await client.close()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    assert (outcome.done, outcome.verdict.reason) == (False, reasons.REPLICAS_MOVED)
