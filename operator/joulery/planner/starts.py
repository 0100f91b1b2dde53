"""What a limit on the starts of one plan did to its pools, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.optimizer.problem import Problem
from joulery.optimizer.solution import Solution
from joulery.planner.options import PoolOptions

_CURE = "raise spec.solver.maxStartsPerPlan of EnergyPolicy default to let more start in one plan"


@dataclass(frozen=True, slots=True)
class Started:
    """Instances that a plan starts, those of them that no limit could refuse, and the limit, None without one."""

    instances: int
    beyond: int
    most: int | None

    @classmethod
    def of(cls, problem: Problem, solution: Solution) -> Started:
        """What a solution starts."""
        pairs = zip(problem.pools, solution.choice.option, strict=True)
        instances = sum(int(pool.starts[option]) for pool, option in pairs if pool.starts is not None)
        return cls(instances, solution.starts_over_limit, problem.max_starts)

    def told(self, options: PoolOptions, option: int) -> tuple[Verdict, ...]:
        """Why a pool starts fewer than would be best for it, or some although the limit is reached."""
        starts = options.block.starts
        if self.most is None or starts is None:
            return ()
        chosen = options.target(option)
        now = f"pool {options.block.key}: {chosen.replicas} x {chosen.variant}"
        if self.beyond and starts[option]:
            text = (
                f"{now}: the load needs {self.beyond} starts more than the {self.most} that one plan may make"
            )
            return (Verdict(reasons.STARTS_LIMITED, f"{text}; {_CURE}"),)
        best = _cheapest_full(options)
        if starts[best] - starts[option] <= max(0, self.most - self.instances):
            return ()
        wished = options.target(best)
        why = f"one plan starts at most {self.most} instances to save energy"
        text = f"{now}, not {wished.replicas} x {wished.variant}: {why}; {_CURE}"
        return (Verdict(reasons.STARTS_LIMITED, text),)


def _cheapest_full(options: PoolOptions) -> int:
    """What the pool would be on if it were alone."""
    block = options.block
    cost_w = np.where(block.served >= block.served.max(), block.watts + block.switch_w, np.inf)
    return int(cost_w.argmin())
