"""Shared inputs of the serving tests: the shipped profile, an instance of it, request lengths of a public trace."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

import joulery
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec

Ints = npt.NDArray[np.int64]

ACCELERATOR = "H100-SXM-80GB"
DATA = Path(__file__).parents[1] / "data"
PROFILES = Path(joulery.__file__).parent / "data" / "profiles"


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


def azure_lengths(trace: str) -> tuple[Ints, Ints]:
    """Input and output tokens of 2,000 requests of the Azure 2023 trace `conv` or `code`."""
    with (DATA / "azure-llm-2023" / f"lengths_{trace}.csv").open() as lines:
        rows = [(int(row["input_tokens"]), int(row["output_tokens"])) for row in csv.DictReader(lines)]
    lengths = np.array(rows, np.int64)
    return lengths[:, 0].copy(), lengths[:, 1].copy()


def silicon_rows() -> list[dict[str, float]]:
    """Measured closed-loop rows of the silicon sample."""
    with (DATA / "silicon_llama_70b_fp8_h100.csv").open() as lines:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]


def with_kv_cache(model: InstanceModel, *, kv_capacity_tokens: int) -> InstanceModel:
    """The same instance with a smaller KV cache."""
    return replace(model, kv_capacity_tokens=kv_capacity_tokens)
