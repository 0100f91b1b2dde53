"""Wakes the loop: many calls, one wake, a moment later."""

from __future__ import annotations

import asyncio

# A GitOps sync touches many objects at once; they are one cycle.
_DEBOUNCE_S = 0.5


class Wakeup:
    """A flag that anything may set and that the loop waits for."""

    def __init__(self, debounce_s: float = _DEBOUNCE_S) -> None:
        self._flag = asyncio.Event()
        self._debounce_s = debounce_s

    def set(self) -> None:
        """Something changed: run a cycle soon."""
        self._flag.set()

    def clear(self) -> None:
        """A cycle begins: what changed before is in its snapshot."""
        self._flag.clear()

    async def wait(self, longest_s: float) -> None:
        """Until something changed and its burst has passed, or until the time is up."""
        try:
            await asyncio.wait_for(self._flag.wait(), longest_s)
        except TimeoutError:
            return
        await asyncio.sleep(self._debounce_s)
