"""Works are cited by their authors and their year: in the bibliography, and in docstrings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting.author_year_title import SortingStyle


def label_of(entry: Entry) -> str:
    """One or two family names, or the first "et al.", and the year: "Gruver et al. 2023"."""
    people = entry.persons["author"]
    names = [" ".join(map(str, each.rich_prelast_names + each.rich_last_names)) for each in people]
    if len(names) > 2:
        names = [f"{names[0]} et al."]
    return f"{' and '.join(names)} {entry.fields['year']}"


class AuthorYear(BaseLabelStyle):
    """Labels by author and year, with letters where two would be the same."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        """One label per entry, in the order of the entries."""
        labels = [label_of(entry) for entry in sorted_entries]
        often, seen = Counter(labels), Counter[str]()
        for label in labels:
            seen[label] += 1
            yield label + chr(96 + seen[label]) * (often[label] > 1)


class ByAuthorAndYear(Style):
    """Plain entries, sorted by author, year and title."""

    default_label_style = AuthorYear
    default_sorting_style = SortingStyle


KEY = re.compile(r"`?\b([a-z]+(?:19|20)\d\d[a-z]+)\b`?")  # of references.bib


def cite_keys(_app: Any, _what: str, _name: str, _of: Any, _options: Any, lines: list[str]) -> None:
    """Puts a citation in the place of each key that a docstring names."""
    lines[:] = [KEY.sub(r":cite:t:`\1`", line) for line in lines]


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls."""
    register_plugin("pybtex.style.formatting", "authoryear", ByAuthorAndYear)
    app.connect("autodoc-process-docstring", cite_keys)
    return {"parallel_read_safe": True}
