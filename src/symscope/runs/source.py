"""What of a source text can change a result: its code, the same text on every Python.

Only the standard library is needed here, so that any interpreter can be asked for a hash.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_of(source: str | bytes) -> str:
    """A source text without its comments, docstrings, blank lines and trailing spaces.

    It is cut out of the text, for syntax trees and tokens differ from one Python to the next.
    The lines inside a string stay as they are. What is left is for a hash: a function that was
    nothing but its docstring is left without a body.

    Args:
        source: Python code that parses; bytes are UTF-8.

    Returns:
        What is left, each line ended by a newline.

    Raises:
        SyntaxError: if the source does not parse.
    """
    text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    tree = ast.parse(text)
    inside: set[int] = set()  # lines that end within a string
    depth, began = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        row = token.start[0] - 1
        if kind == "COMMENT":  # it goes to the end of its line
            lines[row] = lines[row][: len(lines[row]) - len(token.string)]
        elif kind == "STRING" and not depth:
            inside.update(range(row, token.end[0] - 1))
        elif kind in ("FSTRING_START", "TSTRING_START"):  # from 3.12 and 3.14 on
            began, depth = (began if depth else row), depth + 1
        elif kind in ("FSTRING_END", "TSTRING_END"):
            depth -= 1
            if not depth:
                inside.update(range(began, row))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            inside -= _cut(lines, node.body[0])
    kept = [
        line if number in inside else line.rstrip()
        for number, line in enumerate(lines)
        if number in inside or line.strip()
    ]
    return "".join(f"{line}\n" for line in kept)


def _cut(lines: list[str], docstring: ast.stmt) -> set[int]:
    """Take a docstring out of the lines, with a `;` behind it; returns the lines it stood on."""
    assert docstring.end_lineno is not None and docstring.end_col_offset is not None
    first, last = docstring.lineno - 1, docstring.end_lineno - 1
    # Columns are counted in bytes.
    before = lines[first].encode()[: docstring.col_offset].decode()
    after = lines[last].encode()[docstring.end_col_offset :].decode().lstrip(" \t;")
    lines[first : last + 1] = [before + after, *[""] * (last - first)]
    return set(range(first, last))


def hash_of(source: str | bytes) -> str:
    """SHA-256 of :func:`code_of`."""
    return hashlib.sha256(code_of(source).encode()).hexdigest()
