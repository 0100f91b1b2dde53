"""The four kinds: names, scope, printed columns, and the models of spec and status."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.api.labels import GROUP
from joulery.api.v1alpha1 import energy_policy
from joulery.api.v1alpha1.common import ApiModel
from joulery.api.v1alpha1.energy_policy import EnergyPolicySpec
from joulery.api.v1alpha1.energy_profile import EnergyProfileSpec
from joulery.api.v1alpha1.gpu_node import GPUNodeSpec, GPUNodeStatus
from joulery.api.v1alpha1.inference_pool import InferencePoolSpec
from joulery.api.v1alpha1.inference_pool_status import InferencePoolStatus


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `wide` ones show with `-o wide` only."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the API group."""

    kind: str
    plural: str
    singular: str
    short_name: str
    namespaced: bool
    description: str
    spec: type[ApiModel]
    status: type[ApiModel] | None
    columns: tuple[Column, ...]
    rules: tuple[dict[str, str], ...] = ()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


_AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")
_READY = '.status.conditions[?(@.type=="Ready")].status'

INFERENCE_POOL = Kind(
    kind="InferencePool",
    plural="inferencepools",
    singular="inferencepool",
    short_name="jpool",
    namespaced=True,
    description="One model served under latency objectives, and the variants that may serve it.",
    spec=InferencePoolSpec,
    status=InferencePoolStatus,
    columns=(
        Column("Mode", ".spec.mode", "How far Joulery may go."),
        Column("Ready", _READY, "Whether everything the mode asks for works."),
        Column("Replicas", ".status.summary.replicas", "Current and target replicas."),
        Column("TP", ".status.summary.shards", "Tensor-parallel sizes and replicas of each."),
        Column("Clock", ".status.summary.clock", "SM clock at the planned peak."),
        Column("Watts", ".status.summary.watts", "Measured and predicted watts."),
        Column("SLO", ".status.summary.slo", "Share of requests within their objective."),
        _AGE,
    ),
)

ENERGY_POLICY = Kind(
    kind="EnergyPolicy",
    plural="energypolicies",
    singular="energypolicy",
    short_name="jpolicy",
    namespaced=False,
    description="What the administrator allows the pools of some namespaces.",
    spec=EnergyPolicySpec,
    status=None,
    columns=(
        Column("MaxMode", ".spec.maxMode", "Ceiling on the mode of the pools."),
        Column("Priority", ".spec.priority", "Which policy wins.", type="integer"),
        _AGE,
    ),
    rules=energy_policy.ROOT_RULES,
)

ENERGY_PROFILE = Kind(
    kind="EnergyProfile",
    plural="energyprofiles",
    singular="energyprofile",
    short_name="jprofile",
    namespaced=False,
    description="The serving model of one model, engine and precision, per accelerator; immutable.",
    spec=EnergyProfileSpec,
    status=None,
    columns=(
        Column("Model", ".spec.model", "The model."),
        Column("Engine", ".spec.engine.type", "The engine that was measured."),
        Column("Version", ".spec.engine.version", "Its version.", wide=True),
        Column("Precision", ".spec.precision", "Precision of the weights."),
        _AGE,
    ),
)

GPU_NODE = Kind(
    kind="GPUNode",
    plural="gpunodes",
    singular="gpunode",
    short_name="jnode",
    namespaced=False,
    description="What the agent of one node is told and what it reports; named like the Node.",
    spec=GPUNodeSpec,
    status=GPUNodeStatus,
    columns=(
        Column("Ready", _READY, "Whether the agent works."),
        Column("Plan", ".status.planId", "Plan the agent acts on."),
        Column("Agent", ".status.agentVersion", "Version of the agent.", wide=True),
        _AGE,
    ),
)

KINDS: tuple[Kind, ...] = (INFERENCE_POOL, ENERGY_POLICY, ENERGY_PROFILE, GPU_NODE)
