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
# Each is beyond what the instances before it carry, whatever they are clocked at.
_FIRST_RPS = 1.0
_STEPS_RPS = (15.0, 30.0, 60.0)
_RUNNING_PER_RPS = 10.0
_STEP_TIMEOUT_S = 30.0


def run() -> dict[str, Any]:
    """Figures in seconds; AssertionError where a budget is missed."""
    with tempfile.TemporaryDirectory(prefix="joulery-bench-") as folder:
        latencies_s = asyncio.run(_measure(Path(folder)))
    ordered = sorted(latencies_s)
    figures = {
        "pools": POOLS,
        "steps": len(ordered),
        "demand": "synthesised HTTP endpoint",
        "pollSeconds": 1,
        "medianSeconds": round(median(ordered), 3),
        "p99Seconds": round(ordered[math.ceil(0.99 * len(ordered)) - 1], 3),
        "maxSeconds": round(ordered[-1], 3),
    }
    assert figures["medianSeconds"] < MEDIAN_BUDGET_S, figures
    assert figures["p99Seconds"] < P99_BUDGET_S, figures
    return figures


async def _measure(folder: Path) -> list[float]:
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


async def _step(plane: ControlPlane, prometheus: FakePrometheus) -> list[float]:
    latencies_s: list[float] = []
    for rate_rps, number in itertools.product(_STEPS_RPS, range(POOLS)):
        load, target = prometheus.loads[number], f"p{number}-tp4"
        seen = len(_patches(plane, target))
        asked = len(prometheus.asked)
        load.requests_per_s, load.running = rate_rps, rate_rps * _RUNNING_PER_RPS
        await eventually(lambda n=seen, t=target: len(_patches(plane, t)) > n, within_s=_STEP_TIMEOUT_S)
        patched_s = _patches(plane, target)[seen]
        latencies_s.append(patched_s - _poll_end_s(prometheus, asked, patched_s))
    return latencies_s


def _poll_end_s(prometheus: FakePrometheus, asked: int, patched_s: float) -> float:
    """When the first poll with the changed figures had its last answer."""
    polls: list[float] = []
    for request in prometheus.asked[asked:]:
        if "by (namespace, pod)" in request.promql and request.at_s < patched_s:
            polls.append(request.at_s)
    return polls[0]


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
