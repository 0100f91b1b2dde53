"""Kubernetes objects of a scenario as plain manifests: what a platform engineer would apply by hand."""

from __future__ import annotations

from typing import Any

from joulery.domain.policy import Policy
from joulery.domain.pool import Pool, Variant
from joulery.simulator.traces import MAX_MODEL_LENGTH_TOKENS

Manifest = dict[str, Any]
_API = "joulery.dev/v1alpha1"
# Longer than any answer within the default objectives (8192 tokens at 100 ms); an idle engine ends at once.
GRACE_S = 900


def drain_hook(port: int = 8000) -> Manifest:
    """A preStop hook: until endpoints have forgotten the pod, then until no request runs.

    The engine itself would abort them on SIGTERM.
    """
    busy = f"curl -sf localhost:{port}/metrics | grep -qE '^vllm:num_requests_(running|waiting).* [1-9]'"
    return {"exec": {"command": ["sh", "-c", f"sleep 5; while {busy}; do sleep 1; done"]}}


def namespace(name: str) -> Manifest:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(pool: Pool, variant: Variant, replicas: int, startup_s: float) -> Manifest:
    """One variant's engines as a vLLM user would write them; `replicas` is what runs before Joulery comes."""
    labels = {"app": variant.target.name}
    container = {
        "name": "vllm",
        "image": f"vllm/vllm-openai:v{pool.engine.version}",
        "args": [
            "--model=meta-llama/Llama-3.1-70B-Instruct-FP8",
            f"--served-model-name={pool.demand_source.served_model_name}",
            f"--tensor-parallel-size={variant.tensor_parallel_size}",
            f"--max-num-batched-tokens={variant.token_budget}",
            f"--max-num-seqs={variant.max_num_seqs}",
            f"--max-model-len={MAX_MODEL_LENGTH_TOKENS}",
        ],
        "ports": [{"name": "http", "containerPort": pool.engine.metrics_port}],
        "resources": {"limits": {"nvidia.com/gpu": str(variant.tensor_parallel_size)}},
        "lifecycle": {"preStop": drain_hook(pool.engine.metrics_port)},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": variant.target.name, "namespace": pool.key.namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"emulator.joulery.dev/startup-seconds": f"{startup_s:g}"},
                },
                "spec": {"terminationGracePeriodSeconds": GRACE_S, "containers": [container]},
            },
        },
    }


def inference_pool(pool: Pool) -> Manifest:
    """The pool itself."""
    return {
        "apiVersion": _API,
        "kind": "InferencePool",
        "metadata": {"name": pool.key.name, "namespace": pool.key.namespace},
        "spec": {
            "mode": pool.mode.value,
            # The Deployments declare what runs before Joulery comes.
            "scaling": {"adopt": "Declared"},
            "knobs": sorted(k.value for k in pool.knobs),
            "engine": {
                "type": pool.engine.type,
                "version": pool.engine.version,
                "metricsPort": pool.engine.metrics_port,
                "metricsPath": pool.engine.metrics_path,
            },
            "model": {"servedModelName": pool.demand_source.served_model_name},
            "profileRef": {"name": pool.profile_name},
            "requestClasses": [
                {
                    "name": c.name,
                    "inputTokens": {"minimum": c.input_tokens.minimum, "maximum": c.input_tokens.maximum},
                    "outputTokens": {"minimum": c.output_tokens.minimum, "maximum": c.output_tokens.maximum},
                    "objective": {
                        "timeToFirstTokenMilliseconds": c.objective.time_to_first_token_ms,
                        "timePerOutputTokenMilliseconds": c.objective.time_per_output_token_ms,
                    },
                }
                for c in pool.classes
            ],
            "variants": [_variant(v) for v in pool.variants],
        },
    }


def _variant(variant: Variant) -> Manifest:
    target = variant.target
    return {
        "name": variant.name,
        "accelerator": variant.accelerator,
        "tensorParallelSize": variant.tensor_parallel_size,
        "maxNumBatchedTokens": variant.token_budget,
        "maxNumSeqs": variant.max_num_seqs,
        "scaleTargetRef": {"apiVersion": target.api_version, "kind": target.kind, "name": target.name},
        "minReplicas": variant.min_replicas,
        "maxReplicas": variant.max_replicas,
        "startupSeconds": max(1, round(variant.startup_s)),
    }


def energy_policy(policy: Policy) -> Manifest:
    """The administrator's policy."""
    return {
        "apiVersion": _API,
        "kind": "EnergyPolicy",
        "metadata": {"name": policy.name},
        "spec": {
            "maxMode": policy.max_mode.value,
            "clockBounds": [
                {"accelerator": b.accelerator, "floorMHz": b.floor_mhz, "ceilingMHz": b.ceiling_mhz}
                for b in policy.clocks
            ],
            "guardrails": {
                "dwellSeconds": round(policy.guardrails.dwell_s),
                "maxStepDownPercent": policy.guardrails.max_step_down_percent,
                "minimumGainPercent": policy.guardrails.minimum_gain_percent,
            },
            "cadence": {
                "planEpochSeconds": round(policy.cadence.plan_epoch_s),
                "demandPollSeconds": round(policy.cadence.demand_poll_s),
                "clockEpochSeconds": round(policy.cadence.clock_epoch_s),
                "leaseTimeoutSeconds": round(policy.cadence.lease_timeout_s),
            },
        },
    }
