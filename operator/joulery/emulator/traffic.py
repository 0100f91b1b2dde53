"""Requests of one pool on their way to its engines, in model time; no I/O.

Round robin over the engines that serve, so that each gets an equal share. A request that finds none waits at
the door, first come first served; one whose engine is killed goes back to the door once, then it has failed.
Latency counts from the first arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulery.serving.engine_records import FinishedRequests

Ints = npt.NDArray[np.int64]
_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class PoolOutcome:
    """What became of a pool's requests, as parallel arrays by arrival; -1 where one has not finished."""

    arrival_ns: Ints
    ttft_ns: Ints
    tpot_ns: Ints
    finish_ns: Ints
    input_tokens: Ints
    output_tokens: Ints
    waited_at_door: int
    retried: int
    failed: int
    waiting: int

    @property
    def finished(self) -> int:
        """Requests that got their whole answer."""
        return int((self.finish_ns >= 0).sum())


class PoolTraffic:
    """The door of one pool and the fate of its requests; a request's id is its place in order of arrival."""

    def __init__(self) -> None:
        empty = np.zeros(0, np.int64)
        self._arrival_ns = self._inputs = self._outputs = empty
        self._ttft_ns = self._tpot_ns = self._finish_ns = self._attempts = empty
        self._arrived = 0
        self._waiting = empty
        self._turn = 0
        self._waited = self._retried = self._failed = 0

    def schedule(self, arrival_ns: Ints, inputs: Ints, outputs: Ints) -> None:
        """Append requests, in order of arrival and none before the last one scheduled.

        Raises:
            ValueError: they are out of order.
        """
        times = np.concatenate([self._arrival_ns, np.asarray(arrival_ns, np.int64)])
        if bool((np.diff(times) < 0).any()):
            raise ValueError("requests must be scheduled in order of arrival, after those scheduled before")
        fresh = np.full(len(arrival_ns), -1, np.int64)
        self._arrival_ns = times
        self._inputs = np.concatenate([self._inputs, np.asarray(inputs, np.int64)])
        self._outputs = np.concatenate([self._outputs, np.asarray(outputs, np.int64)])
        self._ttft_ns = np.concatenate([self._ttft_ns, fresh])
        self._tpot_ns = np.concatenate([self._tpot_ns, fresh])
        self._finish_ns = np.concatenate([self._finish_ns, fresh])
        self._attempts = np.concatenate([self._attempts, np.zeros(len(fresh), np.int64)])

    def take(self, until_ns: int, engines: int) -> list[Ints]:
        """Ids for each of the serving engines: those at the door first, then those arrived by `until_ns`."""
        arrived = int(np.searchsorted(self._arrival_ns, until_ns, side="right"))
        fresh = np.arange(self._arrived, arrived, dtype=np.int64)
        self._arrived = arrived
        if engines == 0:
            self._waited += len(fresh)
            self._waiting = np.concatenate([self._waiting, fresh])
            return []
        ids = np.concatenate([self._waiting, fresh])
        self._waiting = ids[:0]
        self._attempts[ids] += 1
        turns = (self._turn + np.arange(len(ids))) % engines
        self._turn = (self._turn + len(ids)) % engines
        return [ids[turns == engine] for engine in range(engines)]

    def requests(self, ids: Ints) -> tuple[Ints, Ints, Ints]:
        """First arrivals, input and output tokens of requests."""
        return self._arrival_ns[ids], self._inputs[ids], self._outputs[ids]

    def lost(self, ids: Sequence[int] | Ints) -> None:
        """Requests whose engine was killed: back to the door at its head, or failed."""
        lost = np.sort(np.asarray(ids, np.int64))
        again = lost[self._attempts[lost] < _ATTEMPTS]
        self._retried += len(again)
        self._failed += len(lost) - len(again)
        self._waiting = np.concatenate([again, self._waiting])

    def finished(self, done: FinishedRequests) -> None:
        """Requests that an engine finished; its arrival times are those of submission to it."""
        ids = done.tag
        self._ttft_ns[ids] = done.ttft_ns + (done.arrival_ns - self._arrival_ns[ids])
        self._tpot_ns[ids] = done.tpot_ns
        self._finish_ns[ids] = done.finish_ns

    @property
    def waiting(self) -> int:
        """Requests at the door."""
        return len(self._waiting)

    def outcome(self) -> PoolOutcome:
        """The fate of all requests that have arrived so far; copies."""
        arrived = slice(0, self._arrived)
        return PoolOutcome(
            arrival_ns=self._arrival_ns[arrived].copy(),
            ttft_ns=self._ttft_ns[arrived].copy(),
            tpot_ns=self._tpot_ns[arrived].copy(),
            finish_ns=self._finish_ns[arrived].copy(),
            input_tokens=self._inputs[arrived].copy(),
            output_tokens=self._outputs[arrived].copy(),
            waited_at_door=self._waited,
            retried=self._retried,
            failed=self._failed,
            waiting=self.waiting,
        )
