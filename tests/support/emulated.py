"""What tests of the emulator share: a true pool, engine Deployments, pods, and bounded waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from joulery.demo.objects import drain_hook
from joulery.domain.keys import ObjectKey
from joulery.emulator.accounts import PoolTruth
from joulery.emulator.pods import PodSpec
from serving_cases import ACCELERATOR, shipped_profile

MODEL = "llama-3.1-70b"


def pool_truth(namespace: str = "default", name: str = "chat") -> PoolTruth:
    """A pool whose truth is the shipped profile itself."""
    return PoolTruth(ObjectKey(namespace, name), MODEL, shipped_profile(), ACCELERATOR)


def engine_arguments(tensor_parallel_size: int) -> list[str]:
    """Arguments of a vLLM server."""
    return [
        "--model=meta-llama/Llama-3.1-70B-Instruct-FP8",
        f"--served-model-name={MODEL}",
        f"--tensor-parallel-size={tensor_parallel_size}",
        "--max-num-batched-tokens=2048",
        "--max-num-seqs=256",
    ]


def engine_deployment(
    name: str,
    *,
    replicas: int,
    gpus: int,
    startup_s: float = 1.0,
    grace_s: int = 30,
    namespace: str = "default",
) -> dict[str, Any]:
    """A Deployment of engines, one of `gpus` GPUs per pod."""
    labels = {"app": name}
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.11.0",
        "args": engine_arguments(gpus),
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        "lifecycle": {"preStop": drain_hook()},
    }
    template = {
        "metadata": {
            "labels": labels,
            "annotations": {"emulator.joulery.dev/startup-seconds": str(startup_s)},
        },
        "spec": {"terminationGracePeriodSeconds": grace_s, "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def pod_spec(
    name: str = "engine-0", *, gpus: int = 4, node: str = "emulated-gpu-0", namespace: str = "default"
) -> PodSpec:
    """A bound pod of the pool `pool_truth` makes."""
    return PodSpec(
        key=ObjectKey(namespace, name),
        uid=f"uid-{name}",
        node=node,
        gpus=gpus,
        container="vllm",
        containers=(("vllm", "vllm/vllm-openai:v0.11.0"),),
        arguments=tuple(engine_arguments(gpus)),
        labels={"app": "engine"},
        startup_s=1.0,
        grace_s=30.0,
    )


async def eventually(
    check: Callable[[], Awaitable[Any]], wanted: str, *, within_s: float = 20.0, every_s: float = 0.05
) -> Any:
    """The first true answer of `check`; fails after `within_s`, saying what was wanted and last seen."""
    deadline = time.monotonic() + within_s
    seen = await check()
    while not seen:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {wanted}; last seen {seen!r}")
        await asyncio.sleep(every_s)
        seen = await check()
    return seen


async def fetch(address: str, port: int, path: str = "/metrics") -> tuple[int, str]:
    """Status and body of one GET."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), timeout=5)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), timeout=5)).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body
