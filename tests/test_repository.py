"""What must hold for the repository as a whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "operator" / "joulery").rglob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
LINES_PER_FILE = 300


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=120, check=False
    )


# ------------------------------------------------------------------ operator/ is a source root


def test_operator_holds_no_python_of_its_own() -> None:
    assert not list((ROOT / "operator").glob("*.py"))
    assert (ROOT / "operator" / "joulery" / "__init__.py").is_file()


def test_the_standard_librarys_operator_is_found_from_the_root() -> None:
    program = "import operator; print(operator.itemgetter(1)('ab'), operator.__file__)"
    done = run(sys.executable, "-c", program)
    assert done.stdout.startswith("b "), done.stderr
    assert str(ROOT / "operator") not in done.stdout


def test_no_test_folder_is_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


# ------------------------------------------------------------------ import rules


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None))"
    return run(sys.executable, "-c", program, cwd=tree, PYTHONPATH=str(tree / "operator"))


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__", "*.so*", "*.csv*", "*.npz")
    shutil.copytree(ROOT / "operator", tree / "operator", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


PLANTED = [
    ("planner/decide.py", "import kopf", "kopf lives in the controller"),
    ("domain/keys.py", "import numpy", "the domain is the standard library only"),
    ("serving/engine.py", "from joulery.planner import decide", "domain <- serving <- optimizer"),
    ("planner/decide.py", "import time", "pure layers do no I/O"),
    ("agent/loop.py", "import joulery.serving.kernel", "the agent sees domain, api and telemetry"),
    ("adapters/prometheus.py", "import cvxpy", "cvxpy lives in the optimizer"),
    ("controller/loop.py", "import pynvml", "NVML is spoken in one module"),
]


def broken_contracts(output: str) -> list[str]:
    """Names of the contracts reported as broken; long names are printed over two lines."""
    table = output.partition("\nContracts: ")[0].rpartition("---\n")[2]
    verdicts = re.findall(r"(.+?) (KEPT|BROKEN)(?: \([^)]*\))?(?: |$)", " ".join(table.split()))
    return [name for name, verdict in verdicts if verdict == "BROKEN"]


def test_the_tree_keeps_its_import_rules(copied_tree: Path) -> None:
    done = lint_imports(copied_tree)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(("file", "line", "contract"), PLANTED, ids=[f"{f}: {i}" for f, i, _ in PLANTED])
def test_a_planted_import_is_caught(copied_tree: Path, file: str, line: str, contract: str) -> None:
    target = copied_tree / "operator" / "joulery" / file
    original = target.read_text()
    target.write_text(f"{original}\n{line}\n")
    try:
        done = lint_imports(copied_tree)
    finally:
        target.write_text(original)
    assert done.returncode == 1, done.stdout
    assert any(contract in name for name in broken_contracts(done.stdout)), done.stdout


def test_the_agent_starts_without_solver_compiler_and_kopf() -> None:
    absent = ["cvxpy", "highspy", "kopf", "numba", "numpy", "plotly", "cryptography", "prometheus_api_client"]
    program = f"import sys; sys.modules.update(dict.fromkeys({absent})); import joulery.agent.app"
    done = run(sys.executable, "-c", program, PYTHONPATH="operator")
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------ generated and locked files


def test_crds_match_the_models() -> None:
    from joulery.api.crd import render_all

    written = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert written == dict(render_all())


def test_lock_files_are_hashed_and_name_no_address() -> None:
    assert [path.stem for path in LOCKS] == ["agent", "controller", "dev"]
    done = run(sys.executable, "hack/locks.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://mirror.invalid/simple",
        "--find-links /somewhere",
        "thing @ file:///somewhere",
        "thing>=1",
    ],
)
def test_a_lock_that_says_where_it_was_made_is_refused(line: str, tmp_path: Path) -> None:
    for folder in ("requirements", "hack"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("go.*"))
    with (tmp_path / "requirements" / "agent.txt").open("a") as lock:
        lock.write(f"{line}\n")
    done = run(sys.executable, "hack/locks.py", "--check", cwd=tmp_path)
    assert done.returncode == 1
    assert line in done.stderr


def test_the_agents_lock_holds_neither_solver_nor_compiler_nor_kopf() -> None:
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements" / "agent.txt").read_text(), re.M))
    assert "nvidia-ml-py" in locked
    assert not locked & {"cvxpy", "highspy", "kopf", "llvmlite", "numba", "numpy", "scipy"}


# ------------------------------------------------------------------ size and documentation


def test_every_file_is_short_enough_to_read_at_once() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines >= LINES_PER_FILE} == {}


def test_make_help_lists_every_target_that_people_call() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    listed = set(re.findall(r"^  make (\w+) ", run("make", "--silent", "help").stdout, re.M))
    assert listed == set(phony.group(1).split())
    assert listed >= set("help demo test soak verify generate bench figures clean".split())  # noqa: SIM905


def test_ci_runs_the_readmes_test_command_and_then_verify() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in script if line.startswith("make ")] == ["make test", "make verify"]
    assert re.search(r"^    make test\b", (ROOT / "README.md").read_text(), re.M)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
