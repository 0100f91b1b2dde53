"""Rights that manifests grant a ServiceAccount, beside those that the API server's audit log saw it use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from joulery.emulator.cluster_access import Cluster

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource (with its subresource); empty namespace and names mean all."""

    group: str
    resource: str
    verb: str
    namespace: str = ""
    names: tuple[str, ...] = ()

    def covers(self, use: Right) -> bool:
        """Whether a use needed no more than this."""
        same = (self.group, self.resource, self.verb) == (use.group, use.resource, use.verb)
        return (
            same
            and self.namespace in ("", use.namespace)
            and (not self.names or set(use.names) <= set(self.names))
        )

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        named = f" named {', '.join(self.names)}" if self.names else ""
        return f"{self.verb} {self.resource}.{self.group or 'core'}{named}{where}"


def granted(cluster: Cluster, folders: Sequence[str], account: str, namespace: str) -> set[Right]:
    """What the bindings of these kustomizations give an account, one verb on one resource at a time."""
    objects = [o for folder in folders for o in _rendered(cluster, folder)]
    roles = {
        (o["kind"], _namespace(o), o["metadata"]["name"]): o for o in objects if o["kind"].endswith("Role")
    }
    rights: set[Right] = set()
    for binding in objects:
        if binding["kind"].endswith("RoleBinding") and _binds(binding, account, namespace):
            kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
            scope = _namespace(binding)
            role = roles[kind, scope if kind == "Role" else "", name]
            rights.update(_expanded(role, scope))
    return rights


def _rendered(cluster: Cluster, folder: str) -> list[Manifest]:
    return [o for o in yaml.safe_load_all(cluster.kubectl("kustomize", folder).stdout) if o]


def _namespace(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace", ""))


def _binds(binding: Manifest, account: str, namespace: str) -> bool:
    wanted = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return wanted in binding.get("subjects", ())


def _expanded(role: Manifest, namespace: str) -> Iterator[Right]:
    for rule in role["rules"]:
        names = tuple(sorted(rule.get("resourceNames", ())))
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    assert "*" not in (group, resource, verb), f"a wildcard in {role['metadata']['name']}"
                    yield Right(group, resource, verb, namespace, names)


@dataclass(frozen=True, slots=True)
class Used:
    """What one account did within a window of the audit log."""

    allowed: frozenset[Right]
    refused: tuple[str, ...]


def used(events: Iterable[Mapping[str, Any]], account: str, namespace: str, since_s: float) -> Used:
    """Requests of an account since a time: those allowed as rights, and those that RBAC refused.

    What every account may do (discovery: no resource in the request) is left out. A server-side apply that made
    its object is audited as a patch answered with 201, and needs `create` as well.
    """
    user = f"system:serviceaccount:{namespace}:{account}"
    allowed: set[Right] = set()
    refused: list[str] = []
    for event in events:
        ref = event.get("objectRef")
        if event["user"]["username"] != user or not ref or _received_s(event) < since_s:
            continue
        decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
        use = _use(ref, str(event["verb"]))
        if decision == "allow":
            allowed.add(use)
            if use.verb == "patch" and (event.get("responseStatus") or {}).get("code") == 201:
                allowed.add(Right(use.group, use.resource, "create", use.namespace))
        elif decision == "forbid":
            refused.append(str(use))
    return Used(frozenset(allowed), tuple(refused))


def _use(ref: Mapping[str, Any], verb: str) -> Right:
    resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
    names = (ref["name"],) if ref.get("name") else ()
    return Right(ref.get("apiGroup", ""), resource, verb, ref.get("namespace", ""), names)


def _received_s(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def unused(rights: Iterable[Right], uses: Iterable[Right]) -> list[str]:
    """Rights that no use needed."""
    seen = tuple(uses)
    return sorted(str(r) for r in rights if not any(r.covers(u) for u in seen))


def ungranted(rights: Iterable[Right], uses: Iterable[Right]) -> list[str]:
    """Uses that succeeded without any of these rights: something else must have granted them."""
    given = tuple(rights)
    return sorted(str(u) for u in uses if not any(r.covers(u) for r in given))
