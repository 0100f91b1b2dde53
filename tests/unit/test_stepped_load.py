"""The load of live tests: a second follows on the last one, however slowly the emulator hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from joulery.emulator.control_client import EmulatorControl, EmulatorError
from live_centre import SteppedLoad


@dataclass
class SlowEmulator:
    """Hears of requests a fifth of a second late, and takes none whose time is over."""

    now_s: float = 100.0
    starts_s: list[float] = field(default_factory=list)

    def submit(self, *_: Any, delay_s: float = 1.0, start_s: float | None = None) -> float:
        self.now_s += 0.2
        if start_s is not None and start_s < self.now_s:
            raise EmulatorError("that time is over")
        self.starts_s.append(self.now_s + delay_s if start_s is None else start_s)
        return self.starts_s[-1]


def load_of(emulator: SlowEmulator) -> SteppedLoad:
    return SteppedLoad(cast(EmulatorControl, emulator), "serving/chat", rate_rps=3.0)


def test_seconds_follow_on_each_other_and_the_load_does_not_run_ahead() -> None:
    emulator = SlowEmulator()
    load = load_of(emulator)
    for _ in range(4):
        load.submit_second(0.5)
    assert emulator.starts_s == pytest.approx([100.7, 101.7, 102.7, 103.7])
    first_s = load.sent[0][0]
    assert [(at_s - first_s, count) for at_s, count in load.sent] == [
        (pytest.approx(second), 3) for second in range(4)
    ]


def test_after_a_pause_seconds_that_are_over_are_not_sent() -> None:
    emulator = SlowEmulator()
    load = load_of(emulator)
    load.submit_second(0.5)
    emulator.now_s += 10.0
    load.submit_second(0.5)
    load.submit_second(0.5)
    assert emulator.starts_s == pytest.approx([100.7, 111.1, 112.1])


def test_an_emulator_that_takes_nothing_is_told_to_the_caller() -> None:
    class Ended(SlowEmulator):
        def submit(self, *_: Any, **__: Any) -> float:
            raise EmulatorError("no emulator is ready")

    with pytest.raises(EmulatorError):
        load_of(Ended()).submit_second(0.5)
