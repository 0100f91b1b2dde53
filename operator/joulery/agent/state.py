"""The agent's memory across its own death: which GPUs it locked, in which boot of the node.

A lock outlives the process that set it but not a reboot. The file says what to reset after a crash, and
nothing that it does not name is ever reset.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from joulery.errors import ConfigError

_LOG = logging.getLogger(__name__)
_FILE_NAME = "locked-gpus.json"
_VERSION = 1


def read_boot_id(path: Path) -> str:
    """The kernel's name for this boot. Raises ConfigError."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(f"the node's boot id cannot be read from {path}: {error}") from error


class StateFile:
    """The set of UUIDs that we locked or are about to lock."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        self._path = directory / _FILE_NAME
        self._boot_id = boot_id

    def load(self) -> frozenset[str]:
        """UUIDs locked earlier in this boot; none after a reboot or from a file that cannot be read."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if found["version"] != _VERSION or found["bootId"] != self._boot_id:
                return frozenset()
            return frozenset(str(uuid) for uuid in found["locked"])
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError, KeyError, TypeError) as error:
            _LOG.error("state file cannot be read, locks of an earlier agent stay: %s: %s", self._path, error)
            return frozenset()

    def store(self, locked: Iterable[str]) -> None:
        """Write durably: complete, or as it was. Raises ConfigError, since no lock may be set unrecorded."""
        text = json.dumps({"version": _VERSION, "bootId": self._boot_id, "locked": sorted(locked)})
        scratch = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise ConfigError(
                f"the state file {self._path} cannot be written: {error}; no clock is locked without it, "
                "mount a writable folder there"
            ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
