"""Points that cannot be what their columns say: against each other, against the device, against a known profile.

A fit would only answer with large held-out errors, and not say which row brings them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from types import MappingProxyType

from joulery.calibration.form import LatencyLaw
from joulery.errors import ConfigError
from joulery.profiling.points import CONTRADICTION_SHARE, MeasuredPoint
from joulery.profiling.replay import Run
from joulery.serving.parameters import AcceleratorProfile, ClockResponse

# Another model, engine or clock moves times by a few times; another unit by a thousand.
_MOST_TIMES = 50.0
# Of the idle watts of a board without an engine; below, it is no board that serves.
_LEAST_IDLE_SHARE = 0.5
_MOST_LIMIT_SHARE = 1.1


_Slower = Callable[[MeasuredPoint, MeasuredPoint], bool]


def _has_more_clients(slow: MeasuredPoint, quick: MeasuredPoint) -> bool:
    return slow.concurrency > quick.concurrency


def _has_less_clock(slow: MeasuredPoint, quick: MeasuredPoint) -> bool:
    return (slow.sm_clock_mhz or 0) < (quick.sm_clock_mhz or 0)


_RULES: Mapping[str, tuple[_Slower, str]] = MappingProxyType(
    {
        "clients": (_has_more_clients, "more clients never take less time per token"),
        "clock": (_has_less_clock, "a lower clock never takes less time per token"),
    }
)


def check_order(points: Sequence[MeasuredPoint], *, file: str) -> None:
    """Raise ConfigError for the two rows of which one must have the longer time per token and least has it."""
    if not (found := list(_disorders(points))):
        return
    quick, slow, rule = max(found, key=lambda f: f[0].tpot_ms / f[1].tpot_ms)
    rows = " and ".join(str(row) for row in sorted((quick.row, slow.row)))
    raise ConfigError(
        f"{file} rows {rows}, column tpot_ms: {quick.name} holds {quick.tpot_ms:g} and {slow.name} {slow.tpot_ms:g}, "
        f"but {rule}: correct the one that is wrong"
    )


def check_watts(point: MeasuredPoint, like: AcceleratorProfile, *, file: str) -> None:
    """Raise ConfigError for watts that one such board cannot draw with an engine at work."""
    watts, limit_w = point.watts_per_gpu, like.device.board_limit_w
    if watts is None:
        return
    where, idle_w = (
        f"{file} row {point.row}, column watts_per_gpu: {watts:g} W",
        like.power.idle_empty_w.value,
    )
    if watts > _MOST_LIMIT_SHARE * limit_w:
        raise ConfigError(
            f"{where} is above the board limit of {limit_w:g} W: watts are of one GPU, not of the instance"
        )
    if watts < _LEAST_IDLE_SHARE * idle_w:
        raise ConfigError(
            f"{where} is below what {point.accelerator} draws idle, {idle_w:g} W: watts are of one GPU at work, not kW"
        )


def check_units(runs: Sequence[Run], law: LatencyLaw, clock: ClockResponse, *, like: str, file: str) -> None:
    """Raise ConfigError for the time that is furthest from a known profile's, where it must be of another unit."""
    ratios = [(ratio, run, column) for run in runs for column, ratio in _ratios(run, law, clock)]
    ratio, run, column = max(ratios, key=lambda r: max(r[0], 1.0 / r[0]))
    if max(ratio, 1.0 / ratio) > _MOST_TIMES:
        measured = getattr(run.point, column)
        raise ConfigError(
            f"{file} row {run.point.row}, column {column}: {measured:g} ms where {run.point.name} takes about "
            f"{measured / ratio:.3g} ms by {like} and the model's sizes: times are in milliseconds"
        )


def _ratios(run: Run, law: LatencyLaw, clock: ClockResponse) -> Iterator[tuple[str, float]]:
    """Measured over modelled times, by column."""
    ttft_ms, tpot_ms = run.means_ms(law, clock)
    yield "tpot_ms", run.point.tpot_ms / tpot_ms
    if run.point.ttft_ms is not None:
        yield "ttft_ms", run.point.ttft_ms / ttft_ms


def _disorders(points: Sequence[MeasuredPoint]) -> Iterator[tuple[MeasuredPoint, MeasuredPoint, str]]:
    """Pairs of which the second must take longer, by the rule, and takes less than repeats may differ by."""
    groups: dict[tuple[object, ...], list[MeasuredPoint]] = {}
    for point in points:
        same = point.accelerator, point.tensor_parallel_size, point.shape
        groups.setdefault(("clients", *same, point.sm_clock_mhz), []).append(point)
        if point.sm_clock_mhz is not None:
            groups.setdefault(("clock", *same, point.concurrency), []).append(point)
    for (kind, *_), group in groups.items():
        is_slower, rule = _RULES[str(kind)]
        for quick, slow in permutations(group, 2):
            if is_slower(slow, quick) and slow.tpot_ms < (1.0 - CONTRADICTION_SHARE) * quick.tpot_ms:
                yield quick, slow, rule
