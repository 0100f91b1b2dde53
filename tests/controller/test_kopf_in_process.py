"""kopf in our process with a registry of its own: handlers wake, write nothing, and keep no index."""

from __future__ import annotations

from itertools import islice
from typing import Any

import kopf
import pytest

from joulery.controller.following import Forever, kopf_settings
from joulery.controller.watch import SpecChanges, register


class Registered:
    """A registry with our handlers, and how often they woke."""

    def __init__(self) -> None:
        self.registry = kopf.OperatorRegistry()
        self.wakes = 0
        register(self.registry, self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    async def event(self, kind: str | None, generation: int, uid: str = "a") -> int:
        """Deliver one event as kopf does; the wakes so far."""
        handler = self.registry._watching.get_all_handlers()[0]
        body = kopf.Body({"metadata": {"uid": uid, "generation": generation}})
        result: Any = handler.fn(type=kind, body=body)
        await result
        return self.wakes


def test_only_watching_handlers_are_registered() -> None:
    registry = Registered().registry
    assert len(registry._watching.get_all_handlers()) == 4
    for writing in (registry._changing, registry._indexing, registry._spawning, registry._webhooks):
        assert not writing.get_all_handlers()


async def test_new_respecified_and_deleted_objects_wake_and_status_does_not() -> None:
    registered = Registered()
    assert await registered.event(None, 1) == 1
    assert await registered.event("MODIFIED", 1) == 1
    assert await registered.event("MODIFIED", 2) == 2
    assert await registered.event("DELETED", 2) == 3
    assert await registered.event("ADDED", 2) == 4


async def test_relist_after_an_outage_wakes_only_for_what_changed() -> None:
    registered = Registered()
    for uid in ("a", "b"):
        await registered.event(None, 1, uid)
    for uid, generation in (("a", 1), ("b", 2)):
        await registered.event(None, generation, uid)
    assert registered.wakes == 3


def test_registries_do_not_share_what_they_saw() -> None:
    one, other = SpecChanges(), SpecChanges()
    assert one.is_news(None, {"uid": "a", "generation": 1})
    assert other.is_news(None, {"uid": "a", "generation": 1})


def test_kopf_posts_no_events_and_never_gives_up() -> None:
    settings = kopf_settings()
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is False
    assert isinstance(settings.networking.error_backoffs, Forever)


@pytest.mark.parametrize("skipped", [0, 1000])
def test_backoff_is_endless_and_never_above_three_seconds(skipped: int) -> None:
    delays_s = list(islice(Forever(), skipped, skipped + 10))
    assert len(delays_s) == 10
    assert max(delays_s) <= 3.0
