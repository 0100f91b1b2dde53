"""What tests and benchmarks of the controller share: manifests, nodes without engines, a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from joulery.demo.objects import GRACE_S, drain_hook
from joulery.emulator.apiserver import ApiServer
from joulery.emulator.cluster_access import Cluster
from joulery.emulator.kubelet import Kubelet
from joulery.emulator.nodes import NodeObjects, emulated_nodes
from joulery.emulator.pods import PodSpec
from joulery.emulator.processes import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILE = REPOSITORY / "operator" / "joulery" / "data" / "profiles" / "llama-3.1-70b-fp8.yaml"
API = "joulery.dev/v1alpha1"

Manifest = dict[str, Any]
T = TypeVar("T")


class BareRuntime:
    """Pods that run and answer nothing: demand comes from a Prometheus of the test's own."""

    def __init__(self) -> None:
        self._started = 0

    def start(self, pod: PodSpec, gpus: tuple[int, ...]) -> str:
        self._started += 1
        return f"127.9.{self._started // 250}.{self._started % 250 + 1}"

    async def listen(self, uid: str) -> None:
        return

    def take_requests(self, uid: str) -> None:
        return

    async def drain(self, uid: str) -> None:
        return

    def stop(self, uid: str) -> None:
        return


@asynccontextmanager
async def bare_nodes(kubeconfig: Path, count: int, *, gpus: int = 8) -> AsyncIterator[None]:
    """GPU nodes whose pods become ready and hold no engines."""
    nodes = emulated_nodes(count, gpus)
    async with await ApiServer.connect(kubeconfig) as server:
        objects = NodeObjects(server, nodes, print)
        kubelet = Kubelet(server, nodes, BareRuntime(), seed=0, report=print)
        await objects.register()
        tasks = [asyncio.create_task(objects.renew_for_ever()), asyncio.create_task(kubelet.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await objects.remove()


def namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def policy(max_mode: str = "Act", **spec: Any) -> Manifest:
    """The policy named default, with cadences short enough for a test."""
    cadence = {
        "planEpochSeconds": 10,
        "demandPollSeconds": 1,
        "clockEpochSeconds": 1,
        "leaseTimeoutSeconds": 30,
    }
    guardrails = {"dwellSeconds": 5, "maxStepDownPercent": 50, "minimumGainPercent": 3}
    return {
        "apiVersion": API,
        "kind": "EnergyPolicy",
        "metadata": {"name": "default"},
        "spec": {"maxMode": max_mode, "cadence": cadence, "guardrails": guardrails, **spec},
    }


def profile() -> Manifest:
    """The shipped profile as an object."""
    document: Manifest = yaml.safe_load(PROFILE.read_text())
    if "spec" in document:
        return document
    return {"apiVersion": API, "kind": "EnergyProfile", "metadata": {"name": PROFILE.stem}, "spec": document}


def pool(
    namespace: str,
    name: str = "chat",
    *,
    mode: str = "Act",
    knobs: Sequence[str] = ("Clocks", "Replicas", "Shards"),
    sizes: Sequence[int] = (4,),
    most: int = 16,
    **spec: Any,
) -> Manifest:
    """A pool with one Deployment per tensor-parallel size, named `<pool>-tp<size>`."""
    variants = [
        {
            "name": f"tp{size}",
            "accelerator": "H100-SXM-80GB",
            "tensorParallelSize": size,
            "maxNumBatchedTokens": 2048,
            "maxNumSeqs": 256,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-tp{size}"},
            "maxReplicas": most,
            "startupSeconds": 2,
        }
        for size in sizes
    ]
    return {
        "apiVersion": API,
        "kind": "InferencePool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "mode": mode,
            # The Deployments of these tests are applied server-side with their replicas declared.
            "scaling": {"adopt": "Declared"},
            "knobs": list(knobs),
            "engine": {"type": "VLLM", "version": "0.11.0"},
            "model": {"servedModelName": f"{namespace}-{name}"},
            "profileRef": {"name": PROFILE.stem},
            "variants": variants,
            **spec,
        },
    }


def deployment(namespace: str, name: str, *, gpus: int = 4, replicas: int = 1) -> Manifest:
    """A workload that a variant may point to."""
    labels = {"app": name}
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.11.0",
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        "lifecycle": {"preStop": drain_hook()},
    }
    annotations = {"emulator.joulery.dev/startup-seconds": "1"}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": GRACE_S, "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def apply(cluster: Cluster, *manifests: Mapping[str, Any]) -> None:
    """Apply as an administrator would."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests))


def read(cluster: Cluster, kind: str, namespace: str, name: str) -> Manifest:
    """One object as it stands."""
    found: Manifest = json.loads(cluster.kubectl("get", kind, name, f"-n={namespace}", "-o=json").stdout)
    return found


def condition(manifest: Mapping[str, Any], condition_type: str) -> Mapping[str, Any]:
    """A condition, empty where there is none yet."""
    conditions = manifest.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == condition_type), {})


async def eventually(look: Callable[[], T], *, within_s: float = 60.0) -> T:
    """The first truthy answer; AssertionError with the last one when time is up."""
    deadline_s = time.monotonic() + within_s
    while True:
        seen = await asyncio.to_thread(look)
        if seen:
            return seen
        assert time.monotonic() < deadline_s, f"not seen within {within_s:.0f} s; last: {seen!r}"
        await asyncio.sleep(0.2)


class ControllerProcess:
    """`python -m joulery controller` with settings of its own; on exit it is ended."""

    def __init__(self, kubeconfig: Path, prometheus_url: str, log: Path, *, scrape_interval_s: float = 1.0):
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith("JOULERY_") and k != "KUBECONFIG"
        }
        self._environment = inherited | {
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "JOULERY_KUBECONFIG": str(kubeconfig),
            "JOULERY_PROMETHEUS_URL": prometheus_url,
            "JOULERY_SCRAPE_INTERVAL_SECONDS": str(scrape_interval_s),
            "JOULERY_METRICS_HOST": "127.0.0.1",
            "JOULERY_METRICS_PORT": str(port := free_port()),
        }
        self._url = f"http://127.0.0.1:{port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, sabotage: str = "") -> None:
        """Start it; `sabotage` is Python that spoils a part of the process before it runs."""
        run = "from joulery.__main__ import main; main()"
        with self._log.open("ab") as log:
            command = [sys.executable, "-c", f"{sabotage}\n{run}", "controller"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """Its process id; it must run."""
        assert self._process is not None
        assert self._process.poll() is None, f"the controller ended by itself; see {self._log}"
        return self._process.pid

    def readiness(self) -> str:
        """What /readyz says; empty where nothing answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self._url}/readyz", timeout=5) as page:
                return str(page.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def metrics(self) -> str:
        """Its metrics page."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._url}/metrics", timeout=30) as page:
            return str(page.read().decode())

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL, as a node failure would."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(5.0)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Log lines so far."""
        whole = self._log.read_text().splitlines() if self._log.exists() else []
        return [json.loads(line) for line in whole if line.startswith("{") and line.endswith("}")]
