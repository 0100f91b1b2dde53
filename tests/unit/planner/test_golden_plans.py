"""Every folder of `tests/golden` plays as its `plan.yaml` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from golden_cases import load, play

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(p.parent.name for p in GOLDEN.glob("*/plan.yaml"))


def test_all_ten_situations_are_covered() -> None:
    assert len(CASES) >= 10


@pytest.mark.parametrize("name", CASES)
def test_case_plays_as_written(name: str) -> None:
    case = load(GOLDEN / name)
    happened = play(case)
    for part, expected in case.plan.items():
        assert _shown(happened[part], expected) == expected, part


def _shown(happened: Any, expected: Any) -> Any:
    """The keys that the case speaks of; lists are compared whole."""
    if isinstance(expected, dict):
        return {k: _shown(happened.get(k), v) for k, v in expected.items()} if happened is not None else None
    return happened
