"""The scenario's manifests say exactly what the replay runs with."""

from __future__ import annotations

from dataclasses import replace

from joulery.api.convert import policy_of, pool_of
from joulery.demo import objects
from joulery.demo.timing import DemoTiming
from joulery.domain.pool import Adopt, Pool
from joulery.simulator.scenario import SCENARIO_NAMESPACE, default_policy
from joulery.simulator.scenario import pool_of as scenario_pool


def chat() -> Pool:
    return scenario_pool("chat", 6.0, "llama-3.1-70b-fp8")


def test_a_pool_reads_back_as_the_pool_that_is_replayed() -> None:
    manifest = objects.inference_pool(chat())
    manifest["metadata"] |= {"uid": "u-1", "generation": 4}
    # In a replay nobody declares replicas; the demo's Deployments do.
    assert pool_of(manifest) == replace(chat(), uid="u-1", generation=4, adopt=Adopt.DECLARED)


def test_a_policy_reads_back_as_the_policy_that_is_replayed() -> None:
    timing = DemoTiming()
    policy = default_policy(timing.cadence, timing.guardrails)
    assert policy_of(objects.energy_policy(policy)) == policy


def test_a_deployment_carries_the_variants_engine_options() -> None:
    pool = chat()
    manifest = objects.deployment(pool, pool.variant("tp4"), replicas=2, startup_s=6.0)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert manifest["metadata"]["namespace"] == SCENARIO_NAMESPACE
    assert "--tensor-parallel-size=4" in container["args"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert manifest["spec"]["replicas"] == 2
