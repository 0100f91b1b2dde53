"""Benchmark of the serving model: requests per second of the engine, seconds of operating points.

Usage: python hack/bench_serving.py. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("operator", "tests/support")]

from joulery.domain.request_class import Objective  # noqa: E402
from joulery.serving.engine import Engine  # noqa: E402
from joulery.serving.mix import of_requests  # noqa: E402
from joulery.serving.points import operating_points  # noqa: E402
from joulery.serving.sample import Sample  # noqa: E402
from joulery.serving.trial import Trial  # noqa: E402
from serving_cases import azure_lengths, instance, resampled, shipped_profile  # noqa: E402

OBJECTIVE = Objective(time_to_first_token_ms=2000, time_per_output_token_ms=100)
REQUESTS = 200_000


def engine_requests_per_s(tensor_parallel_size: int, rate_rps: float) -> float:
    """Simulated requests per second: Azure conversation lengths, Poisson arrivals, joules included."""
    inputs, outputs = resampled(*azure_lengths("conv"), count=REQUESTS, seed=0)
    trial = Trial(
        instance(tensor_parallel_size), 512, 256, Sample.of_lengths(inputs, outputs, seed=0), OBJECTIVE, 0.99
    )
    started = time.perf_counter()
    trial.loaded(1980, rate_rps)
    return REQUESTS / (time.perf_counter() - started)


def microseconds_per_call() -> dict[str, float]:
    """Overhead of the Python interface on an idle engine."""
    engine = Engine(instance(4), token_budget=512, max_num_seqs=256, clock_mhz=1980)
    calls = {
        "advance": lambda: engine.advance(engine.now_ns + 1),
        "counters": engine.counters,
        "submit": lambda: engine.submit(engine.now_ns, 10, 10),
    }
    found = {}
    for name, call in calls.items():
        started = time.perf_counter()
        for _ in range(2000):
            call()
        found[name] = (time.perf_counter() - started) / 2000 * 1e6
    return found


def run() -> dict[str, object]:
    """Engine speed at 70 % load, overhead per call, and seconds and seed spread of operating points, cold."""
    clocks = shipped_profile().accelerators["H100-SXM-80GB"].device.supported_clocks_mhz
    mix = of_requests(*azure_lengths("conv"))
    engine_requests_per_s(4, 6.0)  # compiles, or loads what was compiled
    points: dict[str, object] = {}
    rates = {}
    for size in (2, 4, 8):
        started = time.perf_counter()
        found = operating_points(
            instance(size),
            token_budget=512,
            max_num_seqs=256,
            mix=mix,
            objective=OBJECTIVE,
            clocks_mhz=clocks,
        )
        points[f"tp{size}"] = {
            "seconds": round(time.perf_counter() - started, 3),
            "clocks": len(clocks),
            "requests": found.requests,
            "seedSpreadPercent": round(100 * float(found.seed_spread.max()), 1),
        }
        rates[size] = found.rate_at(len(clocks) - 1)
    return {
        "engineRequestsPerSecond": {
            f"tp{s}": round(engine_requests_per_s(s, 0.7 * r)) for s, r in rates.items()
        },
        "callMicroseconds": {name: round(us, 1) for name, us in microseconds_per_call().items()},
        "operatingPoints": points,
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
