"""Drawings of the page: every row is there, and the same figures give the same bytes."""

from __future__ import annotations

import re

from joulery.calibration.drawings import Series, svg

PANELS = {
    "TPOT, ms": [Series("H100", (10.0, 20.0, 400.0), (11.0, 19.0, 410.0)), Series("H200", (15.0,), (15.5,))],
    "W per GPU": [Series("chat", (400.0, 500.0), (420.0, 480.0))],
}


def test_every_row_is_a_mark_and_every_panel_names_its_axes_and_series() -> None:
    drawn = svg(PANELS)
    for collection, rows in (("PathCollection_1", 3), ("PathCollection_2", 1), ("PathCollection_3", 2)):
        group = re.search(rf'<g id="{collection}">(.*?)\n   </g>', drawn, re.DOTALL)
        assert group, collection
        assert group[1].count("<use ") == rows
    for words in ("measured TPOT, ms", "modelled W per GPU", "H100", "H200", "chat", "within 10 %"):
        assert words in drawn


def test_the_same_figures_give_the_same_bytes() -> None:
    assert svg(PANELS) == svg(PANELS)
    assert "dc:date" not in svg(PANELS)
