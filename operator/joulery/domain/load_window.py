"""Counters of one engine turned into rates over a short window; used by the node agent and by the replay."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.clock_table import EngineSample


@dataclass(frozen=True, slots=True)
class EngineReading:
    """One reading of an engine's own counters and gauges."""

    at_s: float
    prompt_tokens_total: float
    generation_tokens_total: float
    running_requests: float
    waiting_requests: float
    kv_usage: float


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """Readings of the last `length_s` seconds, oldest first, and since when requests wait without pause."""

    length_s: float = 30.0
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
        """Rates over the window and the newest gauges; None with fewer than two readings.

        Prompt and generation rates are each the larger of the whole window's and its newer half's, so that a
        rising load is seen early and a falling one late.
        """
        if len(self.readings) < 2:
            return None
        newest, oldest, middle = (
            self.readings[-1],
            self.readings[0],
            self.readings[(len(self.readings) - 1) // 2],
        )
        prompt = max(
            _rate(oldest, newest, "prompt_tokens_total"), _rate(middle, newest, "prompt_tokens_total")
        )
        generation = max(
            _rate(oldest, newest, "generation_tokens_total"), _rate(middle, newest, "generation_tokens_total")
        )
        return EngineSample(
            at_s=newest.at_s,
            prompt_tokens_per_s=prompt,
            generation_tokens_per_s=generation,
            running_requests=newest.running_requests,
            waiting_requests=newest.waiting_requests,
            kv_usage=newest.kv_usage,
            queue_age_s=newest.at_s - self.waiting_since_s if self.waiting_since_s is not None else 0.0,
        )


def _restarted(before: EngineReading, now: EngineReading) -> bool:
    return (
        now.prompt_tokens_total < before.prompt_tokens_total
        or now.generation_tokens_total < before.generation_tokens_total
    )


def _rate(start: EngineReading, end: EngineReading, counter: str) -> float:
    seconds = end.at_s - start.at_s
    if seconds <= 0.0:
        return 0.0
    return max(0.0, (float(getattr(end, counter)) - float(getattr(start, counter))) / seconds)
