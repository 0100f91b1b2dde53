"""The part of docs/serving-model.md about DynamoLLM's tables and about what the clock saves; tables only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from joulery.calibration.claims import Claim
from joulery.calibration.dynamollm.claims import Count, Section
from joulery.calibration.dynamollm.fits import Fits
from joulery.calibration.dynamollm.products import bf16_over_fp8
from joulery.calibration.dynamollm.savings import ASSUMED_CLOCKS_MHZ, Banded, Savings
from joulery.calibration.dynamollm.terms import TERMS

HEADS = ("", "rows", "points", "error % or right", "bound", "published", "")
SAVING_HEADS = (
    "load",
    "W per GPU at 1980 MHz",
    "J per output token",
    "best clock MHz (band)",
    "GPU saving % (band)",
    "wall %",
    "published: clock GHz, saving %, wall %",
    "with clocks that nobody measured",
)
# An independent prototype of the same model, clocks free from 0.8 GHz: best clock, saving and its band, at the wall.
PUBLISHED_SAVINGS: Mapping[float, str] = {
    0.05: "1.28 (1.22-1.28), 20 (13-25), 13",
    0.10: "1.28 (1.22-1.28), 23 (16-28), 16",
    0.20: "1.22 (0.80-1.22), 25 (19-30), 18",
    0.40: "0.92, 30 (25-35), 23",
    0.70: "1.40, 27 (23-31), 21",
    0.85: "1.70, 13 (12-16), 10",
}

TABLES = """
## The tables of DynamoLLM

Tables I-III and Fig. 3 of DynamoLLM (HPCA 2025, `operator/joulery/data/measurements/`), Llama-2-70B on vLLM and H100.
The unit of the tables is not defined; their values are those of instance power x latency of one request, so energies
are compared within a row. An instance is taken in its steady state under Poisson arrivals:

    t = t_plain / (1 - rate (t_prompt - t_plain)),  in flight = rate (output - 1) t,  t_plain and t_prompt as above
    P99 TTFT = t_prompt + t_plain + M/D/1 tail;  P99 token interval = tail x t
    energy = watts x (TTFT + (output - 1) t)

| given, not fitted | |
| --- | --- |
| weights | 16 bit: moving an eighth of them takes 50 ms at 300 GB/s (Table VI), so they are 120 GB; of 8 bits they \
were 69 GB. Said after both SLO patterns were known |
| 16 bit from 8 bit | bytes streamed by arithmetic; matrix products x {ratio:.2f}, measured on the same GPU \
(`h100-matrix-products.csv`); activations are 16 bit in both |
| lengths | fixed per class: means of the Azure 2023 conversation requests in each bucket, \
inputs 172, 561, 1868 and outputs 69, 147, 427. Fits: medians, 197, 406, 1196 and 75, 137, 408, by which a class \
left out is predicted better |
| load | the request rate of MM at 2000 input tokens/s for every class; the literal reading, so many input tokens \
for every class, printed beside it |
| objectives | Table IV: TTFT 250, 400, 2000 ms by input letter, token interval 100 ms |
| Fig. 3 | tokens of one iteration, decodes up to 256 and prompts beyond |
| pull | every term towards arithmetic and public measurements of the same GPU, spreads in `terms.py`; by half, which \
predicts a class left out better than a whole, a quarter or a tenth |
| peak | prompts are computed no faster than the dense peak of the tensor cores allows, {floor_us:.1f} us per token on \
one GPU. The fit that ships is at that bound; the tables ask for {ratio_asked:.1f} times that peak, and where they get \
it all bounds are met |
| errors | of the tables count by their size, as their bound has it; those of classes left out chose lengths and \
weight of the pull of the fits, from a handful each, so they flatter a little |
"""

SAVINGS = """
## What the clock alone saves

Llama-3.1-70B FP8 on H100 TP4 as it ships, at a fixed rate of requests of the Azure 2023 conversation hour; token budget
512, P99 TTFT 2 s and P99 of all token intervals 100 ms. Loads are shares of the highest rate at 1980 MHz,
{rate:.1f} requests/s. Bands: 5 to 95 % of {draws} profiles with every parameter drawn from its range.
More than 35 % would be a bug.
"""


def part(fits: Fits, found: tuple[Section, ...], savings: Savings) -> str:
    """This part of the page."""
    floor = next(term.low for term in TERMS if term.name == "compute_token_ps")
    tables = TABLES.format(
        ratio=bf16_over_fp8(),
        floor_us=1e-6 * floor,
        ratio_asked=floor / fits.beyond_peak.values["compute_token_ps"],
    )
    return "\n".join([tables, *_sections(found), *_terms(fits), *_savings(savings), ""])


def claim_cells(claim: Claim | Count) -> tuple[str, ...]:
    """A claim as the cells of a table."""
    verdict = {True: "met", False: "MISSED", None: "printed"}[claim.is_met]
    if isinstance(claim, Count):
        bound = "" if claim.at_least is None else f">= {claim.at_least}"
        found = f"{claim.right} right ({claim.right / claim.of:.0%})"
        return (claim.quantity, claim.rows, str(claim.of), found, bound, claim.published, verdict)
    errors = claim.errors
    found = f"{errors.mean_percent:.1f} / {errors.max_percent:.1f}"
    points = str(errors.rows)
    return (claim.quantity, claim.rows, points, found, _bound(claim), claim.published, verdict)


def saving_cells(saving: Banded) -> tuple[str, ...]:
    """A saving as the cells of a table."""
    own, other = saving.shipped, saving.with_assumed_clocks
    low, high = saving.gpu_band
    return (
        f"{own.load:.0%}",
        f"{own.watts_per_gpu:.0f}",
        f"{own.joules_per_token:.2f} -> {own.best_joules_per_token:.2f}",
        f"{own.best_clock_mhz} ({saving.clock_band_mhz[0]}-{saving.clock_band_mhz[1]})",
        f"{100 * own.gpu_share:.0f} ({100 * low:.0f}-{100 * high:.0f})",
        f"{100 * own.wall_share:.0f}",
        PUBLISHED_SAVINGS[own.load],
        f"{other.best_clock_mhz} MHz, {100 * other.gpu_share:.0f} %",
    )


def _sections(found: tuple[Section, ...]) -> Iterator[str]:
    for section in found:
        yield f"\n### {section.title}\n"
        yield from _table(HEADS, [claim_cells(c) for c in section.claims])


def _savings(savings: Savings) -> Iterator[str]:
    yield SAVINGS.format(rate=savings.highest_rate_rps, draws=savings.draws)
    yield from _table(SAVING_HEADS, [saving_cells(s) for s in savings.by_load])
    yield f"\nClocks that nobody measured: {ASSUMED_CLOCKS_MHZ[0]} to {ASSUMED_CLOCKS_MHZ[-1]} MHz; none of them ships."


def _terms(fits: Fits) -> Iterator[str]:
    yield "\n### Terms\n"
    heads = (
        "",
        "ships",
        "range",
        "Fig. 3 and Table II",
        "so many tokens",
        "no slowdown",
        "beyond peak",
        "free lengths",
        "no bounds",
    )
    columns = (
        fits.predicting,
        fits.same_tokens,
        fits.no_slowdown,
        fits.beyond_peak,
        fits.free_lengths,
        fits.free,
    )
    rows = []
    for name, value in fits.shipping.values.items():
        low, high = fits.ranges[name]
        others = tuple(f"{f.values[name]:.3g}" for f in columns)
        rows.append((f"`{name}`", f"{value:.3g}", f"{low:.3g} to {high:.3g}", *others))
    yield from _table(heads, rows)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _bound(claim: Claim) -> str:
    if claim.bound is None:
        return ""
    mean = "-" if claim.bound.mean_percent is None else f"{claim.bound.mean_percent:g}"
    largest = "-" if math.isinf(claim.bound.max_percent) else f"{claim.bound.max_percent:g}"
    return f"{mean} / {largest}"
