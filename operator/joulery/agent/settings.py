"""How the agent's process runs; what users wish is in the EnergyPolicy and the GPUNode."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from joulery.domain.load_window import LoadWindow


class AgentSettings(BaseSettings):
    """Environment variables `JOULERY_...`; times in seconds."""

    model_config = SettingsConfigDict(env_prefix="JOULERY_", frozen=True, extra="ignore")

    node_name: str = Field(min_length=1, description="name of the Node and of our GPUNode (downward API)")
    operator_namespace: str = Field(default="joulery-system", description="where the operator's Lease lives")
    kubeconfig: Path | None = Field(default=None, description="cluster access; absent = in-cluster")
    pod_resources_socket: Path = Field(default=Path("/var/lib/kubelet/pod-resources/kubelet.sock"))
    state_directory: Path = Field(
        default=Path("/var/lib/joulery"), description="survives the pod, not a reboot"
    )
    boot_id_file: Path = Field(default=Path("/proc/sys/kernel/random/boot_id"))
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least to log"
    )
    metrics_port: int = Field(default=9402, ge=0, le=65535, description="metrics and probes; 0 = off")
    metrics_host: str = Field(default="0.0.0.0")
    # A lock takes milliseconds; two seconds tell a hung driver from a slow one.
    device_limit_s: float = Field(default=2.0, gt=0, description="deadline of every NVML call")
    engine_limit_s: float = Field(default=1.0, gt=0, description="deadline of an engine's /metrics page")
    pod_resources_limit_s: float = Field(default=2.0, gt=0, description="deadline of a PodResources call")
    # As long as the default epoch: the kubelet limits its callers, and a new binding is looked up at once.
    pod_resources_interval_s: float = Field(
        default=5.0, ge=0, description="how long an answer is not asked anew"
    )
    # The kubelet restarts within seconds; engines still answer at their addresses meanwhile.
    pod_resources_hold_s: float = Field(
        default=60.0, ge=0, description="how long the last answer is believed"
    )
    clock_epoch_s: float | None = Field(
        default=None,
        gt=0,
        description="replaces the EnergyPolicy's clock epoch, for squeezed demos and tests",
    )
    load_window_s: float = Field(
        default=LoadWindow().length_s, gt=0, description="token rates are taken over this window"
    )
    # The objects arrive in well under a second; an API server that restarts needs a few.
    start_grace_s: float = Field(
        default=15.0, ge=0, description="how long locks found at start wait for bindings"
    )
    report_interval_s: float = Field(default=30.0, gt=0, description="status is written at least this often")
    report_spacing_s: float = Field(default=2.0, ge=0, description="and at most this often")
    # Every driver call is bounded by device_limit_s and GPUs are reset in parallel.
    stop_limit_s: float = Field(default=10.0, gt=0, description="deadline of all resets at the end")
