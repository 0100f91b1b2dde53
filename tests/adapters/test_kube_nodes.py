"""When a GPUNode is written, made, emptied or given its owner."""

from __future__ import annotations

from typing import Any

import pytest

from fake_api import FakeApi, client
from joulery.adapters.kube_nodes import KubeNodes
from joulery.api.convert import gpu_node_manifest
from joulery.domain import reasons
from joulery.domain.clock_table import ClockRow, ClockTable
from joulery.domain.plan import Binding, NodeDirective
from joulery.ports import WriteOutcome

PATH = "/apis/joulery.dev/v1alpha1/gpunodes/node-0"
TABLE = ClockTable("chat-tp4", (ClockRow(1000.0, 200.0, 1200),), 990, 1980)
BINDING = Binding("uid-a", "llm", "a", "127.1.0.1", 8000, "/metrics", "chat-tp4")
BOUND = NodeDirective("node-0", "p-1", (TABLE,), (BINDING,))
EMPTY = NodeDirective("node-0", "p-1", (), ())
OWNED = gpu_node_manifest(BOUND, "uid-of-node-0")


async def write(
    api: FakeApi, directive: NodeDirective, current: dict[str, Any] | None, uid: str | None = "uid-of-node-0"
) -> WriteOutcome:
    nodes = KubeNodes(client(api), lambda _: current, lambda _: uid)
    return (await nodes.write([directive]))["node-0"]


def written(api: FakeApi) -> list[Any]:
    return [seen.body for seen in api.of("PATCH", PATH)]


@pytest.fixture(autouse=True)
def accepting(api: FakeApi) -> None:
    api.answers["PATCH", PATH] = (200, {})


async def test_node_without_bindings_gets_no_object(api: FakeApi) -> None:
    outcome = await write(api, EMPTY, None)
    assert not outcome.done
    assert written(api) == []


async def test_object_is_made_for_bindings_and_owned_by_its_node(api: FakeApi) -> None:
    assert (await write(api, BOUND, None)).done
    (body,) = written(api)
    assert body["spec"]["bindings"][0]["podUID"] == "uid-a"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-of-node-0"


async def test_object_that_exists_is_emptied(api: FakeApi) -> None:
    assert (await write(api, EMPTY, OWNED)).done
    (body,) = written(api)
    assert not body["spec"].get("bindings")


async def test_equal_object_is_left_alone_also_under_another_plan(api: FakeApi) -> None:
    later = NodeDirective("node-0", "p-2", BOUND.tables, BOUND.bindings)
    assert not (await write(api, later, OWNED)).done
    assert written(api) == []


async def test_object_made_by_its_agent_is_given_to_its_node(api: FakeApi) -> None:
    made_by_agent = {"metadata": {"name": "node-0"}, "spec": {}}
    assert (await write(api, EMPTY, made_by_agent)).done
    (body,) = written(api)
    assert body["metadata"]["ownerReferences"][0]["name"] == "node-0"


async def test_object_of_a_node_made_anew_changes_its_owner(api: FakeApi) -> None:
    assert (await write(api, BOUND, OWNED, uid="another-uid")).done


async def test_object_of_an_unknown_node_is_left_without_owner(api: FakeApi) -> None:
    made_by_agent = {"metadata": {"name": "node-0"}, "spec": {}}
    assert not (await write(api, EMPTY, made_by_agent, uid=None)).done


@pytest.mark.parametrize(("status", "reason"), [(403, reasons.WRITE_REFUSED), (503, reasons.API_UNAVAILABLE)])
async def test_refused_directive_is_a_verdict(api: FakeApi, status: int, reason: str) -> None:
    api.answers["PATCH", PATH] = (status, {"message": "why"})
    outcome = await write(api, BOUND, None)
    assert (outcome.done, outcome.verdict.reason) == (False, reason)
