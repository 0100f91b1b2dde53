"""What `kubectl describe` shows of a pool in trouble: every condition that is not met, word for word.

The words are in `described/`, one file per trouble, read and approved by hand; there a time is <time>, a node or
a pod's random suffix is <node> or <pod>, and what was measured is <n>.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from controller_cluster import ControllerProcess, apply, deployment, eventually, pool
from controller_stage import Stage
from fake_prometheus import FakePrometheus
from joulery.emulator.cluster_access import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

DESCRIBED = Path(__file__).parent / "described"
# The stage has no agents and engines of one latency, so these two say the same of every pool.
OF_THE_STAGE = ("NodeAgentsReady", "SLOMet")
# On a machine that is busy, pools pass for longer through other troubles before they show the one that is meant.
WITHIN_S = 120.0
ANNOTATION = "emulator.joulery.dev/startup-seconds"
CHANCE = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ": "<time>",
    r"\b(chat-tp\d)-[a-z0-9]+-[a-z0-9]{5}\b": r"\1-<pod>",
    r"emulated-gpu-\d+": "<node>",
    r"\b\d+ s\b": "<n> s",
    r"\b\d+ % of the planned peak": "<n> % of the planned peak",
    r"peak of [\d.]+": "peak of <n>",
}
Template = dict[str, Any]


def _with_template(stage: Stage, spoil: Callable[[Template], None]) -> None:
    workload = deployment(stage.name, "chat-tp4", gpus=4)
    spoil(workload["spec"]["template"])
    apply(stage.cluster, workload, pool(stage.name))


def _profile_is_missing(stage: Stage) -> None:
    stage.put(profileRef={"name": "llama-3.1-405b-fp8"})


def _metrics_are_old(stage: Stage) -> None:
    stage.load.age_s = 60.0
    stage.put()


def _objective_is_out_of_reach(stage: Stage) -> None:
    objective = {"timeToFirstTokenMilliseconds": 500, "timePerOutputTokenMilliseconds": 1}
    tokens = {"inputTokens": {"minimum": 1, "maximum": 8192}, "outputTokens": {"minimum": 1, "maximum": 8192}}
    stage.put(requestClasses=[{"name": "All", **tokens, "objective": objective}])


def _quota_is_used_up(stage: Stage) -> None:
    stage.cluster.kubectl("create", "quota", "gpus", f"-n={stage.name}", "--hard=requests.nvidia.com/gpu=4")
    stage.load.requests_per_s = 20.0
    stage.put()


def _no_node_fits(stage: Stage) -> None:
    _with_template(stage, lambda t: t["spec"].update(nodeSelector={"pool": "nowhere"}))


def _engine_never_gets_ready(stage: Stage) -> None:
    _with_template(stage, lambda t: t["metadata"]["annotations"].update({ANNOTATION: "86400"}))


def _autoscaler_owns_replicas(stage: Stage) -> None:
    stage.put()
    stage.cluster.kubectl("autoscale", "deployment/chat-tp4", f"-n={stage.name}", "--min=1", "--max=1")


def _applier_declares_replicas(stage: Stage) -> None:
    stage.put(scaling={})


def _flags_differ_from_the_profile(stage: Stage) -> None:
    _with_template(stage, lambda t: t["spec"]["containers"][0].update(args=["--max-num-seqs=512"]))


def _answers_would_be_cut_off(stage: Stage) -> None:
    _with_template(stage, lambda t: t["spec"]["containers"][0].pop("lifecycle"))


def _workload_is_missing(stage: Stage) -> None:
    apply(stage.cluster, pool(stage.name))


TROUBLES: Mapping[str, Callable[[Stage], None]] = {
    "profile-missing": _profile_is_missing,
    "metrics-old": _metrics_are_old,
    "objective-out-of-reach": _objective_is_out_of_reach,
    "quota-used-up": _quota_is_used_up,
    "no-node-fits": _no_node_fits,
    "never-ready": _engine_never_gets_ready,
    "autoscaled": _autoscaler_owns_replicas,
    "declared": _applier_declares_replicas,
    "flags-differ": _flags_differ_from_the_profile,
    "answers-cut-off": _answers_would_be_cut_off,
    "workload-missing": _workload_is_missing,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def troubled(
    installed: Cluster, prometheus: FakePrometheus, nodes: None, controller: ControllerProcess
) -> AsyncIterator[Mapping[str, Stage]]:
    """A pool in each trouble, all at once: they also show that one pool's trouble is not another's."""
    _remove_nodes_of_others(installed)
    stages = {name: Stage(installed, prometheus, f"in-trouble-{name}") for name in TROUBLES}
    for name, stage in stages.items():
        TROUBLES[name](stage)
    yield stages
    for stage in stages.values():
        prometheus.loads.remove(stage.load)
        installed.kubectl("delete", "namespace", stage.name, "--wait=false")


@pytest.mark.parametrize("name", TROUBLES)
async def test_the_description_names_cause_object_since_when_and_cure(
    troubled: Mapping[str, Stage], name: str
) -> None:
    wanted = (DESCRIBED / f"{name}.txt").read_text()
    shown = ""

    def is_told() -> bool:
        nonlocal shown
        shown = described(troubled[name])
        return shown == wanted

    try:
        await eventually(is_told, within_s=WITHIN_S)
    except AssertionError:
        lines = difflib.unified_diff(wanted.splitlines(), shown.splitlines(), "wanted", "shown", lineterm="")
        pytest.fail("\n".join(lines))


def _remove_nodes_of_others(cluster: Cluster) -> None:
    """Nodes that other modules left behind would be counted in the scheduler's words."""
    names = cluster.kubectl("get", "nodes", "-o=name").stdout.split()
    others = [name for name in names if not name.startswith("node/emulated-gpu-")]
    if others:
        cluster.kubectl("delete", *others, "--wait=true")


def described(stage: Stage) -> str:
    """The conditions that are not True as `kubectl describe` prints them, with what differs by run left out."""
    text = stage.cluster.kubectl("describe", "inferencepools.joulery.dev", "chat", f"-n={stage.name}").stdout
    body = re.search(r"^  Conditions:\n((?:    .*\n)+)", text, re.MULTILINE)
    blocks = re.split(r"(?=^    Last Transition Time:)", body.group(1) if body else "", flags=re.MULTILINE)
    return _without_chance("".join(b for b in blocks if _is_unmet(b)))


def _is_unmet(block: str) -> bool:
    told = dict(re.findall(r"^    (Status|Type): +(\w+)$", block, re.MULTILINE))
    return bool(told) and told["Status"] != "True" and told["Type"] not in OF_THE_STAGE


def _without_chance(text: str) -> str:
    for pattern, shown in CHANCE.items():
        text = re.sub(pattern, shown, text)
    return text
