"""Every metric of the agent, in a registry of its own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Between the fake driver's microseconds and a hung one's two seconds.
_CALL_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
_SETTLE_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0)


class AgentMetrics:
    """Names as users meet them; `gpu` is the UUID."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requested = self._gauge("gpu_clock_requested_mhz", "SM clock the table asks for.", "gpu")
        self.applied = self._gauge("gpu_clock_applied_mhz", "Upper end of the locked range last set.", "gpu")
        self.observed = self._gauge("gpu_clock_observed_mhz", "SM clock read back.", "gpu")
        self.power = self._gauge("gpu_power_watts", "Power draw.", "gpu")
        self.energy = self._counter("gpu_energy_joules", "Energy drawn since the agent started.", "gpu")
        self.lease_age = self._gauge(
            "agent_lease_age_seconds", "Since the operator's Lease was seen to change."
        )
        self.ready = self._gauge("agent_ready", "1 while every GPU answers and the node's objects are read.")
        self.epochs = self._counter("agent_epochs", "Clock epochs run.")
        self.failed_epochs = self._counter(
            "agent_epochs_failed", "Clock epochs ended by an unexpected error."
        )
        self.changes = self._counter("agent_clock_changes", "Locks set, by direction.", "direction")
        self.resets = self._counter("agent_clock_resets", "Locks taken away, by reason.", "reason")
        self.refusals = self._counter(
            "agent_device_errors", "Device calls refused or failed, by kind.", "trouble"
        )
        self.foreign = self._counter(
            "agent_foreign_clocks", "Clocks found outside our range, per GPU.", "gpu"
        )
        self.blind = self._counter("agent_engine_reads_failed", "Engine pages that could not be read.")
        self.set_call = self._histogram(
            "agent_set_call_seconds", "Duration of a lock or reset call.", _CALL_BUCKETS_S
        )
        self.settle = self._histogram(
            "agent_settle_seconds", "From a lock until the clock is where it should be.", _SETTLE_BUCKETS_S
        )
        self.epoch = self._histogram("agent_epoch_seconds", "Duration of one clock epoch.", _CALL_BUCKETS_S)

    def set_or_clear(self, gauge: Gauge, labels: Mapping[str, str], value: float | None) -> None:
        """Set a labelled gauge, or remove its series where there is nothing to tell."""
        if value is None:
            gauge.remove_by_labels(dict(labels))
        else:
            gauge.labels(**labels).set(value)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"joulery_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"joulery_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"joulery_{name}", text, registry=self.registry, buckets=buckets)
