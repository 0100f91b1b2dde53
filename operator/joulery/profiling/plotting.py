"""`joulery profile plot`: which curves are worth drawing, and the points beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from joulery.calibration.progress import progress
from joulery.errors import ConfigError
from joulery.profiling.curves import Drawing, measured_means, variants_of
from joulery.profiling.files import write_whole
from joulery.profiling.page import Column, Dot, Section, page
from joulery.profiling.points import MeasuredPoint, read_points
from joulery.profiling.replay import FULL_SHARE, Client
from joulery.serving.instance import kv_capacity_tokens
from joulery.serving.parameters import EngineProfile

# Without points: a benchmark's common lengths, and a light and a heavy load to see the clock at.
_SHAPES = ((1024, 1024), (8192, 1024))
_MOST_SHAPES = 3
_ALIKE_SHARE = 0.1
_MOST_CLIENTS = 128
_CLOCK_LOADS = (4, 32)
_LOADS = tuple(2**i for i in range(11))


def run(profile: EngineProfile, points: Path | None, client: Client, out: Path) -> None:
    """The command. Raises ConfigError for points that cannot be used; nothing is written then."""
    told = Console(stderr=True)
    measured = read_points(points) if points is not None else ()
    _check_points(measured, profile, str(points))
    names = dict.fromkeys(p.accelerator for p in measured) or dict.fromkeys(profile.accelerators)
    runs = sum(len(profile.accelerators[n].device.tensor_parallel_sizes) for n in names)
    with progress(told, "replaying", runs * (len(_LOADS) * _MOST_SHAPES + len(_CLOCK_LOADS))) as done:
        sections = [
            _section(profile, name, [p for p in measured if p.accelerator == name], client, done)
            for name in names
        ]
    write_whole(out, page(profile, sections, client=_in_words(client)))
    told.print(f"{out}: {len(sections)} accelerators, {len(measured)} points", markup=False, soft_wrap=True)


def _section(
    profile: EngineProfile,
    name: str,
    points: Sequence[MeasuredPoint],
    client: Client,
    done: Callable[[], None],
) -> Section:
    accelerator = profile.accelerators[name]
    drawing = Drawing(profile, name, client, variants_of(accelerator), done)
    top_mhz = accelerator.device.max_clock_mhz
    at_top = [p for p in points if p.sm_clock_mhz in (None, top_mhz)]
    by_load = []
    for shape in _shapes(at_top):
        here = [p for p in at_top if _are_alike(_lengths(p), shape)]
        curves = drawing.against_load(shape, _loads(here))
        dots = [_dot(p, p.concurrency, profile, client) for p in here]
        by_load.append(Column(f"{shape[0]} in, {shape[1]} out", curves, dots))
    shape, loads = _clock_cases(points, top_mhz)
    by_clock = [
        Column(
            f"{clients} clients, {shape[0]} in, {shape[1]} out",
            drawing.against_clock(shape, clients),
            [
                _dot(p, p.sm_clock_mhz or top_mhz, profile, client)
                for p in points
                if (_lengths(p), p.concurrency) == (shape, clients)
            ],
        )
        for clients in loads
    ]
    return Section(name, by_load, by_clock)


def _loads(points: Sequence[MeasuredPoint]) -> list[int]:
    """Powers of two up to the most clients measured, and all that were measured."""
    measured = {p.concurrency for p in points}
    most = max(measured, default=_MOST_CLIENTS)
    return sorted(measured | {n for n in _LOADS if n <= most})


def _clock_cases(points: Sequence[MeasuredPoint], top_mhz: int) -> tuple[tuple[int, int], Sequence[int]]:
    """Lengths and loads to see the clock at: those measured at the most clocks, else common ones."""
    clocks = Counter((_lengths(p), p.concurrency) for p in points if p.sm_clock_mhz not in (None, top_mhz))
    if not clocks:
        return _shapes(points)[0], _CLOCK_LOADS
    shape = clocks.most_common(1)[0][0][0]
    loads = sorted({clients for known, clients in clocks if known == shape})
    return shape, loads[:1] if len(loads) == 1 else (loads[0], loads[-1])


def _shapes(points: Sequence[MeasuredPoint]) -> list[tuple[int, int]]:
    """The lengths measured most often, shortest first; those of real answers differ a little and count as one."""
    shapes: list[tuple[int, int]] = []
    for shape, _ in Counter(map(_lengths, points)).most_common():
        if len(shapes) < _MOST_SHAPES and not any(_are_alike(shape, known) for known in shapes):
            shapes.append(shape)
    return sorted(shapes) or list(_SHAPES)


def _are_alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return all(abs(a - b) <= _ALIKE_SHARE * b for a, b in zip(one, other, strict=True))


def _lengths(point: MeasuredPoint) -> tuple[int, int]:
    return point.input_tokens, point.output_tokens


def _dot(point: MeasuredPoint, x: int, profile: EngineProfile, client: Client) -> Dot:
    capacity = kv_capacity_tokens(profile, point.accelerator, point.tensor_parallel_size)
    is_full = client.kv_demand_tokens(point) >= FULL_SHARE * capacity
    return Dot(point.tensor_parallel_size, x, measured_means(point, client), point.name, is_full)


def _check_points(points: Sequence[MeasuredPoint], profile: EngineProfile, file: str) -> None:
    for point in points:
        known = profile.accelerators.get(point.accelerator)
        if known is None:
            raise ConfigError(
                f"{file} row {point.row}, column accelerator: {profile.name} holds no {point.accelerator!r}, only "
                f"{', '.join(profile.accelerators)}"
            )
        if point.tensor_parallel_size not in known.device.tensor_parallel_sizes:
            raise ConfigError(
                f"{file} row {point.row}, column tensor_parallel_size: {profile.name} holds no "
                f"TP{point.tensor_parallel_size} on {point.accelerator}"
            )


def _in_words(client: Client) -> str:
    return (
        f"{client.requests_per_client} requests each, lengths uniform from {client.shortest_share:g} of nominal, token "
        f"budget {client.token_budget}, max_num_seqs {client.max_num_seqs or 'as many as clients'}"
    )
