"""The trust gate in short: two hours of one pool of one size on engines 15 % slower than their profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pytest

from joulery.domain.memory import Derate
from joulery.serving.catalog import PointCatalog
from joulery.simulator.baselines import Setting
from joulery.simulator.evaluation import Case, Evaluation
from joulery.simulator.replay import Replay, Timing
from joulery.simulator.result import attained

HOURS = 2


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one run; missed over the second half, when something can have been learned."""

    missed_percent: float
    joules: float
    derate: Derate


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    timing = Timing(duration_s=HOURS * 3600.0)
    return Evaluation(Case(date(2024, 5, 14), 10, 120.0, timing=timing, time_factor=1.15))


@pytest.fixture(scope="module")
def catalog() -> PointCatalog:
    return PointCatalog(requests=3000)


def played(evaluation: Evaluation, catalog: PointCatalog, *, loop: bool) -> Played:
    chat = evaluation.scenario.pools[0]
    chat = replace(chat, variants=tuple(v for v in chat.variants if v.name == "tp4"))
    policy = replace(
        evaluation.joulery(loop=loop), catalog=catalog, start={chat.key: Setting("tp4", 6, 1980)}
    )
    streams = {chat.key: evaluation.streams[chat.key]}
    figures = Replay(evaluation.scenario.world([chat]), policy, streams, evaluation.case.timing).run()
    served = figures.pools[chat.key.name][1]
    late = served.arrival_ns >= HOURS * 1_800_000_000_000
    memory = policy.history.pools[chat.key].memory
    return Played(
        100.0 - 100.0 * float(np.mean(attained(served, chat.objective)[late])),
        figures.gpu_energy_j,
        memory.variant("tp4").derate,
    )


def test_a_profile_that_is_too_optimistic_is_found_out_and_less_is_missed_for_some_energy(
    evaluation: Evaluation, catalog: PointCatalog
) -> None:
    believed = played(evaluation, catalog, loop=False)
    learned = played(evaluation, catalog, loop=True)
    assert believed.derate.share == 1.0
    assert learned.derate.share < 0.97
    assert learned.derate.optimistic_since_s is not None
    # Slow on purpose: in two hours the way is begun, in a day it is done (`joulery evaluate --trust`).
    assert learned.missed_percent < 0.9 * believed.missed_percent
    assert 1.0 < learned.joules / believed.joules < 1.02
