"""Continuous batching written as plainly as possible, with lists: what the compiled engine must equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from joulery.serving.instance import ClockCoefficients, InstanceModel


@dataclass
class Job:
    """One request; `held` counts its tokens in the KV cache, `target` those its prefill must reach."""

    tag: int
    arrival_ns: int
    input_tokens: int
    output_tokens: int
    generated: int = 0
    held: int = 0
    target: int = 0
    deadline_ns: int = 0
    is_preempted: bool = False
    token_times_ns: list[int] = field(default_factory=list)

    @property
    def is_decoding(self) -> bool:
        return self.held >= self.target > 0


@dataclass
class Outcome:
    """Token times by request, joules of iterations, and preemptions."""

    token_times_ns: dict[int, list[int]]
    busy_j: float
    preemptions: int


def run_naively(
    model: InstanceModel,
    *,
    token_budget: int,
    max_num_seqs: int,
    requests: Sequence[tuple[int, int, int]],
    clock_changes: Sequence[tuple[int, int]] = (),
    clock_mhz: int = 1980,
    deadlines_ns: Sequence[int] | None = None,
) -> Outcome:
    """Serve requests (arrival, input, output) to the end; the clock changes at given times.

    With deadlines the earliest of those waiting comes next, and passes a half-done prompt of a later one.
    """
    waiting = [Job(tag, *request) for tag, request in enumerate(requests)]
    for job in waiting:
        job.deadline_ns = deadlines_ns[job.tag] if deadlines_ns else job.tag
    running: list[Job] = []
    halfway: list[Job] = []
    outcome = Outcome({}, 0.0, 0)
    now = 0
    while waiting or running:
        for at_ns, mhz in clock_changes:
            clock_mhz = mhz if at_ns <= now else clock_mhz
        clock = model.at_clock(clock_mhz)
        decoding = [job for job in running if job.is_decoding]
        while sum(_reserved(job) for job in running) + len(decoding) > model.kv_capacity_tokens:
            newest = running.pop()
            newest.held = newest.target = 0
            newest.is_preempted = True
            halfway = [job for job in halfway if job is not newest]
            waiting.insert(0, newest)
            outcome.preemptions += 1
            decoding = [job for job in running if job.is_decoding]
        left = token_budget - len(decoding)
        chunks: list[tuple[Job, int]] = []
        while left > 0:
            job = _next(waiting, halfway, now) if len(running) < max_num_seqs else None
            if job and not (deadlines_ns is None and halfway):
                reserved = sum(_reserved(j) for j in running) + len(decoding)
                job = job if reserved + job.input_tokens + job.generated <= model.kv_capacity_tokens else None
            else:
                job = None
            if job:
                waiting.remove(job)
                running.append(job)
                job.target, job.is_preempted = job.input_tokens + job.generated, False
            elif halfway:
                job = halfway.pop()
            else:
                break
            tokens = min(left, job.target - job.held - sum(n for j, n in chunks if j is job))
            chunks.append((job, tokens))
            left -= tokens
            if job.held + tokens < job.target:
                halfway.append(job)
        if not decoding and not chunks:
            now = waiting[0].arrival_ns
            continue
        context = sum(job.held for job in decoding)
        prefill = sum(tokens for _, tokens in chunks)
        duration = clock.iteration_ns(decodes=len(decoding), context_tokens=context, prefill_tokens=prefill)
        outcome.busy_j += _joules(clock, duration, len(decoding) + prefill, len(decoding), context)
        now += duration
        for job in decoding:
            job.held += 1
            _emit(job, now)
        for job, tokens in chunks:
            job.held += tokens
            if job.is_decoding:
                _emit(job, now)
        for job in [job for job in running if job.generated == job.output_tokens]:
            running.remove(job)
            outcome.token_times_ns[job.tag] = job.token_times_ns
    return outcome


def _next(waiting: Sequence[Job], halfway: Sequence[Job], now: int) -> Job | None:
    """Who would be admitted next: the preempted before all, then the earliest deadline, if before that halfway."""
    if waiting and waiting[0].is_preempted:
        return waiting[0]
    arrived = [job for job in waiting if job.arrival_ns <= now]
    if not arrived:
        return None
    first = min(arrived, key=lambda job: (job.deadline_ns, job.tag))
    return first if not halfway or first.deadline_ns < halfway[-1].deadline_ns else None


def _reserved(job: Job) -> int:
    return max(job.held, job.target)


def _emit(job: Job, now: int) -> None:
    job.generated += 1
    job.token_times_ns.append(now)


def _joules(clock: ClockCoefficients, duration_ns: int, tokens: int, decodes: int, context: int) -> float:
    steps = (tokens > 16) + (tokens > 32)
    compute_ns = (clock.compute_token_ps * tokens + 500) // 1000
    streaming_ns = clock.streaming_ns[steps]
    linear_j = compute_ns * clock.compute_w if compute_ns > streaming_ns else streaming_ns * clock.streaming_w
    attention_ns = duration_ns - clock.host_ns - max(compute_ns, streaming_ns)
    return 1e-9 * (clock.host_ns * clock.host_w + linear_j + attention_ns * clock.attention_w)
