"""What a node's agent is told: domain directives as GPUNode specs, and back on the agent's side.

Loads are written as whole tokens per second, rounded down, so that rounding errs towards the faster clock;
what was read back once is written again without any change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from joulery.api import labels
from joulery.api.v1alpha1 import gpu_node as api
from joulery.api.validation import problems_of
from joulery.domain.clock_table import ClockGuards, ClockRow, ClockTable
from joulery.domain.plan import Binding, NodeDirective
from joulery.errors import ConfigError

_HIGHEST_RATE = 1_000_000_000


def gpu_node_spec(directive: NodeDirective) -> dict[str, Any]:
    """The spec that tells a node's agent this directive."""
    return api.GPUNodeSpec(
        plan_id=directive.plan_id or None,
        tables=tuple(_table_spec(table) for table in directive.tables),
        bindings=tuple(_binding_spec(binding) for binding in directive.bindings),
    ).manifest()


def gpu_node_manifest(directive: NodeDirective, node_uid: str | None) -> dict[str, Any]:
    """The whole object for a server-side apply; owned by its Node where the node's uid is known."""
    metadata: dict[str, Any] = {"name": directive.node}
    if node_uid:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": directive.node, "uid": node_uid}
        ]
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "GPUNode",
        "metadata": metadata,
        "spec": gpu_node_spec(directive),
    }


def directive_of(node: str, spec: Mapping[str, Any]) -> NodeDirective:
    """What a GPUNode's spec tells the agent of that node. Raises ConfigError naming each field that is
    wrong.
    """
    try:
        parsed = api.GPUNodeSpec.model_validate(spec)
    except ValidationError as error:
        raise ConfigError(f"GPUNode {node}: {'; '.join(problems_of(error))}") from error
    tables = tuple(_table(table) for table in parsed.tables)
    known = {table.name for table in tables}
    for binding in parsed.bindings:
        if binding.table not in known:
            raise ConfigError(
                f"GPUNode {node}: pod {binding.pod_name} follows table {binding.table!r}, not given"
            )
    return NodeDirective(
        node=node,
        plan_id=parsed.plan_id or "",
        tables=tables,
        bindings=tuple(_binding(binding) for binding in parsed.bindings),
    )


def _rate(tokens_per_s: float) -> int:
    return int(min(max(tokens_per_s, 0.0), _HIGHEST_RATE))


def _table_spec(table: ClockTable) -> api.Table:
    return api.Table(
        name=table.name,
        lowest_mhz=table.lowest_mhz,
        highest_mhz=table.highest_mhz,
        dwell_milliseconds=round(table.dwell_s * 1000),
        prompt_weight_percent=round(table.prompt_weight * 100),
        guards=api.Guards(
            max_running_requests=table.guards.max_running_requests,
            max_kv_usage_percent=round(table.guards.max_kv_usage * 100),
            max_queue_age_milliseconds=round(table.guards.max_queue_age_s * 1000),
        ),
        rows=tuple(
            api.Row(
                prompt_tokens_per_second=_rate(row.prompt_tokens_per_s),
                generation_tokens_per_second=_rate(row.generation_tokens_per_s),
                clock_mhz=row.clock_mhz,
            )
            for row in table.rows
        ),
    )


def _table(table: api.Table) -> ClockTable:
    return ClockTable(
        name=table.name,
        rows=tuple(
            ClockRow(float(r.prompt_tokens_per_second), float(r.generation_tokens_per_second), r.clock_mhz)
            for r in table.rows
        ),
        lowest_mhz=table.lowest_mhz,
        highest_mhz=table.highest_mhz,
        guards=ClockGuards(
            max_running_requests=table.guards.max_running_requests,
            max_kv_usage=table.guards.max_kv_usage_percent / 100,
            max_queue_age_s=table.guards.max_queue_age_milliseconds / 1000,
        ),
        dwell_s=table.dwell_milliseconds / 1000,
        prompt_weight=table.prompt_weight_percent / 100,
    )


def _binding_spec(binding: Binding) -> api.Binding:
    return api.Binding(
        pod_uid=binding.pod_uid,
        namespace=binding.namespace,
        pod_name=binding.pod,
        address=binding.address,
        metrics_port=binding.metrics_port,
        metrics_path=binding.metrics_path,
        table=binding.table,
    )


def _binding(binding: api.Binding) -> Binding:
    return Binding(
        pod_uid=binding.pod_uid,
        namespace=binding.namespace,
        pod=binding.pod_name,
        address=binding.address,
        metrics_port=binding.metrics_port,
        metrics_path=binding.metrics_path,
        table=binding.table,
    )
