"""Finished runs on disk: one small checked file each, under a key of all that it depends on."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Results:
    """A folder of finished runs; several sweeps may share it.

    Args:
        folder: made if it is missing.

    Raises:
        OSError: if the folder cannot be made or written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise OSError(f"the results folder {folder} cannot be written: {error}") from error

    def path(self, key: str) -> Path:
        """The file of a run."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> dict[str, Any] | None:
        """What was written under a key, else None; a damaged file is named in a warning."""
        path = self.path(key)
        try:
            held = json.loads(path.read_bytes())
            if held["sha256"] == digest(key, held["record"]):
                return held["record"]
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError):
            pass
        warnings.warn(f"the result file {path} is damaged: its run is done again", stacklevel=3)
        return None

    def write(self, key: str, record: dict[str, Any]) -> None:
        """Put a run's record into place in one step: a reader finds all of it or nothing."""
        text = json.dumps({"sha256": digest(key, record), "record": record}, indent=1)
        half_written = self.folder / f"{key}.{os.getpid()}.part"
        with half_written.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave an empty file of that name
        half_written.replace(self.path(key))


def digest(*values: object) -> str:
    """SHA-256 of values that JSON can hold, the same whatever the order inside their mappings.

    Raises:
        TypeError: for values that JSON cannot hold.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def code_of(source: str | bytes) -> str:
    """What of a source can change a result: its code, without comments and docstrings."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def package_version() -> str:
    """Hash of the code of symscope as it is on disk now, but for how results are shown."""
    root = Path(__file__).parent
    shown = {root / "figures.py", root / "ledger.py"}
    files = sorted(set(root.rglob("*.py")) - shown)
    return digest(
        [[file.relative_to(root).as_posix(), code_of(file.read_bytes())] for file in files]
    )


def function_version(function: Callable) -> str:
    """Hash of a function's code, and of what it names of its own module, and so on from there.

    Followed are functions, classes and constants (numbers, strings, lists of them). What comes
    from other modules is not watched.

    Raises:
        ValueError: if the function's source cannot be read.
    """
    inside = inspect.unwrap(function)
    names, parts, waiting = inside.__globals__, {}, {inside.__name__: inside}
    while waiting:
        name, value = waiting.popitem()
        if not inspect.isfunction(value) and not inspect.isclass(value):
            try:
                parts[name] = digest(value)
            except (TypeError, ValueError):
                parts[name] = ""
            continue
        if value.__module__ != inside.__module__:
            parts[name] = ""
            continue
        try:
            source = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError) as error:
            if inspect.isclass(value):  # of a notebook, whose classes have no source
                parts[name] = ""
                methods = {k: v for k, v in vars(value).items() if inspect.isfunction(v)}
                waiting |= {f"{name}.{k}": method for k, method in methods.items()}
                continue
            raise ValueError(f"the source of {name} cannot be read: {error}") from error
        parts[name] = code_of(source)
        used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
        waiting |= {name: names[name] for name in used if name in names and name not in parts}
    return digest(parts)


def data_version(paths: Iterable[str | Path]) -> str:
    """Hash of the contents of files, and of all files inside folders with their names there.

    Raises:
        FileNotFoundError: for a path at which there is nothing.
    """
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
