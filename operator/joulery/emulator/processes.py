"""Child processes that never outlive the one that started them.

A child ends with its group (`stop`) and with this process, however that ends (the parent-death signal). Only
processes started here are ever signalled, by their handle.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from joulery.errors import JouleryError

POLL_S = 0.05
LOG_LINES_SHOWN = 15

# Ties the process to its parent, then becomes the command. A small program before exec, since a preexec_fn
# may deadlock in a process with threads. The signal is SIGKILL (9): nobody is left to wait for less.
_TIE_TO_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


class ProcessError(JouleryError):
    """A child process ended or did not become ready; the message shows the end of its log."""


def free_port() -> int:
    """A loopback port nobody listens on, below the range from which outgoing connections are numbered."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Child:
    """One started process and its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Process id, that of the command itself."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; an ended process is left alone."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, patience_s: float) -> None:
        """SIGTERM, and SIGKILL when patience is over."""
        self.signal(signal.SIGTERM)
        if not self.wait(patience_s):
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def failure(self, what: str) -> ProcessError:
        """An error that says what happened, with the last lines of the log and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return ProcessError(
            f"{self.name} {what}; the end of {self.log}:\n" + "\n".join(f"  {x}" for x in lines)
        )

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll until ready.

        Raises:
            ProcessError: it ended first, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_code is not None:
                raise self.failure(f"ended with code {self.exit_code} while starting")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout_s:.0f} s")
            time.sleep(POLL_S)


class ProcessGroup:
    """Children that are stopped together, in reverse order of their start."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: dict[str, Child] = {}
        # The parent-death signal comes when the *thread* that forked ends, so one thread forks them all and
        # lives as long as the group; the interpreter ends it at exit.
        self._forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")
        logs.mkdir(parents=True, exist_ok=True)

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start a command, its output appended to `<logs>/<name>.log`, in a session of its own.

        Args:
            name: unique within the group while the process runs.
            command: program and arguments.
            environment: additions to this process's own.
        """
        running = self.children.get(name)
        if running is not None and running.exit_code is None:
            raise ProcessError(f"{name} is already running as process {running.pid}")
        log = self.logs / f"{name}.log"
        child = Child(name, self._forker.submit(_fork, command, environment or {}, log).result(), log)
        self.children[name] = child
        return child

    def stop(self, patience_s: float = 5.0) -> None:
        """End all children: SIGTERM in reverse order of start, SIGKILL after the patience for each."""
        for child in reversed(self.children.values()):
            child.end(patience_s)
        self._forker.shutdown()

    def kill(self) -> None:
        """SIGKILL all at once, for the way out of a failure."""
        for child in self.children.values():
            child.signal(signal.SIGKILL)
        self.stop(patience_s=0.0)


def _fork(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Runs in the forking thread. A session of its own keeps a terminal's Ctrl-C from reaching the child."""
    tie = [sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*tie, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
