"""Networks of a grid: trained once, measured as often as one likes, every bad input named."""

from __future__ import annotations

import pytest
import torch
from cluster import NOWHERE
from pandas.testing import assert_frame_equal
from sweep_driver import biased, deadly, fitted, linear, no_network, weighed

from symscope.runs.sweeps import sweep, train

GRID = {"width": [3, 4], "epochs": [1, 2]}


@pytest.fixture
def networks(cluster, tmp_path):
    return train(
        fitted, linear, GRID, tmp_path, seeds=[0, 5], scheduler=cluster.address, progress=False
    )


def test_each_is_the_network_of_its_configuration_and_seed(networks):
    for width, seed in ((3, 0), (4, 5)):
        torch.manual_seed(seed)  # a training begins with the state of its seed
        expected = torch.nn.Linear(width, 2)
        for epochs in (1, 2):
            found = networks.network(seed, width=width, epochs=epochs)
            assert torch.equal(found.weight, expected.weight)
            assert (found.bias == epochs).all() and not found.training


def test_trained_once_and_measured_in_many_ways(cluster, networks, tmp_path):
    ran = len(cluster.lines())
    options = {"seeds": [0, 5], "networks": networks, "progress": False, "errors": "raise"}
    options["scheduler"] = cluster.address
    first = sweep(weighed, GRID | {"times": [1]}, tmp_path, **options)
    assert first["bias"].tolist() == first["epochs"].tolist()
    assert first["weight"].nunique() == 4  # two widths by two seeds
    for row in first.itertuples():
        found = networks.network(row.seed, width=row.width, epochs=row.epochs)
        assert row.weight == pytest.approx(found.weight.sum().item())
    other = sweep(weighed, GRID | {"times": [3.0]}, tmp_path, **options)
    assert (other["scaled"] == 3 * other["bias"]).all()
    # Nothing was trained for it, and asked again nothing is computed at all.
    again = train(
        fitted, linear, GRID, tmp_path, seeds=[0, 5], scheduler=NOWHERE, progress=False
    )  # fmt: skip
    options |= {"networks": again, "scheduler": NOWHERE}
    assert_frame_equal(sweep(weighed, GRID | {"times": [1]}, tmp_path, **options), first)
    assert len(cluster.lines()) == ran


def test_another_training_is_another_run(cluster, networks, tmp_path):
    options = {"seeds": [0, 5], "scheduler": cluster.address, "progress": False}
    grid = GRID | {"times": [1]}
    keys = set(sweep(weighed, grid, tmp_path, networks=networks, **options)["key"])
    more = train(fitted, linear, {"width": [3, 4], "epochs": [1, 2, 7]}, tmp_path, **options)
    more_keys = sweep(
        weighed, grid | {"epochs": [7]}, tmp_path, networks=more, **options
    )["key"]  # fmt: skip
    assert keys.isdisjoint(more_keys)


def test_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    networks = train(fitted, linear, GRID, tmp_path, seeds=[1], progress=False)
    grid = GRID | {"times": [1]}
    table = sweep(weighed, grid, tmp_path, seeds=[1], networks=networks, progress=False)
    assert table["bias"].tolist() == [1, 2, 1, 2] and table["error"].isna().all()


def test_what_all_have_in_common_need_not_be_said(cluster, tmp_path):
    options = {"seeds": [2], "scheduler": cluster.address, "progress": False}
    networks = train(fitted, linear, {"width": [3, 4], "epochs": [9]}, tmp_path, **options)
    found = sweep(biased, {"width": [4, 3]}, tmp_path, networks=networks, **options)
    assert found["bias"].tolist() == [9, 9] and found["inputs"].tolist() == [4, 3]


def test_a_network_that_was_not_trained_is_named(cluster, networks, tmp_path):
    with pytest.raises(ValueError, match=r"no network was trained with .*'width': 9.* seed 0"):
        networks.network(0, width=9, epochs=1)
    with pytest.raises(ValueError, match="2 networks were trained with .*'width': 3.* seed 0"):
        networks.network(0, width=3)
    with pytest.raises(ValueError, match="no network was trained with .* seed 7"):
        sweep(weighed, GRID | {"times": [1]}, tmp_path, seeds=[7], networks=networks)


def test_a_damaged_network_is_named(networks):
    key = networks.job({"width": 3, "epochs": 1}, 0).key
    networks.store.path(key).with_suffix(".safetensors").write_bytes(b"nothing")
    with (
        pytest.warns(UserWarning, match="is damaged: its run is done again"),
        pytest.raises(ValueError, match="seed 0, is damaged"),
    ):
        networks.network(0, width=3, epochs=1)


def test_bad_inputs_are_named(cluster, tmp_path):
    options = {"seeds": [0], "scheduler": cluster.address, "progress": False}
    with pytest.raises(RuntimeError, match="TypeError: run must return a network, got dict"):
        train(no_network, linear, {"width": [3]}, tmp_path, **options)
    with pytest.raises(ValueError, match="build needs 'width', which grid does not set"):
        train(deadly, linear, {}, tmp_path, **options)
