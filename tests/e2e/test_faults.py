"""Faults on one running data centre: each shows what design §12 demands, and the system is whole again after it.

A few in every run, all of them in `make soak`, which writes build/soak.json.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fault_agents
import fault_api
import fault_malformed
import fault_metrics
import fault_nodes
import fault_objects
import fault_owners
import fault_processes
import fault_rights
from cluster import REPOSITORY
from fault_stage import Fault, FaultStage, Outcome, run_fault, store

CATALOG = (
    *(fault_api.FAULTS + fault_rights.FAULTS + fault_metrics.FAULTS),
    *(fault_processes.FAULTS + fault_agents.FAULTS + fault_nodes.FAULTS),
    *(fault_objects.FAULTS + fault_malformed.FAULTS + fault_owners.FAULTS),
)
FAULTS = {fault.name: fault for fault in CATALOG}
SHORT = ("api-server-answers-503", "watches-cut", "operator-killed", "agent-killed")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStage]:
    running = FaultStage(lambda: tmp_path_factory.mktemp("faults"))
    yield running
    running.discard()


@pytest.mark.e2e
@pytest.mark.parametrize("name", SHORT)
def test_fault_is_lived_through(stage: FaultStage, name: str) -> None:
    tried(stage, FAULTS[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", FAULTS)
def test_fault_of_the_campaign_is_lived_through(stage: FaultStage, name: str) -> None:
    outcome = Outcome(name, FAULTS[name].row)
    try:
        tried(stage, FAULTS[name], outcome)
    finally:
        store(REPOSITORY / "build" / "soak.json", [outcome], FAULTS)


def tried(stage: FaultStage, fault: Fault, outcome: Outcome | None = None) -> None:
    """One fault; a stage that it leaves broken is not used again."""
    outcome = outcome or Outcome(fault.name, fault.row)
    try:
        run_fault(stage.scene(), fault, outcome)
    except BaseException as error:
        outcome.problem = f"{type(error).__name__}: {error}"[:400]
        stage.discard()
        raise
    finally:
        seconds = "" if outcome.recoverySeconds is None else f"{outcome.recoverySeconds:.1f} s"
        print(f"{fault.name:24} {outcome.outcome:10} {outcome.loadStepped:5} {seconds}{outcome.problem}")
    assert outcome.harm == {}
