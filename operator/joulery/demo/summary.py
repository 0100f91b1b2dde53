"""`build/demo/summary.json`: one shape, every key that an issue or a reader may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulery.demo import replays
from joulery.demo.live import LiveRun
from joulery.demo.timing import DemoTiming
from joulery.simulator.evaluation import Evaluation
from joulery.simulator.result import lowest_attainment_percent, summarise
from joulery.simulator.traces import LONGEST_INPUT_TOKENS

if TYPE_CHECKING:
    from joulery.demo.app import DemoOptions

SCHEMA_VERSION = 1
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a demo yields, before it is written down."""

    live: LiveRun
    actions: dict[str, int]
    cluster_up_s: float
    results: list[tuple[replays.Job, Json, Json]]
    options: DemoOptions
    timing: DemoTiming
    evaluation: Evaluation


def summarise_demo(findings: Findings, *, seconds: float) -> Json:
    """The whole summary."""
    options, timing, evaluation = findings.options, findings.timing, findings.evaluation
    true_case = replays.true_time_case(options.day, options.seed)
    squeezed = replays.squeezed_case(options.day, options.seed, timing)
    live = summarise(findings.live.figures)
    live["actions"] = {**findings.actions, **dict(findings.live.figures.actions)}
    replay = replays.replay_summary(findings.results, true_case)
    replay["savingBandPercent"] = replays.saving_band(
        findings.results, replays.band_cases(options.day, options.seed)
    )
    squeezed_replay = replays.replay_summary(findings.results, squeezed)
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kubernetesVersion": findings.live.kubernetes_version,
        "declared": {**timing.declared(options.day), **_declared(evaluation)},
        "seed": options.seed,
        "lagMillisecondsP99": findings.live.lag_p99_ms,
        "clusterUpSeconds": round(findings.cluster_up_s, 2),
        "seconds": round(seconds, 1),
        "nodes": evaluation.scenario.hardware.nodes,
        "gpus": evaluation.scenario.hardware.gpus,
        "actions": live["actions"],
        "live": {"policies": {"Joulery": live}},
        "squeezedReplay": squeezed_replay,
        "liveAgainstReplay": agreement(live, squeezed_replay["policies"]["Joulery"]),
        "replay": replay,
        "knobs": replays.knob_summary(findings.results, true_case),
    }


def agreement(live: Json, replay: Json) -> Json:
    """How far the live run is from its own replay: energy in percent, attainment in points."""
    return {
        "gpuEnergyPercent": 100.0 * (live["gpuKilowattHours"] / replay["gpuKilowattHours"] - 1.0),
        "fleetEnergyPercent": 100.0 * (live["fleetKilowattHours"] / replay["fleetKilowattHours"] - 1.0),
        "attainmentPoints": lowest_attainment_percent(live) - lowest_attainment_percent(replay),
    }


def _declared(evaluation: Evaluation) -> Json:
    return {
        "lengths": "Azure 2023 requests, input and output drawn jointly",
        "rates": "Azure 2024 week, one day of the digitised curve, thinned by a constant share",
        "keptShare": {name: w.kept_share for name, w in _workloads().items()},
        "dispersionOfOneSecondCounts": {n: round(w.thinned_dispersion, 2) for n, w in _workloads().items()},
        "arrivalsWithinSecond": "uniform; counts per second negative-binomial",
        "overLongPrompts": f"cut to {LONGEST_INPUT_TOKENS} tokens (0.01 % of conversation requests)",
        "truth": {
            "timeFactor": round(evaluation.truth.time_factor, 4),
            "powerFactor": round(evaluation.truth.power_factor, 4),
        },
        "asFound": {
            k.name: f"{s.replicas} x {s.variant}" for k, s in evaluation.single_pool.settings.items()
        },
        "joules": "modelled",
    }


def _workloads() -> Json:
    from joulery.simulator.scenario import WORKLOADS

    return dict(WORKLOADS)
