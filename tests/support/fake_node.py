"""A node for the agent's tests: kubelet socket, engines' pages, API server, and the agent's own process.

The GPUs are the compiled shim's, the rest are small fakes that speak the real protocols over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc.aio
from aiohttp import web

from joulery.agent.podresources_pb2 import ContainerEntry, DeviceEntry, ListRequest, ListResponse, PodEntry
from joulery.api.convert_node import gpu_node_manifest
from joulery.domain.plan import NodeDirective
from joulery.emulator.gpus import ClockLock, NodeGpus, Shown
from joulery.emulator.nvml_shim.build import build_shim

NODE = "gpu-node-0"
# Every request of a fake engine has this long a prompt.
PROMPT_TOKENS = 500.0
SOURCE_ROOT = Path(__file__).parents[2] / "operator"


class FakeKubelet:
    """The PodResources socket; `pods` maps (namespace, pod) to GPU device ids."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.pods: dict[tuple[str, str], tuple[str, ...]] = {}
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self._list,
            request_deserializer=ListRequest.FromString,
            response_serializer=ListResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(f"unix://{self.socket}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    async def _list(self, _: ListRequest, context: object) -> ListResponse:
        return ListResponse(pods=[_pod_entry(*key, ids) for key, ids in self.pods.items()])


def _pod_entry(namespace: str, pod: str, ids: tuple[str, ...]) -> PodEntry:
    devices = [DeviceEntry(resource_name="nvidia.com/gpu", device_ids=[i]) for i in ids]
    return PodEntry(name=pod, namespace=namespace, containers=[ContainerEntry(name="vllm", devices=devices)])


class FakeEngine:
    """One engine's `/metrics` page whose counters grow at the rates set."""

    def __init__(self) -> None:
        self.prompt_tokens_per_s = 0.0
        self.generation_tokens_per_s = 0.0
        self.running = 0
        self.waiting = 0
        self.kv_usage = 0.1
        self.is_failing = False
        self._tokens = [0.0, 0.0]
        self._at_s = time.monotonic()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str = "127.0.0.1") -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def restart(self) -> None:
        """The engine's process was replaced: counters begin at 0."""
        self._tokens = [0.0, 0.0]

    def load(self, prompt_tokens_per_s: float, generation_tokens_per_s: float, running: int = 8) -> None:
        self._advance()
        self.prompt_tokens_per_s, self.generation_tokens_per_s = prompt_tokens_per_s, generation_tokens_per_s
        self.running = running

    def text(self) -> str:
        self._advance()
        labels = '{engine="0",model_name="llama {3.1}"}'
        return "\n".join(
            (
                "# HELP vllm:num_requests_running Number of requests in model execution batches.",
                "# TYPE vllm:num_requests_running gauge",
                f"vllm:num_requests_running{labels} {float(self.running)}",
                f"vllm:num_requests_waiting{labels} {float(self.waiting)}",
                f"vllm:kv_cache_usage_perc{labels} {self.kv_usage}",
                "# TYPE vllm:prompt_tokens_total counter",
                f"vllm:prompt_tokens_total{labels} {self._tokens[0]}",
                f"vllm:generation_tokens_total{labels} {self._tokens[1]}",
                f"vllm:time_to_first_token_seconds_count{labels} {self._tokens[0] / PROMPT_TOKENS}",
                "",
            )
        )

    def _advance(self) -> None:
        now_s = time.monotonic()
        elapsed_s, self._at_s = now_s - self._at_s, now_s
        self._tokens[0] += self.prompt_tokens_per_s * elapsed_s
        self._tokens[1] += self.generation_tokens_per_s * elapsed_s

    async def _page(self, _: web.Request) -> web.Response:
        if self.is_failing:
            return web.Response(status=500)
        return web.Response(text=self.text())


class FakeApiServer:
    """LIST, WATCH and apply of the three kinds that an agent touches."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {
            "gpunodes": {},
            "energypolicies": {},
            "leases": {},
        }
        self.statuses: list[dict[str, Any]] = []
        self.refuse_with: int | None = None
        self.url = ""
        self._version = 1
        self._watchers: set[tuple[str, asyncio.Queue[dict[str, Any] | None]]] = set()
        self._runner: web.AppRunner | None = None
        self._heartbeat: asyncio.Task[None] | None = None

    async def start(self) -> None:
        app = web.Application()
        crs, leases = "/apis/joulery.dev/v1alpha1", "/apis/coordination.k8s.io/v1/namespaces/{namespace}"
        app.router.add_get(crs + "/{plural}", self._get)
        app.router.add_get(leases + "/{plural}", self._get)
        app.router.add_post(crs + "/{plural}", self._create)
        app.router.add_patch(crs + "/{plural}/{name}/status", self._apply_status)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        self.stop_heartbeat()
        self.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig (JSON is YAML) that leads here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "agent", "user": {"token": "agent"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "agent"}}],
            "current-context": "fake",
        }
        path.write_text(json.dumps(config))
        return path

    def put(self, plural: str, manifest: dict[str, Any]) -> None:
        """Create or replace an object and tell the watchers."""
        self._version += 1
        name = manifest["metadata"]["name"]
        old = self.objects[plural].get(name)
        generation = (old["metadata"]["generation"] + 1) if old else 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self._version), "generation": generation}
        self.objects[plural][name] = {**manifest, "metadata": metadata}
        self._tell(plural, "MODIFIED" if old else "ADDED", self.objects[plural][name])

    def delete(self, plural: str, name: str) -> None:
        self._tell(plural, "DELETED", self.objects[plural].pop(name))

    def put_policy(self, name: str = "default", **spec: Any) -> None:
        self.put("energypolicies", {"metadata": {"name": name}, "spec": spec})

    def put_directive(self, directive: NodeDirective) -> None:
        self.put("gpunodes", gpu_node_manifest(directive, None))

    def renew_lease(self) -> None:
        stamp = f"2026-01-01T00:00:00.{self._version:06d}Z"
        self.put("leases", {"metadata": {"name": "joulery"}, "spec": {"renewTime": stamp}})

    def start_heartbeat(self, every_s: float = 0.2) -> None:
        async def beat() -> None:
            while True:
                self.renew_lease()
                await asyncio.sleep(every_s)

        self._heartbeat = asyncio.create_task(beat())

    def stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    def end_watches(self) -> None:
        """Close every open watch, as a restarting API server does."""
        for _, queue in self._watchers:
            queue.put_nowait(None)

    def _tell(self, plural: str, kind: str, found: dict[str, Any]) -> None:
        for watched, queue in self._watchers:
            if watched == plural:
                queue.put_nowait({"type": kind, "object": found})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        plural = request.match_info["plural"]
        if self.refuse_with is not None:
            return web.json_response({"message": "refused by the test"}, status=self.refuse_with)
        if "watch" in request.query:
            return await self._watch(request, plural)
        items = list(self.objects[plural].values())
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        since = int(request.query["resourceVersion"])
        for found in self.objects[plural].values():
            if int(found["metadata"]["resourceVersion"]) > since:
                queue.put_nowait({"type": "ADDED", "object": found})
        entry = (plural, queue)
        self._watchers.add(entry)
        try:
            await response.prepare(request)
            with suppress(ConnectionError):  # the agent was killed
                while (event := await queue.get()) is not None:
                    await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watchers.discard(entry)
        return response

    async def _create(self, request: web.Request) -> web.Response:
        self.put(request.match_info["plural"], await request.json())
        return web.json_response({})

    async def _apply_status(self, request: web.Request) -> web.Response:
        plural, name = request.match_info["plural"], request.match_info["name"]
        if self.refuse_with is not None:
            return web.json_response({"message": "refused by the test"}, status=self.refuse_with)
        if name not in self.objects[plural]:
            return web.json_response({"message": f"{plural} {name} not found"}, status=404)
        self.statuses.append((await request.json())["status"])
        return web.json_response({})


class FakeNode:
    """Everything around one agent, and the agent as a process of its own."""

    def __init__(self, folder: Path, gpus: int = 4) -> None:
        self.folder = folder
        self.gpus = NodeGpus.create(folder / "gpus", NODE, gpus)
        self.kubelet = FakeKubelet(folder / "kubelet.sock")
        self.api = FakeApiServer()
        self.engines: list[FakeEngine] = []
        self.process: asyncio.subprocess.Process | None = None
        self.settings: dict[str, str] = {}
        self._physics: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.kubelet.start()
        await self.api.start()
        self._physics = asyncio.create_task(self._follow_locks())

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        if self._physics is not None:
            self._physics.cancel()
        await self.kubelet.stop()
        await self.api.stop()
        for engine in self.engines:
            await engine.stop()
        self.gpus.close()

    async def add_engine(self) -> FakeEngine:
        engine = FakeEngine()
        await engine.start()
        self.engines.append(engine)
        return engine

    async def start_agent(self) -> None:
        """Start `python -m joulery.agent` on the shim."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCE_ROOT),
            "LD_LIBRARY_PATH": str(build_shim()),
            "JOULERY_NVML_STATE": str(self.gpus.path),
            "JOULERY_NODE_NAME": NODE,
            "JOULERY_KUBECONFIG": str(self.api.kubeconfig(self.folder / "kubeconfig")),
            "JOULERY_POD_RESOURCES_SOCKET": str(self.kubelet.socket),
            "JOULERY_STATE_DIRECTORY": str(self.folder / "state"),
            "JOULERY_METRICS_PORT": "0",
            "JOULERY_REPORT_SPACING_S": "0.1",
            "JOULERY_REPORT_INTERVAL_S": "0.5",
            "JOULERY_CLOCK_EPOCH_S": "0.2",
            "JOULERY_POD_RESOURCES_INTERVAL_S": "0.2",
            "JOULERY_LOAD_WINDOW_S": "1",
            **self.settings,
        }
        with (self.folder / "agent.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "joulery.agent", env=environment, stdout=log, stderr=log
            )

    async def stop_agent(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 15)

    def lock(self, index: int = 0) -> ClockLock | None:
        return self.gpus.lock(index)

    def gpu_status(self, index: int = 0) -> dict[str, Any]:
        """The newest status entry of one GPU; empty before the first report."""
        return self.api.statuses[-1]["gpus"][index] if self.api.statuses else {}

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    async def until(self, holds: Callable[[], bool], what: str, limit_s: float = 15.0) -> None:
        """Wait for a condition that other processes bring about; fails with the agent's log."""
        end_s = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < end_s, f"not within {limit_s} s: {what}\n{self.log()}"
            await asyncio.sleep(0.02)

    async def _follow_locks(self) -> None:
        """The least of physics: a busy GPU runs at the top of its range."""
        while True:
            for index in range(len(self.gpus.uuids)):
                lock = self.gpus.lock(index)
                clock = lock.highest_mhz if lock else 1980
                shown = self.gpus.shown(index)
                self.gpus.show(index, Shown(clock, 400.0, shown.energy_j + 4.0))
            await asyncio.sleep(0.02)
