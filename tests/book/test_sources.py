"""The key of a notebook: all that its outputs depend on, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from nbformat.v4 import new_output
from small_house import ONE, TWO, edit, write_source

import build
import sources


def test_the_key_ignores_outputs(house: Path) -> None:
    notebook = sources.prepared_notebook(house, "quick", ONE)
    key = sources.run_key(house, ONE, notebook)
    sources.code_cells(notebook)[0].outputs = [new_output("stream", text="x")]
    assert sources.run_key(house, ONE, notebook) == key


def key(house: Path, *code: str) -> str:
    """The key of a notebook of these cells."""
    write_source(house, ONE, *code)
    return sources.run_key(house, ONE, sources.prepared_notebook(house, "quick", ONE))


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (["import symscope.used as used\nused.x"], ["used"]),
        (["%matplotlib inline", "1 + 1"], ["used", "unused"]),  # it cannot be told
        (["import measure\nmeasure.go()"], ["unused"]),
        (["from measure import go\ngo()"], ["unused"]),
    ],
)
def test_the_key_holds_the_modules_reached(house: Path, code: list[str], names: list[str]) -> None:
    edit(house, "benchmarks/measure.py", "import symscope\ndef go():\n    symscope.unused.x\n")
    before = key(house, *code)
    changed = []
    for name in ("used", "unused"):
        path = house / f"src/symscope/{name}.py"
        held = path.read_text(encoding="utf-8")
        edit(house, f"src/symscope/{name}.py", held + "y = 2\n")
        if key(house, *code) != before:
            changed.append(name)
        edit(house, f"src/symscope/{name}.py", held)
    assert changed == names
    assert key(house, *code) == before


def test_the_key_holds_the_benchmarks_that_a_notebook_imports(house: Path) -> None:
    edit(house, "benchmarks/measure.py", "x = 1\n")
    own, other = key(house, "import measure"), key(house, "import pathlib")
    edit(house, "benchmarks/measure.py", "# better\nx = 1\n")
    assert key(house, "import measure") == own
    edit(house, "benchmarks/measure.py", "x = 2\n")
    assert key(house, "import measure") != own
    assert key(house, "import pathlib") == other


def test_a_word_in_a_claims_comment_does_not_count(house: Path) -> None:
    edit(house, f"notebooks/claims/{ONE}.yaml", "gap:\n  criterion: '> 1'\n")
    before = key(house, "1")
    edit(house, f"notebooks/claims/{ONE}.yaml", "# said\ngap: {criterion: '> 1'}\n")
    assert key(house, "1") == before
    edit(house, f"notebooks/claims/{ONE}.yaml", "gap: {criterion: '> 2'}\n")
    assert key(house, "1") != before
    edit(house, f"notebooks/claims/{TWO}.yaml", "gap: {criterion: '> 3'}\n")


# --- The notebooks as they are --------------------------------------------------------------------


def test_the_wings_of_the_package_do_not_age_each_others_notebooks(tmp_path: Path) -> None:
    """A copy of the repository's sources, changed one module at a time."""
    for folder in ("src", "notebooks"):
        shutil.copytree(build.ROOT / folder, tmp_path / folder)
    shutil.copy(build.ROOT / "constraints.txt", tmp_path)
    names = [name for name in sources.notebook_names(tmp_path) if name[:2] in ("01", "06")]
    prepared = {name: sources.prepared_notebook(tmp_path, "quick", name) for name in names}

    def now() -> dict[str, str]:
        return {name[:2]: sources.run_key(tmp_path, name, prepared[name]) for name in names}

    before = now()
    for file, aged in {
        "lie/report.py": {"01"},
        "weights/cyclic.py": {"06"},
        "study/figures.py": set(),
        "_checks.py": {"01", "06"},
    }.items():
        path = tmp_path / "src/symscope" / file
        held = path.read_text(encoding="utf-8")
        path.write_text(f"{held}\nCHANGED = 1\n", encoding="utf-8")
        assert {name for name, each in now().items() if each != before[name]} == aged, file
        path.write_text(held, encoding="utf-8")
