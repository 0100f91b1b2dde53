"""Where the items of each kind lie, compiled. Loading this loads numba."""

from __future__ import annotations

from joulery.optimizer.fill.kernel_compiled import compiled
from joulery.optimizer.problem import Floats, Ints


@compiled
def find_kinds(start: Ints, kind: Ints, capacity: Floats, kind_at: Ints) -> bool:
    """Fill `kind_at`, `[lane, kind]`: first item of each kind, and one past the last.

    False where the items of a lane do not come by kind and then by capacity.
    """
    kinds = kind_at.shape[1] - 1
    for lane in range(len(start) - 1):
        at, end = start[lane], start[lane + 1]
        for each in range(kinds):
            first = kind_at[lane, each] = at
            while at < end and kind[at] == each:
                if at > first and capacity[at] < capacity[at - 1]:
                    return False
                at += 1
        kind_at[lane, kinds] = at
        if at < end:
            return False
    return True
