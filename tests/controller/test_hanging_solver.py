"""A decision that does not come back is left to itself, and the fallback engine plans until it does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakes import CHAT, decision, observation
from joulery.controller.deciding import Decider
from joulery.domain.policy import Policy
from joulery.planner.decision import Decision
from joulery.planner.history import History
from joulery.ports import Observation

SEEN = observation(policies=(Policy("default"),))
PATIENCE_S = 0.2


class Hanging:
    """A `decide` that waits to be let go wherever it may ask a solver."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.limits_s: list[float] = []

    def __call__(self, seen: Observation, demand: Mapping[object, object], history: History) -> Decision:
        self.limits_s.append(seen.policies[0].solver_time_limit_s)
        if seen.policies[0].solver_time_limit_s > 0.0:
            assert self.let_go.wait(20.0)
        return decision()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.let_go.set()


async def decide(decider: Decider) -> Decision:
    return await decider.decide(SEEN, {}, History.empty())


async def test_fallback_plans_while_the_solver_hangs_and_is_asked_again_when_it_is_back(
    hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    decider = Decider(hanging, ThreadPoolExecutor(1), PATIENCE_S)
    for _ in range(3):
        assert CHAT in (await decide(decider)).findings
    assert hanging.limits_s == [5.0, 0.0, 0.0, 0.0]
    assert [r.getMessage() for r in caplog.records] == ["the solver hangs, the fallback plans"]
    hanging.let_go.set()
    async with asyncio.timeout(5.0):
        while hanging.limits_s[-1] == 0.0:
            await decide(decider)


async def test_decision_in_time_is_asked_for_once(hanging: Hanging) -> None:
    hanging.let_go.set()
    await decide(Decider(hanging, ThreadPoolExecutor(1), PATIENCE_S))
    assert hanging.limits_s == [5.0]


async def test_decision_that_fails_is_raised_and_is_no_hang(hanging: Hanging) -> None:
    def failing(*_: object) -> Decision:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await decide(Decider(failing, ThreadPoolExecutor(1), PATIENCE_S))


async def test_nothing_waits_for_ever_where_no_policy_bounds_the_solver(hanging: Hanging) -> None:
    def endless(*_: object) -> Decision:
        assert hanging.let_go.wait(20.0)
        return decision()

    with pytest.raises(TimeoutError):
        await decide(Decider(endless, ThreadPoolExecutor(1), PATIENCE_S))
