"""Fakes of the ports, and builders with valid defaults: each test states only what matters to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from joulery.controller.deciding import Decider
from joulery.controller.health import Health
from joulery.controller.loop import PlannerLoop, Ports
from joulery.controller.wakeup import Wakeup
from joulery.domain import reasons
from joulery.domain.demand import Demand, LatencyReport
from joulery.domain.fleet import Fleet, NodeState, PoolState, Replica, ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.memory import PoolMemory
from joulery.domain.plan import NodeDirective, Plan, PlanKind, PoolPlan, ScaleChange
from joulery.domain.pool import DemandSource, Engine, Knob, Mode, Pool, Variant
from joulery.domain.report import PoolReport
from joulery.domain.request_class import DEFAULT_CLASSES
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.errors import ClusterError
from joulery.planner.decision import Decision
from joulery.planner.history import History, PoolHistory
from joulery.ports import Observation, Rejected, WriteOutcome
from joulery.telemetry.metrics import ControllerMetrics

CHAT = ObjectKey("llm", "chat")
NOW_S = 1_800_000_000.0


def finding(condition: ConditionType, reason: str, *, good: bool = True) -> Finding:
    status = ConditionStatus.TRUE if good else ConditionStatus.FALSE
    return Finding(condition, status, Verdict(reason, f"{reason} in a test"))


STANDING = (
    finding(ConditionType.METRICS_AVAILABLE, reasons.METRICS_FRESH),
    finding(ConditionType.ACTUATED, reasons.ACTUATED),
)


def variant(name: str = "tp4", *, tp: int = 4, target: TargetRef | None = None) -> Variant:
    ref = target or TargetRef("apps/v1", "Deployment", f"chat-{name}")
    return Variant(name, ref, "H100-SXM-80GB", tp, 2048, 256, 0, 8, 120.0)


def pool(
    key: ObjectKey = CHAT,
    *,
    mode: Mode = Mode.ACT,
    matchers: Mapping[str, str] | None = None,
    **fields: object,
) -> Pool:
    base = Pool(
        key=key,
        uid=f"uid-{key}",
        generation=1,
        profile_name="llama-3.1-70b-fp8",
        engine=Engine("VLLM", "0.11.0"),
        classes=DEFAULT_CLASSES,
        variants=(variant(),),
        demand_source=DemandSource("llama", tuple((matchers or {}).items())),
        mode=mode,
        knobs=frozenset(Knob),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def replica(name: str, *, phase: ReplicaPhase = ReplicaPhase.READY, node: str = "node-0") -> Replica:
    return Replica(name, f"uid-{name}", phase, NOW_S - 600, node, "127.1.0.1", NOW_S - 480)


def observation(
    pools: Sequence[Pool] = (), *, desired: int = 2, hold: Verdict | None = None, **fields: object
) -> Observation:
    states = tuple(
        PoolState(
            p,
            tuple(
                VariantState(v.name, desired, tuple(replica(f"{v.name}-{i}") for i in range(desired)), hold)
                for v in p.variants
            ),
        )
        for p in pools or (pool(),)
    )
    nodes = (NodeState("node-0", "H100-SXM-80GB", 8, 0, agent_ready=True),)
    base = Observation(Fleet(NOW_S, states, nodes), (), {}, {}, (), {}, {})
    return replace(base, **fields)  # type: ignore[arg-type]


def demand(key: ObjectKey = CHAT, rate: float = 4.0, **fields: object) -> Demand:
    base = Demand(key, NOW_S, rate, rate * 1000, rate * 200, 20.0, 0.0)
    return replace(base, **fields)  # type: ignore[arg-type]


def scale_up(key: ObjectKey = CHAT, *, seen: int = 2, want: int = 3, of: str = "tp4") -> ScaleChange:
    target = TargetRef("apps/v1", "Deployment", f"chat-{of}")
    return ScaleChange(key, of, target, seen, want, reasons.SCALE_UP, "load rises")


def decision(
    *changes: ScaleChange,
    plan_id: str = "p-1",
    pools: Sequence[PoolPlan] = (),
    findings: Mapping[ObjectKey, tuple[Finding, ...]] | None = None,
    memory: PoolMemory | None = None,
    directives: Sequence[NodeDirective] = (),
) -> Decision:
    plan = Plan(plan_id, PlanKind.EPOCH, NOW_S, tuple(pools), 100.0, 100.0, "milp", "Optimal")
    remembered = PoolHistory(NOW_S, memory or PoolMemory(plan_id=plan_id))
    return Decision(
        plan=plan,
        changes=changes,
        directives=tuple(directives),
        findings=findings if findings is not None else {CHAT: STANDING},
        decisions={},
        history=History(pools={CHAT: remembered}),
        step_id=f"{plan_id}-step",
    )


@dataclass
class FakeFleet:
    """Hands out observations in turn, the last one for ever; raises `error` while it is set."""

    observations: list[Observation]
    error: ClusterError | None = None
    reads: asyncio.Queue[int] = field(default_factory=asyncio.Queue)

    async def read(self) -> Observation:
        self.reads.put_nowait(1)
        if self.error is not None:
            raise self.error
        return self.observations[0] if len(self.observations) == 1 else self.observations.pop(0)


@dataclass
class FakeDemand:
    """The same demand for every pool asked for."""

    rate: float = 4.0
    problem: Verdict | None = None
    latency: LatencyReport | None = None
    polls: int = 0

    async def read(self, pools: Sequence[Pool], now_s: float) -> Mapping[ObjectKey, Demand]:
        self.polls += 1
        fields = {"observed_at_s": now_s, "problem": self.problem, "latency": self.latency}
        return {p.key: demand(p.key, self.rate, **fields) for p in pools}


@dataclass
class Journal:
    """What was written, in order, across all fakes."""

    entries: list[tuple[str, object]] = field(default_factory=list)

    def of(self, kind: str) -> list[object]:
        return [entry for name, entry in self.entries if name == kind]

    @property
    def kinds(self) -> list[str]:
        return [name for name, _ in self.entries]


@dataclass
class FakeActuator:
    """Notes changes; refuses them with `refusal` while it is set."""

    journal: Journal
    refusal: Verdict | None = None

    async def scale(self, change: ScaleChange, plan_id: str) -> WriteOutcome:
        self.journal.entries.append(("scale", (change, plan_id)))
        if self.refusal is not None:
            return WriteOutcome(False, self.refusal)
        return WriteOutcome(True, Verdict(change.reason, change.message))


@dataclass
class FakeDirectives:
    """Notes directives."""

    journal: Journal

    async def write(self, directives: Sequence[NodeDirective]) -> Mapping[str, WriteOutcome]:
        self.journal.entries += [("directive", d) for d in directives]
        return {d.node: WriteOutcome(True, Verdict(reasons.ACTUATED, "written")) for d in directives}


@dataclass
class FakeStatus:
    """Notes reports; fails with `failure` while it is set."""

    journal: Journal
    failure: Verdict | None = None

    async def write(self, reports: Sequence[PoolReport]) -> Mapping[ObjectKey, WriteOutcome]:
        self.journal.entries += [("status", r) for r in reports]
        return {r.pool: self._outcome() for r in reports}

    async def write_rejected(self, rejected: Sequence[Rejected]) -> Mapping[ObjectKey, WriteOutcome]:
        self.journal.entries += [("rejected", r) for r in rejected]
        return {r.pool: self._outcome() for r in rejected}

    def _outcome(self) -> WriteOutcome:
        if self.failure is not None:
            return WriteOutcome(False, self.failure)
        return WriteOutcome(True, Verdict(reasons.ACTUATED, "written"))


@dataclass
class FakeEvents:
    """Notes Events."""

    journal: Journal

    async def emit(self, pool: ObjectKey, verdict: Verdict, *, warning: bool = False) -> None:
        self.journal.entries.append(("event", (pool, verdict, warning)))


@dataclass
class FakeClock:
    """Time that tests turn."""

    at_s: float = NOW_S

    def now_s(self) -> float:
        return self.at_s


class Rig:
    """A loop on fakes, with every fake at hand. `decide` may be replaced."""

    def __init__(self, *observations: Observation, decide: Callable[..., Decision] | None = None) -> None:
        self.journal = Journal()
        self.fleet = FakeFleet(list(observations) or [observation()])
        self.demand = FakeDemand()
        self.actuator = FakeActuator(self.journal)
        self.status = FakeStatus(self.journal)
        self.clock = FakeClock()
        self.health = Health(60.0, self.clock.now_s)
        self.metrics = ControllerMetrics(CollectorRegistry())
        self.wakeup = Wakeup(debounce_s=0.0)
        self.decided: list[tuple[object, ...]] = []
        self.decide = decide or (lambda *_: decision())
        self.executor = ThreadPoolExecutor(max_workers=1)
        ports = Ports(
            self.fleet,
            self.demand,
            self.actuator,
            FakeDirectives(self.journal),
            self.status,
            FakeEvents(self.journal),
            self.clock,
        )
        self.loop = PlannerLoop(
            ports,
            Decider(self._decide, self.executor),
            metrics=self.metrics,
            health=self.health,
            wakeup=self.wakeup,
        )

    def _decide(self, *arguments: object) -> Decision:
        self.decided.append(arguments)
        return self.decide(*arguments)

    async def run_cycles(self, count: int) -> None:
        """Run the loop itself until so many snapshots were read; wakes nothing."""
        running = asyncio.create_task(self.loop.run())
        try:
            async with asyncio.timeout(5.0):
                for _ in range(count):
                    await self.fleet.reads.get()
        finally:
            running.cancel()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)
