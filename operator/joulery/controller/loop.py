"""The cycle: observe, measure, decide, remember, act, direct, tell.

One task, single flight. Events wake it, bursts are debounced, and an interval is the backstop, so that
nothing depends on an event having arrived. Expected trouble is a verdict in log and readiness, never an
exception.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from joulery.adapters.kube_errors import MissingKindError
from joulery.controller.health import Health
from joulery.controller.reports import joules_per_token, reports_of
from joulery.controller.transitions import Transitions
from joulery.controller.wakeup import Wakeup
from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.policy import Cadence, cluster_wide
from joulery.domain.report import PoolReport
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError, ForbiddenError
from joulery.planner.decision import Decision
from joulery.planner.history import History
from joulery.ports import (
    Actuator,
    DemandReader,
    DirectiveWriter,
    EventSink,
    FleetReader,
    Observation,
    StatusWriter,
    WallClock,
    WriteOutcome,
)
from joulery.telemetry.logs import PLAN_ID
from joulery.telemetry.metrics import ControllerMetrics, PoolFigures

_log = logging.getLogger(__name__)

Decide = Callable[[Observation, Mapping[ObjectKey, Demand], History], Decision]

_RETRY_FIRST_S = 1.0
_RETRY_LONGEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside that the loop speaks to."""

    fleet: FleetReader
    demand: DemandReader
    actuator: Actuator
    directives: DirectiveWriter
    status: StatusWriter
    events: EventSink
    clock: WallClock


class PlannerLoop:
    """Runs cycles for ever; `decide` is pure and runs in a one-thread executor."""

    def __init__(
        self,
        ports: Ports,
        decide: Decide,
        *,
        executor: Executor,
        metrics: ControllerMetrics,
        health: Health,
        wakeup: Wakeup,
    ) -> None:
        self._ports = ports
        self._decide = decide
        self._executor = executor
        self._metrics = metrics
        self._health = health
        self._wakeup = wakeup
        self._history: History | None = None
        self._cadence = Cadence()
        self._polled: tuple[float, Mapping[ObjectKey, Demand]] = (float("-inf"), {})
        self._transitions = Transitions()
        self.plan_id: str | None = None

    async def run(self) -> None:
        """Cycles for ever, each after a wake or the poll interval; after trouble sooner, with backoff."""
        retry_s = _RETRY_FIRST_S
        while True:
            problem = await self.run_guarded_cycle()
            if problem is None:
                retry_s = _RETRY_FIRST_S
                await self._wakeup.wait(self._cadence.demand_poll_s)
            else:
                await asyncio.sleep(retry_s)
                retry_s = min(2.0 * retry_s, _RETRY_LONGEST_S)

    async def run_guarded_cycle(self) -> Verdict | None:
        """One cycle; the verdict on what kept it from being whole, None where nothing did."""
        self._wakeup.clear()
        try:
            problem = await self.run_cycle()
        except ClusterError as error:
            problem = verdict_of(error)
        except Exception as error:  # the one broad catch: a bug in one cycle must not end the operator
            self._metrics.unexpected_errors.labels(type(error).__name__).inc()
            _log.exception("cycle failed")
            problem = Verdict("UnexpectedError", f"{type(error).__name__}: {error}")
        self._metrics.cycles.labels(reasons.READY if problem is None else problem.reason).inc()
        if problem is not None and problem != self._health.problem:
            _log.warning("cycle held up", extra={"reason": problem.reason, "detail": problem.message})
        self._health.beat(problem)
        return problem

    async def run_cycle(self) -> Verdict | None:
        """One cycle, top to bottom. Raises ClusterError where the cluster cannot be read."""
        started_s = time.monotonic()

        # 1. Observe: one LIST snapshot, converted.
        with self._timed("observe"):
            observation = await self._ports.fleet.read()
        self._follow_policies(observation)

        # 2. Measure: demand of all pools, polled when due.
        with self._timed("demand"):
            demand = await self._demand(observation)

        # 3. Decide: pure, off the event loop.
        with self._timed("decide"):
            before = self._history or History.restored(observation.memories)
            decision = await self._decided(observation, demand, before)
        if decision.plan.made_at_s == observation.fleet.observed_at_s:
            self._metrics.plans.labels(decision.plan.kind.value).inc()
        self.plan_id = decision.plan.id
        PLAN_ID.set(decision.plan.id)

        # 4. Remember: the restart block stands in status before the action that it guards.
        with self._timed("remember"):
            reports = reports_of(observation, demand, decision, {})
            told = await self._ports.status.write(reports)
            await self._ports.status.write_rejected(observation.rejected)

        # 5. Act: only for pools whose restart block is written.
        with self._timed("act"):
            safe = [change for change in decision.changes if told[change.pool].done]
            scaled = await self._scale(safe, decision.step_id)
        undone = {change.pool for change in decision.changes} - {c.pool for c, o in scaled if o.done}
        self._history = without_memory_of(undone, decision.history, before)

        # 6. Direct: clock tables to the node agents.
        with self._timed("direct"):
            directed = await self._ports.directives.write(decision.directives)

        # 7. Tell: what went wrong to status, news to Events, figures to metrics.
        with self._timed("tell"):
            failed = {change.pool: outcome.verdict for change, outcome in scaled if not outcome.done}
            if failed:
                reports = reports_of(observation, demand, decision, failed)
                await self._ports.status.write([r for r in reports if r.pool in failed])
            await self._tell(observation, demand, reports, scaled, decision.notices)
            await self._tell_adoptions(decision, scaled)
        self._log_cycle(decision, scaled, directed, time.monotonic() - started_s)
        return _problem(told)

    def _follow_policies(self, observation: Observation) -> None:
        policy = cluster_wide(observation.policies)
        self._cadence = policy.cadence if policy is not None else Cadence()
        for problem in self._transitions.new_policy_problems(observation.policy_problems):
            _log.warning("policy not understood", extra={"detail": problem})

    async def _demand(self, observation: Observation) -> Mapping[ObjectKey, Demand]:
        """Demand, polled when due: a cycle woken between two polls would only read the same sample twice."""
        polled_s, demand = self._polled
        pools = [state.pool for state in observation.fleet.pools]
        now_s = self._ports.clock.now_s()
        # A tenth of slack, since a cycle's own time shifts the next one.
        due = now_s - polled_s >= 0.9 * self._cadence.demand_poll_s
        if due or any(pool.key not in demand for pool in pools):
            demand = await self._ports.demand.read(pools, now_s)
            self._polled = (now_s, demand)
        return demand

    async def _decided(
        self, observation: Observation, demand: Mapping[ObjectKey, Demand], history: History
    ) -> Decision:
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._decide, observation, demand, history
        )

    async def _scale(
        self, changes: Sequence[ScaleChange], step_id: str
    ) -> list[tuple[ScaleChange, WriteOutcome]]:
        """One after the other in the planner's order: room before need, and what finds room hardest first."""
        scaled: list[tuple[ScaleChange, WriteOutcome]] = []
        polled_s, _ = self._polled
        for change in changes:
            outcome = await self._ports.actuator.scale(change, step_id)
            scaled.append((change, outcome))
            self._metrics.record_scale(change, reason=outcome.verdict.reason, done=outcome.done)
            if outcome.done:
                self._metrics.change_latency_seconds.observe(max(0.0, self._ports.clock.now_s() - polled_s))
            else:
                # The snapshot was wrong by then: look again soon.
                self._wakeup.set()
        return scaled

    async def _tell(
        self,
        observation: Observation,
        demand: Mapping[ObjectKey, Demand],
        reports: Sequence[PoolReport],
        scaled: Sequence[tuple[ScaleChange, WriteOutcome]],
        notices: Mapping[ObjectKey, Sequence[Verdict]],
    ) -> None:
        news = self._transitions.news(reports, observation.rejected)
        emit = self._ports.events.emit
        await asyncio.gather(
            *(emit(change.pool, outcome.verdict, warning=not outcome.done) for change, outcome in scaled),
            *(emit(pool, finding.verdict, warning=finding.status != "True") for pool, finding in news),
            *(
                emit(pool, v, warning=v.reason == reasons.REQUESTS_LOST)
                for pool, vs in notices.items()
                for v in vs
            ),
        )
        self._metrics.record_pools(
            PoolFigures(r, demand.get(r.pool), joules_per_token(r.measured_w, demand.get(r.pool)))
            for r in reports
        )

    async def _tell_adoptions(
        self, decision: Decision, scaled: Sequence[tuple[ScaleChange, WriteOutcome]]
    ) -> None:
        """Events for replicas that were taken over, where the write took effect."""
        for change, outcome in scaled:
            verdict = decision.adoptions.get((change.pool, change.variant))
            if outcome.done and verdict is not None:
                await self._ports.events.emit(change.pool, verdict)

    def _log_cycle(
        self,
        decision: Decision,
        scaled: Sequence[tuple[ScaleChange, WriteOutcome]],
        directed: Mapping[str, WriteOutcome],
        seconds: float,
    ) -> None:
        self._metrics.last_cycle_seconds.set(self._ports.clock.now_s())
        _log.info(
            "cycle",
            extra={
                "kind": decision.plan.kind.value,
                "engine": decision.plan.engine,
                "status": decision.plan.status,
                "pools": len(decision.findings),
                "cost_w": round(decision.plan.cost_w, 1),
                "changes": len(scaled),
                "changes_done": sum(outcome.done for _, outcome in scaled),
                "nodes_directed": sum(outcome.done for outcome in directed.values()),
                "seconds": round(seconds, 3),
            },
        )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        with self._metrics.phase_seconds.labels(phase).time():
            yield


def without_memory_of(undone: Collection[ObjectKey], after: History, before: History) -> History:
    """The history after a cycle, but what was not carried out is not remembered as done."""
    taken_back = {
        key: replace(past, memory=before.pool(key, past.first_seen_s).memory) if key in undone else past
        for key, past in after.pools.items()
    }
    return replace(after, pools=taken_back)


def verdict_of(error: ClusterError) -> Verdict:
    """Why the cluster could not be read."""
    if isinstance(error, MissingKindError):
        return Verdict(reasons.CRD_MISSING, str(error))
    if isinstance(error, ForbiddenError):
        return Verdict(reasons.FORBIDDEN, f"{error}; apply the RBAC of this release")
    return Verdict(reasons.API_UNAVAILABLE, str(error))


def _problem(told: Mapping[ObjectKey, WriteOutcome]) -> Verdict | None:
    """The first status that could not be written, or that an older CRD kept incomplete."""
    for outcome in told.values():
        if not outcome.done or outcome.verdict.reason == reasons.SCHEMA_SKEW:
            return outcome.verdict
    return None
