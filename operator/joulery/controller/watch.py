"""kopf handlers: they wake the planner and keep no objects.

No index (one forbidden kind with an index would block the events of all kinds, and objects deleted during an
outage would stay in it for ever) and no handler that writes (kopf would add annotations and finalizers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from joulery.api.labels import GROUP, VERSION

# Only what people change; pods have a watch of their own, GPUNode status changes every few seconds, and an
# autoscaler is seen by the next snapshot.
_WATCHED = (
    (GROUP, VERSION, "inferencepools"),
    (GROUP, VERSION, "energypolicies"),
    (GROUP, VERSION, "energyprofiles"),
    ("apps", "v1", "deployments"),
)


class SpecChanges:
    """Tells changes of a specification from changes of status, our own writes among them."""

    def __init__(self) -> None:
        self._generations: dict[str, int | None] = {}

    def is_news(self, event_type: str | None, metadata: dict[str, Any]) -> bool:
        """Whether an event brings a new, gone or respecified object."""
        uid, generation = metadata["uid"], metadata.get("generation")
        if event_type == "DELETED":
            self._generations.pop(uid, None)
            return True
        known = uid in self._generations and self._generations[uid] == generation
        self._generations[uid] = generation
        return not known


def register(registry: kopf.OperatorRegistry, wake: Callable[[], None]) -> None:
    """Register a waking handler for every watched kind, by full resource name."""
    changes = SpecChanges()

    async def on_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's own keyword
        if changes.is_news(type, dict(body["metadata"])):
            wake()

    for group, version, plural in _WATCHED:
        kopf.on.event(group, version, plural, registry=registry)(on_event)
