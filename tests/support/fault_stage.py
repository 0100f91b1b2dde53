"""One data centre that faults are tried on: our processes reach API server and Prometheus through fault lines."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audited_need import below_need, repeated
from controller_cluster import condition
from fault_line import FaultLine
from joulery.demo.datacentre import CONTROLLER, DataCentre
from joulery.domain.policy import Cadence
from live_centre import LiveCentre, SteppedLoad, capacity_rps, live_centre, live_pool, wait_for

POOL = live_pool("faulty", 4)
AS_FOUND = {"tp4": 2}
OBJECTS = ("inferencepools", "energypolicies", "energyprofiles", "gpunodes")
# Short enough that an operator's silence is seen within a fault; the Lease is renewed every ten seconds.
CADENCE = Cadence(plan_epoch_s=10.0, demand_poll_s=1.0, clock_epoch_s=1.0, lease_timeout_s=20.0)


class FaultyCentre(DataCentre):
    """Controller and agents speak through `api`, the controller asks Prometheus through `metrics`."""

    def __enter__(self) -> FaultyCentre:
        super().__enter__()
        self.lines = ExitStack()
        self.api = self.lines.enter_context(FaultLine(self.plane.server, self.plane.ca_pem))
        self.metrics = self.lines.enter_context(FaultLine(self.prometheus.url))
        return self

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "lines"):
            self.lines.close()

    def controller_environment(self) -> dict[str, str]:
        settings = self._through_line(super().controller_environment())
        return settings | {
            "JOULERY_PROMETHEUS_URL": self.metrics.url,
            "JOULERY_PROMETHEUS_TIMEOUT_SECONDS": "2",
        }

    def agent_environment(self, node: str, pod: str) -> dict[str, str]:
        return self._through_line(super().agent_environment(node, pod))

    def _through_line(self, settings: dict[str, str]) -> dict[str, str]:
        path = Path(settings["JOULERY_KUBECONFIG"])
        document = json.loads(path.read_text())
        trusted = base64.b64encode(self.api.ca_pem).decode()
        document["clusters"][0]["cluster"] = {
            "server": self.api.url,
            "certificate-authority-data": trusted,
        }
        through = path.with_suffix(".line.kubeconfig")
        through.write_text(json.dumps(document))
        return settings | {"JOULERY_KUBECONFIG": str(through)}


@dataclass
class Scene:
    """What a fault may touch and look at."""

    live: LiveCentre
    centre: FaultyCentre
    load: SteppedLoad

    @property
    def controller(self) -> Any:
        return self.centre.processes.children[CONTROLLER]

    def readiness(self) -> str:
        """What /readyz says; empty where nothing answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.centre.controller_url}/readyz", timeout=2) as page:
                return str(page.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def held_up(self, reason: str) -> None:
        wait_for(f"readiness names {reason}", lambda: self.readiness().startswith(reason))

    def tells(self, kind: str, status: str, *wanted: str) -> None:
        def told() -> bool:
            found = condition(self.live.pool(POOL), kind)
            return found.get("status") == status and (not wanted or found["reason"] in wanted)

        wait_for(f"{kind} is {status} {wanted}", told)

    def is_whole(self, since: int) -> bool:
        """Cycles go on, the pool is Ready on fresh metrics, asked = ready = target carries the load, and clocks
        are governed on exactly the GPUs of engines."""
        if self.readiness() != "Ready\n" or self.cycles() <= since:
            return False
        status = self.live.pool(POOL).get("status", {})
        conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
        if any(conditions.get(k) != "True" for k in ("MetricsAvailable", "Planned", "Actuated", "Ready")):
            return False
        asked, ready = self.live.replicas(POOL), self.live.ready(POOL)
        target = {v["name"]: v.get("targetReplicas") for v in status["variants"]}
        carried = sum(ready.values()) * capacity_rps(POOL, "tp4")
        locked = len(self.live.locked())
        return (
            asked == ready == target and carried >= self.load.rate_rps and locked == 4 * sum(ready.values())
        )

    def cycles(self) -> int:
        return sum(line["message"] == "cycle" for line in self.live.log_lines())

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.centre.plane.kubectl(*arguments, stdin=stdin).stdout

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
        patch = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
        self.kubectl("patch", *role.split(), "--type=json", f"--patch={patch}")


@dataclass(frozen=True)
class Fault:
    """`strike` injects, waits for what must show meanwhile, and cures; `row` is the row of design §12."""

    name: str
    row: str
    strike: Callable[[Scene], None]


def run_fault(scene: Scene, fault: Fault) -> dict[str, Any]:
    """Strike, cure, and measure until the system is whole; then judge what happened meanwhile."""
    began_s = time.time()
    fault.strike(scene)
    cured_s, cycles = time.monotonic(), scene.cycles()
    wait_for(f"whole again after {fault.name}", lambda: scene.is_whole(cycles), 60.0)
    recovery_s = time.monotonic() - cured_s
    writes = scene.live.writes(POOL)
    fresh = [w for w in writes if w.at_s >= began_s]
    below = below_need(POOL, writes, scene.load, AS_FOUND) if fresh else []
    objects = scene.centre.get(",".join(f"{k}.joulery.dev" for k in OBJECTS), "-A")["items"]
    kept = [o["metadata"]["name"] for o in objects if o["metadata"].get("finalizers")]
    owned = len([g for g in scene.live.gpus() if g.get("ownerPod")])
    return {
        "name": fault.name,
        "row": fault.row,
        "outcome": "recovered",
        "recoverySeconds": round(recovery_s, 1),
        "belowNeed": len(below),
        "repeatedWrites": len(repeated(fresh)),
        "finalizers": len(kept),
        "leakedClocks": max(0, len(scene.live.locked()) - owned),
    }


@contextmanager
def fault_stage(data: Path) -> Iterator[Scene]:
    """The data centre with one pool under steady load, whole."""
    with live_centre(data, [POOL.key], nodes=3, of=FaultyCentre) as live:
        live.set_policy(cadence=CADENCE)
        live.install(POOL, AS_FOUND)
        with SteppedLoad(live.control, str(POOL.key)) as load:
            centre = live.centre
            assert isinstance(centre, FaultyCentre)
            scene = Scene(live, centre, load)
            load.step_to(1.5 * capacity_rps(POOL, "tp4"))
            wait_for("whole before any fault", lambda: scene.is_whole(0), 90.0)
            yield scene
