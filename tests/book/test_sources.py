"""The key of a notebook: all that its outputs depend on, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from nbformat.v4 import new_output
from small_house import ONE, STATEMENT, edit, write_source, write_statement

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
        (["%matplotlib inline", "1 + 1"], ["used", "unused", "measure", "other"]),  # untold
        (["import measure\nmeasure.go()"], ["unused", "measure"]),
        (["from measure import go\ngo()"], ["unused", "measure"]),
    ],
)
def test_the_key_holds_the_rooms_reached(house: Path, code: list[str], names: list[str]) -> None:
    edit(house, "benchmarks/measure.py", "import symscope\ndef go():\n    symscope.unused.x\n")
    edit(house, "benchmarks/other.py", "x = 1\n")
    before = key(house, *code)
    changed = []
    for name in ("src/symscope/used", "src/symscope/unused", "benchmarks/measure",
                 "benchmarks/other"):  # fmt: skip
        file = f"{name}.py"
        held = (house / file).read_text(encoding="utf-8")
        edit(house, file, f"# better\n{held}")
        assert key(house, *code) == before
        edit(house, file, f"{held}y = 2\n")
        if key(house, *code) != before:
            changed.append(Path(name).name)
        edit(house, file, held)
    assert changed == names
    assert key(house, *code) == before


def test_a_word_in_a_statements_comment_does_not_count(house: Path) -> None:
    write_statement(house)
    before = key(house, "1")
    edit(house, "notebooks/statements/key.yaml", f"# said\n{STATEMENT}")
    assert key(house, "1") == before
    write_statement(house, ("01_one, beside", "02_two, beside"))
    other = key(house, "1")
    assert other != before
    write_statement(house, ("01_one, beside", "02_two, beside"), ("the loss", "a loss"))
    assert key(house, "1") == other  # it is another notebook's


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
        "src/symscope/reports/symmetries.py": {"01"},
        "src/symscope/orbits/cyclic.py": {"06"},
        "notebooks/studies/lgn/setting.py": {"06"},
        "notebooks/studies/plots/figures.py": set(),
        "src/symscope/_checks.py": {"01", "06"},
    }.items():
        path = tmp_path / file
        held = path.read_text(encoding="utf-8")
        path.write_text(f"{held}\nCHANGED = 1\n", encoding="utf-8")
        assert {name for name, each in now().items() if each != before[name]} == aged, file
        path.write_text(held, encoding="utf-8")
