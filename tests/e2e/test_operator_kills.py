"""The operator killed at random points while it scales, and restarted: nothing is written twice or too low.

Five kills in every run, fifty in `make soak`. The need is computed here, from the load that is injected and
the profile's capacity at the highest clock, not read from the operator.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audited_need import below_need, repeated
from cluster import REPOSITORY
from joulery.demo.datacentre import CONTROLLER
from live_centre import CADENCE, LiveCentre, SteppedLoad, capacity_rps, live_centre, live_pool, wait_for

KILLED = live_pool("killed", 2, 4)
AS_FOUND = {"tp4": 1}
# Up and down again, within what 32 GPUs carry with room for a surge.
RATES_RPS = (4.0, 16.0, 28.0, 10.0, 36.0)
EPOCHS_TO_CONVERGE = 2
# A process imports, lists and solves before it can do anything.
START_ALLOWANCE_S = 10.0


@dataclass(frozen=True)
class Campaign:
    """Figures of one campaign of kills."""

    kills: int
    seed: int
    writes: int
    repeated: list[tuple[str, str]]
    below_need: list[str]
    kills_within_2s_of_a_write: int
    converged_s: float

    def figures(self) -> dict[str, Any]:
        """As stored in build/soak.json."""
        return {
            "kills": self.kills,
            "seed": self.seed,
            "scaleWrites": self.writes,
            "writesRepeatedUnderOnePlan": len(self.repeated),
            "writesBelowObservedNeed": len(self.below_need),
            "killsWithin2sOfAWrite": self.kills_within_2s_of_a_write,
            "convergedSecondsAfterLastRestart": round(self.converged_s, 1),
            "planEpochSeconds": CADENCE.plan_epoch_s,
        }


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCentre]:
    with live_centre(tmp_path_factory.mktemp("kills"), [KILLED.key], nodes=4) as running:
        yield running


@pytest.fixture(scope="module")
def load(live: LiveCentre) -> Iterator[SteppedLoad]:
    live.install(KILLED, AS_FOUND)
    with SteppedLoad(live.control, str(KILLED.key)) as running:
        yield running


@pytest.mark.e2e
def test_operator_killed_five_times_writes_once_and_never_below_need(
    live: LiveCentre, load: SteppedLoad
) -> None:
    judge(campaign(live, load, rounds=1, seed=5))


@pytest.mark.soak
def test_operator_killed_fifty_times_writes_once_and_never_below_need(
    live: LiveCentre, load: SteppedLoad
) -> None:
    result = campaign(live, load, rounds=10, seed=50)
    store(REPOSITORY / "build" / "soak.json", "operatorKills", result.figures())
    judge(result)
    assert result.writes >= 20


def campaign(live: LiveCentre, load: SteppedLoad, *, rounds: int, seed: int) -> Campaign:
    """Step the load, kill the operator at a random moment of its answer, restart it; again and again."""
    chance = random.Random(seed)
    load.step_to(RATES_RPS[0])
    wait_for("a plan", lambda: live.pool(KILLED).get("status", {}).get("memory", {}).get("goalReplicas"))
    killed_at_s: list[float] = []
    for number in range(rounds):
        if number > 0:
            # A restart waits before it takes anything away, so kills alone would only ever see ways up.
            wait_for("convergence", lambda: has_converged(live, load.rate_rps), 60.0)
            asked = sum(live.replicas(KILLED).values())
            load.step_to(RATES_RPS[0])
            wait_for("a way down", lambda asked=asked: sum(live.replicas(KILLED).values()) < asked, 120.0)
        for rate_rps in (*RATES_RPS[1:], RATES_RPS[1]):
            load.step_to(rate_rps)
            # The random moment is the test: within it lie polls, plans, writes of status and of replicas.
            time.sleep(chance.uniform(0.5, 4.5))
            live.centre.processes.children[CONTROLLER].kill()
            killed_at_s.append(time.time())
            live.centre.start_controller()
    restarted_s, cycles = time.monotonic(), cycles_of(live)
    wait_for("a cycle of the last process", lambda: cycles_of(live) > cycles, 60.0)
    wait_for("convergence", lambda: has_converged(live, load.rate_rps), 60.0)
    converged_s = time.monotonic() - restarted_s
    writes = live.writes(KILLED)
    near = sum(any(abs(w.at_s - at_s) < 2.0 for w in writes) for at_s in killed_at_s)
    return Campaign(
        kills=len(killed_at_s),
        seed=seed,
        writes=len(writes),
        repeated=repeated(writes),
        below_need=below_need(KILLED, writes, load, AS_FOUND),
        kills_within_2s_of_a_write=near,
        converged_s=converged_s,
    )


def has_converged(live: LiveCentre, rate_rps: float) -> bool:
    """What the plan in status asks for is what is asked of the workloads and what is ready, and carries the load."""
    asked, ready = live.replicas(KILLED), live.ready(KILLED)
    status = live.pool(KILLED)["status"]
    target = {v["name"]: v.get("targetReplicas") for v in status["variants"]}
    rates = {name: capacity_rps(KILLED, name) for name, count in ready.items() if count}
    carried = sum(ready.values()) * min(rates.values(), default=0.0)
    return asked == ready == target and carried >= rate_rps


def cycles_of(live: LiveCentre) -> int:
    """Cycles that all processes so far have logged."""
    return sum(line["message"] == "cycle" for line in live.log_lines())


def judge(result: Campaign) -> None:
    """The claims of a campaign."""
    print(json.dumps({"operatorKills": result.figures()}))
    assert result.writes > 0
    assert result.repeated == []
    assert result.below_need == []
    assert result.converged_s <= EPOCHS_TO_CONVERGE * CADENCE.plan_epoch_s + START_ALLOWANCE_S


def store(path: Path, key: str, figures: dict[str, Any]) -> None:
    """Add figures to a document that other campaigns write, too."""
    path.parent.mkdir(exist_ok=True)
    document = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(document | {"schemaVersion": 1, key: figures}, indent=2) + "\n")
