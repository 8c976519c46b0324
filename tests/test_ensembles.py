"""Many networks in one batched pass: what one after the other would give."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import symscope as ss
from symscope import ensembles
from symscope.datasets import Split, Splits
from symscope.ensembles import fit_many
from symscope.training import fit, seeded


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def splits(classes: bool) -> Splits:
    """Data whose last batch is short, and whose validation has no one best epoch for all."""

    def split(size: int, seed: int) -> Split:
        inputs = random(size, 6, seed=seed)
        noisy = inputs[:, :3] + 0.5 * random(size, 3, seed=seed + 1)
        return Split(inputs, noisy.argmax(1) if classes else noisy.sum(1, keepdim=True))

    return Splits("small", split(130, 0), split(70, 2), split(10, 4))


def networks(outputs: int, count: int = 3) -> list[nn.Module]:
    return [
        seeded(lambda: ss.models.MLP((6, 16, outputs), bias=True), seed) for seed in range(count)
    ]


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One batched pass whatever the rule says; lists how many networks were in each."""
    passes = []
    real = ensembles._fit_batched

    def fit_batched(models: list[nn.Module], *arguments, **options):
        passes.append(len(models))
        return real(models, *arguments, **options)

    monkeypatch.setattr(ensembles, "batching_pays", lambda _: True)
    monkeypatch.setattr(ensembles, "_fit_batched", fit_batched)
    return passes


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("classes", [True, False])
def test_a_batched_pass_is_one_after_the_other(batched, schedule, classes):
    data, seeds = splits(classes), [5, 6, 9]
    options = {"epochs": 12, "batch_size": 32, "lr": 0.02, "schedule": schedule}
    options["weight_decay"] = 1e-3
    together, alone = networks(3 if classes else 1), networks(3 if classes else 1)
    together[0].eval()  # as a network is after another training
    fits = fit_many(together, data, seeds=seeds, **options)
    assert batched == [3]
    for model, found, single, seed in zip(together, fits, alone, seeds, strict=True):
        wanted = fit(single, data, seed=seed, **options)
        assert found.best_epoch == wanted.best_epoch
        torch.testing.assert_close(
            torch.tensor(found.history.to_numpy()),
            torch.tensor(wanted.history.to_numpy()),
            rtol=1e-4,
            atol=1e-5,
            equal_nan=True,
        )
        assert list(found.history) == list(wanted.history)
        assert found.history.dtypes.equals(wanted.history.dtypes)
        for name, weight in single.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-3, atol=1e-5)
        assert not any(module.training for module in model.modules())
        assert all(parameter.is_leaf for parameter in model.parameters())
    assert len({found.best_epoch for found in fits}) > 1, "each has its own best epoch"


def test_the_order_of_samples_is_each_network_s_own(batched):
    data = splits(True)
    twins = [copy.deepcopy(networks(3)[0]) for _ in range(3)]
    fit_many(twins, data, seeds=[1, 1, 2], epochs=2, batch_size=32)
    first, second, third = (torch.cat([p.flatten() for p in m.parameters()]) for m in twins)
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, third)


def test_images_and_a_loss_of_ones_own(batched):
    images, targets = random(60, 5, 5), torch.arange(60) % 3
    part = Split(images, targets)
    data = Splits("images", part, part, part)

    def smooth(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, wanted, label_smoothing=0.2)

    together, alone = (
        [seeded(lambda: ss.models.MLP((25, 8, 3)), seed) for seed in (0, 1)] for _ in range(2)
    )
    options = {"epochs": 3, "batch_size": 16, "loss": smooth}
    fits = fit_many(together, data, seeds=[0, 1], **options)
    for found, single, seed in zip(fits, alone, (0, 1), strict=True):
        wanted = fit(single, data, seed=seed, **options)
        assert found.history.train_loss.tolist() == pytest.approx(wanted.history.train_loss)


@pytest.mark.parametrize(
    ("build", "count", "on", "pays"),
    [
        (ss.models.o5_mlp, 5, "cpu", True),
        (ss.models.o5_mlp, 1, "cpu", False),
        (ss.models.mnist_mlp, 5, "cpu", False),
        (ss.models.mnist_mlp, 5, "cuda", True),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), 5, "cuda", False),
    ],
)
def test_one_pass_is_taken_only_where_it_pays(monkeypatch, build, count, on, pays):
    monkeypatch.setattr(ensembles, "device", lambda: torch.device(on))
    assert ensembles.batching_pays([build() for _ in range(count)]) == pays


def test_networks_are_fitted_singly_elsewhere(monkeypatch):
    monkeypatch.setattr(ensembles, "batching_pays", lambda _: False)
    data = splits(True)
    together, alone = networks(3), networks(3)
    fits = fit_many(together, data, seeds=[1, 2, 3], epochs=3)
    for model, found, single, seed in zip(together, fits, alone, (1, 2, 3), strict=True):
        assert found.history.equals(fit(single, data, seed=seed, epochs=3).history)
        for one, other in zip(model.parameters(), single.parameters(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("pays", [True, False])
def test_bad_input(monkeypatch, pays):
    monkeypatch.setattr(ensembles, "batching_pays", lambda _: pays)
    data = splits(True)
    for models, seeds in (([], []), (networks(3), [0, 1])):
        with pytest.raises(ValueError, match="there must be networks, and a seed for each; got"):
            fit_many(models, data, seeds=seeds, epochs=1)
    other = ss.models.MLP((6, 16, 3), "tanh", bias=True)  # the same shapes
    with pytest.raises(ValueError, match="network 2 differs from network 0"):
        fit_many([*networks(3, 2), other], data, seeds=[0, 1, 2], epochs=1)
    for options, message in (
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1, "batch_size": 0}, "batch_size must be at least 1"),
        ({"epochs": 1, "schedule": "step"}, "schedule must be one of constant, cosine"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_many(networks(3), data, seeds=[0, 1, 2], **options)
    models = networks(3)
    with torch.no_grad():
        next(models[1].parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="training loss is not finite in epoch 1") as caught:
        fit_many(models, data, seeds=[0, 1, 2], epochs=1)
    assert caught.value.__notes__ == ["in network 1"]
