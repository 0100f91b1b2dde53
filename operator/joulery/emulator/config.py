"""The emulator's configuration file, for a process of its own.

JSON: `kubeconfig`, `data`, `pools` [{`namespace`, `name`, `servedModelName`, `profile`, `accelerator`}];
optional `targets`, `outcomes`, `nodes`, `gpusPerNode`, `seed`, `truthSeed` (absent: the seed; null: the
profile itself), per pool `engineVersion` and `timeFactor` (all times of the truth multiplied; 1.15 is an engine
15 % slower than it would be). A profile is the name of one that ships, or the path of a manifest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from joulery.domain.keys import ObjectKey
from joulery.domain.vllm_metrics import DEFAULT_VLLM_VERSION
from joulery.emulator.accounts import PoolTruth
from joulery.emulator.world import WorldConfig
from joulery.errors import ConfigError
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec
from joulery.serving.truth import draw_truth, perturbed


@dataclass(frozen=True, slots=True)
class EmulatorConfig:
    """What to emulate, and the folder for outcomes."""

    world: WorldConfig
    outcomes: Path


def read_config(path: Path) -> EmulatorConfig:
    """The configuration in a file.

    Raises:
        ConfigError: it is no JSON, or a key is missing or wrong.
    """
    try:
        document: Mapping[str, Any] = json.loads(path.read_text())
        seed = int(document.get("seed", 0))
        data = Path(document["data"]).resolve()
        world = WorldConfig(
            kubeconfig=Path(document["kubeconfig"]),
            data=data,
            pools=tuple(_pool(pool, document.get("truthSeed", seed)) for pool in document["pools"]),
            nodes=int(document.get("nodes", 6)),
            gpus_per_node=int(document.get("gpusPerNode", 8)),
            seed=seed,
            targets=Path(document["targets"]) if "targets" in document else None,
        )
    except KeyError as error:
        raise ConfigError(f"{path}: key {error} is missing") from error
    except (OSError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return EmulatorConfig(world, Path(document.get("outcomes", data / "outcomes")))


def load_profile(name_or_path: str) -> EngineProfile:
    """A profile that ships, by its name, or one in a manifest file."""
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".json")):
        manifest = yaml.safe_load(Path(name_or_path).read_text())
    else:
        source = files("joulery.data").joinpath("profiles", f"{name_or_path}.yaml")
        if not source.is_file():
            raise ConfigError(f"no profile {name_or_path!r} ships with Joulery; give a manifest's path")
        manifest = yaml.safe_load(source.read_text())
    return profile_from_spec(manifest["spec"], name=manifest["metadata"]["name"])


def _pool(document: Mapping[str, Any], truth_seed: int | None) -> PoolTruth:
    profile = load_profile(document["profile"])
    drawn = profile if truth_seed is None else draw_truth(profile, truth_seed).profile
    time_factor = float(document.get("timeFactor", 1.0))
    if not 0.0 < time_factor < math.inf:
        raise ValueError(f"timeFactor is {time_factor:g}, want a number above 0")
    return PoolTruth(
        key=ObjectKey(document["namespace"], document["name"]),
        served_model_name=document["servedModelName"],
        truth=perturbed(drawn, time_factor=time_factor, power_factor=1.0) if time_factor != 1.0 else drawn,
        accelerator=document["accelerator"],
        engine_version=document.get("engineVersion", DEFAULT_VLLM_VERSION),
    )
