"""Plans: what a sweep is to run, one key a run, and what cannot be run named before anything is."""

from __future__ import annotations

import numpy as np
import pytest
import sweep_driver
import torch
from cluster import until
from sweep_driver import GRID, SEEDS, study

from symscope.runs.plans import listed, planned


def keys_of(grid: object = GRID, seeds: object = SEEDS, **options) -> list[str]:
    _, _, jobs = planned(study, grid, seeds, options.get("data", ()))
    return [job.key for job in jobs]


def test_a_grid_is_every_combination_in_order():
    common, reached, jobs = planned(study, GRID, [1, 0], ())
    assert [(*job.configuration.values(), job.seed) for job in jobs] == [
        (w, s, n) for w in GRID["width"] for s in GRID["schedule"] for n in (1, 0)
    ]
    assert len(common) < 10_000 and reached == {}  # the run uses nothing of symscope


def test_equal_runs_have_equal_keys_however_they_are_written(tmp_path):
    keys = keys_of({"width": [8], "schedule": ["cosine"]}, [3, 1])
    assert keys == keys_of([{"schedule": "cosine", "width": np.int64(8)}], np.array([3, 1]))
    assert len(set(keys_of())) == len(GRID["width"]) * len(GRID["schedule"]) * len(SEEDS)
    (tmp_path / "data").write_text("a", encoding="utf-8")
    one = {"width": [8], "schedule": ["cosine"]}
    with_data = keys_of(one, [3], data=[tmp_path / "data"])
    assert with_data != keys[:1] and len(with_data) == 1
    (tmp_path / "data").write_text("b", encoding="utf-8")
    assert keys_of(one, [3], data=[tmp_path / "data"]) != with_data


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"grid": {"width": [8], "schedule": ["cosine"], "deep": [1]}},
            ValueError,
            "grid sets 'deep', which study does not take; it takes 'width', 'schedule'",
        ),
        ({"grid": {"width": [8]}}, ValueError, "grid must set 'schedule', which study needs"),
        ({"grid": [{"width": 8}]}, ValueError, "grid must set 'schedule', which study needs"),
        (
            {"grid": GRID | {"seed": [1]}},
            ValueError,
            "grid must not set 'seed': the table has such a column",
        ),
        (
            {"grid": {"width": 8, "schedule": ["cosine"]}},
            ValueError,
            "grid must hold a list of values for 'width', got 8",
        ),
        (
            {"grid": {"width": [8], "schedule": "cosine"}},
            ValueError,
            "grid must hold a list of values for 'schedule', got 'cosine'",
        ),
        (
            {"grid": {"width": [torch.tensor(8)], "schedule": ["cosine"]}},
            ValueError,
            "grid must hold numbers, strings, booleans, None or lists of these; 'width' has tensor",
        ),
        (
            {"grid": {"width": [], "schedule": ["cosine"]}},
            ValueError,
            "needs at least one run: grid gives 0 configurations, and there are 5 seeds",
        ),
        ({"grid": []}, ValueError, "grid gives 0 configurations"),
        ({"seeds": []}, ValueError, "grid gives 6 configurations, and there are 0 seeds"),
        ({"seeds": [0.5]}, ValueError, "seeds must be a whole number of at least 0, got 0.5"),
        ({"run": lambda seed: {}}, ValueError, "run must be a function defined at the top level"),
        ({"run": sweep_driver.large, "grid": {}}, ValueError, "large names 11 MiB of its module"),
        ({"run": until, "grid": {}}, ValueError, "until must take an argument 'seed'"),
        ({"data": ["gone"]}, FileNotFoundError, "no data at gone"),
    ],
)
def test_what_cannot_be_run_is_named(change, error, message):
    given = {"run": study, "grid": GRID, "seeds": range(5), "data": ()} | change
    with pytest.raises(error) as caught:
        planned(**given)
    assert message in str(caught.value)


def test_names_are_listed():
    assert listed(["a", "b"]) == "'a', 'b'" and listed([]) == "nothing"
