"""What a live run of the capacity loop came to: when the plan was made, when it was carried out, what was missed.

Times are Unix seconds. Requests are judged by the emulator's own record of each, not by what Prometheus saw.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from joulery.domain.demand import ATTAINMENT_WINDOW_S
from joulery.domain.policy import Cadence, Guardrails
from joulery.domain.pool import Pool
from joulery.emulator.control_client import RecordedOutcomes
from live_centre import INPUT_TOKENS, OUTPUT_TOKENS, LiveCentre, Rhythm

PROMISE = 0.99
_NS = 1e-9
# Long enough for a machine that is busy with all the rest.
_AHEAD_S = 8.0


def true_rhythm() -> Rhythm:
    """What users get who set nothing: default cadences and windows, and engines that start in two minutes."""
    return Rhythm(
        Cadence(),
        Guardrails(),
        startup_s=120.0,
        scrape_s=15.0,
        load_window_s=60.0,
        attainment_window_s=ATTAINMENT_WINDOW_S,
        warmup_requests=20,
    )


class PoissonLoad:
    """Requests of one pool as a Poisson process at a rate that a test sets; sent a few seconds ahead, to the second.

    Where the machine stalls for longer, seconds pass without requests: `skipped_s` of them.
    """

    def __init__(self, live: LiveCentre, pool: Pool, seed: int) -> None:
        self._control, self._pool = live.control, str(pool.key)
        self._chance = np.random.default_rng(seed)
        self._rate_rps = 0.0
        self.skipped_s = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failed: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        status = self._control.status()
        self._model_s = float(status["modelSeconds"]) - time.monotonic()
        self._unix_s = float(status["startedAtUnixSeconds"])
        self._next_s = round(float(status["modelSeconds"])) + round(_AHEAD_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10.0)
        assert not self._failed, self._failed

    def step_to(self, rate_rps: float) -> float:
        """Another rate; the Unix time from which it holds, a few seconds ahead."""
        with self._lock:
            self._rate_rps = rate_rps
            return self._unix_s + self._next_s

    def _run(self) -> None:
        try:
            while not self._over.wait(0.2):
                while self._next_s < self._model_s + time.monotonic() + _AHEAD_S:
                    with self._lock:
                        self._skip_what_is_late()
                        self._send_second()
        except Exception as error:
            self._failed.append(error)

    def _skip_what_is_late(self) -> None:
        soonest_s = round(self._model_s + time.monotonic() + _AHEAD_S / 2.0)
        if self._next_s < soonest_s:
            self.skipped_s += soonest_s - self._next_s
            self._next_s = soonest_s

    def _send_second(self) -> None:
        arrivals = np.sort(self._chance.uniform(0.0, 1.0, self._chance.poisson(self._rate_rps)))
        inputs, outputs = np.full(len(arrivals), INPUT_TOKENS), np.full(len(arrivals), OUTPUT_TOKENS)
        if len(arrivals):
            self._control.submit(self._pool, arrivals, inputs, outputs, start_s=float(self._next_s))
        self._next_s += 1


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of one pool by arrival; `attained` where both latencies were within the objective."""

    arrival_s: npt.NDArray[np.float64]
    attained: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, outcomes: RecordedOutcomes, pool: Pool, until_s: float) -> Requests:
        """Those that arrived before a time; one without an answer was outside its objective."""
        columns = outcomes.requests(str(pool.key))
        arrival_s = columns["arrival_ns"] * _NS + float(outcomes.summary["startedAtUnixSeconds"])
        limit_ms = pool.objective
        attained = (
            (columns["finish_ns"] >= 0)
            & (columns["ttft_ns"] <= limit_ms.time_to_first_token_ms * 1_000_000)
            & (columns["tpot_ns"] <= limit_ms.time_per_output_token_ms * 1_000_000)
        )
        counted = arrival_s < until_s
        return cls(arrival_s[counted], attained[counted])

    def attainment(self, from_s: float, to_s: float = np.inf) -> float:
        """Share within the objective of those that arrived in between; 1 where none did."""
        chosen = (self.arrival_s >= from_s) & (self.arrival_s < to_s)
        return float(self.attained[chosen].mean()) if chosen.any() else 1.0

    def missed(self, from_s: float, to_s: float = np.inf) -> int:
        """How many of those that arrived in between were outside."""
        chosen = (self.arrival_s >= from_s) & (self.arrival_s < to_s)
        return int((~self.attained[chosen]).sum())

    def kept_from(self, from_s: float, step_s: float) -> float | None:
        """The earliest time, in steps, from which what arrived keeps the promise to the end; None where none is."""
        last_s = float(self.arrival_s.max())
        times = np.arange(from_s, last_s - 10.0 * step_s, step_s)
        return next((float(t) for t in times if self.attainment(float(t)) >= PROMISE), None)


class StatusTrail:
    """What the pool's status said of its profile over time."""

    def __init__(self, live: LiveCentre, pool: Pool) -> None:
        self._live, self._pool = live, pool
        self._seen: list[tuple[float, Mapping[str, Any]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20.0)

    def derates(self, step_s: float) -> list[dict[str, float]]:
        """The share of the profile's speed that was counted on, whenever it changed; seconds after the step."""
        found: list[dict[str, float]] = []
        for at_s, status in self._seen:
            variants = status.get("memory", {}).get("variants", ())
            share = min((v.get("derate", {}).get("basisPoints", 10_000) / 1e4 for v in variants), default=1.0)
            if not found or found[-1]["share"] != share:
                found.append({"atSeconds": round(at_s - step_s, 1), "share": share})
        return found

    def _run(self) -> None:
        while not self._over.wait(5.0):
            self._seen.append((time.time(), self._live.pool(self._pool).get("status", {})))


def up_only_plans(live: LiveCentre, after_s: float) -> list[float]:
    """When up-only plans were made, by the controller's log."""
    seen: set[str] = set()
    times: list[float] = []
    for line in live.log_lines():
        if line["message"] == "cycle" and line["plan_id"] not in seen:
            seen.add(line["plan_id"])
            at_s = datetime.fromisoformat(line["time"]).timestamp()
            times += [at_s] if line["kind"] == "UpOnly" and at_s >= after_s else []
    return times


def ready_times(live: LiveCentre, pool: Pool, after_s: float) -> list[float]:
    """When pods that are there became ready, in order."""
    found = []
    for pod in live.pods(pool):
        ready = next((c for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"), None)
        if ready is not None and ready["status"] == "True":
            found.append(datetime.fromisoformat(ready["lastTransitionTime"]).timestamp())
    return sorted(at_s for at_s in found if at_s >= after_s)


def figures(live: LiveCentre, pool: Pool, requests: Requests, step_s: float) -> dict[str, Any]:
    """The figures of one run from a step of load, seconds after it."""
    startup_s = live.rhythm.startup_s
    ups = [w for w in live.writes(pool) if w.want > w.seen and w.at_s >= step_s]
    plans, ready = up_only_plans(live, step_s), ready_times(live, pool, step_s)
    kept_s = requests.kept_from(step_s, 1.0)
    back_s = step_s + 2.0 * startup_s
    ordered_s = (ups[0].at_s if ups else np.inf) + 2.0 * startup_s
    lag = live.control.status()["lag"]
    return {
        "startUpSeconds": startup_s,
        "planEpochSeconds": live.rhythm.cadence.plan_epoch_s,
        "demandPollSeconds": live.rhythm.cadence.demand_poll_s,
        "attainmentBeforePercent": _percent(requests.attainment(0.0, step_s)),
        "secondsToUpOnlyPlan": _after(plans, step_s),
        "secondsToFirstWrite": _after([w.at_s for w in ups], step_s),
        "writes": [{"atSeconds": round(w.at_s - step_s, 1), "from": w.seen, "to": w.want} for w in ups],
        "secondsToFirstReady": _after(ready, step_s),
        "secondsToLastReady": round(ready[-1] - step_s, 1) if ready else None,
        "requests": len(requests.arrival_s[requests.arrival_s >= step_s]),
        "requestsOutsideObjective": requests.missed(step_s),
        "requestsOutsideObjectiveAfterTwoStartUps": requests.missed(back_s),
        "attainmentAfterTwoStartUpsPercent": _percent(requests.attainment(back_s)),
        "attainmentTwoStartUpsAfterFirstWritePercent": _percent(requests.attainment(ordered_s))
        if ups
        else None,
        "attainmentPerStartUpPercent": [
            _percent(requests.attainment(at_s, at_s + startup_s))
            for at_s in np.arange(step_s, requests.arrival_s.max(), startup_s)
        ],
        "secondsUntilPromiseIsKept": None if kept_s is None else round(kept_s - step_s, 1),
        "emulatorLagP99Milliseconds": round(float(lag["p99Milliseconds"]), 1),
    }


def told(live: LiveCentre, pool: Pool, reason: str) -> list[str]:
    """Messages of the Events of one reason about a pool."""
    events = live.centre.get("events", f"-n={pool.key.namespace}")["items"]
    mine = (e for e in events if e["involvedObject"]["name"] == pool.key.name and e["reason"] == reason)
    return [str(e.get("message") or e.get("note")) for e in mine]


def stored(path: Path, key: str, found: dict[str, Any]) -> None:
    """Print the figures, and add them to a document that other campaigns write, too."""
    print(json.dumps({key: found}))
    path.parent.mkdir(exist_ok=True)
    document = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(document | {"schemaVersion": 1, key: found}, indent=2) + "\n")


def _after(times: Sequence[float], from_s: float) -> float | None:
    return round(times[0] - from_s, 1) if times else None


def _percent(share: float) -> float:
    return round(100.0 * share, 2)
