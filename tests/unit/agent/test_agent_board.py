"""The board: intent before the lock, parallel and bounded calls, and no reset of what is not ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fake_gpu import FakeGpu
from joulery.agent.board import GpuBoard
from joulery.agent.gpu import GpuError, GpuTrouble
from joulery.agent.metrics import AgentMetrics
from joulery.agent.record import Target
from joulery.agent.state import StateFile
from joulery.agent.worker import DeviceWorker
from joulery.domain import reasons
from joulery.domain.verdict import Verdict

LOW = Target(1200, 1200, Verdict(reasons.CLOCK_APPLIED, "low load"))
UNBOUND = Verdict(reasons.NO_BINDING, "nobody")
BOOT = "boot-1"


class Bench:
    """A board of two fake GPUs over a real state file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "locked-gpus.json"
        self.gpus = {uuid: FakeGpu(uuid, index) for index, uuid in enumerate(("GPU-a", "GPU-b"))}
        self.workers = [DeviceWorker(gpu, limit_s=0.2) for gpu in self.gpus.values()]
        self.board = GpuBoard(self.workers, StateFile(folder, BOOT), AgentMetrics())

    def named(self) -> list[str]:
        return json.loads(self.file.read_text())["locked"] if self.file.exists() else []


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for gpu in made.gpus.values():
        gpu.gate.set()
    made.board.stop()


async def test_intent_is_on_disk_before_the_driver_is_called(bench: Bench) -> None:
    seen: list[list[str]] = []
    gpu = bench.gpus["GPU-a"]
    gpu.lock = lambda highest_mhz: seen.append(bench.named())  # type: ignore[method-assign]
    await bench.board.pursue({"GPU-a": LOW, "GPU-b": UNBOUND})
    assert seen == [["GPU-a"]]


async def test_equal_target_is_not_set_again_and_a_lost_one_is_reset(bench: Bench) -> None:
    for _ in range(3):
        await bench.board.pursue({"GPU-a": LOW, "GPU-b": UNBOUND})
    await bench.board.pursue({"GPU-a": UNBOUND, "GPU-b": UNBOUND})
    assert bench.gpus["GPU-a"].calls == ["lock 1200", "reset"]
    assert bench.gpus["GPU-b"].calls == []
    assert bench.named() == []


async def test_state_file_that_cannot_be_written_forbids_locks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bench = Bench(tmp_path / "file" / "below")
    await bench.board.pursue({"GPU-a": LOW, "GPU-b": UNBOUND})
    assert bench.gpus["GPU-a"].calls == []
    assert "writable" in bench.board.records["GPU-a"].shown_verdict.message
    bench.board.stop()


async def test_refused_first_lock_leaves_nothing_to_reset(bench: Bench) -> None:
    bench.gpus["GPU-a"].trouble = GpuTrouble.NOT_PERMITTED
    await bench.board.pursue({"GPU-a": LOW, "GPU-b": LOW})
    assert bench.board.records["GPU-a"].shown_verdict.reason == reasons.CLOCK_REFUSED
    assert bench.named() == ["GPU-b"]


async def test_hung_lock_stays_ours_because_it_may_still_take_hold(bench: Bench) -> None:
    bench.gpus["GPU-a"].gate.clear()
    await bench.board.pursue({"GPU-a": LOW, "GPU-b": LOW})
    assert bench.board.stuck() == ("GPU-a",)
    assert bench.named() == ["GPU-a", "GPU-b"]
    assert bench.gpus["GPU-b"].calls == ["lock 1200"]


async def test_failed_reset_is_kept_and_tried_again(bench: Bench) -> None:
    await bench.board.pursue({"GPU-a": LOW, "GPU-b": UNBOUND})
    bench.gpus["GPU-a"].trouble = GpuTrouble.OTHER
    assert not await bench.board.reset_all(UNBOUND)
    assert bench.named() == ["GPU-a"]
    bench.gpus["GPU-a"].trouble = None
    assert await bench.board.reset_all(UNBOUND)
    assert bench.named() == []


async def test_only_what_the_file_of_this_boot_names_is_reset_at_start(tmp_path: Path) -> None:
    StateFile(tmp_path, BOOT).store(["GPU-b"])
    same = Bench(tmp_path)
    await same.board.reset_all(UNBOUND)
    assert (same.gpus["GPU-a"].calls, same.gpus["GPU-b"].calls) == ([], ["reset"])
    same.board.stop()
    StateFile(tmp_path, "boot-0").store(["GPU-b"])
    other = Bench(tmp_path)
    await other.board.reset_all(UNBOUND)
    assert other.gpus["GPU-b"].calls == []
    other.board.stop()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 2}', '{"version": 1, "bootId": "boot-1"}'])
def test_broken_state_file_names_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "locked-gpus.json").write_text(content)
    assert StateFile(tmp_path, BOOT).load() == frozenset()


async def test_worker_refuses_calls_while_a_late_one_is_out_and_skips_orders_given_up(bench: Bench) -> None:
    worker, gpu = bench.workers[0], bench.gpus["GPU-a"]
    gpu.gate.clear()
    with pytest.raises(GpuError) as hung:
        await worker.call(lambda device: device.lock(900))
    assert hung.value.trouble is GpuTrouble.STUCK
    with pytest.raises(GpuError, match="has not returned"):
        await worker.call(lambda device: device.lock(1000))
    gpu.gate.set()
    async with asyncio.timeout(5):
        while worker.is_stuck:  # noqa: ASYNC110 - the thread has no event to wait for
            await asyncio.sleep(0.01)
    await worker.call(lambda device: device.reset())
    assert gpu.calls == ["lock 900", "reset"], "the refused order never reached the GPU"
