"""The files that must agree with each other, and what no committed file may hold."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import build
import conda
import notebooks

ROOT = build.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *(r for e in EXTRAS.values() for r in e)]
]
# The same on every machine that has them.
STANDARD_PATHS = {
    "/usr/bin",
    "/usr/bin/env",
    "/usr/bin/python3",
    "/usr/share/datasets/fashion-mnist",
}
REGISTRY_HOSTS = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|anaconda\.(?:org|com)|download\.pytorch\.org)\b"
)
# What torch's own installation page names: the README says how to have its small CPU build.
CPU_BUILDS = "https://download." + "pytorch.org/whl/cpu"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYTHONS = re.search(r"^pythons := (.*)$", MAKEFILE, re.M)[1].split()
# Debian 12's Python is 3.11.2: the oldest release of the oldest Python counts.
EVERY_PYTHON = ["3.11.0", "3.11.2", *(f"{version}.9" for version in PYTHONS)]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def pins() -> list[Requirement]:
    """The lines of constraints.txt: a package, one version, at times for some Pythons only."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def version_of(pin: Requirement) -> str:
    """The one version that a pin allows."""
    (only,) = pin.specifier
    assert only.operator == "=="
    return only.version


def applies(pin: Requirement, python: str) -> bool:
    """Whether pip heeds a pin on Linux with that Python."""
    environment = {
        **default_environment(),
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    return pin.marker is None or pin.marker.evaluate(environment)


def committed_files() -> list[Path]:
    """Tracked files, and those that the next commit could add."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("no git here, or a copy without its history: what is committed is not known")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding="utf-8",
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
    if path == ROOT / "README.md":
        text = text.replace(CPU_BUILDS, "")
    paths = [path for path in notebooks.machine_paths(content) if path not in STANDARD_PATHS]
    return paths + REGISTRY_HOSTS.findall(text)


@pytest.mark.parametrize("python", EVERY_PYTHON)
def test_every_dependency_is_pinned_once_within_its_range(python: str) -> None:
    for requirement in REQUIREMENTS:
        found = [
            version_of(pin)
            for pin in pins()
            if pin.name == canonicalize_name(requirement.name) and applies(pin, python)
        ]
        assert len(found) == 1, f"constraints.txt has {found} for {requirement.name}"
        assert requirement.specifier.contains(found[0])


@pytest.mark.parametrize("python", EVERY_PYTHON)
def test_no_package_has_two_pins_on_one_python(python: str) -> None:
    names = [pin.name for pin in pins() if applies(pin, python)]
    assert len(names) == len(set(names))


def test_constraints_are_exact_pins_of_plain_names() -> None:
    for pin in pins():
        assert pin.name == canonicalize_name(pin.name)
        assert pin.url is None and not pin.extras
        assert re.fullmatch(r"[\w.]+", version_of(pin))


def test_constraints_let_the_cpu_build_of_torch_in() -> None:
    torch = [pin for pin in pins() if pin.name == "torch"]
    assert torch
    assert all(pin.specifier.contains(f"{version_of(pin)}+cpu") for pin in torch)


def test_environment_follows_from_pyproject() -> None:
    written = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert written == conda.environment_text(ROOT), "run `python book/build.py environment`"


def test_environment_has_every_dependency_once() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, last = environment["dependencies"]
    names = [conda.requirement_name(package) for package in [*packages, *last["pip"]]]
    assert len(names) == len(set(names))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    wanted = PROJECT["dependencies"] + EXTRAS["book"] + EXTRAS["test"]
    for requirement in wanted:
        name = conda.requirement_name(requirement)
        assert conda.CONDA_NAMES.get(name, name) in names
    assert "pytorch-cpu" in names
    assert "-e ." in last["pip"]


def test_the_tool_needs_what_it_imports_and_no_more() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    imported = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    brought_along = {"triton", "dask"}  # by the extra `gpu`, by distributed
    assert imported - sys.stdlib_module_names - {"symscope"} - brought_along == names


def test_the_wheel_holds_the_tool_alone() -> None:
    assert {path.name for path in (ROOT / "src").iterdir() if path.is_dir()} - {
        "symscope.egg-info"
    } == {"symscope"}
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["setuptools"]["packages"]["find"] == {"where": ["src"]}


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
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in MAKEFILE
    assert f"--python-version {oldest}.0 " in MAKEFILE
    assert PYTHONS[0] == oldest
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def test_nbval_runs_kernels_as_the_builder_does() -> None:
    set_there = re.search(r"^kernel_environment := (.*)$", MAKEFILE, re.M)[1].split()
    assert dict(pair.split("=") for pair in set_there) == notebooks.KERNEL_ENVIRONMENT


def test_make_lists_every_command() -> None:
    commands = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, check=True, encoding="utf-8", env=plain
    ).stdout
    assert re.findall(r"^  make (\w+) +\w+", listed, re.M) == commands
    assert {"book", "test", "paper", "render", "lab", "notebooks", "clean", "lint"} < set(commands)


def test_a_missing_python_is_said_at_once(tmp_path: Path) -> None:
    made = subprocess.run(
        ["make", "PYTHON=python3.0", f"VENV={tmp_path / 'new'}", "book"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    assert made.returncode != 0
    assert "there is no python3.0 here" in made.stderr
    assert not (tmp_path / "new").exists()


def test_the_readme_says_how_to_have_small_wheels() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"PIP_EXTRA_INDEX_URL={CPU_BUILDS} make book" in text


def test_smoke_names_files_that_exist() -> None:
    named = re.search(r"^smoke_tests := ((?:.*\\\n)*.*)$", MAKEFILE, re.M)[1]
    files = named.replace("\\", "").split()
    assert files and [name for name in files if not (ROOT / name).is_file()] == []


def schema_errors(schema: str, *files: Path) -> str:
    """What a schema that check-jsonschema brings along has against some files."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)],
        capture_output=True,
        encoding="utf-8",
    )
    return checked.stdout + checked.stderr if checked.returncode else ""


def test_workflows_are_what_github_reads() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "pages.yml"}
    assert schema_errors("vendor.github-workflows", *WORKFLOWS) == ""


def test_workflows_hold_no_secret_and_ask_for_few_permissions() -> None:
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert "secrets." not in text
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        used = re.findall(r"uses: (\S+)", text)
        assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+", action)] == []


def test_ci_tries_every_python_named() -> None:
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert ci["jobs"]["tests"]["strategy"]["matrix"]["python"] == PYTHONS


def test_the_citation_says_what_pyproject_says() -> None:
    assert schema_errors("vendor.citation-file-format", ROOT / "CITATION.cff") == ""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"].startswith(PROJECT["name"])
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {PROJECT['version']}" in changes


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
    assert notebooks.machine_paths({"outputs": [{"text": text}]})


@pytest.mark.parametrize(
    "text",
    ["https://example.org/home/page", "iVBORw0K/tmp/ab+/root/xyz=", "data/work/x.npz", "a/b"],
)
def test_what_only_looks_like_a_machine_path_is_let_through(text: str) -> None:
    assert not notebooks.machine_paths(text)
