"""The simulated cluster behaves as the scheduler and the ReplicaSet controller would."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.domain.fleet import ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.simulator.baselines import Constant, Setting
from joulery.simulator.replay import Replay, Timing
from joulery.simulator.result import summarise
from joulery.simulator.scenario import Scenario
from joulery.simulator.traces import NS_PER_S, Requests
from joulery.simulator.truth import shipped_profile

CHAT = ObjectKey("serving", "chat")


def scenario(startup_s: float = 60.0) -> Scenario:
    profile = shipped_profile()
    return Scenario(profile, profile, startup_s, seed=0)


def no_requests() -> Requests:
    empty = np.zeros(0, dtype=np.int64)
    return Requests(empty, empty, empty)


def steady(rate: float, seconds: int) -> Requests:
    count = round(rate * seconds)
    arrivals = np.sort(np.random.default_rng(1).integers(0, seconds * NS_PER_S, count))
    return Requests(arrivals, np.full(count, 800), np.full(count, 120))


def scale(variant: str, seen: int, want: int, victims: tuple[str, ...] = ()) -> ScaleChange:
    chat = scenario().pools[0]
    return ScaleChange(CHAT, variant, chat.variant(variant).target, seen, want, "ScaleUp", "", victims)


def test_a_new_instance_serves_after_its_start_up_time() -> None:
    one = scenario(startup_s=60.0)
    world = one.world([one.pools[0]])
    world.start_ready(CHAT, "tp4", 1, 0.0)
    world.apply(scale("tp4", 1, 2), 0.0)
    phases = []
    for second in range(0, 80, 5):
        world.advance(second, second + 5, {CHAT: no_requests()})
        newest = world.snapshot(second + 5.0, 0.0).pools[0].variant("tp4").replicas[-1]
        phases.append((second + 5, newest.phase))
    ready_at = min(at for at, phase in phases if phase is ReplicaPhase.READY)
    assert 55 <= ready_at <= 75
    assert phases[0][1] is ReplicaPhase.STARTING


def test_a_full_cluster_leaves_pods_unscheduled() -> None:
    one = scenario()
    world = one.world([one.pools[0]])
    world.start_ready(CHAT, "tp8", 6, 0.0)
    world.apply(scale("tp2", 0, 1), 0.0)
    world.advance(0.0, 5.0, {CHAT: no_requests()})
    assert [r.phase for r in world.snapshot(5.0, 0.0).pools[0].variant("tp2").replicas] == [
        ReplicaPhase.UNSCHEDULED
    ]


def test_a_change_decided_on_another_size_is_refused() -> None:
    one = scenario()
    world = one.world([one.pools[0]])
    world.start_ready(CHAT, "tp4", 2, 0.0)
    with pytest.raises(ValueError, match="decided on 3"):
        world.apply(scale("tp4", 3, 4), 0.0)


def test_named_victims_go_first() -> None:
    one = scenario()
    world = one.world([one.pools[0]])
    world.start_ready(CHAT, "tp4", 3, 0.0)
    victim = world.pools[CHAT].instances[1].name
    world.apply(scale("tp4", 3, 2, (victim,)), 0.0)
    world.advance(0.0, 5.0, {CHAT: no_requests()})
    assert victim not in {i.name for i in world.pools[CHAT].instances}
    assert sum(world.free_gpus) == 48 - 2 * 4


def test_an_instance_that_ends_while_starting_gives_its_gpus_back_once() -> None:
    one = scenario(startup_s=60.0)
    world = one.world([one.pools[0]])
    world.start_ready(CHAT, "tp4", 1, 0.0)
    world.apply(scale("tp4", 1, 2), 0.0)
    world.advance(0.0, 5.0, {CHAT: no_requests()})
    world.apply(scale("tp4", 2, 1), 5.0)
    world.advance(5.0, 10.0, {CHAT: no_requests()})
    assert sum(world.free_gpus) == 48 - 4
    assert max(world.free_gpus) <= 8
    assert world.gpu_seconds == pytest.approx((8 + 4) * 5.0)


def test_a_drained_instance_finishes_what_it_has() -> None:
    one = scenario()
    world = one.world([one.pools[0]])
    world.start_ready(CHAT, "tp4", 2, 0.0)
    stream = steady(4.0, 20)
    world.advance(0.0, 20.0, {CHAT: stream})
    victim = world.pools[CHAT].instances[0].name
    world.apply(scale("tp4", 2, 1, (victim,)), 20.0)
    for second in range(20, 120, 5):
        world.advance(second, second + 5, {CHAT: no_requests()})
    world.pools[CHAT].collect()
    assert sum(len(f) for f in world.pools[CHAT].finished) == len(stream)


def test_requests_without_an_instance_count_as_missed() -> None:
    one = scenario()
    chat = one.pools[0]
    world = one.world([chat])
    policy = Constant("Nothing", {CHAT: Setting("tp4", 0, 1980)})
    entry = summarise(Replay(world, policy, {CHAT: steady(1.0, 60)}, Timing(duration_s=60.0)).run())
    assert entry["shedRequests"] == 60


def test_equal_shares_reach_every_instance_and_energy_adds_up() -> None:
    one = scenario()
    chat = one.pools[0]
    world = one.world([chat])
    policy = Constant("Two", {CHAT: Setting("tp4", 2, 1980)})
    replay = Replay(world, policy, {CHAT: steady(5.0, 300)}, Timing(duration_s=300.0))
    entry = summarise(replay.run())
    totals = [i.engine.counters().requests_total for i in world.pools[CHAT].instances if i.engine is not None]
    assert abs(totals[0] - totals[1]) <= 20
    assert entry["meanGpus"] == pytest.approx(8.0)
    idle_floor_kwh = 2 * 4 * 90 * 300 / 3.6e6
    assert idle_floor_kwh < float(str(entry["gpuKilowattHours"])) < 8 * 700 * 300 / 3.6e6
    fleet, gpu = float(str(entry["fleetKilowattHours"])), float(str(entry["gpuKilowattHours"]))
    assert fleet - gpu == pytest.approx(40 * 69 * 300 / 3.6e6)


def test_what_happens_in_the_lead_is_served_and_not_counted() -> None:
    one = scenario()
    policy = Constant("Two", {CHAT: Setting("tp4", 2, 1980)})
    stream = steady(5.0, 300)
    whole, cut = (
        summarise(Replay(one.world([one.pools[0]]), policy, {CHAT: stream}, timing).run())
        for timing in (Timing(duration_s=300.0), Timing(duration_s=200.0, lead_s=100.0))
    )
    assert requests(whole) - requests(cut) == len(stream.between(0, 100 * NS_PER_S))
    assert cut["meanGpus"] == whole["meanGpus"]
    assert float(str(cut["gpuKilowattHours"])) == pytest.approx(
        2 / 3 * float(str(whole["gpuKilowattHours"])), rel=0.05
    )


def test_a_policy_sees_no_poll_before_its_time() -> None:
    one = scenario()
    seen: list[float] = []
    policy = Constant("Two", {CHAT: Setting("tp4", 2, 1980)})
    timing = Timing(duration_s=60.0, lead_s=60.0, policy_from_s=45.0)
    replay = Replay(one.world([one.pools[0]]), policy, {CHAT: steady(1.0, 120)}, timing)
    replay.on_poll = lambda now_s, world, demand: seen.append(now_s)
    replay.run()
    assert seen == [45.0, 60.0, 75.0, 90.0, 105.0, 120.0]


def requests(entry: dict[str, object]) -> int:
    pools = entry["pools"]
    assert isinstance(pools, dict)
    return sum(int(pool["requests"]) for pool in pools.values())
