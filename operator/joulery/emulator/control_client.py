"""The other end of an emulator process: submit schedules, follow the run, read what it came to. Blocking."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulery.emulator.control import READY_FILE
from joulery.errors import JouleryError

_TIMEOUT_S = 30.0


class EmulatorError(JouleryError):
    """The emulator process refused a request or does not answer."""


@dataclass(frozen=True, slots=True)
class RecordedOutcomes:
    """Outcomes as written: the summary, and arrays by `POOL|column` and `timeline|column`."""

    summary: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]

    def requests(self, pool: str) -> dict[str, npt.NDArray[np.int64]]:
        """Columns of one pool's requests, in order of arrival; -1 where one did not finish."""
        start = f"{pool}|"
        return {name.removeprefix(start): self.arrays[name] for name in self.arrays if name.startswith(start)}

    @property
    def timeline(self) -> dict[str, npt.NDArray[np.float64]]:
        """One row per second: `time_s`, `fleet_energy_j`, and `POOL|column` for each pool."""
        start = "timeline|"
        return {name.removeprefix(start): self.arrays[name] for name in self.arrays if name.startswith(start)}


def read_outcomes(folder: Path) -> RecordedOutcomes:
    """What a run wrote into its outcomes folder."""
    with np.load(folder / "outcomes.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    return RecordedOutcomes(json.loads((folder / "outcomes.json").read_text()), arrays)


class EmulatorControl:
    """One emulator process, found by its data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data

    @property
    def is_ready(self) -> bool:
        """Whether nodes are registered and it takes requests; False for one that was killed."""
        try:
            self.status()
        except EmulatorError:
            return False
        return True

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the emulated nodes."""
        return tuple(self._ready()["nodes"])

    def status(self) -> dict[str, Any]:
        """The summary so far."""
        return self._call("GET", "/status")

    def submit(
        self,
        pool: str,
        arrival_s: npt.NDArray[np.float64],
        input_tokens: npt.NDArray[np.int64],
        output_tokens: npt.NDArray[np.int64],
        *,
        delay_s: float = 1.0,
        start_s: float | None = None,
    ) -> float:
        """Let requests of a pool (`namespace/name`) arrive, times from now plus the delay, or from a model time.

        Returns that model time.
        """
        path = self._data / f"schedule-{pool.replace('/', '-')}.npz"
        np.savez(path, arrival_s=arrival_s, input_tokens=input_tokens, output_tokens=output_tokens)
        body = {"pool": pool, "schedule": str(path), "delaySeconds": delay_s, "startSeconds": start_s}
        return float(self._call("POST", "/schedule", body)["startsAtSeconds"])

    def mishap(self, kind: str, name: str) -> None:
        """Let something go wrong with a pod (`namespace/name`) or a node, by `EmulatedWorld.mishap`'s kinds."""
        self._call("POST", "/mishap", {"kind": kind, "name": name})

    def outcomes(self) -> RecordedOutcomes:
        """Have it write its outcomes now, and read them."""
        return read_outcomes(Path(self._call("POST", "/outcomes", {})["folder"]))

    def _ready(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads((self._data / READY_FILE).read_text())
        except OSError as error:
            raise EmulatorError(f"no emulator is ready in {self._data}; is it running?") from error
        return document

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._ready()["url"] + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise EmulatorError(f"{method} {path}: {error.read().decode(errors='replace')[:500]}") from error
        except OSError as error:
            raise EmulatorError(f"{method} {path}: the emulator does not answer: {error}") from error
        return document
