"""A whole data centre on loopback: control plane, Prometheus, emulated nodes, our controller and agents.

Controller and agents run under the ServiceAccounts of `manifests/`, never as administrator. Used by the demo and
by the end-to-end tests.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from joulery.api.labels import AGENT_SERVICE_ACCOUNT, CONTROLLER_SERVICE_ACCOUNT, OPERATOR_NAMESPACE
from joulery.domain.demand import ATTAINMENT_WINDOW_S
from joulery.emulator.cluster_access import service_account_kubeconfig
from joulery.emulator.controlplane import ControlPlane
from joulery.emulator.nvml_shim.build import build_shim
from joulery.emulator.processes import Child, ProcessGroup, free_port
from joulery.emulator.prometheus import Prometheus
from joulery.errors import JouleryError

Json = Mapping[str, Any]
CONTROLLER = "controller"
EMULATOR = "emulator"
_POLL_S = 0.1
# The agent's pods start like any other emulated pod; nothing real waits in them.
_AGENT_PODS_S = 40.0


class NotReadyError(JouleryError):
    """Something did not come up in time."""


@dataclass(frozen=True, slots=True)
class DataCentrePaths:
    """Where things are: programs, manifests of the repository, and a data folder of this run alone."""

    assets: Path
    manifests: Path
    data: Path


class DataCentre:
    """Starts on entry, stops on exit, in the reverse order. Blocking."""

    def __init__(
        self,
        paths: DataCentrePaths,
        *,
        emulator_config: Json,
        scrape_interval_s: float,
        load_window_s: float,
        attainment_window_s: float = ATTAINMENT_WINDOW_S,
        report: Callable[[str], None],
    ) -> None:
        self.paths = paths
        self.plane = ControlPlane(paths.assets, paths.data / "control-plane")
        self.prometheus = Prometheus(
            paths.assets, paths.data / "prometheus", scrape_interval_s=scrape_interval_s
        )
        self.processes = ProcessGroup(paths.data / "logs")
        self._emulator_config = emulator_config
        self._scrape_interval_s = scrape_interval_s
        self._load_window_s = load_window_s
        self._attainment_window_s = attainment_window_s
        self._report = report
        self._controller_port = free_port()

    def __enter__(self) -> Self:
        try:
            self.plane.start()
            self._report(f"Kubernetes {self.version()} is up")
            self.prometheus.start()
            self._install()
            self._start_emulator()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything that was started here."""
        self.processes.stop(patience_s=15.0)
        self.prometheus.stop()
        self.plane.stop()

    def version(self) -> str:
        """What the API server calls itself."""
        return str(json.loads(self.plane.kubectl("version", "-o=json").stdout)["serverVersion"]["gitVersion"])

    def apply(self, manifests: Iterable[Json]) -> None:
        """Apply objects server-side as a user would, all in one call."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(listed))

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`."""
        return json.loads(self.plane.kubectl("get", *arguments, "-o=json").stdout)

    def wait(self, what: str, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll until ready.

        Raises:
            NotReadyError: time is over.
            ProcessError: a child ended meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise NotReadyError(f"{what} not ready after {timeout_s:.0f} s; logs in {self.paths.data}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raises ProcessError where a child has ended by itself."""
        for child in self.processes.children.values():
            if child.exit_code is not None:
                raise child.failure(f"ended with code {child.exit_code}")

    def start_controller(self) -> Child:
        """Our controller, speaking as its ServiceAccount."""
        command = [sys.executable, "-m", "joulery", "controller"]
        return self.processes.start(CONTROLLER, command, self.controller_environment())

    def controller_environment(self) -> dict[str, str]:
        """The controller's settings, with a fresh token of its ServiceAccount."""
        account = service_account_kubeconfig(self.plane, OPERATOR_NAMESPACE, CONTROLLER_SERVICE_ACCOUNT)
        return {
            "JOULERY_KUBECONFIG": str(account),
            "JOULERY_PROMETHEUS_URL": self.prometheus.url,
            "JOULERY_SCRAPE_INTERVAL_SECONDS": str(self._scrape_interval_s),
            "JOULERY_ATTAINMENT_WINDOW_SECONDS": str(self._attainment_window_s),
            "JOULERY_METRICS_HOST": "127.0.0.1",
            "JOULERY_METRICS_PORT": str(self._controller_port),
        }

    def start_agents(self, nodes: Sequence[str]) -> None:
        """One agent per node, each with the token of its own DaemonSet pod and its node's emulated GPUs."""
        self._report("starting node agents")
        for node, pod in self._agent_pods(nodes).items():
            command = [sys.executable, "-m", "joulery", "agent"]
            self.processes.start(f"agent-{node}", command, self.agent_environment(node, pod))

    def agent_environment(self, node: str, pod: str) -> dict[str, str]:
        """Settings of a node's agent, with a fresh token that is bound to its pod."""
        account = service_account_kubeconfig(
            self.plane, OPERATOR_NAMESPACE, AGENT_SERVICE_ACCOUNT, bound_pod=pod
        )
        return {
            "JOULERY_NODE_NAME": node,
            "JOULERY_KUBECONFIG": str(account),
            "JOULERY_POD_RESOURCES_SOCKET": str(self.emulator_data / "pr" / f"{node}.sock"),
            "JOULERY_STATE_DIRECTORY": str(self.paths.data / "agents" / node),
            "JOULERY_METRICS_PORT": "0",
            "JOULERY_LOAD_WINDOW_S": str(self._load_window_s),
            "JOULERY_NVML_STATE": str(self.emulator_data / "nvml" / f"{node}.state"),
            "LD_LIBRARY_PATH": str(build_shim()),
        }

    def controller_metrics(self) -> str:
        """The controller's own metrics page."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.controller_url}/metrics", timeout=5) as page:
            return str(page.read().decode())

    @property
    def controller_url(self) -> str:
        """Address of the controller's metrics and probes."""
        return f"http://127.0.0.1:{self._controller_port}"

    @property
    def emulator_data(self) -> Path:
        """GPU state files and sockets of the emulated nodes."""
        return self.paths.data / "emulator"

    def _install(self) -> None:
        """What the README tells a user to apply, and the RuntimeClass that the GPU operator would bring."""
        self._report("kubectl apply -k manifests/ and manifests/agent/")
        runtime = {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "nvidia"},
            "handler": "nvidia",
        }
        self.apply([runtime])
        for folder in (self.paths.manifests, self.paths.manifests / "agent"):
            self.plane.kubectl("apply", "-k", str(folder))
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def _start_emulator(self) -> None:
        self._report("starting the emulated nodes")
        self.emulator_data.mkdir(parents=True, exist_ok=True)
        config = self.paths.data / "emulator.json"
        document = {
            **self._emulator_config,
            "kubeconfig": str(self.plane.kubeconfig),
            "data": str(self.emulator_data),
            "targets": str(self.prometheus.targets),
        }
        config.write_text(json.dumps(document))
        self.processes.start(EMULATOR, [sys.executable, "-m", "joulery.emulator", "--config", str(config)])

    def _agent_pods(self, nodes: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}

        def scheduled() -> bool:
            pods = self.get("pods", f"-n={OPERATOR_NAMESPACE}", "-l=app.kubernetes.io/name=joulery-agent")
            found.update(
                {
                    p["spec"]["nodeName"]: p["metadata"]["name"]
                    for p in pods["items"]
                    if p["spec"].get("nodeName")
                }
            )
            return all(node in found for node in nodes)

        self.wait("agent pods", scheduled, _AGENT_PODS_S)
        return {node: found[node] for node in nodes}
