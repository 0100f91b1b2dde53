"""A reason and its message: the same text in condition, Event, metric label and log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ConditionType(StrEnum):
    """Conditions of a pool, all positive."""

    ACCEPTED = "Accepted"
    PROFILE_AVAILABLE = "ProfileAvailable"
    PROFILE_ACCURATE = "ProfileAccurate"
    METRICS_AVAILABLE = "MetricsAvailable"
    FEASIBLE = "Feasible"
    PLANNED = "Planned"
    ACTUATED = "Actuated"
    DRAIN_SAFE = "DrainSafe"
    TRAFFIC_BALANCED = "TrafficBalanced"
    SLO_MET = "SLOMet"
    NODE_AGENTS_READY = "NodeAgentsReady"
    READY = "Ready"


class ConditionStatus(StrEnum):
    """Kubernetes' three-valued truth."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why something is so.

    `reason` is a constant of `joulery.domain.reasons`; `message` names object, cause, since when and cure.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict on one condition of one pool."""

    condition: ConditionType
    status: ConditionStatus
    verdict: Verdict
