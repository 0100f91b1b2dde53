"""Lease, bounds, targets and grid: the agent's pure rules."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent_cases import HIGH_MHZ, LOW_MHZ, binding
from joulery.agent.bindings import BoundInstance
from joulery.agent.bounds import permission
from joulery.agent.governing import Wish
from joulery.agent.gpu import GpuFacts, snap, widest_step_mhz
from joulery.agent.lease import LeaseWatch
from joulery.agent.record import Target
from joulery.agent.targets import Grounds, targets
from joulery.domain import reasons
from joulery.domain.policy import ClockBounds, Policy
from joulery.domain.pool import Mode
from joulery.domain.verdict import Verdict

CLOCKS = tuple(range(210, 1981, 15))
ACT = Policy("default", max_mode=Mode.ACT)
APPLIED = Verdict(reasons.CLOCK_APPLIED, "so it is")


def gpu(uuid: str = "GPU-a", product: str = "NVIDIA H100 80GB HBM3") -> GpuFacts:
    return GpuFacts(uuid, 0, product, CLOCKS, widest_step_mhz(CLOCKS))


# ---- Lease


def test_lease_age_counts_from_the_seen_change_and_not_from_its_text() -> None:
    watch = LeaseWatch(0.0).seen("2031-01-01T00:00:00Z", 10.0).seen("2031-01-01T00:00:00Z", 50.0)
    assert watch.age_s(60.0) == 50.0
    assert watch.is_stale(60.0, 40.0)
    assert not watch.seen("1999-01-01T00:00:00Z", 60.0).is_stale(61.0, 40.0), "any change counts"


def test_lease_never_seen_is_stale_at_once_and_a_deleted_one_ages() -> None:
    assert LeaseWatch(0.0).is_stale(0.0, 300.0)
    watch = LeaseWatch(0.0).seen("t", 10.0).seen(None, 20.0)
    assert not watch.is_stale(20.0, 300.0)
    assert watch.is_stale(311.0, 300.0)


# ---- bounds


def test_no_policy_and_no_act_forbid_clocks_with_a_cure() -> None:
    none = permission([], "llm", "H100-SXM-80GB")
    recommend = permission([Policy("default", max_mode=Mode.RECOMMEND)], "llm", "H100-SXM-80GB")
    assert isinstance(none, Verdict)
    assert isinstance(recommend, Verdict)
    assert (none.reason, recommend.reason) == (reasons.NO_POLICY, reasons.MODE_CEILING)
    assert "maxMode: Act" in none.message
    assert "maxMode: Act" in recommend.message


def test_policy_of_highest_priority_governs_the_namespace() -> None:
    brake = Policy("brake", priority=10, namespaces=("llm",), max_mode=Mode.OBSERVE)
    assert isinstance(permission([ACT, brake], "llm", "x"), Verdict)
    assert not isinstance(permission([ACT, brake], "other", "x"), Verdict)


# ---- grid


def test_clock_is_rounded_up_to_the_grid_and_never_above_the_ceiling() -> None:
    assert snap(CLOCKS, 1201, 0, 9999) == 1215
    assert snap(CLOCKS, 1980, 0, 1700) == 1695
    assert snap(CLOCKS, 300, 1000, 1700) == 1005
    assert snap(CLOCKS, 5000, 0, 9999) == 1980


def test_bounds_without_a_supported_clock_yield_the_fastest_below_the_ceiling() -> None:
    assert snap(CLOCKS, 1500, 1301, 1304) == 1290
    assert snap(CLOCKS, 1500, 10, 100) == 210, "below the grid nothing but the slowest is left"


@given(
    wanted=st.integers(0, 3000),
    bounds=st.tuples(st.integers(0, 2500), st.integers(210, 2500)).map(sorted),
)
def test_snap_yields_supported_clocks_below_the_ceiling(wanted: int, bounds: Sequence[int]) -> None:
    floor, ceiling = bounds
    found = snap(CLOCKS, wanted, floor, ceiling)
    assert found in CLOCKS
    assert found <= max(ceiling, CLOCKS[0])
    if any(max(wanted, floor) <= c <= ceiling for c in CLOCKS):
        assert found >= wanted


# ---- targets


def instance(pod: str, *uuids: str) -> BoundInstance:
    return BoundInstance(binding(pod), uuids)


def test_shared_gpu_gets_the_highest_of_the_clocks_asked_for() -> None:
    slow, fast = instance("a", "GPU-a"), instance("b", "GPU-a")
    wishes = {slow.binding: Wish(LOW_MHZ, APPLIED), fast.binding: Wish(HIGH_MHZ, APPLIED)}
    for order in ([slow, fast], [fast, slow]):
        found = targets([gpu()], order, wishes, Grounds([ACT], {}))
        assert found["GPU-a"] == Target(HIGH_MHZ, HIGH_MHZ, APPLIED)


def test_gpu_without_instance_keeps_default_clocks() -> None:
    found = targets([gpu()], [], {}, Grounds([ACT], {}))["GPU-a"]
    assert isinstance(found, Verdict)
    assert found.reason == reasons.NO_BINDING


def test_one_sharer_that_may_not_be_slowed_keeps_the_gpu_at_default_clocks() -> None:
    ours, theirs = instance("a", "GPU-a"), BoundInstance(binding("b", namespace="other"), ("GPU-a",))
    wishes = {i.binding: Wish(LOW_MHZ, APPLIED) for i in (ours, theirs)}
    policies = [Policy("p", namespaces=("llm",), max_mode=Mode.ACT)]
    for order in ([ours, theirs], [theirs, ours]):
        assert isinstance(targets([gpu()], order, wishes, Grounds(policies, {}))["GPU-a"], Verdict)


def test_stale_lease_overrides_every_wish() -> None:
    stale = Verdict(reasons.LEASE_STALE, "gone")
    one = instance("a", "GPU-a")
    wishes = {one.binding: Wish(LOW_MHZ, APPLIED)}
    assert targets([gpu()], [one], wishes, Grounds([ACT], {}, stale))["GPU-a"] is stale


def test_bounds_are_looked_up_by_our_name_of_the_accelerator() -> None:
    policy = Policy("default", max_mode=Mode.ACT, clocks=(ClockBounds("H100-SXM-80GB", 1350, 1600),))
    one = instance("a", "GPU-a")
    for asked, given_mhz in ((LOW_MHZ, 1350), (HIGH_MHZ, 1590)):
        found = targets([gpu()], [one], {one.binding: Wish(asked, APPLIED)}, Grounds([policy], {}))
        assert found["GPU-a"] == Target(asked, given_mhz, APPLIED)
