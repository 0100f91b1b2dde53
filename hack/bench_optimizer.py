"""The short form of `joulery bench optimizer`, and the engines on pools as the planner makes them.

The latter: 3, 10 and 100 pools of about 600 options each.
Every solve is cold (no state is carried between solves), in one process, the import of cvxpy excluded.
Three supplies: `loose` (each pool's own optimum fits), `tight` (these do not, yet nearly always everybody is
served) and `short` (somebody sheds).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
POOLS = (3, 10, 100)
SUPPLIES = {"loose": 1.5, "tight": 0.9, "short": 0.7}
ENGINES = ("milp", "fallback")
SEEDS = {3: 12, 10: 12, 100: 4}


def run() -> dict[str, dict[str, float]]:
    """Figures per `case/form/engine` of the suite and per `pools/supply/engine` of the planner's."""
    sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests" / "support")]
    import cvxpy  # noqa: F401  import time is not solve time

    from joulery.bench.app import suite
    from joulery.bench.targets import judged

    figures, failures = suite(is_full=False)
    assert not failures, "; ".join(failures)
    targets = {f"targets/{name}": dict(verdict) for name, verdict in judged(figures).items()}
    return (
        targets
        | figures
        | {
            f"{pools}/{supply}/{engine}": _measure(pools, tightness, engine)
            for pools in POOLS
            for supply, tightness in SUPPLIES.items()
            for engine in ENGINES
        }
    )


def _measure(pools: int, tightness: float, engine: str) -> dict[str, float]:
    from joulery.optimizer.checker import check
    from joulery.optimizer.solve import solve
    from problems import fleet_problem

    taken_ms, shed, cost_w, gap = [], [], [], []
    for seed in range(SEEDS[pools]):
        problem = fleet_problem(seed, pools, tightness)
        milliseconds, solution = _timed(lambda problem=problem: solve(problem, engine=engine))
        violations = check(problem, solution)
        if violations:
            raise SystemExit(f"{pools} pools, seed {seed}, {engine}: {'; '.join(violations)}")
        taken_ms.append(milliseconds)
        shed.append(sum(solution.shed))
        cost_w.append(solution.cost_w)
        gap.append(1.0 - solution.bound_w / solution.cost_w)
    return {
        "p50_ms": round(statistics.median(taken_ms), 2),
        "p90_ms": round(statistics.quantiles(taken_ms, n=10, method="inclusive")[-1], 2),
        "mean_pools_shed": round(statistics.fmean(shed), 4),
        "mean_cost_kw": round(statistics.fmean(cost_w) / 1e3, 3),
        "max_gap_to_own_bound": round(max(gap), 6),
    }


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = call()
    return (time.perf_counter() - started) * 1e3, result


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
