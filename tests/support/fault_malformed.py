"""Malformed objects by the hundred: values drawn on the CRDs' own schemas, put into sound objects.

Each is refused by the API server, or not accepted by the operator, for that object alone; others go on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cluster import REPOSITORY
from controller_cluster import condition
from fault_scene import POOL, POOLS, Scene
from fault_stage import Fault
from joulery.demo import objects
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.policy import Policy
from joulery.simulator.truth import shipped_manifest
from live_centre import wait_for

ROW = "invalid or contradictory objects"
EACH = 60
Json = dict[str, Any]
Path = tuple[str | int, ...]
# A policy that named no namespaces would govern the pools on which all else is judged.
SPARED = {("spec", "namespaces"), ("spec", "priority")}
API = "/apis/joulery.dev/v1alpha1"


def _schema(plural: str) -> Json:
    crd = yaml.safe_load((REPOSITORY / "crds" / f"joulery.dev_{plural}.yaml").read_text())
    version = crd["spec"]["versions"][0]
    return dict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def _places(schema: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every field of a schema; of lists their first item."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from _places(below, (*path, name))
    if isinstance(schema.get("items"), Mapping):
        yield from _places(schema["items"], (*path, 0))


def _odd(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What does not belong there, and what is just beside what does."""
    edges = [schema[k] + d for k, d in (("minimum", -1), ("maximum", 1), ("maximum", 0)) if k in schema]
    edges += ["x" * (schema["maxLength"] + 1)] if "maxLength" in schema else []
    numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e12, 1e12))
    texts = st.one_of(
        st.text(max_size=20), st.sampled_from(["-1", "NaN", "1e400", "../..", "{{}}", "\u0000"])
    )
    shapes = st.sampled_from([None, True, [], {}, [{}], [None] * 70, {"a": {"b": 1}}])
    return st.one_of(numbers, texts, shapes, *([st.sampled_from(edges)] if edges else []))


@st.composite
def _malformed(draw: st.DrawFn, sound: Json, schema: Json) -> Json:
    places = [(p, s) for p, s in _places(schema, ("spec",)) if p not in SPARED]
    made = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        path, found = draw(st.sampled_from(places))
        _put(made, path, draw(_odd(found)))
    return made


def _put(made: Json, path: Path, value: Any) -> None:
    """Put a value, as far as what is there lets one."""
    where: Any = made
    for step in path[:-1]:
        if isinstance(step, int):
            if not isinstance(where, list) or not where:
                return
            where = where[0]
        elif isinstance(where, dict):
            where = where.setdefault(step, {})
        else:
            return
    last = path[-1]
    if isinstance(where, dict) and isinstance(last, str):
        where[last] = value
    elif isinstance(where, list) and isinstance(last, int):
        where[:1] = [value]


def _sound() -> dict[str, Json]:
    """One of each kind that touches nothing of ours."""
    targets = (replace(v, target=TargetRef("apps/v1", "Deployment", "nothing")) for v in POOL.variants)
    pool = replace(POOL, key=ObjectKey(POOL.key.namespace, "odd"), variants=tuple(targets))
    policy = Policy("odd", namespaces=("nowhere",))
    policy_manifest = objects.energy_policy(policy)
    policy_manifest["spec"]["namespaces"] = ["nowhere"]
    del policy_manifest["spec"]["cadence"]
    return {
        "inferencepools": objects.inference_pool(pool),
        "energyprofiles": copy.deepcopy(dict(shipped_manifest())),
        "energypolicies": policy_manifest,
    }


def _path_of(plural: str) -> str:
    return (
        f"{API}/namespaces/{POOL.key.namespace}/{plural}" if plural == "inferencepools" else f"{API}/{plural}"
    )


def _send_all(scene: Scene, plural: str, sound: Json) -> tuple[list[str], int]:
    """Names of those that the API server took, and how many it refused."""
    taken: list[str] = []
    refused: list[int] = []

    @settings(
        max_examples=EACH,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(made=_malformed(sound, _schema(plural)))
    def send(made: Json) -> None:
        name = f"odd-{len(taken) + len(refused)}"
        made["metadata"]["name"] = name
        status = scene.centre.send("POST", _path_of(plural), made)
        assert status in (201, 400, 413, 422), (status, made)
        if status == 201:
            taken.append(name)
        else:
            refused.append(status)

    send()
    return taken, len(refused)


def _malformed_objects(scene: Scene) -> None:
    lines = len(scene.live.log_lines())
    taken: dict[str, list[str]] = {}
    try:
        for plural, sound in _sound().items():
            taken[plural], refused = _send_all(scene, plural, sound)
            assert refused, f"no malformed {plural} was refused"

        def judged() -> bool:
            found = scene.centre.get("inferencepools.joulery.dev", f"-n={POOL.key.namespace}")["items"]
            mine = [p for p in found if p["metadata"]["name"] in taken["inferencepools"]]
            return all(condition(p, "Accepted").get("status") in ("True", "False") for p in mine)

        wait_for("each pool that was taken is judged", judged, 60.0)
        scene.goes_on(3)
        for pool in POOLS:
            scene.tells("Accepted", "True", pool=pool)
            scene.tells("Ready", "True", pool=pool)
        failed = [x for x in scene.live.log_lines()[lines:] if x["message"] == "cycle failed"]
        assert not failed, failed[0]
    finally:
        for plural, names in taken.items():
            for name in names:
                scene.centre.send("DELETE", f"{_path_of(plural)}/{name}")


FAULTS = (Fault("malformed-objects", ROW, _malformed_objects),)
