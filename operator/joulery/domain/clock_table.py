"""Clock tables and the governor that reads them: the fast loop's decision, pure.

Rows are indexed by clock-invariant load (prompt and generation tokens per second of one instance): running
requests rise when the clock falls and would feed back. Used unchanged by the node agent and by the replay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ClockRow:
    """The clock that suffices up to these loads, per instance."""

    prompt_tokens_per_s: float
    generation_tokens_per_s: float
    clock_mhz: int


@dataclass(frozen=True, slots=True)
class ClockGuards:
    """Signals that send an instance to its highest clock at once, whatever its rows say."""

    max_running_requests: int = 192
    max_kv_usage: float = 0.85
    max_queue_age_s: float = 0.5


@dataclass(frozen=True, slots=True)
class ClockTable:
    """Rows by rising load; beyond the last row `highest_mhz` holds. `dwell_s` delays every way down.

    A row carries a load when `prompt_weight` of its prompt rate's share and the rest of its generation rate's
    share sum to at most one: two tests, one per rate, would answer the noise of whichever is higher just now.
    """

    name: str
    rows: tuple[ClockRow, ...]
    lowest_mhz: int
    highest_mhz: int
    guards: ClockGuards = ClockGuards()
    dwell_s: float = 15.0
    prompt_weight: float = 0.5

    def carries(self, row: ClockRow, sample: EngineSample) -> bool:
        """Whether a row's clock suffices for the sample's rates."""
        prompt = _share(sample.prompt_tokens_per_s, row.prompt_tokens_per_s)
        generation = _share(sample.generation_tokens_per_s, row.generation_tokens_per_s)
        return self.prompt_weight * prompt + (1.0 - self.prompt_weight) * generation <= 1.0


@dataclass(frozen=True, slots=True)
class EngineSample:
    """What one instance reports in one clock epoch; `queue_age_s` is 0 with an empty queue."""

    at_s: float
    prompt_tokens_per_s: float
    generation_tokens_per_s: float
    running_requests: float
    waiting_requests: float
    kv_usage: float
    queue_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What the governor remembers of one instance.

    `highest_since_s` is since when its load has held it at the highest clock of its table; None below it, while
    the load is unknown, and where the table has one clock alone, which says nothing of load.
    """

    clock_mhz: int
    lower_since_s: float | None = None
    highest_since_s: float | None = None


def wanted_clock_mhz(table: ClockTable, sample: EngineSample) -> int:
    """The table's answer to one sample, without memory."""
    guards = table.guards
    if (
        sample.running_requests > guards.max_running_requests
        or sample.kv_usage > guards.max_kv_usage
        or sample.queue_age_s > guards.max_queue_age_s
    ):
        return table.highest_mhz
    for row in table.rows:
        if table.carries(row, sample):
            return min(max(row.clock_mhz, table.lowest_mhz), table.highest_mhz)
    return table.highest_mhz


def govern(table: ClockTable, state: GovernorState, sample: EngineSample) -> GovernorState:
    """The state after one sample: up at once, down only after `dwell_s` of samples that all wanted less."""
    wanted = wanted_clock_mhz(table, sample)
    held_since_s = _held_since_s(table, state, sample, wanted)
    if wanted >= state.clock_mhz:
        return GovernorState(wanted, None, held_since_s)
    since = state.lower_since_s if state.lower_since_s is not None else sample.at_s
    if sample.at_s - since >= table.dwell_s:
        return GovernorState(wanted, None, None)
    return replace(state, lower_since_s=since, highest_since_s=held_since_s)


def _held_since_s(
    table: ClockTable, state: GovernorState, sample: EngineSample, wanted_mhz: int
) -> float | None:
    """Begins with a sample that wants the highest clock and lasts until the clock falls, the dwell included.

    A queue that empties for one sample is no end of it.
    """
    if table.lowest_mhz >= table.highest_mhz or max(wanted_mhz, state.clock_mhz) < table.highest_mhz:
        return None
    if state.highest_since_s is None and wanted_mhz >= table.highest_mhz:
        return sample.at_s
    return state.highest_since_s


def _share(rate: float, limit: float) -> float:
    if limit > 0.0:
        return rate / limit
    return 0.0 if rate <= 0.0 else float("inf")
