"""Observe without a profile still reports load, latency and joules per token, and how to get a profile."""

from __future__ import annotations

import pytest
import pytest_asyncio

from fakes import CHAT, Rig, finding, observation, pool
from joulery.adapters.pod_load import PodLoads
from joulery.controller.app import decider
from joulery.domain import reasons
from joulery.domain.demand import LatencyReport
from joulery.domain.pool import Mode
from joulery.domain.report import PoolReport
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding
from joulery.planner.settings import PlannerSettings

LATENCY = LatencyReport(
    requests=500.0,
    ttft_attainment_percent=99.8,
    tpot_attainment_percent=99.7,
    ttft_p99_ms=420.0,
    tpot_p99_ms=48.0,
    itl_p99_ms=60.0,
    slo=finding(ConditionType.SLO_MET, reasons.SLO_MET),
)


@pytest_asyncio.fixture
async def report() -> PoolReport:
    """The status after one cycle of the real planner on a cluster without profiles and policies."""
    seen = observation([pool(mode=Mode.OBSERVE)], measured_w={CHAT: 400.0})
    rig = Rig(seen, decide=decider(PlannerSettings(), loads=PodLoads))
    rig.demand.latency = LATENCY
    assert await rig.loop.run_cycle() is None
    assert rig.journal.of("scale") == []
    made = rig.journal.of("status")[0]
    assert isinstance(made, PoolReport)
    return made


def told(report: PoolReport, condition: ConditionType) -> Finding:
    return next(f for f in report.findings if f.condition is condition)


async def test_load_and_latency_are_reported(report: PoolReport) -> None:
    assert report.requests_per_s == 4.0
    assert report.attainment_percent == pytest.approx(99.5)
    assert told(report, ConditionType.SLO_MET).verdict.reason == reasons.SLO_MET


async def test_message_tells_joules_per_token_and_the_command(report: PoolReport) -> None:
    missing = told(report, ConditionType.PROFILE_AVAILABLE)
    assert (missing.status, missing.verdict.reason) == (ConditionStatus.FALSE, reasons.PROFILE_MISSING)
    for part in ("joulery profile", "4 requests/s", "0.5 GPU joules per generated token"):
        assert part in missing.verdict.message


async def test_observing_pool_is_ready_without_a_profile(report: PoolReport) -> None:
    assert told(report, ConditionType.READY).status is ConditionStatus.TRUE
