"""Each rule alone: what it lets pass, what it changes, and the reason it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleets import (
    ALL_KNOBS,
    CHAT,
    CLOCKS_MHZ,
    PROFILES,
    START_S,
    Cluster,
    demand,
    made_up_points,
    policy,
    pool,
)
from joulery.domain import reasons
from joulery.domain.memory import PoolMemory, VariantMemory
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Knob
from joulery.domain.verdict import Verdict
from joulery.planner import guardrails as rules
from joulery.planner.history import History, PoolHistory
from joulery.planner.options import Target, build_options
from joulery.planner.pricing import Pricing
from joulery.planner.settings import PlannerSettings
from joulery.planner.view import view_pools

SETTINGS = PlannerSettings()


def proposal(
    current: tuple[int, int],
    target: tuple[int, int],
    *,
    rate_rps: float,
    last_up_s: float | None = None,
    last_down_s: float | None = None,
    first_seen_s: float = START_S - 7200.0,
    knobs: frozenset[Knob] = ALL_KNOBS,
    limits: Guardrails | None = None,
    stale: bool = False,
    raise_only: bool = False,
) -> rules.Proposal:
    """From and to `(TP, replicas)` under a load that is mean and peak alike."""
    problem = Verdict(reasons.METRICS_STALE, "no sample") if stale else None
    load = demand(rate_rps, problem=problem)
    memory = PoolMemory(variants=(VariantMemory("tp4", last_up_s=last_up_s, last_down_s=last_down_s),))
    past = PoolHistory(first_seen_s, memory, last_good_demand=demand(rate_rps))
    fleet = Cluster([pool(knobs=knobs)]).run(CHAT, f"tp{current[0]}", current[1]).fleet()
    (view,) = view_pools(
        fleet,
        {CHAT: load},
        (policy(),),
        PROFILES,
        History(pools={CHAT: past}),
        SETTINGS,  # type: ignore[arg-type]
    )
    points = {f"tp{tp}": made_up_points(tp, CLOCKS_MHZ) for tp in (2, 4, 8)}
    pricing = Pricing(points, (), rate_rps, rate_rps, rate_rps, clocks_move=True)
    options = build_options(view, pricing, first_kind=0, horizon_s=600.0, settings=SETTINGS)
    return rules.Proposal(
        view,
        pricing,
        options,
        at(pricing, current),
        at(pricing, target),
        limits or Guardrails(),
        START_S,
        SETTINGS,
        raise_only,
    )


def at(pricing: Pricing, what: tuple[int, int]) -> Target:
    name = f"tp{what[0]}"
    return Target(name, what[1], pricing.price(name, what[1]).clock_mhz)


def answer(rule: rules.Rule, p: rules.Proposal) -> tuple[str, int, str | None]:
    target, verdict = rule(p)
    return target.variant, target.replicas, verdict.reason if verdict is not None else None


def test_a_saving_below_the_threshold_is_not_worth_a_change() -> None:
    p = proposal((4, 3), (2, 5), rate_rps=9.0)
    assert answer(rules.keep_for_small_gain, p) == ("tp4", 3, reasons.MINIMUM_GAIN)


def test_a_saving_above_the_threshold_passes() -> None:
    p = proposal((4, 6), (4, 3), rate_rps=9.0)
    assert answer(rules.keep_for_small_gain, p) == ("tp4", 3, None)


def test_serving_more_is_worth_any_watts() -> None:
    p = proposal((4, 1), (4, 3), rate_rps=9.0)
    assert answer(rules.keep_for_small_gain, p) == ("tp4", 3, None)


@pytest.mark.parametrize(("ago_s", "expected"), [(599.0, (6, reasons.DWELL)), (600.0, (3, None))])
def test_nothing_goes_within_the_dwell_after_an_up(ago_s: float, expected: tuple[int, str | None]) -> None:
    p = proposal((4, 6), (4, 3), rate_rps=9.0, last_up_s=START_S - ago_s)
    assert answer(rules.wait_after_up, p)[1:] == expected


def test_nothing_goes_from_a_pool_just_met() -> None:
    p = proposal((4, 6), (4, 3), rate_rps=9.0, first_seen_s=START_S - 60.0)
    assert answer(rules.wait_after_up, p) == ("tp4", 6, reasons.DWELL)


def test_a_variant_is_not_gone_back_to_within_the_dwell_after_it_was_left() -> None:
    for ago_s, expected in ((599.0, ("tp8", 3, reasons.DWELL)), (600.0, ("tp4", 3, None))):
        p = proposal((8, 3), (4, 3), rate_rps=9.0, last_down_s=START_S - ago_s)
        assert answer(rules.wait_after_up, p) == expected


def test_the_dwell_never_delays_an_up() -> None:
    p = proposal((4, 1), (4, 3), rate_rps=9.0, last_up_s=START_S - 15.0)
    assert answer(rules.wait_after_up, p) == ("tp4", 3, None)


def test_a_needed_reshard_does_not_wait_and_an_optional_one_does() -> None:
    needed = proposal((2, 2), (8, 2), rate_rps=9.0, last_up_s=START_S - 15.0)
    optional = proposal((8, 3), (4, 3), rate_rps=9.0, last_up_s=START_S - 15.0)
    assert answer(rules.wait_after_up, needed) == ("tp8", 2, None)
    assert answer(rules.wait_after_up, optional) == ("tp8", 3, reasons.DWELL)


@pytest.mark.parametrize(
    ("percent", "replicas"),
    [(50, 4), (25, 6), (10, 7), (100, 1)],
    ids=["half", "quarter", "one at least", "all"],
)
def test_a_step_down_is_bounded(percent: int, replicas: int) -> None:
    p = proposal((4, 8), (4, 1), rate_rps=2.0, limits=Guardrails(max_step_down_percent=percent))
    assert answer(rules.bounded_step_down, p)[:2] == ("tp4", replicas)


def test_the_load_served_now_keeps_its_replicas() -> None:
    p = proposal((4, 5), (4, 2), rate_rps=13.0)
    assert answer(rules.never_below_observed_need, p) == ("tp4", 3, reasons.BELOW_OBSERVED_NEED)


def test_a_reshard_too_small_for_the_load_is_not_begun() -> None:
    p = proposal((4, 5), (8, 1), rate_rps=13.0)
    assert answer(rules.never_below_observed_need, p) == ("tp4", 5, reasons.BELOW_OBSERVED_NEED)


def test_the_last_replica_stays() -> None:
    p = proposal((4, 2), (4, 0), rate_rps=1.0)
    assert answer(rules.keep_minimum, p)[:2] == ("tp4", 1)


def test_stale_metrics_hold_what_runs() -> None:
    for target in ((4, 1), (4, 9), (8, 2)):
        p = proposal((4, 4), target, rate_rps=9.0, stale=True)
        assert answer(rules.hold_on_stale_metrics, p) == ("tp4", 4, reasons.METRICS_STALE)


def test_nothing_goes_on_the_word_of_those_that_are_seen() -> None:
    unseen = Verdict(reasons.METRICS_INCOMPLETE, "1 of 4")
    for target, expected in (((4, 1), 4), ((4, 9), 9)):
        p = proposal((4, 4), target, rate_rps=9.0)
        p = replace(p, view=replace(p.view, unseen=unseen))
        assert answer(rules.keep_while_replicas_are_unseen, p)[:2] == ("tp4", expected)


@pytest.mark.parametrize(
    ("knobs", "target", "expected"),
    [
        ({Knob.REPLICAS}, (8, 2), ("tp4", 4, reasons.KNOB_NOT_ENABLED)),
        ({Knob.SHARDS}, (4, 3), ("tp4", 4, reasons.KNOB_NOT_ENABLED)),
        ({Knob.REPLICAS}, (4, 3), ("tp4", 3, None)),
        ({Knob.SHARDS}, (8, 2), ("tp8", 2, None)),
    ],
)
def test_no_knob_no_move(
    knobs: set[Knob], target: tuple[int, int], expected: tuple[str, int, str | None]
) -> None:
    p = proposal((4, 4), target, rate_rps=9.0, knobs=frozenset(knobs))
    assert answer(rules.obey_knobs, p) == expected


def test_between_epochs_only_more_passes() -> None:
    assert answer(rules.only_raise, proposal((4, 4), (4, 2), rate_rps=9.0, raise_only=True))[1] == 4
    assert answer(rules.only_raise, proposal((4, 1), (4, 3), rate_rps=9.0, raise_only=True))[1] == 3


def test_safety_has_the_last_word() -> None:
    """An allowed step of half would leave too little: need overrules it."""
    p = proposal((4, 4), (4, 1), rate_rps=13.0)
    target, verdicts = rules.guard(replace(p, pricing=replace(p.pricing, peak_rps=4.0, mean_rps=4.0)))
    assert target.replicas == 3
    assert verdicts[-1].reason == reasons.BELOW_OBSERVED_NEED


def test_every_rule_is_in_the_chain() -> None:
    public: set[Callable[..., object]] = {
        rules.only_raise,
        rules.keep_for_small_gain,
        rules.wait_after_up,
        rules.bounded_step_down,
        rules.take_no_way_that_ends_half_way,
        rules.never_below_observed_need,
        rules.keep_minimum,
        rules.keep_what_cannot_drain,
        rules.keep_while_replicas_are_unseen,
        rules.hold_on_stale_metrics,
        rules.obey_knobs,
    }
    assert set(rules.RULES) == public
