"""kopf ends where discovery is refused; it is started again, and nothing else ends with it."""

from __future__ import annotations

import asyncio
import gc
import logging

import kopf
import pytest

from fake_api import FakeApi, api, client
from joulery.controller.following import follow_for_ever, kopf_settings, report_unheard
from joulery.controller.login import login_with
from joulery.controller.watch import register
from joulery.telemetry.logs import JsonFormatter

__all__ = ["api"]
REFUSED = {"kind": "Status", "message": "unsupported media type"}
NOTHING = (200, {"versions": [], "groups": []})


@pytest.mark.parametrize("status", [400, 404, 415])
async def test_refused_discovery_is_tried_again_and_ends_no_other_task(
    api: FakeApi, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    refused, asked_again, woken = (status, REFUSED), asyncio.Event(), asyncio.Event()

    def answered(_: object) -> tuple[int, object]:
        asked_again.set()
        return NOTHING

    api.answers |= {("GET", "/api"): [refused, refused, answered], ("GET", "/apis"): NOTHING}
    bystander = asyncio.create_task(asyncio.Event().wait())
    registry = kopf.OperatorRegistry()
    register(registry, woken.set)
    login_with(registry, client(api))
    following = asyncio.create_task(follow_for_ever(registry, woken.set))
    async with asyncio.timeout(20.0):
        await asked_again.wait()
        await woken.wait()
    assert not following.done()
    assert not bystander.done()
    told = [r for r in caplog.records if r.name == "joulery.controller.following"]
    assert len(told) == 2
    assert "unsupported media type" in told[0].__dict__["error"]
    for task in (following, bystander):
        task.cancel()
    await asyncio.wait([following, bystander], timeout=15.0)
    assert following.cancelled()


async def test_what_fails_beside_it_is_not_shown_and_what_is_ours_is(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    asked_again = asyncio.Event()

    def answered(_: object) -> tuple[int, object]:
        asked_again.set()
        return NOTHING

    for path in ("/api", "/apis"):
        api.answers["GET", path] = [(415, REFUSED), (415, REFUSED), answered]
    registry = kopf.OperatorRegistry()
    register(registry, lambda: None)
    login_with(registry, client(api))
    following = asyncio.create_task(follow_for_ever(registry, lambda: None))
    await asyncio.wait_for(asked_again.wait(), 20.0)
    gc.collect()
    assert not [r for r in caplog.records if r.name == "asyncio"]
    ours: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ours.set_exception(ValueError("ours"))
    del ours
    gc.collect()
    assert [r.exc_info[0] for r in caplog.records if r.name == "asyncio" and r.exc_info] == [ValueError]
    following.cancel()
    await asyncio.wait([following], timeout=15.0)


async def test_what_kopf_raises_in_a_callback_is_not_shown_and_what_we_raise_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, both = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(report_unheard)
    loop.call_soon(kopf.append_owner_reference, {})  # nobody to own it: raised by kopf
    loop.call_soon([].pop)
    loop.call_soon(both.set)
    await both.wait()
    shown = [r.exc_info[1] for r in caplog.records if r.name == "asyncio" and r.exc_info]
    assert [str(error) for error in shown] == ["pop from empty list"]


def test_kopf_never_kills_the_process() -> None:
    assert kopf_settings().process.ultimate_exiting_timeout is None


def test_insides_of_kopf_are_not_shown() -> None:
    try:
        raise ValueError("inside")
    except ValueError as error:
        of = (type(error), error, error.__traceback__)
    record = logging.makeLogRecord(
        {"name": "kopf._core.reactor", "msg": "observer has failed", "exc_info": of}
    )
    assert "exception" not in JsonFormatter().format(record)
