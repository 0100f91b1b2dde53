"""Lanes beside others on the same GPUs: what fits is checked, scarce GPUs merge lanes, priority holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.domain.request_class import DEFAULT_CLASSES
from joulery.optimizer.checker import check
from joulery.optimizer.lanes.joint import JointLanes, lanes_within
from joulery.optimizer.lanes.partition import partition
from joulery.optimizer.lanes.pricing import PointLaneCosts
from joulery.optimizer.lanes.request import ClassLoad, LanePolicy, LaneRequest
from joulery.optimizer.problem import GpuQuota, Kind, PoolBlock, Problem, supply_of
from joulery.optimizer.solution import SolveStatus
from joulery.serving.class_mix import Lengths, of_rates
from joulery.serving.mix import LengthMix
from lane_points import VARIANTS, MadeUp

H100 = "H100-SXM-80GB"
MIXES = [LengthMix((100 * i, 100 * i + 100), (1.0,), (0, 100), (1.0,)) for i in range(9)]


def apart_is_cheaper(lengths: Lengths) -> float:
    """An instance that serves one class alone carries a quarter more than one that serves several."""
    alone = {of_rates([(1.0, mix)]).content_hash for mix in MIXES}
    return 1.25 if lengths.content_hash in alone else 1.0


COSTS = PointLaneCosts(VARIANTS, MadeUp(worth=apart_is_cheaper))


def request(policy: LanePolicy = LanePolicy.AUTO, *, rps: float = 4.0, classes: int = 3) -> LaneRequest:
    loads = zip(DEFAULT_CLASSES, MIXES, strict=True)
    return LaneRequest(tuple(ClassLoad(c, rps, mix) for c, mix in list(loads)[:classes]), policy)


def nodes(*free: int, pools: tuple[PoolBlock, ...] = ()) -> Problem:
    return Problem((Kind(H100, 2),) if pools else (), pools, (supply_of(H100, free),))


def other(weight: float, counts: int, watts: float) -> PoolBlock:
    """A pool that needs so many instances of two GPUs, all or nothing."""
    return PoolBlock(
        "other", weight, np.zeros(2, np.int64), np.array([0, counts]), np.full(2, 1980),
        np.array([0.0, watts]), np.array([0.0, 1.0]), np.zeros(2),
    )  # fmt: skip


def solved(rest: Problem, policy: LanePolicy = LanePolicy.AUTO, **load: float) -> JointLanes:
    found = lanes_within(request(policy, **load), COSTS, rest, key="pool", weight=1.0)  # type: ignore[arg-type]
    assert check(found.problem, found.solution) == ()
    return found


def test_with_gpus_to_spare_the_joint_plan_is_the_partition_alone() -> None:
    found = solved(nodes(*[8] * 20))
    assert found.solution.cost_w == pytest.approx(partition(request(), COSTS).cost_w)
    assert (found.price_w, found.shed_rps, found.tried) == (0.0, 0.0, 1)
    assert [pool.key for pool in found.problem.pools] == [f"pool/{lane.name}" for lane in found.plan.lanes]


@given(st.integers(1, 30), st.floats(0.5, 6.0))
@settings(deadline=None, max_examples=20)
def test_auto_is_never_worse_than_a_fixed_policy_on_the_same_gpus(gpus: int, rps: float) -> None:
    rest = nodes(*[8] * (gpus // 8), gpus % 8)
    auto = solved(rest, rps=rps)
    for policy in (LanePolicy.SINGLE, LanePolicy.BY_INPUT, LanePolicy.PER_CLASS):
        fixed = solved(rest, policy, rps=rps)
        assert auto.shed_rps <= fixed.shed_rps + 1e-6
        if auto.shed_rps >= fixed.shed_rps - 1e-6:
            assert auto.solution.cost_w <= fixed.solution.cost_w * (1.0 + 1e-6)


def test_gpus_that_grow_scarce_merge_lanes_before_anything_is_shed() -> None:
    found = [solved(nodes(*[2] * (gpus // 2)), rps=2.4) for gpus in (12, 10, 8)]
    assert [len(each.plan.lanes) for each in found] == [3, 2, 1]
    assert [each.shed_rps for each in found] == [0.0, 0.0, 0.0]
    assert [each.price_w > 0.0 for each in found] == [False, True, True]
    assert solved(nodes(2, 2, 2, 2), LanePolicy.PER_CLASS, rps=2.4).shed_rps > 0.1


def test_more_gpus_never_shed_more() -> None:
    sheds = [solved(nodes(*[2] * n)).shed_rps for n in range(6)]
    assert sheds == sorted(sheds, reverse=True) and sheds[0] == pytest.approx(12.0)


def test_a_pool_that_comes_first_keeps_its_gpus_and_one_that_comes_last_gives_them() -> None:
    first, last = (solved(nodes(8, pools=(other(weight, 4, 900.0),))) for weight in (2.0, 0.5))
    assert first.solution.shed[0] == 0.0 and first.shed_rps == pytest.approx(12.0)
    assert last.solution.shed[0] == 1.0 and last.shed_rps < 12.0


def test_the_quota_of_the_others_holds_beside_lanes() -> None:
    bound = nodes(8, 8, pools=(other(2.0, 4, 900.0),))
    kinds, quotas = (Kind(H100, 2, "team"),), (GpuQuota("team", 6),)
    found = solved(replace(bound, kinds=kinds, quotas=quotas, max_starts=3))
    assert (found.problem.quotas, found.problem.max_starts) == (quotas, 3)
    assert found.solution.shed[0] == 1.0


def test_a_fault_of_the_rest_is_a_refusal_and_no_exception() -> None:
    broken = Problem((), (), (supply_of(H100, [8]), supply_of(H100, [8])))
    found = lanes_within(request(), COSTS, broken, key="pool", weight=1.0)
    assert found.solution.status is SolveStatus.REFUSED and "given more than once" in found.solution.why
    assert found.shed_rps == pytest.approx(12.0)


def test_a_lane_that_nothing_serves_is_shed_whole() -> None:
    costs = PointLaneCosts(VARIANTS, MadeUp(worth=lambda lengths: 0.0))
    found = lanes_within(request(), costs, nodes(8), key="pool", weight=1.0)
    assert found.shed_rps == pytest.approx(12.0) and check(found.problem, found.solution) == ()


def test_no_load_is_no_pool() -> None:
    found = lanes_within(request(rps=0.0), COSTS, nodes(8), key="pool", weight=1.0)
    assert found.problem.pools == () and found.shed_rps == 0.0
