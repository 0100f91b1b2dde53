"""What people see: the columns of `kubectl get`, short names, and the texts of `kubectl explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import api_cases as cases
from joulery.api.crd import definition
from joulery.api.v1alpha1.kinds import INFERENCE_POOL, KINDS, Kind
from joulery.emulator.cluster_access import Cluster

pytestmark = pytest.mark.e2e


@pytest.fixture
def reported_pool(served: Cluster, judge: Any) -> Iterator[Cluster]:
    manifest = cases.pool()
    assert judge.refusal(manifest, store=True) is None
    status = {key: manifest[key] for key in ("apiVersion", "kind")}
    status |= {"metadata": {"name": "chat"}, "status": cases.pool_status()}
    served.kubectl(
        "apply", "--server-side", "--subresource=status", "--field-manager=joulery",
        "-n", "default", "-f", "-", stdin=json.dumps(status),
    )  # fmt: skip
    yield served
    judge.remove(manifest)


def test_columns_say_what_an_on_call_wants_first(reported_pool: Cluster) -> None:
    shown = reported_pool.kubectl("get", "jpool", "-n", "default").stdout.splitlines()
    assert shown[0].split() == ["NAME", "MODE", "READY", "REPLICAS", "TP", "CLOCK", "WATTS", "SLO", "AGE"]
    words = shown[1].split()
    assert words[:9] == ["chat", "Act", "True", "3/4", "TP4x3", "1410", "MHz", "5120/5300", "99.42%"]


def test_a_pool_without_mode_shows_observe(served: Cluster, judge: Any) -> None:
    manifest = cases.minimal_pool()
    assert judge.refusal(manifest, store=True) is None
    try:
        shown = served.kubectl("get", "inferencepools.joulery.dev", "chat", "-n", "default", "--no-headers")
        assert shown.stdout.split()[1] == "Observe"
    finally:
        judge.remove(manifest)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_short_names_are_served(served: Cluster, kind: Kind) -> None:
    assert "error" not in served.kubectl("get", kind.short_name, "--all-namespaces").stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_explain_tells_unit_and_default(served: Cluster, kind: Kind) -> None:
    text = " ".join(served.kubectl("explain", f"{kind.plural}.joulery.dev.spec").stdout.split())
    version = definition(kind)["spec"]["versions"][0]
    for name, field in version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].items():
        assert name in text
        assert " ".join(field["description"].split()) in text


def test_explain_reaches_the_innermost_field(served: Cluster) -> None:
    path = f"{INFERENCE_POOL.plural}.joulery.dev.spec.requestClasses.objective.timeToFirstTokenMilliseconds"
    text = " ".join(served.kubectl("explain", path).stdout.split())
    assert "in milliseconds. Required." in text
