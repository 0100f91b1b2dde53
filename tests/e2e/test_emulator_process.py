"""The emulator as a process of its own, scraped by a real Prometheus."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster import external_or_embedded, find_assets
from emulated import MODEL, engine_deployment
from joulery.emulator.cluster_access import Cluster
from joulery.emulator.control_client import EmulatorControl, EmulatorError, read_outcomes
from joulery.emulator.processes import Child, ProcessGroup
from joulery.emulator.prometheus import Prometheus

pytestmark = pytest.mark.e2e

POOL = "default/chat"
REQUESTS = 60


@dataclass
class Run:
    """A running emulator with two ready engines and its Prometheus."""

    cluster: Cluster
    processes: ProcessGroup
    command: list[str]
    child: Child
    control: EmulatorControl
    prometheus: Prometheus
    folder: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("process")
    processes = ProcessGroup(folder / "logs")
    with (
        external_or_embedded(folder / "cluster") as cluster,
        Prometheus(find_assets(), folder / "prometheus", scrape_interval_s=1.0) as prometheus,
    ):
        try:
            arguments = command(folder, cluster, prometheus)
            child = processes.start("emulator", arguments)
            control = EmulatorControl(folder / "emu")
            child.wait_until(lambda: control.is_ready, 30)
            deployment = engine_deployment("chat-tp4", replicas=2, gpus=4, startup_s=0.5)
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
            cluster.kubectl("rollout", "status", "deployment/chat-tp4", "--timeout=30s")
            yield Run(cluster, processes, arguments, child, control, prometheus, folder)
        finally:
            processes.stop(patience_s=15.0)


def command(folder: Path, cluster: Cluster, prometheus: Prometheus) -> list[str]:
    pool = {
        "namespace": "default",
        "name": "chat",
        "servedModelName": MODEL,
        "profile": "llama-3.1-70b-fp8",
        "accelerator": "H100-SXM-80GB",
    }
    config = folder / "emulator.json"
    document = {
        "kubeconfig": str(cluster.kubeconfig),
        "data": str(folder / "emu"),
        "targets": str(prometheus.targets),
        "nodes": 2,
        "pools": [pool],
    }
    config.write_text(json.dumps(document))
    return [sys.executable, "-m", "joulery.emulator", "--config", str(config)]


def soon(check: Callable[[], Any], wanted: str, within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (seen := check()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {wanted}"
        time.sleep(0.2)
    return seen


def value(prometheus: Prometheus, query: str) -> float:
    answer = prometheus.query(query)
    return float(answer[0]["value"][1]) if answer else float("nan")


def test_a_schedule_is_served_counted_and_scraped(run: Run) -> None:
    arrivals = np.linspace(0.0, 3.0, REQUESTS)
    starts_s = run.control.submit(POOL, arrivals, np.full(REQUESTS, 300), np.full(REQUESTS, 40))
    assert starts_s > run.control.status()["modelSeconds"]
    soon(lambda: run.control.status()["pools"][POOL]["finished"] == REQUESTS, "all requests finished")
    finished = f'sum(vllm:request_success_total{{model_name="{MODEL}",namespace="default"}})'
    soon(lambda: value(run.prometheus, finished) == REQUESTS, "Prometheus has counted them")
    assert value(run.prometheus, 'count(up{job="default/engines"} == 1)') == 2
    outcomes = run.control.outcomes()
    requests = outcomes.requests(POOL)
    assert np.allclose(requests["arrival_ns"] * 1e-9, starts_s + arrivals, atol=1e-6)
    assert (requests["ttft_ns"] > 0).all()
    assert outcomes.summary["pools"][POOL]["starts"] == 2
    assert outcomes.timeline[f"{POOL}|serving"].max() == 2


def test_a_schedule_for_an_unknown_pool_is_refused_by_name(run: Run) -> None:
    one = np.ones(1, np.int64)
    with pytest.raises(EmulatorError, match="no pool 'default/other' is emulated, only default/chat"):
        run.control.submit("default/other", np.zeros(1), one, one)


def test_a_killed_emulator_is_followed_by_one_that_takes_over_its_nodes_and_pods(run: Run) -> None:
    run.child.kill()
    run.child = run.processes.start("emulator", run.command)
    soon(lambda: run.control.is_ready, "the next emulator is ready")
    soon(
        lambda: value(run.prometheus, f'sum(vllm:request_success_total{{model_name="{MODEL}"}})') == 0,
        "new engines",
    )
    one = np.ones(1, np.int64)
    run.control.submit(POOL, np.zeros(1), one * 300, one * 40)
    soon(lambda: run.control.status()["pools"][POOL]["finished"] == 1, "a request finished")
    assert run.control.status()["pools"][POOL]["starts"] == 2


def test_sigterm_writes_the_outcomes_and_takes_the_nodes_away(run: Run) -> None:
    run.child.end(patience_s=15.0)
    assert run.child.exit_code == 0
    outcomes = read_outcomes(run.folder / "emu" / "outcomes")
    assert outcomes.summary["pools"][POOL]["finished"] == 1
    assert outcomes.summary["lag"]["ticks"] > 40
    assert outcomes.summary["fleetEnergyJoules"] > outcomes.summary["pools"][POOL]["gpuEnergyJoules"] > 0
    nodes = run.cluster.kubectl("get", "nodes", "-l", "joulery.dev/emulated=true", "-o=name").stdout
    assert nodes == ""
    assert not run.control.is_ready
