"""How long a pod lets running answers end, as its specification says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from joulery.api.termination import grace_s, waits_s
from joulery.demo.objects import drain_hook


def spec(hook: dict[str, Any] | None = None, *arguments: str, **more: Any) -> dict[str, Any]:
    engine: dict[str, Any] = {"args": list(arguments), "resources": {"limits": {"nvidia.com/gpu": "4"}}}
    if hook is not None:
        engine["lifecycle"] = {"preStop": hook}
    return {"containers": [{"name": "sidecar", "lifecycle": {"preStop": {"exec": {}}}}, engine], **more}


@pytest.mark.parametrize(
    ("hook", "arguments", "seconds"),
    [
        (None, (), 0.0),
        ({"sleep": {"seconds": 15}}, (), 15.0),
        ({"exec": {"command": ["/bin/sleep", "15"]}}, (), 15.0),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 20"]}}, (), 20.0),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 5; wait-until-idle"]}}, (), math.inf),
        ({"httpGet": {"path": "/drain", "port": 8000}}, (), math.inf),
        (drain_hook(), (), math.inf),
        (None, ("--shutdown-timeout=300",), 300.0),
        (None, ("--shutdown-timeout", "300", "--port=1"), 300.0),
        ({"sleep": {"seconds": 15}}, ("--shutdown-timeout=300",), 315.0),
        (None, ("--shutdown-timeout=soon",), 0.0),
    ],
    ids=str,
)
def test_hook_and_engine_wait_one_after_the_other(
    hook: dict[str, Any] | None, arguments: tuple[str, ...], seconds: float
) -> None:
    assert waits_s(spec(hook, *arguments)) == seconds


def test_the_weakest_engine_container_counts_and_sidecars_do_not() -> None:
    strong, weak = spec({"sleep": {"seconds": 60}}), spec({"sleep": {"seconds": 10}})
    both = {"containers": [*strong["containers"], weak["containers"][1]]}
    assert waits_s(both) == 10.0


def test_without_gpus_the_first_container_is_the_engine() -> None:
    hook = {"sleep": {"seconds": 7}}
    assert waits_s({"containers": [{"lifecycle": {"preStop": hook}}, {}]}) == 7.0
    assert waits_s({"containers": []}) == 0.0


def test_grace_period_is_kubernetes_own_where_none_is_named() -> None:
    assert grace_s(spec()) == 30.0
    assert grace_s(spec(terminationGracePeriodSeconds=0)) == 0.0
