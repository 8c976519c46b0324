"""Keys: they hold what can change a result, and neither prose nor what only shows it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import studies
import symscope as ss
from symscope.runs import keys
from symscope.runs.keys import counted, data_version, function_version, pinned, reached_by
from symscope.runs.reach import Package, within

SOURCES = Path(ss.__file__).parent
REPOSITORY = Path(__file__).parents[2]


def module_of(path: Path, text: str, name: str = "studied") -> ModuleType:
    """A module made of a text, as far as an import makes one."""
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# A function and what it names


MODULE = '''
import math

LIMIT = 3
SCALE = {"a": [1, 2]}


class Helper:
    """Old."""

    def value(self):
        return LIMIT


def inner(x):
    return Helper().value() + x  # old


def run(seed):
    """Old."""
    return {"x": math.floor(inner(seed)) * SCALE["a"][0]}


def beside():
    return 1
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# old", "# new", True),
        ('"""Old."""', '"""New."""', True),
        ("return 1\n", "return 2\n", True),
        ("floor", "ceil", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("[1, 2]", "[2, 2]", False),
        ("value() + x", "value() - x", False),
        ("return LIMIT", "return -LIMIT", False),
    ],
)
def test_the_version_follows_what_the_run_is_made_of(tmp_path, old, new, same):
    assert old in MODULE
    versions = []
    for name, text in (("before", MODULE), ("after", MODULE.replace(old, new))):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("studied", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["studied"] = module  # where classes look for their source
        try:
            versions.append(function_version(module.run))
        finally:
            del sys.modules["studied"]
    assert (versions[0] == versions[1]) == same


def test_the_version_of_data_is_that_of_their_contents(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("one", "folder/two", "folder/three"):
        (tmp_path / name).write_text(name)
    paths = [tmp_path / "one", tmp_path / "folder"]
    before = data_version(paths)
    paths[0] = paths[0].rename(tmp_path / "moved")
    assert data_version(paths) == before != data_version(paths[::-1])
    (tmp_path / "folder/two").write_text("2")
    assert data_version(paths) != before


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("torch.ones(3)", "torch.ones(3) * 1", True),
        ("torch.ones(3)", "torch.ones(4)", False),
        ("LinearAction(5, copies=2)", "LinearAction(5, copies=3)", False),
        ("bias=True", "bias=False", False),
        ("np.arange(4)", "np.arange(4.0)", False),
        ('Path("a")', 'Path("b")', False),
    ],
)
def test_the_version_holds_the_values_that_a_function_names(tmp_path, old, new, same):
    text = """
from pathlib import Path
import numpy as np
import torch
import symscope as ss

torch.manual_seed(0)
WEIGHTS = torch.ones(3)
ACTION = ss.LinearAction(5, copies=2)
NETWORK = torch.nn.Linear(2, 2, bias=True)
TABLE = {1: [np.arange(4)], "where": Path("a")}


def run(seed):
    return {"x": NETWORK(ACTION.size * WEIGHTS), "y": TABLE}
"""
    assert old in text
    versions = [
        function_version(module_of(tmp_path / f"{k}.py", each).run)
        for k, each in enumerate((text, text.replace(old, new)))
    ]
    assert (versions[0] == versions[1]) == same


# What it reaches of symscope


def reached(tmp_path: Path, text: str) -> set[str]:
    return set(reached_by(module_of(tmp_path / "study.py", text).run))


def test_a_function_reaches_what_it_names_however_it_was_imported(tmp_path):
    ways = [
        "import symscope as ss\ndef run(seed):\n    return studies.data.o5_regression",
        "from studies.data import o5_regression as o5\ndef run(seed):\n    return o5",
        "from symscope import data\ndef run(seed):\n    return data.o5_regression",
        "def run(seed):\n    from studies.data import o5_regression\n    return o5_regression",
        "from studies.data import vectors\ndef f():\n    return vectors\n"
        "def run(seed):\n    return f()",
    ]
    expected = {"symscope._checks", "studies.data.splits", "studies.data.vectors"}
    for way in ways:
        assert reached(tmp_path, way) == expected, way


def test_another_module_that_uses_symscope_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "aside_of_study.py").write_text(
        "import symscope as ss\ndef load():\n    return studies.data.mnist()\n"
    )
    for way in ("import aside_of_study as a\ndef run(seed):\n    return a.load()",
                "from aside_of_study import load\ndef run(seed):\n    return load()"):  # fmt: skip
        assert "studies.data.digits" in reached(tmp_path, way)


def test_a_function_of_the_package_reaches_its_module():
    assert "studies.data.vectors" in reached_by(studies.data.o5_regression)


# The package as it is


def test_the_packages_that_do_not_count_are_there():
    modules = Package(SOURCES).modules
    for name in keys.NOT_COUNTED:
        assert modules[name].is_package, f"{name} was moved: what shows results now?"
    for name in keys.BUT_COUNTED:
        assert name in modules, f"{name} was moved: where is it computed now?"
        assert within(name, keys.NOT_COUNTED)


def test_the_packages_that_compute_are_dependencies():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for name in keys.COMPUTING:
        assert re.search(rf'"{name}[>=]', text), f"{name} is no dependency any more"
    pins = pinned((REPOSITORY / "constraints.txt").read_text(encoding="utf-8"))
    assert {pin.partition("==")[0] for pin in pins} == set(keys.COMPUTING)
    assert set(keys.installed()) <= set(keys.COMPUTING)


def test_only_pins_of_what_computes_count():
    text = "# torch==1\nruff==0.15\ntorch==2.13.0  # why\ntriton==3.7.1 ; sys_platform == 'linux'\n"
    assert pinned(text) == ["torch==2.13.0", "triton==3.7.1 ; sys_platform == 'linux'"]


REACHES = {
    "import symscope as ss\nss.learned_symmetries": ["lie.report", "lie.rows", "kernels.ops"],
    "import symscope as ss\nss.match_operations": ["weights.operations.matching"],
    "import symscope as ss\nss.networks.fit": ["networks.training"],
    "from studies.statistics.trends import slopes\nslopes": ["study.statistics"],
}
REACHES_NOT = {
    "import symscope as ss\nss.learned_symmetries": [
        "weights",
        "study",
        "runs",
        "data.digits",
        "data.images",
        "data.sources",
        "lie.shards",
    ],
    "import symscope as ss\nss.match_operations": ["lie", "study", "runs"],
    "import symscope as ss\nss.networks.fit": ["lie", "weights", "study", "data.images"],
    "from studies import figures\nfigures.show": ["study.figures", "lie", "weights"],
}


def of_package(root: Path, code: str) -> dict[str, str]:
    package = Package(root)
    return counted(package, package.references_of(code))


@pytest.mark.parametrize("code", [*REACHES, *REACHES_NOT])
def test_the_wings_do_not_reach_each_other(code):
    found = of_package(SOURCES, code)
    for name in REACHES.get(code, ()):
        assert f"symscope.{name}" in found
    for name in REACHES_NOT.get(code, ()):
        assert not [module for module in found if within(module, (f"symscope.{name}",))]


def commented(text: str) -> str:
    return f"# A word.\n{text}\n\n# Another.\n"


def redocumented(text: str) -> str:
    assert text.startswith('"""')
    return '"""Said better."""' + text[text.index('"""', 3) + 3 :]


def changed(text: str) -> str:
    return f"{text}\nCHANGED = 1\n"


@pytest.mark.parametrize(
    ("file", "change", "same"),
    [
        ("lie/rows.py", commented, True),
        ("lie/rows.py", redocumented, True),
        ("lie/rows.py", changed, False),
        ("kernels/reference.py", changed, False),
        ("_checks.py", changed, False),
        ("study/figures.py", changed, True),
        ("study/ledger.py", changed, True),
        ("weights/cyclic.py", changed, True),
        ("lie/layers.py", changed, True),
        ("runs/sweeps.py", changed, True),
        # An __init__ with code of its own counts wherever it is passed.
        ("lie/__init__.py", changed, False),
        ("lie/__init__.py", commented, True),
    ],
)
def test_a_change_counts_where_it_is_reached(
    tmp_path: Path, file: str, change: Callable[[str], str], same: bool
) -> None:
    root = tmp_path / "symscope"
    shutil.copytree(SOURCES, root)
    code = "import symscope as ss\nfound = ss.learned_symmetries(1)\nfound.plot()\n"
    before = of_package(root, code)
    path = root / file
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert (of_package(root, code) == before) == same


def test_an_object_that_says_nothing_of_itself_counts_by_its_kind(tmp_path):
    text = "import threading\nLOCK = threading.Lock()\ndef run(seed):\n    return LOCK\n"
    versions = {function_version(module_of(tmp_path / "a.py", text).run) for _ in range(2)}
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [("0.1", "0.2", False), ("2 * self", "3 * self", False), ("# said", "# told", True)],
)
def test_a_class_without_a_source_counts_by_fields_and_methods(tmp_path, old, new, same):
    # As in a notebook: methods have their source there, classes have none.
    text = """
import dataclasses

@dataclasses.dataclass
class Setting:
    lr: float = 0.1  # said

    def double(self):
        return 2 * self.lr


def run(seed):
    return {"x": Setting().double()}
"""
    assert old in text
    versions = [
        function_version(module_of(tmp_path / f"{k}.py", each, name="unregistered").run)
        for k, each in enumerate((text, text.replace(old, new)))
    ]
    assert (versions[0] == versions[1]) == same
