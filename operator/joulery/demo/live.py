"""The live part: the squeezed day on the real control plane, from the first apply to the last answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulery.demo import objects
from joulery.demo.datacentre import EMULATOR, DataCentre
from joulery.demo.timing import DemoTiming
from joulery.domain.keys import ObjectKey
from joulery.domain.pool import Pool
from joulery.emulator.control_client import EmulatorControl, RecordedOutcomes, read_outcomes
from joulery.simulator.baselines import Setting
from joulery.simulator.result import RunFigures, Served
from joulery.simulator.scenario import ACCELERATOR, Scenario, default_policy
from joulery.simulator.timeline import PoolTimeline
from joulery.simulator.traces import NS_PER_S, Requests
from joulery.simulator.truth import SHIPPED_PROFILE, shipped_manifest

Json = Mapping[str, Any]
_READY_S = 60.0
_START_DELAY_S = 2.0


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What the live part came to, over the seconds of traffic alone."""

    figures: RunFigures
    timelines: Json
    lag_p99_ms: float
    kubernetes_version: str


def emulator_config(scenario: Scenario) -> dict[str, object]:
    """The emulator's configuration but for its folders; its truth is drawn by the same seed as the replay's."""
    return {
        "nodes": scenario.hardware.nodes,
        "gpusPerNode": scenario.hardware.gpus_per_node,
        "seed": scenario.seed,
        "pools": [
            {
                "namespace": pool.key.namespace,
                "name": pool.key.name,
                "servedModelName": pool.demand_source.served_model_name,
                "profile": SHIPPED_PROFILE,
                "accelerator": ACCELERATOR,
            }
            for pool in scenario.pools
        ],
    }


class LiveDay:
    """Runs one squeezed day in a data centre that is already up."""

    def __init__(
        self,
        centre: DataCentre,
        scenario: Scenario,
        timing: DemoTiming,
        as_found: Mapping[ObjectKey, Setting],
        report: Callable[[str], None],
    ) -> None:
        self.centre = centre
        self.scenario = scenario
        self.timing = timing
        self.as_found = as_found
        self.control = EmulatorControl(centre.emulator_data)
        self._report = report

    def install(self) -> None:
        """Nodes and engines as found; then agents and controller, with policy and profile but no pool yet."""
        self.centre.wait("emulated nodes", lambda: self.control.is_ready, _READY_S)
        self.centre.apply(self._workloads())
        self._report("waiting for the engines that ran before Joulery")
        self.centre.wait("engines", self._engines_ready, _READY_S)
        policy = default_policy(self.timing.cadence, self.timing.guardrails)
        self.centre.apply([shipped_manifest(), objects.energy_policy(policy)])
        self.centre.start_agents(self.control.nodes)
        self.centre.start_controller()

    def run(self, streams: Mapping[ObjectKey, Requests], progress: Callable[[float], None]) -> LiveRun:
        """Serve the streams, wait for the last answers, stop the emulator and read what it recorded."""
        begun_s = self._submit(streams)
        started_s = begun_s + self.timing.lead_s
        self._hand_over(begun_s)
        for elapsed_s in self._seconds(started_s):
            progress(max(0.0, min(1.0, elapsed_s / self.timing.live_s)))
        version = self.centre.version()
        self.centre.processes.children[EMULATOR].end(30.0)
        outcomes = read_outcomes(self.centre.emulator_data / "outcomes")
        return LiveRun(
            figures=live_figures(self.scenario, outcomes, started_s, self.timing.live_s),
            timelines=live_timelines(self.scenario, outcomes, started_s, self.timing.live_s),
            lag_p99_ms=float(outcomes.summary["lag"]["p99Milliseconds"]),
            kubernetes_version=version,
        )

    def _submit(self, streams: Mapping[ObjectKey, Requests]) -> float:
        starts = [
            self.control.submit(
                str(key),
                stream.arrival_ns / NS_PER_S,
                stream.input_tokens,
                stream.output_tokens,
                delay_s=_START_DELAY_S,
            )
            for key, stream in streams.items()
        ]
        return min(starts)

    def _hand_over(self, begun_s: float) -> None:
        """Apply the pools once their load has been there for a while."""

        def is_time() -> bool:
            return float(self.control.status()["modelSeconds"]) >= begun_s + self.timing.planner_from_s

        self.centre.wait("traffic", is_time, _READY_S)
        self.centre.apply([objects.inference_pool(pool) for pool in self.scenario.pools])
        self.centre.wait("pool status", self._pools_reported, _READY_S)

    def _seconds(self, started_s: float) -> Iterator[float]:
        end_s = started_s + self.timing.live_s + self.timing.settle_s
        while (now_s := float(self.control.status()["modelSeconds"])) < end_s:
            self.centre.check()
            yield now_s - started_s
            time.sleep(min(1.0, end_s - now_s))

    def _workloads(self) -> list[dict[str, Any]]:
        listed = [objects.namespace(self.scenario.pools[0].key.namespace)]
        for pool in self.scenario.pools:
            found = self.as_found[pool.key]
            for variant in pool.variants:
                replicas = found.replicas if variant.name == found.variant else 0
                listed.append(objects.deployment(pool, variant, replicas, self.timing.startup_s))
        return listed

    def _engines_ready(self) -> bool:
        namespace = self.scenario.pools[0].key.namespace
        deployments = self.centre.get("deployments", f"-n={namespace}")["items"]
        return all(
            d["status"].get("readyReplicas", 0) == d["spec"]["replicas"] for d in deployments
        ) and bool(deployments)

    def _pools_reported(self) -> bool:
        pools = self.centre.get("inferencepools.joulery.dev", "-A")["items"]
        return bool(pools) and all(p.get("status", {}).get("conditions") for p in pools)


def live_figures(
    scenario: Scenario, outcomes: RecordedOutcomes, started_s: float, duration_s: float
) -> RunFigures:
    """Requests of the stream and joules between its first and its last second."""
    pools = {p.key.name: (p, _served(p, outcomes, started_s)) for p in scenario.pools}
    energy = {
        p.key.name: _between(outcomes, f"{p.key}|energy_j", started_s, duration_s) for p in scenario.pools
    }
    gpu_seconds = sum(_gpu_seconds(outcomes, f"{p.key}|gpus", started_s, duration_s) for p in scenario.pools)
    changes = sum(int(outcomes.summary["pools"][str(p.key)]["clockChanges"]) for p in scenario.pools)
    return RunFigures(
        pools=pools,
        gpu_energy_j=sum(energy.values()),
        gpu_seconds=gpu_seconds,
        duration_s=duration_s,
        hardware=scenario.hardware,
        constants={},
        actions={"clockChanges": changes},
        pool_energy_j=energy,
    )


def live_timelines(
    scenario: Scenario, outcomes: RecordedOutcomes, started_s: float, duration_s: float
) -> dict[str, object]:
    """Per pool, one sample a second, seconds from the first arrival."""
    columns = outcomes.timeline
    seconds = columns["time_s"] - started_s
    chosen = np.flatnonzero((seconds >= 0) & (seconds <= duration_s))
    timelines: dict[str, object] = {}
    for pool in scenario.pools:
        arrivals = outcomes.requests(str(pool.key))["arrival_ns"] / NS_PER_S - started_s
        line = PoolTimeline(energy_j=float(columns[f"{pool.key}|energy_j"][chosen[0]]))
        for row in chosen[1:]:
            at_s = float(seconds[row])
            replicas = {
                v.name: int(columns[f"{pool.key}|tp{v.tensor_parallel_size}"][row]) for v in pool.variants
            }
            rate = float(((arrivals > at_s - 5.0) & (arrivals <= at_s)).sum()) / 5.0
            line.add(
                at_s,
                rate,
                replicas,
                float(columns[f"{pool.key}|clock_mhz"][row]),
                float(columns[f"{pool.key}|energy_j"][row]),
            )
        timelines[pool.key.name] = line.as_json()
    return timelines


def _served(pool: Pool, outcomes: RecordedOutcomes, started_s: float) -> Served:
    every = outcomes.requests(str(pool.key))
    counted = every["arrival_ns"] >= round(started_s * NS_PER_S)
    columns = {name: column[counted] for name, column in every.items()}
    done = columns["finish_ns"] >= 0
    return Served(
        columns["input_tokens"][done],
        columns["output_tokens"][done],
        columns["ttft_ns"][done],
        columns["tpot_ns"][done],
        columns["arrival_ns"][done],
        turned_away=int((~done).sum()),
    )


def _window(started_s: float, duration_s: float) -> npt.NDArray[np.float64]:
    return np.array([started_s, started_s + duration_s])


def _between(outcomes: RecordedOutcomes, column: str, started_s: float, duration_s: float) -> float:
    columns = outcomes.timeline
    first, last = np.interp(_window(started_s, duration_s), columns["time_s"], columns[column])
    return float(last - first)


def _gpu_seconds(outcomes: RecordedOutcomes, column: str, started_s: float, duration_s: float) -> float:
    columns = outcomes.timeline
    inside = (columns["time_s"] >= started_s) & (columns["time_s"] <= started_s + duration_s)
    return float(columns[column][inside].mean()) * duration_s if inside.any() else 0.0
