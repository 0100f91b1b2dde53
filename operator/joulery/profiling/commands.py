"""`joulery profile ...`: argument parsing only; each command imports what it needs and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from joulery.serving.parameters import HELD_OUT_LIMIT_PERCENT

app = typer.Typer(
    name="profile",
    help="Make EnergyProfiles from measured points; judge, show and draw them.",
    no_args_is_help=True,
)

# How the load generator and the engine's limits are declared, for all commands that replay them.
TokenBudget = Annotated[int, typer.Option(min=1, help="max_num_batched_tokens, as measured.")]
MaxNumSeqs = Annotated[int | None, typer.Option(min=1, help="As measured; by default as many as clients.")]
ShortestShare = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Lengths are uniform from this share of nominal; 1: fixed.")
]
RequestsPerClient = Annotated[int, typer.Option(min=1, max=1000, help="Of the whole run.")]

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


@app.command("fit")
def fit(
    points: Annotated[Path, typer.Argument(metavar="POINTS.csv", help="Measured points, one a row.")],
    model: Annotated[str, typer.Option(help="The model that was measured, as pools name it.")],
    like: Annotated[
        list[str],
        typer.Option(help=f"Devices, and parameters that the points do not tell. {_REFERENCE} Repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The EnergyProfile, YAML.")],
    name: Annotated[str | None, typer.Option(help="Name of the object, by default that of the file.")] = None,
    engine_version: Annotated[str | None, typer.Option(help="Version of vLLM that was measured.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of the weights, such as FP8.")] = None,
    kv_cache_type: Annotated[str | None, typer.Option(help="Number format of the KV cache.")] = None,
    weight_bytes: Annotated[int | None, typer.Option(min=1, help="Resident weights over all GPUs.")] = None,
    streamed_weight_bytes: Annotated[int | None, typer.Option(min=1, help="Read per iteration.")] = None,
    kv_bytes_per_token: Annotated[int | None, typer.Option(min=1, help="Over all GPUs.")] = None,
    max_model_length: Annotated[int | None, typer.Option(min=1, help="Longest context, tokens.")] = None,
    token_budget: TokenBudget = 8192,
    max_num_seqs: MaxNumSeqs = None,
    shortest_share: ShortestShare = 0.8,
    requests_per_client: RequestsPerClient = 10,
    limit: Annotated[
        float, typer.Option(min=0.0, help="Largest mean error on points not fitted, percent.")
    ] = HELD_OUT_LIMIT_PERCENT,
    accept: Annotated[bool, typer.Option("--accept", help="Write it although above the limit.")] = False,
) -> None:
    """Fit a profile to measured points by replaying the load generator; print its errors on points held out."""
    from joulery.profiling.fitting import FitRequest, name_of, run
    from joulery.profiling.replay import Client

    client = Client(requests_per_client, shortest_share, token_budget, max_num_seqs)
    request = FitRequest(
        name_of(name, out), model, like, client, engine_version, precision, kv_cache_type, weight_bytes,
        streamed_weight_bytes, kv_bytes_per_token, max_model_length,
    )  # fmt: skip
    run(points, request, out, limit_percent=limit, accept=accept)


@app.command("plot")
def plot(
    profile: Annotated[str, typer.Argument(metavar="FILE|NAME", help=_REFERENCE)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, HTML that opens offline.")],
    points: Annotated[Path | None, typer.Option(help="Measured points to draw over the model.")] = None,
    token_budget: Annotated[
        int | None,
        typer.Option(min=1, help="max_num_batched_tokens; by default as the profile was measured."),
    ] = None,
    max_num_seqs: MaxNumSeqs = None,
    shortest_share: ShortestShare = 0.8,
    requests_per_client: RequestsPerClient = 10,
) -> None:
    """Draw times, watts and joules per token against load and clock, with bands."""
    from joulery.profiling.files import profile_at
    from joulery.profiling.plotting import run
    from joulery.profiling.replay import Client

    drawn = profile_at(profile)
    budget = drawn.token_budget if token_budget is None else token_budget
    run(drawn, points, Client(requests_per_client, shortest_share, budget, max_num_seqs), out)
