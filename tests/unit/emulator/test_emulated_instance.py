"""One engine in model time."""

from __future__ import annotations

import numpy as np
import pytest

from emulated import engine_arguments, pod_spec
from joulery.emulator.engine_options import EngineOptions, read_options
from joulery.emulator.instance import Instance, InstancePhase
from joulery.errors import ConfigError
from serving_cases import instance as instance_model

NS = 1_000_000_000


def options(**changes: int) -> EngineOptions:
    return EngineOptions(
        **{
            "served_model_name": "m",
            "tensor_parallel_size": 4,
            "token_budget": 2048,
            "max_num_seqs": 256,
            "port": 8000,
            **changes,
        }  # type: ignore[arg-type]
    )


def make(made: EngineOptions | None = None, warmup_requests: int = 0) -> Instance:
    chosen = made or read_options(engine_arguments(4))
    return Instance(pod_spec().key, chosen, instance_model(4), 0, warmup_requests)


def serving(warmup_requests: int = 0) -> Instance:
    engine = make(warmup_requests=warmup_requests)
    engine.advance(NS)
    engine.load()
    engine.serve()
    return engine


def submit(engine: Instance, count: int, arrival_ns: int, inputs: int = 100, outputs: int = 20) -> None:
    arrivals = np.full(count, arrival_ns)
    engine.submit(arrivals, np.full(count, inputs), np.full(count, outputs), np.arange(count))


def test_loading_burns_the_watts_of_a_resident_model_and_takes_nothing() -> None:
    engine = make()
    assert engine.advance(10 * NS) is None
    assert engine.energy_j == pytest.approx(10 * engine.model.idle_loaded_w)
    assert engine.counters() is None


def test_energy_goes_on_without_a_step_when_loading_ends() -> None:
    engine = make()
    engine.advance(10 * NS)
    before = engine.energy_j
    engine.load()
    assert engine.energy_j == pytest.approx(before)
    engine.advance(12 * NS)
    assert engine.energy_j == pytest.approx(12 * engine.model.idle_loaded_w)


def test_a_draining_engine_finishes_what_it_has() -> None:
    engine = serving()
    submit(engine, 5, NS)
    engine.drain()
    done = engine.advance(20 * NS)
    assert done is not None
    assert len(done) == 5
    assert (engine.in_flight, engine.phase) == (0, InstancePhase.DRAINING)


def test_a_killed_engine_names_what_it_had_not_finished() -> None:
    engine = serving()
    submit(engine, 3, NS, outputs=4000)
    engine.advance(2 * NS)
    assert sorted(engine.end().tolist()) == [0, 1, 2]
    assert engine.in_flight == 0


def test_an_engine_that_drains_before_it_is_ready_never_serves() -> None:
    engine = make()
    engine.drain()
    engine.serve()
    assert engine.phase is InstancePhase.DRAINING


def test_a_lower_clock_slows_prefill() -> None:
    times = []
    for clock_mhz in (1980, 990):
        engine = serving()
        engine.set_clock(clock_mhz)
        submit(engine, 1, NS, inputs=4000, outputs=1)
        done = engine.advance(30 * NS)
        assert done is not None
        times.append(int(done.ttft_ns[0]))
    assert times[1] > 1.5 * times[0]


def test_a_clock_change_is_told_once_and_kept_within_the_device() -> None:
    engine = make()
    assert engine.set_clock(1200)
    assert not engine.set_clock(1200)
    assert engine.set_clock(9999)
    assert engine.clock_mhz == engine.model.max_clock_mhz


def test_requests_longer_than_the_engines_limit_are_cut_to_it() -> None:
    engine = make(options(max_model_length=1000))
    engine.advance(NS)
    engine.load()
    submit(engine, 1, NS, inputs=5000, outputs=500)
    done = engine.advance(60 * NS)
    assert done is not None
    assert (done.input_tokens[0], done.output_tokens[0]) == (999, 1)


def test_a_token_budget_below_the_batch_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="--max-num-batched-tokens 128 is below --max-num-seqs 256"):
        make(options(token_budget=128))


def test_first_requests_are_answered_more_slowly_and_those_after_them_as_ever() -> None:
    def first_tokens_s(warmup_requests: int) -> list[float]:
        engine, took_s = serving(warmup_requests), []
        for second in range(2, 12):
            submit(engine, 1, second * NS, inputs=4000)
            engine.advance((second + 1) * NS)
            took_s += [float(ttft_ns) / NS for ttft_ns in engine.take_first_tokens()]
        assert engine.clock_mhz == engine.model.max_clock_mhz, "which NVML does not show"
        return took_s

    plain, warming = first_tokens_s(0), first_tokens_s(4)
    assert len(plain) == len(warming) == 10
    assert all(slow > 1.5 * usual for slow, usual in zip(warming[:4], plain[:4], strict=True))
    assert warming[4:] == pytest.approx(plain[4:], rel=0.01)


def test_locked_clock_of_a_cold_engine_holds_once_it_is_warm() -> None:
    cold, warm = serving(1), serving()
    for engine in (cold, warm):
        engine.set_clock(990)
        submit(engine, 1, 2 * NS)
        engine.advance(4 * NS)
        engine.take_first_tokens()
        submit(engine, 1, 5 * NS)
        engine.advance(7 * NS)
    assert int(cold.take_first_tokens()[0]) == pytest.approx(int(warm.take_first_tokens()[0]), rel=0.01)
