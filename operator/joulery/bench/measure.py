"""Times and quality of one engine on one case, in a process of its own so that memory is its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from joulery.bench.engines import Found, Run, engine_on
from joulery.bench.forms import Form
from joulery.bench.suite import Case, drawn

# Loads of the warm solve against those of the cold one.
WARM_SPREAD = 0.05
# Fleets that are served and one that has to shed, which takes other code.
WARM_UPS, WARM_UP_SEED = (Case(4, 2, 6), Case(4, 2, 6, tightness=3.0)), 1


@dataclass(frozen=True, slots=True)
class Task:
    """One engine on one case, seed by seed; after `most_s` no further seed is begun.

    `has_warm` where a second solve, with drifted loads, is of interest.
    """

    case: Case
    form: Form
    engine: str
    seeds: int
    time_limit_s: float
    most_s: float
    has_warm: bool = True


@dataclass(frozen=True, slots=True)
class Solve:
    """One timed solve: wall and CPU seconds, and what came out."""

    wall_s: float
    cpu_s: float
    found: Found


@dataclass(frozen=True, slots=True)
class Measured:
    """All solves of a task by seed, cold and with loads drifted, and the highest memory in bytes."""

    task: Task
    cold: tuple[Solve, ...]
    warm: tuple[Solve, ...]
    resident_bytes: int


def measured(task: Task) -> Measured | str:
    """The task in a fresh process; a text where it did not end within its time or failed."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_child, args=(task, sender.send))
    child.start()
    sender.close()
    patience_s = task.most_s + 4.0 * task.time_limit_s + 60.0
    try:
        result = receiver.recv() if receiver.poll(patience_s) else f"not done in {patience_s:.0f} s"
    except EOFError:
        result = "ended without a result"
    child.kill()
    child.join()
    return result if isinstance(result, Measured) else str(result)


def _child(task: Task, send: Callable[[Measured | str], None]) -> None:
    try:
        send(_measure(task))
    except Exception as error:  # a failing engine must not hide the figures of the others
        send(f"{type(error).__name__}: {error}")


def _measure(task: Task) -> Measured:
    prepare = engine_on(task.form, task.engine, task.time_limit_s)
    for warm_up in WARM_UPS:  # imports and compiled code are loaded once per process, not per plan
        prepare(drawn(warm_up, WARM_UP_SEED)).solve()
    cold: list[Solve] = []
    warm: list[Solve] = []
    started = time.perf_counter()
    for seed in range(task.seeds):
        fleet = drawn(task.case, seed)
        first, state = _timed(prepare(fleet))
        cold.append(first)
        if task.has_warm:
            warm.append(_timed(prepare(fleet.drifted(seed, WARM_SPREAD), state))[0])
        if time.perf_counter() - started > task.most_s:
            break
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(task, tuple(cold), tuple(warm), resident)


def _timed(run: Run) -> tuple[Solve, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run.solve()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Solve(wall, cpu, run.judge(result)), result
