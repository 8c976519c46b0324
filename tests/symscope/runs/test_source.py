"""The code of a source: one hash on every Python, blind to prose and to nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pythons import answers

import symscope
from symscope.runs import source
from symscope.runs.source import code_of, hash_of

PACKAGE = Path(symscope.__file__).parent

NASTY = r'''#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Module: ünïcode, and a "quote".

    # no comment
"""; first = 1  # behind a docstring
from __future__ import annotations

import functools


@functools.cache  # a comment behind a decorator
def nested(x: int, *, y: "str # no comment" = "#") -> dict[str, list[int]]:
    'Single.'
    z = f"{x:#x} # {'a' + f'{y!r:>{x}}'} {{#}}"  # cut
    w = f"""{x}
    # inside, kept~~~

    {y}"""
    total = x + \
        1  # after a continuation
    return {z: [total], w: [0]}


class Empty:
    """Nothing but this."""


class Holder:
    """Doc."""  # and a comment

    text = """
not a docstring~~~

# kept
"""

    async def run(self, ä=1): """Doc on the line."""; return ä

    def bare(self):
        """Only a
        docstring."""


def joined():
    ("a docstring"
     " in two parts")
    b"no docstring"
    match 3:
        case 3 | 4 as n if n > 2:  # cut
            return (
                n  # cut

            )
    return rb"\#" + b'#'
'''.replace("~~~", "   ")


# A bare interpreter, without the packages that symscope needs, loads the one file by its path.
ASK = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("source", sys.argv[1])
source = importlib.util.module_from_spec(spec)
spec.loader.exec_module(source)
print(json.dumps([source.hash_of(open(path, "rb").read()) for path in sys.argv[2:]]))
"""


def test_every_python_has_the_same_hash(tmp_path: Path) -> None:
    nasty = tmp_path / "nasty.py"
    nasty.write_text(NASTY, encoding="utf-8")
    files = [nasty, *sorted(PACKAGE.rglob("*.py"))]
    expected = [hash_of(file.read_bytes()) for file in files]
    assert len(set(expected)) > len(files) / 2
    for python, said in answers(ASK, source.__file__, *map(str, files)).items():
        assert json.loads(said) == expected, python


def test_what_is_left_of_a_nasty_source() -> None:
    left = code_of(NASTY)
    for prose in (
        "ünïcode",
        "cut",
        "Single",
        "Doc",
        "Only",
        "Nothing",
        "in two parts",
        "decorator",
    ):
        assert prose not in left, prose
    for code in (
        "first = 1\n",
        'y: "str # no comment" = "#"',
        """z = f"{x:#x} # {'a' + f'{y!r:>{x}}'} {{#}}"\n""",
        'w = f"""{x}\n    # inside, kept   \n\n    {y}"""\n',
        'text = """\nnot a docstring   \n\n# kept\n"""\n',
        "async def run(self, ä=1): return ä\n",
        "total = x + \\\n        1\n",
        "                n\n            )\n",
        'b"no docstring"',
        "return rb\"\\#\" + b'#'\n",
    ):
        assert code in left, code
    assert left.startswith("first = 1\n")


BEFORE = 'def f(x):\n    """Old."""\n    y = x + 1  # old\n    return f"{y} # "\n'


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('    """Old."""\n', "", True),
        ('"""Old."""', "'''New\n\n    and longer.'''", True),
        ("  # old", "", True),
        ("  # old", "  # new # newer\n\n\n    # more", True),
        ("def f", "# first\n\n\ndef f", True),
        ("\n", "\r\n", True),
        ("    return", "    return   \\\n", False),
        ("x + 1", "x + 2", False),
        ('{y} # "', '{y} #"', False),
        ('"""Old."""', '"""Old.""" + ""', False),
        ("    y =", "    if x: y =", False),
    ],
)
def test_prose_does_not_count_and_all_else_does(old: str, new: str, same: bool) -> None:
    assert old in BEFORE
    assert (code_of(BEFORE.replace(old, new)) == code_of(BEFORE)) == same


def test_bytes_are_utf_8_with_or_without_a_mark() -> None:
    assert code_of("x = 'ä'\n".encode("utf-8-sig")) == code_of("x = 'ä'".encode()) == "x = 'ä'\n"


def test_what_does_not_parse_is_an_error() -> None:
    with pytest.raises(SyntaxError):
        code_of("def f(:\n")
