"""Whose replicas they are, cell by cell: what Joulery did, what it says, and what the applier meets.

All cells that were chosen are played at once under one controller; each test then judges its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import pytest_asyncio

from controller_cluster import ControllerProcess, apply, bare_nodes
from fake_prometheus import FakePrometheus
from joulery.emulator.cluster_access import Cluster
from joulery.emulator.controlplane import ControlPlane
from ownership_cells import CELLS, Applier, Cell, Next, Outcome, Says
from ownership_play import SCALED_OBJECTS_CRD, Matrix, Played

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

# More pools under one controller would only make each of its cycles longer.
_AT_ONCE = 24

# Played by every run; all others by the soak.
HANDFUL = {
    (Applier.KUBECTL, Says.REPLICAS, Next.DROP),
    (Applier.KUBECTL_SERVER, Says.NOTHING, Next.SCALE_DOWN),
    (Applier.KUBECTL_SERVER, Says.NOTHING, Next.SCALED_OBJECT),
    (Applier.KUBECTL_REPLACE, Says.NOTHING, Next.SAME),
    (Applier.HELM_3, Says.REPLICAS, Next.SAME),
    (Applier.HELM_4, Says.ADOPTED, Next.SAME),
    (Applier.ARGO_SERVER, Says.ADOPTED, Next.AGAIN),
    (Applier.FLUX, Says.REPLICAS, Next.NOTHING),
}


def _params() -> list[object]:
    return [
        pytest.param(c, id=c.name, marks=() if (c.applier, c.says, c.then) in HANDFUL else pytest.mark.soak)
        for c in CELLS
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    request: pytest.FixtureRequest,
    installed: Cluster,
    prometheus: FakePrometheus,
    controller: ControllerProcess,
) -> AsyncIterator[Mapping[Cell, Played]]:
    """What became of every cell whose test runs."""
    if not isinstance(installed, ControlPlane):
        pytest.skip("another cluster's audit log is not ours to read")
    items = (i for i in request.session.items if i.path == request.path)
    chosen = list(dict.fromkeys(i.callspec.params["cell"] for i in items))
    apply(installed, SCALED_OBJECTS_CRD)
    found: dict[Cell, Played] = {}
    async with bare_nodes(installed.kubeconfig, _AT_ONCE, gpus=64):
        for first in range(0, len(chosen), _AT_ONCE):
            matrix = Matrix(installed, prometheus, f"matrix-{first}")
            found |= await _played(matrix, chosen[first : first + _AT_ONCE])
        yield found
    installed.kubectl("delete", "crd", SCALED_OBJECTS_CRD["metadata"]["name"])


async def _played(matrix: Matrix, cells: Sequence[Cell]) -> dict[Cell, Played]:
    try:
        releases = await asyncio.to_thread(matrix.prepare, cells)
        return await matrix.play(releases)
    finally:
        matrix.prometheus.loads.clear()
        matrix.plane.kubectl("delete", "namespace", matrix.namespace, "--wait=false")


@pytest.mark.parametrize("cell", _params())
async def test_outcome_for_both_sides(played: Mapping[Cell, Played], cell: Cell) -> None:
    found = played[cell]
    outcome = Outcome(found.stand.replicas, found.stand.reason, found.writes, found.sees)
    assert outcome == cell.outcome, found.stand.message


@pytest.mark.parametrize("cell", _params())
async def test_condition_names_object_and_cure_for_that_applier(
    played: Mapping[Cell, Played], cell: Cell
) -> None:
    message = played[cell].stand.message
    assert cell.name in message
    assert cell.cure in message


@pytest.mark.parametrize("cell", _params())
async def test_events_are_posted_once_each(played: Mapping[Cell, Played], cell: Cell) -> None:
    assert {reason: played[cell].events[reason] for reason in cell.events} == cell.events
