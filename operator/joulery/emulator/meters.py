"""Energy, power and clocks of all emulated GPUs: what NVML shows on each node, and the fleet's joules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from joulery.emulator.gpus import GpuModel, NodeGpus, Shown
from joulery.emulator.nodes import EmulatedNode
from joulery.errors import ConfigError

# A powered GPU without a model: 69 W on an H100 (DynamoLLM, HPCA 2025, Fig. 3), rounded as everywhere here.
EMPTY_GPU_W = 70.0
# The clock-event reason "GPU is idle" of nvml.h.
_REASON_IDLE = 0x1


class NodeMeters:
    """The GPUs of one node. Joules are added by whoever burns them; `show` hands them to NVML."""

    def __init__(self, node: EmulatedNode, path: Path) -> None:
        self.path = path
        self.model = GpuModel(idle_w=EMPTY_GPU_W)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._gpus = NodeGpus.create(path, node.name, len(node.gpu_uuids), self.model)
        if self._gpus.uuids != node.gpu_uuids:
            raise ConfigError(f"{path}: GPU UUIDs of node {node.name} differ from those it registers")
        self.count = len(node.gpu_uuids)
        self._energy_j = [0.0] * self.count
        self._shown_j = [0.0] * self.count
        self._before_reload_j = [0.0] * self.count

    @property
    def energy_j(self) -> float:
        """Joules of all GPUs of the node since the start."""
        return sum(self._energy_j)

    def highest_clock_mhz(self, gpus: Sequence[int]) -> int:
        """The clock that GPUs working together reach: the lowest of their locks' upper ends."""
        locks = (self._gpus.lock(index) for index in gpus)
        return min((lock.highest_mhz for lock in locks if lock is not None), default=self.model.highest_mhz)

    def burn(self, gpus: Sequence[int], joules: float) -> None:
        """Equal shares of an amount of energy."""
        share = joules / len(gpus)
        for index in gpus:
            self._energy_j[index] += share

    def show(self, index: int, *, clock_mhz: int | None, busy: bool, elapsed_s: float) -> None:
        """What NVML answers from now on; mean power since the last time. No clock: an empty GPU."""
        energy_j = self._energy_j[index]
        power_w = (energy_j - self._shown_j[index]) / elapsed_s if elapsed_s > 0 else 0.0
        self._shown_j[index] = energy_j
        self._gpus.show(
            index,
            Shown(
                clock_mhz=self._idle_clock_mhz(index) if clock_mhz is None else clock_mhz,
                power_w=power_w,
                energy_j=energy_j - self._before_reload_j[index],
                utilization_percent=100 if busy else 0,
                memory_used_bytes=0 if clock_mhz is None else int(0.9 * self.model.memory_bytes),
                event_reasons=0 if busy else _REASON_IDLE,
            ),
        )

    def reload(self) -> None:
        """The driver is loaded anew: locks are gone and NVML's energy counters start from zero."""
        self._before_reload_j = list(self._energy_j)
        for index in range(self.count):
            self._gpus.set_lock(index, None)

    def close(self) -> None:
        """Unmap the file; it stays for agents that still look at it."""
        self._gpus.close()

    def _idle_clock_mhz(self, index: int) -> int:
        lock = self._gpus.lock(index)
        idle = self.model.idle_clock_mhz
        return idle if lock is None else min(max(idle, lock.lowest_mhz), lock.highest_mhz)
