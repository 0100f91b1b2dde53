"""The replays that follow the live part, side by side in two processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from typing import Any

from joulery.demo.timing import DemoTiming
from joulery.domain.pool import Knob
from joulery.simulator.evaluation import BASELINES, Case, Evaluation, knob_shares, savings
from joulery.simulator.replay import Replay
from joulery.simulator.result import summarise
from joulery.simulator.timeline import Recorder
from joulery.simulator.tuning import best_static, reactive

Json = dict[str, Any]
_WORKERS = 2
# Further hidden truths at which every policy is replayed, for the band around each saving.
BAND_DRAWS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """One policy's run of one case."""

    case: Case
    policy: str

    @property
    def name(self) -> str:
        """For the progress line."""
        return f"{self.policy}, {self.case.name}"


def true_time_case(day: date, seed: int, startup_s: float = 120.0) -> Case:
    """The whole day in true time."""
    return Case(day, seed, startup_s)


def squeezed_case(day: date, seed: int, timing: DemoTiming) -> Case:
    """The demo's own squeeze."""
    return Case(
        day,
        seed,
        timing.startup_s,
        timing=timing.replay_timing,
        squeeze=timing.squeeze,
        guardrails=timing.guardrails,
        plan_epoch_s=timing.plan_epoch_s,
    )


def run_job(job: Job) -> tuple[Job, Json, Json]:
    """One policy's figures and timelines; runs in a worker."""
    evaluation = Evaluation(job.case)
    pools = evaluation.scenario.pools
    policy: Any
    if job.policy == "SinglePool":
        policy = evaluation.single_pool
    elif job.policy == "BestStatic":
        policy = best_static(
            evaluation.scenario, evaluation.streams, job.case.timing, evaluation.scenario.hardware.gpus
        )
    elif job.policy == "Reactive":
        policy = reactive(evaluation.scenario, evaluation.streams, job.case.timing)
    else:
        kept = frozenset(k for k in Knob if job.policy != f"Without{k.value}")
        pools = evaluation.scenario.with_knobs(kept)
        policy = evaluation.joulery(kept, job.policy)
    recorder = Recorder(every_s=job.case.timing.duration_s / 288.0)
    replay = Replay(
        evaluation.scenario.world(pools),
        policy,
        evaluation.streams,
        job.case.timing,
        dwell_s=job.case.guardrails.dwell_s,
        on_poll=recorder,
    )
    return job, summarise(replay.run()), recorder.as_json()


def jobs(day: date, seed: int, timing: DemoTiming, *, knobs: bool) -> list[Job]:
    """The day at true time with all policies, for the seed and the band's draws; knobs; the squeezed day."""
    names = ("BestStatic", "Reactive", "Joulery", "SinglePool")
    listed = [Job(case, name) for case in band_cases(day, seed) for name in names]
    if knobs:
        listed += [Job(true_time_case(day, seed), f"Without{knob.value}") for knob in Knob]
    return [*listed, Job(squeezed_case(day, seed, timing), "Joulery")]


def band_cases(day: date, seed: int) -> list[Case]:
    """The seed's own case and those of further draws of traffic and truth."""
    return [true_time_case(day, seed + draw) for draw in range(1 + BAND_DRAWS)]


def run_jobs(listed: list[Job], progress: Callable[[int, int, str], None]) -> list[tuple[Job, Json, Json]]:
    """All jobs in worker processes; told how many are done."""
    results = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_WORKERS, mp_context=context) as pool:
        for done in as_completed([pool.submit(run_job, job) for job in listed]):
            results.append(done.result())
            progress(len(results), len(listed), results[-1][0].name)
    return results


def replay_summary(results: list[tuple[Job, Json, Json]], case: Case) -> Json:
    """Policies of one case in a fixed order, with Joulery's savings."""
    order = (*BASELINES, "Joulery")
    found = {job.policy: figures for job, figures, _ in results if job.case == case}
    policies = {name: found[name] for name in order if name in found}
    return {"policies": policies, "savingPercent": savings(policies)}


def knob_summary(results: list[tuple[Job, Json, Json]], case: Case) -> Json:
    """Each knob's share at true time; empty where it was not asked for."""
    found = {job.policy: figures for job, figures, _ in results if job.case == case}
    without = {name: figures for name, figures in found.items() if name.startswith("Without")}
    return knob_shares(found["Joulery"], without) if without else {}


def saving_band(results: list[tuple[Job, Json, Json]], cases: list[Case]) -> dict[str, dict[str, float]]:
    """Lowest and highest GPU saving over the hidden truths of these cases, by baseline."""
    spreads: dict[str, list[float]] = {}
    for case in cases:
        policies = {job.policy: figures for job, figures, _ in results if job.case == case}
        for name, saving in savings(policies).items():
            spreads.setdefault(name, []).append(saving["gpu"])
    return {name: {"low": min(values), "high": max(values)} for name, values in spreads.items()}


def timelines_of(results: list[tuple[Job, Json, Json]], case: Case) -> Mapping[str, Any]:
    """Joulery's timelines of one case."""
    return next(lines for job, _, lines in results if job.case == case and job.policy == "Joulery")
