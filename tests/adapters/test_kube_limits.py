"""What bounds pools is read within two lists a cycle; a missing kind or right is named and fails nothing."""

from __future__ import annotations

import pytest

from fake_api import FakeApi, client
from joulery.adapters.kube_limits import LimitReader
from joulery.domain import reasons
from joulery.errors import UnavailableError

QUOTAS, BUDGETS = "/api/v1/resourcequotas", "/apis/policy/v1/poddisruptionbudgets"
NODEPOOLS = "/apis/karpenter.sh/v1/nodepools"
AUTOSCALER = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"
NOBODY = (404, {"message": "not found"})


class Time:
    """Seconds that the test turns."""

    def __init__(self) -> None:
        self.s = 1000.0

    def now_s(self) -> float:
        return self.s


@pytest.fixture
def plain(api: FakeApi) -> FakeApi:
    """Quotas and budgets, and nobody who adds nodes."""
    api.answers["GET", QUOTAS] = (200, {"items": [{"metadata": {"name": "gpus"}}]})
    api.answers["GET", BUDGETS] = (200, {"items": []})
    api.answers["GET", NODEPOOLS] = NOBODY
    api.answers["GET", AUTOSCALER] = NOBODY
    return api


async def test_missing_autoscalers_are_no_trouble(plain: FakeApi) -> None:
    found = await LimitReader(client(plain)).read()
    assert [q["metadata"]["name"] for q in found.quotas] == ["gpus"]
    assert (found.nodepools, found.autoscaler_status, found.unread) == ([], None, ())


async def test_autoscalers_are_asked_for_once_a_minute_and_limits_every_time(plain: FakeApi) -> None:
    time = Time()
    reader = LimitReader(client(plain), now_s=time.now_s)
    for step_s in (0.0, 30.0, 31.0):
        time.s += step_s
        await reader.read()
    assert len(plain.of("GET", QUOTAS)) == 3
    assert len(plain.of("GET", BUDGETS)) == 3
    assert len(plain.of("GET", NODEPOOLS)) == 2
    assert len(plain.of("GET", AUTOSCALER)) == 2


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (QUOTAS, "may not read ResourceQuotas"),
        (BUDGETS, "may not read PodDisruptionBudgets"),
        (NODEPOOLS, "may not read Karpenter's NodePools"),
        (AUTOSCALER, "may not read the status of cluster-autoscaler"),
    ],
)
async def test_missing_right_is_a_note_with_its_time_and_cure(plain: FakeApi, path: str, words: str) -> None:
    plain.answers["GET", path] = (403, {"message": "no"})
    reader = LimitReader(client(plain))
    (note,) = (await reader.read()).unread
    assert note.reason == reasons.NOT_READ
    assert words in note.message
    assert "apply the RBAC of this release" in note.message
    assert (await reader.read()).unread == (note,)


async def test_server_that_fails_is_not_taken_for_no_limits(plain: FakeApi) -> None:
    plain.answers["GET", BUDGETS] = (500, {"message": "down"})
    with pytest.raises(UnavailableError):
        await LimitReader(client(plain)).read()


async def test_autoscaler_that_cannot_be_read_anew_is_remembered(plain: FakeApi) -> None:
    time = Time()
    reader = LimitReader(client(plain), now_s=time.now_s)
    plain.answers["GET", AUTOSCALER] = (200, {"data": {"status": "x"}})
    await reader.read()
    plain.answers["GET", AUTOSCALER] = (500, {"message": "down"})
    plain.answers["GET", NODEPOOLS] = (429, {"message": "storage is (re)initializing"})
    time.s += 100.0
    assert (await reader.read()).autoscaler_status == {"data": {"status": "x"}}
