"""Which modules of a package a piece of code reaches by import, read from the sources alone.

Nothing is imported here, so a lazy import inside a function counts as one at the top; what only
a type checker imports does not. A name that a package hands on from one of its modules
(``studies.data.mnist``) leads to that module, not to the whole package.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from .source import hash_of


class Module:
    """One file of a package: what it imports, what it names, the hash of its code.

    Args:
        name: dotted, as "studies.data.digits".
        path: its file.
    """

    def __init__(self, name: str, path: Path):
        source = path.read_bytes()
        self.name, self.hash = name, hash_of(source)
        self.is_package = path.name == "__init__.py"
        tree = ast.parse(source)
        self.package = name if self.is_package else name.rpartition(".")[0]
        self.bound, self.references = _imports(tree, self.package, name.partition(".")[0])
        # A face only hands on names: to import it changes nothing.
        self.is_face = self.is_package and all(map(_hands_on, tree.body))


class Package:
    """The modules of a package as they are on disk when this is made.

    Args:
        root: the package's folder, whose name is the package's.

    Raises:
        FileNotFoundError: if there is no ``__init__.py`` in it.
        SyntaxError: if a module does not parse.
    """

    def __init__(self, root: str | Path):
        root = Path(root)
        if not (root / "__init__.py").is_file():
            raise FileNotFoundError(f"no package at {root}")
        self.name = root.name
        self.modules: dict[str, Module] = {}
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.modules[name] = _module(name, path, path.stat().st_mtime_ns, path.stat().st_size)

    def reached(
        self, references: Iterable[str], apart: Callable[[str], bool] = lambda name: False
    ) -> dict[str, str]:
        """The modules that some dotted names lead to, and all that those import.

        Args:
            references: dotted names, as of :meth:`references_of`; those that do not begin with
                the package's name lead nowhere.
            apart: says of a module's name that it does not count; default none. What such a
                module imports counts if ``references`` leads to it, and not if only another
                module does.

        Returns:
            The hash of each module's code, by the module's name, in order.
        """
        direct, found = self._resolved(references), set()
        waiting = list(direct)
        while waiting:
            name = waiting.pop()
            left_out = apart(name)
            if name in found or left_out and name not in direct:
                continue
            found.add(name)
            further = self._resolved(self.modules[name].references)
            if left_out:
                direct |= further
            waiting += further
        return {name: self.modules[name].hash for name in sorted(found) if not apart(name)}

    def references_of(self, source: str, names: Mapping[str, str] | None = None) -> set[str]:
        """The dotted names of the package that code uses which stands outside of it.

        Args:
            source: Python code.
            names: what is known to stand behind the code's global names, as
                ``{"ss": "symscope"}``; default none but what the code imports itself.

        Raises:
            SyntaxError: if the source does not parse.
        """
        known = {name: {dotted} for name, dotted in (names or {}).items()}
        return _imports(ast.parse(source), "", self.name, known)[1]

    def _resolved(self, references: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for reference in references:
            if within(reference, (self.name,)):
                found |= self._lookup(reference, set())
        return found

    def _lookup(self, reference: str, passed: set[str]) -> set[str]:
        """The modules that a dotted name leads to."""
        parts = reference.split(".")
        place = self.name
        found: set[str] = set()
        for k in range(len(parts)):
            place = ".".join(parts[: k + 1])
            module = self.modules[place]
            if not module.is_package:
                return {*found, place}
            if not module.is_face:
                found.add(place)
            if k + 1 == len(parts):  # the package itself is handed about: all may be used
                break
            following = parts[k + 1]
            handed_on = {
                ".".join([target, *parts[k + 2 :]]) for target in module.bound.get(following, ())
            } - {reference, *passed}
            for target in handed_on:
                found |= self._lookup(target, passed | {reference})
            if f"{place}.{following}" in self.modules:
                continue
            if handed_on:
                return found
            break  # a name that is made there, or of which nothing is known
        return found | {name for name in self.modules if within(name, (place,))}


def within(name: str, packages: Iterable[str]) -> bool:
    """Whether a dotted name is one of some packages, or lies inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def _module(name: str, path: Path, changed: int, size: int) -> Module:
    """A module read once for each state of its file."""
    del changed, size
    return Module(name, path)


def _hands_on(statement: ast.stmt) -> bool:
    """Whether a statement at the top of a package only binds names of other modules."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return not any(alias.name == "*" for alias in statement.names)
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [ast.unparse(target) for target in targets] == ["__all__"]


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree, but for what stands under ``if TYPE_CHECKING:``."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield from running(statement)
        else:
            yield from running(child)


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


def _imports(
    tree: ast.AST, package: str, root: str, known: Mapping[str, set[str]] | None = None
) -> tuple[dict[str, set[str]], set[str]]:
    """What names stand for, and the dotted names below ``root`` that are used or imported.

    A name counts by its longest use: of ``studies.data.mnist(1)`` that is ``studies.data.mnist``.
    """
    bound = {name: set(targets) for name, targets in (known or {}).items()}
    references: set[str] = set()
    nodes = list(running(tree))
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, target in imported(node, package):
                if not within(target, (root,)):
                    continue
                bound.setdefault(name, set()).add(target)
                if name == "*":
                    references.add(target)
    for chain in _chains(nodes):
        for target in bound.get(chain[0], ()):
            references.add(".".join([target, *chain[1:]]))
    return bound, references


def _chains(nodes: list[ast.AST]) -> Iterator[list[str]]:
    """The names and attributes that are looked up, each as long as it is: ``["a", "b", "c"]``."""
    inner: set[int] = set()
    for node in nodes:  # an attribute comes before what it is an attribute of
        if id(node) in inner or not isinstance(node, ast.Attribute | ast.Name):
            continue
        parts: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
            inner.add(id(value))
        if isinstance(value, ast.Name):
            yield [value.id, *reversed(parts)]
