"""Every Python that symscope supports and this machine has, for tests of what must not differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def pythons() -> list[str]:
    """The path of one interpreter for each version from 3.11 on, this one first."""
    names = [f"python3.{minor}" for minor in range(11, 20)]
    found = [sys.executable, *filter(None, map(shutil.which, ["python3", *names]))]
    found += map(str, Path("/usr/bin").glob("python3"))
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += map(str, sorted(root.glob("versions/3.*/bin/python")))
    versions: dict[str, str] = {}
    ask = "import sys; print(sys.version_info[:3] if sys.version_info >= (3, 11) else '')"
    for place in found:
        asked = subprocess.run([place, "-I", "-c", ask], capture_output=True, text=True)
        if asked.returncode == 0 and asked.stdout.strip():
            versions.setdefault(asked.stdout.strip(), place)
    return list(versions.values())


def answers(script: str, *arguments: str) -> dict[str, str]:
    """What a script prints under each of them, alone, in the C locale.

    Raises:
        AssertionError: if it fails under one of them.
    """
    found = {}
    for python in pythons():
        done = subprocess.run(
            [python, "-I", "-c", script, *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"LC_ALL": "C"},
        )
        assert done.returncode == 0, (python, done.stderr)
        found[python] = done.stdout
    return found
