"""The agent's process: wiring, the epochs' rhythm, and an end that leaves default clocks."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from pydantic import ValidationError

from joulery.agent.board import GpuBoard
from joulery.agent.engine_metrics import EngineMetricsReader
from joulery.agent.kube import AgentCluster, connect
from joulery.agent.loop import ClockLoop, Ports
from joulery.agent.metrics import AgentMetrics
from joulery.agent.nvml import Nvml, NvmlGpu
from joulery.agent.pod_resources import PodResources
from joulery.agent.probes import serve
from joulery.agent.publish import Publisher
from joulery.agent.report import Reporter, readiness
from joulery.agent.settings import AgentSettings
from joulery.agent.state import StateFile, read_boot_id
from joulery.agent.watch import NodePicture, followers
from joulery.agent.worker import DeviceWorker
from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.errors import ConfigError, DeviceError
from joulery.telemetry.logs import PLAN_ID, configure

_LOG = logging.getLogger(__name__)
# A change of the spec is followed at once, but a burst of them not each.
_SHORTEST_EPOCH_S = 0.1
_STARTING_EPOCH_S = 1.0
# Opening a driver takes a second on a cold node; nvmlInit was seen to hang for ever.
_OPEN_LIMIT_S = 30.0
_FAILED_EPOCHS_LIMIT = 5
# Longer than an epoch in which every bounded call runs into its limit.
_QUIET_LIMIT_S = 30.0
_STOPPING = Verdict(reasons.CLOCK_RESET, "the agent stops: default clocks until it is back")


def main() -> int:
    """Read the settings from the environment and run; 2 where a setting is wrong."""
    try:
        # pydantic-settings fills the fields from the environment, which mypy does not see.
        settings = AgentSettings()  # type: ignore[call-arg]
    except ValidationError as error:
        configure()
        for problem in error.errors(include_url=False):
            name = "JOULERY_" + "_".join(str(part) for part in problem["loc"]).upper()
            _LOG.error("setting %s: %s", name, problem["msg"])
        return 2
    configure(settings.log_level)
    return asyncio.run(run(settings))


async def run(settings: AgentSettings) -> int:
    """Run until SIGTERM or SIGINT; the exit code is 0 when every GPU of ours was reset."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with AsyncExitStack() as stack:
            agent = await Agent.start(settings, stack)
            return await agent.run(stop)
    except (ConfigError, DeviceError, OSError) as error:
        _LOG.error("the agent cannot run: %s", error)
        return 1


class Agent:
    """A started agent."""

    def __init__(self, settings: AgentSettings, ports: Ports, reporter: Reporter) -> None:
        self._settings = settings
        self._ports = ports
        self._reporter = reporter
        self._publisher = Publisher(ports.metrics)
        self._loop = ClockLoop(ports, settings)
        self._epoch_ended_s = time.monotonic()
        self._ready = Verdict(reasons.NOT_READY, "no epoch has run yet")

    @classmethod
    async def start(cls, settings: AgentSettings, stack: AsyncExitStack) -> Agent:
        """Open everything, the driver first. Raises ConfigError, DeviceError, OSError."""
        boot_id = read_boot_id(settings.boot_id_file)
        metrics = AgentMetrics()
        nvml, devices = await _open_driver()
        # Closed last, after the resets: an open NVML would keep the driver from being unloaded.
        stack.callback(nvml.close)
        workers = [DeviceWorker(device, settings.device_limit_s) for device in devices]
        board = GpuBoard(workers, StateFile(settings.state_directory, boot_id), metrics)
        stack.callback(board.stop)
        cluster = await connect(settings.kubeconfig)
        stack.push_async_callback(cluster.close)
        pods = PodResources(settings.pod_resources_socket, settings.pod_resources_limit_s)
        stack.push_async_callback(pods.close)
        engines = EngineMetricsReader(settings.engine_limit_s)
        stack.push_async_callback(engines.close)
        picture = NodePicture(settings.node_name, time.monotonic())
        await stack.enter_async_context(_following(cluster, picture, settings))
        ports = Ports(picture, pods, engines, board, metrics)
        agent = cls(settings, ports, Reporter(cluster, settings, boot_id))
        if settings.metrics_port:
            page = await agent._serve()
            stack.push_async_callback(page.cleanup)
        _LOG.info("agent started: %d GPUs, driver %s, boot %s", len(devices), nvml.driver_version(), boot_id)
        return agent

    async def run(self, stop: asyncio.Event) -> int:
        """Epochs until `stop`, then resets; 1 where epochs keep failing or a GPU could not be reset."""
        failed = 0
        while not stop.is_set() and failed < _FAILED_EPOCHS_LIMIT:
            began_s = time.monotonic()
            try:
                await self._epoch()
                failed = 0
            except Exception:
                # The one place: an unforeseen error costs an epoch, five in a row the process.
                failed += 1
                self._ports.metrics.failed_epochs.inc()
                _LOG.exception("epoch failed, %d in a row", failed)
            await self._pause(began_s, stop)
        return await self._end(failed)

    async def _epoch(self) -> None:
        ports = self._ports
        ports.picture.changed.clear()
        PLAN_ID.set(ports.picture.directive.plan_id if ports.picture.directive else None)
        with ports.metrics.epoch.time():
            await self._loop.run_epoch()
        ports.metrics.epochs.inc()
        self._ready = readiness(ports.board.records, ports.picture.problems, self._loop.pod_problem)
        self._publisher.publish(ports.board.records, is_ready=self._ready.reason == reasons.READY)
        self._epoch_ended_s = time.monotonic()
        self._reporter.report_soon(ports.board.records, ports.picture, self._ready, self._epoch_ended_s)

    async def _pause(self, began_s: float, stop: asyncio.Event) -> None:
        """Until the next epoch is due, the spec has changed or the end has come."""
        spent_s = time.monotonic() - began_s
        if await _is_set_within(stop, max(0.0, _SHORTEST_EPOCH_S - spent_s)):
            return
        left_s = self._epoch_s() - (time.monotonic() - began_s)
        if left_s > 0:
            waits = [asyncio.create_task(event.wait()) for event in (stop, self._ports.picture.changed)]
            await asyncio.wait(waits, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    def _epoch_s(self) -> float:
        """From one epoch to the next; short while the node's objects are still coming in."""
        epoch_s = self._settings.clock_epoch_s or self._ports.picture.cadence.clock_epoch_s
        return epoch_s if self._ports.picture.is_complete else min(epoch_s, _STARTING_EPOCH_S)

    async def _end(self, failed: int) -> int:
        """Reset what is ours, in parallel and bounded; tell the API server if it listens."""
        is_reset = False
        try:
            async with asyncio.timeout(self._settings.stop_limit_s):
                is_reset = await self._ports.board.reset_all(_STOPPING)
                await self._reporter.farewell(self._ports.board.records, self._ports.picture, _STOPPING)
        except TimeoutError:
            _LOG.error("stopping took longer than %g s", self._settings.stop_limit_s)
        if not is_reset:
            _LOG.error("some GPUs could not be reset; the next start does it")
        return 0 if is_reset and failed < _FAILED_EPOCHS_LIMIT else 1

    async def _serve(self) -> web.AppRunner:
        return await serve(
            self._settings.metrics_host,
            self._settings.metrics_port,
            self._ports.metrics.registry,
            alive=self._alive,
            ready=lambda: None if self._ready.reason == reasons.READY else self._ready,
        )

    def _alive(self) -> Verdict | None:
        """Dead when no epoch has ended for ten of them, which no bounded call explains."""
        limit_s = max(_QUIET_LIMIT_S, 10 * self._epoch_s())
        age_s = time.monotonic() - self._epoch_ended_s
        return Verdict(reasons.AGENT_FAILED, f"no epoch for {age_s:.0f} s") if age_s > limit_s else None


async def _open_driver() -> tuple[Nvml, tuple[NvmlGpu, ...]]:
    """Initialise NVML in a thread: it may hang."""

    def opened() -> tuple[Nvml, tuple[NvmlGpu, ...]]:
        nvml = Nvml()
        return nvml, nvml.devices()

    try:
        async with asyncio.timeout(_OPEN_LIMIT_S):
            return await asyncio.to_thread(opened)
    except TimeoutError as error:
        raise DeviceError(
            f"NVML did not open within {_OPEN_LIMIT_S:.0f} s; restart the node's driver"
        ) from error


@asynccontextmanager
async def _following(
    cluster: AgentCluster, picture: NodePicture, settings: AgentSettings
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(f.run()) for f in followers(cluster, picture, settings.operator_namespace)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _is_set_within(event: asyncio.Event, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            return await event.wait()
    except TimeoutError:
        return False
