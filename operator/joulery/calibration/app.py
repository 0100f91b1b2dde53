"""`joulery calibrate`: fit, hold out, print beside the bounds, write the figures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from joulery.calibration.claims import Claim, Found, claims, other_engine_claims, shipped_claims
from joulery.calibration.dynamollm.findings import STEPS, Findings, find
from joulery.calibration.holdout import Errors, fits_of, judged, scores
from joulery.calibration.lanes import Lane, lane_of, law_of_profile, shipped_profile
from joulery.calibration.measurements import ACCELERATORS, shipped_measurements
from joulery.calibration.page import claim_cells, page
from joulery.calibration.power.claims import PowerFound, calibrate_power
from joulery.calibration.power.figures import power_figures, power_section
from joulery.calibration.progress import progress
from joulery.calibration.report import latency_figures, merge_into

WIDTH = 132
# Folder of the drawings, beside the page.
FIGURES = "figures"

# The lanes that are fitted; the last only to see how far another engine's rows are.
LANES = ((ACCELERATORS[0], "VLLM"), (ACCELERATORS[1], "VLLM"), (ACCELERATORS[1], "TRTLLM"))


def calibrate(console: Console) -> Found:
    """Replay all shipped rows and fit them, progress on the console."""
    rows = shipped_measurements()
    with progress(console, "replaying the benchmark client", len(rows)) as done:
        *lanes, other = (lane_of(rows, *lane, done=done) for lane in LANES)
    with progress(console, "fitting", sum(map(fits_of, (*lanes, other)))) as done:
        first = tuple(judged(lane, lane.setting, done=done) for lane in lanes)
        own = judged(other, other.setting.without_ttft, done=done)
    shipped = shipped_claims(_shipped_errors(lanes))
    return Found((*first, own), (*claims(first), *other_engine_claims(own, first[-1]), *shipped))


def run(*, out: Path, docs: Path | None, check: bool) -> int:
    """The command; exit code 1 where the page is not current."""
    errors = Console(stderr=True)
    found, power = calibrate(errors), calibrate_power()
    with progress(errors, "DynamoLLM's tables, clock savings", STEPS) as done:
        tables = find(done=done)
    files = {} if docs is None else page_files(docs, found, power, tables)
    if check:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            errors.print(f"{path} is not current: joulery calibrate --write")
        return 1 if stale else 0
    terminal = Console()
    terminal.width = max(terminal.width, WIDTH)
    terminal.print(
        _table("Latency of Llama-3.1-70B FP8", found.claims),
        _table("Watts of dense models on H100, by kind of time", power.claims),
        _table("The same by other forms", power.other_claims),
        *tables.tables(),
    )
    figures = {"latency": latency_figures(found), "power": power_figures(power), "dynamollm": tables.figures}
    merge_into(out, figures)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def page_files(docs: Path, found: Found, power: PowerFound, tables: Findings) -> dict[Path, str]:
    """The page and its drawings, by path."""
    # Only who writes the page needs the library that draws.
    from joulery.calibration.drawings import drawings

    drawn = {docs.parent / FIGURES / name: svg for name, svg in drawings(found, power).items()}
    return {docs: document(found, power, tables), **drawn}


def document(found: Found, power: PowerFound, tables: Findings) -> str:
    """docs/serving-model.md."""
    return "\n".join((page(found), power_section(power), tables.page))


def _shipped_errors(lanes: Sequence[Lane]) -> dict[str, Errors]:
    laws = {lane.accelerator: law_of_profile(shipped_profile(), lane.accelerator) for lane in lanes}
    return {lane.accelerator: scores(lane.points, laws[lane.accelerator]).tpot for lane in lanes}


def _table(title: str, claims: Sequence[Claim]) -> Table:
    bounded = [c.is_met for c in claims if c.bound]
    table = Table(title=f"{title}: relative errors, mean / max in percent")
    for head in ("", "accelerator", "rows", "points", "error %", "at most %", "published %", ""):
        table.add_column(head, justify="right" if head == "points" else "left")
    for claim in claims:
        table.add_row(*claim_cells(claim), style="red" if claim.is_met is False else None)
    table.caption = f"{sum(map(bool, bounded))} of {len(bounded)} bounds are met"
    return table
