"""Fitting: seeds, the best epoch, options, evaluation, and layer by layer."""

import pytest
import torch
from helpers import labels, random, splits
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import studies
from studies.data.splits import Split, Splits
from studies.networks.training import evaluate, fit, seeded


def weights_of(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().cpu()


def test_a_seeded_network_is_reproducible_and_leaves_the_global_state():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, same, other = (seeded(studies.networks.o5_mlp, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(weights_of(seeded(studies.networks.o5_mlp, 3)), weights_of(first))
    assert torch.equal(weights_of(first), weights_of(same))
    assert not torch.equal(weights_of(first), weights_of(other))


def test_a_seed_leaves_the_state_of_every_gpu(monkeypatch):
    states = {0: "first", 1: "second"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda place: states[place])
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, place: states.update({place: state})
    )
    monkeypatch.setattr(
        torch.cuda, "manual_seed_all", lambda seed: states.update({0: seed, 1: seed})
    )
    within = seeded(lambda: [nn.Linear(1, 1), states.copy()], 7)
    assert within[1] == {0: 7, 1: 7} and states == {0: "first", 1: "second"}


# Fitting


def trained(data: object, seed: int = 0, **options) -> tuple[nn.Module, studies.networks.Fit]:
    model = seeded(lambda: studies.networks.MLP((6, 8, 3)), 0)
    return model, fit(model, data, **{"epochs": 4, "batch_size": 8, "seed": seed} | options)


def test_one_seed_gives_the_same_weights_to_the_last_bit_and_another_does_not():
    torch.manual_seed(5)
    first, report = trained(splits())
    torch.manual_seed(6)
    state = torch.get_rng_state()
    same, again = trained(splits())
    assert torch.equal(torch.get_rng_state(), state)
    other, _ = trained(splits(), seed=1)
    assert torch.equal(weights_of(first), weights_of(same))
    assert report.history.equals(again.history)
    assert not torch.equal(weights_of(first), weights_of(other))


def test_training_learns_and_goes_with_the_options():
    plain, report = trained(splits(), epochs=30, lr=0.02)
    losses = report.history.train_loss
    assert losses.iloc[-1] < 0.5 * losses.iloc[0]
    decayed, _ = trained(splits(), epochs=30, lr=0.02, weight_decay=0.3)
    assert weights_of(decayed).norm() < 0.7 * weights_of(plain).norm()


def test_every_epoch_sees_each_sample_once_in_an_order_of_its_own():
    marked = Split(torch.arange(10.0)[:, None] + 1, torch.zeros(10, 1))
    model = nn.Linear(1, 1)
    seen = []

    def record(module: nn.Module, inputs: tuple[Tensor], _: object) -> None:
        if module.training:
            seen.extend(inputs[0].flatten().tolist())

    model.register_forward_hook(record)
    fit(model, Splits("marked", marked, marked, marked), epochs=3, batch_size=4)
    epochs = [seen[:10], seen[10:20], seen[20:]]
    assert all(sorted(epoch) == list(range(1, 11)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != sorted(epochs[0])


def test_inputs_may_be_fresh_each_epoch_and_each_epoch_looked_at():
    rows = Split(torch.zeros(6, 1), torch.zeros(6, 1))
    data, model = Splits("rows", rows, rows, rows), nn.Linear(1, 1)
    seen, looked = [], []

    def record(module: nn.Module, inputs: tuple[Tensor], _: object) -> None:
        if module.training:
            seen.append(inputs[0].flatten().tolist())

    def look(epoch: int) -> None:
        looked.append((epoch, len(seen), weights_of(model)))

    model.register_forward_hook(record)
    fresh = lambda epoch: torch.full((6, 1), float(epoch))  # noqa: E731
    fit(model, data, epochs=3, batch_size=6, keep="last", fresh=fresh, after=look)
    assert seen == [[1.0] * 6, [2.0] * 6, [3.0] * 6]
    assert [each[:2] for each in looked] == [(1, 1), (2, 2), (3, 3)]
    assert torch.equal(looked[-1][2], weights_of(model))
    assert not torch.equal(looked[0][2], looked[1][2])


def test_the_order_of_samples_shares_no_numbers_with_the_weights():
    """A network and an order from one seed: else the first weights would foretell the order."""
    rows = Split(torch.arange(50.0)[:, None], torch.zeros(50, 1))
    inputs: list[Tensor] = []
    model = seeded(lambda: nn.Linear(1, 1), 7)
    model.register_forward_hook(lambda _, given, __: inputs.append(given[0].cpu()))
    fit(model, Splits("rows", rows, rows, rows), epochs=1, batch_size=50, seed=7)
    seen = inputs[0].flatten().long().tolist()
    raw = torch.randperm(50, generator=torch.Generator().manual_seed(7)).tolist()
    assert sorted(seen) == list(range(50)) and seen != raw


def test_history_has_a_row_an_epoch_and_its_columns_are_what_they_say():
    data = splits()
    model, report = trained(data, epochs=5, batch_size=64)
    history = report.history
    columns = ["epoch", "train_loss", "validation_loss", "validation_accuracy"]
    assert list(history.columns) == columns
    assert history.epoch.tolist() == [1, 2, 3, 4, 5]
    # One batch an epoch: the first training loss is that of the fresh network.
    fresh = seeded(lambda: studies.networks.MLP((6, 8, 3)), 0)
    first = nn.functional.cross_entropy(fresh(data.train.inputs), data.train.targets)
    assert history.train_loss[0] == pytest.approx(float(first.detach()), rel=1e-5)


def test_the_mean_training_loss_weighs_a_last_short_batch_by_its_size(monkeypatch):
    data = splits()
    batches = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        value = nn.functional.cross_entropy(outputs, targets)
        if value.requires_grad:
            batches.append((float(value.detach()), len(outputs)))
        return value

    monkeypatch.setattr(studies.networks.training, "_loss_for", lambda targets: loss)
    _, report = trained(data, epochs=1, batch_size=16)
    assert [size for _, size in batches] == [16, 16, 8]
    mean = sum(value * size for value, size in batches) / 40
    assert report.history.train_loss[0] == pytest.approx(mean)


class Recorder:
    """Every epoch's outputs on the validation split, caught as the network is evaluated."""

    def __init__(self, model: nn.Module):
        self.outputs: list[Tensor] = []
        model.register_forward_hook(self.record)

    def record(self, model: nn.Module, _: object, outputs: Tensor) -> None:
        if not model.training:
            self.outputs.append(outputs.detach().cpu().clone())


class Drift(nn.Module):
    """Logits (0, x + b): training pushes b up, past the place where validation is best."""

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor(-3.0))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(inputs), inputs + self.b], 1)


def drifting() -> Splits:
    """Accuracy is best near b = 0, in the middle; the loss falls to the end, for five outliers."""
    train = Split(torch.zeros(6, 1), torch.ones(6, dtype=torch.long))
    inputs = torch.tensor([-0.5, -0.5, 0.5, 0.5, *[-100.0] * 5])[:, None]
    validation = Split(inputs, torch.tensor([0, 0, 1, 1, *[1] * 5]))
    return Splits("drifting", train, validation, train)


def test_it_ends_as_its_last_epoch_where_that_is_asked_for():
    data, model = drifting(), Drift()
    recorder = Recorder(model)
    report = fit(model, data, epochs=30, lr=0.2, keep="last")
    assert report.best_epoch < 30
    assert torch.equal(model(data.validation.inputs.to(model.b.device)).cpu(), recorder.outputs[-1])
    with pytest.raises(ValueError, match="keep must be one of best, last; got 'first'"):
        fit(Drift(), data, epochs=1, keep="first")


def test_a_classifier_ends_as_its_most_accurate_epoch_and_not_as_its_last():
    data, model = drifting(), Drift()
    recorder = Recorder(model)
    report = fit(model, data, epochs=30, lr=0.2)
    epochs = list(recorder.outputs)
    assert len(epochs) == 30
    hits = [int((out.argmax(1) == data.validation.targets).sum()) for out in epochs]
    best = hits.index(max(hits))
    assert 0 < best < 29 and max(hits) > max(hits[0], hits[-1])  # else the case shows nothing
    losses = [float(nn.functional.cross_entropy(out, data.validation.targets)) for out in epochs]
    assert losses.index(min(losses)) == 29  # the loss would have chosen another epoch
    assert report.best_epoch == best + 1
    assert report.history.validation_accuracy.tolist() == [count / 9 for count in hits]
    assert report.history.validation_loss.tolist() == pytest.approx(losses)
    assert torch.equal(model(data.validation.inputs.to(model.b.device)).cpu(), epochs[best])
    loss, accuracy = evaluate(model, data.validation)
    assert accuracy == max(hits) / 9 and loss == pytest.approx(losses[best])


def test_a_regressor_ends_as_the_epoch_of_its_lowest_loss():
    inputs = torch.linspace(-1, 1, 16)[:, None]
    train, validation = Split(inputs, 2 * inputs), Split(inputs, inputs)
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    recorder = Recorder(model)
    # The slope grows from 0 towards 2 by about 0.1 an epoch and is right for validation at 1.
    report = fit(model, Splits("slopes", train, validation, train), epochs=18, lr=0.1)
    losses = [float((out - inputs).square().mean()) for out in recorder.outputs]
    best = losses.index(min(losses))
    assert 4 < best < 14 and losses[-1] > 10 * min(losses)
    assert report.best_epoch == best + 1
    assert float(model.weight.detach()) == pytest.approx(1.0, abs=0.1)
    assert report.history.validation_loss.tolist() == pytest.approx(losses, rel=1e-4, abs=1e-9)
    assert report.history.validation_accuracy.isna().all()


def test_the_first_of_equal_epochs_is_kept():
    data = drifting()
    never_better = Split(data.validation.inputs[-5:], data.validation.targets[-5:])
    model = Drift()
    report = fit(model, Splits("flat", data.train, never_better, data.test), epochs=4, lr=0.2)
    assert report.best_epoch == 1


class Sealed:
    """Splits whose test part may not be opened."""

    def __init__(self, data: Splits):
        self.train, self.validation = data.train, data.validation

    @property
    def test(self) -> Split:
        raise AssertionError("training looked at the test split")


def test_the_test_split_is_never_touched():
    plain, report = trained(splits())
    sealed, again = trained(Sealed(splits()))
    assert torch.equal(weights_of(plain), weights_of(sealed))
    data = splits()
    data.test.inputs.fill_(float("nan"))
    poisoned, _ = trained(data)
    assert torch.equal(weights_of(plain), weights_of(poisoned))
    assert report.history.equals(again.history)


def learning_rates(schedule: str, **options) -> tuple[list[float], float]:
    """The rate of every step, and the one that the optimiser is left with."""
    rates, optimizers = [], []

    def record(optimizer: torch.optim.Optimizer, *_: object) -> None:
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizers.append(optimizer)

    handle = register_optimizer_step_post_hook(record)
    try:
        trained(splits(), schedule=schedule, lr=0.01, **options)
    finally:
        handle.remove()
    return rates, float(optimizers[-1].param_groups[0]["lr"])


def test_the_constant_schedule_is_constant():
    rates, last = learning_rates("constant", epochs=3, batch_size=16)
    assert rates == [0.01] * 9 and last == 0.01


def test_the_cosine_schedule_falls_to_zero_over_all_steps():
    rates, last = learning_rates("cosine", epochs=3, batch_size=16)
    cosine = torch.cos(torch.pi * torch.arange(9, dtype=torch.float64) / 9)
    assert rates == pytest.approx((0.005 * (1 + cosine)).tolist())
    assert last == pytest.approx(0.0, abs=1e-12)


def test_a_fitted_network_is_in_eval_mode_on_the_device_and_trained_in_training_mode():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)), 0)
    modes = []
    model[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    fit(model.eval(), splits(), epochs=2, batch_size=40)
    assert modes == [True, False, True, False]
    assert not any(module.training for module in model.modules())
    assert next(model.parameters()).device.type == studies.networks.device().type


def test_evaluation_is_the_mean_over_samples_whatever_the_batches():
    size = 4096 + 7  # more than one batch, the last one short
    inputs = random(size, 6)
    data = Split(inputs, labels(inputs))
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)), 0).train()
    loss, accuracy = evaluate(model, data)
    outputs = model.eval()(inputs).detach()
    assert loss == pytest.approx(float(nn.functional.cross_entropy(outputs, data.targets)))
    assert accuracy == pytest.approx(float((outputs.argmax(1) == data.targets).double().mean()))


def test_evaluation_puts_every_mode_back():
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)).train()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, splits().validation)
    assert [module.training for module in model] == [True, True, False] and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("lr", [0.01, 1e30])
def test_a_fitted_network_comes_back_to_its_own_device_even_from_a_failure(monkeypatch, lr):
    # "cpu:0" stands for an accelerator: another name of the one device that is here.
    monkeypatch.setattr(studies.networks.training, "device", lambda: torch.device("cpu:0"))
    places = []

    class Recording(studies.networks.MLP):
        def to(self, place: torch.device) -> nn.Module:
            places.append(str(place))
            return super().to(place)

    model = seeded(lambda: Recording((6, 8, 3)), 0)
    try:
        fit(model, splits(), epochs=3, lr=lr)
    except ValueError as error:
        assert lr > 1 and "not finite" in str(error)
    assert places == ["cpu:0", "cpu"] and not model.training


@pytest.mark.parametrize(("width", "expected"), [(8, 1), (3000, 2)])
def test_a_small_network_takes_one_thread_and_gives_the_others_back(width, expected):
    model, threads = seeded(lambda: studies.networks.MLP((6, width, width, 3)), 0), set()
    model.register_forward_hook(
        lambda module, *_: threads.add(torch.get_num_threads()) if module.training else None
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        fit(model, splits(), epochs=1, batch_size=8)
        assert threads == {expected} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# Layer by layer


def greedy(widths: tuple[int, ...] = (6, 8, 7, 3), **options):
    model = seeded(lambda: studies.networks.MLP(widths), 0)
    given = {"epochs": 5, "batch_size": 8, "seed": 3, "lr": 0.02} | options
    return model, studies.networks.fit_layerwise(model, splits(), **given)


def test_the_first_layer_is_trained_without_those_above():
    # So its weights do not depend on how deep the network is, but for the last one's output layer.
    three, fits = greedy((6, 8, 7, 5, 3))
    two, _ = greedy((6, 8, 7, 3))
    assert len(fits) == 3
    assert torch.equal(three.layers[0].weight, two.layers[0].weight)
    assert not torch.equal(three.layers[2].weight[:5], two.layers[2].weight[:5])


def test_each_layer_is_fitted_on_the_features_of_the_finished_ones():
    model, (_, second) = greedy()
    untrained = seeded(lambda: studies.networks.MLP((6, 8, 7, 3)), 0)
    data = splits()
    parts = {
        name: Split(model.layers[:2](part.inputs).detach(), part.targets)
        for name, part in (("train", data.train), ("validation", data.validation))
    }
    data = Splits("features", test=data.test, **parts)
    stage = untrained.layers[2:]
    again = fit(stage, data, epochs=5, batch_size=8, seed=3, lr=0.02)
    assert torch.equal(stage[0].weight, model.layers[2].weight)
    assert torch.equal(stage[2].weight, model.layers[4].weight)
    assert again.history.equals(second.history)


def test_one_hidden_layer_by_itself_is_ordinary_training():
    model, (report,) = greedy((6, 8, 3), epochs=4, lr=1e-3)
    plain, expected = trained(splits(), seed=3)
    assert torch.equal(weights_of(model), weights_of(plain))
    assert report.history.equals(expected.history)


def test_layer_by_layer_learns_and_is_reproducible():
    model, fits = greedy(epochs=30)
    assert fits[-1].history.train_loss.iloc[-1] < 0.7 * fits[0].history.train_loss.iloc[0]
    loss, accuracy = evaluate(model, splits().validation)
    assert accuracy == fits[-1].history.validation_accuracy.max() and not model.training
    again, _ = greedy(epochs=30)
    assert torch.equal(weights_of(model), weights_of(again))


def test_a_network_without_hidden_layers_is_not_trained_layer_by_layer():
    with pytest.raises(ValueError, match="no hidden layer"):
        greedy((6, 3))
