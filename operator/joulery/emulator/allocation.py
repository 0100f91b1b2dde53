"""Which GPUs of a node a pod holds: the part of the kubelet's device manager that matters here."""

from __future__ import annotations

from collections.abc import Sequence


class GpuAllocator:
    """GPU indices of one node by pod uid; the lowest free first, an aligned block where there is one.

    Aligned blocks keep a tensor-parallel group within one half of the node, as a topology manager would.
    """

    def __init__(self, gpus: int) -> None:
        self._free = list(range(gpus))
        self._held: dict[str, tuple[int, ...]] = {}

    def allocate(self, uid: str, gpus: int) -> tuple[int, ...] | None:
        """Indices for that pod, the same again if it holds some; None where too few are free."""
        if uid in self._held:
            return self._held[uid]
        if gpus > len(self._free):
            return None
        taken = _aligned_block(self._free, gpus) or tuple(self._free[:gpus])
        self._free = [index for index in self._free if index not in taken]
        self._held[uid] = taken
        return taken

    def release(self, uid: str) -> None:
        """Give back what that pod holds, if anything."""
        self._free = sorted([*self._free, *self._held.pop(uid, ())])

    def held(self, uid: str) -> tuple[int, ...]:
        """Indices that pod holds, none for a stranger."""
        return self._held.get(uid, ())

    @property
    def free(self) -> tuple[int, ...]:
        """Indices nobody holds."""
        return tuple(self._free)


def _aligned_block(free: Sequence[int], size: int) -> tuple[int, ...] | None:
    if size == 0:
        return ()
    available = set(free)
    for start in free:
        block = range(start, start + size)
        if start % size == 0 and available.issuperset(block):
            return tuple(block)
    return None
