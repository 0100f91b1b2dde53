"""Log lines are JSON, one a line, with the plan in force and every extra field."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from joulery.telemetry.logs import PLAN_ID, JsonFormatter


@pytest.fixture(autouse=True)
def no_plan() -> Iterator[None]:
    token = PLAN_ID.set(None)
    yield
    PLAN_ID.reset(token)


def line(message: str = "scaled", exc_info: Any = None, **extra: object) -> dict[str, Any]:
    logger = logging.getLogger("joulery.test")
    record = logger.makeRecord(
        logger.name, logging.WARNING, __file__, 1, message, (), exc_info, extra=extra or None
    )
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_line_has_time_level_logger_and_message_and_no_more() -> None:
    found = line()
    assert (found["level"], found["logger"], found["message"]) == ("WARNING", "joulery.test", "scaled")
    assert found["time"].endswith("+00:00")
    assert set(found) == {"time", "level", "logger", "message"}


def test_extra_fields_stand_beside_the_message() -> None:
    assert line(pool="llm/chat", want=3)["want"] == 3


def test_plan_in_force_is_in_every_line() -> None:
    PLAN_ID.set("p-7")
    assert line()["plan_id"] == "p-7"


def test_field_that_is_no_json_is_written_as_text() -> None:
    assert line(where=ValueError("odd"))["where"] == "odd"


def test_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        found = line(exc_info=sys.exc_info())
    assert "ValueError: broken" in found["exception"]
