"""Public tables become points: what is converted, what is left out, and what is refused."""

from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.errors import ConfigError
from joulery.profiling.layouts import Imported, Selection, read_layout
from joulery.profiling.points import MeasuredPoint, parse_points, render_points
from joulery.profiling.sources import LAYOUTS

SILICON = (
    "id,backend,backend_version,model_path,system,precision,mode,isl,osl,batch_size,tp_size,pp_size,"
    "attention_dp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms\n"
)
SILICON_ROW = "a,vllm,,some/Model,h100_sxm,fp8,agg,1024,512,8.0,2.0,1.0,,1.0,96.25,12.5\n"
OTHER_ROW = SILICON_ROW.replace("some/Model", "other")
V3 = (
    "task,model_id,gpu_model,num_gpus,tensor_parallel,data_parallel,expert_parallel,weight_precision,avg_batch_size,"
    "avg_output_len,output_throughput_tokens_per_sec,avg_power_watts,median_itl_ms\n"
)
V3_ROW = "lm-arena-chat,some/Model,H100,4,4,1,1,bfloat16,31.98,350.4,1500.0,1800.0,20\n"
V2 = (
    "task,model,gpu,tensor_parallel,pipeline_parallel,avg_batch_size,avg_output_tokens,output_tokens_per_s,"
    "avg_tpot_s,energy_per_request_j\n"
)
V2_ROW = "chat,some/Model,NVIDIA A100-SXM4-40GB,2,1,31.9,400.0,500.0,0.0632,240.0\n"


def imported(folder: Path, text: str, layout: str = "aiconfigurator", **wanted: object) -> Imported:
    file = folder / "table.csv"
    file.write_text(text)
    return read_layout(file, LAYOUTS[layout], Selection(**wanted))  # type: ignore[arg-type]


def test_a_silicon_row_is_a_point_of_its_concurrency_and_device(tmp_path: Path) -> None:
    (point,) = imported(tmp_path, SILICON + SILICON_ROW).points
    assert point.name == "H100-SXM-80GB TP2 1024/512 B=8"
    assert (point.ttft_ms, point.tpot_ms, point.watts_per_gpu, point.row) == (96.25, 12.5, None, 2)


def test_an_mlenergy_row_has_watts_per_gpu_and_the_time_that_its_throughput_tells(tmp_path: Path) -> None:
    (point,) = imported(tmp_path, V3 + V3_ROW, "mlenergy-v3").points
    assert point.name == "H100-SXM-80GB TP4 250/350 B=32"
    assert point.ttft_ms is None
    assert point.tpot_ms == pytest.approx(1000 * 31.98 / 1500)
    assert point.watts_per_gpu == pytest.approx(450.0)


def test_the_older_edition_gives_watts_as_joules_of_a_request_times_requests(tmp_path: Path) -> None:
    (point,) = imported(tmp_path, V2 + V2_ROW, "mlenergy-v2", input_tokens=200).points
    assert point.name == "A100-SXM-40GB TP2 200/400 B=32"
    assert point.tpot_ms == pytest.approx(63.2)
    assert point.watts_per_gpu == pytest.approx(240.0 * (500.0 / 400.0) / 2)


@pytest.mark.parametrize(
    ("layout", "text"), [("aiconfigurator", SILICON + SILICON_ROW), ("mlenergy-v3", V3 + V3_ROW)]
)
def test_what_is_imported_is_what_fit_reads(layout: str, text: str, tmp_path: Path) -> None:
    points = imported(tmp_path, text, layout).points
    assert [p.setting for p in parse_points(render_points(points), file="out.csv")] == [
        p.setting for p in points
    ]


def test_rows_of_other_models_and_of_other_parallelism_are_left_out_and_counted(tmp_path: Path) -> None:
    text = SILICON + "".join(
        [
            SILICON_ROW,
            SILICON_ROW.replace("some/Model", "other"),
            SILICON_ROW.replace("agg", "disagg"),
            SILICON_ROW.replace("2.0,1.0,", "2.0,4.0,"),
            SILICON_ROW.replace("h100_sxm", "gb300"),
        ]
    )
    found = imported(tmp_path, text, model="Some/model", accelerator="H100-SXM-80GB")
    assert len(found.points) == 1
    assert found.left_out == {
        "of another model": 1,
        "of another accelerator": 1,
        "with prefill and decode apart": 1,
        "with pipeline, data or expert parallelism": 1,
    }


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        ("aiconfigurator", V3 + V3_ROW, "row 1: missing column backend.*another layout"),
        ("aiconfigurator", SILICON + SILICON_ROW + OTHER_ROW, "choose one with --model"),
        ("aiconfigurator", SILICON + SILICON_ROW.replace("h100_sxm", "gb300"), "column system: unknown accelerator"),
        ("aiconfigurator", SILICON + SILICON_ROW.replace("12.5", "nan"), "row 2, column silicon_tpot_ms"),
        ("aiconfigurator", SILICON + SILICON_ROW + SILICON_ROW.replace("12.5", "25"), "rows 2 and 3, column tpot_ms"),
        ("aiconfigurator", SILICON, "holds no row that can be used: it is empty"),
        ("mlenergy-v3", V3 + V3_ROW.replace("lm-arena-chat", "fim"), "row 2, column task: .* state --input-tokens"),
        ("mlenergy-v3", V3 + V3_ROW.replace("1800.0", "-3"), "row 2, column avg_power_watts"),
        ("mlenergy-v3", V3 + V3_ROW.replace("1800.0", "1e9"), "column watts_per_gpu: must be above 0 and at most"),
        ("aiconfigurator", SILICON + SILICON_ROW.replace("512", "1"), "column output_tokens: must be an integer"),
        ("mlenergy-v2", V2 + V2_ROW.replace("NVIDIA A100-SXM4-40GB", "TPU"), "row 2, column gpu: unknown accelerator"),
        ("mlenergy-v2", V2 + '"open', "row 2: not CSV"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(layout: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        imported(tmp_path, text, layout)


def test_a_choice_that_no_row_has_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    message = r"table\.csv column model_path holds 'other', 'some/Model': none is --model 'some/model-70b'"
    with pytest.raises(ConfigError, match=message):
        imported(tmp_path, SILICON + SILICON_ROW + OTHER_ROW, model="some/model-70b")


def test_compressed_tables_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "table.csv.gz"
    file.write_bytes(gzip.compress((SILICON + SILICON_ROW).encode()))
    assert len(read_layout(file, LAYOUTS["aiconfigurator"], Selection()).points) == 1
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_layout(file, LAYOUTS["aiconfigurator"], Selection())


CELL = st.one_of(
    st.sampled_from(["", "1", "vllm", "agg", "h100_sxm", "H100", "nan", "1e308", "-4"]), st.text(max_size=4)
)


@given(st.sampled_from(sorted(LAYOUTS)), st.data())
def test_no_table_makes_a_traceback_and_what_it_gives_is_read_again(layout: str, data: st.DataObject) -> None:
    columns = LAYOUTS[layout].columns
    rows = data.draw(st.lists(st.lists(CELL, min_size=len(columns), max_size=len(columns)), max_size=3))
    text = "\n".join([",".join(columns), *(",".join(row) for row in rows)])
    points: tuple[MeasuredPoint, ...] = ()
    with TemporaryDirectory() as folder, suppress(ConfigError):
        points = imported(Path(folder), text, layout, input_tokens=100).points
    assert not points or len(parse_points(render_points(points), file="out.csv")) == len(points)
