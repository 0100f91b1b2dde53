"""Packing instances on nodes.

Sizes divide each other, so instances fit exactly if for every size s the nested row holds:

    sum over t >= s of (t / s) n_t  <=  sum over nodes of floor(free_i / s)

Necessary because an instance of t GPUs holds t/s disjoint groups of s on one node; sufficient because filling
in the order of falling size wastes nothing: whatever sits on a node so far is a multiple of s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulery.optimizer.problem import Floats, GpuQuota, Ints, Kind, Supply


@dataclass(frozen=True, slots=True, eq=False)
class LeftOff:
    """Nodes that are off, by accelerator: a plan may leave as many of them off as it takes no group of.

    Attributes:
        most: nodes.
        watts: that one takes, once it is on, beside its instances.
        groups: `[accelerator, row]`, groups of s GPUs of one node.
    """

    most: Ints
    watts: Floats
    groups: Ints

    @property
    def all_on_w(self) -> float:
        """What they take together."""
        return float(self.most @ self.watts)


@dataclass(frozen=True, slots=True, eq=False)
class PackingRows:
    """All nested rows of a problem, then one row per quota, counted in groups of one GPU, and those of options.

    Attributes:
        accelerator: of each row; of the last kinds of rows what they are called in messages.
        size: s of each row; 0 of rows that no GPU lifts and that options, not kinds, say their use of.
        slots: right-hand side, groups of s GPUs, with all nodes on.
        per_instance: `[kind, row]`, how many groups of s one instance of the kind takes.
        left_off: nodes that need not be on; None where all are.
    """

    accelerator: tuple[str, ...]
    size: Ints
    slots: Ints
    per_instance: Ints
    left_off: LeftOff | None = None

    def fit(self, used: Ints) -> bool:
        """Whether the groups in use (one number per row) are there."""
        return bool((used <= self.slots).all())

    def part(self, share: float) -> PackingRows:
        """The rows with that share of the groups, and of the nodes that need not be on."""
        slots = np.rint(self.slots * share).astype(np.int64)
        if self.left_off is None:
            return replace(self, slots=slots)
        most = np.floor(self.left_off.most * share).astype(np.int64)
        return replace(self, slots=slots, left_off=replace(self.left_off, most=most))

    def node_w(self, used: Ints) -> float:
        """Watts of the nodes that these groups (one number per row) need switched on."""
        if self.left_off is None:
            return 0.0
        beyond = used - (self.slots - self.left_off.most @ self.left_off.groups)
        groups = self.left_off.groups
        nodes = np.where(groups > 0, -(-beyond // np.maximum(groups, 1)), 0).max(axis=1)
        return float(np.maximum(nodes, 0) @ self.left_off.watts)

    def gpus_missing(self, used: Ints) -> dict[str, int]:
        """GPUs to add per short accelerator, on nodes of their own, before `used` fits.

        e new GPUs add floor(e/s) groups of s, so the least e is the largest s x missing groups.
        """
        missing = self.size * np.maximum(used - self.slots, 0)
        short: dict[str, int] = {}
        for name, gpus in zip(self.accelerator, missing.tolist(), strict=True):
            if gpus > 0:
                short[name] = max(short.get(name, 0), gpus)
        return short


def packing_rows(
    kinds: Sequence[Kind], supplies: Sequence[Supply], quotas: Sequence[GpuQuota] = ()
) -> PackingRows:
    """The rows of these kinds; an accelerator without supply, or a size above all its slots, has none."""
    quotas = sorted(quotas, key=lambda quota: quota.name)
    slots = {(supply.accelerator, size): n for supply in supplies for size, n in supply.slots}
    keys = sorted({(kind.accelerator, kind.gpus) for kind in kinds})
    per_instance = [
        [
            *(
                kind.gpus // size if kind.accelerator == name and kind.gpus >= size else 0
                for name, size in keys
            ),
            *(kind.gpus if kind.quota == quota.name else 0 for quota in quotas),
        ]
        for kind in kinds
    ]
    return PackingRows(
        accelerator=(*(name for name, _ in keys), *(f"quota {quota.name}" for quota in quotas)),
        size=np.array([*(size for _, size in keys), *(1 for _ in quotas)], dtype=np.int64),
        slots=np.array([*(slots.get(k, 0) for k in keys), *(q.gpus for q in quotas)], dtype=np.int64),
        per_instance=np.array(per_instance, dtype=np.int64).reshape(len(kinds), len(keys) + len(quotas)),
        left_off=_left_off(keys, len(quotas), supplies),
    )


def _left_off(keys: Sequence[tuple[str, int]], quotas: int, supplies: Sequence[Supply]) -> LeftOff | None:
    found = sorted((s.accelerator, s.off) for s in supplies if s.off is not None and s.off.number)
    if not found:
        return None
    groups = [
        [*(off.gpus // size if accelerator == name else 0 for name, size in keys), *([0] * quotas)]
        for accelerator, off in found
    ]
    return LeftOff(
        most=np.array([off.number for _, off in found], dtype=np.int64),
        watts=np.array([off.watts for _, off in found]),
        groups=np.array(groups, dtype=np.int64),
    )


def with_row(rows: PackingRows, name: str, most: int) -> PackingRows:
    """The rows and one more, of which options say their use: no kind takes of it, no GPU that is added lifts it."""
    return PackingRows(
        accelerator=(*rows.accelerator, name),
        size=np.append(rows.size, 0),
        slots=np.append(rows.slots, most),
        per_instance=_with_zeros(rows.per_instance),
        left_off=rows.left_off and replace(rows.left_off, groups=_with_zeros(rows.left_off.groups)),
    )


def with_starts(rows: PackingRows, most: int) -> PackingRows:
    """The rows and one for starts."""
    return with_row(rows, "starts", most)


def _with_zeros(groups: Ints) -> Ints:
    return np.column_stack([groups, np.zeros(len(groups), dtype=np.int64)])


def binding_rows(rows: PackingRows) -> PackingRows:
    """Without rows that another row of the accelerator implies: of whole nodes, all but the smallest size."""
    # With all nodes on, and for each that is left off.
    gpus = rows.size * rows.slots
    of_node = np.zeros((1, len(gpus))) if rows.left_off is None else rows.size * rows.left_off.groups
    keep = [
        not any(
            rows.accelerator[other] == rows.accelerator[row]
            and 0 < rows.size[other] < rows.size[row]
            and gpus[other] <= gpus[row]
            and (of_node[:, other] == of_node[:, row]).all()
            for other in range(len(gpus))
        )
        for row in range(len(gpus))
    ]
    at = np.flatnonzero(keep)
    names = tuple(rows.accelerator[row] for row in at.tolist())
    left_off = rows.left_off and replace(rows.left_off, groups=rows.left_off.groups[:, at])
    return PackingRows(names, rows.size[at], rows.slots[at], rows.per_instance[:, at], left_off)


def place(nodes_free: Sequence[int], counts: Mapping[int, int]) -> tuple[tuple[int, ...], ...] | None:
    """Sizes placed on each node, largest first on the first node with room; None if they do not fit.

    Args:
        nodes_free: free GPUs per node.
        counts: instances per size in GPUs; the sizes must divide each other.
    """
    free = list(nodes_free)
    placed: list[list[int]] = [[] for _ in free]
    for size in sorted(counts, reverse=True):
        left = counts[size]
        for node, room in enumerate(free):
            here = min(left, max(0, room) // size)
            placed[node] += [size] * here
            free[node] -= size * here
            left -= here
        if left > 0:
            return None
    return tuple(tuple(sizes) for sizes in placed)
