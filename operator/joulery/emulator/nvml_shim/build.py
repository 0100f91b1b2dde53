"""Compiles the shim, once per source and compiler, into a cache outside the tree."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from joulery.errors import ConfigError

LIBRARY = "libnvidia-ml.so.1"
_SOURCES = ("nvml.c", "shared.h")
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread")
_COMPILE_LIMIT_S = 60.0


def build_shim(out_dir: Path | None = None) -> Path:
    """The folder to put on LD_LIBRARY_PATH, holding `libnvidia-ml.so.1`.

    Args:
        out_dir: where to build; by default a folder per source hash below the user's cache.

    Raises:
        ConfigError: no C compiler, or it refused the source.
    """
    folder = out_dir or _cache_folder()
    if not (folder / LIBRARY).exists():
        _compile_into(folder)
    return folder


def _cache_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "joulery" / "shim" / _source_hash()


def _source_hash() -> str:
    digest = hashlib.sha256(" ".join((*_compiler(), *_FLAGS)).encode())
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or "cc")


def _compile_into(folder: Path) -> None:
    """Build beside the target and rename, so that parallel builders never see half a library."""
    compiler = _compiler()
    if shutil.which(compiler[0]) is None:
        raise ConfigError(f"no C compiler: {compiler[0]!r} is not on PATH; install gcc or clang, or set CC")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / LIBRARY
        source = Path(__file__).with_name("nvml.c")
        command = [*compiler, *_FLAGS, f"-Wl,-soname,{LIBRARY}", "-o", str(built), str(source)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_LIMIT_S, check=False)
        if run.returncode:
            raise ConfigError(f"{compiler[0]} could not build the NVML shim:\n{run.stderr}")
        built.replace(folder / LIBRARY)
