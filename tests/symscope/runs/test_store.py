"""The store: what is kept comes back whole, or is named and made again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import sweep_driver
import torch
from sweep_driver import CALLS
from torch import nn

from symscope.runs import Store


def train(size: int, seed: int = 0, scale: float = 1.0) -> dict:
    """Numbers and tensors that follow from the random state."""
    sweep_driver.CALLS.append({"size": size, "seed": seed})  # of another module: not in the key
    weights = torch.randn(size, size, dtype=torch.float64)
    return {
        "loss": np.float32(0.5) * scale,
        "weights": weights,
        "parts": [weights[:, 0], {"counts": torch.tensor(3), "name": "ä", "none": None}],
        "pair": (1, True),
    }


def network(seed: int) -> nn.Module:
    """A trained network, as far as a test needs one."""
    sweep_driver.CALLS.append({"seed": seed})
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def build() -> nn.Module:
    """Of the same shape."""
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()


def wrong(what: str) -> object:
    """Returns what cannot be kept."""
    return {"object": object(), "array": {"x": np.ones(2)}, "keys": {1: 2}}[what]


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


# Records


def test_a_record_comes_back_as_it_was(tmp_path):
    store = Store(tmp_path / "a folder" / "täble")
    store.write("a", {"x": [1.5, float("inf"), torch.arange(3)[::2]], "s": "ü"})
    held = store.read("a")
    assert held["x"][:2] == [1.5, float("inf")] and held["x"][2].tolist() == [0, 2]
    assert held["s"] == "ü" and store.read("b") is None


def test_a_result_under_another_s_name_is_damaged(tmp_path):
    store = Store(tmp_path)
    store.write("a", {"seconds": float("nan"), "seed": 1})
    assert store.read("a")["seed"] == 1 and store.read("b") is None
    store.path("a").rename(store.path("b"))
    with pytest.warns(UserWarning, match="damaged"):
        assert store.read("b") is None


def test_a_write_that_is_cut_off_leaves_the_old_result(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.write("a", {"seed": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write("a", {"seed": 2})
    assert store.read("a") == {"seed": 1}


# Calls


def test_a_call_is_made_once_and_gives_the_same_ever_after(tmp_path):
    store = Store(tmp_path)
    before = torch.get_rng_state()
    first = store.keep(train, size=3, seed=7)
    again = Store(tmp_path).keep(train, size=3, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    assert CALLS == [{"size": 3, "seed": 7}]
    torch.manual_seed(7)
    expected = torch.randn(3, 3, dtype=torch.float64)
    for found in (first, again):
        assert torch.equal(found["weights"], expected)
        assert torch.equal(found["parts"][0], expected[:, 0])
        assert found["parts"][1]["counts"] == 3 and found["parts"][1]["name"] == "ä"
        assert found["loss"] == 0.5 and found["pair"] == [1, True]
    assert files(tmp_path) == [".json", ".safetensors"]
    store.keep(train, size=3, seed=8)
    store.keep(train, size=3, seed=7, scale=2.0)
    assert len(CALLS) == 3


def test_data_are_part_of_the_key(tmp_path):
    data = tmp_path / "data"
    for text in ("a", "b", "a"):
        data.write_text(text)
        Store(tmp_path / "kept", data=[data]).keep(train, size=2)
    assert len(CALLS) == 2


def test_a_network_is_trained_once_and_then_loaded(tmp_path):
    store = Store(tmp_path)
    first = store.keep_network(network, build, seed=3)
    again = store.keep_network(network, build, seed=3)
    assert len(CALLS) == 1 and not first.training and not again.training
    torch.manual_seed(3)
    expected = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for name, value in expected.state_dict().items():
        assert torch.equal(first.state_dict()[name], value), name
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "swapped"])
def test_damage_is_named_and_the_call_made_again(tmp_path, suffix, damage):
    store = Store(tmp_path)
    first = store.keep(train, size=3)
    (path,) = tmp_path.glob(f"*{suffix}")
    (record,) = tmp_path.glob("*.json")
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.write_bytes(path.read_bytes().replace(b"0", b"1"))
    if damage == "gone" and suffix == ".json":
        again = store.keep(train, size=3)
    else:
        with pytest.warns(UserWarning, match=f"{record} is damaged") as warned:
            again = store.keep(train, size=3)
        assert warned[0].filename == __file__
    assert len(CALLS) == 2 and torch.equal(again["weights"], first["weights"])


def test_the_time_that_kept_work_took_is_told(tmp_path, monkeypatch):
    told = tmp_path / "told"
    store = Store(tmp_path / "kept")
    store.keep(train, size=2)  # nobody asks
    assert not told.exists()
    monkeypatch.setenv("SYMSCOPE_KEPT_SECONDS", str(told))
    store.keep(train, size=2)
    store.keep(train, size=3)
    lines = [line.split() for line in told.read_text().splitlines()]
    assert len({key for key, _ in lines}) == 2
    assert float(lines[0][1]) > 0 and float(lines[1][1]) == 0


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.keep(lambda: {}), ValueError, "must be a function defined at the top level"),
        (lambda s: s.keep(nn.Linear), ValueError, "must be a function defined at the top level"),
        (lambda s: s.keep(train, size=torch.tensor(3)), ValueError, "size must be a number, a st"),
        (lambda s: s.keep(train, width=3), TypeError, "missing a required argument: 'size'"),
        (lambda s: s.keep(train, size=3, width=3), TypeError, "unexpected keyword argument"),
        (lambda s: s.keep(wrong, what="object"), TypeError, "kept, got object"),
        (lambda s: s.keep(wrong, what="array"), TypeError, "kept, got ndarray"),
        (lambda s: s.keep(wrong, what="keys"), TypeError, "must have names as keys"),
        (lambda s: s.keep_network(train, build, size=2), TypeError, "must return a network, got d"),
        (lambda s: Store(s.folder, data=["gone"]), FileNotFoundError, "no data at gone"),
        (lambda s: Store("/dev/null/x"), OSError, "the results folder /dev/null/x cannot be wri"),
    ],
)
def test_bad_input(tmp_path, call, error, message):
    with pytest.raises(error) as caught:
        call(Store(tmp_path))
    assert message in str(caught.value)
    assert files(tmp_path) == []


def test_weights_that_do_not_fit_are_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="Error.s. in loading state_dict"):
        Store(tmp_path).keep_network(network, two_layers, seed=0)


def two_layers() -> nn.Module:
    """Another shape."""
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
