"""Running, skipping and failing: the builder on two tiny notebooks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from small_house import ONE, TWO, edit, result, write_source, write_statement

import notebooks
import sources

# --- A real kernel --------------------------------------------------------------------------------


def test_a_result_holds_outputs_and_nothing_of_the_machine(house: Path) -> None:
    write_source(
        house, ONE, "import os\nprint(scale, seeds, os.path.basename(os.getcwd()))", "1 + 1"
    )
    notebooks.run(house, "quick", [ONE])
    notebook = sources.read_notebook(result(house, ONE))
    _, printed, value = sources.code_cells(notebook)
    assert printed.outputs[0].text == "quick 1 notebooks\n"
    assert value.outputs[0].data["text/plain"] == "2"
    assert [cell.execution_count for cell in sources.code_cells(notebook)] == [1, 2, 3]
    kept = notebook.metadata.pop("symscope")
    assert notebook.metadata == sources.NOTEBOOK_METADATA
    assert kept.scale == "quick"
    assert kept.seconds > 0
    text = result(house, ONE).read_text(encoding="utf-8")
    assert "papermill" not in text
    assert notebooks.machine_paths(json.loads(text)) == []
    assert text.endswith("}\n")


def test_paper_scale_injects_the_parameters(house: Path) -> None:
    notebooks.run(house, "paper", [ONE])
    notebook = sources.read_notebook(result(house, ONE, "paper"))
    assert sources.code_cells(notebook)[1].id == "injected-parameters"
    assert sources.code_cells(notebook)[2].outputs[0].text == "paper 3\n"
    assert notebook.metadata.symscope.scale == "paper"
    assert not result(house, ONE).exists()


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_failing_cell_leaves_the_old_result_and_the_other_notebooks(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, at_once: int
) -> None:
    monkeypatch.setitem(notebooks.AT_ONCE, "quick", at_once)
    old = "the last good result"
    result(house, ONE).parent.mkdir(parents=True)
    result(house, ONE).write_text(nbformat.writes(new_notebook(metadata={"old": old})))
    before = result(house, ONE).read_bytes()
    write_source(house, ONE, "seeds = 0", "print('half')\nseeds / 0", "seeds")
    with pytest.raises(sources.BuildError) as failure:
        notebooks.run(house, "quick")
    said = str(failure.value)
    assert f"{ONE}, code cell 3 (\"print('half')\"): ZeroDivisionError: division by zero" in said
    assert f"_build/running/{ONE}.ipynb" in said
    assert result(house, ONE).read_bytes() == before
    assert result(house, TWO).exists()
    said = capsys.readouterr().out
    assert f"] {ONE}: failed" in said and f"] {TWO}: took" in said
    assert ("side by side" in said) == (at_once > 1)


def test_a_dead_kernel_is_a_failure(house: Path) -> None:
    write_source(house, ONE, "import os\nos._exit(1)", "'never reached'")
    with pytest.raises(sources.BuildError, match=rf"{ONE}, code cell 2 .*Kernel died"):
        notebooks.run(house, "quick", [ONE])
    assert not result(house, ONE).exists()


def test_a_run_stopped_by_the_clock_says_how_to_raise_it(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMSCOPE_CELL_TIMEOUT", "1")
    write_source(house, ONE, "import time\ntime.sleep(60)", "'never reached'")
    with pytest.raises(sources.BuildError) as failure:
        notebooks.run(house, "quick", [ONE])
    said = str(failure.value)
    assert f"{ONE}, code cell 2 ('import time'): stopped by the clock after 1 s; " in said
    assert "`make book CELL_TIMEOUT=2` allows a cell twice as long" in said
    assert not result(house, ONE).exists()


@pytest.mark.parametrize("given", ["0", "-1", "an hour", "1.5"])
def test_a_wrong_time_is_an_error_before_anything_runs(
    house: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("SYMSCOPE_CELL_TIMEOUT", given)
    with pytest.raises(sources.BuildError, match="SYMSCOPE_CELL_TIMEOUT must be a whole number"):
        notebooks.run(house, "quick")
    assert ran == []


def test_a_cell_has_an_hour_at_quick_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMSCOPE_CELL_TIMEOUT", raising=False)
    assert notebooks.cell_timeout("quick") == 3600


def test_kept_work_counts_as_the_time_it_took(house: Path) -> None:
    code = (
        "import os, pathlib\nfile = pathlib.Path(os.environ['SYMSCOPE_KEPT_SECONDS'])\n"
        # One was made now and used again, one was kept and used twice.
        "file.write_text('a 0\\na 50\\nb 1000\\nb 1000\\n')"
    )
    write_source(house, ONE, f"{code};")
    notebooks.run(house, "quick", [ONE])
    kept = sources.read_notebook(result(house, ONE)).metadata.symscope
    assert kept.kept == 1000
    assert 1000 < kept.seconds < 1100
    assert "SYMSCOPE_KEPT_SECONDS" not in os.environ


def test_a_machine_path_in_an_output_is_an_error(house: Path) -> None:
    path = "/home/" + "ada/run"
    write_source(house, ONE, f"print('saved to', '/home/' + '{path.removeprefix('/home/')}')")
    with pytest.raises(sources.BuildError, match=f"{ONE}, code cell 2: .*{path}"):
        notebooks.run(house, "quick", [ONE])
    assert not result(house, ONE).exists()


def test_sources_take_in_quick_outputs_the_same_way_every_time(house: Path) -> None:
    notebooks.update_sources(house)
    path = house / "notebooks" / f"{ONE}.ipynb"
    first = path.read_bytes()
    notebook = sources.read_notebook(path)
    assert sources.code_cells(notebook)[1].outputs[0].text == "quick 1\n"
    assert notebook.metadata.symscope == {"scale": "quick"}
    notebooks.update_sources(house)
    assert path.read_bytes() == first


# --- What runs, and what does not -----------------------------------------------------------------


def test_a_second_run_skips(house: Path, ran: list[str], capsys: pytest.CaptureFixture) -> None:
    notebooks.run(house, "quick")
    notebooks.run(house, "quick")
    assert ran == [ONE, TWO]
    assert f"{ONE}: up to date" in capsys.readouterr().out
    notebooks.run(house, "quick", [TWO], force=True)
    assert ran == [ONE, TWO, TWO]


@pytest.mark.parametrize(
    ("scale", "change", "reruns"),
    [
        ("quick", lambda house: write_source(house, TWO, "2 + 2", prose="New."), []),
        ("quick", lambda house: write_source(house, TWO, "2 + 2  # New."), []),
        ("quick", lambda house: write_source(house, TWO, "3 + 3"), [TWO]),
        ("quick", lambda house: edit(house, f"notebooks/parameters/{ONE}.yaml"), []),
        ("paper", lambda house: edit(house, f"notebooks/parameters/{ONE}.yaml"), [ONE]),
        ("quick", write_statement, [ONE]),
        ("quick", lambda house: edit(house, "data/weights.safetensors", "v"), [ONE, TWO]),
        ("quick", lambda house: edit(house, "data/table.csv", "v"), []),
        ("quick", lambda house: edit(house, "constraints.txt", "torch==2.14.0\n"), [ONE, TWO]),
        ("quick", lambda house: edit(house, "constraints.txt", "torch==2.13.0\nruff==1\n"), []),
        ("quick", lambda house: edit(house, "book/index.md", "# Other"), []),
        ("quick", lambda house: edit(house, "src/symscope/used.py", "x = 2"), []),
    ],
)
def test_only_what_changed_runs_again(house: Path, ran: list[str], scale, change, reruns) -> None:
    notebooks.run(house, scale)
    ran.clear()
    change(house)
    notebooks.run(house, scale)
    assert ran == reruns


@pytest.mark.parametrize(
    ("file", "text", "reruns"),
    [
        ("used.py", "x = 2\n", [TWO]),
        ("used.py", '"""Said better."""\n\nx = 1  # one\n', []),
        ("unused.py", "x = 2\n", []),
        ("new.py", "x = 2\n", []),
    ],
)
def test_a_notebook_runs_again_for_the_modules_that_it_reaches(
    house: Path, ran: list[str], file: str, text: str, reruns: list[str]
) -> None:
    # The import and the use stand in two cells.
    write_source(house, TWO, "import symscope as ss", "ss.used.x")
    notebooks.run(house, "quick")
    ran.clear()
    edit(house, f"src/symscope/{file}", text)
    notebooks.run(house, "quick")
    assert ran == reruns


def test_new_prose_needs_no_run(house: Path, ran: list[str]) -> None:
    notebooks.run(house, "paper")
    before = sources.read_notebook(result(house, TWO, "paper"))
    write_source(house, TWO, "2 + 2", prose="Better prose.")
    notebooks.run(house, "paper")
    after = sources.read_notebook(result(house, TWO, "paper"))
    assert ran == [ONE, TWO]
    assert after.cells[0].source == "Better prose."
    assert after.cells[-1] == before.cells[-1]
    assert after.metadata == before.metadata


def test_kernels_inherit_a_fixed_environment(house: Path, ran: list[str]) -> None:
    notebooks.run(house, "quick")
    assert os.environ["PYTHONHASHSEED"] == "0"
    assert os.environ["TQDM_DISABLE"] == "1"


# --- Bad input ------------------------------------------------------------------------------------


def test_an_unknown_parameter_stops_everything_first(house: Path, ran: list[str]) -> None:
    (house / f"notebooks/parameters/{TWO}.yaml").write_text("scale: paper\nsseds: 3\n")
    expected = f"{TWO}.yaml sets sseds, which {TWO} does not have; its parameters are scale, seeds"
    with pytest.raises(sources.BuildError, match=expected):
        notebooks.run(house, "paper")
    assert ran == []


def test_missing_or_wrong_parameters_are_errors(house: Path, ran: list[str]) -> None:
    yaml = house / f"notebooks/parameters/{ONE}.yaml"
    yaml.write_text("seeds: 3\n")
    with pytest.raises(sources.BuildError, match="must be a mapping that sets `scale: paper`"):
        notebooks.run(house, "paper")
    yaml.unlink()
    with pytest.raises(sources.BuildError, match=f"{ONE}.yaml is missing"):
        notebooks.run(house, "paper")
    assert ran == []


def test_a_notebook_without_parameters_is_an_error(house: Path) -> None:
    notebook = new_notebook(cells=[new_code_cell("scale = 1")])
    sources.write_notebook(notebook, house / "notebooks" / f"{ONE}.ipynb")
    with pytest.raises(sources.BuildError, match="needs a cell tagged `parameters`"):
        notebooks.run(house, "quick")
