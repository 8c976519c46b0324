"""Checks the shapes in the package's annotations when a test calls one of its functions.

The annotations are strings, for the package itself needs torch alone. Here they are read: whatever
a function accepts and returns must have the shapes that it says. In a test its first calls are
checked: the next thousand would cost minutes and find the same.
"""

import importlib.machinery
import inspect
import sys
import typing
from collections.abc import Callable
from functools import wraps
from types import FunctionType, ModuleType

import jaxtyping
import numpy as np
import torch
from beartype import BeartypeConf, beartype

UNCHECKED = ("symscope.kernels.triton",)  # compiled from source, where no wrapper may stand
KINDS = {name: getattr(jaxtyping, name) for name in ("Bool", "Float", "Int", "Int64", "UInt8")}
CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as to mypy
CALLS = 3  # of a function, that are checked in each test
NAMES = vars(typing) | KINDS | {"Tensor": torch.Tensor, "torch": torch, "np": np}

_test = [0]  # which test runs, by its number


def begin_test() -> None:
    """Check the first calls of every function again."""
    _test[0] += 1


def checked(function: FunctionType) -> Callable:
    """The function, with the shapes in its annotations checked at its first calls in a test."""
    shaped = {
        name: text
        for name, text in function.__annotations__.items()
        if isinstance(text, str) and any(f"{kind}[" in text for kind in KINDS)
    }
    if not shaped:
        return function
    guards: list[Callable] = []
    test, calls = -1, 0

    @wraps(function)
    def inside(*args: object, **options: object) -> object:
        nonlocal test, calls
        test, calls = _test[0], 1 if test != _test[0] else calls + 1
        if calls > CALLS:
            return function(*args, **options)
        if not guards:  # now all of its module is there
            names = NAMES | function.__globals__ | KINDS
            copy = FunctionType(
                function.__code__,
                function.__globals__,
                function.__name__,
                function.__defaults__,
                function.__closure__,
            )
            copy.__kwdefaults__ = function.__kwdefaults__
            copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
            copy.__annotations__ = {name: eval(text, names) for name, text in shaped.items()}
            guards.append(jaxtyping.jaxtyped(copy, typechecker=CHECK))
        try:
            return guards[0](*args, **options)
        except jaxtyping.TypeCheckError:
            function(*args, **options)  # what it refuses itself, it refuses in its own words
            raise

    return inside


def check_shapes(owner: ModuleType | type, module: str) -> None:
    """Wrap the functions that a module or a class of it defines."""
    for name, value in list(vars(owner).items()):
        if getattr(value, "__module__", module) != module:
            continue
        if inspect.isclass(value):
            check_shapes(value, module)
        elif isinstance(value, FunctionType):
            setattr(owner, name, checked(value))
        elif isinstance(value, staticmethod | classmethod):
            setattr(owner, name, type(value)(checked(value.__func__)))
        elif isinstance(value, property) and isinstance(value.fget, FunctionType):
            setattr(owner, name, property(checked(value.fget), value.fset, value.fdel))


class CheckingLoader(importlib.machinery.SourceFileLoader):
    """Loads a module as ever, then wraps what it defines, before anyone else imports it."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        check_shapes(module, module.__name__)


class CheckingFinder(importlib.machinery.PathFinder):
    """Finds symscope's modules for the loader."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname.split(".")[0] != "symscope" or fullname.startswith(UNCHECKED):
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = CheckingLoader(fullname, spec.origin)
        return spec


def install() -> None:
    """Check all that is imported of symscope from now on."""
    assert "symscope" not in sys.modules
    sys.meta_path.insert(0, CheckingFinder)
