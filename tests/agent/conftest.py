"""A node for each test, in a folder short enough for a socket's path."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fake_node import FakeNode


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    with tempfile.TemporaryDirectory(prefix="joulery-") as folder:
        made = FakeNode(Path(folder))
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
