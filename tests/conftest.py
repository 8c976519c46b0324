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

# Tests, and processes that they start, import what several of them share from this folder, and
# the book's own package.
sys.path.insert(0, str(Path(__file__).parent.parent / "notebooks"))
sys.path.insert(0, str(Path(__file__).parent))

import shapes

os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [*sys.path[:2], os.environ.get("PYTHONPATH")])
)

# `make quick` goes without.
GUARDED = os.environ.get("SYMSCOPE_GUARDS") != "0"
if GUARDED:
    shapes.install()

# Files and tests that take some seconds of the processor each: `make quick` goes without them.
SLOW = {
    "test_compile.py",
    "test_sweeps.py",
    "test_workers.py",
    "test_a_gram_matrix_finds_the_group_and_none_where_there_is_none",
    "test_a_planted_group_is_found_from_a_random_start",
    "test_a_planted_plane_rotation_is_recovered_from_far_away",
    "test_an_interrupted_training_ends_bit_for_bit_as_one_that_was_not",
    "test_descent_from_near_finds_a_quarter_turn_and_says_so",
    "test_extraction_and_kernels_need_only_torch_and_numpy",
    "test_filters_at_right_angles_have_a_small_residual_and_no_group",
    "test_import_needs_only_torch_and_numpy",
    "test_killed_download_leaves_nothing",
    "test_pruning_ends_with_as_many_unit_atoms_as_were_asked_for_and_no_twins",
    "test_several_filters_that_share_a_generator_tell_which_group_it_is",
    "test_the_kernels_serve_the_public_call",
    "test_the_median_is_held_whatever_the_law",
    "test_without_an_effect_a_direction_is_rarely_reproduced",
}

# Two busy cores are slow at times; a slow example is no failure.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# Without a GPU the kernels run in Triton's interpreter; it must be told before it is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW & {item.path.name, getattr(item, "originalname", "")}:
            item.add_marker("slow")


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
