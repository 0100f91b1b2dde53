"""The resumable engine: hand-computed requests, limits, preemption, clock changes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.serving.engine import Engine
from joulery.serving.engine_state import QueueDiscipline
from serving_cases import instance, with_kv_cache

MS = 1_000_000
S = 1_000_000_000


def engine(
    *, kv_capacity_tokens: int | None = None, clock_mhz: int = 1980, budget: int = 512, seqs: int = 256
) -> Engine:
    model = instance(4)
    if kv_capacity_tokens is not None:
        model = with_kv_cache(model, kv_capacity_tokens=kv_capacity_tokens)
    return Engine(model, token_budget=budget, max_num_seqs=seqs, clock_mhz=clock_mhz)


def test_one_request_takes_the_time_that_the_formula_says() -> None:
    it = engine()
    it.submit(1 * S, 1000, 3)
    it.advance(10 * S)
    done = it.take_finished()
    host, client = 5_030_000, 15_700_000  # h0 + 2 h1; t0 + 4 t1
    prefill = 2 * host + 51_600 * 1000  # two chunks, compute-bound, c = 152/4 + 13.6 us
    first_decode = host + 48_000 + 6_200_000 + 28_250  # b + W0/4 + k 1000
    second_decode = first_decode + 28
    assert done.ttft_ns.tolist() == [prefill + client]
    assert done.first_token_ns.tolist() == [1 * S + prefill + client]
    assert (done.finish_ns - done.arrival_ns).tolist() == [prefill + first_decode + second_decode]
    assert done.tpot_ns.tolist() == [(first_decode + second_decode) // 2]
    assert it.itl_sum_ns == first_decode + second_decode


def test_first_tokens_are_told_once_and_before_the_answer_is_complete() -> None:
    it = engine()
    it.submit_many(*(np.array(column) for column in ([0, 0, 1 * S], [400, 900, 50], [500, 1, 400])))
    told = []
    for tenth in range(1, 200):
        it.advance(tenth * S // 10)
        told.extend(it.take_first_tokens().tolist())
        if tenth == 15:
            assert len(told) == 3
            assert it.in_flight == 2
    done = it.take_finished()
    assert sorted(told) == sorted((done.ttft_ns - it.model.client_ns).tolist())


def test_first_tokens_survive_a_table_that_grows() -> None:
    it = engine()
    for second in range(40):
        it.submit_many(np.full(20, second * S), np.full(20, 100), np.full(20, 2))
        it.advance((second + 1) * S)
        assert len(it.take_first_tokens()) == 20
        if second % 8 == 7:
            it.take_finished()


def test_one_request_draws_the_joules_of_its_time_shares() -> None:
    it = engine()
    it.submit(0, 400, 2)
    it.advance(1 * S)
    host_ns, compute_ns, streaming_ns, attention_ns = 2 * 5_030_000, 51_600 * 400, 6_200_000, 48_000 + 11_300
    idle_ns = S - host_ns - compute_ns - streaming_ns - attention_ns
    spent = host_ns * 256 + compute_ns * 673 + streaming_ns * 502 + attention_ns * 667 + idle_ns * 90
    joules = 4e-9 * spent
    assert it.energy_j == pytest.approx(joules, rel=1e-9)
    assert sum(it.time_shares_ns().values()) == S


def test_idle_engine_draws_idle_watts_at_any_clock() -> None:
    it = engine(clock_mhz=1200)
    it.advance(10 * S)
    assert it.counters().power_w == pytest.approx(360.0)
    assert it.energy_j == pytest.approx(3600.0)


def test_joules_are_capped_at_the_board_limit() -> None:
    model = instance(4)
    assert model.at_clock(1980).compute_w <= 4 * model.board_limit_w


def test_energy_of_an_iteration_in_flight_counts_up_to_now() -> None:
    it = engine()
    it.submit(0, 512, 1)
    it.advance(10 * MS)
    full = 4e-9 * (5_030_000 * 256 + 51_600 * 512 * 673)
    duration = 5_030_000 + 51_600 * 512
    assert it.energy_j == pytest.approx(full * 10 * MS / duration)
    assert it.counters().power_w == pytest.approx(full / (1e-9 * duration))


def test_decodes_share_the_budget_with_prefill_and_come_first() -> None:
    it = engine(budget=8, seqs=4)
    it.submit(0, 4, 50)
    it.advance(30 * MS)
    it.submit(30 * MS, 14, 2)  # 7 + 7 tokens beside one decode each
    it.advance(31 * MS)
    before = it.counters().generation_tokens_total
    while it.counters().prompt_tokens_total < 18:
        it.advance(it.now_ns + MS)
    assert (
        it.counters().generation_tokens_total - before == 4
    )  # three decodes, one in flight on arrival, and a first token


def test_batch_limit_holds_back_the_rest() -> None:
    it = engine(seqs=2)
    for _ in range(5):
        it.submit(0, 10, 100)
    it.advance(100 * MS)
    counters = it.counters()
    assert (counters.running, counters.waiting, counters.oldest_waiting_arrival_ns) == (2, 3, 0)


def test_whole_prompt_must_fit_the_kv_cache_before_admission() -> None:
    it = engine(kv_capacity_tokens=1500)
    it.submit(0, 1000, 100)
    it.submit(0, 1000, 100)
    it.advance(100 * MS)
    assert (it.counters().running, it.counters().waiting) == (1, 1)
    it.advance(60 * S)
    assert len(it.take_finished()) == 2


def test_newest_request_is_preempted_and_recomputed_when_decodes_outgrow_the_cache() -> None:
    it = engine(kv_capacity_tokens=300)
    it.submit(0, 100, 150, tag=1)
    it.submit(0, 100, 150, tag=2)
    it.advance(60 * S)
    done = it.take_finished()
    counters = it.counters()
    assert counters.preemptions_total == 1
    assert done.tag.tolist() == [1, 2]
    assert counters.generation_tokens_total == 300
    assert counters.prompt_tokens_total == 200  # recomputing is not counted as new prompt
    assert int(it.itl_histogram.sum()) == 298
    assert it.itl_sum_ns == int((done.finish_ns - done.first_token_ns).sum()) + 2 * it.model.client_ns
    assert counters.kv_tokens == 0


def test_clock_change_acts_on_the_next_iteration_only() -> None:
    slow, fast, changed = engine(clock_mhz=1200), engine(), engine()
    for it in (slow, fast, changed):
        it.submit(0, 1024, 1)
        it.advance(10 * MS)
    changed.set_clock(1200)
    for it in (slow, fast, changed):
        it.advance(1 * S)
    ttft = {name: int(it.take_finished().ttft_ns[0]) - it.model.client_ns for name, it in (
        ("slow", slow), ("fast", fast), ("changed", changed)
    )}  # fmt: skip
    assert ttft["changed"] == ttft["fast"] // 2 + ttft["slow"] // 2


def test_drained_engine_refuses_submissions_and_ends_what_it_has() -> None:
    it = engine()
    it.submit(0, 100, 10, tag=7)
    it.drain()
    with pytest.raises(ValueError, match="draining"):
        it.submit(0, 100, 10)
    it.advance(10 * S)
    assert it.take_finished().tag.tolist() == [7]


def test_abort_hands_back_all_unfinished_tags_and_keeps_the_energy() -> None:
    it = engine(seqs=2)
    for tag in range(5):
        it.submit(tag, 1000, 100, tag=tag)
    it.submit(5 * S, 10, 10, tag=9)
    it.advance(200 * MS)
    energy = it.energy_j
    assert sorted(it.abort().tolist()) == [0, 1, 2, 3, 4, 9]
    assert it.energy_j == pytest.approx(energy)
    assert (it.in_flight, it.counters().kv_tokens, len(it.take_finished())) == (0, 0, 0)
    it.advance(1 * S)
    assert it.energy_j == pytest.approx(energy + 0.8 * 360.0)


def test_finished_requests_are_handed_out_once() -> None:
    it = engine()
    it.submit(0, 10, 1)
    it.advance(1 * S)
    assert len(it.take_finished()) == 1
    assert len(it.take_finished()) == 0


@pytest.mark.parametrize(
    ("arrival_ns", "inputs", "outputs", "message"),
    [
        (-1, 10, 10, "arrivals"),
        (0, 0, 10, "at least one"),
        (0, 10, 0, "at least one"),
        (0, 131_000, 100, "131100 tokens exceeds the limit of 131072"),
    ],
)
def test_refuses_what_it_cannot_serve_and_says_why(
    arrival_ns: int, inputs: int, outputs: int, message: str
) -> None:
    it = engine()
    with pytest.raises(ValueError, match=message):
        it.submit(arrival_ns, inputs, outputs)
    assert it.in_flight == 0


def test_refuses_a_budget_below_the_batch_limit() -> None:
    with pytest.raises(ValueError, match="token budget 100 must be at least max_num_seqs 256"):
        engine(budget=100)


def test_refuses_to_go_back_in_time() -> None:
    it = engine()
    it.advance(1 * S)
    with pytest.raises(ValueError, match="cannot advance"):
        it.advance(1)


def test_refuses_a_clock_that_the_device_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"outside 1\.\.1980 MHz"):
        engine().set_clock(2000)


def test_kv_capacity_is_what_memory_arithmetic_leaves() -> None:
    assert [round(instance(tp).kv_capacity_tokens, -3) for tp in (2, 4, 8)] == [235_000, 692_000, 1_606_000]


def test_arrays_grow_with_long_answers_and_many_requests() -> None:
    it = engine()
    it.submit(0, 10, 20_000, tag=1)
    it.advance(1 * S)
    count = 3000
    arrivals = np.arange(count, dtype=np.int64) * 100 * MS + S
    it.submit_many(arrivals, np.full(count, 10), np.full(count, 5), np.arange(count) + 10)
    it.submit(int(arrivals[-1]), 10, 50_000, tag=2)
    it.advance(3000 * S)
    done = it.take_finished()
    assert len(done) == count + 2
    assert set(done.tag.tolist()) == {1, 2, *range(10, count + 10)}
    assert it.counters().generation_tokens_total == 70_000 + 5 * count


def two_prompts(queue: QueueDiscipline) -> dict[str, float]:
    """TTFT in ms of a long prompt and of a short one that comes while the long one is half done."""
    it = Engine(instance(4), token_budget=512, max_num_seqs=8, clock_mhz=1980, queue=queue)
    ms = 1_000_000
    arrivals, inputs, outputs = np.array([0, 50 * ms]), np.array([8000, 100]), np.array([5, 5])
    it.submit_many(arrivals, inputs, outputs, np.arange(2), arrivals + np.array([2000 * ms, 250 * ms]))
    it.advance(10_000 * ms)
    done = it.take_finished()
    return {("long", "short")[tag]: ttft * 1e-6 for tag, ttft in zip(done.tag, done.ttft_ns, strict=True)}


def test_in_order_of_deadlines_a_short_prompt_passes_a_half_done_long_one_at_the_border_of_a_chunk() -> None:
    first_come, by_deadline = two_prompts(QueueDiscipline.FIFO), two_prompts(QueueDiscipline.DEADLINE)
    assert first_come["short"] > 250
    assert by_deadline["short"] < 100
    assert first_come["long"] < by_deadline["long"] < 1.1 * first_come["long"]


def test_a_queue_in_order_of_deadlines_refuses_requests_without_one() -> None:
    it = Engine(instance(4), token_budget=512, max_num_seqs=8, clock_mhz=1980, queue=QueueDiscipline.DEADLINE)
    with pytest.raises(ValueError, match="needs the deadline of every request"):
        it.submit(0, 10, 10)
    assert it.in_flight == 0


def test_waiting_requests_are_counted_and_the_oldest_named_in_order_of_deadlines() -> None:
    it = Engine(instance(4), token_budget=512, max_num_seqs=1, clock_mhz=1980, queue=QueueDiscipline.DEADLINE)
    arrivals = np.array([0, 10, 20, 10**15])
    it.submit_many(arrivals, np.full(4, 100), np.full(4, 100), None, np.array([0, 900, 500, 0]))
    it.advance(200_000_000)
    counters = it.counters()
    assert (counters.running, counters.waiting, counters.oldest_waiting_arrival_ns) == (1, 2, 10)
