"""Settings of the controller's process, from the environment (prefix `JOULERY_`).

What users wish of their pools stands in the API objects; here stands only how the process reaches its world.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ControllerSettings(BaseSettings):
    """Each field is read from `JOULERY_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="JOULERY_", frozen=True, extra="ignore")

    kubeconfig: Path | None = None
    """A kubeconfig file; absent = the pod's own service account. Plain `KUBECONFIG` is never read."""

    operator_namespace: str = "joulery-system"
    """Where the Lease lives that node agents watch."""

    prometheus_url: str = "http://prometheus-operated.monitoring.svc:9090"
    """Base address of Prometheus or of anything that speaks its query API."""

    prometheus_bearer_token_file: Path | None = None
    """File with a bearer token, read again for each request."""

    prometheus_ca_file: Path | None = None
    """PEM file of the CA that signed Prometheus' certificate; absent = the system's."""

    prometheus_tenant_header: str | None = None
    """A further header as `Name: value`, such as `X-Scope-OrgID: llm`."""

    prometheus_timeout_seconds: float = Field(default=5.0, gt=0)
    """Longest wait for one query, in seconds; a third of the poll interval leaves room for the rest."""

    scrape_interval_seconds: float = Field(default=15.0, gt=0)
    """How often Prometheus scrapes the engines, in seconds: rate windows and staleness follow from it."""

    attainment_window_seconds: float = Field(default=600.0, ge=60.0)
    """Seconds over which attainment is measured, conditions judge it and the profile is corrected by it."""

    metrics_host: str = "0.0.0.0"
    """Address that serves /metrics, /healthz and /readyz."""

    metrics_port: int = Field(default=8080, ge=0, le=65535)
    """Its port; 0 = do not serve."""

    stale_after_seconds: float = Field(default=300.0, gt=0)
    """Liveness fails after so many seconds without a cycle: several polls, the solver's limit and the first
    computation of operating points fit into it."""

    solver_patience_seconds: float = Field(default=120.0, gt=0)
    """After so many seconds without a decision the solver is taken to hang and the fallback engine plans: the
    first decision compiles the engine model, which takes a minute without a cache."""

    log_level: str = "INFO"
    """Python's name of the lowest level that is logged."""

    @field_validator("prometheus_tenant_header")
    @classmethod
    def _is_header(cls, header: str | None) -> str | None:
        if header is not None and not header.partition(":")[2].strip():
            raise ValueError("write it as 'Name: value'")
        return header

    @property
    def tenant_header(self) -> tuple[str, str] | None:
        """Name and value of the further header."""
        if self.prometheus_tenant_header is None:
            return None
        name, _, value = self.prometheus_tenant_header.partition(":")
        return name.strip(), value.strip()
