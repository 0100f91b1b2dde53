"""A trial served in one compiled call sees what an engine sees that is told and asked step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.domain.request_class import Objective
from joulery.serving.engine import Engine
from joulery.serving.engine_records import FinishedRequests
from joulery.serving.instance import InstanceModel
from joulery.serving.trial_engine import TrialEngine
from serving_cases import Ints, instance

S = 1_000_000_000
LIMITS = {"token_budget": 512, "max_num_seqs": 16}


@dataclass(frozen=True)
class Load:
    """Requests as an engine takes them, an objective that some miss, and how scarce the KV cache is."""

    columns: Ints
    objective: Objective
    kv_capacity_tokens: int

    def trial_engine(self) -> TrialEngine:
        return TrialEngine(
            self.model,
            **LIMITS,
            objective=self.objective,
            input_tokens=self.columns[1],
            output_tokens=self.columns[2],
        )

    def engine(self, clock_mhz: int) -> Engine:
        limit_ms = self.objective.inter_token_latency_p99_ms
        edges = () if limit_ms is None else (limit_ms * 1_000_000,)
        engine = Engine(self.model, **LIMITS, clock_mhz=clock_mhz, itl_edges_ns=edges)
        engine.submit_many(*self.columns)
        return engine

    def bounds(self, parts: int) -> Ints:
        return np.arange(1, parts + 1) * self.columns.shape[1] // parts

    @property
    def model(self) -> InstanceModel:
        return replace(instance(4), kv_capacity_tokens=self.kv_capacity_tokens)

    def misses(self, finished: FinishedRequests, first_judged: int) -> int:
        late = finished.ttft_ns > self.objective.time_to_first_token_ms * 1_000_000
        slow = finished.tpot_ns > self.objective.time_per_output_token_ms * 1_000_000
        return int(((late | slow) & (finished.tag >= first_judged)).sum())


@st.composite
def loads(draw: st.DrawFn) -> Load:
    count = draw(st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = rng.exponential(draw(st.sampled_from((0.01, 0.1, 1.0))), count)
    columns = np.empty((4, count), np.int64)
    columns[0] = np.cumsum(gaps) * S
    columns[1], columns[2] = rng.integers(1, 1500, count), rng.integers(1, 300, count)
    columns[3] = np.arange(count)
    ttft_ms, tpot_ms = draw(st.sampled_from((30, 300, 3000))), draw(st.sampled_from((8, 15, 60)))
    itl_ms = draw(st.sampled_from((None, 20)))
    return Load(columns, Objective(ttft_ms, tpot_ms, itl_ms), draw(st.sampled_from((2000, 20_000, 500_000))))


@settings(max_examples=60, deadline=None)
@given(st.lists(loads(), min_size=1, max_size=2), st.sampled_from((1200, 1980)), st.integers(1, 25))
def test_misses_times_and_intervals_are_those_of_an_engine(
    some: list[Load], clock_mhz: int, parts: int
) -> None:
    for load in some:
        trial, bounds = load.trial_engine(), load.bounds(parts)
        for _ in range(2):  # the second run finds the arrays of the first
            marks = trial.serve(clock_mhz, load.columns, bounds)
            assert marks is not None
            engine = load.engine(clock_mhz)
            engine.advance(int(load.columns[0, -1]) + 100_000 * S)
            finished = engine.take_finished()
            intervals = engine.itl_histogram.tolist()
            misses = load.misses(finished, int(bounds[0]) if parts > 1 else 0)
            assert marks[-1].tolist() == [misses, intervals[0], sum(intervals[1:])]
            ttft_ns, tpot_ns = trial.last_times_ns
            assert ttft_ns.tolist() == finished.ttft_ns.tolist()
            assert tpot_ns.tolist() == finished.tpot_ns.tolist()


@settings(max_examples=40, deadline=None)
@given(loads(), st.integers(2, 25))
def test_marks_of_a_part_are_those_of_an_engine_stopped_at_its_last_arrival(load: Load, parts: int) -> None:
    trial, bounds = load.trial_engine(), load.bounds(parts)
    marks = trial.serve(1980, load.columns, bounds)
    assert marks is not None
    engine = load.engine(1980)
    misses = 0
    for end, mark in zip(bounds[:-1].tolist(), marks.tolist(), strict=False):
        engine.advance(int(load.columns[0, end - 1]) if end else 0)
        misses += load.misses(engine.take_finished(), int(bounds[0]))
        intervals = engine.itl_histogram.tolist()
        assert mark == [misses, intervals[0], sum(intervals[1:])]


@settings(max_examples=30, deadline=None)
@given(loads(), st.integers(0, 50))
def test_a_run_is_given_up_exactly_when_more_miss_than_allowed(load: Load, most: int) -> None:
    trial = load.trial_engine()
    whole = trial.serve(1980, load.columns)
    assert whole is not None
    marks = trial.serve(1980, load.columns, most_misses=most)
    assert (marks is None) == (whole[-1, 0] > most)


@settings(max_examples=30, deadline=None)
@given(loads())
def test_watts_are_those_of_an_engine(load: Load) -> None:
    trial, engine = load.trial_engine(), load.engine(1470)
    first, end_ns = len(load.columns[0]) // 20, int(load.columns[0, -1])
    engine.advance(int(load.columns[0, first]))
    before_j, before_ns = engine.energy_j, engine.now_ns
    engine.advance(end_ns)
    if end_ns > before_ns:
        watts = (engine.energy_j - before_j) / (1e-9 * (end_ns - before_ns))
        assert trial.mean_watts(1470, load.columns, first=first) == pytest.approx(watts, rel=1e-12)


def test_requests_that_no_engine_takes_are_refused() -> None:
    objective = Objective(100, 100)
    with pytest.raises(ValueError, match="exceeds the limit"):
        TrialEngine(
            instance(4),
            **LIMITS,
            objective=objective,
            input_tokens=np.array([10**7]),
            output_tokens=np.array([1]),
        )
    with pytest.raises(ValueError, match="must be at least max_num_seqs"):
        TrialEngine(
            instance(4),
            token_budget=4,
            max_num_seqs=8,
            objective=objective,
            input_tokens=np.array([1]),
            output_tokens=np.array([1]),
        )
