"""Status is applied where it differs, pruned to what the installed CRD knows, and failures are verdicts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fake_api import FakeApi, client
from fakes import CHAT, decision, demand, observation
from joulery.adapters.kube_status import KubeStatus
from joulery.api.crd import definition
from joulery.api.v1alpha1.kinds import INFERENCE_POOL
from joulery.controller.reports import reports_of
from joulery.domain import reasons
from joulery.ports import WriteOutcome

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/inferencepools.joulery.dev"
PATH = "/apis/joulery.dev/v1alpha1/namespaces/llm/inferencepools/chat/status"
(REPORT,) = reports_of(observation(), {CHAT: demand()}, decision(), {})


class Writer:
    """KubeStatus on one pool; the API server keeps what is applied."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.manifest: dict[str, Any] = {
            "metadata": {"name": "chat", "namespace": "llm", "resourceVersion": "1"},
            "spec": {"variants": [{"name": "tp4", "tensorParallelSize": 4}]},
        }
        self.status = KubeStatus(client(api), lambda _: self.manifest)
        api.answers["GET", CRD] = (200, definition(INFERENCE_POOL))
        api.answers["PATCH", PATH] = self._applied

    def _applied(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, {"metadata": {"resourceVersion": "2"}, "status": body["status"]}

    async def write(self) -> WriteOutcome:
        return (await self.status.write([REPORT]))[CHAT]

    @property
    def written(self) -> list[dict[str, Any]]:
        return [seen.body["status"] for seen in self.api.of("PATCH", PATH)]


def without_summary() -> dict[str, Any]:
    """The CRD of an older release, whose status had no columns."""
    crd = copy.deepcopy(definition(INFERENCE_POOL))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["status"]["properties"]["summary"]
    return crd


async def test_equal_status_is_written_once(api: FakeApi) -> None:
    writer = Writer(api)
    assert (await writer.write()).done
    assert (await writer.write()).done
    assert len(writer.written) == 1
    assert writer.written[0]["summary"]["shards"] == "TP4x2"


async def test_field_that_an_older_crd_lacks_is_dropped_and_named(api: FakeApi) -> None:
    writer = Writer(api)
    api.answers["GET", CRD] = (200, without_summary())
    outcome = await writer.write()
    assert "summary" not in writer.written[0]
    assert writer.written[0]["conditions"]
    assert outcome.verdict.reason == reasons.SCHEMA_SKEW
    assert "status.summary" in outcome.verdict.message
    assert "kubectl apply" in outcome.verdict.message


async def test_new_crd_ends_the_skew_without_a_restart(api: FakeApi) -> None:
    writer = Writer(api)
    api.answers["GET", CRD] = (200, without_summary())
    await writer.write()
    api.answers["GET", CRD] = (200, definition(INFERENCE_POOL))
    outcome = await writer.write()
    assert outcome.verdict.reason == reasons.ACTUATED
    assert "summary" in writer.written[-1]


async def test_schema_that_may_not_be_read_prunes_nothing(api: FakeApi) -> None:
    writer = Writer(api)
    api.answers["GET", CRD] = (403, {"message": "no"})
    assert (await writer.write()).done
    assert "summary" in writer.written[0]


@pytest.mark.parametrize(
    ("status", "done", "reason"),
    [
        (403, False, reasons.FORBIDDEN),
        (503, False, reasons.API_UNAVAILABLE),
        (404, True, reasons.ACTUATED),
    ],
    ids=["forbidden", "away", "pool is gone"],
)
async def test_refused_status_is_a_verdict(api: FakeApi, status: int, done: bool, reason: str) -> None:
    writer = Writer(api)
    api.answers["PATCH", PATH] = (status, {"message": "why"})
    outcome = await writer.write()
    assert (outcome.done, outcome.verdict.reason) == (done, reason)
