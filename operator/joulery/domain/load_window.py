"""Counters of one engine turned into rates over a short window; used by the node agent and by the replay."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.clock_table import EngineSample


@dataclass(frozen=True, slots=True)
class EngineReading:
    """One reading of an engine's own counters and gauges; `requests_total` counts first tokens."""

    at_s: float
    prompt_tokens_total: float
    generation_tokens_total: float
    requests_total: float
    running_requests: float
    waiting_requests: float
    kv_usage: float


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """Readings of the last `length_s` seconds, oldest first, and since when requests wait without pause.

    A minute by default: an operating point already holds the bursts of a steady load, so a table is to be looked
    up with the mean. Over half a minute the mean of three requests a second is 20 % noise, and tables answer
    noise with higher clocks.
    """

    length_s: float = 60.0
    readings: tuple[EngineReading, ...] = ()
    waiting_since_s: float | None = None

    def push(self, reading: EngineReading) -> LoadWindow:
        """The window with one more reading; a counter that fell means a restart and an empty window."""
        kept = self.readings
        if kept and _restarted(kept[-1], reading):
            kept = ()
        kept = tuple(r for r in kept if r.at_s >= reading.at_s - self.length_s)
        since = self.waiting_since_s if self.waiting_since_s is not None else reading.at_s
        return LoadWindow(self.length_s, (*kept, reading), since if reading.waiting_requests > 0 else None)

    def sample(self) -> EngineSample | None:
        """Rates over the window and the newest gauges; None with fewer than two readings."""
        if len(self.readings) < 2:
            return None
        oldest, newest = self.readings[0], self.readings[-1]
        seconds = newest.at_s - oldest.at_s
        if seconds <= 0.0:
            return None
        return EngineSample(
            at_s=newest.at_s,
            prompt_tokens_per_s=(newest.prompt_tokens_total - oldest.prompt_tokens_total) / seconds,
            generation_tokens_per_s=(newest.generation_tokens_total - oldest.generation_tokens_total)
            / seconds,
            running_requests=newest.running_requests,
            waiting_requests=newest.waiting_requests,
            kv_usage=newest.kv_usage,
            queue_age_s=self._queue_age_s((newest.requests_total - oldest.requests_total) / seconds),
        )

    def _queue_age_s(self, requests_per_s: float) -> float:
        """Stock engines do not tell it: waiting / rate (Little's law), at most the time that a queue was seen.

        One reading with a waiting request is no queue: prompts wait for the next iteration all the time.
        """
        if self.waiting_since_s is None:
            return 0.0
        newest = self.readings[-1]
        seen_s = newest.at_s - self.waiting_since_s
        if requests_per_s <= 0.0:
            return seen_s
        return min(seen_s, newest.waiting_requests / requests_per_s)


def _restarted(before: EngineReading, now: EngineReading) -> bool:
    return (
        now.prompt_tokens_total < before.prompt_tokens_total
        or now.generation_tokens_total < before.generation_tokens_total
        or now.requests_total < before.requests_total
    )
