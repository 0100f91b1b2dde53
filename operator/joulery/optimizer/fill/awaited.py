"""What a lane is likely to want later, told by what it wanted of late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from joulery.optimizer.fill.lane import Awaited


def awaited_of(wanted: Sequence[Mapping[int, int]], start_w: float) -> tuple[Awaited, ...]:
    """What will be wanted if that is each of these, as likely as any other.

    Args:
        wanted: instances by kind of a lane's best configurations at loads like those to come, taken without regard
            to what runs.
        start_w: cost of a start later on.
    """
    times = Counter((kind, count) for counts in wanted for kind, count in counts.items() if count > 0)
    return tuple(
        Awaited(kind, count, start_w * number / len(wanted))
        for (kind, count), number in sorted(times.items())
    )
