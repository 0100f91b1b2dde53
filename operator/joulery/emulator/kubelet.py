"""One asynchronous kubelet for all emulated nodes: bound pods run from start to end.

Level-triggered: pods are listed anew at every end of the watch, so that a cut connection heals by itself.
What runs inside a pod is the `PodRuntime`'s business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from joulery.emulator.allocation import GpuAllocator
from joulery.emulator.apiserver import STRATEGIC_PATCH, ApiServer, Json, NotFoundError, until_available
from joulery.emulator.nodes import EmulatedNode, utc_now
from joulery.emulator.pods import (
    PodSpec,
    crashing_status,
    grace_left_s,
    is_finished,
    is_ready,
    read_pod,
    rejected_status,
    running_status,
)
from joulery.errors import ClusterError, ConfigError, ConflictError

# Start-up times vary by this share around the annotation's, drawn by seed; declared in every summary.
STARTUP_JITTER = 0.10
_PODS = "/api/v1/pods"
_BOUND = "spec.nodeName!="
_RELIST_PAUSE_S = 0.2


class PodRuntime(Protocol):
    """What happens inside pods."""

    def start(self, pod: PodSpec, gpus: tuple[int, ...]) -> str:
        """Begin loading on these GPUs; the pod's address.

        Raises:
            ConfigError: the pod's arguments do not make an engine; it will crash and never be ready.
        """

    async def listen(self, uid: str) -> None:
        """The start-up is over: answer at the pod's address."""

    def take_requests(self, uid: str) -> None:
        """The pod is known to be ready: traffic may come."""

    async def drain(self, uid: str) -> None:
        """Take no new requests; return when the running ones are finished, at once for an unknown pod."""

    def stop(self, uid: str) -> None:
        """End at once; unknown pods are ignored."""


@dataclass(slots=True)
class _Run:
    """One pod in the kubelet's hands; `deadline_s` is on the event loop's clock, `ready` its status once it serves."""

    pod: PodSpec
    gpus: tuple[int, ...]
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    deadline_s: float = float("inf")
    drain: asyncio.Timeout | None = None
    task: asyncio.Task[None] | None = None
    ready: Json | None = None

    def end_within(self, grace_s: float) -> None:
        """The pod is being deleted; a later, shorter grace period wins. An engine that waits less ends sooner."""
        left_s = min(grace_s, self.pod.waits_s)
        self.deadline_s = min(self.deadline_s, asyncio.get_running_loop().time() + left_s)
        self.ending.set()
        if self.drain is not None:
            self.drain.reschedule(self.deadline_s)


class Kubelet:
    """Runs all pods bound to its nodes while `run` runs; cancelling it ends them locally only."""

    def __init__(
        self,
        server: ApiServer,
        nodes: Sequence[EmulatedNode],
        runtime: PodRuntime,
        *,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self._server = server
        self._runtime = runtime
        self._report = report
        self._random = random.Random(seed)
        self._allocators = {node.name: GpuAllocator(len(node.gpu_uuids)) for node in nodes}
        self._runs: dict[str, _Run] = {}

    def running(self, node: str) -> list[tuple[PodSpec, tuple[int, ...]]]:
        """Pods of one node with the GPU indices they hold."""
        return [(run.pod, run.gpus) for run in self._runs.values() if run.pod.node == node]

    async def run(self) -> None:
        """List and watch for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    version = await self._list(group)
                    async for kind, manifest in self._server.watch(_PODS, version, fieldSelector=_BOUND):
                        self._see(kind, manifest, group)
                except ClusterError as error:
                    self._report(f"pods are listed anew: {error}")
                    await asyncio.sleep(_RELIST_PAUSE_S)

    async def _list(self, group: asyncio.TaskGroup) -> str:
        pods = await self._server.get(_PODS, fieldSelector=_BOUND)
        present = {manifest["metadata"]["uid"] for manifest in pods["items"]}
        for uid in [uid for uid in self._runs if uid not in present]:
            self._forget(uid)
        for manifest in pods["items"]:
            self._see("ADDED", manifest, group)
        return str(pods["metadata"]["resourceVersion"])

    def _see(self, kind: str, manifest: Mapping[str, Any], group: asyncio.TaskGroup) -> None:
        uid = manifest["metadata"]["uid"]
        if kind == "DELETED":
            self._forget(uid)
            return
        if uid not in self._runs and self._is_ours(manifest):
            self._admit(manifest, group)
        run, grace_s = self._runs.get(uid), grace_left_s(manifest)
        if run is not None and grace_s is not None:
            run.end_within(grace_s)
        elif run is not None and run.ready is not None and not is_ready(manifest):
            group.create_task(self._tell_again(run, run.ready), name=f"status of pod {run.pod.key}")

    def _is_ours(self, manifest: Mapping[str, Any]) -> bool:
        return manifest["spec"].get("nodeName") in self._allocators and not is_finished(manifest)

    def _admit(self, manifest: Mapping[str, Any], group: asyncio.TaskGroup) -> None:
        pod = read_pod(manifest)
        gpus = self._allocators[pod.node].allocate(pod.uid, pod.gpus)
        run = _Run(pod, gpus or ())
        self._runs[pod.uid] = run
        life = self._reject(run) if gpus is None else self._live(run)
        run.task = group.create_task(self._guarded(run, life), name=f"pod {pod.key}")

    def _forget(self, uid: str) -> None:
        """The object is gone, by our own delete or by force: whatever still runs ends now."""
        run = self._runs.pop(uid, None)
        if run is None:
            return
        self._release(run)
        if run.task is not None:
            run.task.cancel()

    def _release(self, run: _Run) -> None:
        self._runtime.stop(run.pod.uid)
        self._allocators[run.pod.node].release(run.pod.uid)
        run.gpus = ()

    async def _guarded(self, run: _Run, life: Coroutine[Any, Any, None]) -> None:
        """A pod's life; one that the API server does not know any more ends."""
        try:
            await life
        except (NotFoundError, ConflictError):
            self._release(run)
        except ClusterError as error:
            self._report(f"pod {run.pod.key} is stopped, the API server refused its status: {error}")
            self._release(run)
        finally:
            self._runtime.stop(run.pod.uid)

    async def _reject(self, run: _Run) -> None:
        problem = f"allocate failed: {run.pod.gpus} GPUs requested, fewer are free on {run.pod.node}"
        await self._write(run.pod, rejected_status(problem))

    async def _live(self, run: _Run) -> None:
        started = utc_now()
        try:
            address = self._runtime.start(run.pod, run.gpus)
        except ConfigError as error:
            await self._write(run.pod, crashing_status(run.pod, started, str(error)))
        else:
            await self._write(run.pod, running_status(run.pod, address, started, ready=False))
            if await self._loads(run):
                await self._runtime.listen(run.pod.uid)
                run.ready = running_status(run.pod, address, started, ready=True)
                await self._write(run.pod, run.ready)
                self._runtime.take_requests(run.pod.uid)
        await run.ending.wait()
        await self._end(run)

    async def _tell_again(self, run: _Run, ready: Json) -> None:
        """The node controller calls pods of a node not ready that was away; the kubelet knows better."""
        try:
            await self._write(run.pod, ready)
        except ClusterError as error:
            self._report(
                f"pod {run.pod.key} stays as others call it, the API server refused its status: {error}"
            )

    async def _loads(self, run: _Run) -> bool:
        """Wait for the start-up time; False where the pod is deleted meanwhile."""
        spread = 1.0 + STARTUP_JITTER * self._random.uniform(-1.0, 1.0)
        try:
            async with asyncio.timeout(run.pod.startup_s * spread):
                await run.ending.wait()
        except TimeoutError:
            return True
        return False

    async def _end(self, run: _Run) -> None:
        """Graceful termination: drain within the grace period, free the GPUs, then delete the object."""
        try:
            async with asyncio.timeout_at(run.deadline_s) as run.drain:
                await self._runtime.drain(run.pod.uid)
        except TimeoutError:
            self._report(
                f"pod {run.pod.key} was ended with requests running, after its grace period or without a drain"
            )
        run.drain = None
        self._release(run)
        await until_available(lambda: self._server.delete(run.pod.path, uid=run.pod.uid, grace_s=0))

    async def _write(self, pod: PodSpec, status: Json) -> None:
        body = {"metadata": {"uid": pod.uid}, "status": status}
        await until_available(lambda: self._server.patch(f"{pod.path}/status", body, STRATEGIC_PATCH))
