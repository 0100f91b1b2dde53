"""What users are told: conditions beyond the planner's, readiness by mode, measured energy."""

from __future__ import annotations

import pytest

from fakes import CHAT, decision, demand, finding, observation, pool
from joulery.controller.reports import joules_per_token, reports_of
from joulery.controller.transitions import Transitions
from joulery.domain import reasons
from joulery.domain.policy import Policy
from joulery.domain.pool import Mode
from joulery.domain.report import PoolReport
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.ports import PolicyProblem

ACT = (Policy("default", max_mode=Mode.ACT),)


def found(report: PoolReport, condition: ConditionType) -> Finding:
    return next(f for f in report.findings if f.condition is condition)


def report(*findings: Finding, mode: Mode = Mode.ACT, **fields: object) -> PoolReport:
    seen = observation([pool(mode=mode)], policies=ACT, **fields)
    (made,) = reports_of(seen, {CHAT: demand()}, decision(findings={CHAT: findings}), {})
    return made


def test_missing_profile_still_tells_load_and_joules_per_token() -> None:
    missing = finding(ConditionType.PROFILE_AVAILABLE, reasons.PROFILE_MISSING, good=False)
    message = found(report(missing, measured_w={CHAT: 400.0}), missing.condition).verdict.message
    assert "4 requests/s" in message
    assert "0.5 GPU joules per generated token" in message


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND, Mode.ACT])
def test_ready_asks_only_for_what_the_mode_needs(mode: Mode) -> None:
    unplanned = finding(ConditionType.PLANNED, reasons.OBSERVING, good=False)
    ready = found(report(unplanned, mode=mode), ConditionType.READY)
    assert (ready.status is ConditionStatus.TRUE) is (mode is Mode.OBSERVE)


def test_pool_under_way_is_ready() -> None:
    moving = finding(ConditionType.ACTUATED, reasons.SCALING, good=False)
    assert found(report(moving), ConditionType.READY).status is ConditionStatus.TRUE


def test_failed_write_wins_over_what_was_decided() -> None:
    refusal = Verdict(reasons.WRITE_REFUSED, "403")
    (made,) = reports_of(observation(policies=ACT), {CHAT: demand()}, decision(), {CHAT: refusal})
    assert found(made, ConditionType.ACTUATED).verdict == refusal
    assert found(made, ConditionType.READY).verdict.reason == reasons.WRITE_REFUSED


def test_counter_reset_is_told_beside_fresh_metrics() -> None:
    note = Verdict(reasons.METRICS_COUNTER_RESET, "2 resets")
    (made,) = reports_of(observation(), {CHAT: demand(note=note)}, decision(), {})
    metrics = found(made, ConditionType.METRICS_AVAILABLE)
    assert (metrics.status, metrics.verdict) == (ConditionStatus.TRUE, note)


def test_twice_claimed_target_is_not_accepted() -> None:
    made = report(hold=Verdict(reasons.TARGET_CONFLICT, "belongs to pool llm/first"))
    accepted = found(made, ConditionType.ACCEPTED)
    assert (accepted.status, accepted.verdict.reason) == (ConditionStatus.FALSE, reasons.TARGET_CONFLICT)


def test_joules_per_token_are_unknown_without_watts_tokens_or_trust() -> None:
    assert joules_per_token(400.0, demand()) == 0.5
    assert joules_per_token(None, demand()) is None
    assert joules_per_token(400.0, demand(rate=0.0)) is None
    assert joules_per_token(400.0, demand(problem=Verdict(reasons.METRICS_STALE, "old"))) is None


def test_news_are_changes_of_status_or_reason() -> None:
    transitions = Transitions()
    good, bad = report(), report(finding(ConditionType.ACTUATED, reasons.FOREIGN_SCALER, good=False))
    assert transitions.news([good], []) == []
    changed = {f.condition for _, f in transitions.news([bad], [])}
    assert ConditionType.ACTUATED in changed
    assert transitions.news([bad], []) == []


def test_policy_that_is_not_understood_is_told_to_the_pools_it_may_govern() -> None:
    planned = finding(ConditionType.PLANNED, reasons.PLANNED)
    ours = PolicyProblem("EnergyPolicy night: spec.clockBounds[0].floorMHz: 1500 exceeds", (CHAT.namespace,))
    theirs = PolicyProblem("EnergyPolicy day: broken", ("other",))
    made = report(planned, policy_problems={"night": ours, "day": theirs})
    told = found(made, ConditionType.PLANNED)
    assert told.status is ConditionStatus.TRUE
    assert ours.message in told.verdict.message
    assert theirs.message not in told.verdict.message


def test_policy_problem_is_news_once() -> None:
    transitions, problem = Transitions(), PolicyProblem("EnergyPolicy night: broken")
    assert transitions.new_policy_problems({"night": problem}) == [problem.message]
    assert transitions.new_policy_problems({"night": problem}) == []
    assert transitions.new_policy_problems({}) == []
    assert transitions.new_policy_problems({"night": problem}) == [problem.message]
