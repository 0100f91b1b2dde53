"""Every reason that a user can meet, in one place.

A reason is a PascalCase constant that appears unchanged in conditions, Events, metric labels and logs.
"""

from __future__ import annotations

# Accepted
ACCEPTED = "Accepted"
INVALID_SPEC = "InvalidSpec"
UNKNOWN_ENGINE = "UnknownEngine"
TARGET_CONFLICT = "TargetConflict"
UNSUPPORTED_FIELD = "UnsupportedField"

# ProfileAvailable
PROFILE_FOUND = "ProfileFound"
PROFILE_MISSING = "ProfileMissing"
PROFILE_INVALID = "ProfileInvalid"
PROFILE_LACKS_VARIANT = "ProfileLacksVariant"

# ProfileAccurate, and what was made of one window of measured latency
PROFILE_CONFIRMED = "ProfileConfirmed"
PROFILE_OPTIMISTIC = "ProfileOptimistic"
PROFILE_ERROR_LARGE = "ProfileErrorLarge"
WINDOW_KEPT = "WindowKept"
WINDOW_MISSED = "WindowMissed"
WINDOW_SKIPPED = "WindowSkipped"

# MetricsAvailable
METRICS_FRESH = "MetricsFresh"
METRICS_MISSING = "MetricsMissing"
METRICS_STALE = "MetricsStale"
METRICS_INVALID = "MetricsInvalid"
METRICS_INCOMPLETE = "MetricsIncomplete"
METRICS_QUERY_FAILED = "MetricsQueryFailed"
METRICS_UNREACHABLE = "MetricsUnreachable"
METRICS_COUNTER_RESET = "MetricsCounterReset"

# Feasible
FEASIBLE = "Feasible"
OBJECTIVE_UNREACHABLE = "ObjectiveUnreachable"
INSUFFICIENT_GPUS = "InsufficientGPUs"
INSUFFICIENT_REPLICAS = "InsufficientReplicas"

# Planned
PLANNED = "Planned"
HELD = "Held"
NO_POLICY = "NoPolicy"
NO_DEMAND_YET = "NoDemandYet"
SOLVER_TIME_LIMIT = "SolverTimeLimit"
SOLVER_FAILED = "SolverFailed"
FALLBACK_PLAN = "FallbackPlan"
UP_ONLY_PLAN = "UpOnlyPlan"
HELD_AT_HIGHEST_CLOCK = "HeldAtHighestClock"
OBSERVING = "Observing"
RECOMMENDING = "Recommending"

# Actuated
ACTUATED = "Actuated"
NOT_ACTING = "NotActing"
KNOB_NOT_ENABLED = "KnobNotEnabled"
TARGET_NOT_FOUND = "TargetNotFound"
TARGET_NOT_SCALABLE = "TargetNotScalable"
FOREIGN_SCALER = "ForeignScaler"
NO_AUTOSCALER = "NoAutoscaler"
AUTOSCALER_LAGS = "AutoscalerLags"
REPLICAS_MOVED = "ReplicasMoved"
REPLICAS_DECLARED = "ReplicasDeclared"
REPLICAS_HELD = "ReplicasHeld"
REPLICAS_ADOPTED = "ReplicasAdopted"
REPLICAS_RAISED = "ReplicasRaised"
REPLICAS_CONTESTED = "ReplicasContested"
RESHARDING = "Resharding"
SCALING = "Scaling"
WRITE_REFUSED = "WriteRefused"
UNSCHEDULABLE = "Unschedulable"
REPLICAS_NOT_READY = "ReplicasNotReady"
PROFILE_STALE = "ProfileStale"
ROLLOUT_IN_PROGRESS = "RolloutInProgress"
ROLLOUT_WITHOUT_ROOM = "RolloutWithoutRoom"
PODS_DISRUPTED = "PodsDisrupted"
DISRUPTION_BUDGET = "DisruptionBudget"
QUOTA_EXCEEDED = "QuotaExceeded"
DISRUPTABLE = "Disruptable"
NODE_UNAVAILABLE = "NodeUnavailable"
NOT_READ = "NotRead"

# guardrails
BELOW_OBSERVED_NEED = "BelowObservedNeed"
DWELL = "Dwell"
STEP_LIMITED = "StepLimited"
MINIMUM_GAIN = "MinimumGain"
STARTS_LIMITED = "StartsLimited"
MODE_CEILING = "ModeCeiling"
REINFORCED = "Reinforced"
REINFORCEMENT_ENDED = "ReinforcementEnded"

# lanes of a pool
LANE_MERGED = "LaneMerged"
LANE_APART = "LaneApart"
LANE_ASKED_FOR = "LaneAskedFor"
NO_LOAD = "NoLoad"
OBJECTIVE_MISSING = "ObjectiveMissing"
CONFUSION_INVALID = "ConfusionInvalid"

# changes
SCALE_UP = "ScaleUp"
SCALE_DOWN = "ScaleDown"
RESHARD_SURGE = "ReshardSurge"
RESHARD_SHRINK = "ReshardShrink"

# DrainSafe, and how victims ended
DRAINS = "Drains"
NO_DRAIN = "NoDrain"
GRACE_TOO_SHORT = "GraceTooShort"
VICTIM_UNKNOWN = "VictimUnknown"
DRAIN_UNKNOWN = "DrainUnknown"
VICTIM_NOT_READY = "VictimNotReady"
DRAINED = "Drained"
DRAIN_UNSEEN = "DrainUnseen"
REQUESTS_LOST = "RequestsLost"

# TrafficBalanced
TRAFFIC_EVEN = "TrafficEven"
UNEVEN_TRAFFIC = "UnevenTraffic"

# SLOMet
SLO_MET = "SLOMet"
SLO_MISSED = "SLOMissed"
SLO_UNKNOWN = "SLOUnknown"
SLO_BETWEEN_BUCKETS = "ObjectiveBetweenBuckets"
TOO_FEW_REQUESTS = "TooFewRequests"

# NodeAgentsReady
AGENTS_READY = "AgentsReady"
AGENTS_MISSING = "AgentsMissing"
AGENT_FAILED = "AgentFailed"
CLOCKS_NOT_MANAGED = "ClocksNotManaged"

# Ready and the process
READY = "Ready"
NOT_READY = "NotReady"
API_UNAVAILABLE = "APIUnavailable"
FORBIDDEN = "Forbidden"
CRD_MISSING = "CRDMissing"
SCHEMA_SKEW = "SchemaSkew"
POLICY_OVERRIDDEN = "PolicyOverridden"

# node agent, per GPU
LEASE_STALE = "LeaseStale"
ENGINE_METRICS_UNAVAILABLE = "EngineMetricsUnavailable"
NO_BINDING = "NoBinding"
CLOCK_APPLIED = "ClockApplied"
CLOCK_RESET = "ClockReset"
CLOCK_REFUSED = "ClockRefused"
FOREIGN_CLOCK = "ForeignClock"
