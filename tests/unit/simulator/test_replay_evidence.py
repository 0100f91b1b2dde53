"""The replay feeds the planner the evidence that the live path does: latency in an engine's own buckets."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.domain import reasons
from joulery.domain.latency import attainment_percent
from joulery.domain.request_class import Objective
from joulery.serving.engine_records import FinishedRequests
from joulery.simulator.measurement import LatencyMeter
from joulery.simulator.truth import hidden_truth, shipped_profile

OBJECTIVE = Objective(time_to_first_token_ms=2500, time_per_output_token_ms=100)


def finished(ttft_ms: list[int], tpot_ms: int = 50) -> FinishedRequests:
    zeros = np.zeros(len(ttft_ms), np.int64)
    ttft = np.array(ttft_ms, np.int64) * 1_000_000
    tpot = np.full(len(ttft_ms), tpot_ms * 1_000_000, np.int64)
    return FinishedRequests(zeros, zeros, ttft, tpot, zeros, zeros, zeros, zeros)


def test_an_objective_on_an_edge_is_met_by_requests_that_take_just_as_long() -> None:
    report = LatencyMeter(OBJECTIVE, 600.0).poll(15.0, [finished([2500] * 99 + [2501])])
    assert report.ttft_attainment_percent == pytest.approx(99.0)
    assert (report.requests, report.is_exact) == (100.0, True)
    assert attainment_percent(report) == pytest.approx(99.0)


def test_what_is_older_than_the_window_no_longer_counts() -> None:
    meter = LatencyMeter(OBJECTIVE, 600.0)
    meter.poll(0.0, [finished([9000] * 200)])
    assert meter.poll(585.0, [finished([100] * 200)]).ttft_attainment_percent == pytest.approx(50.0)
    assert meter.poll(600.0, []).ttft_attainment_percent == pytest.approx(100.0)


def test_an_objective_between_two_edges_is_not_judged_as_if_it_were_one() -> None:
    between = Objective(time_to_first_token_ms=2000, time_per_output_token_ms=100)
    report = LatencyMeter(between, 600.0).poll(15.0, [finished([1900] * 200)])
    assert not report.is_exact
    assert report.slo.verdict.reason == reasons.SLO_BETWEEN_BUCKETS


def test_no_request_is_no_attainment() -> None:
    assert attainment_percent(LatencyMeter(OBJECTIVE, 600.0).poll(15.0, [])) is None


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.15])
def test_a_forced_truth_is_as_much_slower_as_was_asked_and_draws_what_the_seed_says(factor: float) -> None:
    profile = shipped_profile()
    forced, drawn = hidden_truth(profile, 3, time_factor=factor), hidden_truth(profile, 3)
    assert forced.time_factor == pytest.approx(factor, rel=1e-4)
    assert forced.slowest_time_factor == pytest.approx(factor, rel=1e-4)
    assert forced.power_factor == pytest.approx(drawn.power_factor)
