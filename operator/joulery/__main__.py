"""`joulery` on the command line: argument parsing only. Each command imports what it needs and no more.

The node agent runs in an image without kopf, solver and compiler, so nothing heavy may be imported up here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from joulery import __version__
from joulery.errors import JouleryError
from joulery.profiling.commands import app as profile_app

app = typer.Typer(
    name="joulery",
    help="LLM inference for less energy, inside its latency objectives.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(profile_app)

bench_app = typer.Typer(help="Measure what ships on this machine.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command()
def controller() -> None:
    """Run the controller (settings: environment variables JOULERY_*)."""
    from joulery.controller.app import main as run_controller
    from joulery.settings import ControllerSettings
    from joulery.telemetry.logs import configure

    settings = ControllerSettings()
    configure(settings.log_level)
    raise typer.Exit(run_controller(settings))


@app.command()
def agent() -> None:
    """Run the node agent (settings: environment variables JOULERY_*)."""
    from joulery.agent.app import main as run_agent

    raise typer.Exit(run_agent())


@app.command()
def crds(
    write: Annotated[bool, typer.Option("--write", help="Write the CRDs.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail where files differ from the models.")] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the CRDs.")] = Path("crds"),
) -> None:
    """Generate the CustomResourceDefinitions, or check that they are current."""
    from joulery.api.crd import main_check, main_write, render_all

    if check:
        problems = main_check(folder)
        for problem in problems:
            typer.echo(problem, err=True)
        raise typer.Exit(1 if problems else 0)
    if write:
        for path in main_write(folder):
            print(path)
        return
    print("---\n".join(render_all().values()), end="")


@app.command()
def explain(
    file: Annotated[
        Path | None, typer.Argument(help="YAML with pools and policies; none = the live cluster.")
    ] = None,
    requests_per_second: Annotated[float, typer.Option(help="Load of each pool in the file.")] = 4.0,
    input_tokens: Annotated[int, typer.Option(help="Prompt length of its requests.")] = 1000,
    output_tokens: Annotated[int, typer.Option(help="Answer length of its requests.")] = 200,
    nodes: Annotated[int, typer.Option(help="Empty nodes of eight GPUs it may use.")] = 6,
) -> None:
    """Say what would be decided and why; nothing is written."""
    from joulery.controller.explaining import Assumed, explain_file, explain_live
    from joulery.settings import ControllerSettings

    if file is None:
        print(explain_live(ControllerSettings()))
        return
    print(explain_file(file, Assumed(requests_per_second, input_tokens, output_tokens, nodes)))


@app.command()
def demo(
    day: Annotated[int, typer.Option(min=12, max=16, help="Day of May 2024 whose load curve is used.")] = 14,
    seed: Annotated[int, typer.Option(help="Draws the emulated hardware's true parameters.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of summary.json and report.html.")] = Path("build/demo"),
    knobs: Annotated[bool, typer.Option(help="Measure each knob's share by switching it off.")] = True,
    keep_data: Annotated[bool, typer.Option(help="Keep the control plane's folder and logs.")] = False,
) -> None:
    """Run a day of public load on a real control plane with emulated GPUs, then replay it."""
    from datetime import date

    from joulery.demo.app import DemoOptions, run

    options = DemoOptions(date(2024, 5, day), seed=seed, out=out, knobs=knobs, keep_data=keep_data)
    raise typer.Exit(run(options))


@app.command()
def evaluate(
    campaign: Annotated[bool, typer.Option(help="All days, seeds and start-up times.")] = False,
    trust: Annotated[
        bool, typer.Option(help="All days on engines up to 15 % slower and faster than the profile.")
    ] = False,
    day: Annotated[int, typer.Option(min=12, max=16, help="Day of May 2024.")] = 14,
    seed: Annotated[int, typer.Option(help="Draws the hidden truth.")] = 0,
    startup_seconds: Annotated[float, typer.Option(help="Start-up time of an instance.")] = 120.0,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("build/evaluation.json"),
) -> None:
    """Replay public load request by request under every policy, without a cluster."""
    import json
    from datetime import date

    from joulery.simulator.campaign import Campaign, run_campaign
    from joulery.simulator.evaluation import Case
    from joulery.simulator.evaluation import evaluate as evaluate_case

    if campaign:
        run_campaign(Campaign(), out)
    elif trust:
        from joulery.simulator.trust import TrustCampaign, run_trust

        run_trust(TrustCampaign(), out)
    else:
        result = evaluate_case(Case(date(2024, 5, day), seed, startup_seconds), knobs=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"schemaVersion": 1, "cases": [result]}, indent=1))
    print(out)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(help="Where the figures go; other keys stay.")] = Path(
        "build/calibration.json"
    ),
    docs: Annotated[Path, typer.Option(help="The generated page.")] = Path("docs/serving-model.md"),
    write: Annotated[bool, typer.Option("--write", help="Write the page too.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only fail where the page is not current.")] = False,
) -> None:
    """Fit the serving model to the public rows that ship, and print its errors on rows it was not fitted to."""
    from joulery.calibration.app import run

    raise typer.Exit(run(out=out, docs=docs if write or check else None, check=check))


@app.command()
def lanes(
    requests_per_second: Annotated[
        list[float] | None,
        typer.Option(min=0.0, help="Load of the pool; may be given again. Default 1, 5, 20, 100."),
    ] = None,
    strictest: Annotated[
        bool, typer.Option("--strictest", help="No class gives up its own time to first token by sharing.")
    ] = False,
    time_to_first_token: Annotated[
        int | None, typer.Option(min=1, help="One objective for all classes in place of their own, ms.")
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(
            help="CSV of a length predictor: class by class, the shares that it takes for each class."
        ),
    ] = None,
    price: Annotated[
        int,
        typer.Option(
            min=0, help="Lanes to price beyond those of the fixed policies; each takes about a second."
        ),
    ] = 60,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the figures go too.")] = None,
) -> None:
    """Show which request classes of the public conversation mix would share a lane, and why, in watts."""
    from joulery.optimizer.lanes.request import Promise
    from joulery.simulator.lane_app import run

    promise = Promise.STRICTEST if strictest else Promise.LARGEST_INPUT
    rates = requests_per_second or [1.0, 5.0, 20.0, 100.0]
    code = run(
        rates,
        promise=promise,
        ttft_ms=time_to_first_token,
        confusion=confusion,
        most_priced=price,
        out=json_file,
    )
    raise typer.Exit(code)


@bench_app.command("optimizer")
def bench_optimizer(
    full: Annotated[
        bool,
        typer.Option("--full", help="All sizes and seeds: hours, many of them the textbook model's."),
    ] = False,
    only: Annotated[str, typer.Option(help="Only cases with this text in case/form/engine.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the figures go too.")] = None,
) -> None:
    """Time the optimizer's engines side by side on a seeded suite, with the quality of their plans."""
    from joulery.bench.app import run

    raise typer.Exit(run(is_full=full, only=only, out=json_file))


def main() -> None:
    """Entry point: errors that a person can mend are one line and exit code 2."""
    try:
        app()
    except (JouleryError, ValidationError) as error:
        typer.echo(f"joulery: {error}", err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
