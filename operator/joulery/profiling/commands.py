"""`joulery profile ...`: argument parsing only; each command imports what it needs and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="profile",
    help="Make EnergyProfiles from measured points; judge, show and draw them.",
    no_args_is_help=True,
)

_REFERENCE = "A profile's YAML file, or the name of a profile that ships."


@app.command("validate")
def validate(files: Annotated[list[str], typer.Argument(metavar="FILE...", help=_REFERENCE)]) -> None:
    """Refuse what cannot be planned with, field by field with the cure; exit code 2."""
    from joulery.profiling.judging import judge

    raise typer.Exit(judge(files))


@app.command("show")
def show(profile: Annotated[str, typer.Argument(metavar="FILE|NAME", help=_REFERENCE)]) -> None:
    """Print parameters with grade and source, watts and times by size and clock, and held-out errors."""
    from joulery.profiling.judging import show as show_profile

    show_profile(profile)


@app.command("import")
def import_points(
    layout: Annotated[str, typer.Argument(help="aiconfigurator, mlenergy-v3 or mlenergy-v2.")],
    file: Annotated[Path, typer.Argument(help="The source's table, CSV or CSV.gz.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The CSV that `profile fit` reads.")],
    model: Annotated[str | None, typer.Option(help="Model as the table names it.")] = None,
    engine: Annotated[str | None, typer.Option(help="Engine as the table names it.")] = None,
    version: Annotated[str | None, typer.Option(help="Engine version as the table names it.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precision as the table names it.")] = None,
    task: Annotated[str | None, typer.Option(help="Task as the table names it.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="Only this accelerator.")] = None,
    input_tokens: Annotated[
        int | None, typer.Option(min=1, help="Prompt length, where the table has none.")
    ] = None,
) -> None:
    """Turn a public table of measurements into points."""
    from joulery.profiling.judging import import_table
    from joulery.profiling.layouts import Selection

    selection = Selection(model, engine, version, precision, task, accelerator, input_tokens)
    import_table(layout, file, selection, out)
