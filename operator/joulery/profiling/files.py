"""Files of the command: profiles by file or by the name of a shipped one, and results written all or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from joulery.errors import ConfigError, ProfileError
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec

KIND = "EnergyProfile"


@dataclass(frozen=True, eq=False)
class Manifest:
    """An EnergyProfile as written; `origin` is the file, or the name of a profile that ships."""

    origin: str
    name: str
    spec: Mapping[str, object]


def shipped_names() -> tuple[str, ...]:
    """Names of the profiles that ship."""
    found = files("joulery.data").joinpath("profiles").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in found if f.name.endswith(".yaml")))


def manifests_of(reference: str) -> tuple[Manifest, ...]:
    """The profiles in a file, or the shipped one of that name. Raises ConfigError where there is none."""
    path = Path(reference)
    if reference in shipped_names() and not path.exists():
        text = files("joulery.data").joinpath(f"profiles/{reference}.yaml").read_text(encoding="utf-8")
    else:
        text = _text_of(path)
    try:
        documents = [d for d in yaml.safe_load_all(text) if d is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise ProfileError(f"{reference} is not YAML: {' '.join(str(error).split())}") from error
    if not documents:
        raise ProfileError(f"{reference} is empty: an {KIND} is needed")
    return tuple(_manifest(reference, document) for document in documents)


def profile_at(reference: str) -> EngineProfile:
    """The one profile in a file or of a shipped name. Raises ConfigError where it cannot be used."""
    manifests = manifests_of(reference)
    if len(manifests) > 1:
        raise ProfileError(f"{reference} holds {len(manifests)} profiles: give a file with one")
    try:
        profile = profile_from_spec(manifests[0].spec, name=manifests[0].name)
    except ProfileError as error:
        raise ProfileError(f"{reference}: spec.{error}; see joulery profile validate") from error
    if problems := profile.validate():
        raise ProfileError(f"{reference}: {problems[0]}; see joulery profile validate")
    return profile


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as it was before. Raises ConfigError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(path)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{path} cannot be read: {reason}; profiles that ship are {', '.join(shipped_names())}"
        ) from error


def _manifest(origin: str, document: object) -> Manifest:
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        raise ProfileError(f"{origin}: kind must be {KIND}, as in kubectl get energyprofiles -o yaml")
    metadata, spec = document.get("metadata"), document.get("spec")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ProfileError(f"{origin}: metadata.name is missing: name the profile")
    if not isinstance(spec, Mapping):
        raise ProfileError(f"{origin}: spec is missing: it holds the profile")
    return Manifest(origin, name, spec)
