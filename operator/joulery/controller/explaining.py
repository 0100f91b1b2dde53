"""`joulery explain`: one decision as text, from a file or from the live cluster. Writes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from joulery.adapters.kube_client import connect
from joulery.adapters.kube_discovery import Discovery
from joulery.adapters.kube_fleet import KubeFleet
from joulery.adapters.kube_targets import TargetReader
from joulery.adapters.pod_load import PodLoads, with_pod_loads
from joulery.adapters.pod_watch import PodWatch
from joulery.api.convert import policy_of, pool_of, profile_of
from joulery.controller.app import decider, demand_reader, planner_settings
from joulery.domain.demand import Demand, LengthHistogram
from joulery.domain.fleet import Fleet, NodeState, PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.pool import Knob, Mode, Pool
from joulery.errors import ConfigError
from joulery.planner.explain import explain
from joulery.planner.history import History
from joulery.ports import Observation
from joulery.settings import ControllerSettings

_PROFILES = Path(__file__).resolve().parents[1] / "data" / "profiles"
_GPUS_PER_NODE = 8


@dataclass(frozen=True, slots=True)
class Assumed:
    """What a file does not say: each pool's load and the empty nodes that pools may use."""

    requests_per_s: float
    input_tokens: int
    output_tokens: int
    nodes: int


def explain_live(settings: ControllerSettings) -> str:
    """What the controller would decide now, had it just been restarted."""
    return asyncio.run(_explain_live(settings))


async def _explain_live(settings: ControllerSettings) -> str:
    client = await connect(settings.kubeconfig)
    try:
        # The watch never runs here, so pods come from a LIST.
        pods = PodWatch(client, wake=lambda: None)
        observation = await KubeFleet(client, TargetReader(client, Discovery(client)), pods).read()
    finally:
        await client.close()
    reader = demand_reader(settings)
    demand = await reader.read([state.pool for state in observation.fleet.pools], time.time())
    busy = replace(observation, fleet=with_pod_loads(observation.fleet, reader.pod_loads))
    return _explained(busy, demand, History.restored(observation.memories), settings)


def explain_file(file: Path, assumed: Assumed) -> str:
    """What would be recommended to the pools of a file, every knob free. Raises ConfigError."""
    try:
        documents = [d for d in yaml.safe_load_all(file.read_text(encoding="utf-8")) if d]
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error
    pools = [_pool(d) for d in documents if d.get("kind") == "InferencePool"]
    if not pools:
        raise ConfigError(f"{file} holds no InferencePool")
    observation = Observation(
        fleet=Fleet(time.time(), tuple(_stopped(p) for p in pools), _nodes(pools, assumed.nodes)),
        policies=tuple(policy_of(d) for d in documents if d.get("kind") == "EnergyPolicy"),
        profiles={d["metadata"]["name"]: profile_of(d) for d in [*_shipped(), *_profiles(documents)]},
        profile_problems={},
        rejected=(),
        memories={},
        measured_w={},
    )
    demand = {p.key: _demand(p.key, assumed, observation.fleet.observed_at_s) for p in pools}
    return _explained(observation, demand, History.empty(), ControllerSettings())


def _explained(
    observation: Observation,
    demand: Mapping[ObjectKey, Demand],
    history: History,
    settings: ControllerSettings,
) -> str:
    decide = decider(planner_settings(settings), loads=PodLoads)
    return explain(decide(observation, demand, history), observation.fleet, demand)


def _pool(manifest: Mapping[str, Any]) -> Pool:
    named = {"namespace": "default", "uid": "file", **manifest["metadata"]}
    found = pool_of({**manifest, "metadata": named})
    if not isinstance(found, Pool):
        raise ConfigError("; ".join(f.verdict.message for f in found))
    return replace(found, mode=Mode.RECOMMEND, knobs=frozenset(Knob))


def _stopped(pool: Pool) -> PoolState:
    return PoolState(pool, tuple(VariantState(v.name, 0) for v in pool.variants))


def _nodes(pools: Iterable[Pool], count: int) -> tuple[NodeState, ...]:
    accelerators = sorted({v.accelerator for p in pools for v in p.variants})
    return tuple(
        NodeState(f"{accelerator.lower()}-{i}", accelerator, _GPUS_PER_NODE, _GPUS_PER_NODE)
        for accelerator in accelerators
        for i in range(count)
    )


def _profiles(documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [d for d in documents if d.get("kind") == "EnergyProfile"]


def _shipped() -> list[Mapping[str, Any]]:
    documents = (
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(_PROFILES.glob("*.yaml"))
    )
    return _profiles(documents)


def _demand(key: ObjectKey, assumed: Assumed, now_s: float) -> Demand:
    rate = assumed.requests_per_s
    return Demand(
        key,
        now_s,
        requests_per_s=rate,
        prompt_tokens_per_s=rate * assumed.input_tokens,
        generation_tokens_per_s=rate * assumed.output_tokens,
        input_lengths=_at(assumed.input_tokens, rate),
        output_lengths=_at(assumed.output_tokens, rate),
    )


def _at(tokens: int, rate: float) -> LengthHistogram:
    """All requests near one length: within a tenth below it."""
    below = max(1, tokens - tokens // 10 - 1)
    return LengthHistogram((below, max(tokens, below + 1)), (0.0, rate, 0.0))
