"""Fitting a network: one plain loop, the best model chosen on validation data."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .._checks import choice

if TYPE_CHECKING:
    import pandas

    from ..data.splits import Split, Splits
    from .models import MLP

SCHEDULES = ("constant", "cosine")
HISTORY = ["epoch", "train_loss", "validation_loss", "validation_accuracy"]


class Steps(NamedTuple):
    """What a training by steps leaves beside the model itself."""

    losses: Tensor  # (steps,) float64: each step's loss with its penalty, before the step
    seconds: float


class Fit(NamedTuple):
    """What a training leaves beside the model itself."""

    history: pandas.DataFrame  # epoch, train_loss, validation_loss, validation_accuracy
    best_epoch: int  # counted from 1
    seconds: float


def device() -> torch.device:
    """The first accelerator that torch sees, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network built from its own seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def default_loss(targets: Tensor) -> Callable[..., Tensor]:
    """Cross-entropy for integer labels, mean squared error for values."""
    if targets.is_floating_point():
        return nn.functional.mse_loss
    return nn.functional.cross_entropy


def evaluate(
    model: nn.Module, split: Split, loss: Callable[..., Tensor] | None = None
) -> tuple[float, float]:
    """Mean loss and accuracy on a split, in eval mode; accuracy is NaN for regression."""
    loss = loss or default_loss(split.targets)
    where = next(model.parameters()).device
    model.eval()
    total, hits = 0.0, 0
    with torch.no_grad():
        for inputs, targets in zip(
            split.inputs.split(4096), split.targets.split(4096), strict=True
        ):
            outputs, targets = model(inputs.to(where)), targets.to(where)
            total += float(loss(outputs, targets)) * len(inputs)
            if not targets.is_floating_point():
                hits += int((outputs.argmax(-1) == targets).sum())
    accuracy = float("nan") if split.targets.is_floating_point() else hits / len(split.inputs)
    return total / len(split.inputs), accuracy


def check_options(epochs: int, batch_size: int, schedule: str) -> None:
    """Refuse what no training can be run with."""
    choice("schedule", schedule, SCHEDULES)
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_finite(split: str, loss: float, epoch: int, lr: float) -> None:
    """Stop a training that has gone astray; ``split`` is "training" or "validation"."""
    if not loss < float("inf"):
        cause = ", or look for NaN in the validation data" if split == "validation" else ""
        raise ValueError(f"the {split} loss is not finite in epoch {epoch}: lower lr ({lr}){cause}")


def optimization(
    parameters: Iterable[Tensor], lr: float, weight_decay: float, schedule: str, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    """Adam, and what lowers its rate over the steps, if anything does."""
    optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    if schedule == "constant":
        return optimizer, None
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


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
    seed: int = 0,
    progress: bool = False,
) -> Fit:
    """Train with Adam; the model ends with the weights of its best validation epoch.

    Labels (integer targets) are fitted with cross-entropy and selected by accuracy; values by
    mean squared error and selected by that loss. The test split is never looked at. The model
    moves to the device found by :func:`device` and is returned to eval mode there.

    Args:
        model: trained in place.
        splits: data in memory, with ``train`` and ``validation``.
        loss: default as above.
        epochs: passes over the training split.
        batch_size: samples a step; default 512.
        lr: Adam's learning rate; default 1e-3.
        weight_decay: L2 penalty inside Adam, as torch's ``Adam(weight_decay=...)``; default 0.
        schedule: "constant" (default), or "cosine", to zero over all steps.
        seed: for the order of the samples.
        progress: show a progress bar; default False.

    Raises:
        ValueError: for an unknown schedule, fewer than 1 epoch, a batch size below 1, or a
            training or validation loss that is not finite (training stops at that epoch).
    """
    import pandas
    from tqdm import tqdm

    check_options(epochs, batch_size, schedule)
    classify = not splits.train.targets.is_floating_point()
    loss = loss or default_loss(splits.train.targets)
    where = device()
    model.to(where)
    inputs, targets = (part.to(where) for part in splits.train)
    steps = epochs * -(-len(inputs) // batch_size)
    optimizer, scheduler = optimization(model.parameters(), lr, weight_decay, schedule, steps)
    order = torch.Generator().manual_seed(seed)
    history, best, best_weights = [], None, None
    started = time.perf_counter()
    for epoch in tqdm(range(1, epochs + 1), disable=not progress, unit="epoch", leave=False):
        model.train()
        total = 0.0
        for places in torch.randperm(len(inputs), generator=order).split(batch_size):
            places = places.to(where)
            # index_select: several times as fast as inputs[places] on a CPU.
            value = loss(model(inputs.index_select(0, places)), targets[places])
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            if scheduler:
                scheduler.step()
            total += float(value.detach()) * len(places)
        check_finite("training", total, epoch, lr)
        validation_loss, accuracy = evaluate(model, splits.validation, loss)
        check_finite("validation", validation_loss, epoch, lr)
        history.append((epoch, total / len(inputs), validation_loss, accuracy))
        score = accuracy if classify else -validation_loss
        if best is None or score > best[0]:
            best, best_weights = (score, epoch), copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    model.eval()
    return Fit(pandas.DataFrame(history, columns=HISTORY), best[1], time.perf_counter() - started)


def fit_steps(
    head: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    steps: int = 700,
    batch_size: int = 256,
    lr: float = 3e-3,
    clip: float = 1.0,
    penalty: float = 1.0,
    seed: int = 0,
) -> Steps:
    """Train an unfolded network on a task, by Adam with a cosine schedule to zero.

    The batches are drawn without replacement, and afresh when the data are used up. The network
    stays on its device, where the data should be too, and ends in eval mode.

    Args:
        head: a task of :mod:`symscope.weights.tasks`: it has ``loss(inputs, targets)`` and a
            ``network`` with ``penalty()``. Trained in place.
        inputs: (N, ...).
        targets: (N, ...), what the task compares with; None (default) for reconstruction.
        steps: default 700.
        batch_size: samples a step; default 256, at most N.
        lr: Adam's first learning rate; default 3e-3.
        clip: largest norm of the gradient; default 1.
        penalty: weight of the dictionary's penalty beside the loss; default 1.
        seed: for the order of the samples.

    Raises:
        ValueError: for steps or a batch size below 1, fewer samples than a batch, or a learning
            rate or clip that is not positive.
        FloatingPointError: if a loss or gradient is not finite. Training stops at once, the
            message says at which step, and the network is left as it was at the last step where
            both were finite.
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, value in (("lr", lr), ("clip", clip)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    if len(inputs) < batch_size:
        raise ValueError(f"inputs must be at least one batch of {batch_size}, got {len(inputs)}")
    weights = [p for p in head.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    state = list(head.state_dict().values())  # these share memory with the network
    good = [value.clone() for value in state]
    losses = torch.zeros(steps, dtype=torch.float64)
    left: list[Tensor] = []
    started = time.perf_counter()
    head.train()
    for step in range(steps):
        if not left:
            left = list(torch.randperm(len(inputs), generator=order).split(batch_size))
            left = [places for places in left if len(places) == batch_size]
        places = left.pop().to(inputs.device)
        batch = inputs.index_select(0, places)
        wanted = None if targets is None else targets.index_select(0, places)
        value = head.loss(batch, wanted) + penalty * head.network.penalty()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(weights, clip)
        losses[step] = value.detach()
        if not torch.isfinite(value.detach() + norm):
            with torch.no_grad():
                torch._foreach_copy_(state, good)
            head.eval()
            raise FloatingPointError(
                f"the loss or its gradient is not finite at step {step + 1} of {steps}; the "
                f"network is as it was at step {max(step, 1)}. Lower lr ({lr:g}), or look for NaN "
                "in the data"
            )
        with torch.no_grad():
            torch._foreach_copy_(good, state)
        optimizer.step()
        scheduler.step()
    head.eval()
    return Steps(losses, time.perf_counter() - started)


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
    linears, activations = list(model.layers[0::2]), list(model.layers[1::2])
    if not activations:
        raise ValueError("the network has no hidden layer to train: its widths are two numbers")
    fits = []
    for place, activation in enumerate(activations):
        layer, last = linears[place], place == len(activations) - 1
        shape = layer.out_features, model.widths[-1], model.bias
        # Not the seed itself: the layer may have been drawn from it, and would share its numbers.
        own = seed + (place + 1) * 1_000_003
        head = linears[-1] if last else seeded(lambda s=shape: nn.Linear(*s), own)
        stage = nn.Sequential(nn.Flatten(), layer, activation, head)
        fits.append(fit(stage, splits, epochs=epochs, seed=seed, **options))
        if not last:
            splits = replace(
                splits,
                train=_features(stage[:-1], splits.train),
                validation=_features(stage[:-1], splits.validation),
            )
    return fits


def _features(layers: nn.Module, split: Split) -> Split:
    """A split with its inputs replaced by what some layers make of them."""
    where = next(layers.parameters()).device
    with torch.no_grad():
        parts = [layers(inputs.to(where)) for inputs in split.inputs.split(4096)]
    return split._replace(inputs=torch.cat(parts))
