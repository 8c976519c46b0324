"""The long training: what was interrupted ends as what was not; the rows say what there is."""

from functools import partial

import pandas
import pytest
import torch

from studies.lgn import full, setting
from studies.networks import seeded

SMALL = {"epochs": 8, "batch_size": 32, "sets": 1}


@pytest.fixture(scope="module")
def problem() -> setting.Problem:
    return setting.images("photographs", train=80, test=20, statistics=1500)


class StoppedError(Exception):
    pass


def stop(row: dict[str, float]) -> None:
    """Stop before the third epoch, and before the fifth: the rate falls after the fourth."""
    if row["epoch"] in (2, 4):
        raise StoppedError


@pytest.mark.parametrize("plan", [full.NETWORKS[0], full.NETWORKS[2]])
def test_an_interrupted_training_ends_bit_for_bit_as_one_that_was_not(plan, problem, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, rows = full.train(problem, plan, tmp_path / "whole", **SMALL)
        for _ in range(2):
            with pytest.raises(StoppedError):
                full.train(problem, plan, tmp_path / "parts", **SMALL, after_epoch=stop)
        parts, again = full.train(problem, plan, tmp_path / "parts", **SMALL)
    finally:
        torch.set_num_threads(threads)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    for one, other in zip(rows, again, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    found = setting.measured(whole, problem.splits.test)
    assert rows[-1]["score"] == found["score"]
    assert rows[-1]["residual"] == pytest.approx(float(found["residual"].mean()))


def test_every_image_is_seen_and_the_rate_falls_after_whole_epochs(problem, tmp_path):
    plan = full.NETWORKS[0]
    full.train(problem, plan, tmp_path, **SMALL)
    kept = torch.load(tmp_path / f"{plan.name}.pt", weights_only=True)
    steps = {state["step"].item() for state in kept["optimizer"]["state"].values()}
    assert steps == {8 * 3}  # 80 images in batches of 32, 32 and 16
    assert sorted(kept["scheduler"]["milestones"]) == [4, 6, 7]
    assert kept["optimizer"]["param_groups"][0]["lr"] == 1e-2 / 8


def test_the_networks_are_named_apart_and_their_order_is_by_seed():
    names = [plan.name for plan in full.NETWORKS]
    assert len(set(names)) == 12 and names[3] == "classify-learned-201"
    assert names[9:] == [f"classify-unregularised-{seed}" for seed in (200, 201, 202)]


def test_what_is_exported_is_the_network_and_its_rows(tmp_path, problem, monkeypatch):
    plan = full.NETWORKS[2]
    sizes = {"shape": (3, 16, 16), "sets": 1}
    monkeypatch.setattr(setting, "built", partial(setting.built, **sizes))
    monkeypatch.setattr(
        setting,
        "untrained",
        lambda *a, seed, **k: seeded(lambda: setting.built(plan.task, plan.kind), seed),
    )
    head, rows = full.train(problem, plan, tmp_path / "kept", **SMALL)
    full.export(tmp_path / "kept", tmp_path / "data")
    table = pandas.read_csv(tmp_path / "data/progress.csv")
    assert table.epoch.tolist() == list(range(1, 9)) and set(table.seed) == {200}
    assert table.score.iloc[-1] == pytest.approx(rows[-1]["score"], abs=1e-6)
    loaded = full.load(tmp_path / "data", plan)
    for name, value in head.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
