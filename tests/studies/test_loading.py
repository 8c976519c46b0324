"""A reader's own things by name and path: what is found, and what is refused."""

import sys

import numpy as np
import pytest
import torch
from helpers import random, seeded_stream
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


def test_data_are_read_in_all_formats(place):
    data = random(5, 3)
    np.save(place / "x.npy", data.numpy())
    torch.save(data, place / "x.pt")
    save_file({"x": data}, place / "x.safetensors")
    np.savez(place / "x.npz", x=data.numpy())
    for name in ("x.npy", "x.npz", "x.pt", "x.safetensors"):
        assert loading.load_tensors(name).equal(data)
    save_file({"pos": data, "z": torch.arange(5)}, place / "two.safetensors")
    np.savez(place / "two.npz", pos=data.numpy(), z=np.arange(5))
    for name in ("two.safetensors", "two.npz"):
        assert sorted(loading.load_tensors(name)) == ["pos", "z"]


DTYPE = torch.float32
IMAGES = torch.randint(256, (5, 4, 4), generator=seeded_stream(), dtype=torch.uint8)
LABELS = torch.arange(5)


@pytest.mark.parametrize("form", [".npz", ".safetensors", ".pt"])
def test_images_in_bytes_beside_their_labels_become_what_a_network_takes(place, form):
    both = {"x": IMAGES, "y": LABELS}
    if form == ".npz":
        np.savez(place / "both.npz", **{name: part.numpy() for name, part in both.items()})
    else:
        (torch.save if form == ".pt" else save_file)(both, place / f"both{form}")
    network, path = nn.Linear(4, 2), f"both{form}"
    for moves in ("", "x"):
        data, part = loading.load_data(network, path, moves, "y", 255)
        assert part is None and data.equal(IMAGES / 255) and data.dtype == DTYPE
    data, part = loading.load_data(network, path, "x", divisor=1)
    assert part == "x" and data["x"].equal(IMAGES.float()) and data["y"].equal(LABELS)


def test_of_a_tuple_in_a_file_places_are_names(place):
    torch.save((LABELS, random(5, 3), random(5, 2)), place / "several.pt")
    data, part = loading.load_data(nn.Linear(3, 2), "several.pt", 1, "0")
    assert part == 0 and [tuple(each.shape) for each in data] == [(5, 3), (5, 2)]


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"leave_out": "y"}, TypeError, "both.pt holds whole numbers .torch.uint8.*-p divisor 255"),
        ({}, ValueError, "both.pt holds x, y: say which moves, -p moves NAME.* -p leave_out NAME"),
        ({"moves": "z"}, ValueError, "both.pt holds x, y: there is no 'z' in it"),
        ({"moves": "x", "leave_out": "labels"}, ValueError, "there is no 'labels' in it"),
    ],
)
def test_of_data_that_a_network_cannot_take_the_way_is_told(place, settings, error, told):
    torch.save({"x": IMAGES, "y": LABELS}, place / "both.pt")
    with pytest.raises(error, match=told):
        loading.load_data(nn.Linear(4, 2), "both.pt", **settings)


def test_weights_come_out_of_checkpoints(place):
    network = loading.load_network("readers_own:small")
    state = network.state_dict()
    around = {f"module.{name}": value for name, value in state.items()}  # DataParallel's names
    torch.save({"epoch": 3, "state_dict": state, "options": {}}, place / "one.ckpt")
    torch.save({"epoch": 3, "model": around, "average": state}, place / "two.pth")
    for weights in ("one.ckpt", "two.pth:model", "two.pth:average"):
        again = loading.load_network("readers_own:small", weights)
        assert all(again.state_dict()[name].equal(value) for name, value in state.items())
    with pytest.raises(ValueError, match="holds 2 state dictionaries: hand in two.pth:model, two"):
        loading.load_network("readers_own:small", "two.pth")
    with pytest.raises(ValueError, match="hand in two.pth:model"):
        loading.load_network("readers_own:small", "two.pth:epoch")


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file")
def test_scripts_are_told_the_way_and_taken_on_it(place):
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), place / "script.pt")
    with pytest.raises(ValueError, match=r"script.pt is an archive.*gives torch.jit.load\(...\)"):
        loading.load_network("script.pt")
    with pytest.raises(ValueError, match="script.pt holds more than tensors"):
        loading.load_network("readers_own:small", "script.pt")
    source = f"import torch\ndef made():\n    return torch.jit.load({str(place / 'script.pt')!r})\n"
    (place / "readers_script.py").write_text(source, encoding="utf-8")
    script = loading.load_network("readers_script:made")
    found = ss.learned_symmetries(script, random(40, 3), action=ss.LinearAction(3))
    assert found.mode is not None and not script.training


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
    with pytest.raises(ValueError, match="bad.pt2 is an archive, which can run code of its own"):
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
        (
            lambda: loading.load_tensors("readers_own.py"),
            ValueError,
            r"must be .npy, .npz, .safetensors",
        ),
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
    assert loading.in_precision_of(nn.Linear(2, 2).double(), torch.zeros(2)).dtype == torch.float64
    assert loading.in_precision_of(nn.ReLU(), data) is data


def test_a_parameter_or_scale_that_is_not_known_is_refused():
    known = ("scale", "model", "weights")
    loading.check_parameters({"scale": "quick", "_": 3, "In": [], "torch": torch}, known)
    for name, told in (("modle", "; did you mean 'model'\\?"), ("size", r"\.")):
        with pytest.raises(ValueError, match=f"no parameter '{name}'{told} There are: scale, mod"):
            loading.check_parameters({"scale": "quick", name: "x"}, known)
    with pytest.raises(ValueError, match="scale must be one of quick, paper; got 'full'"):
        loading.check_parameters({"scale": "full"}, known)
