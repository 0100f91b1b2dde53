"""A whole data centre for a test: real control plane and Prometheus, our controller and agents, emulated engines.

Its cadences are short; engines and requests keep their true times. Load is a rate that a test sets.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from cluster import REPOSITORY, find_assets
from joulery.demo import objects
from joulery.demo.actions import ScaleWrite, scale_writes
from joulery.demo.datacentre import CONTROLLER, DataCentre, DataCentrePaths
from joulery.domain.demand import ATTAINMENT_WINDOW_S
from joulery.domain.keys import ObjectKey
from joulery.domain.policy import Cadence, ClockBounds, Guardrails, Policy
from joulery.domain.pool import Mode, Pool
from joulery.emulator.control_client import EmulatorControl, EmulatorError
from joulery.emulator.gpus import NodeGpus
from joulery.serving.catalog import PointCatalog
from joulery.serving.mix import of_requests
from joulery.simulator.scenario import ACCELERATOR, pool_of
from joulery.simulator.truth import SHIPPED_PROFILE, shipped_manifest
from serving_cases import shipped_profile

POOL_KIND = "inferencepools.joulery.dev"
INPUT_TOKENS, OUTPUT_TOKENS = 1024, 128
CLOCKS = ClockBounds(ACCELERATOR, 1200, 1980)
CADENCE = Cadence(plan_epoch_s=10.0, demand_poll_s=1.0, clock_epoch_s=1.0, lease_timeout_s=30.0)
GUARDRAILS = Guardrails(dwell_s=5.0)
STARTUP_S = 2.0
SCRAPE_S = 1.0
GPUS_PER_NODE = 8
# An emulator that stalls for so long has ended.
_MISSED_SECONDS = 5

# How much longer than usual tests wait, for machines that others keep busy.
PATIENCE = float(os.environ.get("JOULERY_TEST_PATIENCE", "1"))

T = TypeVar("T")
Manifest = Mapping[str, Any]


def live_pool(name: str, *sizes: int, mode: Mode = Mode.ACT) -> Pool:
    """A pool with some of the shipped variants (`tp2`, `tp4`, `tp8`)."""
    whole = pool_of(name, STARTUP_S, SHIPPED_PROFILE)
    variants = tuple(v for v in whole.variants if v.tensor_parallel_size in sizes)
    return replace(whole, variants=variants, mode=mode)


def capacity_rps(pool: Pool, variant: str) -> float:
    """What one instance carries at its highest clock, by the profile and the load that `SteppedLoad` sends."""
    mix = of_requests(np.array([INPUT_TOKENS]), np.array([OUTPUT_TOKENS]))
    clocks = (CLOCKS.ceiling_mhz,)
    points = PointCatalog().points(
        shipped_profile(), pool.variant(variant), mix=mix, objective=pool.objective, clocks_mhz=clocks
    )
    return float(points.max_rate_rps[-1])


def wait_for(what: str, look: Callable[[], T], within_s: float = 60.0) -> T:
    """The first truthy answer; AssertionError with the last one when time is up."""
    deadline_s = time.monotonic() + within_s * PATIENCE
    while not (seen := look()):
        late = f"{what}: not within {within_s * PATIENCE:.0f} s; last seen {seen!r}"
        assert time.monotonic() < deadline_s, late
        time.sleep(0.1 * PATIENCE)
    return seen


@dataclass
class SteppedLoad:
    """Requests of one pool at a rate that a test sets; a thread sends them a second ahead.

    `sent` are the seconds as they were sent, as (Unix time of the first arrival, requests): a machine that is
    busy sends some of them late.
    """

    control: EmulatorControl
    pool: str
    rate_rps: float = 0.0
    steps: list[tuple[float, float]] = field(default_factory=list)
    sent: list[tuple[float, int]] = field(default_factory=list)
    _next_s: float | None = None

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._failed: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10.0)
        assert not self._failed, self._failed

    @property
    def is_running(self) -> bool:
        """Whether requests are still sent."""
        return not self._failed

    def step_to(self, rate_rps: float) -> None:
        """Another rate from the next second on, noted in `steps` as (Unix time, rate)."""
        self.rate_rps = rate_rps
        self.steps.append((time.time(), rate_rps))

    def rate_at(self, unix_s: float) -> float:
        """The rate set at a time."""
        return next((rate for at_s, rate in reversed(self.steps) if at_s <= unix_s), 0.0)

    def arrived(self, since_s: float, until_s: float) -> float:
        """Requests that arrived between two Unix times, each second's evenly."""
        shares = ((min(until_s, at_s + 1.0) - max(since_s, at_s), count) for at_s, count in self.sent)
        return sum(share * count for share, count in shares if share > 0.0)

    def _run(self) -> None:
        try:
            self._feed()
        except Exception as error:
            self._failed.append(error)

    def _feed(self) -> None:
        second, missed = 0, 0
        began_s = time.monotonic() + 0.5
        while not self._over.is_set():
            delay_s = began_s + second - time.monotonic()
            try:
                if self.rate_rps > 0.0:
                    self.submit_second(max(0.1, delay_s))
                missed = 0
            except EmulatorError:
                missed += 1
                if missed > _MISSED_SECONDS:
                    raise
            # Seconds that are over are not sent late: on a machine that is busy they would pile up.
            second = max(second + 1, math.floor(time.monotonic() - began_s))
            self._over.wait(max(0.0, began_s + second - time.monotonic() - 0.5))

    def submit_second(self, delay_s: float) -> None:
        """Send one second: right after the last one, or after a delay where there is none or it is over.

        By the emulator's own time, as a delay counts from when it hears of it: on a busy machine the load would
        run ahead by as much each second.
        """
        count = max(1, round(self.rate_rps))
        if self._next_s is not None:
            try:
                self._note(count, self._submit(count, start_s=self._next_s), self.sent[-1][0] + 1.0)
            except EmulatorError:
                self._next_s = None
        if self._next_s is None:
            at_s = time.time() + delay_s
            self._note(count, self._submit(count, delay_s=delay_s), at_s)

    def _submit(self, count: int, **when: float) -> float:
        arrivals = 0.95 * (np.arange(count) + 0.5) / count
        inputs, outputs = np.full(count, INPUT_TOKENS), np.full(count, OUTPUT_TOKENS)
        return self.control.submit(self.pool, arrivals, inputs, outputs, **when)

    def _note(self, count: int, start_s: float, at_s: float) -> None:
        self._next_s = start_s + 1.0
        self.sent.append((at_s, count))


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Cadences of a live run, short ones by default; engines and requests keep their true times whatever they are."""

    cadence: Cadence = CADENCE
    guardrails: Guardrails = GUARDRAILS
    startup_s: float = STARTUP_S
    scrape_s: float = SCRAPE_S
    load_window_s: float = 4.0
    attainment_window_s: float = ATTAINMENT_WINDOW_S
    warmup_requests: int = 0


class LiveCentre:
    """A running data centre with what tests ask of it."""

    def __init__(self, centre: DataCentre, rhythm: Rhythm | None = None) -> None:
        self.centre = centre
        self.rhythm = rhythm or Rhythm()
        self.control = EmulatorControl(centre.emulator_data)

    def set_policy(self, max_mode: Mode = Mode.ACT, cadence: Cadence | None = None) -> None:
        policy = Policy(
            "default",
            max_mode=max_mode,
            clocks=(CLOCKS,),
            guardrails=self.rhythm.guardrails,
            cadence=cadence or self.rhythm.cadence,
        )
        self.centre.apply([objects.energy_policy(policy)])

    def install(self, pool: Pool, running: Mapping[str, int]) -> None:
        """The pool's workloads as found, ready, and then the pool itself."""
        self.run_engines(pool, running)
        self.attach(pool)

    def run_engines(self, pool: Pool, running: Mapping[str, int]) -> None:
        """The pool's workloads as found, ready; nothing of ours is told of them."""
        namespace, times = pool.key.namespace, (self.rhythm.startup_s, self.rhythm.warmup_requests)
        workloads = [objects.deployment(pool, v, running.get(v.name, 0), *times) for v in pool.variants]
        self.centre.apply([objects.namespace(namespace), *workloads])
        there = {v.name: running.get(v.name, 0) for v in pool.variants}
        wait_for("engines", lambda: self.ready(pool) == there, 30.0 + 2.0 * self.rhythm.startup_s)

    def attach(self, pool: Pool) -> None:
        """The pool and its profile, over workloads that run."""
        self.centre.apply([shipped_manifest(), objects.inference_pool(pool)])

    def apply_pool(self, pool: Pool) -> None:
        self.centre.apply([objects.inference_pool(pool)])

    def pool(self, pool: Pool) -> Manifest:
        found: Manifest = self.centre.get(POOL_KIND, pool.key.name, f"-n={pool.key.namespace}")
        return found

    def _deployments(self, pool: Pool) -> dict[str, Manifest]:
        found = self.centre.get("deployments", f"-n={pool.key.namespace}")["items"]
        by_name = {d["metadata"]["name"]: d for d in found}
        return {v.name: by_name[v.target.name] for v in pool.variants}

    def replicas(self, pool: Pool) -> dict[str, int]:
        return {name: int(d["spec"]["replicas"]) for name, d in self._deployments(pool).items()}

    def ready(self, pool: Pool) -> dict[str, int]:
        return {n: int(d["status"].get("readyReplicas", 0)) for n, d in self._deployments(pool).items()}

    def pods(self, pool: Pool) -> list[Manifest]:
        pods: list[Manifest] = self.centre.get("pods", f"-n={pool.key.namespace}")["items"]
        return [p for p in pods if p["metadata"]["name"].startswith(f"{pool.key.name}-")]

    def writes(self, pool: Pool) -> list[ScaleWrite]:
        """Successful writes of /scale by Joulery, from the API server's audit log."""
        names = {v.target.name for v in pool.variants}
        found = scale_writes(self.centre.plane.audit_events())
        return [w for w in found if w.namespace == pool.key.namespace and w.target in names]

    def gpus(self) -> list[Manifest]:
        """What agents say of every GPU."""
        nodes = self.centre.get("gpunodes.joulery.dev")["items"]
        return [gpu for node in nodes for gpu in node.get("status", {}).get("gpus", ())]

    def locked(self) -> dict[str, int]:
        """Upper ends of locked clocks by GPU as the emulated driver holds them; unlocked ones left out."""
        found: dict[str, int] = {}
        for name in self.control.nodes:
            with NodeGpus(self.centre.emulator_data / "nvml" / f"{name}.state") as gpus:
                locks = ((n, gpus.lock(n)) for n in range(GPUS_PER_NODE))
                found |= {f"{name}/{n}": lock.highest_mhz for n, lock in locks if lock is not None}
        return found

    def plan_id(self) -> str:
        """The plan of the last cycle."""
        return next((str(x["plan_id"]) for x in reversed(self.log_lines()) if x["message"] == "cycle"), "")

    def log_lines(self) -> list[Manifest]:
        """The controller's log."""
        lines = self.centre.processes.children[CONTROLLER].log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@contextmanager
def live_centre(
    data: Path,
    pools: Sequence[ObjectKey],
    *,
    nodes: int = 3,
    of: type[DataCentre] = DataCentre,
    rhythm: Rhythm | None = None,
    time_factor: float | None = None,
) -> Iterator[LiveCentre]:
    """Everything but pools and policy; controller and agents run.

    Engines are what a seed draws around their profile or, with a factor, that much slower than it and no other.
    """
    rhythm = rhythm or Rhythm()
    truth = {} if time_factor is None else {"truthSeed": None}
    config = {
        "nodes": nodes,
        "gpusPerNode": GPUS_PER_NODE,
        "seed": 1,
        **truth,
        "pools": [
            {
                "namespace": key.namespace,
                "name": key.name,
                "servedModelName": f"{key.name}-70b",
                "profile": SHIPPED_PROFILE,
                "accelerator": ACCELERATOR,
                "timeFactor": time_factor or 1.0,
            }
            for key in pools
        ],
    }
    centre = of(
        DataCentrePaths(find_assets(), REPOSITORY / "manifests", data),
        emulator_config=config,
        scrape_interval_s=rhythm.scrape_s,
        load_window_s=rhythm.load_window_s,
        attainment_window_s=rhythm.attainment_window_s,
        report=print,
    )
    with centre:
        live = LiveCentre(centre, rhythm)
        centre.wait("emulated nodes", lambda: live.control.is_ready, 60.0 * PATIENCE)
        live.set_policy()
        centre.start_agents(live.control.nodes)
        centre.start_controller()
        yield live
