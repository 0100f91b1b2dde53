"""Live figures are cut to the seconds of traffic and comparable with a replay's."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.demo.live import emulator_config, live_figures, live_timelines
from joulery.demo.summary import agreement
from joulery.demo.timing import DemoTiming
from joulery.emulator.control_client import RecordedOutcomes
from joulery.simulator.result import summarise
from joulery.simulator.scenario import WORKLOADS, Scenario
from joulery.simulator.truth import shipped_profile

NS = 1_000_000_000
START_S = 30.0


def scenario() -> Scenario:
    profile = shipped_profile()
    return Scenario(profile, profile, 6.0, seed=3)


def outcomes() -> RecordedOutcomes:
    seconds = np.arange(0.0, 60.0)
    arrays = {"timeline|time_s": seconds, "timeline|fleet_energy_j": 5000.0 * seconds}
    for name in WORKLOADS:
        pool = f"serving/{name}"
        arrays |= {f"timeline|{pool}|energy_j": 1000.0 * seconds, f"timeline|{pool}|gpus": np.full(60, 8.0)}
        arrays |= {f"timeline|{pool}|clock_mhz": np.full(60, 1500.0)}
        arrays |= {f"timeline|{pool}|tp{size}": np.full(60, float(size == 4)) for size in (1, 2, 4, 8)}
        arrays[f"{pool}|arrival_ns"] = np.array([31, 32, 33]) * NS
        arrays[f"{pool}|finish_ns"] = np.array([35 * NS, 36 * NS, -1])
        arrays[f"{pool}|ttft_ns"] = np.array([NS, 3 * NS, -1])
        arrays[f"{pool}|tpot_ns"] = np.array([NS // 50, NS // 50, -1])
        arrays[f"{pool}|input_tokens"] = np.array([100, 200, 300])
        arrays[f"{pool}|output_tokens"] = np.array([10, 20, 30])
    summary = {"pools": {f"serving/{name}": {"clockChanges": 5} for name in WORKLOADS}}
    return RecordedOutcomes(summary, arrays)


def test_energy_counts_from_the_first_to_the_last_second_of_traffic() -> None:
    entry = summarise(live_figures(scenario(), outcomes(), START_S, 20.0))
    assert entry["gpuKilowattHours"] == pytest.approx(2 * 20 * 1000 / 3.6e6)
    assert entry["meanGpus"] == pytest.approx(16.0)


def test_an_unfinished_request_counts_as_missed() -> None:
    pools = summarise(live_figures(scenario(), outcomes(), START_S, 20.0))["pools"]
    assert isinstance(pools, dict)
    assert pools["chat"]["requests"] == 3
    assert pools["chat"]["attainmentPercent"] == pytest.approx(100 / 3, abs=1e-3)  # 3 s and never both miss


def test_timelines_begin_with_the_traffic() -> None:
    lines = live_timelines(scenario(), outcomes(), START_S, 20.0)
    chat = lines["chat"]
    assert isinstance(chat, dict)
    assert chat["seconds"][0] == 1.0
    assert chat["seconds"][-1] == 20.0
    assert set(chat["watts"]) == {1000.0}
    assert chat["replicas"]["tp4"][0] == 1


def test_live_and_replay_are_compared_in_percent_and_points() -> None:
    live = {
        "gpuKilowattHours": 1.05,
        "fleetKilowattHours": 2.0,
        "pools": {"a": {"attainmentPercent": 99.0}, "b": {"attainmentPercent": 98.5}},
    }
    replay = {
        "gpuKilowattHours": 1.0,
        "fleetKilowattHours": 2.0,
        "pools": {"a": {"attainmentPercent": 99.5}, "b": {"attainmentPercent": 99.0}},
    }
    assert agreement(live, replay) == pytest.approx(
        {"gpuEnergyPercent": 5.0, "fleetEnergyPercent": 0.0, "attainmentPoints": -0.5}
    )


def test_the_emulator_runs_the_scenarios_pools_with_its_seed() -> None:
    config = emulator_config(scenario())
    assert config["seed"] == 3
    pools = config["pools"]
    assert isinstance(pools, list)
    assert [p["name"] for p in pools] == list(WORKLOADS)


def test_the_squeeze_follows_from_the_live_seconds() -> None:
    timing = DemoTiming()
    assert timing.squeeze * timing.live_s == pytest.approx(86_400)
    assert timing.replay_timing.demand_poll_s == timing.cadence.demand_poll_s


def test_requests_of_the_lead_are_not_counted() -> None:
    pools = summarise(live_figures(scenario(), outcomes(), START_S + 2.5, 20.0))["pools"]
    assert isinstance(pools, dict)
    assert pools["chat"]["requests"] == 1
