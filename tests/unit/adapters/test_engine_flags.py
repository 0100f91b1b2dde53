"""A template that starts another engine than the pool declares is told from one that does not say."""

from __future__ import annotations

import pytest

from fakes import pool
from joulery.adapters.engine_flags import flags, stale
from joulery.domain import reasons
from kube_manifests import deployment

POOL = pool()
(TP4,) = POOL.variants


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("serve", "meta/llama", "--tensor-parallel-size", "4", "--max-num-seqs=256"),
        ("-tp", "4", "--max_num_batched_tokens", "2048"),
        ("--served-model-name", "alias", "llama"),
        ("--max-num-seqs", "$(SEQS)"),
        ("--max-num-seqs",),
    ],
)
def test_template_that_agrees_or_does_not_say_is_not_stale(args: tuple[str, ...]) -> None:
    assert stale(deployment(args=args)["spec"]["template"], POOL, TP4, "it") is None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("-tp", "8"), "--tensor-parallel-size 8 where variant tp4 declares 4"),
        (("--max-num-seqs=512",), "--max-num-seqs 512 where variant tp4 declares 256"),
        (("--max-num-batched-tokens", "8192"), "--max-num-batched-tokens 8192"),
        (("--served-model-name", "other"), "--served-model-name other where the pool declares llama"),
        (("sh", "-c", "exec vllm serve m --max-num-seqs 512"), "--max-num-seqs 512"),
    ],
)
def test_changed_flag_is_named_with_what_is_declared(args: tuple[str, ...], words: str) -> None:
    verdict = stale(deployment(args=args)["spec"]["template"], POOL, TP4, "Deployment chat-tp4")
    assert verdict is not None
    assert verdict.reason == reasons.PROFILE_STALE
    assert words in verdict.message
    assert "Deployment chat-tp4" in verdict.message
    assert "correct the template" in verdict.message


@pytest.mark.parametrize(
    ("image", "is_stale"),
    [
        ("vllm/vllm-openai:v0.11.0", False),
        ("host:5000/mirror/vllm-openai:0.11.0-cu12@sha256:00", False),
        ("vllm/vllm-openai:latest", False),
        ("vllm/vllm-openai@sha256:00", False),
        ("team/engine:v9.9.9", False),
        ("vllm/vllm-openai:v0.12.1", True),
    ],
)
def test_image_is_judged_by_a_version_in_its_tag(image: str, is_stale: bool) -> None:
    assert (stale(deployment(image=image)["spec"]["template"], POOL, TP4, "it") is not None) is is_stale


def test_pods_with_other_gpus_than_declared_are_named() -> None:
    template = deployment()["spec"]["template"]
    template["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "8"
    verdict = stale(template, POOL, TP4, "it")
    assert verdict is not None
    assert "pods of 8 GPUs where variant tp4 declares 4" in verdict.message


def test_flags_are_read_in_both_spellings() -> None:
    assert flags(("--a=1", "--b_c", "2", "3", "--d")) == {"a": ("1",), "b-c": ("2", "3"), "d": ()}


def test_shell_line_that_does_not_parse_tells_nothing() -> None:
    assert flags(("sh", "-c", "vllm 'unclosed")) == {}
