"""The cluster's time: this machine's, put right by the `Date` of the API server's answers.

Creation and readiness of pods are stamped by the cluster, and restart blocks may be read by an operator on
another machine. By a clock an hour ahead every starting pod would be overdue, and more would be asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

_log = logging.getLogger(__name__)

# Machines that keep time at all are within seconds of each other, and `Date` has whole ones.
_TOLERATED_S = 10.0


class ClusterClock:
    """Seconds since the Unix epoch, as the API server counts them."""

    def __init__(self, unix_s: Callable[[], float] = time.time) -> None:
        self._unix_s = unix_s
        self._ahead_s = 0.0

    def now_s(self) -> float:
        """The cluster's time now."""
        return self.unix_s() - self._ahead_s

    def unix_s(self) -> float:
        """This machine's time now."""
        return self._unix_s()

    def heard(self, date: str | None, sent_s: float) -> None:
        """Take in the `Date` of an answer to a request that was sent at `sent_s` of this machine's time.

        Only a date before the request or after the answer tells of a wrong clock: a slow answer is neither.
        """
        received_s = self.unix_s()
        stamped_s = _seconds_of(date)
        if stamped_s is None:
            return
        is_right = sent_s - _TOLERATED_S <= stamped_s <= received_s + _TOLERATED_S
        ahead_s = 0.0 if is_right else (sent_s + received_s) / 2.0 - stamped_s
        if abs(ahead_s - self._ahead_s) <= _TOLERATED_S:
            return
        self._ahead_s = ahead_s
        _log.warning(
            "this machine's clock is not the API server's, whose time counts; mend its time synchronisation",
            extra={"ahead_s": round(ahead_s)},
        )


def _seconds_of(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
