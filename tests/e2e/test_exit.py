"""Ways out, on the whole system: pools keep their size, clocks go back, and nothing is left in Terminating.

One data centre and one pool for each way; the last two take the operator and its kinds away from all that is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from cluster import REPOSITORY
from controller_cluster import condition
from joulery.demo.datacentre import CONTROLLER
from joulery.domain import reasons
from joulery.domain.pool import Mode, Pool
from live_centre import LiveCentre, SteppedLoad, live_centre, live_pool, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

LEAVES, DELETED, KEPT = live_pool("leaves", 4), live_pool("deleted", 4), live_pool("kept", 4)
POOLS = (LEAVES, DELETED, KEPT)
LOAD_RPS = 3.0
AS_FOUND = {"tp4": 2}
# The Lease is 30 s old at most when agents give up on the operator.
AGENTS_LET_GO_S = 60.0


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCentre]:
    """All pools act, and the clocks of their GPUs are lowered."""
    with (
        live_centre(tmp_path_factory.mktemp("exit"), [p.key for p in POOLS]) as running,
        ExitStack() as stack,
    ):
        for pool in POOLS:
            running.install(pool, AS_FOUND)
            load = stack.enter_context(SteppedLoad(running.control, str(pool.key)))
            load.step_to(LOAD_RPS)
        for pool in POOLS:
            # The load needs one instance: ways out are tried where Joulery has changed the size it found.
            wait_for(f"a way down of {pool.key}", lambda pool=pool: running.ready(pool) == {"tp4": 1}, 90.0)
            wait_for(f"low clocks of {pool.key}", lambda pool=pool: _clocks(running, pool), 90.0)
        yield running


def _clocks(live: LiveCentre, pool: Pool) -> list[int]:
    """Clocks that the driver holds below the default on GPUs of a pool."""
    nodes = live.centre.get("gpunodes.joulery.dev")["items"]
    mine = {
        f"{node['metadata']['name']}/{gpu['index']}"
        for node in nodes
        for gpu in node.get("status", {}).get("gpus", ())
        if str(gpu.get("ownerPod")).startswith(f"{pool.key.name}-")
    }
    return [mhz for gpu, mhz in live.locked().items() if gpu in mine]


def _settled(live: LiveCentre, pool: Pool) -> dict[str, int]:
    """Replicas once all that are asked for are ready."""
    return wait_for("all ready", lambda: (r := live.replicas(pool)) == live.ready(pool) and r, 60.0)


def _finalizers(live: LiveCentre) -> list[str]:
    kinds = ("inferencepools", "energypolicies", "energyprofiles", "gpunodes")
    named = ",".join(f"{kind}.joulery.dev" for kind in kinds)
    found = live.centre.get(f"{named},deployments,pods", "--all-namespaces")["items"]
    return [i["metadata"]["name"] for i in found if i["metadata"].get("finalizers")]


def test_leaving_act_keeps_replicas_and_resets_clocks(live: LiveCentre) -> None:
    before = _settled(live, LEAVES)
    live.apply_pool(replace(LEAVES, mode=Mode.RECOMMEND))
    wait_for("default clocks", lambda: not _clocks(live, LEAVES))
    assert live.replicas(LEAVES) == live.ready(LEAVES) == before
    assert _clocks(live, KEPT)


def test_deleted_pool_is_gone_at_once_and_its_workload_runs_on(live: LiveCentre) -> None:
    before = _settled(live, DELETED)
    key = DELETED.key
    assert _finalizers(live) == []
    live.centre.plane.kubectl(
        "delete", "inferencepools.joulery.dev", key.name, f"-n={key.namespace}", "--timeout=5s"
    )
    wait_for("default clocks", lambda: not live.locked() or not _clocks(live, DELETED))
    assert live.replicas(DELETED) == live.ready(DELETED) == before
    assert _clocks(live, KEPT)


def test_deleted_policy_stops_acting_and_a_new_one_begins_again(live: LiveCentre) -> None:
    before = _settled(live, KEPT)
    live.centre.plane.kubectl("delete", "energypolicies.joulery.dev", "default", "--timeout=5s")
    wait_for("the word", lambda: condition(live.pool(KEPT), "Actuated")["reason"] == reasons.NO_POLICY)
    wait_for("default clocks", lambda: not live.locked())
    assert live.replicas(KEPT) == live.ready(KEPT) == before
    live.set_policy()
    wait_for("low clocks again", lambda: _clocks(live, KEPT), 60.0)


def test_uninstalled_operator_leaves_replicas_and_agents_reset_clocks(live: LiveCentre) -> None:
    before = _settled(live, KEPT)
    _end_controller(live)
    plane = live.centre.plane
    plane.kubectl("delete", "-f", str(REPOSITORY / "manifests" / "controller.yaml"), "--timeout=20s")
    wait_for("default clocks", lambda: not live.locked(), AGENTS_LET_GO_S)
    assert live.replicas(KEPT) == live.ready(KEPT) == before


def test_deleted_kinds_leave_nothing_in_terminating(live: LiveCentre) -> None:
    before = live.replicas(KEPT)
    live.centre.plane.kubectl("delete", "-k", str(REPOSITORY / "crds"), "--timeout=20s")
    assert "joulery.dev" not in live.centre.plane.kubectl("get", "crd", "-o=name").stdout
    assert _terminating(live) == []
    assert live.replicas(KEPT) == live.ready(KEPT) == before
    assert live.locked() == {}


def _end_controller(live: LiveCentre) -> None:
    live.centre.processes.children.pop(CONTROLLER).end(10.0)


def _terminating(live: LiveCentre) -> list[str]:
    found: list[Mapping[str, Any]] = live.centre.get("namespaces,deployments,pods", "--all-namespaces")[
        "items"
    ]
    return [json.dumps(i["metadata"]) for i in found if "deletionTimestamp" in i["metadata"]]
