"""Requests at the door of a pool."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.emulator.traffic import PoolTraffic
from joulery.serving.engine_records import FinishedRequests


def traffic(count: int, every_ns: int = 10) -> PoolTraffic:
    made = PoolTraffic()
    made.schedule(np.arange(1, count + 1) * every_ns, np.full(count, 100), np.full(count, 20))
    return made


def finished(tag: int, submitted_ns: int, ttft_ns: int, finish_ns: int) -> FinishedRequests:
    one = {
        name: np.array([value], np.int64)
        for name, value in {
            "tag": tag,
            "arrival_ns": submitted_ns,
            "ttft_ns": ttft_ns,
            "tpot_ns": 5,
            "first_token_ns": submitted_ns + ttft_ns,
            "finish_ns": finish_ns,
            "input_tokens": 100,
            "output_tokens": 20,
        }.items()
    }
    return FinishedRequests(**one)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=20))
def test_engines_get_equal_shares_over_any_cut_of_time(ticks: list[int]) -> None:
    pool = traffic(200)
    shares = np.zeros(3, int)
    now = 0
    for ticked in ticks:
        now += ticked * 10
        for engine, ids in enumerate(pool.take(now, 3)):
            shares[engine] += len(ids)
    assert shares.max() - shares.min() <= 1
    assert shares.sum() == min(now // 10, 200)


def test_requests_without_an_engine_wait_at_the_door_and_go_first() -> None:
    pool = traffic(4)
    assert pool.take(20, 0) == []
    assert pool.waiting == 2
    assert [ids.tolist() for ids in pool.take(40, 1)] == [[0, 1, 2, 3]]
    assert (pool.waiting, pool.outcome().waited_at_door) == (0, 2)


def test_latency_counts_from_the_first_arrival_not_from_submission() -> None:
    pool = traffic(1)
    pool.take(10, 0)
    pool.take(500, 1)
    pool.finished(finished(0, submitted_ns=500, ttft_ns=40, finish_ns=900))
    outcome = pool.outcome()
    assert outcome.ttft_ns.tolist() == [490 + 40]
    assert (outcome.finished, outcome.finish_ns.tolist()) == (1, [900])


def test_requests_of_a_killed_engine_are_retried_once_then_failed() -> None:
    pool = traffic(3)
    pool.take(30, 1)
    pool.lost(np.array([2, 1]))
    assert [ids.tolist() for ids in pool.take(40, 1)] == [[1, 2]]
    pool.lost(np.array([1, 2]))
    outcome = pool.outcome()
    assert (outcome.retried, outcome.failed, outcome.waiting) == (2, 2, 0)


def test_requests_that_have_not_arrived_are_no_part_of_the_outcome() -> None:
    pool = traffic(5)
    pool.take(20, 1)
    assert pool.outcome().arrival_ns.tolist() == [10, 20]
    assert pool.outcome().finished == 0


def test_a_schedule_before_one_already_taken_is_refused() -> None:
    pool = traffic(5)
    with pytest.raises(ValueError, match="in order of arrival"):
        pool.schedule(np.array([49]), np.array([1]), np.array([1]))
