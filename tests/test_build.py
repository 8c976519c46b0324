"""Running, skipping, failing and filling in: book/build.py on two tiny notebooks."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import build
from symscope.runs.store import code_of
from symscope.study import ledger

ONE, TWO = "01_one", "02_two"


def write_source(root: Path, name: str, *code: str, prose: str = "Prose.") -> None:
    """A source notebook: prose, parameters, code; its cell ids do not change."""
    cells = [
        new_markdown_cell(prose),
        new_code_cell('scale = "quick"\nseeds: int = 1', metadata={"tags": ["parameters"]}),
        *map(new_code_cell, code),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    build.write_notebook(new_notebook(cells=cells), root / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in small; what build.py sets in the environment is taken back."""
    for variable, value in build.KERNEL_ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    files = {
        "constraints.txt": "torch==2.13.0\n",
        "src/symscope/__init__.py": "",
        "data/weights.safetensors": "w",
        "book/index.md": "# Front\n\n<!-- scale --><!-- /scale -->\n",
        "_config.yml": "title: small\n",
        f"notebooks/parameters/{ONE}.yaml": "scale: paper\nseeds: 3\n",
        f"notebooks/parameters/{TWO}.yaml": "scale: paper\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    write_source(tmp_path, ONE, "print(scale, seeds)")
    write_source(tmp_path, TWO, "2 + 2")
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes papermill's place, without a kernel, and lists what it was asked to run."""
    names = []

    def execute(root: Path, scale: str, name: str, notebook: NotebookNode) -> NotebookNode:
        names.append(name)
        for count, cell in enumerate(build.code_cells(notebook), start=1):
            cell.execution_count = count
            cell.outputs = [new_output("stream", text=f"{count}\n")]
        notebook.metadata["symscope"] = {
            "scale": scale,
            "key": build.run_key(root, notebook),
            "seconds": 1.0,
            "python": "3.11.7",
            "torch": "2.13.0",
        }
        return notebook

    monkeypatch.setattr(build, "execute", execute)
    return names


def result(house: Path, name: str, scale: str = "quick") -> Path:
    """Where a notebook's result lies."""
    return house / build.RESULTS[scale] / f"{name}.ipynb"


# --- A real kernel --------------------------------------------------------------------------------


def test_a_result_holds_outputs_and_nothing_of_the_machine(house: Path) -> None:
    write_source(
        house, ONE, "import os\nprint(scale, seeds, os.path.basename(os.getcwd()))", "1 + 1"
    )
    build.run(house, "quick", [ONE])
    notebook = build.read_notebook(result(house, ONE))
    _, printed, value = build.code_cells(notebook)
    assert printed.outputs[0].text == "quick 1 notebooks\n"
    assert value.outputs[0].data["text/plain"] == "2"
    assert [cell.execution_count for cell in build.code_cells(notebook)] == [1, 2, 3]
    kept = notebook.metadata.pop("symscope")
    assert notebook.metadata == build.NOTEBOOK_METADATA
    assert kept.scale == "quick"
    assert kept.seconds > 0
    text = result(house, ONE).read_text(encoding="utf-8")
    assert "papermill" not in text
    assert build.machine_paths(json.loads(text)) == []
    assert text.endswith("}\n")


def test_paper_scale_injects_the_parameters(house: Path) -> None:
    build.run(house, "paper", [ONE])
    notebook = build.read_notebook(result(house, ONE, "paper"))
    assert build.code_cells(notebook)[1].id == "injected-parameters"
    assert build.code_cells(notebook)[2].outputs[0].text == "paper 3\n"
    assert notebook.metadata.symscope.scale == "paper"
    assert not result(house, ONE).exists()


def test_a_failing_cell_leaves_the_old_result_and_the_other_notebooks(house: Path) -> None:
    old = "the last good result"
    result(house, ONE).parent.mkdir(parents=True)
    result(house, ONE).write_text(build.nbformat.writes(new_notebook(metadata={"old": old})))
    before = result(house, ONE).read_bytes()
    write_source(house, ONE, "seeds = 0", "print('half')\nseeds / 0", "seeds")
    with pytest.raises(build.BuildError) as failure:
        build.run(house, "quick")
    said = str(failure.value)
    assert f"{ONE}, code cell 3 (\"print('half')\"): ZeroDivisionError: division by zero" in said
    assert f"_build/running/{ONE}.ipynb" in said
    assert result(house, ONE).read_bytes() == before
    assert result(house, TWO).exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import time\ntime.sleep(60)", "timed out"), ("import os\nos._exit(1)", "Kernel died")],
)
def test_a_cell_out_of_time_and_a_dead_kernel_are_failures(
    house: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setitem(build.CELL_TIMEOUT, "quick", 1)
    write_source(house, ONE, code, "'never reached'")
    with pytest.raises(build.BuildError, match=rf"{ONE}, code cell 2 .*{reason}"):
        build.run(house, "quick", [ONE])
    assert not result(house, ONE).exists()


def test_a_machine_path_in_an_output_is_an_error(house: Path) -> None:
    path = "/home/" + "ada/run"
    write_source(house, ONE, f"print('saved to', '/home/' + '{path.removeprefix('/home/')}')")
    with pytest.raises(build.BuildError, match=f"{ONE}, code cell 2: .*{path}"):
        build.run(house, "quick", [ONE])
    assert not result(house, ONE).exists()


def test_sources_take_in_quick_outputs_the_same_way_every_time(house: Path) -> None:
    build.update_sources(house)
    path = house / "notebooks" / f"{ONE}.ipynb"
    first = path.read_bytes()
    notebook = build.read_notebook(path)
    assert build.code_cells(notebook)[1].outputs[0].text == "quick 1\n"
    assert notebook.metadata.symscope == {"scale": "quick"}
    build.update_sources(house)
    assert path.read_bytes() == first


# --- What runs, and what does not -----------------------------------------------------------------


def test_a_second_run_skips(house: Path, ran: list[str], capsys: pytest.CaptureFixture) -> None:
    build.run(house, "quick")
    build.run(house, "quick")
    assert ran == [ONE, TWO]
    assert f"[1/2] {ONE}: up to date" in capsys.readouterr().out
    build.run(house, "quick", [TWO], force=True)
    assert ran == [ONE, TWO, TWO]


@pytest.mark.parametrize(
    ("scale", "change", "reruns"),
    [
        ("quick", lambda house: write_source(house, TWO, "3 + 3"), [TWO]),
        ("quick", lambda house: write_source(house, TWO, "2 + 2", prose="New."), []),
        ("quick", lambda house: edit(house, f"notebooks/parameters/{ONE}.yaml"), []),
        ("paper", lambda house: edit(house, f"notebooks/parameters/{ONE}.yaml"), [ONE]),
        ("paper", lambda house: edit(house, "src/symscope/new.py"), [ONE, TWO]),
        ("quick", lambda house: edit(house, "data/weights.safetensors"), [ONE, TWO]),
        ("quick", lambda house: edit(house, "constraints.txt"), [ONE, TWO]),
        ("quick", lambda house: edit(house, "book/index.md"), []),
    ],
)
def test_only_what_changed_runs_again(house: Path, ran: list[str], scale, change, reruns) -> None:
    build.run(house, scale)
    ran.clear()
    change(house)
    build.run(house, scale)
    assert ran == reruns


def edit(house: Path, name: str) -> None:
    """A change to a file, or a new one; in a YAML it sets `seeds`."""
    (house / name).write_text("scale: paper\nseeds: 4\n")


def test_new_prose_needs_no_run(house: Path, ran: list[str]) -> None:
    build.run(house, "paper")
    before = build.read_notebook(result(house, TWO, "paper"))
    write_source(house, TWO, "2 + 2", prose="Better prose.")
    build.run(house, "paper")
    after = build.read_notebook(result(house, TWO, "paper"))
    assert ran == [ONE, TWO]
    assert after.cells[0].source == "Better prose."
    assert after.cells[-1] == before.cells[-1]
    assert after.metadata == before.metadata


def test_the_key_ignores_outputs(house: Path) -> None:
    notebook = build.prepared_notebook(house, "quick", ONE)
    key = build.run_key(house, notebook)
    build.code_cells(notebook)[0].outputs = [new_output("stream", text="x")]
    assert build.run_key(house, notebook) == key


def test_the_key_follows_the_package_s_code_and_not_its_prose(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Old."""\n\n\ndef f(x):\n    """Old."""\n    return x + 1\n')
    before = code_of(module.read_bytes())
    module.write_text('"""New."""\n\ndef f(x):\n    """New."""\n    return (x + 1)  # new\n')
    assert code_of(module.read_bytes()) == before
    module.write_text('"""New."""\n\ndef f(x):\n    """New."""\n    return x + 2\n')
    assert code_of(module.read_bytes()) != before


def test_an_interruption_leaves_the_old_result(
    house: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    build.run(house, "quick")
    before = result(house, ONE).read_bytes()
    monkeypatch.setattr(build, "ROOT", house)
    monkeypatch.setattr(build, "execute", interrupted)
    assert build.main(["run", "--scale", "quick", "--force"]) == 130
    assert result(house, ONE).read_bytes() == before
    assert "interrupted" in capsys.readouterr().err


def interrupted(*_: object) -> NotebookNode:
    """Ctrl-C in the middle of a notebook."""
    raise KeyboardInterrupt


# --- Bad input ------------------------------------------------------------------------------------


def test_an_unknown_parameter_stops_everything_first(house: Path, ran: list[str]) -> None:
    (house / f"notebooks/parameters/{TWO}.yaml").write_text("scale: paper\nsseds: 3\n")
    expected = f"{TWO}.yaml sets sseds, which {TWO} does not have; its parameters are scale, seeds"
    with pytest.raises(build.BuildError, match=expected):
        build.run(house, "paper")
    assert ran == []


def test_missing_or_wrong_parameters_are_errors(house: Path, ran: list[str]) -> None:
    yaml = house / f"notebooks/parameters/{ONE}.yaml"
    yaml.write_text("seeds: 3\n")
    with pytest.raises(build.BuildError, match="must be a mapping that sets `scale: paper`"):
        build.run(house, "paper")
    yaml.unlink()
    with pytest.raises(build.BuildError, match=f"{ONE}.yaml is missing"):
        build.run(house, "paper")
    assert ran == []


def test_a_notebook_without_parameters_is_an_error(house: Path) -> None:
    notebook = new_notebook(cells=[new_code_cell("scale = 1")])
    build.write_notebook(notebook, house / "notebooks" / f"{ONE}.ipynb")
    with pytest.raises(build.BuildError, match="needs a cell tagged `parameters`"):
        build.run(house, "quick")


def test_an_unknown_notebook_is_an_error(
    house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(build, "ROOT", house)
    assert build.main(["run", "--scale", "quick", "09_gone"]) == 1
    assert f"there is no notebook 09_gone; there are {ONE}, {TWO}" in capsys.readouterr().err


def test_a_missing_quick_run_is_an_error(house: Path, ran: list[str]) -> None:
    build.run(house, "quick", [ONE])
    with pytest.raises(build.BuildError, match=f"_build/quick/{TWO}.ipynb is missing: `make book`"):
        build.stage(house, "quick", build.RESULTS["quick"])


def test_what_the_record_lacks_is_shown_at_quick_scale_and_named(
    house: Path, ran: list[str]
) -> None:
    build.run(house, "paper", [ONE])
    paths = build.results_of(house, build.RESULTS["paper"])
    assert paths[ONE] == result(house, ONE, "paper")
    assert paths[TWO] == house / "notebooks" / f"{TWO}.ipynb"
    texts = build.generated_texts(house, "paper", paths)
    assert texts["scale"].endswith(f"Not run at paper scale yet, and shown at quick scale: {TWO}.")
    last = texts["runs"].splitlines()[-1]
    assert TWO in last and last.endswith("| - |")
    build.run(house, "paper", [TWO])
    whole = build.results_of(house, build.RESULTS["paper"])
    assert "quick scale" not in build.generated_texts(house, "paper", whole)["scale"]


# --- Pages ----------------------------------------------------------------------------------------


def record_claim(house: Path) -> None:
    """Lays a measured claim, and the README's figure, into the first notebook's record."""
    claim = ledger.Claim("gap", "moskalev2022liegg", "There is a gap.", "the gap", "> 100")
    claim.measure([250.0], scale="paper")
    bundle = ledger.Ledger(claim)._repr_mimebundle_()
    path = result(house, ONE, "paper")
    notebook = build.read_notebook(path)
    first, last = build.code_cells(notebook)[0], build.code_cells(notebook)[-1]
    last.outputs = [new_output("display_data", data=bundle)]
    first.metadata.tags.append(build.PICTURE_TAG)
    figure = '<img src="data:image/png;base64,aGk=" alt="a &lt; b">'
    first.outputs = [new_output("display_data", data={"text/html": figure})]
    build.write_notebook(notebook, path)


def test_markers_are_filled_from_the_record(house: Path, ran: list[str]) -> None:
    build.run(house, "paper")
    record_claim(house)
    (house / "book/ledger.md").write_text(
        "<!-- ledger:full -->\nold\n<!-- /ledger -->\nbetween\n<!-- runs --><!-- /runs -->\n"
    )
    staged = build.stage(house, "paper", build.RESULTS["paper"])
    page = (staged / "book/ledger.md").read_text()
    assert "There is a gap." in page
    assert "reproduced" in page
    assert f"| {TWO} | paper | 1.0 | 3.11.7 | 2.13.0 | this |" in page
    assert "\nbetween\n" in page
    assert "old" not in page
    assert "**paper scale**" in (staged / "book/index.md").read_text()
    assert (staged / "notebooks" / f"{TWO}.ipynb").exists()
    assert not (staged / "book/record").exists()


def test_the_readme_is_filled_again_and_again(house: Path, ran: list[str]) -> None:
    build.run(house, "paper")
    record_claim(house)
    readme = house / "README.md"
    readme.write_text(
        "# small\n\n<!-- picture --><!-- /picture -->\n\n<!-- ledger:short --><!-- /ledger -->\n"
    )
    readme.write_text(build.readme_text(house))
    assert "1 reproduced" in readme.read_text()
    assert f"![a < b]({build.PICTURE})" in readme.read_text()
    assert build.readme_picture(house)[1] == b"hi"
    assert build.readme_text(house) == readme.read_text()


def test_a_record_without_the_readmes_picture_is_an_error(house: Path, ran: list[str]) -> None:
    build.run(house, "paper")
    with pytest.raises(build.BuildError, match=f"a cell tagged `{build.PICTURE_TAG}`"):
        build.readme_picture(house)


@pytest.mark.parametrize("text", ["<!-- runs -->", "<!-- ledger:long --><!-- /ledger -->"])
def test_a_bad_marker_is_an_error(text: str) -> None:
    with pytest.raises(build.BuildError, match="README.md: a marker is misspelt or not closed"):
        build.fill_markers(text, {"runs": ""}, "README.md")


def test_a_front_page_without_its_scale_is_an_error(house: Path, ran: list[str]) -> None:
    build.run(house, "quick")
    (house / "book/index.md").write_text("# Front\n")
    with pytest.raises(build.BuildError, match="book/index.md must say the scale"):
        build.stage(house, "quick", build.RESULTS["quick"])


def test_a_failed_rendering_leaves_the_last_book(
    house: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build.run(house, "quick")
    html = house / "_build/html"
    html.mkdir(parents=True)
    (html / "index.html").write_text("the last good book")
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="WARNING: no such ref")
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(build.BuildError, match="does not render:\nWARNING: no such ref"):
        build.render(house, "quick", build.RESULTS["quick"], html)
    assert (html / "index.html").read_text() == "the last good book"


def test_kernels_inherit_a_fixed_environment(house: Path, ran: list[str]) -> None:
    build.run(house, "quick")
    assert os.environ["PYTHONHASHSEED"] == "0"
    assert os.environ["TQDM_DISABLE"] == "1"
