"""The notebook that asks a reader's own network, without a kernel: its cells, one after another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from helpers import random, seeded_stream
from safetensors.torch import save_file
from torch import nn

import symscope as ss

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "12_your_network.ipynb"
SOURCE = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(1, 3)

    def forward(self, x, kind=None):
        size = x.square().sum(-1, keepdim=True)
        size = size if kind is None else size * kind[:, None]
        return self.inner(size).sin()
"""


@pytest.fixture(params=["the root", "notebooks"])
def place(request, tmp_path, monkeypatch):
    """A reader's files in a repository's root, and two places to stand in."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "readers_network.py").write_text(SOURCE, encoding="utf-8")
    np.save(tmp_path / "x.npy", random(400, 2).double().numpy())
    weights = {"inner.weight": torch.ones(3, 1), "inner.bias": torch.arange(3.0)}
    save_file(weights, tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path if request.param == "the root" else tmp_path / "notebooks")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "readers_network", raising=False)
    return tmp_path


def run(**parameters: Any) -> dict[str, Any]:
    """All cells with these parameters, as papermill would inject them; what they leave."""
    space: dict[str, Any] = {}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.id, "exec"), space)
        if "parameters" in cell.metadata.get("tags", []):
            space.update(parameters)
    return space


OWN = {
    "model": "readers_network:Network",
    "weights": "weights.safetensors",
    "data": "x.npy",
    "action": "linear",
}


def test_a_readers_network_is_asked_and_its_report_written(place, capsys):
    space = run(**OWN)
    found = space["found"]["your network"]
    assert found.count == 1 and "so(2)" in ss.summary(found)
    assert space["asked"]["your network"][0].inner.bias.tolist() == [0, 1, 2]
    assert sorted(space["controls"]["your network"]) == ["shuffled", "untrained"]
    table = space["tables"]["your network"]
    assert table["first"].max() < 1e-5 < 0.1 < table["last"].max()
    assert "your network: 1 of 4 directions are symmetries: exact" in capsys.readouterr().out


def test_of_several_tensors_one_moves(place):
    data = {"x": random(300, 2), "kind": torch.rand(300)}
    save_file(data, place / "two.safetensors")
    space = run(**{**OWN, "data": "two.safetensors", "moves": "x"})
    assert space["found"]["your network"].count == 1


def test_images_in_bytes_beside_labels_and_a_checkpoint_are_asked(place):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3))
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, place / "model.ckpt")
    source = "from torch import nn\n\ndef made():\n    return nn.Sequential(nn.Flatten(), "
    source += "nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3))\n"
    (place / "readers_images.py").write_text(source, encoding="utf-8")
    images = (255 * torch.rand(60, 8, 8, generator=seeded_stream())).byte().numpy()
    np.savez(place / "images.npz", images=images, labels=np.arange(60) % 3)
    asked = {"model": "readers_images:made", "weights": "model.ckpt", "data": "images.npz"}
    space = run(**asked, action="plane", leave_out="labels", divisor=255)
    own, data, _, part = space["asked"]["your network"]
    assert part is None and float(data.max()) <= 1 and own[1].weight.equal(network[1].weight)
    assert sorted(space["controls"]["your network"]) == ["shuffled", "untrained"]


def test_an_archive_has_no_untrained_copy_and_says_so(place, capsys):
    sys.path.append(str(place))
    from readers_network import Network

    shapes = ({0: torch.export.Dim("n")},)
    exported = torch.export.export(Network().eval(), (torch.zeros(4, 2),), dynamic_shapes=shapes)
    torch.export.save(exported, place / "network.pt2")
    path = str(place / "network.pt2")
    source = f"import torch\n\ndef made():\n    return torch.export.load({path!r}).module()\n"
    (place / "readers_archive.py").write_text(source, encoding="utf-8")
    space = run(model="readers_archive:made", data="x.npy", action="linear")
    assert space["found"]["your network"].count == 1
    assert sorted(space["controls"]["your network"]) == ["shuffled"]
    assert "your network: no untrained copy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameters", "error", "told"),
    [
        ({**OWN, "modle": "x"}, ValueError, "no parameter 'modle'; did you mean 'model'?"),
        ({**OWN, "scale": "full"}, ValueError, "scale must be one of quick, paper; got 'full'"),
        ({**OWN, "action": "sphere"}, ValueError, "action must be one of plane, linear, atoms"),
        ({**OWN, "data": "y.npy"}, FileNotFoundError, "there is no file y.npy: looked for y.npy"),
        ({**OWN, "model": ""}, ValueError, "model must be like package.module:name"),
    ],
)
def test_what_the_notebook_does_not_know_is_refused(place, parameters, error, told):
    with pytest.raises(error, match=told):
        run(**parameters)
