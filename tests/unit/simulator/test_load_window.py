"""Counters become rates over a short window, with restarts and queues told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulery.domain.load_window import EngineReading, LoadWindow

RATE = 2.0  # requests per second


def reading(at_s: float, prompt: float, generated: float = 0.0, waiting: float = 0.0) -> EngineReading:
    return EngineReading(at_s, prompt, generated, at_s * RATE, 3.0, waiting, 0.1)


def test_one_reading_is_no_rate() -> None:
    assert LoadWindow().push(reading(0, 0)).sample() is None


def test_a_steady_counter_gives_its_rate() -> None:
    window = LoadWindow(length_s=10)
    for second in range(0, 30, 5):
        window = window.push(reading(second, 100.0 * second, 7.0 * second))
    sample = window.sample()
    assert sample is not None
    assert sample.prompt_tokens_per_s == 100.0
    assert sample.generation_tokens_per_s == 7.0


def test_a_restarted_engine_begins_a_new_window() -> None:
    window = LoadWindow().push(reading(0, 5000)).push(reading(5, 6000)).push(reading(10, 20))
    assert window.sample() is None


def test_queue_age_is_what_the_queue_takes_at_the_measured_rate() -> None:
    window = LoadWindow()
    for second in range(0, 30, 5):
        window = window.push(reading(second, second, waiting=3))
    sample = window.sample()
    assert sample is not None
    assert sample.queue_age_s == 3 / RATE


def test_a_queue_is_never_older_than_it_was_seen() -> None:
    window = LoadWindow().push(reading(0, 0)).push(reading(5, 1, waiting=50)).push(reading(10, 2, waiting=50))
    sample = window.sample()
    assert sample is not None
    assert sample.queue_age_s == 5.0


def test_one_reading_with_a_waiting_request_is_no_queue() -> None:
    sample = LoadWindow().push(reading(0, 0)).push(reading(5, 1, waiting=9)).sample()
    assert sample is not None
    assert sample.queue_age_s == 0.0


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_rates_are_never_negative(increments: list[float]) -> None:
    window, total = LoadWindow(length_s=20), 0.0
    for index, increment in enumerate(increments):
        total += increment
        window = window.push(reading(5.0 * index, total))
    sample = window.sample()
    assert sample is not None and sample.prompt_tokens_per_s >= 0.0
