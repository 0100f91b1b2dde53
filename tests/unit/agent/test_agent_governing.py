"""From readings to clocks: up at once, down late, and fast when blind."""

from __future__ import annotations

from dataclasses import replace

from agent_cases import HIGH_MHZ, LOW_MHZ, MIDDLE_MHZ, table
from joulery.agent.governing import InstanceState, step
from joulery.domain import reasons
from joulery.domain.load_window import EngineReading
from joulery.domain.verdict import Verdict

TABLE = table(dwell_s=10.0)
BLIND = Verdict(reasons.ENGINE_METRICS_UNAVAILABLE, "no answer")


class Instance:
    """An engine read every 5 s, in its own time."""

    def __init__(self) -> None:
        self.state = InstanceState.fresh(TABLE, window_s=20.0)
        self.at_s = 1000.0
        self.tokens = 0.0
        self.clock_mhz = 0
        self.held_since_s: float | None = None
        self.verdict = BLIND

    def read(self, tokens_per_s: float, **gauges: float) -> int:
        self.at_s += 5.0
        self.tokens += 5.0 * tokens_per_s
        reading = EngineReading(self.at_s, self.tokens, self.tokens, self.tokens / 500.0, 8.0, 0.0, 0.2)
        return self._step(replace(reading, **gauges))

    def miss(self) -> int:
        self.at_s += 5.0
        return self._step(BLIND)

    def _step(self, reading: EngineReading | Verdict) -> int:
        self.state, wish = step(self.state, TABLE, reading)
        self.clock_mhz, self.verdict, self.held_since_s = wish.clock_mhz, wish.verdict, wish.highest_since_s
        return wish.clock_mhz


def settled(tokens_per_s: float = 500.0) -> Instance:
    instance = Instance()
    for _ in range(8):
        instance.read(tokens_per_s)
    return instance


def test_new_instance_runs_fast_until_its_load_is_known_and_dwelt() -> None:
    instance = Instance()
    clocks = [instance.read(500.0) for _ in range(5)]
    assert clocks == [HIGH_MHZ] * 3 + [LOW_MHZ] * 2, "one reading to begin, then a dwell of 10 s"
    assert instance.verdict.reason == reasons.CLOCK_APPLIED


def test_load_raises_the_clock_at_once() -> None:
    instance = settled()
    assert instance.read(20000.0) in (MIDDLE_MHZ, HIGH_MHZ)


def test_missing_metrics_mean_highest_clock_and_the_dwell_starts_over() -> None:
    instance = settled()
    assert instance.clock_mhz == LOW_MHZ
    assert instance.miss() == HIGH_MHZ
    assert instance.verdict is BLIND
    assert [instance.read(500.0) for _ in range(3)] == [HIGH_MHZ, HIGH_MHZ, LOW_MHZ]


def test_restarted_engine_is_unknown_until_read_twice() -> None:
    instance = settled()
    instance.tokens = 0.0
    assert instance.read(10.0) == HIGH_MHZ
    assert instance.verdict.reason == reasons.ENGINE_METRICS_UNAVAILABLE


def test_each_guard_takes_the_highest_clock() -> None:
    for guard in ({"running_requests": 65.0}, {"kv_usage": 0.81}):
        assert settled().read(500.0, **guard) == HIGH_MHZ


def test_queue_that_persists_takes_the_highest_clock() -> None:
    instance = settled()
    assert instance.read(500.0, waiting_requests=2.0) == LOW_MHZ, "one look says nothing of its age"
    assert instance.read(500.0, waiting_requests=2.0) == HIGH_MHZ


def test_clock_of_an_old_table_is_brought_inside_the_new_one() -> None:
    instance = settled()
    narrow = replace(TABLE, lowest_mhz=1400, highest_mhz=1600)
    reading = EngineReading(
        instance.at_s + 5.0, instance.tokens, instance.tokens, instance.tokens / 500.0, 8.0, 0.0, 0.2
    )
    _, wish = step(instance.state, narrow, reading)
    assert wish.clock_mhz == 1400


def test_load_that_needs_the_highest_clock_is_told_with_its_beginning() -> None:
    instance = settled()
    assert instance.held_since_s is None
    instance.read(500.0, running_requests=65.0)
    began_s = instance.at_s
    for _ in range(5):
        instance.read(500.0, running_requests=65.0)
        assert instance.held_since_s == began_s


def test_highest_clock_of_an_instance_that_is_not_seen_is_no_sign_of_load() -> None:
    instance = settled()
    instance.read(500.0, running_requests=65.0)
    instance.miss()
    assert (instance.clock_mhz, instance.held_since_s) == (HIGH_MHZ, None)


def test_wider_table_ends_being_held() -> None:
    instance = settled()
    instance.read(500.0, running_requests=65.0)
    wide = replace(TABLE, highest_mhz=HIGH_MHZ + 15, dwell_s=100.0)
    at_s, tokens = instance.at_s + 5.0, instance.tokens + 2500.0
    quiet = EngineReading(at_s, tokens, tokens, tokens / 500.0, 8.0, 0.0, 0.2)
    _, wish = step(instance.state, wide, quiet)
    assert wish.highest_since_s is None
