"""Shared inputs of the serving tests: the shipped profile, an instance of it, request lengths of a public trace."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

import joulery
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec

ACCELERATOR = "H100-SXM-80GB"
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
