"""The replay gate: five days, five seeds, two start-up times; cases side by side in processes, progress shown."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from joulery.simulator.evaluation import BASELINES, BOUNDARIES, Case, evaluate
from joulery.simulator.processes import side_by_side
from joulery.simulator.scenario import SHARED_DAYS

SCHEMA_VERSION = 1
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Campaign:
    """Which cases run. Knob shares are measured on the first seed and start-up time of each day."""

    days: Sequence[date] = SHARED_DAYS
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    startups_s: Sequence[float] = (120.0, 360.0)
    workers: int = 2

    def groups(self) -> Iterator[tuple[bool, tuple[Case, ...]]]:
        """Cases that share a day and a seed, and whether knob shares are measured on the first of them."""
        for day, seed in itertools.product(self.days, self.seeds):
            yield seed == self.seeds[0], tuple(Case(day, seed, startup_s) for startup_s in self.startups_s)


def _evaluate_group(group: tuple[bool, tuple[Case, ...]]) -> list[Json]:
    knobs, cases = group
    results: list[Json] = []
    for case in cases:
        static = {n: results[0]["policies"][n] for n in ("SinglePool", "BestStatic")} if results else None
        results.append(evaluate(case, knobs=knobs and not results, static=static))
    return results


def run_campaign(campaign: Campaign, out: Path) -> Json:
    """Run all cases, write the file after each, return what was written."""
    groups = list(campaign.groups())
    results: list[Json] = []
    report: Json = {}
    for done in side_by_side(_evaluate_group, groups, workers=campaign.workers, label="replaying days"):
        results.extend(done)
        results.sort(key=lambda r: (r["day"], r["seed"], r["startupSeconds"]))
        report = written(out, {"gate": gate(results), "cases": list(results)})
    return report


def written(out: Path, figures: Mapping[str, Any]) -> Json:
    """The file's figures with these in place of what it had under their keys; others stay."""
    known: Json = json.loads(out.read_text()) if out.exists() else {}
    report = {**known, "schemaVersion": SCHEMA_VERSION, **figures}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    return report


def gate(results: Sequence[Mapping[str, Any]]) -> Json:
    """The figures that the gate asks for, over all cases so far."""
    slower = [r for r in results if not r["truth"]["noSlowerThanProfile"]]
    faster = [r for r in results if r["truth"]["noSlowerThanProfile"]]
    return {
        "cases": len(results),
        "lowestAttainmentPercentWhereTruthNoSlower": _lowest(faster),
        "lowestAttainmentPercentWhereTruthSlower": _lowest(slower),
        "casesBelow99PercentWhereTruthNoSlower": [
            _name(r) for r in faster if r["lowestAttainmentPercent"]["Joulery"] < 99.0
        ],
        "casesBelow99PercentWhereTruthSlower": [
            _name(r) for r in slower if r["lowestAttainmentPercent"]["Joulery"] < 99.0
        ],
        "savingPercent": {b: _savings(results, b) for b in BASELINES},
        "notBetter": [
            f"{_name(r)}: {baseline} at {boundary} by {-r['savingPercent'][baseline][boundary]:.2f} %"
            for r in results
            for baseline in ("BestStatic", "Reactive")
            for boundary in ("gpu", "fleet")
            if r["savingPercent"][baseline][boundary] <= 0.0
        ],
        "baselinesBelow99Percent": [
            f"{_name(r)}: {baseline}"
            for r in results
            for baseline in BASELINES
            if r["lowestAttainmentPercent"][baseline] < 99.0
        ],
        "downsWithinDwell": sum(_action(r, "downsWithinDwell") for r in results),
        "upsAfterDowns": sum(_action(r, "upsAfterDowns") for r in results),
        "knobs": _knobs(results),
    }


def _name(result: Mapping[str, Any]) -> str:
    return f"{result['day']} seed {result['seed']} start-up {result['startupSeconds']:g} s"


def _lowest(results: Iterable[Mapping[str, Any]]) -> float | None:
    return min((r["lowestAttainmentPercent"]["Joulery"] for r in results), default=None)


def _action(result: Mapping[str, Any], name: str) -> int:
    return int(result["policies"]["Joulery"]["actions"][name])


def _savings(results: Sequence[Mapping[str, Any]], baseline: str) -> Json:
    """Lowest, median and highest saving over days and hidden truths: the band."""
    bands = {}
    for boundary in BOUNDARIES:
        values = [r["savingPercent"][baseline][boundary] for r in results]
        bands[boundary] = {"low": min(values), "median": statistics.median(values), "high": max(values)}
    return bands


def _knobs(results: Sequence[Mapping[str, Any]]) -> Json:
    measured = [r["knobs"] for r in results if "knobs" in r]
    if not measured:
        return {}
    return {
        knob: {
            b: round(statistics.mean(m[knob][f"{b}ExtraPercent"] for m in measured), 3) for b in BOUNDARIES
        }
        for knob in measured[0]
    }
