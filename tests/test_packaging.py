"""The files that must agree with each other, and what no committed file may hold."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import build

ROOT = build.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *(r for e in EXTRAS.values() for r in e)]
]
# The same on every machine that has them.
STANDARD_PATHS = {"/usr/bin/env", "/usr/share/datasets/fashion-mnist"}
REGISTRY_HOSTS = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|anaconda\.(?:org|com)|download\.pytorch\.org)\b"
)


def pins() -> dict[str, str]:
    """Package to version, as constraints.txt has them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def committed_files() -> list[Path]:
    """Tracked files, and those that the next commit could add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in files if path.is_file()]


def forbidden_in(path: Path) -> list[str]:
    """Machine paths and registry hosts in a text file; a binary file has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    content = json.loads(text) if path.suffix in (".ipynb", ".json") else text
    paths = [path for path in build.machine_paths(content) if path not in STANDARD_PATHS]
    return paths + REGISTRY_HOSTS.findall(text)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    pin = pins().get(canonicalize_name(requirement.name))
    assert pin is not None, f"constraints.txt does not pin {requirement.name}"
    assert requirement.specifier.contains(pin)


def test_constraints_are_exact_pins_of_plain_names() -> None:
    names = list(pins())
    assert len(names) == len(set(names))
    assert names == [canonicalize_name(name) for name in names]
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins().values())


def test_environment_follows_from_pyproject() -> None:
    written = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert written == build.environment_text(ROOT), "run `python book/build.py environment`"


def test_environment_has_every_dependency_once() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, last = environment["dependencies"]
    names = [build.requirement_name(package) for package in [*conda, *last["pip"]]]
    assert len(names) == len(set(names))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    wanted = PROJECT["dependencies"] + EXTRAS["book"] + EXTRAS["test"]
    for requirement in wanted:
        name = build.requirement_name(requirement)
        assert build.CONDA_NAMES.get(name, name) in names
    assert "pytorch-cpu" in names
    assert "-e ." in last["pip"]


def test_one_repository_address() -> None:
    address = PROJECT["urls"]["Repository"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == address
    owners = {
        found
        for path in committed_files()
        if path.suffix in (".md", ".ipynb", ".yml", ".toml")
        for found in re.findall(
            r"https://github\.com/[\w-]+/symscope\b", path.read_text(encoding="utf-8")
        )
    }
    assert owners == {address}


def test_one_oldest_python() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in makefile
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def test_nbval_runs_kernels_as_the_builder_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    set_there = re.search(r"^kernel_environment := (.*)$", makefile, re.M)[1].split()
    assert dict(pair.split("=") for pair in set_there) == build.KERNEL_ENVIRONMENT


def test_make_lists_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert re.findall(r"^  make (\w+) +\w+", listed, re.M) == commands
    assert {"book", "test", "paper", "render", "lab", "notebooks", "clean", "lint"} < set(commands)


def test_no_machine_path_or_registry_host_is_committed() -> None:
    files = committed_files()
    assert ROOT / "pyproject.toml" in files
    found = {
        str(path.relative_to(ROOT)): forbidden
        for path in files
        if (forbidden := forbidden_in(path))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "see " + "/home/" + "ada/symscope/notebooks",
        "'" + "/root/" + "x.py'",
        "at\n" + "/tmp/" + "run1: gone",
        r"C:\Users" + r"\ada\x",
    ],
)
def test_a_machine_path_is_noticed(text: str) -> None:
    assert build.machine_paths({"outputs": [{"text": text}]})


@pytest.mark.parametrize(
    "text",
    ["https://example.org/home/page", "iVBORw0K/tmp/ab+/root/xyz=", "data/work/x.npz", "a/b"],
)
def test_what_only_looks_like_a_machine_path_is_let_through(text: str) -> None:
    assert not build.machine_paths(text)
