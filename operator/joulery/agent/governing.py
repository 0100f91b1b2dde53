"""From an engine's readings to the clock it needs: window, table, hysteresis. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulery.domain import reasons
from joulery.domain.clock_table import ClockTable, GovernorState, govern
from joulery.domain.load_window import EngineReading, LoadWindow
from joulery.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class InstanceState:
    """What is remembered of one instance between epochs; times are monotonic seconds."""

    window: LoadWindow
    governor: GovernorState

    @classmethod
    def fresh(cls, table: ClockTable, window_s: float) -> InstanceState:
        """A new instance starts at its highest clock."""
        return cls(LoadWindow(window_s), GovernorState(table.highest_mhz))


@dataclass(frozen=True, slots=True)
class Wish:
    """The clock one instance asks for, and why; `highest_since_s` as in `GovernorState`."""

    clock_mhz: int
    verdict: Verdict
    highest_since_s: float | None = None


def step(
    state: InstanceState, table: ClockTable, reading: EngineReading | Verdict
) -> tuple[InstanceState, Wish]:
    """One clock epoch of one instance; a verdict instead of a reading means that its engine did not tell."""
    if isinstance(reading, Verdict):
        return _unseen(state, table), Wish(table.highest_mhz, reading)
    window = state.window.push(reading)
    sample = window.sample()
    if sample is None:
        message = "highest clock until the engine's counters have been read twice since it (re)started"
        return _unseen(replace(state, window=window), table), Wish(
            table.highest_mhz, Verdict(reasons.ENGINE_METRICS_UNAVAILABLE, message)
        )
    governor = govern(table, _inside(state.governor, table), sample)
    message = (
        f"{sample.prompt_tokens_per_s:.0f} prompt and {sample.generation_tokens_per_s:.0f} generation "
        f"tokens/s, {sample.running_requests:.0f} running: table {table.name} gives {governor.clock_mhz} MHz"
    )
    verdict = Verdict(reasons.CLOCK_APPLIED, message)
    return InstanceState(window, governor), Wish(governor.clock_mhz, verdict, governor.highest_since_s)


def _unseen(state: InstanceState, table: ClockTable) -> InstanceState:
    """Without load the highest clock is the only safe one; the way down starts over."""
    return replace(state, governor=GovernorState(table.highest_mhz))


def _inside(governor: GovernorState, table: ClockTable) -> GovernorState:
    """A new table may end below or begin above the clock that the old one gave."""
    clock_mhz = min(max(governor.clock_mhz, table.lowest_mhz), table.highest_mhz)
    held_since_s = governor.highest_since_s if governor.clock_mhz >= table.highest_mhz else None
    return replace(governor, clock_mhz=clock_mhz, highest_since_s=held_since_s)
