"""Tables, bindings and directives as the agent's tests need them."""

from __future__ import annotations

from joulery.domain.clock_table import ClockGuards, ClockRow, ClockTable
from joulery.domain.plan import Binding, NodeDirective

NAMESPACE = "llm"
LOW_MHZ, MIDDLE_MHZ, HIGH_MHZ = 1200, 1500, 1980


def table(name: str = "llm/chat/tp2", dwell_s: float = 0.5) -> ClockTable:
    """Up to 1000 tokens/s of both kinds 1200 MHz, up to 5000 1500 MHz, beyond 1980 MHz."""
    return ClockTable(
        name=name,
        rows=(ClockRow(1000.0, 1000.0, LOW_MHZ), ClockRow(5000.0, 5000.0, MIDDLE_MHZ)),
        lowest_mhz=LOW_MHZ,
        highest_mhz=HIGH_MHZ,
        guards=ClockGuards(max_running_requests=64, max_kv_usage=0.8, max_queue_age_s=0.5),
        dwell_s=dwell_s,
    )


def binding(pod: str = "chat-0", port: int = 8000, uid: str | None = None, **other: str) -> Binding:
    return Binding(
        pod_uid=uid or f"uid-{pod}",
        namespace=other.get("namespace", NAMESPACE),
        pod=pod,
        address=other.get("address", "127.0.0.1"),
        metrics_port=port,
        metrics_path="/metrics",
        table=other.get("table", "llm/chat/tp2"),
    )


def directive(node: str, *bindings: Binding, plan_id: str = "p-1", dwell_s: float = 0.5) -> NodeDirective:
    return NodeDirective(node, plan_id, (table(dwell_s=dwell_s),), bindings)
