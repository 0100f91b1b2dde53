"""All that this half of the calibration finds: fits, claims, savings; and the same for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.table import Table

from joulery.calibration.dynamollm.claims import Section, sections
from joulery.calibration.dynamollm.fits import FITS, Fits, all_fits
from joulery.calibration.dynamollm.page import HEADS, SAVING_HEADS, claim_cells, part, saving_cells
from joulery.calibration.dynamollm.report import dynamollm_figures
from joulery.calibration.dynamollm.savings import DRAWS, Savings, clock_savings

# How often `find` calls `done`.
STEPS = FITS + DRAWS


@dataclass(frozen=True, eq=False)
class Findings:
    """Fits, what they are held to, and what the clock alone saves."""

    fits: Fits
    sections: tuple[Section, ...]
    savings: Savings

    @property
    def figures(self) -> dict[str, object]:
        """For build/calibration.json, under the key `dynamollm`."""
        return dynamollm_figures(self.fits, self.sections, self.savings)

    @property
    def page(self) -> str:
        """For docs/serving-model.md, after its first part."""
        return part(self.fits, self.sections, self.savings)

    def tables(self) -> Iterator[Table]:
        """For a terminal: one table for each basis, so that fitted and unfitted stay apart, then the savings."""
        for section in self.sections:
            table = _table(section.title, HEADS)
            for claim in section.claims:
                table.add_row(*claim_cells(claim), style="red" if claim.is_met is False else None)
            if section.bounded:
                table.caption = f"{sum(section.bounded)} of {len(section.bounded)} bounds are met"
            yield table
        savings = _table("What the clock alone saves: Llama-3.1-70B FP8, H100 TP4", SAVING_HEADS)
        for saving in self.savings.by_load:
            savings.add_row(*saving_cells(saving))
        yield savings


def find(*, done: Callable[[], None] = lambda: None) -> Findings:
    """Fit and judge everything; `done` is called `STEPS` times."""
    fits = all_fits(done=done)
    return Findings(fits, sections(fits), clock_savings(done=done))


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for head in heads:
        table.add_column(head)
    return table
