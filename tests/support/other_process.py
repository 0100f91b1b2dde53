"""Code in a fresh interpreter: other imports, another hash seed."""

from __future__ import annotations

import os
import subprocess
import sys


def printed(code: str, *, timeout_s: float = 120.0) -> str:
    """What `code` prints in an interpreter of its own with this one's path and another hash seed.

    Raises:
        CalledProcessError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"},
    )
    return done.stdout.strip()
