"""Lets kopf speak with the credentials of our own client, so that the two cannot disagree."""

from __future__ import annotations

from typing import Any

import kopf

from joulery.adapters.kube_client import KubeClient


def login_with(registry: kopf.OperatorRegistry, client: KubeClient) -> None:
    """Register a login handler; kopf calls it again whenever its credentials are refused."""

    async def login(**_: Any) -> kopf.ConnectionInfo:
        known = client.connection
        return kopf.ConnectionInfo(
            server=known.server,
            ca_path=known.ca_file,
            insecure=not known.verify,
            certificate_path=known.certificate_file,
            private_key_path=known.key_file,
            scheme="Bearer",
            token=await client.bearer_token(),
        )

    kopf.on.login(registry=registry)(login)
