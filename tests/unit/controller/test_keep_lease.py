"""The Lease is renewed while the planner lives, and only then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fakes import FakeClock, Rig
from joulery.controller.app import keep_lease
from joulery.controller.health import Health
from joulery.errors import UnavailableError


@dataclass
class FakeLease:
    """Notes plan ids; fails while `failing`. Each call can be awaited."""

    failing: bool = False
    calls: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    async def renew(self, plan_id: str | None) -> None:
        self.calls.put_nowait(plan_id)
        if self.failing:
            raise UnavailableError("renewing the Lease: 503")


class Keeper:
    """keep_lease running at full speed beside a loop that is not."""

    def __init__(self) -> None:
        self.lease, self.clock, self.loop = FakeLease(), FakeClock(), Rig().loop
        self.health = Health(60.0, self.clock.now_s)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Keeper:
        self._task = asyncio.create_task(keep_lease(self.lease, self.health, self.loop, every_s=0.0))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def renewal(self) -> str | None:
        return await asyncio.wait_for(self.lease.calls.get(), 2.0)

    async def turn(self, times: int = 20) -> None:
        """Let the keeper go round a few times."""
        for _ in range(times):
            await asyncio.sleep(0)


async def test_lease_carries_the_plan_in_force() -> None:
    async with Keeper() as keeper:
        assert await keeper.renewal() is None
        keeper.loop.plan_id = "p-7"
        await keeper.turn()
        while not keeper.lease.calls.empty():
            last = keeper.lease.calls.get_nowait()
        assert last == "p-7"


async def test_stale_planner_lets_the_lease_run_out_and_a_living_one_renews_it() -> None:
    async with Keeper() as keeper:
        await keeper.renewal()
        keeper.clock.at_s += 60.0
        await keeper.turn()
        before = keeper.lease.calls.qsize()
        await keeper.turn()
        assert keeper.lease.calls.qsize() == before
        keeper.health.beat(None)
        await keeper.turn()
        assert keeper.lease.calls.qsize() > before


async def test_failed_renewal_is_tried_again() -> None:
    async with Keeper() as keeper:
        keeper.lease.failing = True
        await keeper.renewal()
        await keeper.renewal()
        keeper.lease.failing = False
        await keeper.renewal()
