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

app = typer.Typer(
    name="joulery",
    help="LLM inference for less energy, inside its latency objectives.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


def main() -> None:
    """Entry point: errors that a person can mend are one line and exit code 2."""
    try:
        app()
    except (JouleryError, ValidationError) as error:
        typer.echo(f"joulery: {error}", err=True)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
