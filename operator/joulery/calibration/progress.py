"""A progress bar on standard error for work of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress(console: Console, text: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that the yielded function moves by one; full at the end, whatever was left out."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=total)
        yield lambda: bar.advance(task)
        bar.update(task, completed=total)
