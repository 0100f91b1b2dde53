"""When requests of a schedule arrive: from now on, or at times of the model that were said ahead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from joulery.emulator.control import ControlServer
from joulery.emulator.control_client import EmulatorControl


@dataclass
class FakeWorld:
    """Model time 100 s, and what was scheduled."""

    config: Any
    nodes: tuple[Any, ...] = ()
    now_s: float = 100.0
    scheduled: list[tuple[str, list[float]]] = field(default_factory=list)

    def submit_schedule(self, pool: str, arrival_s: Any, inputs: Any, outputs: Any) -> None:
        self.scheduled.append((pool, arrival_s.tolist()))


@pytest.mark.parametrize(
    ("when", "starts_s"), [({"delay_s": 2.0}, 102.0), ({"start_s": 130.0}, 130.0)], ids=["delay", "time"]
)
async def test_schedule_starts_when_it_was_asked_to(
    tmp_path: Path, when: dict[str, float], starts_s: float
) -> None:
    world = FakeWorld(SimpleNamespace(data=tmp_path))
    arrivals, tokens = np.array([0.0, 0.5]), np.array([10, 10])
    async with ControlServer(world, tmp_path / "outcomes"):  # type: ignore[arg-type]
        control = EmulatorControl(tmp_path)
        answer = await asyncio.to_thread(control.submit, "llm/chat", arrivals, tokens, tokens, **when)
    assert answer == starts_s
    assert world.scheduled == [("llm/chat", [starts_s, starts_s + 0.5])]
