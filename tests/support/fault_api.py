"""Faults of the API server: down, slow, refusing, cut off."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from fault_scene import Scene
from fault_stage import Fault
from joulery.domain import reasons
from live_centre import wait_for

ROW = "API server down or slow; 409, 429, 5xx; watch lost"

Strike = Callable[[Scene], None]


def _refused(status: int) -> Strike:
    def strike(scene: Scene) -> None:
        with scene.centre.api.spoilt(status=status):
            scene.held_up(reasons.API_UNAVAILABLE)

    return strike


def _killed(scene: Scene) -> None:
    scene.centre.plane.kill("kube-apiserver")
    scene.held_up(reasons.API_UNAVAILABLE)
    scene.centre.plane.restart("kube-apiserver")


def _frozen(scene: Scene) -> None:
    scene.centre.plane.suspend("kube-apiserver")
    time.sleep(5.0)  # the length of the fault
    scene.centre.plane.resume("kube-apiserver")


def _slow(scene: Scene) -> None:
    with scene.centre.api.spoilt(delay_s=0.5):
        scene.goes_on(1)


def _cut(scene: Scene) -> None:
    with scene.centre.api.spoilt(hangs_up=True):
        scene.centre.api.cut()
        scene.held_up(reasons.API_UNAVAILABLE)


def _watches_cut(scene: Scene) -> None:
    scene.centre.api.cut()
    scene.goes_on()


def _is_watch(request: web.Request) -> bool:
    return request.query.get("watch") == "true"


def _history_gone(scene: Scene) -> None:
    """Every watch is answered `410 Gone`: all must list anew, again and again, until it is over."""
    with scene.centre.api.spoilt(status=410, touches=_is_watch):
        scene.centre.api.cut()
        scene.goes_on(3)


def _is_write(request: web.Request) -> bool:
    return request.method in ("PATCH", "POST", "PUT")


def _writes_conflict(scene: Scene) -> None:
    with scene.centre.api.spoilt(status=409, touches=_is_write):
        wait_for("the conflict shows", lambda: scene.readiness() not in ("", "Ready\n"))


def _answers_lost(scene: Scene) -> None:
    """Writes are done and their answers lost: what is repeated must not be done twice."""
    with scene.centre.api.spoilt(loses_answer=True, touches=_is_write):
        wait_for("lost answers show", lambda: scene.readiness() not in ("", "Ready\n"))


def _etcd(scene: Scene) -> None:
    scene.centre.plane.restart("etcd")


def _discovery_refused(scene: Scene) -> None:
    """What lists kinds is refused while the operator starts: it plans all the same."""
    with scene.centre.api.spoilt(status=415, touches=lambda r: r.path in ("/api", "/apis")):
        lines = len(scene.live.log_lines())
        scene.restart_controller()
        wait_for(
            "the refusal is told",
            lambda: any("followed again" in x["message"] for x in scene.live.log_lines()[lines:]),
        )
        scene.goes_on()
        assert not [x for x in scene.live.log_lines()[lines:] if "exception" in x]


FAULTS = (
    Fault("api-server-killed", ROW, _killed),
    Fault("api-server-frozen", ROW, _frozen),
    Fault("api-server-slow", ROW, _slow),
    *(Fault(f"api-server-answers-{s}", ROW, _refused(s)) for s in (429, 500, 503)),
    Fault("api-writes-conflict", ROW, _writes_conflict),
    Fault("api-answers-lost", ROW, _answers_lost),
    Fault("api-line-cut", ROW, _cut),
    Fault("watches-cut", ROW, _watches_cut),
    Fault("watch-history-gone", ROW, _history_gone),
    Fault("etcd-restarted", ROW, _etcd),
    Fault("discovery-refused", ROW, _discovery_refused),
)
