"""`joulery demo`: one day of public traffic, live on a real control plane, then replayed beside baselines."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from joulery.demo import replays
from joulery.demo.actions import recorded_actions
from joulery.demo.datacentre import DataCentre, DataCentrePaths
from joulery.demo.live import LiveDay, LiveRun, emulator_config
from joulery.demo.report import write_report
from joulery.demo.summary import Findings, summarise_demo
from joulery.demo.table import energy_table, live_table
from joulery.demo.timing import DemoTiming
from joulery.emulator.controlplane import assets_from_environment
from joulery.simulator.evaluation import Evaluation

# P99 lag over this many milliseconds and the emulated latencies are not those of the model: the run is invalid.
LAG_LIMIT_MS = 250.0
EXIT_INVALID = 3


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asks for."""

    day: date = date(2024, 5, 14)
    seed: int = 0
    out: Path = Path("build/demo")
    manifests: Path = Path("manifests")
    knobs: bool = True
    keep_data: bool = False


def run(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo; 0, or 3 where the emulator could not keep up and the figures mean nothing."""
    console = console or Console()
    began_s = time.monotonic()
    timing = DemoTiming()
    case = replays.squeezed_case(options.day, options.seed, timing)
    evaluation = Evaluation(case)
    console.print(
        f"[bold]Joulery demo[/]: {options.day}, the day's curve {timing.squeeze:.0f} times faster, seed {options.seed}"
    )
    with _folder(options.keep_data) as data:
        live, up_s, actions = _live(evaluation, timing, options, data, console)
    results = _replayed(options, timing, console)
    findings = Findings(live, actions, up_s, results, options, timing, evaluation)
    summary = summarise_demo(findings, seconds=time.monotonic() - began_s)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1))
    true_case = replays.true_time_case(options.day, options.seed)
    timelines = {"live": live.timelines, "replay": replays.timelines_of(results, true_case)}
    write_report(options.out / "report.html", summary, timelines)
    console.print(live_table(summary))
    console.print(energy_table(summary))
    console.print(f"[bold]{options.out / 'report.html'}[/] and {options.out / 'summary.json'}")
    if live.lag_p99_ms > LAG_LIMIT_MS:
        console.print(
            f"[red]invalid run: emulator lag P99 {live.lag_p99_ms:.0f} ms is over {LAG_LIMIT_MS:.0f} ms[/]"
        )
        return EXIT_INVALID
    return 0


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    data = Path(tempfile.mkdtemp(prefix="joulery-demo-"))
    try:
        yield data
    finally:
        if keep:
            Console().print(f"data kept in {data}")
        else:
            shutil.rmtree(data, ignore_errors=True)


def _live(
    evaluation: Evaluation, timing: DemoTiming, options: DemoOptions, data: Path, console: Console
) -> tuple[LiveRun, float, dict[str, int]]:
    """The live run, seconds until the cluster was up, and actions counted from the API server's audit log."""
    began_s = time.monotonic()
    paths = DataCentrePaths(assets_from_environment(), options.manifests, data)

    def report(line: str) -> None:
        console.print(f"  {time.monotonic() - began_s:5.1f} s  {line}")

    centre = DataCentre(
        paths,
        emulator_config=emulator_config(evaluation.scenario),
        scrape_interval_s=timing.scrape_interval_s,
        load_window_s=timing.load_window_s,
        report=report,
    )
    with centre:
        up_s = time.monotonic() - began_s
        day = LiveDay(centre, evaluation.scenario, timing, evaluation.single_pool.settings, report)
        day.install()
        report("traffic begins")
        with _bar(console) as progress:
            task = progress.add_task("live", total=1.0)
            live = day.run(evaluation.streams, lambda share: progress.update(task, completed=share))
        actions = recorded_actions(centre, timing.dwell_s)
    return live, up_s, actions


def _replayed(options: DemoOptions, timing: DemoTiming, console: Console) -> list[Any]:
    listed = replays.jobs(options.day, options.seed, timing, knobs=options.knobs)
    with _bar(console) as progress:
        task = progress.add_task("replaying the day at true time", total=len(listed))

        def done(count: int, _total: int, name: str) -> None:
            progress.update(task, completed=count, description=f"replayed {name}")

        return replays.run_jobs(listed, done)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
