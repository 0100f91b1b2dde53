"""A pool: one model served under latency objectives, and the variants that may serve it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.request_class import Objective, RequestClass, lane_objective


class Mode(StrEnum):
    """How far Joulery may go, each step including the one before."""

    OBSERVE = "Observe"
    RECOMMEND = "Recommend"
    ACT = "Act"

    @property
    def rank(self) -> int:
        """Order of daring, Observe lowest."""
        return list(Mode).index(self)


class Knob(StrEnum):
    """What may be moved in `Act`."""

    CLOCKS = "Clocks"
    REPLICAS = "Replicas"
    SHARDS = "Shards"


class Adopt(StrEnum):
    """Which replicas Joulery may take over from whoever applied the workload."""

    UNDECLARED = "Undeclared"
    DECLARED = "Declared"


@dataclass(frozen=True, slots=True)
class Engine:
    """The serving engine and where its own metrics are read."""

    type: str
    version: str
    metrics_port: int = 8000
    metrics_path: str = "/metrics"
    metrics_scheme: str = "http"


@dataclass(frozen=True, slots=True)
class Variant:
    """Accelerator x tensor-parallel size x engine options: one scalable workload."""

    name: str
    target: TargetRef
    accelerator: str
    tensor_parallel_size: int
    token_budget: int
    max_num_seqs: int
    min_replicas: int
    max_replicas: int
    startup_s: float


@dataclass(frozen=True, slots=True)
class DemandSource:
    """How Prometheus series of this pool are told from others."""

    served_model_name: str
    matchers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """One model served under latency objectives; `routing: Service`, one lane.

    The planned peak is to be carried with `spare_instances` of the instances lost.
    """

    key: ObjectKey
    uid: str
    generation: int
    profile_name: str
    engine: Engine
    classes: tuple[RequestClass, ...]
    variants: tuple[Variant, ...]
    demand_source: DemandSource
    mode: Mode = Mode.OBSERVE
    knobs: frozenset[Knob] = frozenset()
    weight: int = 1
    spare_instances: int = 0
    adopt: Adopt = Adopt.UNDECLARED

    @property
    def objective(self) -> Objective:
        """The lane's one objective."""
        return lane_objective(self.classes)

    def variant(self, name: str) -> Variant:
        """The variant of that name; KeyError where there is none."""
        for candidate in self.variants:
            if candidate.name == name:
                return candidate
        raise KeyError(f"pool {self.key} has no variant {name!r}")
