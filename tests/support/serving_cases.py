"""Shared inputs of the serving tests: the shipped profile, its instances, public lengths and measurements."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

import joulery
from joulery.serving.engine import Engine
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec

Ints = npt.NDArray[np.int64]

ACCELERATOR = "H100-SXM-80GB"
DATA = Path(__file__).parents[1] / "data"
PROFILES = Path(joulery.__file__).parent / "data" / "profiles"


class Loop(NamedTuple):
    """What a closed-loop client measured, means in milliseconds."""

    ttft_ms: float
    tpot_ms: float
    preemptions: int


def shipped_spec(name: str = "llama-3.1-70b-fp8") -> dict[str, object]:
    """The spec of a profile that ships."""
    spec: dict[str, object] = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())["spec"]
    return spec


def shipped_profile(name: str = "llama-3.1-70b-fp8") -> EngineProfile:
    """A profile that ships."""
    return profile_from_spec(shipped_spec(name), name=name)


def instance(tensor_parallel_size: int = 4) -> InstanceModel:
    """One variant of the shipped profile."""
    return instance_model(shipped_profile(), ACCELERATOR, tensor_parallel_size)


def with_published_watts(model: InstanceModel) -> InstanceModel:
    """The same instance with the watts of the independent prototype, which were assumed and not fitted."""
    power = model.profile.power
    watts = {"host_w": 175.0, "weight_streaming_w": 520.0, "decode_attention_w": 520.0, "compute_w": 690.0}
    moved = {kind: getattr(power, kind).moved(value) for kind, value in watts.items()}
    return replace(model, profile=replace(model.profile, power=replace(power, **moved)))


def azure_lengths(trace: str) -> tuple[Ints, Ints]:
    """Input and output tokens of 2,000 requests of the Azure 2023 trace `conv` or `code`."""
    with (DATA / "azure-llm-2023" / f"lengths_{trace}.csv").open() as lines:
        rows = [(int(row["input_tokens"]), int(row["output_tokens"])) for row in csv.DictReader(lines)]
    lengths = np.array(rows, np.int64)
    return lengths[:, 0].copy(), lengths[:, 1].copy()


def resampled(inputs: Ints, outputs: Ints, *, count: int, seed: int) -> tuple[Ints, Ints]:
    """So many requests, each of the given as often as any other, in random order, lengths kept together."""
    order = np.random.default_rng(seed).permutation(np.resize(np.arange(len(inputs)), count))
    return inputs[order], outputs[order]


def silicon_rows() -> list[dict[str, float]]:
    """Measured closed-loop rows of the silicon sample."""
    with (DATA / "silicon_llama_70b_fp8_h100.csv").open() as lines:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]


def with_kv_cache(model: InstanceModel, *, kv_capacity_tokens: int) -> InstanceModel:
    """The same instance with a smaller KV cache."""
    return replace(model, kv_capacity_tokens=kv_capacity_tokens)


def closed_loop(engine: Engine, *, clients: int, input_tokens: int, output_tokens: int, step_ns: int) -> Loop:
    """A closed-loop benchmark client: ten requests per client, lengths of 0.8 to 1.0 times the nominal.

    All clients start at once; each sends its next request when the last one is answered, up to one step late.
    """
    rng = np.random.default_rng(0)
    total = 10 * clients
    inputs = rng.integers(int(0.8 * input_tokens), input_tokens + 1, total)
    outputs = rng.integers(int(0.8 * output_tokens), output_tokens + 1, total)
    sent, done = clients, 0
    engine.submit_many(np.zeros(clients, np.int64), inputs[:clients], outputs[:clients])
    ttft, tpot = [], []
    while done < total:
        engine.advance(engine.now_ns + step_ns)
        finished = engine.take_finished()
        ttft.append(finished.ttft_ns)
        tpot.append(finished.tpot_ns)
        done += len(finished)
        for _ in range(min(len(finished), total - sent)):
            engine.submit(engine.now_ns, int(inputs[sent]), int(outputs[sent]))
            sent += 1
    means = (float(np.concatenate(values).mean()) * 1e-6 for values in (ttft, tpot))
    return Loop(*means, engine.counters().preemptions_total)
