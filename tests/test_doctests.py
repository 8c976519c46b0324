"""Every example in a docstring of the package gives what it says."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import symscope as ss

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = [
    module.name
    for module in pkgutil.walk_packages(ss.__path__, "symscope.")
    if importlib.util.find_spec("triton") or "triton" not in module.name
]


def documented(name: str, owner: object, module: str) -> Iterator[tuple[str, str]]:
    """The docstrings of a module or class and of all that is defined in it, by name."""
    yield name, inspect.cleandoc(owner.__doc__ or "")
    for each, value in vars(owner).items():
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if getattr(value, "__module__", None) != module:
            continue
        if inspect.isclass(value):
            yield from documented(f"{name}.{each}", value, module)
        elif inspect.isfunction(value):
            yield f"{name}.{each}", inspect.cleandoc(inspect.unwrap(value).__doc__ or "")


def examples(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(name)
    tests = [
        doctest.DocTestParser().get_doctest(text, dict(vars(module)), where, name, 0)
        for where, text in documented(name, module, name)
    ]
    return [test for test in tests if test.examples]


EXAMPLES = [test for name in MODULES for test in examples(name)]


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_an_example_runs(test):
    wrong: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(test, out=wrong.append)
    assert not wrong, "".join(wrong)


def test_there_are_examples():
    assert len(EXAMPLES) > 5
