"""Runs `decide` off the event loop, and goes on without a solver where it does not come back.

HiGHS keeps its time limit by its own clock; one that hangs would otherwise hold up every plan until the
process is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.planner.decision import Decision
from joulery.planner.history import History
from joulery.ports import Observation

_log = logging.getLogger(__name__)

Decide = Callable[[Observation, Mapping[ObjectKey, Demand], History], Decision]

# The first decision of a process compiles the engine model, which takes a minute without a cache.
PATIENCE_S = 120.0


class Decider:
    """One decision at a time. A late one is left to its thread, and until it returns no solver is asked."""

    def __init__(self, decide: Decide, executor: Executor, patience_s: float = PATIENCE_S) -> None:
        self._decide = decide
        self._executor = executor
        self._patience_s = patience_s
        self._late: asyncio.Future[Decision] | None = None

    async def decide(
        self, observation: Observation, demand: Mapping[ObjectKey, Demand], history: History
    ) -> Decision:
        """The decision; by the fallback engine where the solver hangs.

        Raises:
            TimeoutError: not even that came back.
        """
        if self._late is not None and self._late.done():
            _log.info("the solver has returned")
            self._late = None
        if self._late is None:
            begun = self._begun(observation, demand, history)
            await asyncio.wait([begun], timeout=self._patience_s)
            if begun.done():
                return begun.result()
            _log.error("the solver hangs, the fallback plans", extra={"after_s": self._patience_s})
            self._late, self._executor = begun, ThreadPoolExecutor(1, thread_name_prefix="planner")
        async with asyncio.timeout(self._patience_s):
            return await self._begun(unsolved(observation), demand, history)

    def _begun(
        self, observation: Observation, demand: Mapping[ObjectKey, Demand], history: History
    ) -> asyncio.Future[Decision]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, self._decide, observation, demand, history)


def unsolved(observation: Observation) -> Observation:
    """The observation with no time for a solver: the fallback engine plans, and says so."""
    policies = tuple(replace(policy, solver_time_limit_s=0.0) for policy in observation.policies)
    return replace(observation, policies=policies)
