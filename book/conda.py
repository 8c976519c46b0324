"""Writes conda's environment.yml from the dependencies in pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

# Where conda-forge calls a package by another name, and what it does not have.
CONDA_NAMES = {"torch": "pytorch-cpu", "playwright": "playwright-python"}
ONLY_ON_PIP = {"sphinx-mathjax-offline"}


def requirement_name(requirement: str) -> str:
    """The package that a requirement such as `torch>=2.11` asks for."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def environment_text(root: Path) -> str:
    """conda's environment.yml with the dependencies of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    conda, pip = [], ["-e ."]
    for requirement in [*project["dependencies"], *extras["book"], *extras["test"]]:
        name = requirement_name(requirement)
        if name in ONLY_ON_PIP or ";" in requirement:  # conda knows no markers
            pip.append(requirement)
        else:
            conda.append(CONDA_NAMES.get(name, name) + requirement[len(name) :])
    lines = [
        "# What conda users and Binder install: the dependencies of pyproject.toml.",
        "# Written by `python book/build.py environment`; change pyproject.toml instead.",
        "# With an NVIDIA GPU: write pytorch-gpu in the place of pytorch-cpu.",
        f"name: {project['name']}",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python={project['requires-python'].removeprefix('>=')}",
        "  - pip",
        *(f"  - {package}" for package in sorted(conda)),
        "  - pip:",
        *(f"      - {package}" for package in sorted(pip)),
    ]
    return "\n".join(lines) + "\n"
