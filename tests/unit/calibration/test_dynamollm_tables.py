"""The published tables as they ship, and a serving model held to them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from joulery.calibration.dynamollm.claims import Count
from joulery.calibration.dynamollm.fits import without_shared
from joulery.calibration.dynamollm.judge import (
    Environment,
    figure_errors,
    play,
    regrets,
    relative_errors,
    rows_near_best,
)
from joulery.calibration.dynamollm.models import ARCHITECTURES, environment_for, with_16_bit_weights
from joulery.calibration.dynamollm.products import bf16_over_fp8
from joulery.calibration.dynamollm.savings import trace_lengths
from joulery.calibration.dynamollm.steady import Load, steady
from joulery.calibration.dynamollm.tables import (
    TABLE_COLUMNS,
    read_cells,
    rows_of,
    shipped_cells,
    shipped_power,
)
from joulery.calibration.dynamollm.terms import INTERVAL_TAIL, TERMS, environment_of, shipped
from joulery.calibration.dynamollm.workload import FITTED, MEAN_LENGTHS, MEDIAN_LENGTHS, Reading, Workload
from joulery.domain.request_class import Objective
from joulery.errors import ConfigError
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.sample import Sample
from joulery.serving.trial import Trial
from serving_cases import ACCELERATOR

HEADER = ",".join(TABLE_COLUMNS) + "\n"
GOOD = "I,llama-2-70b,MM,2000,4,1200,4.23\n"
# What its fit gave beside the profile's own parameters.
SHIPPED = Environment(shipped("llama-2-70b"), interval_tail=1.51, workload=FITTED)
TABLE_I = shipped_cells("I")


def variant(profile: str, size: int) -> InstanceModel:
    return instance_model(shipped(profile), ACCELERATOR, size)


def test_tables_ship_whole_and_all_three_hold_the_same_row() -> None:
    tables = {table: shipped_cells(table) for table in ("I", "II", "III")}
    assert [len(cells) for cells in tables.values()] == [108, 36, 72]
    assert [sum(c.energy_wh is not None for c in cells) for cells in tables.values()] == [66, 23, 46]
    shared = [
        [c.energy_wh for c in cells if c not in set(without_shared(cells))] for cells in tables.values()
    ]
    assert shared[0] == shared[1] == shared[2]
    assert len(shared[0]) == 12


def test_every_row_has_the_cell_that_energies_are_relative_to() -> None:
    for table in ("I", "II", "III"):
        for row in rows_of(shipped_cells(table)).values():
            assert [c.energy_wh is not None for c in row if c.is_reference] == [True]


def test_figure_rises_from_loaded_idle() -> None:
    power = shipped_power()
    assert power[0] == (0, 880.0)
    assert all(a[1] < b[1] for a, b in pairwise(power))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("energy_wh", "energy_j") + GOOD, "a.csv row 1: columns must be table, model"),
        (HEADER + GOOD.replace("I,", "IV,", 1), "a.csv row 2, column table: must be I, II or III, not 'IV'"),
        (HEADER + GOOD + GOOD.replace("MM", "XM"), "a.csv row 3, column request_class: must be one of SS"),
        (HEADER + GOOD.replace("4.23", "nan"), "a.csv row 2, column energy_wh: must be a positive number"),
        (HEADER + GOOD.replace("1200", ""), "a.csv row 2, column clock_mhz: must be a positive number"),
    ],
)
def test_unusable_rows_are_refused_by_row_and_column(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_cells(text.splitlines(keepends=True), file="a.csv")


def test_lengths_are_those_of_the_trace_in_each_bucket() -> None:
    inputs, outputs = trace_lengths()
    for lengths, middle in ((MEAN_LENGTHS, np.mean), (MEDIAN_LENGTHS, np.median)):
        for of, tokens, edges in (
            (lengths.inputs, inputs, (0, 255, 1023, 8192)),
            (lengths.outputs, outputs, (0, 99, 349, 8192)),
        ):
            for letter, (low, high) in zip("SML", pairwise(edges), strict=True):
                inside = tokens[(tokens > low) & (tokens <= high)]
                assert of[letter] == round(float(middle(inside)))


def test_readings_differ_in_every_class_but_the_one_they_share() -> None:
    by_class = {c.request_class: c for c in TABLE_I}
    same_rate, same_tokens = Workload(), Workload(reading=Reading.SAME_TOKENS)
    assert same_rate.of(by_class["MM"]) == same_tokens.of(by_class["MM"])
    assert same_rate.of(by_class["LS"]).rate_rps == same_rate.of(by_class["SS"]).rate_rps
    loads = [same_tokens.of(c) for c in by_class.values()]
    assert {round(load.rate_rps * load.input_tokens) for load in loads} == {2000}


@pytest.mark.parametrize(
    ("profile", "size", "clock_mhz", "load"),
    [
        ("llama-2-70b", 4, 1980, Load(561, 147, 3.57)),
        ("llama-2-70b", 8, 1200, Load(561, 427, 3.57)),
        ("llama-2-70b", 2, 1980, Load(172, 69, 3.57)),
        ("llama-3.1-70b-fp8", 4, 1600, Load(172, 147, 2.0)),
        ("llama-3.1-70b-fp8", 8, 1980, Load(1868, 427, 3.57)),
    ],
)
def test_closed_form_is_what_the_event_kernel_reaches(
    profile: str, size: int, clock_mhz: int, load: Load
) -> None:
    model, count = variant(profile, size), 6000
    lengths = (np.full(count, load.input_tokens), np.full(count, load.output_tokens))
    trial = Trial(model, 8192, 256, Sample.of_lengths(*lengths, seed=1), Objective(10_000, 1000), 0.99)
    engine = trial.loaded(clock_mhz, load.rate_rps)
    finished = engine.take_finished()
    state = steady(model, clock_mhz, load)
    assert state.ttft_ms == pytest.approx(1e-6 * finished.ttft_ns.mean(), rel=0.13)
    assert state.ttft_p99_ms == pytest.approx(1e-6 * np.quantile(finished.ttft_ns, 0.99), rel=0.18)
    assert state.token_interval_ms == pytest.approx(1e-6 * finished.tpot_ns.mean(), rel=0.06)
    assert state.watts == pytest.approx(engine.energy_j * load.rate_rps / count, rel=0.03)


def test_more_load_never_lowers_watts_latency_or_what_is_in_flight() -> None:
    model = variant("llama-2-70b", 4)
    states = [steady(model, 1980, Load(561, 147, rate)) for rate in (0.01, 0.1, 1.0, 3.0, 6.0, 12.0, 50.0)]
    for lighter, heavier in pairwise(states):
        assert heavier.watts >= lighter.watts
        assert heavier.latency_ms >= lighter.latency_ms
        assert heavier.in_flight >= lighter.in_flight
    assert states[0].watts == pytest.approx(model.idle_loaded_w, rel=0.2)
    assert not states[-1].fits


def test_shipped_profile_is_within_eight_percent_of_the_figure_at_every_load() -> None:
    assert figure_errors(SHIPPED.profile).max_percent <= 8.0


def test_shipped_profile_finds_the_cheapest_cell_in_six_rows_and_the_slo_pattern_in_92_cells() -> None:
    played = play(SHIPPED, TABLE_I)
    assert rows_near_best(regrets(played)) >= 6
    assert sum(p.pattern_is_right for p in played) >= 92
    assert relative_errors(played).mean_percent < 8.5


def test_profile_of_2025_with_16_bit_weights_has_three_quarters_of_the_slo_pattern_unfitted() -> None:
    wide = with_16_bit_weights(shipped("llama-3.1-70b-fp8"), SHIPPED.profile)
    played = play(Environment(wide), TABLE_I)
    assert sum(p.pattern_is_right for p in played) >= 81


def test_16_bit_weights_stream_twice_the_bytes_and_multiply_as_much_slower_as_measured() -> None:
    narrow = shipped("llama-3.1-70b-fp8")
    wide = with_16_bit_weights(narrow, SHIPPED.profile)
    before, after = (p.accelerators[ACCELERATOR].latency for p in (narrow, wide))
    bytes_ratio = wide.parameters.streamed_weight_bytes / narrow.parameters.streamed_weight_bytes
    assert after.weight_streaming_ns.value == pytest.approx(bytes_ratio * before.weight_streaming_ns.value)
    assert bytes_ratio == pytest.approx(2.0, rel=0.05)
    assert after.compute_token_ps.value == pytest.approx(bf16_over_fp8() * before.compute_token_ps.value)
    assert 1.3 < bf16_over_fp8() < 1.6
    assert after.compute_token_undivided_ps == before.compute_token_undivided_ps


def test_choosing_what_the_paper_calls_infeasible_never_counts_as_near_best() -> None:
    played = play(SHIPPED, TABLE_I)
    hidden = tuple(replace(p, lateness=-1.0 if p.cell.energy_wh is None else 1.0) for p in played)
    assert set(regrets(hidden, own_mask=True).values()) == {None}
    assert rows_near_best(regrets(hidden, own_mask=True)) == 0


def test_own_architecture_changes_nothing_and_others_scale_their_cache() -> None:
    assert environment_for(SHIPPED, "llama-2-70b").profile == SHIPPED.profile
    other = environment_for(SHIPPED, "falcon-180b").profile
    assert other.parameters.kv_bytes_per_token == 163_840
    assert ARCHITECTURES["llama-2-70b"].kv_bytes_per_token == SHIPPED.profile.parameters.kv_bytes_per_token


def test_memory_of_the_shipped_profile_is_arithmetic() -> None:
    sizes, device = SHIPPED.profile.parameters, SHIPPED.profile.accelerators[ACCELERATOR].device
    assert sizes.weight_bytes == pytest.approx(2 * 68.98e9, rel=1e-3)
    assert sizes.kv_bytes_per_token == 80 * 8 * 128 * 2 * 2
    for size in (2, 4, 8):
        left = size * (0.9 * device.memory_bytes - device.reserved_bytes_per_gpu) - sizes.weight_bytes
        assert variant("llama-2-70b", size).kv_capacity_tokens == int(left // sizes.kv_bytes_per_token)


def test_terms_move_the_profile_and_keep_it_usable() -> None:
    pulls = {t.name: t.pull for t in TERMS}
    environment = environment_of(SHIPPED.profile, pulls)
    accelerator = environment.profile.accelerators[ACCELERATOR]
    assert environment.profile.validate() == ()
    assert accelerator.latency.compute_token_ps.value == pulls["compute_token_ps"]
    assert accelerator.power.decode_attention_w.value == pulls["weight_streaming_w"]
    assert environment.interval_tail == pulls[INTERVAL_TAIL]


def test_a_count_without_a_bound_is_only_printed() -> None:
    assert Count("SLO pattern", "Table I", 3, 9, None, "").is_met is None
    assert Count("SLO pattern", "Table I", 3, 9, 4, "").is_met is False
