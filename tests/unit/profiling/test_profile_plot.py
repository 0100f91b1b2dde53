"""The page of a profile: curves with bands, measured points over them, and nothing from a network."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import joulery.__main__ as command_line
from joulery.errors import ConfigError
from joulery.profiling.curves import Curve, Drawing, measured_means, variants_of
from joulery.profiling.points import MeasuredPoint, render_points
from joulery.profiling.replay import Client
from made_up_points import CLIENT, made_up
from serving_cases import ACCELERATOR, shipped_profile

PROFILE = shipped_profile()
DRAWING = Drawing(PROFILE, ACCELERATOR, CLIENT, variants_of(PROFILE.accelerators[ACCELERATOR]), lambda: None)
POINTS = made_up(
    PROFILE, ACCELERATOR, sizes=(2, 4), shapes=((300, 400),), clients=(4, 20), clocks=(1200, 1980)
)


def check_bands(curves: Sequence[Curve]) -> None:
    for curve in curves:
        for estimate in curve.y:
            for low, mean, high in zip(estimate.low, estimate.means, estimate.high, strict=True):
                assert 0.0 <= low <= mean <= high
                assert low < high


def test_more_clients_wait_longer_draw_more_and_cost_less_per_token() -> None:
    curves = DRAWING.against_load((300, 400), (1, 8, 64))
    assert [c.tensor_parallel_size for c in curves] == [2, 4, 8]
    check_bands(curves)
    for curve in curves:
        tpot, ttft, watts, joules = zip(*(e.means for e in curve.y), strict=True)
        assert list(tpot) == sorted(tpot)
        assert list(ttft) == sorted(ttft)
        assert list(watts) == sorted(watts)
        assert list(joules) == sorted(joules, reverse=True)


def test_more_clock_is_faster_and_draws_more() -> None:
    curves = DRAWING.against_clock((300, 400), 20)
    check_bands(curves)
    for curve in curves:
        assert curve.x == (1200, 1335, 1470, 1590, 1725, 1860, 1980)
        tpot, ttft, watts, _ = zip(*(e.means for e in curve.y), strict=True)
        assert list(tpot) == sorted(tpot, reverse=True)
        assert list(ttft) == sorted(ttft, reverse=True)
        assert list(watts) == sorted(watts)


def test_curves_go_through_what_the_engine_itself_measured() -> None:
    (tp4,) = (c for c in DRAWING.against_clock((300, 400), 20) if c.tensor_parallel_size == 4)
    for point in POINTS:
        if (point.tensor_parallel_size, point.concurrency) == (4, 20):
            estimate = tp4.y[tp4.x.index(point.sm_clock_mhz or 0)]
            # One draw of lengths against three.
            assert estimate.means == pytest.approx(measured_means(point, CLIENT), rel=0.05)


def test_a_curve_ends_where_the_kv_memory_is_full() -> None:
    tp2, tp4, _ = DRAWING.against_load((8192, 1024), (1, 16, 64))
    assert tp2.x == (1, 16)
    assert tp4.x == (1, 16, 64)


def run(folder: Path, points: Sequence[MeasuredPoint], *options: str) -> tuple[BaseException | None, Path]:
    source, out = folder / "points.csv", folder / "page.html"
    source.write_text(render_points(points))
    out.write_text("as it was")
    more = ["--points", str(source), "--requests-per-client", "3", "-o", str(out), *options]
    done = CliRunner().invoke(command_line.app, ["profile", "plot", "llama-3.1-70b-fp8", *more])
    return (done.exception if done.exit_code else None), out


def test_the_page_holds_lines_bands_and_every_measured_point_and_opens_offline(tmp_path: Path) -> None:
    error, out = run(tmp_path, POINTS)
    assert error is None
    text = out.read_text()
    without_script = re.sub(r"<script>/\*\*.*?</script>", "", text, count=1, flags=re.S)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", without_script)
    for words in ("300 in, 400 out", "SM clock, MHz", "joules per output token", "memory floor", "1024/8192"):
        assert words in text, words
    names = set(re.findall(r'"text":(\[[^]]*\])', text))
    drawn = {name for listed in names for name in json.loads(listed)}
    assert {p.name for p in POINTS} <= drawn


def test_lengths_of_real_answers_share_a_column(tmp_path: Path) -> None:
    rows = [replace(p, output_tokens=400 + 7 * i) for i, p in enumerate(POINTS[:4])]
    error, out = run(tmp_path, rows)
    assert error is None
    assert re.findall(r"300 in, (\d+) out", out.read_text().partition("against the SM clock")[0]) == ["407"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"accelerator": "TPU"},
            "row 2, column accelerator: llama-3.1-70b-fp8 holds no 'TPU', only H100-SXM-80GB",
        ),
        ({"tensor_parallel_size": 1}, "row 2, column tensor_parallel_size: llama-3.1-70b-fp8 holds no TP1"),
    ],
)
def test_points_of_what_the_profile_does_not_hold_are_named_and_nothing_is_written(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    error, out = run(tmp_path, [replace(POINTS[0], **change)])  # type: ignore[arg-type]
    assert isinstance(error, ConfigError)
    assert message in str(error)
    assert out.read_text() == "as it was"


def test_a_page_without_points_shows_common_lengths(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = ["profile", "plot", "llama-3.1-70b-fp8", "--requests-per-client", "2", "-o", str(out)]
    done = CliRunner().invoke(command_line.app, arguments)
    assert done.exit_code == 0, done.exception
    assert "8192 in, 1024 out" in out.read_text()


def test_what_a_person_can_mend_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    points = tmp_path / "points.csv"
    points.write_text(render_points(POINTS).replace("tpot_ms", "tpot"))
    out = tmp_path / "profile.yaml"
    arguments = ["fit", str(points), "--model", "m", "--like", "llama-3.1-70b-fp8", "-o", str(out)]
    monkeypatch.setattr("sys.argv", ["joulery", "profile", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"joulery: {points} row 1: unknown column 'tpot' (meant tpot_ms")
    assert not out.exists()


def test_declared_limits_change_what_is_drawn() -> None:
    tight = replace(DRAWING, client=Client(requests_per_client=3, max_num_seqs=4))
    (free,), (queued,) = (
        [c.y[0].means[1] for c in d.against_load((300, 60), (16,)) if c.tensor_parallel_size == 4]
        for d in (DRAWING, tight)
    )
    assert queued > 2 * free
