"""Builds the controller and runs it: kopf beside a supervised planner, in one process.

Exit codes: 0 after SIGTERM or SIGINT, 1 when a task ended that must not end, 2 (by the command line) for
settings that a person must mend.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

import kopf
from prometheus_client import CollectorRegistry

from joulery.adapters.kube_actuator import KubeActuator
from joulery.adapters.kube_client import KubeClient, connect
from joulery.adapters.kube_discovery import Discovery
from joulery.adapters.kube_events import KubeEvents
from joulery.adapters.kube_fleet import KubeFleet
from joulery.adapters.kube_lease import KubeLease
from joulery.adapters.kube_nodes import KubeNodes
from joulery.adapters.kube_status import KubeStatus
from joulery.adapters.kube_targets import TargetReader
from joulery.adapters.pod_load import PodLoads, with_pod_loads
from joulery.adapters.pod_watch import PodWatch
from joulery.adapters.prometheus import RATE_SCRAPES, PrometheusDemand
from joulery.adapters.prometheus_api import PrometheusAccess, PrometheusClient
from joulery.controller.deciding import Decide, Decider
from joulery.controller.following import end, follow_for_ever
from joulery.controller.health import Health, health_app, serve
from joulery.controller.login import login_with
from joulery.controller.loop import PlannerLoop, Ports
from joulery.controller.wakeup import Wakeup
from joulery.controller.watch import register
from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.errors import ClusterError
from joulery.planner.decide import Decision, decide
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.ports import Lease, Observation
from joulery.serving.catalog import PointCatalog
from joulery.settings import ControllerSettings
from joulery.telemetry.metrics import ControllerMetrics

_log = logging.getLogger(__name__)

# A third of the Lease's own duration, so that two losses in a row do no harm.
_RENEW_S = 10.0


@dataclass(frozen=True, slots=True)
class Controller:
    """The parts of a controller that run side by side."""

    loop: PlannerLoop
    pods: PodWatch
    lease: Lease
    health: Health
    metrics: ControllerMetrics
    wakeup: Wakeup


def build(client: KubeClient, settings: ControllerSettings, executor: ThreadPoolExecutor) -> Controller:
    """Everything wired; nothing runs yet."""
    discovery = Discovery(client)
    metrics = ControllerMetrics(CollectorRegistry())
    health = Health(settings.stale_after_seconds)
    wakeup = Wakeup()
    pods = PodWatch(client, wakeup.set)
    fleet = KubeFleet(client, TargetReader(client, discovery), pods)
    demand = demand_reader(settings)
    ports = Ports(
        fleet=fleet,
        demand=demand,
        actuator=KubeActuator(client, discovery),
        directives=KubeNodes(client, fleet.gpu_node, fleet.node_uid),
        status=KubeStatus(client, fleet.pool_manifest),
        events=KubeEvents(client, fleet.pool_manifest),
        clock=client.clock,
    )
    decide = decider(planner_settings(settings), lambda: demand.pod_loads)
    loop = PlannerLoop(
        ports,
        Decider(decide, executor, settings.solver_patience_seconds),
        metrics=metrics,
        health=health,
        wakeup=wakeup,
    )
    return Controller(loop, pods, KubeLease(client, settings.operator_namespace), health, metrics, wakeup)


def decider(of_planner: PlannerSettings, loads: Callable[[], PodLoads]) -> Decide:
    """The planner's one entry point with its catalogue of operating points; `loads` are the last poll's."""
    catalog = PointCatalog()

    def decided(observation: Observation, demand: Mapping[ObjectKey, Demand], history: History) -> Decision:
        return decide(
            with_pod_loads(observation.fleet, loads()),
            demand,
            observation.policies,
            observation.profiles,
            history,
            catalog=catalog,
            settings=of_planner,
            profile_problems=observation.profile_problems,
            stopwatch=time.monotonic,
        )

    return decided


def planner_settings(settings: ControllerSettings) -> PlannerSettings:
    """The planner's own, told over which window Prometheus takes its rates."""
    return PlannerSettings(rate_window_s=(RATE_SCRAPES - 1) * settings.scrape_interval_seconds)


def demand_reader(settings: ControllerSettings) -> PrometheusDemand:
    """Demand from Prometheus, over the windows of the settings."""
    client = PrometheusClient(prometheus_access(settings))
    return PrometheusDemand(client, settings.scrape_interval_seconds, settings.attainment_window_seconds)


def prometheus_access(settings: ControllerSettings) -> PrometheusAccess:
    """The part of the settings that says how Prometheus is reached."""
    return PrometheusAccess(
        url=settings.prometheus_url,
        bearer_token_file=settings.prometheus_bearer_token_file,
        ca_file=settings.prometheus_ca_file,
        tenant_header=settings.tenant_header,
        timeout_s=settings.prometheus_timeout_seconds,
        scrape_interval_s=settings.scrape_interval_seconds,
    )


async def run(settings: ControllerSettings) -> None:
    """Run until SIGTERM or until a task fails; then everything is stopped and the failure raised."""
    async with AsyncExitStack() as stack:
        client = await connect(settings.kubeconfig)
        stack.push_async_callback(client.close)
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="planner")
        # The solver has a time limit; waiting for the thread would only hold up the exit.
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        controller = build(client, settings, executor)
        if settings.metrics_port:
            app = health_app(controller.health, controller.metrics.registry)
            runner = await serve(app, settings.metrics_host, settings.metrics_port)
            stack.push_async_callback(runner.cleanup)
        await _run_beside_kopf(client, controller)


async def _run_beside_kopf(client: KubeClient, controller: Controller) -> None:
    """All side by side; the first that ends, ends the others: kopf after a signal, the rest never."""
    registry = kopf.OperatorRegistry()
    register(registry, controller.wakeup.set)
    login_with(registry, client)
    tasks = [
        asyncio.create_task(follow_for_ever(registry, controller.wakeup.set), name="kopf"),
        asyncio.create_task(controller.loop.run(), name="planner"),
        asyncio.create_task(controller.pods.run(), name="pods"),
        asyncio.create_task(keep_lease(controller.lease, controller.health, controller.loop), name="lease"),
    ]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in ended:
        task.result()


async def keep_lease(lease: Lease, health: Health, loop: PlannerLoop, *, every_s: float = _RENEW_S) -> None:
    """Renew the Lease while the planner lives: agents trust their tables as long as somebody minds them."""
    while True:
        if health.is_alive:
            try:
                await lease.renew(loop.plan_id)
            except ClusterError as error:
                _log.warning("lease not renewed", extra={"error": str(error)})
        await asyncio.sleep(every_s)


def main(settings: ControllerSettings) -> int:
    """Run the controller to its end; the exit code."""
    try:
        asyncio.run(run(settings))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except Exception:
        _log.exception("controller failed")
        return 1
    return 0
