"""`joulery calibrate`: fit, hold out, print beside the bounds, write the figures and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from joulery.calibration.claims import Claim, claims, other_engine_claims, shipped_claims
from joulery.calibration.form import ENGINE_SHARE_ABOVE_32
from joulery.calibration.holdout import Judged, fits_of, judged, scores
from joulery.calibration.lanes import lane_of, law_of_profile, shipped_profile
from joulery.calibration.measurements import ACCELERATORS, shipped_measurements
from joulery.calibration.page import claim_cells, page
from joulery.calibration.report import latency_figures, merge_into

# The lanes that are fitted; the last only to see how far another engine's rows are.
LANES = ((ACCELERATORS[0], "VLLM"), (ACCELERATORS[1], "VLLM"), (ACCELERATORS[1], "TRTLLM"))


@dataclass(frozen=True, eq=False)
class Calibration:
    """All fits, and what they are held to."""

    published: tuple[Judged, ...]
    played: tuple[Judged, ...]
    claims: tuple[Claim, ...]

    @property
    def page(self) -> str:
        """docs/serving-model.md."""
        return page(self.claims, self.published, self.played)

    @property
    def figures(self) -> dict[str, object]:
        """For build/calibration.json."""
        return {"latency": latency_figures(self.claims, self.published, self.played)}


def calibrate(console: Console) -> Calibration:
    """Replay all shipped rows and fit them, progress on the console."""
    rows = shipped_measurements()
    with _progress(console, "replaying the benchmark client", len(rows)) as done:
        first, second, other = (lane_of(rows, *lane, done=done) for lane in LANES)
    lanes = (first, second)
    with _progress(console, "fitting", 2 * sum(map(fits_of, lanes)) + fits_of(other)) as done:
        published = tuple(judged(lane, lane.setting, done=done) for lane in lanes)
        played = tuple(
            judged(lane, replace(lane.setting, step_share_above_32=ENGINE_SHARE_ABOVE_32), done=done)
            for lane in lanes
        )
        own = judged(other, replace(other.setting, ttft_weight=0.0), done=done)
    profile = shipped_profile()
    shipped = {
        lane.accelerator: scores(lane.points, law_of_profile(profile, lane.accelerator)).tpot
        for lane in lanes
    }
    all_claims = (
        *claims(published),
        *other_engine_claims(own, published[1]),
        *shipped_claims(shipped),
    )
    return Calibration((*published, own), played, all_claims)


def run(*, out: Path, docs: Path | None, check: bool) -> int:
    """The command; exit code 1 where the page is not current."""
    found = calibrate(Console(stderr=True))
    if check and docs is not None:
        if docs.exists() and docs.read_text() == found.page:
            return 0
        Console(stderr=True).print(f"{docs} is not current: joulery calibrate --write")
        return 1
    Console().print(_table(found.claims))
    merge_into(out, found.figures)
    if docs is not None:
        docs.write_text(found.page)
    return 0


@contextmanager
def _progress(console: Console, text: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that the yielded function moves by one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)


def _table(claims: Sequence[Claim]) -> Table:
    bounded = [c.is_met for c in claims if c.bound]
    table = Table(title="Latency of Llama-3.1-70B FP8: relative errors, mean / max in percent")
    for head in ("", "accelerator", "rows", "points", "error %", "at most %", "published %", ""):
        table.add_column(head, justify="right" if head == "points" else "left")
    for claim in claims:
        table.add_row(*claim_cells(claim), style="red" if claim.is_met is False else None)
    table.caption = f"{sum(map(bool, bounded))} of {len(bounded)} bounds are met"
    return table
