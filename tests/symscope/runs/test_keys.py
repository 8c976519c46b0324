"""Keys: they hold what can change a result, and neither prose nor what only shows it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import torch
from pythons import answers

import studies
import symscope as ss
from symscope.runs import keys
from symscope.runs.keys import code_of, data_version, pinned, references_of, version_of

SOURCES = Path(ss.__file__).parent
REPOSITORY = Path(__file__).parents[3]


def module_of(folder: Path, text: str, name: str = "studied") -> ModuleType:
    """A module made of a text, as far as an import makes one."""
    path = folder / f"{abs(hash(text))}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alike(folder: Path, text: str, old: str, new: str) -> bool:
    """Whether the key of ``run`` stays when a part of its module is replaced."""
    assert old in text
    texts = (text, text.replace(old, new))
    return len({version_of(module_of(folder, each).run).code for each in texts}) == 1


# --- A function and what it names -----------------------------------------------------------------

MODULE = '''
import dataclasses
import enum
import functools
import math

LIMIT = 3
SCALE = {"a": [1, 2]}
UNUSED = object()


class Kind(enum.Enum):
    FIRST = "one"


@dataclasses.dataclass
class Setting:
    lr: float = 0.1  # old
    steps: list = dataclasses.field(default_factory=list)

    def double(self):
        return 2 * self.lr


class Helper:
    """Old."""
    power = 2

    def value(self):
        return LIMIT

    @property
    def size(self):
        return 5

    @staticmethod
    def plain():
        return 6


HELD = Helper()


def factory(times):
    def inner(x):
        return times * x

    return inner


by = factory(7)
half = lambda x: x / 8


def noisy(function):
    @functools.wraps(function)
    def wrapped(*args):
        return function(*args) + 9

    return wrapped


@functools.cache
def cached(x):
    return x + 10


def inner(x):
    return Helper().value() + x  # old


@noisy
def run(seed):
    """Old."""
    math = {"x": inner(seed) * SCALE["a"][0], "y": [Setting().double(), HELD, Kind.FIRST]}
    return math, by(1), half(1), cached(1)


def beside():
    return 1
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# old", "# new", True),
        ('"""Old."""', '"""New."""', True),
        ("return 1\n", "return 2\n", True),
        ("UNUSED = object()", "UNUSED = iter([])", True),
        ("* SCALE", "- SCALE", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("[1, 2]", "[2, 2]", False),
        ("value() + x", "value() - x", False),
        ("return LIMIT", "return -LIMIT", False),
        ("power = 2", "power = 3", False),
        ("return 5", "return 4", False),
        ("return 6", "return 4", False),
        ("lr: float = 0.1", "lr: float = 0.2", False),
        ("default_factory=list", "default_factory=dict", False),
        ("2 * self", "3 * self", False),
        ("Helper()\n\n", "Setting()\n\n", False),
        ('"one"', '"two"', False),
        ("times * x", "times + x", False),
        ("factory(7)", "factory(8)", False),
        ("x / 8", "x / 9", False),
        ("+ 9", "+ 8", False),
        ("x + 10", "x + 11", False),
    ],
)
def test_the_version_follows_what_the_run_is_made_of(tmp_path, old, new, same):
    assert alike(tmp_path, MODULE, old, new) == same


# Values of every kind, each beside one that differs.
VALUES = {
    "number": ("3", "3.0"),
    "truth": ("True", "1"),
    "text": ("'a'", "b'a'"),
    "none": ("None", "0"),
    "complex": ("1j", "2j"),
    "bytes": ("b'a'", "b'b'"),
    "list": ("[1, (2,)]", "[1, [2]]"),
    "order": ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    "set": ("{'a', 'b', 'c'}", "{'a', 'b', 'd'}"),
    "frozenset": ("frozenset({0, 1})", "frozenset({0, 1, 2})"),
    "range": ("range(5)", "range(9)"),
    "slice": ("[slice(1)]", "[slice(2)]"),
    "path": ("Path('a')", "Path('b')"),
    "pattern": ("re.compile('a')", "re.compile('a', re.I)"),
    "fraction": ("Fraction(1, 3)", "Fraction(1, 4)"),
    "deque": ("collections.deque([1])", "collections.deque([2])"),
    "counter": ("collections.Counter('ab')", "collections.Counter('abb')"),
    "named": ("Point(1, 2)", "Point(1, 3)"),
    "partial": ("functools.partial(made, w=64)", "functools.partial(made, w=128)"),
    "of another function": ("functools.partial(made)", "functools.partial(other)"),
    "method": ("Fraction(1, 3).limit_denominator", "Fraction(1, 4).limit_denominator"),
    "lambda": ("lambda x: x", "lambda x: 2 * x"),
    "dtype": ("torch.float32", "torch.float64"),
    "device": ("torch.device('cpu')", "torch.device('meta')"),
    "tensor": ("torch.ones(3)", "torch.ones(3, dtype=torch.float64)"),
    "its values": ("torch.ones(3)", "torch.tensor([1.0, 1, 2])"),
    "its shape": ("torch.ones(3, 1)", "torch.ones(1, 3)"),
    "half": ("torch.ones(3).bfloat16()", "torch.zeros(3).bfloat16()"),
    "network": ("torch.nn.Linear(2, 2)", "torch.nn.Linear(2, 2, bias=False)"),
    "its layers": ("torch.nn.Sequential(torch.nn.ReLU())", "torch.nn.Sequential(torch.nn.Tanh())"),
    "mode": ("torch.nn.Dropout()", "torch.nn.Dropout().eval()"),
    "scalar": ("np.int64(3)", "np.int64(7)"),
    "kind of scalar": ("np.float32(3)", "np.float64(3)"),
    "array": ("np.arange(4)", "np.arange(4.0)"),
    "objects": ("np.array([{1}, None])", "np.array([{2}, None])"),
    "kind": ("np.dtype('f4')", "np.dtype('f8')"),
    "table": ("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [2]})"),
    "draws": ("np.random.default_rng(0)", "np.random.default_rng(1)"),
    "action": ("ss.LinearAction(5, copies=2)", "ss.LinearAction(5, copies=3)"),
    "plane": ("ss.PlaneAction('gl2')", "ss.PlaneAction('affine')"),
}
NAMING = """
import collections, functools, re
from fractions import Fraction
from pathlib import Path
import numpy as np
import pandas as pd
import torch
import symscope as ss

torch.manual_seed(0)
Point = collections.namedtuple("Point", "x y")

def made(w=1):
    return w

def other(w=1):
    return w + 1

VALUE = ...

def run(seed):
    return VALUE
"""


@pytest.mark.parametrize("kind", VALUES)
def test_a_global_counts_by_its_value(tmp_path, kind):
    one, other = VALUES[kind]
    text = NAMING.replace("...", one)
    assert alike(tmp_path, text, "import", "import  ")  # made twice, it is the same
    assert not alike(tmp_path, text, f"VALUE = {one}", f"VALUE = {other}")


@pytest.mark.parametrize("value", ["threading.Lock()", "open(__file__)", "(x for x in [1])"])
def test_a_global_that_says_nothing_of_itself_is_refused_by_name(tmp_path, value):
    text = f"import threading\nVALUE = [{value}]\ndef f():\n    return VALUE\n"
    module = module_of(tmp_path, text + "def run(seed):\n    VAL = 1\n    return f()\n")
    with pytest.raises(ValueError, match="VALUE, which f names, is a list .* make it inside the f"):
        version_of(module.run)
    if value.startswith("open"):
        module.VALUE[0].close()


def test_a_local_variable_is_no_global(tmp_path):
    text = "import threading\ntable = threading.Lock()\nrow = 1\n"
    text += "def run(seed: table):\n    table = seed\n    return [row for row in table]\n"
    assert alike(tmp_path, text, "row = 1", "row = 2")


def test_using_a_value_does_not_change_its_key(tmp_path):
    for action in ("ss.LinearAction(4)", "ss.PlaneAction('gl2')", "ss.PointAction(3)"):
        text = f"import symscope as ss\nVALUE = {action}\ndef run(seed):\n    return VALUE\n"
        module = module_of(tmp_path, text)
        before = version_of(module.run).code
        shape = {"L": (6, 4), "P": (6, 1, 8, 8) if "Plane" in action else (6, 5, 3)}[action[3]]
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        ss.learned_symmetries(lambda x: x.flatten(1)[:, :3], x, action=module.VALUE)
        assert version_of(module.run).code == before, action


def test_every_process_has_the_same_key(tmp_path):
    for name, text in {"a": NAMING.replace("...", VALUES["set"][0]), "b": MODULE}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    ask = "import a, b; from symscope.runs.keys import version_of as v; print(v(a.run), v(b.run))"
    said = {
        subprocess.run(
            [sys.executable, "-c", ask],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([str(tmp_path), *sys.path])},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_a_source_that_cannot_be_read_is_an_error():
    space: dict = {"__name__": "nowhere"}
    exec("def run(seed):\n    return seed\n", space)
    with pytest.raises(ValueError, match="the source of run cannot be read"):
        version_of(space["run"])


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


# --- Rooms ----------------------------------------------------------------------------------------

FILES = {
    "small/__init__.py": '"""The face."""\nfrom . import data, nets\nfrom .nets.fit import train\n',
    "small/_checks.py": "def whole(x): return x\n",
    "small/data/__init__.py": "from .digits import digits as mnist\n",
    "small/data/digits.py": "from .._checks import whole\ndef digits(): return whole(1)\n",
    "small/nets/__init__.py": "",
    "small/nets/fit.py": """
        def train(x):
            import other
            return other.show.plot
        def late():
            import small as s
            return s.data.mnist()
        """,
    "other/show/figures.py": "from ..trends import slope\n",
    "other/trends.py": "slope = 1\n",
    "beside.py": "import small\nsmall.data\n",
}
DATA = {"small.data", "small._checks"}
SHOW = {"other.show", "other.trends"}
NETS = {"small.nets", *DATA, *SHOW}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Two small packages and a module on disk."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")
    found = {"small": "small", "other": "other", "beside": "beside.py"}
    return {name: tmp_path / path for name, path in found.items()}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import small", set()),
        ("import small as s\ns.data.mnist(1).x", DATA),
        ("import small.data\nsmall.data.digits", DATA),
        ("import small.data.digits as d\nd", DATA),
        ("from small.data import mnist\nmnist()", DATA),
        ("def f():\n    from small._checks import whole", {"small._checks"}),
        ("from small import train\ntrain()", NETS),
        ("import small as s\ns.train", NETS),
        ("import other.show.figures", SHOW),
        ("from beside import x", {"beside", *DATA}),
        # Where it cannot be told, all of the package counts.
        ("import small as s\ngetattr(s, 'data')", {"small", *NETS}),
        ("import small as s\ns.gone", {"small", *NETS}),
        ("from small import *\nmnist()", {"small", *NETS}),
        ("import smaller, numpy\nsmaller.data, numpy.ones", set()),
    ],
)
def test_names_lead_to_rooms(places, code: str, expected: set[str]) -> None:
    assert set(keys.rooms(references_of(code), places)) == expected


def test_known_globals_count_as_imports(places) -> None:
    found = references_of("x.mnist(), y.data", names={"x": "small.data", "y": "small"})
    assert set(keys.rooms(found, places)) == DATA


def test_a_room_s_hash_follows_its_code(places, monkeypatch) -> None:
    def now() -> dict[str, str]:
        return keys.rooms(["small.train"], places)

    before = now()
    checks, figures = places["small"] / "_checks.py", places["other"] / "show/figures.py"
    checks.write_text("# said\ndef whole(x): return x\n")
    assert now() == before
    checks.write_text("def whole(x): return x + 1\n")
    assert {name for name, each in now().items() if before[name] != each} == {"small._checks"}
    monkeypatch.setattr(keys, "NOT_COUNTED", ("other.show.",))
    assert set(now()) == set(before) - {"other.show"}  # but what it imports counts
    before = now()
    figures.write_text("from ..trends import slope\nx = 2\n")
    assert now() == before


def test_a_function_reaches_the_rooms_of_what_it_names(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "import studies\ndef load():\n    return studies.data.mnist()\n"
    (tmp_path / "aside_of_study.py").write_text(text)
    data = {"studies.data", "symscope._checks", "symscope._draws"}
    for way in (
        "import studies\ndef run(seed):\n    return studies.data.o5_regression",
        "from studies.data import o5_regression as o5\ndef run(seed):\n    return o5",
        "from studies import data\ndef run(seed):\n    return data.o5_regression",
        "def run(seed):\n    from studies.data import o5_regression\n    return o5_regression",
        "from studies.data import vectors\ndef f():\n    return vectors\n"
        "def run(seed):\n    return f()",
        "import aside_of_study as a\ndef run(seed):\n    return a.load()",
        "from aside_of_study import load\ndef run(seed):\n    return load()",
    ):
        found = set(version_of(module_of(tmp_path, way).run).rooms)
        assert data <= found <= {*data, "aside_of_study"}, way
        assert ("aside_of_study" in found) == ("aside" in way)
    one, other = version_of(studies.data.mnist), version_of(studies.data.o5_regression)
    assert one.rooms == other.rooms and "studies.data" in one.rooms and one.code != other.code


# --- The packages as they are ---------------------------------------------------------------------


def test_what_does_not_count_is_there():
    for name in keys.NOT_COUNTED:
        top, *inside = name.rstrip(".").split(".")
        root = {"symscope": SOURCES, "studies": Path(studies.__file__).parent}[top]
        path = root.joinpath(*inside)
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{name} was moved"


def test_the_packages_that_compute_are_dependencies():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for name in keys.COMPUTING:
        assert re.search(rf'"{name}[>=]', text), f"{name} is no dependency any more"
    pins = pinned((REPOSITORY / "constraints.txt").read_text(encoding="utf-8"))
    assert {pin.partition("==")[0] for pin in pins} == set(keys.COMPUTING)
    assert set(keys.environment()) <= {"runs", *keys.COMPUTING}


def test_only_pins_of_what_computes_count():
    text = "# torch==1\nruff==0.15\ntorch==2.13.0  # why\ntriton==3.7.1 ; sys_platform == 'linux'\n"
    assert pinned(text) == ["torch==2.13.0", "triton==3.7.1 ; sys_platform == 'linux'"]


@pytest.mark.parametrize(
    ("code", "expected", "others"),
    [
        (
            "import symscope as ss\nss.learned_symmetries",
            {"reports", "extract", "kernels"},
            {"orbits", "runs", "testing"},
        ),
        ("import symscope as ss\nss.CyclicOrbit", {"orbits", "kernels"}, {"extract", "reports"}),
        ("import studies\nstudies.networks.fit", set(), {"extract", "reports", "orbits"}),
    ],
)
def test_the_wings_do_not_reach_each_other(code, expected, others):
    found = {name.removeprefix("symscope.") for name in keys.rooms(references_of(code))}
    assert expected <= found and not others & found


# --- The code of a source: one hash on every Python, blind to prose and to nothing else -----------

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
spec = importlib.util.spec_from_file_location("keys", sys.argv[1])
keys = importlib.util.module_from_spec(spec)
sys.modules["keys"] = keys
spec.loader.exec_module(keys)
read = [keys.code_of(open(path, "rb").read()) for path in sys.argv[2:]]
here = {"symscope": keys.ROOT}
print(json.dumps([keys.digest(read), keys.rooms(["symscope.learned_symmetries"], here)]))
"""


def test_every_python_has_the_same_hash(tmp_path: Path) -> None:
    nasty = tmp_path / "nasty.py"
    nasty.write_text(NASTY, encoding="utf-8")
    files = [nasty, *sorted(SOURCES.rglob("*.py"))]
    rooms = keys.rooms(["symscope.learned_symmetries"], {"symscope": keys.ROOT})
    expected = [keys.digest([code_of(file.read_bytes()) for file in files]), rooms]
    for python, said in answers(ASK, keys.__file__, *map(str, files)).items():
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
