"""InferencePool manifests as domain pools; every problem becomes a finding that names the field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from joulery.api.v1alpha1 import inference_pool as api
from joulery.api.v1alpha1 import request_classes as api_classes
from joulery.api.v1alpha1 import variants as api_variants
from joulery.api.validation import problems_of
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.pool import Adopt, DemandSource, Engine, Knob, Mode, Pool, ReplicaActuator, Variant
from joulery.domain.request_class import DEFAULT_CLASSES, Objective, RequestClass, TokenRange
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.domain.vllm_metrics import metrics_of, supported_text

_PROMETHEUS_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]{0,127}")


def key_of(manifest: Mapping[str, Any]) -> ObjectKey:
    """Namespace and name of a namespaced object."""
    metadata = manifest["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


def generation_of(manifest: Mapping[str, Any]) -> int:
    """metadata.generation, 0 where the API server has not set it yet."""
    return int(manifest["metadata"].get("generation", 0))


def pool_of(manifest: Mapping[str, Any]) -> Pool | tuple[Finding, ...]:
    """The pool, or why it cannot be accepted: one finding `Accepted=False` for each problem.

    The API server refuses most of this by schema and CEL; objects older than a rule still arrive.
    """
    try:
        spec = api.InferencePoolSpec.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        return tuple(_refused(reasons.INVALID_SPEC, text) for text in problems_of(error))
    findings = tuple(_findings(spec))
    return findings or _pool(manifest, spec)


def _refused(reason: str, message: str) -> Finding:
    return Finding(ConditionType.ACCEPTED, ConditionStatus.FALSE, Verdict(reason, message))


def _findings(spec: api.InferencePoolSpec) -> Iterator[Finding]:
    if metrics_of(spec.engine.type, spec.engine.version) is None:
        yield _refused(
            reasons.UNKNOWN_ENGINE,
            f"spec.engine.version: the metrics of {spec.engine.type} {spec.engine.version} are not known; "
            f"supported: {supported_text()}",
        )
    problems = (
        *_variant_problems(spec.variants),
        *_class_problems(spec.request_classes or ()),
        *_label_problems(spec.demand),
        *_redundancy_problems(spec),
    )
    for problem in problems:
        yield _refused(reasons.INVALID_SPEC, problem)


def _label_problems(demand: api.Demand) -> Iterator[str]:
    for name in demand.match_labels:
        if not _PROMETHEUS_LABEL.fullmatch(name):
            yield f"spec.demand.matchLabels: {name!r} is no label name: use letters, digits and _"


def _redundancy_problems(spec: api.InferencePoolSpec) -> Iterator[str]:
    spares, most = spec.redundancy.instances, max(v.max_replicas for v in spec.variants)
    if spares and most <= spares:
        yield (
            f"spec.redundancy.instances: {spares} of at most {most} replicas leave no instance to serve: "
            "raise a variant's maxReplicas above it or lower redundancy.instances"
        )


def _variant_problems(variants: tuple[api_variants.Variant, ...]) -> Iterator[str]:
    names: set[str] = set()
    targets: dict[TargetRef, str] = {}
    for index, variant in enumerate(variants):
        where = f"spec.variants[{index}]"
        if variant.name in names:
            yield f"{where}.name: {variant.name!r} is taken: give every variant a name of its own"
        names.add(variant.name)
        target = _target(variant)
        if target in targets:
            yield (
                f"{where}.scaleTargetRef: {target} already serves variant {targets[target]!r}: "
                "give each variant a workload of its own"
            )
        targets.setdefault(target, variant.name)
        if variant.min_replicas > variant.max_replicas:
            yield (
                f"{where}.minReplicas: {variant.min_replicas} exceeds maxReplicas {variant.max_replicas}: "
                "lower minReplicas or raise maxReplicas"
            )
        # The engine model refuses such a batch, and one pool's must not end the planning of all.
        if variant.max_num_seqs > variant.max_num_batched_tokens:
            yield (
                f"{where}.maxNumSeqs: {variant.max_num_seqs} exceeds maxNumBatchedTokens "
                f"{variant.max_num_batched_tokens}: lower maxNumSeqs or raise maxNumBatchedTokens"
            )


def _class_problems(classes: tuple[api_classes.RequestClass, ...]) -> Iterator[str]:
    problems = [*_range_problems(classes), *_overlap_problems(classes)]
    yield from problems
    if classes and not problems and (hole := _hole(classes)):
        yield hole


def _range_problems(classes: tuple[api_classes.RequestClass, ...]) -> Iterator[str]:
    for index, request_class in enumerate(classes):
        parts = (("inputTokens", request_class.input_tokens), ("outputTokens", request_class.output_tokens))
        for name, tokens in parts:
            if tokens.minimum > tokens.maximum:
                yield (
                    f"spec.requestClasses[{index}].{name}: minimum {tokens.minimum} exceeds maximum "
                    f"{tokens.maximum}: lower minimum or raise maximum"
                )


def _overlap_problems(classes: tuple[api_classes.RequestClass, ...]) -> Iterator[str]:
    for index, one in enumerate(classes):
        for other in classes[:index]:
            if one.name == other.name:
                yield f"spec.requestClasses[{index}].name: {one.name!r} is taken: give each its own name"
            elif _meet(one.input_tokens, other.input_tokens) and _meet(
                one.output_tokens, other.output_tokens
            ):
                yield (
                    f"spec.requestClasses[{index}]: {one.name!r} overlaps {other.name!r}: "
                    "give them disjoint inputTokens or outputTokens"
                )


def _meet(one: api_classes.TokenRange, other: api_classes.TokenRange) -> bool:
    return one.minimum <= other.maximum and other.minimum <= one.maximum


def _hole(classes: tuple[api_classes.RequestClass, ...]) -> str | None:
    """A request without a class, found on the grid of all range starts; None where the box is covered."""
    starts_in = sorted({e for c in classes for e in (c.input_tokens.minimum, c.input_tokens.maximum + 1)})
    starts_out = sorted({e for c in classes for e in (c.output_tokens.minimum, c.output_tokens.maximum + 1)})
    for tokens_in in starts_in[:-1]:
        for tokens_out in starts_out[:-1]:
            if not any(_covers(c, tokens_in, tokens_out) for c in classes):
                return (
                    f"spec.requestClasses: no class for {tokens_in} input and {tokens_out} output tokens: "
                    "the classes must cover every length from the smallest minimum to the largest maximum"
                )
    return None


def _covers(request_class: api_classes.RequestClass, tokens_in: int, tokens_out: int) -> bool:
    inputs, outputs = request_class.input_tokens, request_class.output_tokens
    return inputs.minimum <= tokens_in <= inputs.maximum and outputs.minimum <= tokens_out <= outputs.maximum


def _pool(manifest: Mapping[str, Any], spec: api.InferencePoolSpec) -> Pool:
    return Pool(
        key=key_of(manifest),
        uid=str(manifest["metadata"].get("uid", "")),
        generation=generation_of(manifest),
        profile_name=spec.profile_ref.name,
        engine=Engine(
            spec.engine.type, spec.engine.version, spec.engine.metrics_port, spec.engine.metrics_path
        ),
        classes=_classes(spec.request_classes),
        variants=tuple(_variant(v) for v in spec.variants),
        demand_source=DemandSource(
            spec.model.served_model_name, tuple(sorted(spec.demand.match_labels.items()))
        ),
        mode=Mode(spec.mode),
        knobs=frozenset(Knob(knob) for knob in spec.knobs),
        weight=spec.shedding_weight,
        spare_instances=spec.redundancy.instances,
        adopt=Adopt(spec.scaling.adopt),
        actuator=ReplicaActuator(spec.scaling.actuator),
    )


def _classes(classes: tuple[api_classes.RequestClass, ...] | None) -> tuple[RequestClass, ...]:
    if classes is None:
        return DEFAULT_CLASSES
    return tuple(
        RequestClass(
            c.name,
            TokenRange(c.input_tokens.minimum, c.input_tokens.maximum),
            TokenRange(c.output_tokens.minimum, c.output_tokens.maximum),
            Objective(
                c.objective.time_to_first_token_milliseconds,
                c.objective.time_per_output_token_milliseconds,
                c.objective.inter_token_latency_p99_milliseconds,
            ),
        )
        for c in classes
    )


def _target(variant: api_variants.Variant) -> TargetRef:
    reference = variant.scale_target_ref
    return TargetRef(reference.api_version, reference.kind, reference.name)


def _variant(variant: api_variants.Variant) -> Variant:
    return Variant(
        name=variant.name,
        target=_target(variant),
        accelerator=variant.accelerator,
        tensor_parallel_size=variant.tensor_parallel_size,
        token_budget=variant.max_num_batched_tokens,
        max_num_seqs=variant.max_num_seqs,
        min_replicas=variant.min_replicas,
        max_replicas=variant.max_replicas,
        startup_s=float(variant.startup_seconds),
    )
