"""All engines together: routing, clocks, energy, and what is left of a killed pod."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emulated import fetch, pod_spec, pool_truth
from joulery.emulator.addresses import PodAddresses
from joulery.emulator.engines import EmulatedEngines
from joulery.emulator.gpus import ClockLock, NodeGpus
from joulery.emulator.meters import EMPTY_GPU_W, NodeMeters
from joulery.emulator.nodes import emulated_nodes
from joulery.emulator.pods import PodSpec
from joulery.emulator.targets import TargetsFile
from joulery.errors import ConfigError
from joulery.serving.engine import Engine
from serving_cases import instance as instance_model

NS = 1_000_000_000
POOL = "default/chat"
NODE = "emulated-gpu-0"


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[EmulatedEngines]:
    meters = {node.name: NodeMeters(node, tmp_path / f"{node.name}.state") for node in emulated_nodes(1, 8)}
    made = EmulatedEngines([pool_truth()], meters, TargetsFile(tmp_path / "targets.json"), PodAddresses())
    yield made
    for name in ("a", "b"):
        made.stop(f"uid-{name}")
    for meter in meters.values():
        meter.close()


async def serve(engines: EmulatedEngines, name: str, gpus: tuple[int, ...]) -> tuple[PodSpec, str]:
    pod = pod_spec(name, gpus=len(gpus))
    address = engines.start(pod, gpus)
    await engines.listen(pod.uid)
    engines.take_requests(pod.uid)
    return pod, address


def arrive(engines: EmulatedEngines, count: int, outputs: int = 50) -> None:
    every_ns = NS // 100
    times = engines.now_ns + every_ns * np.arange(1, count + 1)
    engines.accounts[POOL].traffic.schedule(times, np.full(count, 200), np.full(count, outputs))


def live(engines: EmulatedEngines, seconds: float) -> None:
    end_ns = engines.now_ns + round(seconds * NS)
    while engines.now_ns < end_ns:
        engines.tick(min(engines.now_ns + NS // 40, end_ns))
    engines.meter()


def prompt_tokens(page: str) -> float:
    return float(
        next(line for line in page.splitlines() if line.startswith("vllm:prompt_tokens_total")).split()[1]
    )


async def test_ready_pods_get_equal_shares_and_finish_everything(engines: EmulatedEngines) -> None:
    addresses = [
        (await serve(engines, name, gpus))[1] for name, gpus in {"a": (0, 1, 2, 3), "b": (4, 5, 6, 7)}.items()
    ]
    arrive(engines, 20)
    live(engines, 10)
    assert engines.accounts[POOL].traffic.outcome().finished == 20
    pages = [await fetch(address, 8000) for address in addresses]
    assert [prompt_tokens(page) for _, page in pages] == [2000.0, 2000.0]


async def test_a_draining_pod_gets_nothing_new(engines: EmulatedEngines) -> None:
    await serve(engines, "a", (0, 1, 2, 3))
    b, address = await serve(engines, "b", (4, 5, 6, 7))
    await engines.drain(b.uid)
    arrive(engines, 10)
    live(engines, 5)
    assert prompt_tokens((await fetch(address, 8000))[1]) == 0.0
    assert engines.accounts[POOL].traffic.outcome().finished == 10


async def test_requests_of_a_killed_pod_finish_at_another_and_count_from_their_arrival(
    engines: EmulatedEngines,
) -> None:
    await serve(engines, "a", (0, 1, 2, 3))
    b, _ = await serve(engines, "b", (4, 5, 6, 7))
    arrive(engines, 10, outputs=300)
    live(engines, 1)
    engines.stop(b.uid)
    live(engines, 15)
    outcome = engines.accounts[POOL].traffic.outcome()
    assert (outcome.finished, outcome.retried, outcome.failed) == (10, 5, 0)
    # Killed 0.9 s and more after they arrived: their first token came from the other pod.
    assert int((outcome.ttft_ns > 0.9 * NS).sum()) == 5


async def test_a_new_pod_counts_from_zero(engines: EmulatedEngines) -> None:
    pod, address = await serve(engines, "a", (0, 1, 2, 3))
    arrive(engines, 10)
    live(engines, 5)
    assert prompt_tokens((await fetch(address, 8000))[1]) == 2000.0
    engines.stop(pod.uid)
    _, address = await serve(engines, "a", (0, 1, 2, 3))
    assert prompt_tokens((await fetch(address, 8000))[1]) == 0.0


async def test_energy_of_pool_and_empty_gpus_makes_up_the_fleet(engines: EmulatedEngines) -> None:
    await serve(engines, "a", (0, 1, 2, 3))
    arrive(engines, 50)
    live(engines, 10)
    account = engines.accounts[POOL]
    assert engines.fleet_energy_j == pytest.approx(account.energy_j + 4 * 10 * EMPTY_GPU_W)
    assert account.gpu_seconds == pytest.approx(40.0)
    engines.stop("uid-a")
    live(engines, 1)
    assert engines.fleet_energy_j == pytest.approx(account.energy_j + (4 * 10 + 8) * EMPTY_GPU_W)


async def test_nvml_shows_clock_power_and_energy_of_what_runs(
    engines: EmulatedEngines, tmp_path: Path
) -> None:
    await serve(engines, "a", (0, 1, 2, 3))
    arrive(engines, 200, outputs=500)
    live(engines, 1.0)
    with NodeGpus(tmp_path / f"{NODE}.state") as gpus:
        busy, empty = gpus.shown(0), gpus.shown(7)
        assert (busy.clock_mhz, busy.utilization_percent) == (1980, 100)
        assert busy.power_w > 2 * empty.power_w
        assert empty.power_w == pytest.approx(EMPTY_GPU_W, abs=0.01)
        assert busy.energy_j * 4 == pytest.approx(engines.accounts[POOL].energy_j, rel=1e-3)
        assert empty.clock_mhz < 1980


async def test_the_lowest_lock_of_a_group_clocks_its_engine_until_it_is_reset(
    engines: EmulatedEngines, tmp_path: Path
) -> None:
    await serve(engines, "a", (0, 1, 2, 3))
    account = engines.accounts[POOL]
    with NodeGpus(tmp_path / f"{NODE}.state") as gpus:
        gpus.set_lock(2, ClockLock(210, 1200))
        live(engines, 0.1)
        assert engines.instances(account)[0].clock_mhz == 1200
        gpus.set_lock(2, None)
        live(engines, 0.1)
    assert engines.instances(account)[0].clock_mhz == 1980
    assert account.clock_changes == 2


async def test_only_engines_that_answer_are_scraped(engines: EmulatedEngines, tmp_path: Path) -> None:
    pod = pod_spec("a")
    address = engines.start(pod, (0, 1, 2, 3))
    targets = tmp_path / "targets.json"
    assert json.loads(targets.read_text()) == []
    await engines.listen(pod.uid)
    assert json.loads(targets.read_text())[0]["targets"] == [f"{address}:8000"]
    engines.stop(pod.uid)
    assert json.loads(targets.read_text()) == []


def test_a_tensor_parallel_size_without_parameters_is_refused_by_name(engines: EmulatedEngines) -> None:
    with pytest.raises(ConfigError, match="no TP1 on H100-SXM-80GB"):
        engines.start(pod_spec("a", gpus=1), (0,))


def test_a_pod_of_no_known_pool_holds_gpus_and_runs_no_engine(engines: EmulatedEngines) -> None:
    engines.start(pod_spec("a", namespace="elsewhere"), (0, 1, 2, 3))
    live(engines, 1)
    assert engines.instances(engines.accounts[POOL]) == []
    assert engines.fleet_energy_j == pytest.approx(8 * EMPTY_GPU_W)


@pytest.mark.parametrize("tick_ns", [NS // 40, NS // 7, 2 * NS])
async def test_an_engine_lives_here_exactly_as_in_a_replay_however_time_is_cut(
    engines: EmulatedEngines, tick_ns: int
) -> None:
    await serve(engines, "a", (0, 1, 2, 3))
    rng = np.random.default_rng(2)
    arrivals = np.sort(rng.integers(1, 8 * NS, 60))
    inputs, outputs = rng.integers(1, 4000, 60), rng.integers(1, 300, 60)
    engines.accounts[POOL].traffic.schedule(arrivals, inputs, outputs)
    while engines.now_ns < 40 * NS:
        engines.tick(engines.now_ns + tick_ns)
    replayed = Engine(instance_model(4), token_budget=2048, max_num_seqs=256, clock_mhz=1980)
    replayed.submit_many(arrivals, inputs, outputs, np.arange(60))
    replayed.advance(40 * NS)
    done = replayed.take_finished()
    order = np.argsort(done.tag)
    outcome = engines.accounts[POOL].traffic.outcome()
    assert outcome.ttft_ns.tolist() == done.ttft_ns[order].tolist()
    assert outcome.finish_ns.tolist() == done.finish_ns[order].tolist()


def test_two_pools_that_no_pod_could_tell_apart_are_refused(tmp_path: Path) -> None:
    pools = [pool_truth(name="one"), pool_truth(name="two")]
    with pytest.raises(ConfigError, match="two pools of namespace default serve llama"):
        EmulatedEngines(pools, {}, TargetsFile(tmp_path / "targets.json"), PodAddresses())


async def test_restarted_engine_counts_from_zero_and_its_requests_are_tried_again(
    engines: EmulatedEngines,
) -> None:
    pod, address = await serve(engines, "a", (0, 1, 2, 3))
    arrive(engines, 20, outputs=400)
    live(engines, 0.5)
    energy_j = engines.fleet_energy_j
    engines.restart(pod.key)
    _, page = await fetch(address, 8000)
    assert re.findall(r"^vllm:prompt_tokens_total\S* (\S+)$", page, re.MULTILINE) == ["0.0"]
    live(engines, 20.0)
    assert engines.accounts[POOL].traffic.outcome().finished == 20
    assert engines.fleet_energy_j > energy_j


async def test_hidden_pages_are_not_found_until_they_are_shown(engines: EmulatedEngines) -> None:
    pod, address = await serve(engines, "a", (0, 1, 2, 3))
    engines.hide_pages(pod.key)
    assert (await fetch(address, 8000))[0] == 404
    engines.show_pages(pod.key)
    assert (await fetch(address, 8000))[0] == 200


def test_nothing_goes_wrong_in_a_pod_that_is_not_there(engines: EmulatedEngines) -> None:
    with pytest.raises(ConfigError, match="no engine serves"):
        engines.restart(pod_spec("nobody").key)


def test_reloaded_driver_forgets_locks_and_counts_energy_from_zero(tmp_path: Path) -> None:
    (node,) = emulated_nodes(1, 2)
    meters = NodeMeters(node, tmp_path / "state")
    with NodeGpus(meters.path) as gpus:
        gpus.set_lock(0, ClockLock(210, 1200))
        meters.burn((0,), 500.0)
        meters.reload()
        meters.burn((0,), 7.0)
        meters.show(0, clock_mhz=None, busy=False, elapsed_s=1.0)
        assert gpus.lock(0) is None
        assert gpus.shown(0).energy_j == 7.0
    assert meters.energy_j == 507.0
    meters.close()
