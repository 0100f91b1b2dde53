"""An engine on the stepwise kernel: the reference for schedules, and the plain loop that speed is measured by."""

from __future__ import annotations

import stepwise_kernel
from joulery.serving.engine import Engine


class SteppedEngine(Engine):
    """An `Engine` in every respect, but each iteration is put in flight and completed one by one."""

    def advance(self, until_ns: int) -> None:
        """Live up to a time; as `Engine.advance`."""
        if until_ns < self.now_ns:
            raise ValueError(f"cannot advance to {until_ns} ns, the engine is at {self.now_ns} ns")
        stepwise_kernel.advance(self._arrays, until_ns)
