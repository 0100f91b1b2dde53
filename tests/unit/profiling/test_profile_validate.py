"""A profile is refused field by field with the cure; what ships is not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import cast

import pytest
import yaml
from typer.testing import CliRunner

from joulery.__main__ import app
from joulery.errors import ConfigError, ProfileError
from joulery.profiling.checks import problems_in
from joulery.profiling.files import Manifest, manifests_of, profile_at, shipped_names, write_whole
from serving_cases import shipped_spec

Path_ = tuple[str | int, ...]
FIRST: Path_ = ("accelerators", 0)
HOST: Path_ = (*FIRST, "latency", "hostBaseNanoseconds")


def manifest(*changes: tuple[Path_, object]) -> Manifest:
    """The shipped profile with fields changed, added, or removed where the value is Ellipsis."""
    spec = copy.deepcopy(shipped_spec())
    for path, value in changes:
        place: object = spec
        for key in path[:-1]:
            place = place[key]  # type: ignore[index]
        target = cast("dict[str | int, object]", place)
        if value is ...:
            del target[path[-1]]
        else:
            target[path[-1]] = value
    return Manifest("a.yaml", "broken", spec)


def problems(*changes: tuple[Path_, object]) -> list[str]:
    return [str(p) for p in problems_in(manifest(*changes))]


def test_profiles_that_ship_have_no_problem() -> None:
    assert len(shipped_names()) >= 2
    for name in shipped_names():
        (shipped,) = manifests_of(name)
        assert problems_in(shipped) == ()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((*FIRST, "power", "hostMilliwatts", "low"), -5, "hostMilliwatts.low: -5 is negative; watts and times are"),
        ((*HOST, "low"), -1, "latency.hostBaseNanoseconds.low: -1 is negative"),
        ((*HOST, "source"), "", "hostBaseNanoseconds.source: is empty; say where the value comes from"),
        ((*HOST, "source"), ..., "hostBaseNanoseconds.source: field required; say where the value comes from"),
        ((*HOST, "grade"), ..., "hostBaseNanoseconds.grade: field required; say Measured, Interpolated or Assumed"),
        ((*HOST, "grade"), "Good", "grade: input should be 'Measured', 'Interpolated' or 'Assumed', got 'Good'; say"),
        ((*HOST, "low"), ..., "hostBaseNanoseconds.low: field required; state the plausible range"),
        ((*HOST, "basis", "points"), 0, "hostBaseNanoseconds.basis.points: "),
        ((*HOST, "basis", "valid"), ..., "hostBaseNanoseconds.basis.valid: field required"),
        ((*HOST, "value"), "3.43 ms", "hostBaseNanoseconds.value: "),
        ((*HOST, "value"), 9_000_000, "hostBaseNanoseconds.value: 9e+06 is outside low..high"),
        ((*FIRST, "latency", "hostBase"), {}, "latency.hostBase: unknown field, or no unit in its name; write host"),
        (("engine", "maxNumBatchedTokens"), ..., "spec.engine.maxNumBatchedTokens: field required; see kubectl"),
        (("engine", "maxNumBatchedTokens"), 0, "spec.engine.maxNumBatchedTokens: "),
        (("engine", "tokenBudget"), 512, "spec.engine.tokenBudget: unknown field; remove it; known are type, version"),
        ((*FIRST, "kvCache"), {"type": "FP8"}, "accelerators[0].kvCache.bytesPerToken: field required"),
        ((*FIRST, "kvCache"), {"type": "FP8", "bytesPerToken": 0}, "accelerators[0].kvCache.bytesPerToken: "),
        ((*FIRST, "colour"), "red", "accelerators[0].colour: unknown field; remove it; known are name"),
        ((*FIRST, "maxClockMHz"), ..., "accelerators[0].maxClockMHz: field required; see kubectl explain"),
        ((*FIRST, "clockResponse", "bandwidthSlope", "value"), "-2.2", "1335 MHz: throughput falls as the clock rises"),
        (("parameters", "weightBytes"), 10**14, "0 tokens of KV cache fit beside the weights; correct weightBytes"),
        (("accelerators",), [], "accelerators"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_field_with_its_cure(path: Path_, value: object, said: str) -> None:
    found = problems((path, value))
    assert any(said in line for line in found), found
    assert all(line.startswith("spec") and "; " in line for line in found)


def test_work_that_draws_less_than_idle_is_refused_at_its_clock() -> None:
    host = (*FIRST, "power", "hostMilliwatts")
    found = problems(((*host, "value"), 80_000), ((*host, "low"), 80_000))
    assert any(
        "TP4 at 1980 MHz: host_w 320 W is below idle 360 W; no work draws less than idle" in f for f in found
    ), found


def test_the_low_and_high_ends_of_a_range_are_judged_too() -> None:
    slope = (*FIRST, "clockResponse", "memoryKnee")
    found = problems(((*slope, "high"), "1.0"))
    assert any(
        "every parameter at its high end" in line and "memory_knee must be below 1" in line for line in found
    )


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["profile", *arguments])
    return done.exit_code, done.stdout, done.stderr


def written(folder: Path, name: str, spec: object, **more: object) -> str:
    file = folder / name
    file.write_text(
        yaml.safe_dump({"kind": "EnergyProfile", "metadata": {"name": "mine"}, "spec": spec} | more)
    )
    return str(file)


def test_validate_says_each_problem_on_a_line_and_exits_with_2(tmp_path: Path) -> None:
    good = written(tmp_path, "good.yaml", shipped_spec())
    bad = written(tmp_path, "bad.yaml", manifest(((*HOST, "low"), -1), ((*HOST, "source"), ...)).spec)
    code, out, err = run("validate", good, bad, str(tmp_path / "none.yaml"))
    assert code == 2
    assert out == f"{good}: mine can be used\n"
    lines = err.splitlines()
    assert len(lines) == 3
    assert sum(line.startswith(f"joulery: {bad}: mine: spec.accelerators[0].latency") for line in lines) == 2
    assert "none.yaml cannot be read" in lines[-1]
    assert run("validate", good)[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "is not YAML"),
        ("- 1", "kind must be EnergyProfile"),
        ("kind: Pod", "kind must be EnergyProfile"),
        ("kind: EnergyProfile", "metadata.name is missing"),
        ("kind: EnergyProfile\nmetadata: {name: a}", "spec is missing"),
    ],
)
def test_a_file_that_holds_no_profile_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=said):
        manifests_of(str(file))


def test_what_is_shown_names_the_key_of_the_profile_by_accelerator() -> None:
    shown = CliRunner().invoke(app, ["profile", "show", "llama-3.1-70b-fp8"])
    assert shown.exit_code == 0
    said = " ".join(shown.stdout.split())
    assert "42, 2 %" in said
    for cache, name in (("BF16", "H100-SXM-80GB"), ("FP8", "H200-SXM-141GB")):
        assert f"VLLM 0.11 with a token budget of 8192, KV cache {cache}, on {name}" in said


def test_a_profile_that_cannot_be_used_is_not_shown(tmp_path: Path) -> None:
    file = written(tmp_path, "bad.yaml", manifest(((*HOST, "source"), ...)).spec)
    with pytest.raises(
        ProfileError, match=r"spec\.accelerators\[0\].*source is missing; see joulery profile validate"
    ):
        profile_at(file)


def test_show_prints_parameters_watts_times_and_errors() -> None:
    code, out, _ = run("show", "llama-3.1-70b-fp8")
    assert code == 0
    for text in (
        "host base",
        "3,430",
        "Measured",
        "fit, H100 TP 2, 4, 8",
        "1200",
        "110.71",
        "1024/8192",
        "7.7",
    ):
        assert text in out, text


def test_import_writes_points_or_nothing(tmp_path: Path) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "out.csv"
    out.write_text("as it was")
    table.write_text("task,model\nchat,a\n")
    done = CliRunner().invoke(app, ["profile", "import", "mlenergy-v3", str(table), "-o", str(out)])
    assert isinstance(done.exception, ConfigError)
    done = CliRunner().invoke(app, ["profile", "import", "excel", str(table), "-o", str(out)])
    assert isinstance(done.exception, ConfigError)
    assert "known are aiconfigurator, mlenergy-v3, mlenergy-v2" in str(done.exception)
    assert out.read_text() == "as it was"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.txt"
    write_whole(file, "first")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "\ud800")
    assert file.read_text() == "first"
    assert [f.name for f in file.parent.iterdir()] == ["a.txt"]
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(file / "below", "text")
