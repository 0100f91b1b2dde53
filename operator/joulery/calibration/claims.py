"""What the latency model is held to: our errors beside the bounds and beside an independent prototype's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from joulery.calibration.holdout import Errors, Judged

H100, H200 = "H100-SXM-80GB", "H200-SXM-141GB"
NOT_FITTED_FIRST = "1024/8192"
# The law is for steady rows, and single rows of a benchmark can be wrong: one may miss the bound, by name.
TTFT_BOUND_PERCENT = 15.0


@dataclass(frozen=True, slots=True)
class Bound:
    """Largest mean and largest single error allowed, in percent; None where only the largest counts."""

    mean_percent: float | None
    max_percent: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Errors of one kind; `published` are mean/max percent of an independent prototype of the same law.

    Without a bound the errors are only printed. `outlier` is a row that is named and not held to the bound.
    """

    quantity: str
    accelerator: str
    rows: str
    errors: Errors
    bound: Bound | None
    published: str
    outlier: str | None = None

    @property
    def judged_max_percent(self) -> float:
        """Largest error of the rows that the bound is for."""
        held = self.errors.without_worst() if self.outlier else self.errors
        return held.max_percent

    @property
    def is_met(self) -> bool | None:
        """Whether the bound holds; None without one."""
        if self.bound is None:
            return None
        mean_met = self.bound.mean_percent is None or self.errors.mean_percent <= self.bound.mean_percent
        return mean_met and self.judged_max_percent <= self.bound.max_percent


@dataclass(frozen=True, eq=False)
class Found:
    """All fits and what they are held to."""

    lanes: tuple[Judged, ...]
    claims: tuple[Claim, ...]


_SHAPE_BOUND, _SIZE_BOUND = Bound(6.0, 17.0), Bound(4.0, 12.0)
_FIRST_BOUND: Mapping[str, Bound] = {H100: Bound(2.5, 9.0), H200: Bound(5.5, 12.0)}
_PUBLISHED_SHAPES: Mapping[tuple[str, str], str] = {
    (H100, "1024/1024"): "2.4/7.9",
    (H100, "1024/8192"): "1.9/7.7",
    (H100, "8192/1024"): "1.5/4.2",
    (H200, "1024/1024"): "5.5/15.4",
    (H200, "1024/8192"): "4.9/10.1",
    (H200, "8192/1024"): "2.9/8.2",
}


def claims(judged: Sequence[Judged]) -> tuple[Claim, ...]:
    """All claims about lanes of one engine, each of another accelerator."""
    return tuple(
        claim
        for of_lanes in (_shape_claims, _size_claims, _ttft_claims, _full_claims)
        for claim in of_lanes(judged)
    )


def _shape_claims(judged: Sequence[Judged]) -> Iterator[Claim]:
    for lane in judged:
        name = lane.lane.accelerator
        for shape, scores in lane.shapes.items():
            bound = _FIRST_BOUND[name] if shape == NOT_FITTED_FIRST else _SHAPE_BOUND
            published = _PUBLISHED_SHAPES[name, shape]
            yield Claim("TPOT", name, f"{shape}, not fitted", scores.tpot, bound, published)


def _size_claims(judged: Sequence[Judged]) -> Iterator[Claim]:
    for lane in judged:
        name = lane.lane.accelerator
        for size, scores in lane.sizes.items():
            is_edge = (name, size) == (H200, 8)
            bound, published = (Bound(10.0, 25.0), "8.0/21") if is_edge else (_SIZE_BOUND, "1.5-3.2/4-11")
            yield Claim("TPOT", name, f"TP{size}, left out", scores.tpot, bound, published)


def _ttft_claims(judged: Sequence[Judged]) -> Iterator[Claim]:
    allowed = _allowed_outlier(judged)
    for lane in judged:
        for shape, scores in lane.shapes.items():
            is_first = shape == NOT_FITTED_FIRST
            errors, outlier = scores.ttft, None
            if not is_first and errors.worst == allowed:
                outlier = f"{allowed[0]} {allowed[1]:+.0f} %"
            bound = Bound(5.0 if is_first else 7.0, TTFT_BOUND_PERCENT)
            published = "3.2/8.5" if is_first else ""
            yield Claim(
                "TTFT", lane.lane.accelerator, f"{shape}, not fitted", errors, bound, published, outlier
            )


def _allowed_outlier(judged: Sequence[Judged]) -> tuple[str, float] | None:
    """The worst row of all but the first shape, where it misses the bound."""
    shapes = [s for lane in judged for name, s in lane.shapes.items() if name != NOT_FITTED_FIRST]
    worst = max((s.ttft.worst for s in shapes), key=lambda row: abs(row[1]))
    return worst if abs(worst[1]) > TTFT_BOUND_PERCENT else None


def _full_claims(judged: Sequence[Judged]) -> Iterator[Claim]:
    for lane in judged:
        if lane.full:
            name, rows = lane.lane.accelerator, "out of KV memory, nothing fitted"
            yield Claim("TPOT", name, rows, lane.full.tpot, Bound(None, 8.0), "0.3-5 max")
            yield Claim("TTFT", name, rows, lane.full.ttft, Bound(None, 30.0), "2-21 max")


def other_engine_claims(own: Judged, first: Judged) -> tuple[Claim, ...]:
    """The rows of another engine, with its own fit and with the first one's parameters; only printed."""
    accelerator = own.lane.accelerator
    borrowed = Errors(
        tuple((p.row.name, 100.0 * p.errors(first.law)[1]) for p in own.lane.points),
    )
    held = tuple(row for scores in own.shapes.values() for row in scores.tpot.by_row)
    return (
        Claim("TPOT", accelerator, "TRTLLM, own fit, in sample", own.in_sample.tpot, None, "0.6/1.9 per TP"),
        Claim(
            "TPOT", accelerator, "TRTLLM, own fit, 1024/8192 not fitted",
            own.shapes[NOT_FITTED_FIRST].tpot, None, "3.3/11.4 per TP",
        ),
        Claim("TPOT", accelerator, "TRTLLM, own fit, each shape not fitted", Errors(held), None, ""),
        Claim("TPOT", accelerator, "TRTLLM with VLLM's parameters", borrowed, None, "19/36, bias +18"),
    )  # fmt: skip


def shipped_claims(shipped: Mapping[str, Errors]) -> tuple[Claim, ...]:
    """The shipped profile on the rows it was fitted to, as the engine plays it; only printed."""
    rows = "shipped profile as the engine plays it, in sample"
    published = {H100: "1.4/8.6", H200: "2.2/7.2"}
    return tuple(Claim("TPOT", name, rows, errors, None, published[name]) for name, errors in shipped.items())
