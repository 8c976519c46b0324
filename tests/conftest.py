"""What every test runs under: the same random examples, Triton everywhere, checked shapes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from cluster import Cluster
    from playwright.sync_api import Browser

# Tests, and processes that they start, import what several of them share from this folder.
sys.path.insert(0, str(Path(__file__).parent))

import shapes

# `make quick` goes without.
GUARDED = os.environ.get("SYMSCOPE_GUARDS") != "0"
if GUARDED:
    shapes.install()

# Two busy cores are slow at times; a slow example is no failure.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# Without a GPU the kernels run in Triton's interpreter; it must be told before it is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def guards() -> None:
    """The first calls of each test have their shapes checked."""
    shapes.begin_test()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers; started for the first test that asks for it."""
    from cluster import running_cluster  # imported here: Dask takes a second to load

    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one the checks are skipped, or fail where CI asks for it."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = f"CHROMIUM IS MISSING ({', '.join(BROWSERS)}): the book was not opened"
        if os.environ.get("SYMSCOPE_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()
