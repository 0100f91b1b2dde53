"""Actions of a live run, read back from what the API server and the controller recorded."""

from __future__ import annotations

from typing import Any

from joulery.demo.actions import counted, scale_writes, ups_after_downs

AT = "2026-11-21T10:00:{second:02d}.000000Z"


def event(second: int, seen: int, want: int, *, code: int = 200, target: str = "chat-tp4") -> dict[str, Any]:
    return {
        "verb": "patch",
        "userAgent": "joulery/0.1.0 plan/p1",
        "stageTimestamp": AT.format(second=second),
        "objectRef": {"namespace": "serving", "name": target, "subresource": "scale"},
        "responseStatus": {"code": code},
        "requestObject": [
            {"op": "test", "path": "/spec/replicas", "value": seen or None},
            {"op": "replace" if seen else "add", "path": "/spec/replicas", "value": want},
        ],
    }


def test_only_answered_patches_of_scale_count() -> None:
    refused = event(1, 2, 3, code=422)
    status = {**event(2, 2, 3), "objectRef": {"namespace": "serving", "name": "x", "subresource": "status"}}
    writes = list(scale_writes([refused, status, event(3, 0, 4), event(4, 4, 1)]))
    assert [(w.seen, w.want) for w in writes] == [(0, 4), (4, 1)]
    assert writes[1].at_s - writes[0].at_s == 1.0
    assert writes[0].user_agent.endswith("plan/p1")


def test_an_up_soon_after_a_down_of_the_same_target_is_counted() -> None:
    events = [event(0, 4, 3), event(5, 3, 4), event(6, 1, 2, target="code-tp2"), event(50, 4, 5)]
    assert ups_after_downs(scale_writes(events), dwell_s=20.0) == 1
    assert ups_after_downs(scale_writes(events), dwell_s=2.0) == 0


def test_plans_and_effective_writes_are_counted_by_kind_and_reason() -> None:
    page = """# TYPE joulery_plans_total counter
joulery_plans_total{kind="Epoch"} 7.0
joulery_plans_total{kind="UpOnly"} 2.0
# TYPE joulery_scale_writes_total counter
joulery_scale_writes_total{done="true",namespace="s",pool="a",reason="ScaleUp",variant="tp2"} 3.0
joulery_scale_writes_total{done="true",namespace="s",pool="b",reason="ScaleUp",variant="tp2"} 1.0
joulery_scale_writes_total{done="false",namespace="s",pool="b",reason="ReplicasMoved",variant="tp2"} 9.0
"""
    plans, writes = counted(page)
    assert plans == {"Epoch": 7, "UpOnly": 2}
    assert writes == {"ScaleUp": 4}
