"""Costs of lanes: the least of all variants, counts and clocks, GPU prices included; estimates near them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.domain import reasons
from joulery.domain.pool import Variant
from joulery.domain.request_class import DEFAULT_CLASSES, Objective
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import LaneLoad, by_class, lane_of
from joulery.optimizer.lanes.costs import LaneCost
from joulery.optimizer.lanes.pricing import ESTIMATE_ERROR, PointLaneCosts
from joulery.optimizer.lanes.request import ClassLoad, Promise
from joulery.serving.catalog import PointCatalog
from joulery.serving.class_mix import Lengths, of_rates
from joulery.serving.mix import LengthMix
from joulery.serving.points import OperatingPoints
from joulery.simulator.lane_table import conversation_classes, costs_of
from joulery.simulator.truth import shipped_profile
from lane_points import CLOCKS_MHZ, VARIANTS, MadeUp

MIX = LengthMix((0, 100), (1.0,), (0, 100), (1.0,))
OTHER = LengthMix((100, 200), (1.0,), (0, 100), (1.0,))


def lane(*rates: float, mixes: tuple[LengthMix | None, ...] = (MIX, OTHER)) -> LaneLoad:
    loads = [ClassLoad(c, rate, mix) for c, rate, mix in zip(DEFAULT_CLASSES, rates, mixes, strict=False)]
    return lane_of(by_class(loads, [each.name for each in loads], None), Promise.LARGEST_INPUT)


def cost_of(costs: PointLaneCosts, load: LaneLoad) -> LaneCost:
    found = costs.cost(load)
    assert isinstance(found, LaneCost)
    return found


def by_hand(rate_rps: float, price_w: float) -> float:
    """Every variant, count up to 200 and clock, one by one."""
    best = math.inf
    for variant in VARIANTS:
        points = MadeUp()(variant, of_rates([(1.0, MIX)]), Objective(1, 1))
        for index in range(len(CLOCKS_MHZ)):
            for count in range(1, 200):
                if rate_rps / count <= points.rate_at(index) * (1.0 + 1e-9):
                    watts = count * points.watts_at(index, rate_rps / count)
                    best = min(best, watts + price_w * count * variant.tensor_parallel_size)
    return best


@given(st.floats(0.01, 60.0), st.floats(0.0, 500.0))
@settings(deadline=None, max_examples=30)
def test_the_cost_is_the_least_of_all_variants_counts_and_clocks(rate_rps: float, price_w: float) -> None:
    costs = PointLaneCosts(VARIANTS, MadeUp(), gpu_price_w={"H100-SXM-80GB": price_w})
    found = cost_of(costs, lane(rate_rps))
    assert found.cost_w == pytest.approx(by_hand(rate_rps, price_w))
    assert found.cost_w == pytest.approx(found.watts + price_w * found.gpus[0][1])


@given(st.floats(0.01, 60.0), st.floats(1.0, 2.0))
@settings(deadline=None)
def test_dearer_gpus_are_never_more_gpus(rate_rps: float, factor: float) -> None:
    prices = (0.0, 100.0, 100.0 * factor)
    gpus = [
        cost_of(PointLaneCosts(VARIANTS, MadeUp(), gpu_price_w={"H100-SXM-80GB": w}), lane(rate_rps)).gpus[0][
            1
        ]
        for w in prices
    ]
    assert gpus == sorted(gpus, reverse=True)


def test_spares_are_instances_that_the_load_does_not_need() -> None:
    plain, spare = PointLaneCosts(VARIANTS[:1], MadeUp()), PointLaneCosts(VARIANTS[:1], MadeUp(), spares=1)
    assert "2 x tp2" in cost_of(spare, lane(0.1)).how and "1 x tp2" in cost_of(plain, lane(0.1)).how


def test_a_load_of_a_thousand_million_requests_is_priced_in_bounded_memory() -> None:
    assert cost_of(PointLaneCosts(VARIANTS, MadeUp()), lane(1e9)).gpus[0][1] > 1e8


def test_the_points_asked_for_are_under_the_objective_of_the_lane() -> None:
    points = MadeUp()
    load = lane_of(
        by_class(
            [ClassLoad(DEFAULT_CLASSES[0], 1.0, MIX), ClassLoad(DEFAULT_CLASSES[8], 1.0, OTHER)],
            ["SS", "LL"],
            None,
        ),
        Promise.LARGEST_INPUT,
    )
    costs = PointLaneCosts(VARIANTS, points)
    costs.cost(load)
    costs.estimate(load)
    assert set(points.asked) == {Objective(2000, 100)}


def test_the_estimate_of_one_class_is_its_cost_and_of_two_that_of_their_times() -> None:
    hashes = {of_rates([(1.0, mix)]).content_hash: worth for mix, worth in ((MIX, 1.0), (OTHER, 0.5))}
    costs = PointLaneCosts(
        VARIANTS, MadeUp(worth=lambda lengths: hashes.get(lengths.content_hash, 2.0 / 3.0))
    )
    for load in (lane(5.0), lane(0.0, 3.0), lane(4.0, 4.0)):
        guess = costs.estimate(load)
        assert guess is not None and guess.cost_w == pytest.approx(cost_of(costs, load).cost_w)
        assert guess.error == ESTIMATE_ERROR


def test_a_lane_that_no_variant_holds_says_so_with_the_cure() -> None:
    costs = PointLaneCosts(VARIANTS, MadeUp(worth=lambda lengths: 0.0))
    found = costs.cost(lane(1.0))
    assert isinstance(found, Verdict) and found.reason == reasons.OBJECTIVE_UNREACHABLE
    assert "none of tp2, tp4, tp8 holds 250 ms" in found.message and "larger size" in found.message
    assert costs.estimate(lane(1.0)) is None


def test_lengths_that_are_not_known_are_a_verdict() -> None:
    costs = PointLaneCosts(VARIANTS, MadeUp())
    found = costs.cost(lane(1.0, 1.0, mixes=(MIX, None)))
    assert found == Verdict(reasons.METRICS_INCOMPLETE, "lane SM+SS: lengths of SM are not known")
    assert costs.estimate(lane(1.0, 1.0, mixes=(MIX, None))) is None


def test_a_profile_without_the_variants_is_a_verdict() -> None:
    def lacking(variant: Variant, lengths: Lengths, objective: Objective) -> OperatingPoints:
        raise KeyError(variant.name)

    found = PointLaneCosts(VARIANTS, lacking).cost(lane(1.0))
    assert isinstance(found, Verdict) and found.reason == reasons.PROFILE_LACKS_VARIANT
    assert PointLaneCosts(VARIANTS, lacking).estimate(lane(1.0)) is None


@pytest.mark.parametrize("names", [("SS", "SM"), ("SM", "LS"), ("MM", "LM", "LL")])
def test_on_the_shipped_profile_no_lane_costs_less_than_its_estimate_allows(names: tuple[str, ...]) -> None:
    costs = costs_of(shipped_profile(), PointCatalog(requests=6000))
    loads = [each for each in conversation_classes(40.0) if each.name in names]
    load = lane_of(by_class(loads, sorted(names), None), Promise.LARGEST_INPUT)
    guess, true = costs.estimate(load), cost_of(costs, load)
    assert guess is not None
    assert guess.floor_w <= true.cost_w <= 1.5 * guess.cost_w
