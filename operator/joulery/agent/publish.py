"""Puts what the board knows into the agent's metrics, once per epoch."""

from __future__ import annotations

from collections.abc import Mapping

from joulery.agent.metrics import AgentMetrics
from joulery.agent.record import GpuRecord


class Publisher:
    """Remembers the energy counters, which start anew when the driver is reloaded."""

    def __init__(self, metrics: AgentMetrics) -> None:
        self._metrics = metrics
        self._energy_mj: dict[str, int] = {}

    def publish(self, records: Mapping[str, GpuRecord], *, is_ready: bool) -> None:
        """Set gauges and advance the energy counters; what a GPU does not tell has no series."""
        metrics = self._metrics
        metrics.ready.set(is_ready)
        for uuid, record in records.items():
            reading, labels = record.reading, {"gpu": uuid}
            metrics.set_or_clear(metrics.requested, labels, record.requested_mhz)
            metrics.set_or_clear(metrics.applied, labels, record.applied_mhz)
            metrics.set_or_clear(metrics.observed, labels, reading.sm_clock_mhz if reading else None)
            power_mw = reading.power_mw if reading else None
            metrics.set_or_clear(metrics.power, labels, None if power_mw is None else power_mw / 1e3)
            if reading is not None and reading.energy_mj is not None:
                self._add_energy(uuid, reading.energy_mj)

    def _add_energy(self, uuid: str, energy_mj: int) -> None:
        before = self._energy_mj.get(uuid)
        self._energy_mj[uuid] = energy_mj
        if before is not None and energy_mj >= before:
            self._metrics.energy.labels(gpu=uuid).inc((energy_mj - before) / 1e3)
