"""What a pod's specification says of its end: grace period, preStop hooks, and engines that drain by themselves.

vLLM aborts running requests on SIGTERM unless started with `--shutdown-timeout SECONDS` (vllm-project/vllm pull
request 34730, v0.18); before the signal a preStop hook may wait.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from joulery.api.labels import GPU_RESOURCE

PodSpec = Mapping[str, Any]

# The API server's own default where a pod names none.
DEFAULT_GRACE_S = 30.0
_SLEEP = re.compile(r"(?:/\S*/)?sleep (\d+(?:\.\d+)?)s?")
_SHELL = re.compile(r"\S*sh -c ")
_TIMEOUT = re.compile(r"--shutdown-timeout[= ](\d+(?:\.\d+)?)(?:\s|$)")


def grace_s(spec: PodSpec) -> float:
    """Seconds from the begin of a pod's end until it is killed."""
    given = spec.get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_S if given is None else float(given)


def waits_s(spec: PodSpec) -> float:
    """Seconds for which the weakest container with GPUs lets running answers end; 0 where one does not wait."""
    return min((_hook_s(c) + _engine_s(c) for c in engine_containers(spec)), default=0.0)


def engine_containers(spec: PodSpec) -> list[Mapping[str, Any]]:
    """Containers with GPUs, else the first: sidecars end with the pod and hold no answers."""
    containers: list[Mapping[str, Any]] = list(spec.get("containers") or ())
    return [c for c in containers if _has_gpus(c)] or containers[:1]


def _has_gpus(container: Mapping[str, Any]) -> bool:
    resources = container.get("resources") or {}
    return any(str((resources.get(k) or {}).get(GPU_RESOURCE, "0")) != "0" for k in ("limits", "requests"))


def _hook_s(container: Mapping[str, Any]) -> float:
    """A sleep lasts as long as it says; any other command is taken to wait until the engine is idle."""
    hook: Mapping[str, Any] = (container.get("lifecycle") or {}).get("preStop") or {}
    if "sleep" in hook:
        return float(hook["sleep"].get("seconds", 0))
    if "exec" in hook:
        return _command_s((hook["exec"] or {}).get("command") or ())
    return math.inf if hook else 0.0


def _command_s(command: Iterable[str]) -> float:
    text = _SHELL.sub("", " ".join(command), count=1).strip()
    asleep = _SLEEP.fullmatch(text)
    if asleep is not None:
        return float(asleep.group(1))
    return math.inf if text else 0.0


def _engine_s(container: Mapping[str, Any]) -> float:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    given = _TIMEOUT.search(" ".join(str(w) for w in words))
    return float(given.group(1)) if given is not None else 0.0
