"""The benchmark client behind the public closed-loop rows, replayed on an engine.

The rows follow the public InferenceMAX client: so many clients, all of which start at once and send their next
request the moment the last one is answered; ten requests per client; prompt and answer lengths uniform in 0.8 to
1.0 of the nominal ones; `max_num_seqs` as many as clients. The first wave is a tenth of all requests and most of
the mean TTFT, so it has to be replayed, not averaged away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulery.serving.engine import Engine, InstanceModel

Ints = npt.NDArray[np.int64]

REQUESTS_PER_CLIENT = 10
SHORTEST_SHARE = 0.8
TOKEN_BUDGET = 8192

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Load:
    """One setting of the client and of the engine under it; lengths in tokens, nominal.

    The seed draws the lengths, from `shortest_share` of nominal up. Without `max_num_seqs` the engine's limit is
    the number of clients.
    """

    clients: int
    input_tokens: int
    output_tokens: int
    requests_per_client: int = REQUESTS_PER_CLIENT
    seed: int = 0
    shortest_share: float = SHORTEST_SHARE
    token_budget: int = TOKEN_BUDGET
    max_num_seqs: int | None = None

    @property
    def requests(self) -> int:
        """All requests of the run."""
        return self.clients * self.requests_per_client

    @property
    def batch_limit(self) -> int:
        """Most requests that run at once."""
        return min(self.clients, self.max_num_seqs or self.clients)

    def lengths(self) -> tuple[Ints, Ints]:
        """Input and output tokens of every request, in the order in which they are sent."""
        rng = np.random.default_rng(self.seed)
        # An answer of one token has no time per output token.
        nominal = ((self.input_tokens, 1), (self.output_tokens, 2))
        drawn = [
            rng.integers(max(int(self.shortest_share * n), least), n + 1, self.requests)
            for n, least in nominal
        ]
        return drawn[0], drawn[1]


@dataclass(frozen=True, slots=True)
class Answers:
    """What happened to every request, in the order of sending; engine time, without the client's overhead."""

    arrival_ns: Ints
    first_token_ns: Ints
    finish_ns: Ints
    output_tokens: Ints
    preemptions: int

    @property
    def ttft_ms(self) -> float:
        """Mean time to first token, without the client's overhead."""
        return 1e-6 * float((self.first_token_ns - self.arrival_ns).mean())

    @property
    def tpot_ms(self) -> float:
        """Mean over requests of the time per output token after the first."""
        return 1e-6 * float(((self.finish_ns - self.first_token_ns) / (self.output_tokens - 1)).mean())


def engine_of(model: InstanceModel, load: Load) -> Engine:
    """The engine as that benchmark starts it."""
    return Engine(
        model,
        token_budget=load.token_budget,
        max_num_seqs=load.batch_limit,
        clock_mhz=model.max_clock_mhz,
        capacity_hint=2 * load.clients,
    )


def play(engine: Engine, load: Load, *, landed: Callable[[], None] | None = None) -> Answers:
    """Run the client to its end; `landed` is called at the end of every stretch that `_Client` stops after."""
    client = _Client(engine, load)
    for _ in client.stretches():
        if landed is not None:
            landed()
    return client.answers()


class _Client:
    """Stops the engine at the end of every iteration that may complete a request.

    A request gains at most one token per iteration, which bounds from below how many iterations pass before the
    next answer is complete. Where all that was sent is decoding, nothing else happens until then, each iteration
    at least as long as the one before; so many of them are passed at once. Anything else (a prefill, a queue, a
    KV cache near its end) is followed iteration by iteration.
    """

    def __init__(self, engine: Engine, load: Load) -> None:
        self._engine, self._load = engine, load
        self._inputs, self._outputs = load.lengths()
        self._host_ns = engine.model.at_clock(engine.clock_mhz).host_ns
        self._sent, self._started, self._in_flight, self._iterations = 0, 0, 0, 0
        self._now = engine.counters()
        # The iteration before which a request cannot be complete; none where it is not in flight.
        self._soonest: Ints = np.full(load.requests, _NEVER, np.int64)
        self._times: Ints = np.zeros((3, load.requests), np.int64)

    def stretches(self) -> Iterator[int]:
        """Play on; the iterations of each stretch, of which only those of decodes alone are longer than one."""
        self._send(self._load.clients)
        all_decode, decode_ns = False, 0
        while self._in_flight:
            start, before = self._now, self._iterations
            self._step(start.time_ns + 1 + (self._certain() * decode_ns if decode_ns else 0))
            passed, answered = self._iterations - before, self._take()
            gained = self._now.generation_tokens_total - start.generation_tokens_total
            none_waits = self._now.running == self._in_flight
            all_decoded = none_waits and not answered and gained == passed * self._in_flight
            # Where some only joined with this iteration, it held their prefill and was longer than the next.
            is_steady = all_decode and all_decoded
            decode_ns = (self._now.time_ns - start.time_ns) // passed if is_steady else 0
            all_decode = all_decoded
            yield passed
            self._send(min(answered, self._load.requests - self._sent))

    def answers(self) -> Answers:
        """Times of all requests; the run must have ended."""
        arrival_ns, first_token_ns, finish_ns = self._times
        return Answers(
            arrival_ns, first_token_ns, finish_ns, self._outputs, preemptions=self._now.preemptions_total
        )

    def _step(self, until_ns: int) -> None:
        """Live up to a time and to the end of the iteration then in flight."""
        self._engine.advance(until_ns)
        end_ns = self._engine.iteration_end_ns
        if end_ns is not None:
            self._engine.advance(end_ns)
        self._now = self._engine.counters()
        self._iterations = self._engine.time_shares_ns()["host"] // self._host_ns

    def _certain(self) -> int:
        """Iterations of decodes sure to pass before one that completes an answer or preempts a request."""
        room = (self._engine.model.kv_capacity_tokens - self._now.kv_tokens) // self._in_flight
        return max(0, min(int(self._soonest.min()) - self._iterations, room) - 1)

    def _send(self, count: int) -> None:
        if count == 0:
            return
        new = slice(self._sent, self._sent + count)
        at_ns: Ints = np.full(count, self._engine.now_ns, np.int64)
        tags = np.arange(self._sent, self._sent + count, dtype=np.int64)
        self._engine.submit_many(at_ns, self._inputs[new], self._outputs[new], tags)
        self._soonest[new] = self._iterations + self._outputs[new]
        self._sent += count
        self._in_flight += count

    def _take(self) -> int:
        """Note who has started and who is done; how many are done."""
        if self._started < self._sent:
            self._note_started(len(self._engine.take_first_tokens()))
        if self._engine.in_flight == self._in_flight:
            return 0
        done = self._engine.take_finished()
        first_ns = done.first_token_ns - self._engine.model.client_ns
        self._times[:, done.tag] = done.arrival_ns, first_ns, done.finish_ns
        self._soonest[done.tag] = _NEVER
        self._in_flight -= len(done)
        return len(done)

    def _note_started(self, count: int) -> None:
        """First tokens come in the order of sending."""
        started = slice(self._started, self._started + count)
        self._soonest[started] = self._iterations + self._outputs[started] - 1
        self._started += count
