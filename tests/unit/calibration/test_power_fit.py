"""Watts by kind of time: found again in made-up rows, held to their bounds on the public ones, never nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.calibration.power.claims import PowerFound, calibrate_power
from joulery.calibration.power.figures import power_figures, power_section
from joulery.calibration.power.fit import fit_kinds, fit_line, fit_utilisation, with_offset
from joulery.calibration.power.form import KindWatts, SmallBatchLine, TimeShareLaw, UtilisationLaw
from joulery.calibration.power.models import MODELS
from joulery.calibration.power.parameters import fitted_parameters
from joulery.calibration.power.rows import FITTED_TASK, PowerRow, read_power_rows, shipped_power_rows
from joulery.calibration.power.split import GIVEN, Rest, Split, known_times, split_of
from joulery.errors import ConfigError
from joulery.serving.parameters import Grade

ROWS = shipped_power_rows()
HEADER = (
    "task,model,precision,tensor_parallel_size,max_num_seqs,batch,output_tokens,output_tokens_per_s,watts\n"
)
GOOD = "gpqa,Qwen/Qwen3-8B,BF16,1,8,7.99,7854,817.9,493.7\n"
KINDS = KindWatts(host_w=250.0, weight_streaming_w=500.0, decode_attention_w=665.0, compute_w=670.0)


@lru_cache
def found() -> PowerFound:
    """The calibration on the shipped rows."""
    return calibrate_power()


def rewatted(law: TimeShareLaw | UtilisationLaw | SmallBatchLine) -> list[PowerRow]:
    """The shipped rows with the watts of a law."""
    return [replace(r, watts=r.tensor_parallel_size * law.watts(r)) for r in ROWS]


def test_shares_of_every_shipped_row_are_shares() -> None:
    split = split_of(ROWS)
    assert len(ROWS) == 74
    for row in ROWS:
        shares = split.shares(row).array
        assert shares.sum() == pytest.approx(1.0)
        assert shares.min() >= 0.0


def test_a_deployments_rest_is_found_in_times_made_with_it() -> None:
    made = [timed(row, Rest(0.002, 50e-6)) for row in ROWS]
    for rest in split_of(made).rests.values():
        assert rest.host_s == pytest.approx(0.002)
        assert rest.sequence_s == pytest.approx(50e-6)


def test_fits_find_what_made_up_rows_were_made_with() -> None:
    known = split_of(ROWS)
    assert fit_kinds(rewatted(TimeShareLaw(KINDS, known)), known).kinds.array == pytest.approx(
        KINDS.array, rel=1e-3
    )
    utilisation = UtilisationLaw(330.0, 70.0, 530.0, 650.0, 0.67)
    assert fit_utilisation(rewatted(utilisation)).kv_w == pytest.approx(utilisation.kv_w, rel=1e-2)
    line = SmallBatchLine(240.0, 300.0)
    assert fit_line(rewatted(line)).weights_w == pytest.approx(line.weights_w)


def test_watts_meet_their_bounds_on_another_task_and_on_small_batches() -> None:
    bounded = [claim for claim in found().claims if claim.bound]
    assert [(claim.rows, claim.errors.rows, claim.is_met) for claim in bounded] == [
        ("gpqa, not fitted", 9, True),
        ("B=8 over TP 1 to 8, fit on all batches", 8, True),
    ]


def test_a_form_that_misses_a_bound_is_printed_as_one_that_does() -> None:
    missed = [claim.rows for claim in found().other_claims if claim.is_met is False]
    assert missed == ["utilisation form, B=8 over TP 1 to 8"]
    assert power_section(found()).count("MISSED") == len(missed)


def test_the_bounds_hold_with_each_given_value_moved() -> None:
    assert len(found().sensitivity) == 8
    for name, moved in found().sensitivity.items():
        assert moved.other_task.mean_percent <= 7.0, name
        assert moved.other_task.max_percent <= 17.0, name
        assert moved.small.max_percent <= 10.0, name


def test_no_watts_of_the_held_out_task_reach_the_fit() -> None:
    doubled = [r if r.task == FITTED_TASK else replace(r, watts=2 * r.watts) for r in ROWS]
    known = split_of(doubled)
    kinds = fit_kinds([r for r in doubled if r.task == FITTED_TASK], known).kinds
    assert kinds == found().judged.law.kinds


def test_every_fitted_number_says_where_it_comes_from() -> None:
    parameters = fitted_parameters(found())
    assert len(parameters) == 4 + 8 + 2
    for parameter in parameters:
        assert parameter.low < parameter.value < parameter.high
        assert parameter.grade is Grade.MEASURED
        assert "ML.ENERGY" in parameter.source
        assert "batch" in parameter.valid
    figures = power_figures(found())["parameters"]
    assert isinstance(figures, dict)
    assert figures["offset Llama-3.1-8B-Instruct TP1"]["points"] == 1


def test_an_offset_makes_the_law_exact_at_its_row() -> None:
    law = found().judged.law
    row = next(r for r in ROWS if r.model.endswith("70B-Instruct"))
    assert with_offset(law, row).watts(row) == pytest.approx(row.watts_per_gpu)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (HEADER.replace("watts", "power"), "row 1: columns must be"),
        (HEADER + GOOD.replace("gpqa", "sourcegraph-fim"), "row 2, column task: must be one of"),
        (HEADER + GOOD.replace("Qwen3-8B", "Qwen3-4B"), "row 2, column model: must be one of"),
        (HEADER + GOOD.replace("BF16", "FP8"), "row 2, column precision: must be one of BF16"),
        (HEADER + GOOD + GOOD, "row 3: Qwen3-8B TP1 gpqa B=8 was measured twice"),
        (
            HEADER + GOOD.replace(",1,8,", ",0,8,"),
            "row 2, column tensor_parallel_size: must be a positive integer",
        ),
        (HEADER + GOOD.replace("493.7", "nan"), "row 2, column watts: must be a positive number, not 'nan'"),
        (HEADER + GOOD.replace("493.7", "-5"), "row 2, column watts: must be a positive number, not '-5'"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_by_row_and_column(content: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_power_rows(content.splitlines(), file="made.csv")


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_rows_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="too few for 4 parameters: at least 8 are needed"):
        fit_kinds(ROWS[:count], split_of(ROWS))


def timed(row: PowerRow, rest: Rest) -> PowerRow:
    """The row at the speed of the latency law."""
    iteration_s = known_times(row).total_s + rest.host_s + rest.sequence_s * row.batch
    return replace(row, output_tokens_per_s=row.batch / iteration_s)


def watts_over_load(
    batches: Sequence[float], row: PowerRow, rest: Rest, kinds: KindWatts, offset: float
) -> list[float]:
    """Watts of one deployment at several batches."""
    law = TimeShareLaw(kinds, Split(GIVEN, {row.deployment: rest}), offset)
    return [law.watts(timed(replace(row, batch=batch), rest)) for batch in batches]


kinds_of_watts = st.lists(st.floats(90.0, 700.0), min_size=4, max_size=4).map(lambda w: KindWatts(*sorted(w)))
made_rows = st.builds(
    PowerRow,
    task=st.just(FITTED_TASK),
    model=st.sampled_from(sorted(MODELS)),
    tensor_parallel_size=st.sampled_from([1, 2, 4, 8]),
    max_num_seqs=st.just(8),
    batch=st.just(8.0),
    output_tokens=st.floats(2.0, 10_000.0),
    output_tokens_per_s=st.just(1.0),
    watts=st.just(1.0),
)
made_rests = st.builds(Rest, st.floats(0.0, 0.02), st.floats(0.0, 3e-4))
offsets = st.floats(0.5, 2.0)


@given(row=made_rows, rest=made_rests, kinds=kinds_of_watts, offset=offsets, batch=st.floats(1.0, 1000.0))
def test_watts_lie_between_those_of_the_kinds_and_the_board_limit(
    row: PowerRow, rest: Rest, kinds: KindWatts, offset: float, batch: float
) -> None:
    (watts,) = watts_over_load([batch], row, rest, kinds, offset)
    assert min(offset * kinds.host_w, 700.0) - 1e-9 <= watts <= 700.0 + 1e-9


@given(
    row=made_rows, rest=made_rests, batch=st.floats(1.0, 500.0), factor=st.floats(1.0, 4.0), offset=offsets
)
def test_more_load_never_lowers_the_watts_as_fitted(
    row: PowerRow, rest: Rest, batch: float, factor: float, offset: float
) -> None:
    kinds = found().judged.law.kinds
    less, more = watts_over_load([batch, factor * batch], row, rest, kinds, offset)
    assert more >= less - 1e-6


@given(row=made_rows, rest=made_rests, batch=st.floats(1.0, 1000.0))
def test_watts_by_utilisation_stay_positive_and_below_the_board_limit(
    row: PowerRow, rest: Rest, batch: float
) -> None:
    law = found().judged.utilisation
    assert 0.0 < law.watts(timed(replace(row, batch=batch), rest)) <= 700.0
