"""The replayed benchmark client, and its schedule apart from time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.calibration.client import Answers, Load, engine_of, play
from joulery.calibration.form import replayed
from joulery.calibration.lanes import law_of_profile
from joulery.calibration.schedule import schedule_of
from joulery.serving.instance import InstanceModel
from serving_cases import ACCELERATOR, instance, shipped_profile, silicon_rows, with_kv_cache

LOADS = st.builds(
    Load,
    clients=st.integers(1, 12),
    input_tokens=st.integers(5, 3000),
    output_tokens=st.integers(5, 80),
    requests_per_client=st.integers(1, 4),
    seed=st.integers(0, 3),
)


def answers_of(load: Load, model: InstanceModel) -> Answers:
    return play(engine_of(model, load), load)


def test_lengths_are_uniform_between_0_8_and_1_0_of_nominal_and_decided_by_the_seed() -> None:
    inputs, outputs = Load(64, 1000, 500).lengths()
    assert (inputs.min(), inputs.max()) == (800, 1000)
    assert 400 <= outputs.min() <= 402 and outputs.max() == 500
    assert inputs.mean() == pytest.approx(900, rel=0.02)
    assert np.array_equal(inputs, Load(64, 1000, 500).lengths()[0])
    assert not np.array_equal(inputs, Load(64, 1000, 500, seed=1).lengths()[0])


def test_all_clients_start_at_once_and_each_sends_when_its_last_is_answered() -> None:
    load = Load(4, 600, 40, requests_per_client=5)
    answers = answers_of(load, instance(4))
    assert (answers.arrival_ns[:4] == 0).all()
    assert sorted(answers.arrival_ns[4:]) == sorted(answers.finish_ns)[: load.requests - 4]


def test_the_first_wave_waits_longest() -> None:
    load = Load(16, 4096, 32)
    answers = answers_of(load, instance(4))
    ttft_ns = answers.first_token_ns - answers.arrival_ns
    assert ttft_ns[:16].mean() > 3 * np.median(ttft_ns[16:])


@settings(max_examples=40, deadline=None)
@given(load=LOADS, room=st.integers(0, 20_000))
def test_every_request_is_answered_once_and_all_tokens_are_conserved(load: Load, room: int) -> None:
    model = with_kv_cache(instance(4), kv_capacity_tokens=load.input_tokens + load.output_tokens + room)
    engine = engine_of(model, load)
    answers = play(engine, load)
    inputs, outputs = load.lengths()
    done = engine.counters()
    assert done.requests_total == load.requests
    assert done.generation_tokens_total == outputs.sum()
    assert done.prompt_tokens_total == inputs.sum()
    assert (answers.arrival_ns < answers.first_token_ns).all()
    assert (answers.first_token_ns < answers.finish_ns).all()


@settings(max_examples=40, deadline=None)
@given(load=LOADS, room=st.integers(0, 20_000))
def test_a_schedule_timed_again_is_the_engines_own_run_preemptions_included(load: Load, room: int) -> None:
    model = with_kv_cache(instance(4), kv_capacity_tokens=load.input_tokens + load.output_tokens + room)
    answers = answers_of(load, model)
    run = replayed([schedule_of(load, model.kv_capacity_tokens)], 4)
    ttft_ms, tpot_ms = run.means_ms(law_of_profile(shipped_profile(), ACCELERATOR))
    assert run.preemptions == answers.preemptions
    # The engine rounds each term of an iteration to a nanosecond.
    assert tpot_ms == pytest.approx(answers.tpot_ms, rel=1e-6)
    assert ttft_ms == pytest.approx(answers.ttft_ms + 1e-6 * model.client_ns, rel=1e-6)


def test_a_cache_that_is_too_small_preempts_and_slows_the_answers() -> None:
    load = Load(8, 1000, 200)
    free, tight = (replayed([schedule_of(load, tokens)], 4) for tokens in (100_000, 4_500))
    law = law_of_profile(shipped_profile(), ACCELERATOR)
    assert free.preemptions == 0 < tight.preemptions
    assert tight.means_ms(law)[0] > 2 * free.means_ms(law)[0]


@pytest.mark.parametrize("row", [1, 4, 6, 8])
def test_the_shipped_profile_replayed_is_near_measured_silicon(row: int) -> None:
    measured = silicon_rows()[row]
    clients, tp = int(measured["concurrency"]), int(measured["tensor_parallel_size"])
    load = Load(clients, int(measured["input_tokens"]), int(measured["output_tokens"]))
    run = replayed([schedule_of(load, instance(tp).kv_capacity_tokens)], tp)
    ttft_ms, tpot_ms = run.means_ms(law_of_profile(shipped_profile(), ACCELERATOR))
    assert ttft_ms == pytest.approx(measured["ttft_ms"], rel=0.10)
    assert tpot_ms == pytest.approx(measured["tpot_ms"], rel=0.10)


def test_an_engine_says_when_its_iteration_ends_and_that_none_is_in_flight() -> None:
    model = instance(4)
    engine = engine_of(model, Load(1, 100, 5))
    assert engine.iteration_end_ns is None
    engine.submit(0, 100, 5)
    engine.advance(1)
    clock = model.at_clock(model.max_clock_mhz)
    assert engine.iteration_end_ns == clock.iteration_ns(decodes=0, context_tokens=0, prefill_tokens=100)
    engine.advance(engine.iteration_end_ns)
    assert engine.iteration_end_ns is None
