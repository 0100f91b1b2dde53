"""Faults on one running data centre: each shows what design §12 demands, and the system is whole again after it.

A few in every run, all of them in `make soak`, which writes build/soak.json.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from cluster import REPOSITORY
from fault_stage import POOL, Fault, Scene, fault_stage, run_fault
from joulery.domain import reasons
from live_centre import wait_for

API = "API server down or slow; 409, 429, 5xx; watch lost"
METRICS = "Prometheus down, metrics stale, NaN, counter reset, or absurd"
OPERATOR = "operator dead or replaced"
AGENT = "agent killed, node rebooted, GPU lost, driver reset"
ROLE = "clusterrole joulery-controller"

Strike = Callable[[Scene], None]


def _refused(status: int) -> Strike:
    def strike(scene: Scene) -> None:
        with scene.centre.api.spoilt(status=status):
            scene.held_up(reasons.API_UNAVAILABLE)

    return strike


def _killed(scene: Scene) -> None:
    scene.centre.plane.kill("kube-apiserver")
    scene.held_up(reasons.API_UNAVAILABLE)
    scene.centre.plane.restart("kube-apiserver")


def _frozen(scene: Scene) -> None:
    scene.centre.plane.suspend("kube-apiserver")
    time.sleep(5.0)  # the length of the fault
    scene.centre.plane.resume("kube-apiserver")


def _slow(scene: Scene) -> None:
    before = scene.cycles()
    with scene.centre.api.spoilt(delay_s=0.5):
        wait_for("cycles go on, slowly", lambda: scene.cycles() > before)


def _cut(scene: Scene) -> None:
    with scene.centre.api.spoilt(hangs_up=True):
        scene.centre.api.cut()
        scene.held_up(reasons.API_UNAVAILABLE)


def _watches_cut(scene: Scene) -> None:
    before = scene.cycles()
    scene.centre.api.cut()
    wait_for("cycles go on", lambda: scene.cycles() > before)


def _etcd(scene: Scene) -> None:
    scene.centre.plane.restart("etcd")


def _rewritten(value: str, reason: str) -> Strike:
    def rewrite(body: bytes) -> bytes:
        document = json.loads(body)
        for series in document["data"]["result"]:
            if "le" not in series["metric"]:
                series["value"][1] = value
        return json.dumps(document).encode()

    def strike(scene: Scene) -> None:
        before = scene.live.replicas(POOL)
        with scene.centre.metrics.spoilt(rewrite=rewrite):
            scene.tells("MetricsAvailable", "False", reason)
            assert scene.live.replicas(POOL) == before

    return strike


def _missing(scene: Scene) -> None:
    empty = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    with scene.centre.metrics.spoilt(rewrite=lambda _: empty):
        scene.tells("MetricsAvailable", "False", reasons.METRICS_STALE, reasons.METRICS_MISSING)


def _garbage(scene: Scene) -> None:
    with scene.centre.metrics.spoilt(rewrite=lambda _: b"<html>a login page</html>"):
        scene.tells("MetricsAvailable", "False", reasons.METRICS_QUERY_FAILED)


def _metrics_slow(scene: Scene) -> None:
    with scene.centre.metrics.spoilt(delay_s=3.0):
        scene.tells("MetricsAvailable", "False", reasons.METRICS_UNREACHABLE)


def _metrics_hang_up(scene: Scene) -> None:
    with scene.centre.metrics.spoilt(hangs_up=True):
        scene.tells("MetricsAvailable", "False", reasons.METRICS_UNREACHABLE)


def _prometheus_killed(scene: Scene) -> None:
    scene.centre.prometheus.kill()
    scene.tells("MetricsAvailable", "False")
    scene.centre.prometheus.start()


def _operator_killed(scene: Scene) -> None:
    before = scene.live.replicas(POOL)
    scene.controller.kill()
    assert scene.live.replicas(POOL) == before
    scene.centre.start_controller()


def _operator_frozen(scene: Scene) -> None:
    scene.controller.signal(signal.SIGSTOP)
    wait_for("default clocks without an operator", lambda: not scene.live.locked(), 40.0)
    scene.controller.signal(signal.SIGCONT)


def _agent(number: signal.Signals) -> Strike:
    def strike(scene: Scene) -> None:
        node = next(iter(scene.live.locked())).partition("/")[0]
        agent = scene.centre.processes.children[f"agent-{node}"]
        agent.signal(number)
        assert agent.wait(15.0)
        scene.centre.start_agents([node])

    return strike


def _without(resource: str, role: str = ROLE) -> Strike:
    def spare(rule: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = [r for r in rule["resources"] if r != resource]
        return {**rule, "resources": kept or ["none"]}

    def strike(scene: Scene) -> None:
        with scene.revoked(role, spare):
            scene.held_up(reasons.FORBIDDEN)

    return strike


FAULTS = (
    Fault("api-server-killed", API, _killed),
    Fault("api-server-frozen", API, _frozen),
    Fault("api-server-slow", API, _slow),
    *(Fault(f"api-server-answers-{s}", API, _refused(s)) for s in (429, 500, 503)),
    Fault("api-line-cut", API, _cut),
    Fault("watches-cut", API, _watches_cut),
    Fault("etcd-restarted", API, _etcd),
    Fault("metrics-nan", METRICS, _rewritten("NaN", reasons.METRICS_INVALID)),
    Fault("metrics-negative", METRICS, _rewritten("-3", reasons.METRICS_INVALID)),
    Fault("metrics-absurd", METRICS, _rewritten("1e12", reasons.METRICS_STALE)),
    Fault("metrics-missing", METRICS, _missing),
    Fault("metrics-garbage", METRICS, _garbage),
    Fault("metrics-slow", METRICS, _metrics_slow),
    Fault("metrics-hang-up", METRICS, _metrics_hang_up),
    Fault("prometheus-killed", METRICS, _prometheus_killed),
    Fault("operator-killed", OPERATOR, _operator_killed),
    Fault("operator-frozen", OPERATOR, _operator_frozen),
    Fault("agent-killed", AGENT, _agent(signal.SIGKILL)),
    Fault("agent-ended", AGENT, _agent(signal.SIGTERM)),
    Fault("profiles-forbidden", API, _without("energyprofiles")),
    Fault("nodes-forbidden", API, _without("nodes")),
)
SHORT = ("api-server-answers-503", "watches-cut", "operator-killed", "agent-killed")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with fault_stage(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
def record() -> Iterator[list[dict[str, Any]]]:
    """Outcomes of the faults that were tried; stored where all were."""
    rows: list[dict[str, Any]] = []
    yield rows
    for row in rows:
        print(f"{row['name']:28} {row['outcome']:10} {row['recoverySeconds'] or 0:6.1f} s")
    if len(rows) >= len(FAULTS) - len(SHORT):
        path = REPOSITORY / "build" / "soak.json"
        path.parent.mkdir(exist_ok=True)
        document = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(document | {"schemaVersion": 1, "faults": rows}, indent=2) + "\n")


CASES = [
    pytest.param(f, id=f.name, marks=pytest.mark.e2e if f.name in SHORT else pytest.mark.soak) for f in FAULTS
]


@pytest.mark.parametrize("fault", CASES)
def test_fault_is_lived_through(scene: Scene, record: list[dict[str, Any]], fault: Fault) -> None:
    row = {"name": fault.name, "row": fault.row, "outcome": "failed", "recoverySeconds": None}
    try:
        row = run_fault(scene, fault)
    finally:
        record.append(row)
    assert row["belowNeed"] == row["repeatedWrites"] == row["finalizers"] == row["leakedClocks"] == 0, row
