"""Fitting a network: one plain loop, the best model chosen on validation data."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from symscope._checks import choice, whole
from symscope._draws import stream
from symscope.extract.modes import device_of, evaluation_mode

from ..data.splits import Split, Splits

if TYPE_CHECKING:
    import pandas

    from .models import MLP

SCHEDULES = ("constant", "cosine")
HISTORY = ["epoch", "train_loss", "validation_loss", "validation_accuracy"]
EVALUATED_AT_ONCE = 4096


class Fit(NamedTuple):
    """What a training leaves beside the model itself."""

    history: pandas.DataFrame  # epoch, train_loss, validation_loss, validation_accuracy
    best_epoch: int  # counted from 1
    seconds: float


def device() -> torch.device:
    """The first accelerator that torch sees, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


Network = TypeVar("Network", bound=nn.Module)


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """A network built from its own seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def default_loss(targets: Tensor) -> Callable[..., Tensor]:
    """Cross-entropy for integer labels, mean squared error for values."""
    if targets.is_floating_point():
        return nn.functional.mse_loss
    return nn.functional.cross_entropy


@torch.no_grad()
def evaluate(
    model: nn.Module, split: Split, loss: Callable[..., Tensor] | None = None
) -> tuple[float, float]:
    """Mean loss and accuracy on a split; accuracy is NaN for regression.

    The model runs in eval mode and on its own device, and gets its modes back.

    Args:
        model: any module that takes the split's inputs.
        split: inputs (N, ...) and targets (N, ...); integer targets are labels.
        loss: default cross-entropy for labels, mean squared error for values.
    """
    loss = loss or default_loss(split.targets)
    classify = not split.targets.is_floating_point()
    where = device_of(model, split.inputs.device)
    total, hits = 0.0, 0
    parts = (part.split(EVALUATED_AT_ONCE) for part in split)
    with evaluation_mode(model):
        for inputs, targets in zip(*parts, strict=True):
            outputs, targets = model(inputs.to(where)), targets.to(where)
            total += float(loss(outputs, targets)) * len(inputs)
            if classify:
                hits += int((outputs.argmax(-1) == targets).sum())
    size = len(split.inputs)
    return total / size, hits / size if classify else float("nan")


def fit(
    model: nn.Module,
    splits: Splits,
    *,
    loss: Callable[..., Tensor] | None = None,
    epochs: int,
    batch_size: int = 512,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    keep: str = "best",
    seed: int = 0,
    progress: bool = False,
) -> Fit:
    """Train with Adam; the model ends with the weights of its best validation epoch, or the last.

    Labels (integer targets) are fitted with cross-entropy and selected by accuracy; values by
    mean squared error and selected by that loss. The test split is never looked at. The model
    moves to the device found by :func:`device` and is returned in eval mode there.

    Args:
        model: trained in place.
        splits: data in memory, with ``train`` and ``validation``.
        loss: of outputs and targets; default cross-entropy for labels, mean squared error for
            values.
        epochs: passes over the training split.
        batch_size: samples a step; default 512.
        lr: Adam's learning rate; default 1e-3.
        weight_decay: L2 penalty inside Adam, as torch's ``Adam(weight_decay=...)``; default 0.
        schedule: "constant" (default), or "cosine", to zero over all steps.
        keep: the weights of the "best" validation epoch (default), or of the "last" one.
        seed: for the order of the samples, by a stream of its own
            (:func:`studies.data.splits.stream`): a network built from the same seed shares no
            random numbers with it. Default 0.
        progress: show a progress bar; default False.

    Raises:
        ValueError: for an unknown schedule or ``keep``, epochs or a batch size that is no whole
            number of at least 1, or a training or validation loss that is not finite (training
            stops at that epoch).
    """
    import pandas
    from tqdm import tqdm

    choice("schedule", schedule, SCHEDULES)
    choice("keep", keep, ("best", "last"))
    epochs, batch_size = (
        whole("epochs", epochs),
        whole("batch_size", batch_size),
    )
    order = stream(seed, "order")
    loss = loss or default_loss(splits.train.targets)
    classify = not splits.train.targets.is_floating_point()
    train = Split(*(part.to(device()) for part in splits.train))
    model.to(device())
    steps = epochs * -(-len(train.inputs) // batch_size)
    optimizer, scheduler = optimization(model.parameters(), lr, weight_decay, schedule, steps)
    history, best = [], Best()
    started = time.perf_counter()
    for epoch in tqdm(range(1, epochs + 1), disable=not progress, unit="epoch", leave=False):
        batches = torch.randperm(len(train.inputs), generator=order).split(batch_size)
        trained = one_epoch(model, train, batches, loss, optimizer, scheduler)
        check_finite("training", trained, epoch, lr)
        validated, accuracy = evaluate(model, splits.validation, loss)
        check_finite("validation", validated, epoch, lr)
        history.append((epoch, trained, validated, accuracy))
        best.offer(accuracy if classify else -validated, epoch, model)
    if keep == "best":
        model.load_state_dict(best.weights)
    model.eval()
    return Fit(
        pandas.DataFrame(history, columns=HISTORY),
        best.epoch,
        time.perf_counter() - started,
    )


def optimization(
    parameters: Iterable[Tensor],
    lr: float,
    weight_decay: float,
    schedule: str,
    steps: int,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    """Adam, and what lowers its rate over the steps, if anything does."""
    optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    if schedule == "constant":
        return optimizer, None
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def one_epoch(
    model: nn.Module,
    split: Split,
    batches: Iterable[Tensor],
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
) -> float:
    """One step of the optimizer for each batch of rows; returns the mean loss over the split."""
    model.train()
    total = 0.0
    for rows in batches:
        rows = rows.to(split.inputs.device)
        # index_select: several times as fast as inputs[rows] on a CPU.
        value = loss(model(split.inputs.index_select(0, rows)), split.targets[rows])
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        total += float(value.detach()) * len(rows)
    return total / len(split.inputs)


def check_finite(split: str, loss: float, epoch: int, lr: float) -> None:
    """Stop a training that has gone astray; ``split`` is "training" or "validation"."""
    if not loss < float("inf"):
        cause = ", or look for NaN in the validation data" if split == "validation" else ""
        raise ValueError(f"the {split} loss is not finite in epoch {epoch}: lower lr ({lr}){cause}")


class Best:
    """The weights of the epoch with the highest score, the first of equals."""

    def __init__(self):
        self.score, self.epoch, self.weights = float("-inf"), 0, {}

    def offer(self, score: float, epoch: int, model: nn.Module) -> None:
        """Keep a copy of the model's weights if no earlier epoch scored as high."""
        if not self.epoch or score > self.score:
            self.score, self.epoch = score, epoch
            self.weights = copy.deepcopy(model.state_dict())


def fit_layerwise(
    model: MLP, splits: Splits, *, epochs: int, seed: int = 0, **options: Any
) -> list[Fit]:
    """Train an MLP greedily, one hidden layer after the other from the input on.

    Each hidden layer is fitted together with a linear output layer of its own, on the features of
    the layers below it, which stay as they are. The last one's output layer is the network's;
    the others' are thrown away. Source: the supervised greedy training of Bengio et al. 2007
    (bengio2007greedy).

    Args:
        model: trained in place.
        splits: data in memory, with ``train`` and ``validation``.
        epochs: passes over the training split for each hidden layer.
        seed: for the order of the samples and for the weights of the layers thrown away.
        options: as :func:`fit` takes them.

    Returns:
        One a hidden layer, in their order.

    Raises:
        ValueError: for a network without a hidden layer, and what :func:`fit` refuses.
    """
    layers: list[Any] = list(model.layers)
    linears, activations = layers[0::2], layers[1::2]
    if not activations:
        raise ValueError("the network has no hidden layer to train: its widths are two numbers")
    fits = []
    for place, activation in enumerate(activations):
        layer, last = linears[place], place == len(activations) - 1
        shape = layer.out_features, model.widths[-1], model.bias
        # Not the seed itself: the layer may have been drawn from it, and would share its numbers.
        own = seed + (place + 1) * 1_000_003
        head = linears[-1] if last else seeded(partial(nn.Linear, *shape), own)
        stage = nn.Sequential(nn.Flatten(), layer, activation, head)
        fits.append(fit(stage, splits, epochs=epochs, seed=seed, **options))
        if not last:
            splits = replace(
                splits,
                train=features(stage[:-1], splits.train),
                validation=features(stage[:-1], splits.validation),
            )
    model.eval()
    return fits


@torch.no_grad()
def features(layers: nn.Module, split: Split) -> Split:
    """A split with its inputs replaced by what some layers make of them."""
    where = device_of(layers, split.inputs.device)
    parts = [layers(inputs.to(where)) for inputs in split.inputs.split(EVALUATED_AT_ONCE)]
    return split._replace(inputs=torch.cat(parts))
