"""Runs the notebooks, renders the book and writes the files that follow from others.

Source notebook + parameters -> executed notebook (`_build/quick/` or `book/record/`) -> staged
pages -> HTML. The commands are here; `sources.py`, `notebooks.py`, `pages.py` and `conda.py`
beside it do the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import conda
import pages
from notebooks import RESULTS, run, update_sources
from sources import BuildError

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="book/build.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in {
        "book": "run what is out of date at quick scale, and render the book whatever failed",
        "run": "run the notebooks that are out of date",
        "render": "render the book from executed notebooks",
        "notebooks": "write quick-scale outputs into the source notebooks",
        "environment": "write environment.yml",
        "readme": "write the README's tables and its picture",
    }.items():
        command = commands.add_parser(name, help=does)
        if name in ("run", "render"):
            command.add_argument("--scale", choices=["quick", "paper"], required=True)
        if name == "run":
            command.add_argument("--force", action="store_true", help="run up-to-date ones too")
            command.add_argument("names", nargs="*", help="only these, as in 01_quickstart")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "book":
            book()
        elif chosen.command == "run":
            run(ROOT, chosen.scale, chosen.names, chosen.force)
        elif chosen.command == "render":
            render(chosen.scale)
        elif chosen.command == "notebooks":
            update_sources(ROOT)
        elif chosen.command == "environment":
            (ROOT / "environment.yml").write_text(conda.environment_text(ROOT), encoding="utf-8")
        else:
            text, picture = pages.readme(ROOT)
            (ROOT / "README.md").write_text(text, encoding="utf-8")
            (ROOT / pages.PICTURE).write_bytes(picture)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: the last good results stay as they were", file=sys.stderr)
        return 130
    return 0


def book() -> None:
    """The book at quick scale; a notebook that fails is shown with its last good outputs."""
    failed = None
    try:
        run(ROOT, "quick")
    except BuildError as error:
        failed = error
    render("quick")
    if failed:
        raise failed


def render(scale: str) -> None:
    """Renders the book where readers find it."""
    site = ROOT / "_build" / "html"
    pages.render(ROOT, scale, RESULTS[scale], site)
    print(f"the book is in {site.relative_to(ROOT) / 'index.html'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
