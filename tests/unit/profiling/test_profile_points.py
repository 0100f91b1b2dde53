"""Points are read cell by cell, refused by row and column, and written as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from joulery.errors import ConfigError
from joulery.profiling.points import COLUMNS, MeasuredPoint, parse_points, read_points, render_points

HEADER = "accelerator,tensor_parallel_size,concurrency,input_tokens,output_tokens,ttft_ms,tpot_ms\n"
GOOD = "H100-SXM-80GB,4,8,1024,512,96.3,12.1\n"
FULL_HEADER = HEADER.strip() + ",watts_per_gpu,sm_clock_mhz\n"
FULL = "H100-SXM-80GB,4,8,1024,512,96.3,12.1,441.5,1980\n"


def test_a_row_is_read_with_the_line_it_stands_in() -> None:
    assert parse_points(FULL_HEADER + FULL, file="a.csv") == (
        MeasuredPoint("H100-SXM-80GB", 4, 8, 1024, 512, 96.3, 12.1, 441.5, 1980, row=2),
    )


def test_empty_cells_are_what_was_not_measured() -> None:
    (point,) = parse_points(FULL_HEADER + "H100-SXM-80GB,4,8,1024,512,,12.1,,\n", file="a.csv")
    assert (point.ttft_ms, point.watts_per_gpu, point.sm_clock_mhz) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("tpot_ms", "tpot_s") + GOOD, r"a.csv row 1: unknown column 'tpot_s' \(meant tpot_ms"),
        (HEADER.replace("tpot_ms", "colour") + GOOD, "row 1: unknown column 'colour'; known are accelerator"),
        (HEADER.replace(",tpot_ms", "") + GOOD, "row 1: missing column tpot_ms"),
        (HEADER.replace("ttft_ms", "tpot_ms") + GOOD, "row 1: column tpot_ms is there twice"),
        ("", "row 1: missing column accelerator"),
        (HEADER, "holds no point"),
        (HEADER + GOOD.replace("12.1", "nan"), "row 2, column tpot_ms: must be a number above 0 .* not 'nan'"),
        (HEADER + GOOD.replace("96.3", "-1"), "row 2, column ttft_ms: .* not '-1'"),
        (HEADER + GOOD.replace("96.3", "inf"), "row 2, column ttft_ms"),
        (HEADER + GOOD.replace("96.3", "96 ms"), "row 2, column ttft_ms: .* in the unit of its name, not '96 ms'"),
        (HEADER + GOOD.replace("12.1", ""), "row 2, column tpot_ms: .* not ''"),
        (HEADER + GOOD.replace("512", "1"), "row 2, column output_tokens: must be an integer from 2 to"),
        (HEADER + GOOD.replace(",4,", ",4.5,"), "row 2, column tensor_parallel_size: must be an integer"),
        (HEADER + GOOD.replace(",4,", "," + "9" * 5000 + ","), "row 2, column tensor_parallel_size"),
        (HEADER + GOOD.replace("H100-SXM-80GB", " "), "row 2, column accelerator: must name the device"),
        (HEADER + GOOD.strip() + ",7\n", "row 2: more cells than columns"),
        (FULL_HEADER + FULL.replace("1980", "1.98"), "row 2, column sm_clock_mhz: must be an integer from 100"),
        (FULL_HEADER + FULL.replace("441.5", "441500"), "row 2, column watts_per_gpu: .* at most 10000"),
        (HEADER + GOOD + GOOD.replace("12.1", "14.0"), r"rows 2 and 3, column tpot_ms: both are H100.* 12.1 and 14"),
        (HEADER + GOOD + '"H100', "row 3: not CSV: unexpected end of data"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_by_row_and_column(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_points(text, file="a.csv")


def test_repeats_that_agree_are_all_kept() -> None:
    assert len(parse_points(HEADER + GOOD + GOOD.replace("12.1", "12.4"), file="a.csv")) == 2


CELLS = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "H100", "8", "1e400"]),
)


@given(st.lists(st.lists(CELLS, max_size=11), max_size=4), st.booleans())
@example([["H100", "1", "1", "1", "2", "1", "٣"]], True)
@example([["\x00"]], True)
def test_no_file_makes_a_traceback(rows: list[list[str]], with_header: bool) -> None:
    text = (FULL_HEADER if with_header else "") + "\n".join(",".join(cells) for cells in rows)
    message, points = "a.csv ", ()
    try:
        points = parse_points(text, file="a.csv")
    except ConfigError as error:
        message = str(error)
    assert message.startswith("a.csv ")
    assert all(p.tpot_ms > 0 and p.output_tokens >= 2 for p in points)


@given(
    st.lists(
        st.builds(
            MeasuredPoint,
            st.sampled_from(["H100-SXM-80GB", "A, B"]),
            st.integers(1, 64),
            st.integers(1, 65_536),
            st.integers(1, 10**6),
            st.integers(2, 10**6),
            st.none() | st.floats(0.01, 1e6),
            st.floats(0.01, 1e5),
            st.none() | st.floats(1, 1000),
            st.none() | st.integers(100, 3000),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda p: p.setting,
    )
)
def test_points_that_are_written_are_read_as_they_were(points: list[MeasuredPoint]) -> None:
    read = parse_points(render_points(points), file="a.csv")
    assert [p.setting for p in read] == [p.setting for p in points]
    for column in COLUMNS[5:8]:
        written = [getattr(p, column) for p in points]
        assert [getattr(p, column) for p in read] == [w and pytest.approx(w, rel=1e-5) for w in written]


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read: No such file"):
        read_points(tmp_path / "none.csv")
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"b\.csv is not UTF-8 text"):
        read_points(binary)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(HEADER + GOOD, encoding="utf-8-sig")
    assert read_points(file)[0].accelerator == "H100-SXM-80GB"
