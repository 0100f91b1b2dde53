"""One thread per GPU, so that a driver call that hangs stops that GPU and nothing else."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from joulery.agent.gpu import GpuDevice, GpuError, GpuFacts, GpuTrouble

_T = TypeVar("_T")


class _Call:
    """One call on its way to the device and back."""

    def __init__(self, work: Callable[[GpuDevice], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self.answer: asyncio.Future[object] = self._loop.create_future()
        self.is_abandoned = False
        self.is_finished = False

    def run(self, device: GpuDevice) -> None:
        """In the worker's thread. A call given up while it waited is skipped: its order is out of date."""
        outcome: object = None
        if not self.is_abandoned:
            try:
                outcome = self._work(device)
            except GpuError as error:
                outcome = error
        self.is_finished = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: object) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, GpuError):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class DeviceWorker:
    """Calls one GPU from a thread of its own, in order, each call under a deadline."""

    def __init__(self, device: GpuDevice, limit_s: float) -> None:
        self.facts: GpuFacts = device.facts
        self._device = device
        self._limit_s = limit_s
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._late: _Call | None = None
        # A daemon, so that a call that never returns cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"gpu-{self.facts.index}", daemon=True)
        self._thread.start()

    @property
    def is_stuck(self) -> bool:
        """Whether a call is past its deadline and has not returned."""
        return self._late is not None and not self._late.is_finished

    async def call(self, work: Callable[[GpuDevice], _T]) -> _T:
        """The outcome of `work`. Raises GpuError; STUCK past the deadline and while a late call is out."""
        if self.is_stuck:
            raise self._stuck("an earlier call has not returned")
        call = _Call(work)
        self._calls.put(call)
        try:
            async with asyncio.timeout(self._limit_s):
                return cast(_T, await call.answer)
        except TimeoutError:
            call.is_abandoned = True
            self._late = call
            raise self._stuck(f"no answer within {self._limit_s:g} s") from None

    def stop(self) -> None:
        """Let the thread end after the calls it has."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run(self._device)

    def _stuck(self, why: str) -> GpuError:
        return GpuError(
            f"{self.facts.uuid}: the driver hangs: {why}; check the node's kernel log for Xid errors",
            GpuTrouble.STUCK,
        )
