"""The whole calibration on the shipped rows: tens of seconds, so with the long campaigns."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from joulery.calibration.app import calibrate, page_files, run
from joulery.calibration.dynamollm.findings import find
from joulery.calibration.power.claims import calibrate_power

DOCS = Path(__file__).resolve().parents[3] / "docs" / "serving-model.md"


@pytest.mark.soak
def test_the_law_meets_every_bound_with_one_named_outlier_and_the_page_says_so() -> None:
    found = calibrate(Console(file=io.StringIO()))
    bounded = [claim for claim in found.claims if claim.bound]
    assert len(bounded) == 23
    assert [claim.rows for claim in bounded if not claim.is_met] == []
    assert [claim.outlier for claim in found.claims if claim.outlier] == [
        "H100-SXM-80GB TP2 1024/1024 B=16 -22 %"
    ]
    for path, text in page_files(DOCS, found, calibrate_power(), find()).items():
        assert path.read_text() == text, path.name


@pytest.mark.soak
def test_the_command_writes_figures_and_page_and_then_finds_the_page_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, docs = tmp_path / "calibration.json", tmp_path / "serving-model.md"
    assert run(out=out, docs=docs, check=True) == 1
    assert run(out=out, docs=docs, check=False) == 0
    assert run(out=out, docs=docs, check=True) == 0
    figures = json.loads(out.read_text())
    for part, bounded in (("latency", 23), ("power", 2)):
        assert figures[part]["claimsMet"] == figures[part]["claimsBounded"] == bounded
    # What the tables deny is printed as missed, and nothing else.
    assert figures["dynamollm"]["claimsBounded"] - figures["dynamollm"]["claimsMet"] == 6
    printed = capsys.readouterr().out
    assert "23 of 23 bounds are met" in printed
    assert "2 of 2 bounds are met" in printed
