"""Finds the resource name of any `apiVersion` and `kind`, and whether it has a `/scale` subresource."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.adapters.kube_client import KubeClient, path_of
from joulery.adapters.kube_errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Resource:
    """A served kind."""

    group: str
    version: str
    plural: str
    scalable: bool

    def path(self, namespace: str, name: str, subresource: str | None = None) -> str:
        """The URL path of one namespaced object."""
        return path_of(
            self.group, self.version, self.plural, namespace=namespace, name=name, subresource=subresource
        )


class Discovery:
    """Resolves kinds; what was found is remembered, what was not is asked again, since CRDs come later."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._found: dict[tuple[str, str], Resource] = {}

    async def resolve(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind, None where the API server does not serve it."""
        known = self._found.get((api_version, kind))
        if known is None:
            known = await self._discover(api_version, kind)
            if known is not None and known.scalable:
                self._found[api_version, kind] = known
        return known

    def forget(self, api_version: str, kind: str) -> None:
        """Ask again next time: the kind may have been removed."""
        self._found.pop((api_version, kind), None)

    async def _discover(self, api_version: str, kind: str) -> Resource | None:
        group, _, version = api_version.rpartition("/")
        prefix = f"/apis/{api_version}" if group else f"/api/{api_version}"
        try:
            answer = await self._client.get(prefix, operation=f"discovering {api_version}")
        except NotFoundError:
            return None
        resources = answer.get("resources", [])
        plural = next((r["name"] for r in resources if r["kind"] == kind and "/" not in r["name"]), None)
        if plural is None:
            return None
        scalable = any(r["name"] == f"{plural}/scale" for r in resources)
        return Resource(group, version, plural, scalable)
