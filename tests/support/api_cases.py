"""Manifests of the four kinds with every field set, and small changes to them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

API_VERSION = "joulery.dev/v1alpha1"
TIME = "2026-05-12T08:00:00Z"

Manifest = dict[str, Any]


def request_class(name: str, inputs: tuple[int, int], outputs: tuple[int, int]) -> Manifest:
    return {
        "name": name,
        "inputTokens": {"minimum": inputs[0], "maximum": inputs[1]},
        "outputTokens": {"minimum": outputs[0], "maximum": outputs[1]},
        "objective": {
            "timeToFirstTokenMilliseconds": 500,
            "timePerOutputTokenMilliseconds": 100,
            "interTokenLatencyP99Milliseconds": 200,
        },
    }


def variant(name: str, size: int) -> Manifest:
    return {
        "name": name,
        "accelerator": "H100-SXM-80GB",
        "tensorParallelSize": size,
        "maxNumBatchedTokens": 2048,
        "maxNumSeqs": 256,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"chat-{name}"},
        "minReplicas": 1,
        "maxReplicas": 6,
        "startupSeconds": 120,
    }


def pool() -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "InferencePool",
        "metadata": {"name": "chat", "namespace": "default", "generation": 3, "uid": "u-1"},
        "spec": {
            "mode": "Act",
            "scaling": {"actuator": "Metric", "adopt": "Declared"},
            "knobs": ["Clocks", "Replicas", "Shards"],
            "sheddingWeight": 10,
            "redundancy": {"instances": 1},
            "engine": {"type": "VLLM", "version": "0.11.0", "metricsPort": 8000, "metricsPath": "/metrics"},
            "model": {"servedModelName": "llama-3.1-70b"},
            "profileRef": {"name": "llama-3.1-70b-fp8"},
            "requestClasses": [
                request_class("short", (1, 255), (1, 8192)),
                request_class("long", (256, 8192), (1, 8192)),
            ],
            "variants": [variant("tp4", 4), variant("tp8", 8)],
            "demand": {"matchLabels": {"cluster": "demo"}},
        },
    }


def minimal_pool() -> Manifest:
    """Only what has no default."""
    manifest = pool()
    spec = manifest["spec"]
    for optional in ("mode", "knobs", "sheddingWeight", "redundancy", "scaling", "requestClasses", "demand"):
        del spec[optional]
    spec["engine"] = {"type": "VLLM", "version": "0.11.0"}
    spec["variants"] = spec["variants"][:1]
    for optional in ("minReplicas", "startupSeconds"):
        del spec["variants"][0][optional]
    return manifest


def pool_status() -> Manifest:
    return {
        "observedGeneration": 3,
        "planId": "p-1",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "all is well",
                "observedGeneration": 3,
                "lastTransitionTime": TIME,
            }
        ],
        "summary": {
            "replicas": "3/4",
            "shards": "TP4x3",
            "clock": "1410 MHz",
            "watts": "5120/5300",
            "slo": "99.42%",
        },
        "variants": [
            {
                "name": "tp4",
                "currentReplicas": 3,
                "readyReplicas": 3,
                "targetReplicas": 4,
                "clockMHz": 1410,
                "deratePercent": "93.5",
                "holdReason": "ForeignScaler",
                "holdMessage": "a HorizontalPodAutoscaler targets it",
            }
        ],
        "predictedWatts": 5300,
        "measuredWatts": 5120,
        "requestsPerMinute": 744,
        "attainmentPercent": "99.42",
        "recommendation": {"variant": "tp4", "replicas": 4, "clockMHz": 1410},
        "decisions": [{"reason": "ScaleUp", "message": "demand rose", "time": TIME, "planId": "p-1"}],
        "memory": {
            "planId": "p-1",
            "plannedTime": TIME,
            "goalVariant": "tp4",
            "goalReplicas": 4,
            "goalClockMHz": 1410,
            "variants": [
                {
                    "name": "tp4",
                    "lastSetReplicas": 4,
                    "lastUpTime": TIME,
                    "lastDownTime": TIME,
                    "startupMilliseconds": 118000,
                    "adopted": True,
                    "pendingFromReplicas": 3,
                    "setBackTimes": [TIME, TIME],
                    "heldGeneration": 3,
                    "heldReplicas": 2,
                    "heldReason": "ReplicasHeld",
                    "heldBy": "kubectl/Update/scale/2026-11-21T10:00:00Z",
                    "askedReplicas": 3,
                    "derate": {"basisPoints": 9350, "optimisticTime": TIME, "profileHash": "9f2c"},
                }
            ],
            "reinforcement": {"replicas": 1, "changedTime": TIME},
        },
    }


def policy(name: str = "default") -> Manifest:
    manifest: Manifest = {
        "apiVersion": API_VERSION,
        "kind": "EnergyPolicy",
        "metadata": {"name": name},
        "spec": {
            "namespaces": ["chat"],
            "priority": 5,
            "maxMode": "Act",
            "clockBounds": [{"accelerator": "H100-SXM-80GB", "floorMHz": 900, "ceilingMHz": 1980}],
            "guardrails": {"dwellSeconds": 300, "maxStepDownPercent": 40, "minimumGainPercent": 5},
        },
    }
    if name == "default":
        manifest["spec"]["cadence"] = {
            "planEpochSeconds": 60,
            "demandPollSeconds": 10,
            "clockEpochSeconds": 2,
            "leaseTimeoutSeconds": 120,
        }
        manifest["spec"]["solver"] = {"timeLimitMilliseconds": 2000, "maxStartsPerPlan": 40}
    return manifest


def gpu_node() -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "GPUNode",
        "metadata": {"name": "gpu-0"},
        "spec": {
            "planId": "p-1",
            "tables": [
                {
                    "name": "default/chat/tp4",
                    "lowestMHz": 900,
                    "highestMHz": 1980,
                    "dwellMilliseconds": 15000,
                    "promptWeightPercent": 80,
                    "guards": {
                        "maxRunningRequests": 192,
                        "maxKVUsagePercent": 85,
                        "maxQueueAgeMilliseconds": 500,
                    },
                    "rows": [
                        {"promptTokensPerSecond": 4000, "generationTokensPerSecond": 900, "clockMHz": 1200}
                    ],
                }
            ],
            "bindings": [
                {
                    "podUID": "11111111-2222-3333-4444-555555555555",
                    "namespace": "default",
                    "podName": "chat-tp4-abc",
                    "address": "127.1.0.5",
                    "metricsPort": 8000,
                    "metricsPath": "/metrics",
                    "table": "default/chat/tp4",
                }
            ],
        },
    }


def gpu_node_status() -> Manifest:
    return {
        "observedGeneration": 1,
        "agentVersion": "0.1.0",
        "bootId": "5f3c0d6e-0000-4000-8000-000000000000",
        "planId": "p-1",
        "reportTime": TIME,
        "leaseSeenTime": TIME,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AgentsReady",
                "message": "",
                "observedGeneration": 1,
                "lastTransitionTime": TIME,
            }
        ],
        "gpus": [
            {
                "uuid": "GPU-1",
                "index": 0,
                "productName": "NVIDIA H100 80GB HBM3",
                "requestedMHz": 1200,
                "appliedMHz": 1200,
                "observedMHz": 1185,
                "powerMilliwatts": 412000,
                "energyMillijoules": 9_000_000_000_000,
                "reason": "ClockApplied",
                "message": "table default/chat/tp4",
                "ownerNamespace": "default",
                "ownerPod": "chat-tp4-abc",
                "highestClockSinceTime": "2026-10-01T10:00:00Z",
            }
        ],
    }


def _parameter(value: int | str, low: int | str, high: int | str) -> Manifest:
    basis = {"points": 5, "meanErrorPercent": "3.1", "valid": "TP 4"}
    return {
        "value": value,
        "low": low,
        "high": high,
        "grade": "Assumed",
        "source": "a case of the tests",
        "basis": basis,
    }


def profile() -> Manifest:
    time, watts, ratio = (
        _parameter(500, 400, 600),
        _parameter(50_000, 40_000, 60_000),
        _parameter("0.7", "0.5", "0.9"),
    )
    latency = (
        "hostBaseNanoseconds", "hostPerDoublingNanoseconds", "weightStreamingNanoseconds",
        "computeTokenPicoseconds", "computeTokenUndividedPicoseconds", "contextTokenPicoseconds",
        "sequenceNanoseconds", "clientBaseNanoseconds", "clientPerGPUNanoseconds",
    )  # fmt: skip
    power = (
        "idleEmptyMilliwatts", "idleLoadedMilliwatts", "hostMilliwatts", "weightStreamingMilliwatts",
        "decodeAttentionMilliwatts", "computeMilliwatts",
    )  # fmt: skip
    response = ("memoryFloor", "memoryKnee", "computeExponent", "bandwidthKnee", "bandwidthSlope")
    accelerator = {
        "name": "H100-SXM-80GB",
        "maxClockMHz": 1980,
        "supportedClocksMHz": [1200, 1590, 1980],
        "measuredAboveMHz": 1200,
        "memoryBytes": 85899345920,
        "kvMemoryShare": "0.9",
        "reservedBytesPerGPU": 2500000000,
        "boardLimitMilliwatts": 700000,
        "kvCache": {"type": "FP8", "bytesPerToken": 163840},
        "tensorParallelSizes": [{"size": 4, "streamingStepNanoseconds": deepcopy(time)}],
        "latency": {name: deepcopy(time) for name in latency},
        "power": {**{name: deepcopy(watts) for name in power}, "offset": _parameter("1", "0.9", "1.1")},
        "clockResponse": {name: deepcopy(ratio) for name in response},
        "server": {"baseMilliwatts": 1000000, "slope": "1.1", "gpusPerServer": 8},
        "heldOutErrors": [
            {"quantity": "TPOT", "heldOut": "TP2", "points": 5, "meanPercent": "3.1", "maxPercent": "8"}
        ],
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "EnergyProfile",
        "metadata": {"name": "case-fp8"},
        "spec": {
            "model": "case",
            "engine": {"type": "VLLM", "version": "0.11.0", "maxNumBatchedTokens": 8192},
            "precision": "FP8",
            "kvCacheType": "BF16",
            "parameters": {
                "weightBytes": 72700000000,
                "streamedWeightBytes": 70600000000,
                "kvBytesPerToken": 327680,
                "maxModelLength": 131072,
            },
            "accelerators": [accelerator],
        },
    }


Path = tuple[str | int, ...]


def changed(manifest: Manifest, path: Path, value: Any) -> Manifest:
    """A copy with one value set; `...` as value removes it."""
    copy = deepcopy(manifest)
    *parents, last = path
    place: Any = copy
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copy
