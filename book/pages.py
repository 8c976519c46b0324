"""Renders executed notebooks and pages as a book, and fills in what is generated of them."""

from __future__ import annotations

import base64
import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

import chapters
import front
import reference
import verdicts
from notebooks import RESULTS
from sources import (
    BuildError,
    code_cells,
    notebook_names,
    prepared_notebook,
    read_notebook,
    run_key,
    write_notebook,
)

if TYPE_CHECKING:
    from studies.ledger.outcomes import Outcome

SCALE_NOTES = {
    "quick": "**Quick runs**: small data, few seeds; `make paper` makes the full runs.",
    "paper": "**Full runs**, made once and kept in the repository (`book/record`).",
}
OUTDATED = """:::{warning}
Today's code did not run through, or has not run yet: the outputs are those of the last good run.
:::"""
PICTURE = "book/_static/finding.png"  # of the README
PICTURE_TAG = "readme-picture"
KINDS = (
    "ledger|overview|numbers|costs|corrections|runs|scale|picture|findings|bar|chapters|cite|levels|"
    "combined"
)
MARKER = re.compile(
    rf"(<!-- ((?:{KINDS})(?:(?<=ledger|ndings):(?:short|full))?) -->).*?(<!-- /(?:{KINDS}) -->)",
    re.S,
)


# Of the theme and of MathJax: what no page of ours loads, half of the book's size.
UNUSED = ("**/*.map", "mathjax/mml-*.js", "mathjax/tex-mml-*.js", "mathjax/tex-svg*.js") + (
    "mathjax/tex-chtml-*.js",
    "mathjax/output/svg/fonts/*.js",
    "mathjax/sre/mathmaps/[!be]*.json",
)


class Result(NamedTuple):
    """An executed notebook that is shown."""

    path: Path
    notebook: NotebookNode
    code: str  # whether it ran with the code of today: "this" or "earlier"; "-" if it is not said


def results_of(root: Path, scale: str, folder: str) -> dict[str, Result]:
    """The executed notebooks in a folder, one for each source notebook, each read once.

    A notebook without a result there, whose run failed or whose full run the record does not hold
    yet, is shown with the quick-scale outputs of its source.
    """
    found = {}
    for name in notebook_names(root):
        path = root / folder / f"{name}.ipynb"
        if not path.exists():
            path = root / "notebooks" / f"{name}.ipynb"
        notebook = read_notebook(path)
        ran = notebook.metadata.get("symscope", {})
        code = "-"  # quick-scale outputs in the place of a full run
        if "key" in ran:
            key = run_key(root, name, prepared_notebook(root, scale, name))
            code = "this" if ran["key"] == key else "earlier"
        found[name] = Result(path, notebook, code)
    return found


def runs_table(results: dict[str, Result]) -> str:
    """How long and with what each notebook ran, as a Markdown table."""
    lines = ["| notebook | scale | seconds | Python | torch | code |", "|---|---|--:|---|---|---|"]
    for name, result in results.items():
        ran = result.notebook.metadata.get("symscope", {})
        values = {key: str(ran.get(key, "-")) for key in ("scale", "seconds", "python", "torch")}
        if "seconds" in ran and "kept" not in ran:  # made before kept work was counted
            values["seconds"] = f"> {values['seconds']}"
        lines.append(f"| {' | '.join([name, *values.values(), result.code])} |")
    return "\n".join(lines)


def generated_texts(root: Path, scale: str, results: dict[str, Result]) -> dict[str, str]:
    """What goes between each kind of marker."""
    taken = verdicts.taken_of(root, {name: each.path for name, each in results.items()})
    said, found = verdicts.stated(root), verdicts.outcomes_of(taken)
    notebooks = {name: each.notebook for name, each in results.items()}
    ran = {name: each.metadata.get("symscope", {}) for name, each in notebooks.items()}
    hours = {name: each["seconds"] / 3600 for name, each in ran.items() if "seconds" in each}
    bar = front.bar(verdicts.counts(said, found), "statements of the two papers")
    return {
        "bar": bar,
        "ledger:short": bar.partition("\n\n")[0],  # a sentence, where no HTML is shown
        "ledger:full": verdicts.page(root, taken, notebooks),
        "overview": verdicts.overview(root, found, hours),
        "numbers": verdicts.numbers(said, found),
        "costs": verdicts.costs(root),
        "levels": verdicts.levels(root),
        "combined": verdicts.combined(root),
        "corrections": verdicts.corrections(root, found),
        "runs": runs_table(results),
        "scale": " ".join([SCALE_NOTES[scale], *_exceptions(root, scale, results)]),
    } | _front_texts(root, found, notebooks)


def _front_texts(
    root: Path, found: Mapping[str, Outcome], notebooks: Mapping[str, NotebookNode]
) -> dict[str, str]:
    """What only the front page and the README show."""
    from studies.statistics.text import with_interval

    if not (root / front.FINDINGS).exists():
        return {}
    values = {id: with_interval(each.own) for id, each in found.items() if each.own}
    listed = front.findings(root, values)
    return {
        "findings": front.cards(listed),
        "findings:short": front.short(listed),
        "chapters": front.chapters(front.pages(root, notebooks)),
        "cite": front.citation(root),
    }


def _exceptions(root: Path, scale: str, results: dict[str, Result]) -> list[str]:
    """Sentences that name the notebooks shown at quick scale, or from earlier code."""
    if scale == "quick":
        old = [name[:2] for name, each in results.items() if each.code != "this"]
        return [f"Outputs of an earlier run stand in notebooks {', '.join(old)}."] if old else []
    said = []
    short = [name[:2] for name, each in results.items() if each.path.parent == root / "notebooks"]
    if short:
        said.append(f"Quick runs stand for full ones in notebooks {', '.join(short)}.")
    earlier = [name[:2] for name, each in results.items() if each.code == "earlier"]
    if earlier:
        said.append(
            f"Notebooks {', '.join(earlier)}, by the numbers of their files, were run with an "
            "earlier state of the code; that of today is in `notebooks/`."
        )
    return said


def fill_markers(text: str, generated: dict[str, str], where: str) -> str:
    """Replaces the text between each pair of markers; nobody types a verdict."""

    def replaced(found: re.Match[str]) -> str:
        gap = "" if found[2] == "scale" else "\n\n"  # a sentence, the others are tables
        return f"{found[1]}{gap}{generated[found[2]].strip()}{gap}{found[3]}"

    filled, pairs = MARKER.subn(replaced, text)
    if pairs != len(re.findall(rf"<!-- (?:{KINDS})\b", text)):
        raise BuildError(f"{where}: a marker is misspelt or not closed, as in `<!-- /ledger -->`")
    return filled


def stage(root: Path, scale: str, folder: str) -> Path:
    """A mirror of the repository's layout that holds only what the book is made of."""
    results = results_of(root, scale, folder)
    target = root / "_build" / "stage"
    shutil.rmtree(target, ignore_errors=True)
    ignored = shutil.ignore_patterns("record", "*.py", "*.json", "*.yaml", "__pycache__")
    shutil.copytree(root / "book", target / "book", ignore=ignored)
    shutil.copy(root / "_config.yml", target)
    (target / "notebooks").mkdir()
    reference.write(root, target)
    taken = verdicts.taken_of(root, {name: each.path for name, each in results.items()})
    said, found = verdicts.stated(root), verdicts.outcomes_of(taken)
    plans, tables = chapters.plans(root), target / "book" / chapters.TABLES
    exercises = root / "book" / "exercises.md"
    posed = exercises.read_text(encoding="utf-8") if exercises.exists() else ""
    tables.mkdir(parents=True)
    for name, result in results.items():
        words = {
            each.id: each.verdict(found)[0]
            for each in said
            if any(m.notebook == name for m in each.measurements)
        }
        linked = verdicts.with_anchors(read_notebook(result.path), taken[name])
        linked = chapters.chapter(linked, plans.get(name, {}), words)
        some = f"(exercises-{name[:2]})=" in posed
        linked.cells.append(chapters.closing(name, linked, bool(taken[name]), some))
        if taken[name]:
            text = chapters.measurements(taken[name])
            (tables / f"{name}.csv").write_text(text, encoding="utf-8")
        if scale == "quick" and result.code != "this":
            linked.cells.insert(1, new_markdown_cell(OUTDATED, id="outdated"))
        write_notebook(linked, target / "notebooks" / result.path.name)
    first = target / "book" / "index.md"
    if "<!-- scale -->" not in first.read_text(encoding="utf-8"):
        raise BuildError("book/index.md must say the scale: `<!-- scale --><!-- /scale -->`")
    generated = generated_texts(root, scale, results)
    if "findings" in generated:
        shown = {name: each.notebook for name, each in results.items()}
        front.write_thumbs(root, target / "book", shown)
    for page in target.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        where = str(page.relative_to(target))
        page.write_text(fill_markers(text, generated, where), encoding="utf-8")
    return target


def render(root: Path, scale: str, folder: str, site: Path) -> None:
    """The executed notebooks in a folder and the pages as a book; a failure leaves the last one."""
    staged = stage(root, scale, folder)
    print(f"rendering the book at {scale} scale", flush=True)
    beside = root / "_build" / "rendering"
    shutil.rmtree(beside, ignore_errors=True)
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"),
        *(str(staged), "--config", str(staged / "_config.yml")),
        *("--toc", str(staged / "book" / "_toc.yml"), "--path-output", str(beside)),
        *("-n", "-W", "--keep-going", "--all"),
    ]
    paths = [str(root / "book"), os.environ.get("PYTHONPATH", "")]  # where authoryear.py lies
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    if done.returncode:
        raise BuildError(f"the book does not render:\n{done.stderr or done.stdout}")
    made = beside / "_build" / "html"
    for path in [each for pattern in UNUSED for each in (made / "_static").glob(pattern)]:
        path.unlink()
    shutil.rmtree(site, ignore_errors=True)
    made.replace(site)


def readme_picture(root: Path, results: dict[str, Result]) -> tuple[str, str, bytes]:
    """Alt text, caption and PNG of the figure whose cell is tagged `readme-picture`."""
    for result in results.values():
        for cell in code_cells(result.notebook):
            if PICTURE_TAG in cell.metadata.get("tags", []):
                found = re.search(
                    r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)"[^>]*>'
                    r"(?:<figcaption>([^<]*))?",
                    cell.outputs[0].data["text/html"],
                )
                if found:
                    alt, caption = html.unescape(found[2]), html.unescape(found[3] or "")
                    return alt, caption, base64.b64decode(found[1])
    raise BuildError(f"no notebook of the record shows a figure in a cell tagged `{PICTURE_TAG}`")


def readme(root: Path) -> tuple[str, bytes]:
    """The README with its tables taken from the paper-scale record, and its picture."""
    results = results_of(root, "paper", RESULTS["paper"])
    alt, caption, picture = readme_picture(root, results)
    shown = f"![{alt}]({PICTURE})" + f"\n\n*{caption}*" * bool(caption)
    generated = generated_texts(root, "paper", results) | {"picture": shown}
    text = (root / "README.md").read_text(encoding="utf-8")
    return fill_markers(text, generated, "README.md"), picture
