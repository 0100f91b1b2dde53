"""Resharding where no GPUs are free: shrink first, if the rest carries the load, and never strand the load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from joulery.domain import reasons
from joulery.domain.fleet import Replica, ReplicaPhase
from joulery.domain.pool import Variant
from joulery.planner.move import Move, Steps


def make_room(move: Move) -> Steps:
    """Old replicas go from one node before an instance of the target variant starts there.

    Instances kept as spares may be among them: one is lost on purpose, and is back after a start-up.
    """
    if move.room(move.variant, move.free.with_coming()) > 0:
        return move.wait(reasons.RESHARDING, "pods that end still hold its GPUs")
    starting = [v.name for v in move.old if move.counts(v).coming]
    if starting:
        return move.wait(reasons.RESHARDING, f"{starting[0]} is still starting")
    ways = _ways(move)
    if not ways:
        gpus, accelerator = move.variant.tensor_parallel_size, move.variant.accelerator
        why = f"no node can make room for {gpus} GPUs of {accelerator}"
        return _held_up(move, reasons.INSUFFICIENT_GPUS, why)
    node, going = ways[0]
    left = {v.name: move.counts(v).serving - going[v.name] for v in move.old}
    carried_rps = move.capacity_rps(left, move.view.sharing.without_spares())
    if carried_rps < move.need_rps:
        short = f"no GPUs are free, and without {_listed(going)} the rest would carry {carried_rps:.2f}"
        return _held_up(
            move,
            reasons.INSUFFICIENT_GPUS,
            f"{short} of {move.need_rps:.2f} requests/s, so nothing goes first",
        )
    why = (
        f"shrunk first to make room for {move.variant.name} on {node}, for no GPUs are free; the rest carries "
        f"{carried_rps:.2f} requests/s, {move.need_rps:.2f} are needed"
    )
    changes = tuple(
        move.change(v, move.counts(v).desired - going[v.name], reasons.RESHARD_SHRINK, why, node)
        for v in move.old
        if going[v.name]
    )
    return Steps(changes, move.free)


def hold_load(move: Move) -> Steps | None:
    """More of what runs, where the way to the goal is closed and what comes does not carry the load."""
    if _expected_rps(move) >= move.need_rps:
        return None
    for variant in sorted(move.old, key=lambda v: -move.rates.get(v.name, 0.0)):
        counts = move.counts(variant)
        more = min(move.room(variant), variant.max_replicas - counts.desired, _missing(move, variant))
        if more > 0:
            why = f"for {move.need_rps:.2f} requests/s are needed and {move.variant.name} finds no room"
            return move.grown(variant, more, reasons.SCALE_UP, why)
    return None


def _held_up(move: Move, reason: str, why: str) -> Steps:
    return hold_load(move) or move.wait(reason, why, cramped=True)


def _expected_rps(move: Move) -> float:
    """What will serve, judged as `make_room` does, or one would give what the other takes."""
    return move.expected_rps(move.view.sharing.without_spares())


def _missing(move: Move, variant: Variant) -> int:
    """Instances of a variant that fill what is missing, one at least."""
    rate = move.rates.get(variant.name, 0.0)
    return max(1, -int(-(move.need_rps - _expected_rps(move)) // rate)) if rate > 0.0 else 0


def _ways(move: Move) -> list[tuple[str, Counter[str]]]:
    """Nodes that can make room and how many replicas of each variant go, those that cost least first."""
    found = []
    for node, free in move.free.open_nodes(move.variant).items():
        going = _goers(move, node, move.variant.tensor_parallel_size - free)
        if going is not None:
            found.append((node, going))
    rates = move.rates
    return sorted(found, key=lambda way: (sum(rates.get(v, 0.0) * n for v, n in way[1].items()), way[0]))


def _goers(move: Move, node: str, missing: int) -> Counter[str] | None:
    """Replicas to go from a node until so many GPUs are free, the largest first; None where they do not suffice."""
    going: Counter[str] = Counter()
    for variant in sorted(move.old, key=lambda v: -v.tensor_parallel_size):
        if variant.accelerator != move.variant.accelerator or _is_unready(move, variant):
            continue
        here = sum(_serves_on(r, node) for r in move.view.state.variant(variant.name).replicas)
        wanted = -(-max(0, missing) // variant.tensor_parallel_size)
        going[variant.name] = min(here, wanted)
        missing -= going[variant.name] * variant.tensor_parallel_size
    return going if missing <= 0 and going.total() else None


def _is_unready(move: Move, variant: Variant) -> bool:
    """Whether pods that do not serve would go before those that are named."""
    living = (ReplicaPhase.STARTING, ReplicaPhase.UNSCHEDULED)
    return any(r.phase in living for r in move.view.state.variant(variant.name).replicas)


def _serves_on(replica: Replica, node: str) -> bool:
    return replica.node == node and replica.phase is ReplicaPhase.READY


def _listed(going: Mapping[str, int]) -> str:
    return " and ".join(f"{n} x {name}" for name, n in going.items() if n)
