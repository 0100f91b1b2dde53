"""The embedded control plane is real, and it never leaves a process behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import find_assets
from joulery.emulator.cluster_access import external_cluster, kubectl, service_account_kubeconfig
from joulery.emulator.controlplane import ControlPlane
from joulery.emulator.processes import ProcessError, ProcessGroup
from joulery.emulator.prometheus import Prometheus
from joulery.errors import ClusterError, ConfigError

pytestmark = pytest.mark.e2e

COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "gpu-0", "labels": {"joulery.dev/emulated": "true"}},
    "status": {"capacity": {"cpu": "8", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "8"}},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "engine"},
    "spec": {
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "engine", "image": "x", "resources": {"limits": {"nvidia.com/gpu": "2"}}}],
    },
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "engines"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "engines"}},
        "template": {
            "metadata": {"labels": {"app": "engines"}},
            "spec": {"containers": [{"name": "engine", "image": "x"}]},
        },
    },
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(find_assets(), tmp_path_factory.mktemp("plane")) as started:
        yield started


def eventually(probe, timeout_s: float = 20.0):
    """The probe's first true answer; its last answer fails the test when time is over."""
    deadline = time.monotonic() + timeout_s
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout_s} s"
        time.sleep(0.05)
    return answer


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped by its new parent has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_serves_the_pinned_kubernetes_version(plane: ControlPlane) -> None:
    version = json.loads(plane.kubectl("version", "--output=json").stdout)
    assert version["serverVersion"]["gitVersion"] == "v1.36.2"
    assert version["clientVersion"]["gitVersion"] == "v1.36.2"


def test_schedules_a_pod_with_gpus_onto_a_node_we_made(plane: ControlPlane) -> None:
    plane.kubectl("create", "--filename=-", stdin=json.dumps(NODE))
    plane.kubectl("create", "--filename=-", stdin=json.dumps(POD))
    node = ("get", "pod", "engine", "--output=jsonpath={.spec.nodeName}")
    assert eventually(lambda: plane.kubectl(*node).stdout) == "gpu-0"


def test_a_failing_kubectl_raises_with_what_it_said(plane: ControlPlane) -> None:
    with pytest.raises(ClusterError, match='pods "absent" not found'):
        plane.kubectl("get", "pod", "absent")


def test_a_service_account_speaks_for_itself_and_has_no_rights_of_an_administrator(
    plane: ControlPlane,
) -> None:
    plane.kubectl("create", "serviceaccount", "somebody")
    config = service_account_kubeconfig(plane, "default", "somebody")
    program = plane.assets / "kubectl"
    who = kubectl(program, config, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}").stdout
    assert who == "system:serviceaccount:default:somebody"
    with pytest.raises(ClusterError, match="forbidden"):
        kubectl(program, config, "get", "nodes")
    refused = [event for event in plane.audit_events() if event["user"]["username"] == who]
    assert any(event["annotations"]["authorization.k8s.io/decision"] == "forbid" for event in refused)


def test_a_token_bound_to_a_pod_names_the_pod(plane: ControlPlane) -> None:
    bound = {**POD, "metadata": {"name": "agent"}}
    plane.kubectl("create", "--filename=-", stdin=json.dumps(bound))
    config = service_account_kubeconfig(plane, "default", "default", bound_pod="agent")
    answer = kubectl(plane.assets / "kubectl", config, "auth", "whoami", "--output=json").stdout
    extra = json.loads(answer)["status"]["userInfo"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["agent"]


def test_the_audit_log_shows_the_replicas_a_scale_patch_wrote(plane: ControlPlane) -> None:
    plane.kubectl("create", "--filename=-", stdin=json.dumps(DEPLOYMENT))
    patch = '[{"op": "replace", "path": "/spec/replicas", "value": 2}]'
    plane.kubectl("patch", "deployment", "engines", "--subresource=scale", "--type=json", f"--patch={patch}")
    writes = [e for e in plane.audit_events() if e["objectRef"].get("subresource") == "scale"]
    assert [(e["verb"], e["requestObject"][0]["value"], e["responseStatus"]["code"]) for e in writes] == [
        ("patch", 2, 200)
    ]


def test_a_killed_api_server_comes_back_with_its_objects(plane: ControlPlane) -> None:
    plane.kubectl("create", "configmap", "kept")
    plane.kill("kube-apiserver")
    assert set(plane.pids) == COMPONENTS - {"kube-apiserver"}
    assert plane.kubectl("get", "configmap", "kept", check=False).returncode != 0
    plane.restart("kube-apiserver")
    assert plane.kubectl("get", "configmap", "kept", "--output=name").stdout.strip() == "configmap/kept"


def test_another_cluster_with_foreign_nodes_is_refused_unless_told(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = plane.assets / "kubectl"
    foreign = {**NODE, "metadata": {"name": "somebody-elses"}}
    plane.kubectl("create", "--filename=-", stdin=json.dumps(foreign))
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.delenv("JOULERY_KUBECONFIG", raising=False)
    assert external_cluster(program, tmp_path) is None
    monkeypatch.setenv("JOULERY_KUBECONFIG", str(plane.kubeconfig))
    with pytest.raises(ConfigError, match="somebody-elses"):
        external_cluster(program, tmp_path)
    monkeypatch.setenv("JOULERY_ALLOW_FOREIGN_NODES", "1")
    accepted = external_cluster(program, tmp_path)
    assert accepted is not None
    assert "somebody-elses" in accepted.kubectl("get", "nodes").stdout
    plane.kubectl("delete", "node", "somebody-elses")


def test_prometheus_scrapes_what_the_targets_file_names_and_survives_a_crash(tmp_path: Path) -> None:
    with Prometheus(find_assets(), tmp_path, scrape_interval_s=0.5) as prometheus:
        address = prometheus.url.removeprefix("http://")
        prometheus.write_targets([{"targets": [address], "labels": {"pod": "engine-0"}}])

        def up() -> list[dict]:
            return [r["metric"] for r in prometheus.query("up")]

        expected = [{"__name__": "up", "instance": address, "job": "engines", "pod": "engine-0"}]
        assert eventually(up) == expected
        prometheus.kill()
        prometheus.start()
        assert eventually(up) == expected


def test_a_component_that_fails_shows_its_log(tmp_path: Path) -> None:
    group = ProcessGroup(tmp_path)
    child = group.start("broken", [sys.executable, "-c", "raise SystemExit('no such flag: --x')"])
    with pytest.raises(ProcessError, match=r"broken ended with code 1 .*broken.log(.|\n)*no such flag: --x"):
        child.wait_until(lambda: False, timeout_s=20)
    group.stop()


RUN_AND_REPORT = """
import json, pathlib, signal, sys
from joulery.emulator.controlplane import ControlPlane
signal.signal(signal.SIGINT, signal.default_int_handler)
with ControlPlane(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as plane:
    print(json.dumps(plane.pids), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("ending", ["stop", "ctrl-c", "sigkill of the parent"])
def test_no_process_is_left_after(ending: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": "operator"}
    command = [sys.executable, "-c", RUN_AND_REPORT, str(find_assets()), str(tmp_path)]
    runner = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert runner.stdin
    assert runner.stdout
    pids = json.loads(runner.stdout.readline())
    assert set(pids) == COMPONENTS
    assert not any(map(is_gone, pids.values()))
    match ending:
        case "stop":
            runner.stdin.write("\n")
            runner.stdin.flush()
        case "ctrl-c":
            runner.send_signal(signal.SIGINT)
        case _:
            runner.kill()
    runner.wait(30)
    runner.communicate()
    eventually(lambda: all(map(is_gone, pids.values())), timeout_s=5)
