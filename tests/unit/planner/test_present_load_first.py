"""Under a shortage load that is there comes before load that another pool only expects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleets import CHAT, Cluster, MadeUpCatalog, demand, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.planner.decide import Decision
from joulery.planner.history import History

CODE = ObjectKey("team", "code")
EPOCH_POLLS = 20


def played(cluster: Cluster, rates: dict[ObjectKey, Callable[[int], float]], polls: int) -> Decision:
    history, catalog = History.empty(), MadeUpCatalog()
    for i in range(polls):
        load = {key: demand(rate(i), at_s=cluster.now_s, key=key) for key, rate in rates.items()}
        decision = poll(cluster, load, history, catalog=catalog)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    return decision


def feasible(decision: Decision, key: ObjectKey) -> Finding:
    return next(f for f in decision.findings[key] if f.condition is ConditionType.FEASIBLE)


@pytest.fixture
def decision() -> Decision:
    """Three instances of 8 requests/s for two pools: one rises from 1 to 6, the other has just stepped to 10."""
    pools = [pool(variants=(variant(8),)), pool(CODE, variants=(variant(8),))]
    cluster = Cluster(pools, nodes=3).run(CHAT, "tp8", 1).run(CODE, "tp8", 1)

    def rising(i: int) -> float:
        return 1.0 + 0.25 * i

    def stepped(i: int) -> float:
        return 5.0 if i < EPOCH_POLLS else 10.0

    return played(cluster, {CHAT: rising, CODE: stepped}, EPOCH_POLLS + 1)


def test_the_load_of_one_pool_comes_before_the_forecast_of_another(decision: Decision) -> None:
    chat, code = decision.plan.pool(CHAT), decision.plan.pool(CODE)
    assert chat is not None and code is not None
    assert chat.planned_rate_rps > 2.0 * 6.0, "far more is expected than is there"
    assert (chat.replicas, code.replicas) == (1, 2)


def test_who_is_short_is_told_the_share_of_its_whole_peak(decision: Decision) -> None:
    told = feasible(decision, CHAT)
    part = decision.plan.pool(CHAT)
    assert part is not None
    assert (told.status, told.verdict.reason) == (ConditionStatus.FALSE, reasons.INSUFFICIENT_GPUS)
    served = 100.0 * 8.0 / part.planned_rate_rps
    assert f"serve {served:.0f} % of the planned peak" in told.verdict.message
    assert feasible(decision, CODE).status is ConditionStatus.TRUE
