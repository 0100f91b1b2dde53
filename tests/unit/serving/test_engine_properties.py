"""Properties of the engine on random loads: nothing is lost, and how time is cut changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joulery.serving.engine import Engine
from joulery.serving.engine_state import QueueDiscipline
from naive_engine import run_naively
from serving_cases import instance, with_kv_cache

FAR_NS = 10**12
CLOCKS = (1200, 1590, 1980)


@dataclass(frozen=True)
class Load:
    kv_capacity_tokens: int
    budget: int
    seqs: int
    requests: tuple[tuple[int, int, int], ...]
    clock_changes: tuple[tuple[int, int], ...]
    # By when first tokens are due, after the arrivals; none where the queue is first come, first served.
    slacks_ns: tuple[int, ...] = ()

    @property
    def deadlines_ns(self) -> list[int] | None:
        if not self.slacks_ns:
            return None
        return [request[0] + slack for request, slack in zip(self.requests, self.slacks_ns, strict=True)]

    def engine(self) -> Engine:
        model = with_kv_cache(instance(4), kv_capacity_tokens=self.kv_capacity_tokens)
        return Engine(
            model,
            token_budget=self.budget,
            max_num_seqs=self.seqs,
            clock_mhz=1980,
            capacity_hint=16,
            queue=QueueDiscipline.DEADLINE if self.slacks_ns else QueueDiscipline.FIFO,
        )


@st.composite
def loads(draw: st.DrawFn) -> Load:
    seqs = draw(st.integers(1, 12))
    arrivals = sorted(draw(st.lists(st.integers(0, 2 * 10**9), min_size=1, max_size=25)))
    requests = tuple((t, draw(st.integers(1, 250)), draw(st.integers(1, 60))) for t in arrivals)
    changes = draw(st.lists(st.tuples(st.integers(0, 3 * 10**9), st.sampled_from(CLOCKS)), max_size=4))
    slacks = st.sampled_from((0, 250_000_000, 2_000_000_000))
    return Load(
        draw(st.integers(310, 1200)),
        draw(st.integers(seqs, 300)),
        seqs,
        requests,
        tuple(sorted(changes)),
        tuple(draw(slacks) for _ in requests) if draw(st.booleans()) else (),
    )


def live(load: Load, cuts: list[int], *, late: bool) -> Engine:
    """Run a load to its end, cut at more times; requests come all at once or only when they arrive."""
    it = load.engine()
    pending = list(enumerate(load.requests))
    if not late:
        arrivals, inputs, outputs = np.array(load.requests, np.int64).T
        it.submit_many(arrivals, inputs, outputs, np.arange(len(load.requests)), load.deadlines_ns)
        pending = []
    changes = list(load.clock_changes)
    times = sorted({*cuts, *(t for t, _ in changes), *(r[0] for _, r in pending)})
    for time in times:
        it.advance(time)
        while pending and pending[0][1][0] == time:
            tag, (arrival, inputs_, outputs_) = pending.pop(0)
            it.submit(arrival, inputs_, outputs_, tag, load.deadlines_ns and load.deadlines_ns[tag])
        while changes and changes[0][0] == time:
            it.set_clock(changes.pop(0)[1])
    it.advance(FAR_NS)
    return it


def outcome(it: Engine) -> tuple[object, ...]:
    """Everything that happened but for the joules, a sum of rounded terms that depends on how it is cut."""
    done = it.take_finished()
    order = np.argsort(done.tag)
    columns = (done.tag, done.ttft_ns, done.tpot_ns, done.finish_ns)
    return (
        *(column[order].tolist() for column in columns),
        replace(it.counters(), energy_j=0.0),
        it.itl_histogram.tolist(),
        it.itl_sum_ns,
        it.time_shares_ns(),
    )


@settings(max_examples=60, deadline=None)
@given(loads())
def test_conserves_requests_and_tokens(load: Load) -> None:
    it = live(load, [], late=False)
    done, counters = it.take_finished(), it.counters()
    assert sorted(done.tag.tolist()) == list(range(len(load.requests)))
    assert counters.requests_total == len(load.requests)
    assert counters.prompt_tokens_total == sum(r[1] for r in load.requests)
    assert counters.generation_tokens_total == sum(r[2] for r in load.requests)
    assert int(it.itl_histogram.sum()) == sum(r[2] - 1 for r in load.requests)
    assert it.itl_sum_ns == int((done.finish_ns - done.first_token_ns + it.model.client_ns).sum())
    assert (counters.running, counters.waiting, counters.kv_tokens) == (0, 0, 0)
    assert sum(it.time_shares_ns().values()) == FAR_NS


@settings(max_examples=60, deadline=None)
@given(loads(), st.lists(st.integers(0, 5 * 10**9), max_size=30), st.booleans())
@example(Load(310, 100, 1, ((0, 196, 40),), ((1, 1200),)), [26_160_723], False)  # the last bit of the joules
def test_how_time_is_cut_changes_nothing(load: Load, cuts: list[int], late: bool) -> None:
    cut, whole = live(load, cuts, late=late), live(load, [], late=False)
    assert outcome(cut) == outcome(whole)
    assert cut.energy_j == pytest.approx(whole.energy_j, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(loads(), st.lists(st.integers(0, 5 * 10**9), min_size=2, max_size=30))
def test_totals_never_fall_and_limits_hold(load: Load, cuts: list[int]) -> None:
    it = load.engine()
    arrivals, inputs, outputs = np.array(load.requests, np.int64).T
    it.submit_many(arrivals, inputs, outputs, None, load.deadlines_ns)
    before = it.counters()
    for cut in sorted(cuts):
        it.advance(cut)
        now = it.counters()
        assert now.energy_j >= before.energy_j
        assert now.generation_tokens_total >= before.generation_tokens_total
        assert now.kv_tokens <= load.kv_capacity_tokens
        assert now.running <= load.seqs
        assert 0.0 < now.power_w <= 4 * it.model.board_limit_w
        assert it.in_flight + now.requests_total == len(load.requests)
        before = now


@settings(max_examples=30, deadline=None)
@given(loads())
def test_no_request_is_faster_than_alone_but_by_what_larger_batches_save(load: Load) -> None:
    _, one_step, beyond = instance(4).at_clock(1980).streaming_ns
    saved_ns = one_step - beyond  # per iteration: kernels for 33 tokens are quicker than those for 17
    done = live(replace(load, clock_changes=(), slacks_ns=()), [], late=False).take_finished()
    for tag, ttft in zip(done.tag, done.ttft_ns, strict=True):
        alone = replace(load, slacks_ns=()).engine()
        _, inputs, outputs = load.requests[int(tag)]
        alone.submit(0, inputs, outputs)
        alone.advance(FAR_NS)
        prompt_iterations = -(-inputs // load.budget)
        assert ttft >= alone.take_finished().ttft_ns[0] - prompt_iterations * saved_ns


@settings(max_examples=80, deadline=None)
@given(loads())
def test_equals_the_naive_engine_token_by_token(load: Load) -> None:
    it = live(load, [], late=False)
    naive = run_naively(
        it.model,
        token_budget=load.budget,
        max_num_seqs=load.seqs,
        requests=load.requests,
        clock_changes=load.clock_changes,
        deadlines_ns=load.deadlines_ns,
    )
    done, counters = it.take_finished(), it.counters()
    assert counters.preemptions_total == naive.preemptions
    for tag, first, finish in zip(done.tag, done.first_token_ns, done.finish_ns, strict=True):
        times = naive.token_times_ns[int(tag)]
        assert (first - it.model.client_ns, finish) == (times[0], times[-1])
    intervals = [b - a for times in naive.token_times_ns.values() for a, b in pairwise(times)]
    bins = np.searchsorted(it.itl_edges_ns, intervals, side="left")
    assert it.itl_histogram.tolist() == np.bincount(bins, minlength=len(it.itl_edges_ns) + 1).tolist()
    idle_j = 1e-9 * it.time_shares_ns()["idle"] * it.model.idle_loaded_w
    assert it.energy_j - idle_j == pytest.approx(naive.busy_j, rel=1e-6)
