"""What code reaches by import: lazy and re-exported names, and no module more."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from pythons import answers

import symscope
from symscope.runs import reach
from symscope.runs.reach import Package

FILES = {
    "__init__.py": '"""The face."""\nfrom . import data, nets\nfrom .nets.fit import train\n',
    "_checks.py": "def whole(x): return x\n",
    "data/__init__.py": "from .digits import digits as mnist\nfrom .images import photos\n",
    "data/digits.py": "from .splits import split\ndef digits(): return split()\n",
    "data/images.py": "from . import splits\ndef photos(): return splits.split()\n",
    "data/splits.py": "from .._checks import whole\ndef split(): return whole(1)\n",
    "nets/__init__.py": "from .fit import train\n",
    "nets/fit.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from ..data.images import photos
        def train(x: photos):
            from ..show import figures
            return figures.new()
        def late():
            import small.data as d
            return d.mnist()
        """,
    "show/__init__.py": "",
    "show/figures.py": "from .trends import slope\ndef new(): return slope\n",
    "show/trends.py": "slope = 1\n",
    "busy/__init__.py": "from ..data.digits import digits\nTABLE = {}\n",
    "busy/other.py": "from .. import data\ndef any(name): return getattr(data, name)\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small package on disk."""
    for name, text in FILES.items():
        path = tmp_path / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return tmp_path / "small"


def reached(root: Path, code: str, apart: tuple[str, ...] = (), **names: str) -> set[str]:
    """Without the package's name in front."""
    package = Package(root)
    found = package.reached(package.references_of(textwrap.dedent(code), names), apart.__contains__)
    return {name.removeprefix("small.") for name in found}


DIGITS = {"data.digits", "data.splits", "_checks"}
IMAGES = {"data.images", "data.splits", "_checks"}
FIT = DIGITS | {"nets.fit", "show.figures", "show.trends"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import small", set()),
        ("import small as s\ns.data.mnist(1).x", DIGITS),
        ("import small.data\nsmall.data.photos", IMAGES),
        ("from small.data import mnist\nmnist()", DIGITS),
        ("from small import data\ndef f():\n    return data.mnist", DIGITS),
        (
            "def f():\n    from small.data.splits import split\n    return split()",
            {"data.splits", "_checks"},
        ),
        ("from small import train\ntrain()", FIT),
        ("import small as s\ns.nets.train", FIT),
        ("import small as s\ns.nets.fit.late", FIT),
        # Where it cannot be told, all of the package counts.
        ("from small import data\ngetattr(data, 'x')", {"data", *DIGITS, *IMAGES}),
        ("import small as s\ns.data.gone", {"data", *DIGITS, *IMAGES}),
        ("from small.data import *\nmnist()", {"data", *DIGITS, *IMAGES}),
        ("import small.busy.other as o\no.any", {"busy", "busy.other", "data", *DIGITS, *IMAGES}),
        # A package with code of its own counts where it is passed.
        ("from small.busy import digits\ndigits()", {"busy", *DIGITS}),
        ("import smaller\nsmaller.data", set()),
    ],
)
def test_names_lead_to_modules(root: Path, code: str, expected: set[str]) -> None:
    assert reached(root, code) == expected


def test_globals_that_are_known_count_as_imports(root: Path) -> None:
    assert reached(root, "x.mnist()", x="small.data") == DIGITS
    assert reached(root, "x.mnist()", x="other") == set()


def test_what_is_apart_counts_by_what_it_imports_and_only_if_asked_for(root: Path) -> None:
    apart = ("small.show.figures",)
    assert reached(root, "from small import train\ntrain()", apart) == FIT - {
        "show.figures",
        "show.trends",
    }
    assert reached(root, "from small.show import figures\nfigures.new", apart) == {"show.trends"}


def test_the_hash_follows_the_file(root: Path) -> None:
    before = Package(root).modules["small._checks"].hash
    (root / "_checks.py").write_text("# said\ndef whole(x): return x\n")
    assert Package(root).modules["small._checks"].hash == before
    (root / "_checks.py").write_text("def whole(x): return x + 1\n")
    assert Package(root).modules["small._checks"].hash != before


def test_a_folder_that_is_no_package_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no package at"):
        Package(tmp_path)


# The two files need nothing but the standard library; the package that they stand in needs torch.
ASK = """
import json, sys, types
sys.modules["runs"] = types.ModuleType("runs")
sys.modules["runs"].__path__ = [sys.argv[1]]
from runs.reach import Package
package = Package(sys.argv[2])
print(json.dumps(package.reached(package.references_of(sys.argv[3]))))
"""


def test_every_python_reaches_the_same() -> None:
    root = Path(symscope.__file__).parent
    code = "import symscope as ss\nss.learned_symmetries, ss.match_operations, ss.sweeps.sweep"
    package = Package(root)
    expected = package.reached(package.references_of(code))
    assert len(expected) > 20
    folder = str(Path(reach.__file__).parent)
    for python, said in answers(ASK, folder, str(root), code).items():
        assert json.loads(said) == expected, python
