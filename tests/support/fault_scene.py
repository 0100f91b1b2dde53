"""One data centre that faults are tried on: what a fault may touch in it, and what can be seen of it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller_cluster import condition
from fault_centre import FaultyCentre
from joulery.demo.actions import ScaleWrite, scale_writes
from joulery.demo.datacentre import CONTROLLER
from joulery.domain.policy import Cadence
from joulery.domain.pool import Pool
from joulery.emulator.gpus import NodeGpus
from live_centre import LiveCentre, SteppedLoad, capacity_rps, live_pool, wait_for

POOL = live_pool("faulty", 4)
BYSTANDER = live_pool("beside", 2)
POOLS = (POOL, BYSTANDER)
# Loads as shares of what one instance carries.
LOW, HIGH, SURGE = 0.8, 1.8, 2.6
# Short enough that an operator's silence is seen within a fault; the Lease is renewed every ten seconds.
CADENCE = Cadence(plan_epoch_s=10.0, demand_poll_s=1.0, clock_epoch_s=1.0, lease_timeout_s=20.0)


class ScaleLog:
    """Writes of /scale from the API server's audit log, each part of which is read once."""

    def __init__(self, audit_log: Path) -> None:
        self._path = audit_log
        self._read_to = 0
        self._writes: list[ScaleWrite] = []

    def writes(self) -> list[ScaleWrite]:
        """All so far."""
        with self._path.open("rb") as log:
            log.seek(self._read_to)
            whole = log.read().rpartition(b"\n")
        self._read_to += len(whole[0]) + len(whole[1])
        lines = (line for line in whole[0].splitlines() if b'"scale"' in line)
        self._writes += scale_writes(json.loads(line) for line in lines)
        return self._writes


@dataclass
class Scene:
    """What a fault may touch and look at; `loads` are the pools' requests."""

    live: LiveCentre
    centre: FaultyCentre
    loads: Mapping[Pool, SteppedLoad]

    def __post_init__(self) -> None:
        self._log = ScaleLog(self.centre.plane.audit_log)

    def all_writes(self) -> list[ScaleWrite]:
        """Successful writes of /scale by Joulery."""
        return self._log.writes()

    def writes(self, pool: Pool) -> list[ScaleWrite]:
        """Those for one pool."""
        targets = {v.target.name for v in pool.variants}
        return [w for w in self._log.writes() if w.namespace == pool.key.namespace and w.target in targets]

    def asked_at(self, pool: Pool, at_s: float) -> dict[str, int]:
        """Replicas that Joulery had last asked for at a time, by variant; those never written left out."""
        names = {v.target.name: v.name for v in pool.variants}
        return {names[w.target]: w.want for w in self.writes(pool) if w.at_s < at_s}

    @property
    def controller(self) -> Any:
        return self.centre.processes.children[CONTROLLER]

    def readiness(self) -> str:
        """What /readyz says; empty where nothing answers."""
        return self.page("readyz")

    def page(self, name: str) -> str:
        """A page of the controller, whatever its status; empty where nothing answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.centre.controller_url}/{name}", timeout=2) as page:
                return str(page.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def held_up(self, reason: str) -> None:
        wait_for(f"readiness names {reason}", lambda: self.readiness().startswith(reason))

    def tells(self, kind: str, status: str, *wanted: str, pool: Pool = POOL, within_s: float = 60.0) -> str:
        """The message of a condition, once it has this status and one of these reasons."""

        def told() -> Mapping[str, Any] | None:
            found = condition(self.live.pool(pool), kind)
            fits = found.get("status") == status and (not wanted or found["reason"] in wanted)
            return found if fits else None

        found = wait_for(f"{kind} is {status} {wanted}", told, within_s)
        assert found is not None
        return str(found["message"])

    def replicas(self) -> dict[str, int]:
        """Replicas asked of every workload of every pool."""
        return {f"{p.key.name}/{v}": n for p in POOLS for v, n in self.live.replicas(p).items()}

    def cycles(self) -> int:
        return sum(line["message"] == "cycle" for line in self.live.log_lines())

    def goes_on(self, cycles: int = 2) -> None:
        """So many more cycles end."""
        before = self.cycles()
        wait_for("cycles go on", lambda: self.cycles() >= before + cycles)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.centre.plane.kubectl(*arguments, stdin=stdin).stdout

    def patch(self, *which: str, body: Any, kind: str = "merge", **where: str) -> None:
        """`kubectl patch`; `where` are further flags, such as `subresource`."""
        flags = [f"--{name}={value}" for name, value in where.items()]
        self.kubectl("patch", *which, f"--type={kind}", f"--patch={json.dumps(body)}", *flags)

    def agent(self, node: str) -> Any:
        """The agent's process on a node."""
        return self.centre.processes.children[f"agent-{node}"]

    @contextmanager
    def gpus(self, node: str) -> Iterator[NodeGpus]:
        """The emulated driver of a node."""
        with NodeGpus(self.centre.emulator_data / "nvml" / f"{node}.state") as gpus:
            yield gpus

    def set_load(self, share: float) -> None:
        """Another load for every pool, as a multiple of what one instance carries."""
        for pool, load in self.loads.items():
            load.step_to(share * capacity_rps(pool, pool.variants[0].name))

    def carries(self) -> None:
        """Until every pool is ready to carry its load."""

        def carried(pool: Pool) -> bool:
            rate = capacity_rps(pool, pool.variants[0].name)
            return sum(self.live.ready(pool).values()) * rate >= self.loads[pool].rate_rps

        wait_for("every pool carries its load", lambda: all(map(carried, POOLS)), 120.0)

    def node_of_engines(self) -> str:
        """A node on which an engine of the pool runs."""
        return str(next(p["spec"]["nodeName"] for p in self.live.pods(POOL) if p["spec"].get("nodeName")))

    @contextmanager
    def revoked(self, role: str, spare: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Iterator[None]:
        """Without the rules that `spare` changes, while inside."""
        rules = self.centre.get(*role.split())["rules"]
        self._grant(role, [spare(rule) for rule in rules])
        try:
            yield
        finally:
            self._grant(role, rules)

    def _grant(self, role: str, rules: list[Any]) -> None:
        self.patch(*role.split(), kind="json", body=[{"op": "replace", "path": "/rules", "value": rules}])

    @contextmanager
    def sabotaged(self, code: str = "", **environment: str) -> Iterator[None]:
        """Another controller while inside: `code` runs in its process before anything of ours is imported."""
        folder = self.centre.paths.data / "sabotage"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(code)
        path = os.pathsep.join(p for p in (str(folder), os.environ.get("PYTHONPATH", "")) if p)
        self.restart_controller(**environment, **({"PYTHONPATH": path} if code else {}))
        try:
            yield
        finally:
            self.restart_controller()

    def restart_controller(self, **environment: str) -> None:
        """End the controller and start one with these additions to its environment."""
        self.controller.end(15.0)
        self.centre.spoilt_environment = environment
        self.centre.start_controller()
