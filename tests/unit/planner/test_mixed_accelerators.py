"""One profile of several accelerators plans one pool whose variants run on different ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleets import CHAT, H100, START_S, demand, policy, pool, variant
from joulery.domain.fleet import Fleet, NodeState, PoolState, VariantState
from joulery.domain.keys import TargetRef
from joulery.domain.policy import ClockBounds
from joulery.domain.pool import Variant
from joulery.planner.decide import Decision, decide
from joulery.planner.history import History
from joulery.serving.catalog import PointCatalog
from serving_cases import shipped_profile

H200 = "H200-SXM-141GB"
PROFILE = shipped_profile()
CATALOG = PointCatalog(requests=2000)
VARIANTS: tuple[Variant, ...] = (
    variant(4, name="hopper-80", target=TargetRef("apps/v1", "Deployment", "hopper-80")),
    variant(1, name="hopper-141", target=TargetRef("apps/v1", "Deployment", "hopper-141"), accelerator=H200),
    variant(2, name="pair-141", target=TargetRef("apps/v1", "Deployment", "pair-141"), accelerator=H200),
)


def decided(nodes: dict[str, int], rate_rps: float = 6.0) -> Decision:
    """One decision for a new pool on so many nodes of eight GPUs of each accelerator."""
    spec = pool(profile_name=PROFILE.name, variants=VARIANTS)
    states = [
        NodeState(f"{name}-{i}", name, 8, 8, schedulable=True, agent_ready=True)
        for name, count in nodes.items()
        for i in range(count)
    ]
    fleet = Fleet(
        START_S, (PoolState(spec, tuple(VariantState(v.name, 0, ()) for v in VARIANTS)),), tuple(states)
    )
    clocks = tuple(ClockBounds(name, 1200, 1980) for name in (H100, H200))
    return decide(
        fleet,
        {CHAT: demand(rate_rps)},
        (replace(policy(), clocks=clocks),),
        {PROFILE.name: PROFILE},
        History(),
        catalog=CATALOG,
    )


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ({H100: 2}, {"hopper-80"}),
        ({H200: 2}, {"hopper-141", "pair-141"}),
        ({H100: 2, H200: 2}, {v.name for v in VARIANTS}),
    ],
)
def test_a_pool_is_planned_on_whichever_accelerator_there_is(nodes: dict[str, int], names: set[str]) -> None:
    (plan,) = decided(nodes).plan.pools
    assert plan.variant in names
    assert plan.replicas > 0
    assert 1200 <= plan.clock_mhz <= 1980


def test_where_both_are_free_the_plan_draws_no_more_than_on_either_alone() -> None:
    watts = [decided(nodes).plan.pools[0].predicted_w for nodes in ({H100: 2, H200: 2}, {H100: 2}, {H200: 2})]
    assert watts[0] <= min(watts[1:]) * 1.005


def test_each_accelerator_has_the_cache_that_was_measured_on_it() -> None:
    assert (PROFILE.kv_cache(H100).type, PROFILE.kv_cache(H100).bytes_per_token) == ("BF16", 327_680)
    assert (PROFILE.kv_cache(H200).type, PROFILE.kv_cache(H200).bytes_per_token) == ("FP8", 163_840)
