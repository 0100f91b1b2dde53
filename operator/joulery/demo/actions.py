"""What the controller did in a live run, from its own counters and the API server's audit log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from joulery.demo.datacentre import DataCentre
from joulery.domain.plan import PlanKind
from joulery.domain.reasons import RESHARD_SHRINK, RESHARD_SURGE, SCALE_DOWN, SCALE_UP


@dataclass(frozen=True, slots=True)
class ScaleWrite:
    """One answered patch of `/scale`."""

    at_s: float
    namespace: str
    target: str
    seen: int
    want: int
    user_agent: str


def scale_writes(events: Iterable[dict[str, object]]) -> Iterator[ScaleWrite]:
    """Successful tested patches of `/scale`, in the order of the audit log."""
    for event in cast("Iterable[dict[str, Any]]", events):
        reference = event.get("objectRef", {})
        is_patch = event.get("verb") == "patch" and reference.get("subresource") == "scale"
        body = event.get("requestObject")
        # `kubectl scale` sends a merge patch, an object; what is answered is not what a refused one asked.
        if not is_patch or not isinstance(body, list) or event.get("responseStatus", {}).get("code") != 200:
            continue
        test, write = body
        yield ScaleWrite(
            at_s=datetime.fromisoformat(event["stageTimestamp"].replace("Z", "+00:00")).timestamp(),
            namespace=reference["namespace"],
            target=reference["name"],
            seen=test["value"] or 0,
            want=write["value"],
            user_agent=event.get("userAgent", ""),
        )


def recorded_actions(centre: DataCentre, dwell_s: float) -> dict[str, int]:
    """Counts of plans and of scale changes by kind; an up within the dwell after a down is counted apart."""
    plans, writes = counted(centre.controller_metrics())
    return {
        "plans": sum(plans.get(kind.value, 0) for kind in (PlanKind.EPOCH, PlanKind.UP_ONLY)),
        "upOnlyPlans": plans.get(PlanKind.UP_ONLY.value, 0),
        "scaleUps": writes.get(SCALE_UP, 0),
        "scaleDowns": writes.get(SCALE_DOWN, 0),
        "reshardMoves": writes.get(RESHARD_SURGE, 0) + writes.get(RESHARD_SHRINK, 0),
        "upsAfterDowns": ups_after_downs(scale_writes(centre.plane.audit_events()), dwell_s),
    }


def ups_after_downs(writes: Iterable[ScaleWrite], dwell_s: float) -> int:
    """Ups of a target within the dwell after its own last down."""
    downs: dict[tuple[str, str], float] = {}
    count = 0
    for write in writes:
        target = (write.namespace, write.target)
        if write.want < write.seen:
            downs[target] = write.at_s
        elif write.at_s - downs.get(target, float("-inf")) < dwell_s:
            count += 1
    return count


def counted(page: str) -> tuple[dict[str, int], dict[str, int]]:
    """Plans by kind and effective scale writes by reason."""
    plans: dict[str, int] = {}
    writes: dict[str, int] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "joulery_plans_total":
                plans[sample.labels["kind"]] = int(sample.value)
            elif sample.name == "joulery_scale_writes_total" and sample.labels["done"] == "true":
                reason = sample.labels["reason"]
                writes[reason] = writes.get(reason, 0) + int(sample.value)
    return plans, writes
