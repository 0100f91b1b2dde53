"""A variant's pod template against what its pool declares: an engine that was changed is not the profiled one.

Only what a template says is judged. A flag that is not given may come from the environment or a file, a tag that is
no version tells nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from joulery.adapters.pod_view import Manifest, gpus_of
from joulery.domain import reasons
from joulery.domain.pool import Pool, Variant
from joulery.domain.verdict import Verdict

_SHORT = {"tp": "tensor-parallel-size"}
_SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash")
_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)")


def stale(template: Manifest, pool: Pool, variant: Variant, where: str) -> Verdict | None:
    """Why a profile does not describe what a template starts, None where nothing speaks against it.

    Args:
        template: the workload's `spec.template`.
        where: the workload, and since when it is so.
    """
    differences = tuple(_differences(template.get("spec") or {}, pool, variant))
    if not differences:
        return None
    text = (
        f"{where} starts {'; '.join(differences)}; its replicas are held, since its profile describes another "
        f"engine: correct the template, or declare the change in spec of pool {pool.key} with a profile made for it"
    )
    return Verdict(reasons.PROFILE_STALE, text)


def _differences(pod_spec: Manifest, pool: Pool, variant: Variant) -> Iterator[str]:
    container = _engine(pod_spec)
    given = flags((*(container.get("command") or ()), *(container.get("args") or ())))
    declared = {
        "tensor-parallel-size": variant.tensor_parallel_size,
        "max-num-batched-tokens": variant.token_budget,
        "max-num-seqs": variant.max_num_seqs,
    }
    for flag, value in declared.items():
        said = given.get(flag, ())
        if said and said[0].isdigit() and int(said[0]) != value:
            yield f"--{flag} {said[0]} where variant {variant.name} declares {value}"
    names = given.get("served-model-name", ())
    if names and pool.demand_source.served_model_name not in names:
        yield f"--served-model-name {names[0]} where the pool declares {pool.demand_source.served_model_name}"
    gpus = gpus_of({"spec": pod_spec})
    if gpus not in (0, variant.tensor_parallel_size):
        yield f"pods of {gpus} GPUs where variant {variant.name} declares {variant.tensor_parallel_size}"
    version = _tagged_version(str(container.get("image") or ""))
    if version is not None and not _is_same(version, pool.engine.version):
        yield f"image {container['image']} where the pool declares version {pool.engine.version}"


def _engine(pod_spec: Manifest) -> Manifest:
    """The container with GPUs, else the first."""
    containers: Sequence[Manifest] = pod_spec.get("containers") or ({},)
    return next((c for c in containers if gpus_of({"spec": {"containers": [c]}})), containers[0])


def flags(arguments: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Flag to values, from `--flag a b`, `--flag=a` and one line handed to a shell."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for argument in _words(arguments):
        if argument.startswith("-") and not argument.lstrip("-")[:1].isdigit():
            spelled, _, value = argument.lstrip("-").partition("=")
            name = _SHORT.get(spelled, spelled.replace("_", "-"))
            found[name] = (value,) if value else ()
        elif name:
            found[name] = (*found[name], argument)
    return found


def _words(arguments: Sequence[str]) -> Sequence[str]:
    if arguments and arguments[0] in _SHELLS:
        try:
            return [word for argument in arguments[1:] for word in shlex.split(argument)]
        except ValueError:
            return ()
    return arguments


def _tagged_version(image: str) -> str | None:
    """The version in the tag of a vLLM image, None where the name or the tag is another."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    match = _VERSION.match(tag)
    return match.group(1) if match is not None and "vllm" in name.rpartition("/")[2] else None


def _is_same(tagged: str, declared: str) -> bool:
    """Whether two versions agree as far as both are given."""
    match = _VERSION.match(declared)
    pairs = zip(tagged.split("."), match.group(1).split("."), strict=False) if match is not None else ()
    return all(one == other for one, other in pairs)
