"""Symmetries of data in shards: the report of one machine, whoever computed which shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cluster import NOWHERE
from safetensors.torch import save_file

import studies
import symscope as ss
from symscope.runs import workers

ACTION = ss.LinearAction(4, copies=2)


def network() -> torch.nn.Module:
    return studies.networks.seeded(lambda: studies.networks.MLP((8, 16, 3)), 0).double()


def written(folder: Path, data: torch.Tensor) -> list:
    """Five shards of unequal size, each of another kind."""
    one, two, three, four, five = data.split([50, 10, 100, 60, 80])
    torch.save(one, folder / "one.pt")
    np.save(folder / "two.npy", two.numpy())
    save_file({"inputs": three}, folder / "three.safetensors")
    return [folder / "one.pt", str(folder / "two.npy"), folder / "three.safetensors", four,
            lambda: [(batch, None) for batch in five.split(16)]]  # fmt: skip


@pytest.mark.parametrize("outputs", ["all", "sum"])
def test_shards_give_the_report_of_one_machine(cluster, tmp_path, outputs):
    data = torch.randn(300, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = network()
    options = {"action": ACTION, "outputs": outputs, "batch_size": 32}
    shards = written(tmp_path, data)
    if outputs == "sum":  # ten samples would be fewer rows than directions
        shards = [data[:60], *shards[2:]]
    whole = ss.learned_symmetries(model, data, **options)
    found = ss.symmetries_of_shards(model, shards, scheduler=cluster.address, **options)
    assert (found.factor.samples, found.factor.rows) == (whole.factor.samples, whole.factor.rows)
    torch.testing.assert_close(found.liegg.variance, whole.liegg.variance, rtol=1e-9, atol=1e-14)
    assert float(found.liegg.angles_to(whole.liegg.generators[:3]).max()) < 1e-4
    assert found.shuffled.factor.samples == whole.shuffled.factor.samples
    # Another pairing, so other numbers of the same size.
    ratio = found.shuffled.liegg.variance / whole.shuffled.liegg.variance
    assert float(ratio.min()) > 0.5 and float(ratio.max()) < 2
    again = ss.symmetries_of_shards(model, shards, scheduler=cluster.address, **options)
    assert torch.equal(again.liegg.variance, found.liegg.variance)  # whichever shard came first


def test_one_shard_is_the_whole_report_and_its_control(cluster):
    data = torch.randn(90, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    options = {"action": ACTION, "seed": 5, "batch_size": 16}
    whole = ss.learned_symmetries(network(), data, **options)
    found = ss.symmetries_of_shards(network(), [data], scheduler=cluster.address, **options)
    for one, other in ((found, whole), (found.shuffled, whole.shuffled)):
        torch.testing.assert_close(one.liegg.variance, other.liegg.variance, rtol=1e-9, atol=1e-14)
    assert found.count == whole.count


def test_bad_shards(cluster, tmp_path, monkeypatch):
    data = torch.randn(40, 8, dtype=torch.float64)
    options = {"action": ACTION, "scheduler": cluster.address}
    with pytest.raises(ValueError, match="there are no shards"):
        ss.symmetries_of_shards(network(), [], **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'batches'"):
        ss.symmetries_of_shards(network(), [data], batches=3, **options)
    monkeypatch.setattr(workers, "PATIENCE", 1)
    with pytest.raises(ConnectionError, match="no Dask scheduler answers"):
        ss.symmetries_of_shards(network(), [data], action=ACTION, scheduler=NOWHERE)
    for shard, error, message in (
        (tmp_path / "gone.pt", FileNotFoundError, "gone.pt"),
        (tmp_path / "data.csv", ValueError, "must be .npy, .npz, .safetensors, .pt"),
        (torch.full((40, 8), torch.nan), ValueError, "must be finite"),
        (data[:3], ValueError, "fewer than the 16 directions"),
    ):
        with pytest.raises(error, match=message) as caught:
            ss.symmetries_of_shards(network(), [data, shard], **options)
        assert caught.value.__notes__[-1].startswith("in shard 1: ")
    save_file({"a": data, "b": data.clone()}, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match="must hold one tensor, it holds 2"):
        ss.symmetries_of_shards(network(), [tmp_path / "two.safetensors"], **options)
