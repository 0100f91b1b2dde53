"""A GPU for the agent's in-process tests; it keeps what it is told and fails on demand."""

from __future__ import annotations

import threading

from joulery.agent.gpu import GpuError, GpuFacts, GpuReading, GpuTrouble, widest_step_mhz

CLOCKS = tuple(range(210, 1981, 15))


def facts(uuid: str = "GPU-a", index: int = 0) -> GpuFacts:
    return GpuFacts(uuid, index, "NVIDIA H100 80GB HBM3", CLOCKS, widest_step_mhz(CLOCKS))


class FakeGpu:
    """Calls are kept in order; `gate` cleared makes the next call hang until it is set."""

    def __init__(self, uuid: str = "GPU-a", index: int = 0) -> None:
        self.facts = facts(uuid, index)
        self.calls: list[str] = []
        self.reading = GpuReading(1980, 100_000, 0, 0)
        self.trouble: GpuTrouble | None = None
        self.gate = threading.Event()
        self.gate.set()

    def lock(self, highest_mhz: int) -> None:
        self._call(f"lock {highest_mhz}")

    def reset(self) -> None:
        self._call("reset")

    def read(self) -> GpuReading:
        self.gate.wait(10)
        return self.reading

    def _call(self, name: str) -> None:
        self.gate.wait(10)
        self.calls.append(name)
        if self.trouble is not None:
            raise GpuError(f"{self.facts.uuid}: {name}: refused by the test", self.trouble)
