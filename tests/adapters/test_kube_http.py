"""HTTP contract with the API server: what is sent, what is repeated, and how refusals are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from fake_api import FakeApi, client
from fakes import CHAT, scale_up
from joulery.adapters.kube_actuator import KubeActuator
from joulery.adapters.kube_actuator import (
    tested_patch as patch_with_test,  # pytest collects what begins with test
)
from joulery.adapters.kube_client import KubeClient
from joulery.adapters.kube_discovery import Discovery
from joulery.adapters.kube_errors import NotFoundError, RefusedError
from joulery.adapters.kube_events import KubeEvents
from joulery.adapters.kube_lease import KubeLease
from joulery.adapters.pod_watch import PodWatch
from joulery.domain import reasons
from joulery.domain.plan import ScaleChange
from joulery.domain.verdict import Verdict
from joulery.errors import ConflictError, ForbiddenError, UnavailableError

SCALE = "/apis/apps/v1/namespaces/llm/deployments/chat-tp4/scale"


def actuator(api: FakeApi) -> KubeActuator:
    return KubeActuator(client(api), Discovery(client(api)))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, RefusedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_answers_become_our_errors_with_the_servers_words(
    api: FakeApi, status: int, error: type[Exception]
) -> None:
    api.answers["GET", "/api/v1/pods"] = (status, {"message": "the reason why"})
    with pytest.raises(error, match=r"listing /api/v1/pods.*the reason why"):
        await client(api).list_all("/api/v1/pods")


async def test_overloaded_server_is_asked_again(api: FakeApi) -> None:
    api.answers["GET", "/api/v1/pods"] = [(429, {}), (503, {}), (200, {"items": []})]
    assert await client(api).list_all("/api/v1/pods") == {"items": []}
    assert len(api.seen) == 3


async def test_refusals_are_not_repeated(api: FakeApi) -> None:
    api.answers["GET", "/api/v1/pods"] = (403, {"message": "no"})
    with pytest.raises(ForbiddenError):
        await client(api).list_all("/api/v1/pods")
    assert len(api.seen) == 1


async def test_lists_come_from_the_watch_cache(api: FakeApi) -> None:
    api.answers["GET", "/api/v1/pods"] = (200, {"items": []})
    await client(api).list_all("/api/v1/pods")
    assert api.seen[0].query == {"resourceVersion": "0"}


async def test_server_that_is_gone_is_unavailable(api: FakeApi) -> None:
    gone = KubeClient(ApiClient(Configuration(host="http://127.0.0.1:1")))
    with pytest.raises(UnavailableError, match="reading /x"):
        await gone.get("/x")
    await gone.close()


async def test_frozen_server_is_given_up_on(api: FakeApi) -> None:
    hasty = KubeClient(ApiClient(Configuration(host=client(api).connection.server)), timeout_s=0.0001)
    with pytest.raises(UnavailableError):
        await hasty.get("/apis/apps/v1")
    await hasty.close()


async def test_scale_tests_the_value_decided_on_and_carries_the_plan(api: FakeApi) -> None:
    api.answers["PATCH", SCALE] = (200, {})
    outcome = await actuator(api).scale(scale_up(), "p-7")
    assert outcome.done
    sent = api.of("PATCH", SCALE)[0]
    assert sent.body == [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]
    assert sent.headers["Content-Type"] == "application/json-patch+json"
    assert sent.headers["User-Agent"].endswith(" plan/p-7")
    assert sent.query == {"fieldManager": "joulery"}


def patched(scale: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What the API server makes of a patch on `/spec/replicas`, None where it answers 422.

    An absent value equals null, and is there to be added but not to be replaced.
    """
    spec = dict(scale["spec"])
    for operation in operations:
        assert operation["path"] == "/spec/replicas"
        if operation["op"] == "test" and spec.get("replicas") != operation["value"]:
            return None
        if operation["op"] == "replace" and "replicas" not in spec:
            return None
        if operation["op"] in ("add", "replace"):
            spec["replicas"] = operation["value"]
    return {"spec": spec}


@pytest.mark.parametrize(
    ("scale", "seen", "want", "after"),
    [
        ({"spec": {"replicas": 2}}, 2, 3, {"spec": {"replicas": 3}}),
        ({"spec": {"replicas": 3}}, 3, 0, {"spec": {"replicas": 0}}),
        ({"spec": {}}, 0, 3, {"spec": {"replicas": 3}}),
        ({"spec": {}}, 2, 3, None),
        ({"spec": {"replicas": 2}}, 0, 3, None),
        ({"spec": {"replicas": 4}}, 2, 3, None),
    ],
    ids=["up", "to none", "from none", "gone to none", "no longer none", "moved"],
)
def test_patch_takes_hold_only_where_replicas_are_as_seen(
    scale: dict[str, Any], seen: int, want: int, after: dict[str, Any] | None
) -> None:
    assert patched(scale, patch_with_test(seen, want)) == after


@pytest.mark.parametrize(
    ("scale", "seen", "want"), [({"spec": {}}, 0, 3), ({"spec": {"replicas": 3}}, 3, 0)], ids=["0-3", "3-0"]
)
async def test_workload_leaves_zero_and_returns_to_it(
    api: FakeApi, scale: dict[str, Any], seen: int, want: int
) -> None:
    api.answers["PATCH", SCALE] = lambda body: (200, after) if (after := patched(scale, body)) else (422, {})
    outcome = await actuator(api).scale(scale_up(seen=seen, want=want), "p-7")
    assert outcome.done, outcome.verdict


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (422, reasons.REPLICAS_MOVED),
        (404, reasons.TARGET_NOT_FOUND),
        (403, reasons.WRITE_REFUSED),
        (503, reasons.API_UNAVAILABLE),
    ],
)
async def test_refused_scale_is_a_verdict_not_an_exception(api: FakeApi, status: int, reason: str) -> None:
    api.answers["PATCH", SCALE] = (status, {"message": "why"})
    outcome = await actuator(api).scale(scale_up(), "p-7")
    assert (outcome.done, outcome.verdict.reason) == (False, reason)


def scale_down() -> ScaleChange:
    up = scale_up(seen=3, want=2)
    return ScaleChange(CHAT, up.variant, up.target, 3, 2, reasons.SCALE_DOWN, "load falls", ("pod-a",))


async def test_victims_are_marked_before_the_scale(api: FakeApi) -> None:
    pod = "/api/v1/namespaces/llm/pods/pod-a"
    api.answers["PATCH", SCALE] = (200, {})
    api.answers["PATCH", pod] = (200, {})
    await actuator(api).scale(scale_down(), "p-7")
    assert [s.path for s in api.seen if s.method == "PATCH"] == [pod, SCALE]
    annotations = api.of("PATCH", pod)[0].body["metadata"]["annotations"]
    assert int(annotations["controller.kubernetes.io/pod-deletion-cost"]) < 0


async def test_marks_of_a_refused_scale_are_taken_back(api: FakeApi) -> None:
    pod = "/api/v1/namespaces/llm/pods/pod-a"
    api.answers["PATCH", SCALE] = (422, {"message": "test failed"})
    api.answers["PATCH", pod] = (200, {})
    await actuator(api).scale(scale_down(), "p-7")
    costs = [next(iter(s.body["metadata"]["annotations"].values())) for s in api.of("PATCH", pod)]
    assert costs[-1] is None


async def test_nothing_is_scaled_while_victims_cannot_be_marked(api: FakeApi) -> None:
    api.answers["PATCH", "/api/v1/namespaces/llm/pods/pod-a"] = (403, {"message": "no"})
    outcome = await actuator(api).scale(scale_down(), "p-7")
    assert not outcome.done
    assert api.of("PATCH", SCALE) == []


async def test_event_names_its_pool_and_repeats_are_dropped_for_two_minutes(api: FakeApi) -> None:
    path = "/apis/events.k8s.io/v1/namespaces/llm/events"
    api.answers["POST", path] = (201, {})
    now = [0.0]
    events = KubeEvents(client(api), lambda _: {"metadata": {"uid": "u-1"}}, lambda: now[0])
    long = Verdict(reasons.SCALE_UP, "x" * 2000)
    await events.emit(CHAT, long)
    await events.emit(CHAT, long)
    assert len(api.of("POST", path)) == 1
    body = api.of("POST", path)[0].body
    assert (body["regarding"]["uid"], len(body["note"])) == ("u-1", 1024)
    now[0] = 121.0
    await events.emit(CHAT, long)
    assert len(api.of("POST", path)) == 2


async def test_lease_is_created_where_absent_and_renewed_after(api: FakeApi) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/joulery-system/leases"
    api.answers["PATCH", f"{leases}/joulery"] = [(404, {}), (200, {})]
    api.answers["POST", leases] = (201, {})
    lease = KubeLease(client(api), "joulery-system")
    await lease.renew("p-1")
    await lease.renew("p-2")
    assert [s.method for s in api.seen] == ["PATCH", "POST", "PATCH"]
    assert api.seen[2].body["metadata"]["annotations"]["joulery.dev/plan-id"] == "p-2"


async def test_kind_that_appears_later_is_found_then(api: FakeApi) -> None:
    discovery = Discovery(client(api))
    assert await discovery.resolve("lws.x-k8s.io/v1", "LeaderWorkerSet") is None
    served = [
        {"name": "leaderworkersets", "kind": "LeaderWorkerSet"},
        {"name": "leaderworkersets/scale", "kind": "Scale"},
    ]
    api.answers["GET", "/apis/lws.x-k8s.io/v1"] = (200, {"resources": served})
    found = await discovery.resolve("lws.x-k8s.io/v1", "LeaderWorkerSet")
    assert found is not None
    assert found.scalable


async def test_pods_are_listed_until_the_watch_is_whole(api: FakeApi) -> None:
    api.answers["GET", "/api/v1/pods"] = (200, {"items": [{"metadata": {"uid": "a"}}]})
    watch = PodWatch(client(api), wake=_nothing)
    assert await watch.pods() == [{"metadata": {"uid": "a"}}]


_nothing: Callable[[], None] = lambda: None  # noqa: E731
