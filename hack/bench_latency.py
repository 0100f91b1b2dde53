"""From the poll that returns a changed sample to the `/scale` patch, with ten pools on a real control plane.

The controller is its own process. Demand comes from an HTTP endpoint that speaks Prometheus' API with
SYNTHESISED figures (tests/support/fake_prometheus.py), one pool's load being stepped up at a time; the patch
is timed by the API server's audit log. Polls are shortened to 1 s: what is measured begins when a poll ends.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "operator"), str(REPOSITORY / "tests" / "support")]

from cluster import find_assets  # noqa: E402
from controller_cluster import (  # noqa: E402
    ControllerProcess,
    apply,
    bare_nodes,
    deployment,
    eventually,
    namespace,
    policy,
    pool,
    profile,
)
from fake_prometheus import FakePrometheus, Load  # noqa: E402
from joulery.emulator.controlplane import ControlPlane  # noqa: E402

POOLS = 10
NAMESPACE = "bench"
MEDIAN_BUDGET_S = 3.0
P99_BUDGET_S = 6.0
_FIRST_RPS = 1.0
# More than one instance carries at any clock. A step asks it of each instance there is: the plan before may have
# provided for a rise, and a load that is within its capacity needs no patch.
_BEYOND_RPS = 15.0
_ROUNDS = 3
_RUNNING_PER_RPS = 10.0
_STEP_TIMEOUT_S = 30.0


def run() -> dict[str, Any]:
    """Figures in seconds, also where a budget is missed: `withinBudget` tells."""
    with tempfile.TemporaryDirectory(prefix="joulery-bench-") as folder:
        steps = asyncio.run(_measure(Path(folder)))
    ordered = sorted(step.latency_s for step in steps)
    median_s, p99_s = median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1]
    return {
        "pools": POOLS,
        "steps": len(ordered),
        "demand": "synthesised HTTP endpoint",
        "pollSeconds": 1,
        "medianSeconds": round(median_s, 3),
        "p99Seconds": round(p99_s, 3),
        "maxSeconds": round(ordered[-1], 3),
        "medianBudgetSeconds": MEDIAN_BUDGET_S,
        "p99BudgetSeconds": P99_BUDGET_S,
        "withinBudget": median_s < MEDIAN_BUDGET_S and p99_s < P99_BUDGET_S,
        # Beyond one poll the planner chose to see the change confirmed.
        "stepsByPolls": dict(sorted(Counter(str(step.polls) for step in steps).items())),
    }


@dataclass(frozen=True)
class Step:
    """One change of load: seconds from the first poll that saw it to the patch, and polls until then."""

    latency_s: float
    polls: int


async def _measure(folder: Path) -> list[Step]:
    loads = [Load({"namespace": NAMESPACE, "model_name": f"{NAMESPACE}-p{i}"}) for i in range(POOLS)]
    for load in loads:
        load.requests_per_s = _FIRST_RPS
    with ControlPlane(find_assets(), folder / "plane") as plane, FakePrometheus(loads) as prometheus:
        await asyncio.to_thread(_install, plane)
        process = ControllerProcess(plane.kubeconfig, prometheus.url, folder / "controller.log")
        async with bare_nodes(plane.kubeconfig, 100):
            with process:
                await eventually(lambda: _cycles(process) >= 3, within_s=120.0)
                return await _step(plane, prometheus)


def _install(plane: ControlPlane) -> None:
    plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    apply(plane, namespace(NAMESPACE), namespace("joulery-system"), policy(), profile())
    for i in range(POOLS):
        apply(plane, deployment(NAMESPACE, f"p{i}-tp4"), pool(NAMESPACE, f"p{i}", most=64))


def _cycles(process: ControllerProcess) -> int:
    return sum(line["message"] == "cycle" for line in process.lines)


async def _step(plane: ControlPlane, prometheus: FakePrometheus) -> list[Step]:
    steps: list[Step] = []
    for _, number in itertools.product(range(_ROUNDS), range(POOLS)):
        load, target = prometheus.loads[number], f"p{number}-tp4"
        rate_rps = _BEYOND_RPS * await asyncio.to_thread(_replicas, plane, target)
        asked = len(prometheus.asked)
        load.requests_per_s, load.running = rate_rps, rate_rps * _RUNNING_PER_RPS
        with suppress(AssertionError):  # a change that never comes is a figure too: the time waited for it
            await eventually(
                lambda a=asked, t=target: _patched_s(plane, t, _polls_s(prometheus, a)),
                within_s=_STEP_TIMEOUT_S,
            )
        polls_s = _polls_s(prometheus, asked)
        patched_s = _patched_s(plane, target, polls_s) or polls_s[0] + _STEP_TIMEOUT_S
        steps.append(Step(patched_s - polls_s[0], sum(at_s < patched_s for at_s in polls_s)))
    return steps


def _replicas(plane: ControlPlane, target: str) -> int:
    found = plane.kubectl("get", "deployment", target, "-n", NAMESPACE, "-o=jsonpath={.spec.replicas}")
    return int(found.stdout)


def _patched_s(plane: ControlPlane, target: str, polls_s: list[float]) -> float | None:
    """When a target was first scaled after the first poll; earlier writes answer earlier loads."""
    return next((at_s for at_s in _patches(plane, target) if polls_s and at_s > polls_s[0]), None)


def _polls_s(prometheus: FakePrometheus, asked: int) -> list[float]:
    """When each poll that began after the change asked its last question."""
    polls_s: list[float] = []
    has_begun = False
    for request in prometheus.asked[asked:]:
        has_begun |= "timestamp(" in request.promql
        if has_begun and "by (namespace, pod)" in request.promql:
            polls_s.append(request.at_s)
            has_begun = False
    return polls_s


def _patches(plane: ControlPlane, target: str) -> list[float]:
    """Times of the successful writes to a target's /scale, in seconds since the epoch."""
    return [
        datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp()
        for event in plane.audit_events()
        if _is_patch(event, target)
    ]


def _is_patch(event: dict[str, Any], target: str) -> bool:
    ref = event.get("objectRef", {})
    written = event.get("responseStatus", {}).get("code") == 200 and event["verb"] == "patch"
    return bool(written and ref.get("subresource") == "scale" and ref.get("name") == target)


if __name__ == "__main__":
    print(run())
