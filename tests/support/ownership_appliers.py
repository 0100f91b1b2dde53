"""Appliers as the API server sees them: kubectl with the field managers, verbs and flags of each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from joulery.emulator.cluster_access import Cluster
from ownership_cells import Applier, Sees

_SERVER = ("apply", "--server-side")
_FORCED = (*_SERVER, "--force-conflicts")
_APPLY = {
    Applier.KUBECTL: ("apply", "--server-side=false"),
    Applier.KUBECTL_SERVER: _SERVER,
    Applier.HELM_4: (*_SERVER, "--field-manager=helm"),
    Applier.ARGO: ("apply", "--server-side=false", "--field-manager=argocd-controller"),
    Applier.ARGO_SERVER: (*_FORCED, "--field-manager=argocd-controller"),
    Applier.FLUX: (*_FORCED, "--field-manager=kustomize-controller"),
}
_DRY = ("--dry-run=server", "-o=json")
_TRIES = 5

Done = subprocess.CompletedProcess[str]


@dataclass(slots=True)
class Release:
    """One workload under one applier; `manifest` is what was applied last."""

    cluster: Cluster
    applier: Applier
    manifest: Mapping[str, Any]

    def create(self) -> Done:
        """The first time."""
        if self.applier in _APPLY:
            return self._run(*_APPLY[self.applier], "-f", "-", body=self.manifest)
        manager = () if self.applier is Applier.KUBECTL_REPLACE else ("--field-manager=helm",)
        return self._run("create", *manager, "-f", "-", body=self.manifest)

    def apply(self, manifest: Mapping[str, Any]) -> Done:
        """A manifest that takes the place of the last one."""
        done = self._upgrade(manifest)
        self.manifest = manifest
        return done

    def sees(self) -> Sees:
        """What the next run of the same manifest would meet."""
        done = self._upgrade(self.manifest, *_DRY)
        if done.returncode != 0:
            assert "conflict" in done.stderr, done.stderr
            return Sees.CONFLICT if '"joulery"' in done.stderr else Sees.FOREIGN
        name, space = self.manifest["metadata"]["name"], self.manifest["metadata"]["namespace"]
        live = json.loads(self._run("get", "deployment", name, f"-n={space}", "-o=json").stdout)
        would = json.loads(done.stdout)["spec"]["replicas"]
        return Sees.IN_SYNC if would == live["spec"]["replicas"] else Sees.DRIFT

    def _upgrade(self, manifest: Mapping[str, Any], *flags: str) -> Done:
        if self.applier in _APPLY:
            return self._run(*_APPLY[self.applier], *flags, "-f", "-", body=manifest)
        if self.applier is Applier.KUBECTL_REPLACE:
            return self._replace(manifest, *flags)
        return self._helm_3(manifest, *flags)

    def _replace(self, manifest: Mapping[str, Any], *flags: str) -> Done:
        """kubectl reads before it puts, and does not try again where a status was written in between."""
        for _ in range(_TRIES):
            done = self._run("replace", *flags, "-f", "-", body=manifest)
            if "object has been modified" not in done.stderr:
                break
        return done

    def _helm_3(self, manifest: Mapping[str, Any], *flags: str) -> Done:
        """The patch of its three-way merge: the new manifest, and null for what the last one had beyond it."""
        dropped = dict.fromkeys(self.manifest["spec"].keys() - manifest["spec"].keys())
        patch = json.dumps({"spec": {**manifest["spec"], **dropped}})
        name, space = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        target = ("patch", "deployment", name, f"-n={space}")
        return self._run(*target, "--type=strategic", "--field-manager=helm", *flags, f"-p={patch}")

    def _run(self, *arguments: str, body: Mapping[str, Any] | None = None) -> Done:
        stdin = yaml.safe_dump(dict(body)) if body is not None else None
        return self.cluster.kubectl(*arguments, stdin=stdin, check=False)
