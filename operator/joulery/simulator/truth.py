"""The shipped profile, and the truth that a seed draws around it."""

from __future__ import annotations

from importlib.resources import files

import yaml

from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec
from joulery.serving.truth import Truth, draw_truth
from joulery.simulator.scenario import ACCELERATOR

SHIPPED_PROFILE = "llama-3.1-70b-fp8"


def shipped_manifest(name: str = SHIPPED_PROFILE) -> dict[str, object]:
    """An EnergyProfile that ships with Joulery, as a manifest."""
    text = files("joulery.data").joinpath("profiles", f"{name}.yaml").read_text()
    manifest = yaml.safe_load(text)
    assert isinstance(manifest, dict)
    return manifest


def shipped_profile(name: str = SHIPPED_PROFILE) -> EngineProfile:
    """The same as a serving model."""
    spec = shipped_manifest(name)["spec"]
    assert isinstance(spec, dict)
    return profile_from_spec(spec, name=name)


def hidden_truth(profile: EngineProfile, seed: int, *, time_factor: float | None = None) -> Truth:
    """What emulated engines really do: drawn by seed from the parameters' ranges, hidden from the operator.

    The factors told are those of the accelerator that the scenario runs on.

    `time_factor` forces how much slower than the profile they are.
    """
    return draw_truth(profile, seed, time_factor=time_factor, on=ACCELERATOR)
