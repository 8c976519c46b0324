"""A reader's own things by name and path: what is found, and what is refused."""

import sys

import numpy as np
import pytest
import torch
from helpers import random
from safetensors.torch import save_file
from torch import nn

import symscope as ss
from studies import loading

SOURCE = """
import torch, symscope as ss

def small():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))

ready = small()
action = ss.LinearAction(3)

def make_action():
    return ss.PointAction(2)

def nothing():
    return 3
"""


@pytest.fixture(params=["the root", "notebooks"])
def place(request, tmp_path, monkeypatch):
    """A repository with a reader's files, and two places to stand in."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "readers_own.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path if request.param == "the root" else tmp_path / "notebooks")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "readers_own", raising=False)
    return tmp_path


def test_a_network_its_weights_and_its_action_are_found(place):
    import studies.loading as own

    network = own.load_network("readers_own:small")
    assert isinstance(network[0], nn.Linear) and not network.training
    torch.save(network.state_dict(), place / "weights.pt")
    save_file(network.state_dict(), place / "weights.safetensors")
    for weights in ("weights.pt", "weights.safetensors"):
        again = own.load_network("readers_own:small", weights)
        assert all(again.state_dict()[k].equal(v) for k, v in network.state_dict().items())
    assert own.load_network("readers_own:ready") is sys.modules["readers_own"].ready
    assert own.load_action("readers_own:action", None).n == 3
    assert own.load_action("readers_own:make_action", None).n == 2


def test_data_are_read_in_three_formats(place):
    data = random(5, 3)
    np.save(place / "x.npy", data.numpy())
    torch.save(data, place / "x.pt")
    save_file({"x": data}, place / "x.safetensors")
    for name in ("x.npy", "x.pt", "x.safetensors"):
        assert loading.load_tensors(name).equal(data)
    save_file({"pos": data, "z": torch.arange(5)}, place / "two.safetensors")
    assert sorted(loading.load_tensors("two.safetensors")) == ["pos", "z"]


def test_nothing_is_unpickled(place):
    class Marked:
        def __reduce__(self):
            return (place.joinpath("ran").write_text, ("x",))

    torch.save({"x": Marked()}, place / "bad.pt")
    np.save(place / "bad.npy", np.array([Marked()], dtype=object), allow_pickle=True)
    for name in ("bad.pt", "bad.npy"):
        with pytest.raises(ValueError, match="holds more than tensors, and nothing is unpickled"):
            loading.load_tensors(name)
    torch.save(Marked(), place / "bad.pt2")
    with pytest.raises(ValueError, match="bad.pt2 is an archive .* which can run code of its own"):
        loading.load_network("bad.pt2")
    assert not (place / "ran").exists()


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: loading.load_network("small"), ValueError, "model must be like package.module:f?"),
        (lambda: loading.load_network("nowhere:small"), ImportError, "no module 'nowhere'"),
        (lambda: loading.load_network("readers_own:big"), ImportError, "has no 'big'"),
        (lambda: loading.load_network("readers_own:nothing"), TypeError, "torch module, got int"),
        (lambda: loading.load_network("a:b", "x.pt"), ImportError, "there is no module 'a'"),
        (lambda: loading.load_tensors("x.npy"), FileNotFoundError, "looked for x.npy, ../x.npy"),
        (lambda: loading.load_tensors("readers_own.py"), ValueError, r"must be .npy, .safetensors"),
        (
            lambda: loading.load_action("sphere", None),
            ValueError,
            "action must be one of plane, linear, atoms, or package.module:action; got 'sphere'",
        ),
    ],
)
def test_what_is_not_there_is_refused(place, call, error, told):
    with pytest.raises(error, match=told):
        call()


def test_weights_of_another_network_are_refused(place):
    save_file(nn.Linear(2, 2).state_dict(), place / "other.safetensors")
    with pytest.raises(ValueError, match=r"(?s)other.safetensors holds weights of another network"):
        loading.load_network("readers_own:small", "other.safetensors")
    torch.save(torch.zeros(3), place / "vector.pt")
    with pytest.raises(ValueError, match="vector.pt must hold a network's state dictionary"):
        loading.load_network("readers_own:small", "vector.pt")


def test_actions_fit_the_data():
    images = loading.load_action("plane", torch.zeros(2, 8, 8))
    assert isinstance(images, ss.PlaneAction)
    assert loading.load_action("linear", torch.zeros(2, 5)).copies == 1
    vectors = loading.load_action("linear", torch.zeros(2, 7, 5))
    assert (vectors.n, vectors.copies) == (5, 7)
    beside = loading.load_action("linear", {"x": torch.zeros(2, 4)}, "x")
    assert beside.n == 4
    assert isinstance(loading.load_action("atoms", None), ss.PointAction)


def test_data_come_in_the_precision_of_the_network():
    data = {"x": torch.zeros(2, dtype=torch.float64), "n": torch.zeros(2, dtype=torch.int64)}
    found = loading.in_precision_of(nn.Linear(2, 2), data)
    assert (found["x"].dtype, found["n"].dtype) == (torch.float32, torch.int64)
    assert loading.in_precision_of(nn.Linear(2, 2).double(), (torch.zeros(2),))[0].dtype == (
        torch.float64
    )
    assert loading.in_precision_of(nn.ReLU(), data) is data


def test_a_parameter_or_scale_that_is_not_known_is_refused():
    known = ("scale", "model", "weights")
    loading.check_parameters({"scale": "quick", "_": 3, "In": [], "torch": torch}, known)
    for name, told in (("modle", "; did you mean 'model'\\?"), ("size", r"\.")):
        with pytest.raises(ValueError, match=f"no parameter '{name}'{told} There are: scale, mod"):
            loading.check_parameters({"scale": "quick", name: "x"}, known)
    with pytest.raises(ValueError, match="scale must be one of quick, paper; got 'full'"):
        loading.check_parameters({"scale": "full"}, known)
