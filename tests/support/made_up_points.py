"""Points that the serving engine itself made under the benchmark client: small, with watts, at any clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joulery.calibration.client import Load, engine_of, play
from joulery.profiling.points import MeasuredPoint
from joulery.profiling.replay import Client
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameters import EngineProfile

CLIENT = Client(requests_per_client=3)
SHAPES = ((300, 60), (300, 400), (3000, 60))


def made_up(
    profile: EngineProfile,
    accelerator: str,
    *,
    sizes: Sequence[int] = (2, 4, 8),
    shapes: Sequence[tuple[int, int]] = SHAPES,
    clients: Sequence[int] = (4, 20, 48),
    clocks: Sequence[int] = (1980,),
    client: Client = CLIENT,
) -> tuple[MeasuredPoint, ...]:
    """What a benchmark of engines that obey a profile measures; the first row is line 2."""
    settings = [(tp, n, s, mhz) for tp in sizes for s in shapes for n in clients for mhz in clocks]
    return tuple(
        _point(instance_model(profile, accelerator, tp), client, count, shape, mhz, row)
        for row, (tp, count, shape, mhz) in enumerate(settings, start=2)
    )


def _point(
    model: InstanceModel, client: Client, count: int, shape: tuple[int, int], mhz: int, row: int
) -> MeasuredPoint:
    runs = list(_runs(model, client, MeasuredPoint(model.accelerator, 1, count, *shape, None, 1.0), mhz))
    ttft_ms, tpot_ms, watts = (sum(values) / len(runs) for values in zip(*runs, strict=True))
    size = model.tensor_parallel_size
    return MeasuredPoint(model.accelerator, size, count, *shape, ttft_ms, tpot_ms, watts / size, mhz, row)


def _runs(
    model: InstanceModel, client: Client, point: MeasuredPoint, mhz: int
) -> Iterator[tuple[float, float, float]]:
    for seed in (0, 1, 2):
        load: Load = client.load(point, seed)
        engine = engine_of(model, load)
        engine.set_clock(mhz)
        answers = play(engine, load)
        watts = engine.energy_j / (1e-9 * engine.now_ns)
        yield answers.ttft_ms + 1e-6 * model.client_ns, answers.tpot_ms, watts
