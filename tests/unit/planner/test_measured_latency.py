"""Poll by poll: measured latency lowers what a profile counts for, and what is planned follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fleets import CHAT, H100, PROFILES, Accelerator, Cluster, MadeUpProfile, demand, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.demand import Demand, LatencyReport
from joulery.domain.memory import Derate
from joulery.domain.pool import Knob, Mode
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.decide import Decision
from joulery.planner.history import History
from joulery.serving.parameters import HeldOutError

STALE = Verdict(reasons.METRICS_STALE, "no sample for 90 s")
SLO = Finding(ConditionType.SLO_MET, ConditionStatus.FALSE, Verdict(reasons.SLO_MISSED, "missed"))
POLLS_PER_WINDOW = 40


def measured(cluster: Cluster, rate_rps: float, attained: float, **changes: object) -> Demand:
    latency = LatencyReport(rate_rps * 600.0, attained, 100.0, None, None, None, SLO)
    return replace(demand(rate_rps, at_s=cluster.now_s), latency=replace(latency, **changes))  # type: ignore[arg-type]


def played(
    cluster: Cluster, load: Callable[[int], Demand], polls: int, history: History | None = None
) -> tuple[Decision, History]:
    history = history or History.empty()
    for number in range(polls):
        decision = poll(cluster, {CHAT: load(number)}, history)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
    return decision, history


def steady(cluster: Cluster, attained: float, rate_rps: float = 12.0) -> Callable[[int], Demand]:
    return lambda _: measured(cluster, rate_rps, attained)


def one_size(**changes: object) -> Cluster:
    return Cluster([pool(variants=(variant(4, **changes),))]).run(CHAT, "tp4", 3)


def derate(history: History) -> Derate:
    return history.pools[CHAT].memory.variant("tp4").derate


def accuracy(decision: Decision) -> Finding | None:
    return next((f for f in decision.findings[CHAT] if f.condition is ConditionType.PROFILE_ACCURATE), None)


def test_windows_that_miss_lower_the_derate_once_each() -> None:
    cluster = one_size()
    _, history = played(cluster, steady(cluster, 97.0), POLLS_PER_WINDOW)
    assert derate(history).share == 1.0
    _, history = played(cluster, steady(cluster, 97.0), 2, history)
    assert derate(history).share == pytest.approx(0.97)
    _, history = played(cluster, steady(cluster, 97.0), POLLS_PER_WINDOW - 3, history)
    assert derate(history).share == pytest.approx(0.97)


def test_capacity_and_clock_rows_follow_the_derate() -> None:
    cluster = one_size()
    before, history = played(cluster, steady(cluster, 99.9), 45)
    after, _ = played(cluster, steady(cluster, 96.0), 6 * POLLS_PER_WINDOW, history)
    plans = [d.plan.pool(CHAT) for d in (before, after)]
    assert plans[0] is not None and plans[1] is not None
    (_, first), (_, second) = plans[0].tables[0], plans[1].tables[0]
    assert plans[1].capacity_rps / plans[1].replicas < 0.95 * plans[0].capacity_rps / plans[0].replicas
    assert second.rows[0].prompt_tokens_per_s < 0.95 * first.rows[0].prompt_tokens_per_s
    assert plans[1].replicas > plans[0].replicas


def test_an_optimistic_profile_is_named_with_variant_share_time_and_cure() -> None:
    cluster = one_size()
    decision, _ = played(cluster, steady(cluster, 96.0), 3 * POLLS_PER_WINDOW)
    told = accuracy(decision)
    assert told is not None and told.status is ConditionStatus.FALSE
    assert told.verdict.reason == reasons.PROFILE_OPTIMISTIC
    for part in ("'model'", "team/chat", "tp4 counts with 94 %", "6 % too optimistic", "since 2024-05-12T"):
        assert part in told.verdict.message
    assert "set spec.profileRef" in told.verdict.message


def test_a_profile_that_holds_is_confirmed_and_one_never_judged_is_not_spoken_of() -> None:
    cluster = one_size()
    decision, history = played(cluster, steady(cluster, 99.9), POLLS_PER_WINDOW)
    assert accuracy(decision) is None
    decision, _ = played(cluster, steady(cluster, 99.9), 10, history)
    told = accuracy(decision)
    assert told is not None and told.verdict.reason == reasons.PROFILE_CONFIRMED


def test_a_profile_that_states_large_errors_is_named_with_error_and_cure_before_any_latency_is_seen() -> None:
    errors = (
        HeldOutError("TimePerOutputToken", "1024/8192", 14, 6.1, 30.0),
        HeldOutError("WattsPerGPU", "rows, a fifth in turn", 12, 13.4, 20.0),
    )
    cluster = one_size()

    def told_of(stated: tuple[HeldOutError, ...]) -> Finding | None:
        profiles = {"model": MadeUpProfile(accelerators={H100: Accelerator(held_out_errors=stated)})}
        load = {CHAT: measured(cluster, 12.0, 99.9)}
        return accuracy(poll(cluster, load, History.empty(), profiles=profiles))

    assert told_of(errors[:1]) is None
    told = told_of(errors)
    assert told is not None and told.status is ConditionStatus.FALSE
    assert told.verdict.reason == reasons.PROFILE_ERROR_LARGE
    for part in ("'model'", "team/chat", "13.4 % on average in WattsPerGPU", "a fifth in turn", "above 10 %"):
        assert part in told.verdict.message
    assert "joulery profile fit" in told.verdict.message


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param({"requests": 60.0}, id="too few requests"),
        pytest.param({"is_exact": False}, id="objective between buckets"),
        pytest.param({"tpot_attainment_percent": None}, id="no TPOT"),
    ],
)
def test_windows_that_cannot_be_judged_change_nothing(spoilt: dict[str, object]) -> None:
    cluster = one_size()
    _, history = played(cluster, lambda _: measured(cluster, 12.0, 90.0, **spoilt), 3 * POLLS_PER_WINDOW)
    assert derate(history).share == 1.0


def test_a_stale_poll_begins_the_window_anew() -> None:
    cluster = one_size()

    def load(number: int) -> Demand:
        good = measured(cluster, 12.0, 90.0)
        return replace(good, problem=STALE) if number % 30 == 29 else good

    _, history = played(cluster, load, 4 * POLLS_PER_WINDOW)
    assert derate(history).share == 1.0


def test_windows_next_to_a_change_of_size_are_not_judged() -> None:
    cluster = one_size()
    _, history = played(cluster, steady(cluster, 90.0), POLLS_PER_WINDOW - 5)
    cluster.desired[CHAT, "tp4"] += 1
    cluster._create(CHAT, "tp4", cluster.now_s)
    _, history = played(cluster, steady(cluster, 90.0), POLLS_PER_WINDOW, history)
    assert derate(history).share == 1.0


def test_a_burst_beyond_the_plan_is_not_the_profiles_fault() -> None:
    cluster = one_size(max_replicas=3)
    _, history = played(cluster, steady(cluster, 80.0, rate_rps=30.0), 3 * POLLS_PER_WINDOW)
    assert derate(history).share == 1.0


def test_the_derate_survives_a_restart_and_another_profile_begins_anew() -> None:
    cluster = one_size()
    _, history = played(cluster, steady(cluster, 96.0), 3 * POLLS_PER_WINDOW)
    learned = derate(history)
    assert learned.share < 0.95
    restored = History.restored({CHAT: history.pools[CHAT].memory})
    decision, after = played(cluster, steady(cluster, 99.9), 2, restored)
    assert derate(after) == learned
    told = accuracy(decision)
    assert told is not None and told.verdict.reason == reasons.PROFILE_OPTIMISTIC
    revised = {"model": replace(PROFILES["model"], content_hash="made again")}
    fresh = poll(cluster, {CHAT: measured(cluster, 12.0, 99.9)}, after, profiles=revised)
    assert derate(fresh.history) == Derate()
    assert accuracy(fresh) is None


def test_a_variant_never_judged_is_not_preferred_for_it() -> None:
    cluster = Cluster([pool()]).run(CHAT, "tp4", 3)
    memory = History.empty().pool(CHAT, cluster.now_s).memory
    known = replace(memory.variant("tp4"), derate=Derate(0.8, None, "made-up"))
    restored = History.restored({CHAT: replace(memory, variants=(known,))})
    decision, _ = played(cluster, steady(cluster, 99.9), 2, restored)
    rates = {r.variant: r.max_rate_rps for r in decision.history.pools[CHAT].rates}
    assert rates == pytest.approx({"tp2": 0.8 * 2.0, "tp4": 0.8 * 4.5, "tp8": 0.8 * 8.0})


def test_objectives_missed_at_the_highest_clock_bring_one_instance_more() -> None:
    cluster = one_size()
    cluster.highest_since_s = cluster.now_s
    _, history = played(cluster, steady(cluster, 98.9), POLLS_PER_WINDOW + 2)
    assert cluster.desired[CHAT, "tp4"] == 3
    told: list[Verdict] = []
    for _ in range(POLLS_PER_WINDOW + 8):
        decision, history = played(cluster, steady(cluster, 98.9), 1, history)
        told += [v for v in decision.notices[CHAT] if v.reason != reasons.HELD_AT_HIGHEST_CLOCK]
    assert cluster.desired[CHAT, "tp4"] == 4
    assert [v.reason for v in told] == [reasons.REINFORCED]
    assert "1 more than EnergyProfile 'model' asks for" in told[0].message
    assert history.pools[CHAT].memory.reinforcement.instances == 1


@pytest.mark.parametrize("knobs", [frozenset(Knob), frozenset({Knob.REPLICAS})])
def test_instances_below_their_highest_clock_get_clocks_and_not_company(knobs: frozenset[Knob]) -> None:
    cluster = Cluster([pool(variants=(variant(4),), knobs=knobs)]).run(CHAT, "tp4", 3)
    _, history = played(cluster, steady(cluster, 98.9), 3 * POLLS_PER_WINDOW)
    # Without knob Clocks the driver's default holds, which is the highest there is.
    expected = 0 if Knob.CLOCKS in knobs else 1
    assert history.pools[CHAT].memory.reinforcement.instances == expected


def test_the_one_more_goes_after_an_hour_of_kept_promises() -> None:
    cluster = one_size()
    cluster.highest_since_s = cluster.now_s
    _, history = played(cluster, steady(cluster, 98.9), 2 * POLLS_PER_WINDOW + 10)
    decision, history = played(cluster, steady(cluster, 99.9), 5 * POLLS_PER_WINDOW, history)
    assert counting(decision, history) == cluster.desired[CHAT, "tp4"] - 1
    decision, history = played(cluster, steady(cluster, 99.9), 3 * POLLS_PER_WINDOW, history)
    assert history.pools[CHAT].memory.reinforcement.instances == 0
    assert counting(decision, history) == cluster.desired[CHAT, "tp4"]


def counting(decision: Decision, history: History) -> int:
    """Instances that a plan's capacity counts on."""
    part, rate = decision.plan.pool(CHAT), history.pools[CHAT].max_rate_rps("tp4")
    assert part is not None and rate is not None
    return round(part.capacity_rps / rate)


def test_the_one_more_stays_within_max_replicas_and_is_said_to_be_missing() -> None:
    cluster = one_size(max_replicas=3)
    cluster.highest_since_s = cluster.now_s
    decision, history = played(cluster, steady(cluster, 98.9), 3 * POLLS_PER_WINDOW)
    assert cluster.desired[CHAT, "tp4"] == 3
    assert history.pools[CHAT].memory.reinforcement.instances >= 1
    feasible = next(f for f in decision.findings[CHAT] if f.condition is ConditionType.FEASIBLE)
    assert feasible.verdict.reason == reasons.INSUFFICIENT_REPLICAS
    assert "more than the profile asks for" in feasible.verdict.message


def test_a_pool_that_is_only_advised_is_not_advised_more_and_more() -> None:
    cluster = Cluster([pool(variants=(variant(4),), mode=Mode.RECOMMEND)]).run(CHAT, "tp4", 3)
    _, history = played(cluster, steady(cluster, 98.9), 3 * POLLS_PER_WINDOW)
    assert history.pools[CHAT].memory.reinforcement.instances == 0
