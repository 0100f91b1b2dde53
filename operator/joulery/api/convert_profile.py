"""EnergyProfile manifests as the serving model's profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulery.errors import ProfileError
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec


def profile_of(manifest: Mapping[str, Any]) -> EngineProfile:
    """The profile, proven usable. Raises ProfileError naming each failing field or point."""
    name = str(manifest["metadata"]["name"])
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        raise ProfileError(f"EnergyProfile {name}: spec is missing")
    profile = profile_from_spec(spec, name=name)
    if problems := profile.validate():
        raise ProfileError(f"EnergyProfile {name}: {'; '.join(problems)}")
    return profile
