"""Builders of snapshots, demand and policies with valid defaults, and a catalog of made-up operating
points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from joulery.domain.demand import Demand, LengthHistogram
from joulery.domain.drain import Drain
from joulery.domain.fleet import Fleet, NodeState, PoolState, Replica, ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.ownership import Claim
from joulery.domain.policy import Cadence, ClockBounds, Guardrails, Policy
from joulery.domain.pool import DemandSource, Engine, Knob, Mode, Pool, Variant
from joulery.domain.request_class import DEFAULT_CLASSES, Objective
from joulery.domain.verdict import Verdict
from joulery.planner.decide import Decision, decide
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.serving.mix import LengthMix
from joulery.serving.parameters import HeldOutError
from joulery.serving.points import LOAD_GRID, OperatingPoints

H100 = "H100-SXM-80GB"
CHAT = ObjectKey("team", "chat")
START_S = 1_715_472_000.0
CLOCKS_MHZ = (1200, 1395, 1590, 1785, 1980)
ALL_KNOBS = frozenset(Knob)


def variant(tp: int, **changes: object) -> Variant:
    """A variant `tpN` of so many H100."""
    plain = Variant(
        name=f"tp{tp}",
        target=TargetRef("apps/v1", "Deployment", f"chat-tp{tp}"),
        accelerator=H100,
        tensor_parallel_size=tp,
        token_budget=512,
        max_num_seqs=256,
        min_replicas=0,
        max_replicas=12,
        startup_s=120.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def pool(key: ObjectKey = CHAT, **changes: object) -> Pool:
    """A pool in Act with all knobs and TP 2, 4 and 8."""
    plain = Pool(
        key=key,
        uid=f"uid-{key.name}",
        generation=1,
        profile_name="model",
        engine=Engine("VLLM", "0.11.0"),
        classes=DEFAULT_CLASSES,
        variants=(variant(2), variant(4), variant(8)),
        demand_source=DemandSource("model"),
        mode=Mode.ACT,
        knobs=ALL_KNOBS,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def policy(**changes: object) -> Policy:
    """The cluster-wide policy, which lets pools act on all clocks of the H100."""
    plain = Policy(
        name="default",
        max_mode=Mode.ACT,
        clocks=(ClockBounds(H100, CLOCKS_MHZ[0], CLOCKS_MHZ[-1]),),
        guardrails=Guardrails(),
        cadence=Cadence(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def replica(
    owner: str, index: int, phase: ReplicaPhase, *, node: str | None, since_s: float = START_S - 3600.0
) -> Replica:
    """One pod; ready ones have been so since a minute after their creation."""
    ready = phase in (ReplicaPhase.READY, ReplicaPhase.TERMINATING)
    return Replica(
        name=f"{owner}-{index}",
        uid=f"uid-{owner}-{index}",
        phase=phase,
        created_s=since_s,
        node=node,
        address=f"127.1.0.{index + 1}" if node is not None else None,
        ready_since_s=since_s + 60.0 if ready else None,
        running_requests=index if ready else None,
        answers=1000 if ready else None,
    )


@dataclass(slots=True)
class Cluster:
    """A small cluster that carries out what is decided, pod by pod; time moves only when told."""

    pools: list[Pool]
    nodes: int = 6
    gpus_per_node: int = 8
    now_s: float = START_S
    desired: dict[tuple[ObjectKey, str], int] = field(default_factory=dict)
    pods: dict[tuple[ObjectKey, str], list[Replica]] = field(default_factory=dict)
    holds: dict[tuple[ObjectKey, str], Verdict] = field(default_factory=dict)
    drains: dict[tuple[ObjectKey, str], Drain] = field(default_factory=dict)
    claims: dict[tuple[ObjectKey, str], Claim] = field(default_factory=dict)
    cordoned: set[str] = field(default_factory=set)
    startup_s: float = 120.0
    created: int = 0
    highest_since_s: float | None = None

    def run(self, key: ObjectKey, name: str, replicas: int) -> Cluster:
        """So many replicas that have served for an hour."""
        self.desired[key, name] = replicas
        for _ in range(replicas):
            self._create(key, name, self.now_s - 3600.0)
        self._schedule()
        self._start()
        return self

    def fleet(self) -> Fleet:
        """The snapshot."""
        free = self._free()
        nodes = tuple(
            NodeState(n, H100, self.gpus_per_node, free[n], n not in self.cordoned, agent_ready=True)
            for n in free
        )
        return Fleet(self.now_s, tuple(self._state(p) for p in self.pools), nodes)

    def apply(self, decision: Decision) -> None:
        """Carry out all changes at once, as workload controllers would."""
        for change in decision.changes:
            assert self.desired.get((change.pool, change.variant), 0) == change.seen
            self.desired[change.pool, change.variant] = change.want
            pods = self.pods.setdefault((change.pool, change.variant), [])
            for _ in range(change.want - len(pods)):
                self._create(change.pool, change.variant, self.now_s)
            order = [ReplicaPhase.UNSCHEDULED, ReplicaPhase.STARTING, ReplicaPhase.READY]
            pods.sort(key=lambda r: (order.index(r.phase), r.name not in change.victims, -r.created_s))
            del pods[: max(0, len(pods) - change.want)]

    def pass_time(self, seconds: float) -> None:
        """Later: pods are placed where there is room and become ready after their start-up time."""
        self._schedule()
        self.now_s += seconds
        self._start()

    def _state(self, spec: Pool) -> PoolState:
        states = tuple(
            VariantState(
                v.name,
                self.desired.get((spec.key, v.name), 0),
                tuple(self._held(pod) for pod in self.pods.get((spec.key, v.name), ())),
                self.holds.get((spec.key, v.name)),
                self.drains.get((spec.key, v.name)),
                claim=self.claims.get((spec.key, v.name)),
            )
            for v in spec.variants
        )
        return PoolState(spec, states)

    def _held(self, pod: Replica) -> Replica:
        is_ready = pod.phase is ReplicaPhase.READY
        since_s = pod.highest_since_s if pod.highest_since_s is not None else self.highest_since_s
        return replace(pod, highest_since_s=since_s) if is_ready else pod

    def _create(self, key: ObjectKey, name: str, at_s: float) -> None:
        self.created += 1
        pod = replica(f"{key.name}-{name}", self.created, ReplicaPhase.UNSCHEDULED, node=None, since_s=at_s)
        self.pods.setdefault((key, name), []).append(pod)

    def _free(self) -> dict[str, int]:
        free = {f"node-{i}": self.gpus_per_node for i in range(self.nodes)}
        for (key, name), pods in self.pods.items():
            size = next(p for p in self.pools if p.key == key).variant(name).tensor_parallel_size
            for pod in pods:
                if pod.node is not None:
                    free[pod.node] -= size
        return free

    def _schedule(self) -> None:
        for (key, name), pods in self.pods.items():
            size = next(p for p in self.pools if p.key == key).variant(name).tensor_parallel_size
            for i, pod in enumerate(pods):
                room = {n: f for n, f in self._free().items() if f >= size and n not in self.cordoned}
                if pod.phase is ReplicaPhase.UNSCHEDULED and room:
                    node = min(room, key=lambda n: (room[n], n))
                    pods[i] = replace(
                        pod,
                        phase=ReplicaPhase.STARTING,
                        node=node,
                        address=f"127.1.0.{self.created % 250 + 1}",
                    )

    def _start(self) -> None:
        for pods in self.pods.values():
            for i, pod in enumerate(pods):
                ready_s = pod.created_s + self.startup_s
                if pod.phase is ReplicaPhase.STARTING and ready_s <= self.now_s:
                    pods[i] = replace(
                        pod,
                        phase=ReplicaPhase.READY,
                        ready_since_s=ready_s,
                        running_requests=0,
                        answers=1000,
                    )


def demand(
    rate_rps: float,
    *,
    at_s: float = START_S,
    key: ObjectKey = CHAT,
    problem: Verdict | None = None,
    input_tokens: int = 1000,
    output_tokens: int = 200,
) -> Demand:
    """Load of so many requests per second, all of about one length."""
    return Demand(
        pool=key,
        observed_at_s=at_s,
        requests_per_s=rate_rps,
        prompt_tokens_per_s=rate_rps * input_tokens,
        generation_tokens_per_s=rate_rps * output_tokens,
        input_lengths=_lengths(rate_rps, input_tokens),
        output_lengths=_lengths(rate_rps, output_tokens),
        problem=problem,
    )


def _lengths(rate_rps: float, tokens: int) -> LengthHistogram:
    edges = (100, 200, 500, 1000, 2000, 5000)
    place = next(i for i, edge in enumerate(edges) if tokens <= edge)
    return LengthHistogram(edges, tuple(rate_rps if i == place else 0.0 for i in range(len(edges) + 1)))


# Highest rate of one instance at the highest clock by TP, about those of a 70-billion model.
RATES_RPS = {1: 0.7, 2: 2.0, 4: 4.5, 8: 8.0}


def made_up_points(
    tp: int, clocks_mhz: Sequence[int], *, rates_rps: Mapping[int, float] | None = None
) -> OperatingPoints:
    """Points of the usual shape: rate falls a little slower than the clock, watts are concave in load."""
    phi = np.array(clocks_mhz) / 1980.0
    rates = (rates_rps or RATES_RPS)[tp] * phi**0.8
    load = np.array(LOAD_GRID)
    dynamic = tp * 450.0 * (0.3 + 0.7 * phi**1.8)
    watts = tp * 105.0 + dynamic[:, None] * load[None, :] ** 0.6
    ones = np.ones(len(phi))
    return OperatingPoints(
        clocks_mhz=tuple(clocks_mhz),
        max_rate_rps=rates,
        rates_rps=rates[:, None] * load[None, :],
        watts=watts,
        p99_ttft_ms=1900.0 * ones,
        p99_tpot_ms=95.0 * ones,
        best_ttft_ms=2000.0 / tp / phi,
        best_tpot_ms=60.0 / tp / phi,
        mean_input_tokens=1000.0,
        mean_output_tokens=200.0,
        requests=6000,
        seed_spread=0.01 * ones,
        prompt_time_share=0.5,
        idle_w=tp * 105.0,
    )


@dataclass(slots=True)
class MadeUpCatalog:
    """Operating points without an engine; counts what it is asked for."""

    rates_rps: Mapping[int, float] = field(default_factory=lambda: RATES_RPS)
    asked: int = 0

    def points(
        self,
        profile: object,
        variant: Variant,
        *,
        mix: LengthMix,
        objective: Objective,
        clocks_mhz: Sequence[int],
        dispersion: float = 1.0,
        speed: float = 1.0,
    ) -> OperatingPoints:
        """Points by tensor-parallel size and speed alone."""
        self.asked += 1
        rates = {size: rate * speed for size, rate in self.rates_rps.items()}
        return made_up_points(variant.tensor_parallel_size, clocks_mhz, rates_rps=rates)


@dataclass(frozen=True, slots=True)
class Device:
    """What the planner reads of an accelerator."""

    supported_clocks_mhz: tuple[int, ...] = CLOCKS_MHZ
    tensor_parallel_sizes: tuple[int, ...] = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One accelerator of a made-up profile."""

    device: Device = Device()
    held_out_errors: tuple[HeldOutError, ...] = ()


@dataclass(frozen=True, slots=True)
class MadeUpProfile:
    """A profile with all that the planner itself reads; the rest is the catalog's business."""

    name: str = "model"
    content_hash: str = "made-up"
    accelerators: Mapping[str, Accelerator] = field(default_factory=lambda: {H100: Accelerator()})


PROFILES = {"model": MadeUpProfile()}


def poll(
    cluster: Cluster,
    load: Mapping[ObjectKey, Demand] | float,
    history: History,
    *,
    policies: Sequence[Policy] | None = None,
    catalog: MadeUpCatalog | None = None,
    settings: PlannerSettings | None = None,
    profiles: Mapping[str, MadeUpProfile] | None = None,
    stopwatch: Callable[[], float] | None = None,
) -> Decision:
    """One call of `decide` on a cluster; a number is the load of the first pool."""
    if not isinstance(load, Mapping):
        load = {cluster.pools[0].key: demand(load, at_s=cluster.now_s, key=cluster.pools[0].key)}
    return decide(
        cluster.fleet(),
        load,
        (policy(),) if policies is None else policies,
        PROFILES if profiles is None else profiles,  # type: ignore[arg-type]
        history,
        catalog=catalog or MadeUpCatalog(),
        settings=settings,
        stopwatch=stopwatch,
    )
