"""The trust gate: what attainment is kept, and at what price, where engines are not what the profile says."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from joulery.simulator.campaign import written
from joulery.simulator.evaluation import Case, Evaluation
from joulery.simulator.joulery_policy import JouleryPolicy
from joulery.simulator.processes import side_by_side
from joulery.simulator.result import lowest_attainment_percent, saving_percent
from joulery.simulator.scenario import SHARED_DAYS

Json = dict[str, Any]
PROMISE_PERCENT = 99.0

# Seconds of work by seconds of the profile, one seed each: the worst that is promised for, and between.
FACTOR_BY_SEED: Mapping[int, float] = {20: 1.15, 21: 1.15, 22: 1.08, 23: 0.85, 24: 0.93}


@dataclass(frozen=True, slots=True)
class TrustCampaign:
    """Which cases run, and whether a Reactive tuned to the same truth stands beside them."""

    days: Sequence[date] = SHARED_DAYS
    startups_s: Sequence[float] = (120.0, 360.0)
    factors: Mapping[int, float] | None = None
    baseline: bool = True
    workers: int = 2

    def cases(self) -> Iterator[tuple[bool, Case]]:
        """Every case, and whether Reactive runs too."""
        factors = FACTOR_BY_SEED if self.factors is None else self.factors
        for day, seed, startup_s in itertools.product(self.days, factors, self.startups_s):
            yield self.baseline, Case(day, seed, startup_s, time_factor=factors[seed])


def run_trust(campaign: TrustCampaign, out: Path) -> Json:
    """Run all cases, write the figures under `trust` after each, return them."""
    results: list[Json] = []
    figures: Json = {}
    for done in side_by_side(
        trust_case, list(campaign.cases()), workers=campaign.workers, label="replaying wrong profiles"
    ):
        results.append(done)
        results.sort(key=lambda r: (r["day"], r["seed"], r["startupSeconds"]))
        figures = {**trust(results), "cases": list(results)}
        written(out, {"trust": figures})
    return figures


def trust_case(asked: tuple[bool, Case]) -> Json:
    """One case with and without the capacity loop; below the promise also on engines that are as profiled."""
    baseline, case = asked
    evaluation = Evaluation(case)
    policy = evaluation.joulery()
    ours = evaluation.run(policy)
    without = evaluation.run(evaluation.joulery(name="WithoutLoop", loop=False))
    result: Json = {
        "day": case.day.isoformat(),
        "seed": case.seed,
        "startupSeconds": case.startup_s,
        "timeFactor": case.time_factor,
        "attainmentPercent": _by_pool(ours),
        "attainmentPercentWithoutLoop": _by_pool(without),
        "gpuKilowattHours": ours["gpuKilowattHours"],
        "gpuKilowattHoursWithoutLoop": without["gpuKilowattHours"],
        "loopCostPercent": -saving_percent(ours, without, "gpu"),
        "derates": _derates(policy),
    }
    if lowest_attainment_percent(ours) < PROMISE_PERCENT:
        as_profiled = Evaluation(replace(case, time_factor=1.0), catalog=evaluation.catalog)
        result["attainmentPercentAsProfiled"] = _by_pool(as_profiled.run(as_profiled.joulery()))
    if baseline:
        reactive = evaluation.reactive_run()
        result["savingPercentAgainstReactive"] = saving_percent(ours, reactive, "gpu")
        result["attainmentPercentOfReactive"] = _by_pool(reactive)
    return result


def trust(results: Sequence[Mapping[str, Any]]) -> Json:
    """The figures that the gate asks for, over all cases so far."""
    slower = [r for r in results if r["timeFactor"] > 1.0]
    faster = [r for r in results if r["timeFactor"] <= 1.0]
    return {
        "caseCount": len(results),
        "slower": _band_of(slower),
        "faster": _band_of(faster),
        "casesBelow99Percent": [
            {
                "case": _name(r),
                "attainmentPercent": r["attainmentPercent"],
                "asProfiled": r["attainmentPercentAsProfiled"],
            }
            for r in results
            if _lowest(r) < PROMISE_PERCENT
        ],
    }


def _band_of(results: Sequence[Mapping[str, Any]]) -> Json:
    if not results:
        return {}
    return {
        "caseCount": len(results),
        "lowestAttainmentPercent": min(_lowest(r) for r in results),
        "lowestAttainmentPercentWithoutLoop": min(
            min(r["attainmentPercentWithoutLoop"].values()) for r in results
        ),
        "casesBelow99PercentWithoutLoop": sum(
            min(r["attainmentPercentWithoutLoop"].values()) < PROMISE_PERCENT for r in results
        ),
        "loopCostPercent": _spread(r["loopCostPercent"] for r in results),
        "savingPercentAgainstReactive": _spread(
            r["savingPercentAgainstReactive"] for r in results if "savingPercentAgainstReactive" in r
        ),
    }


def _spread(values: Iterable[float]) -> Json | None:
    known = sorted(values)
    if not known:
        return None
    return {"low": known[0], "median": statistics.median(known), "high": known[-1]}


def _lowest(result: Mapping[str, Any]) -> float:
    return float(min(result["attainmentPercent"].values()))


def _by_pool(summary: Mapping[str, Any]) -> dict[str, float]:
    return {name: pool["attainmentPercent"] for name, pool in summary["pools"].items()}


def _derates(policy: JouleryPolicy) -> dict[str, dict[str, float]]:
    """What each variant counted with when the day ended."""
    return {
        key.name: {v.variant: round(v.derate.share, 4) for v in past.memory.variants}
        for key, past in policy.history.pools.items()
    }


def _name(result: Mapping[str, Any]) -> str:
    return (
        f"{result['day']} seed {result['seed']} start-up {result['startupSeconds']:g} s, "
        f"time x {result['timeFactor']:g}"
    )
