"""Fitting a network by Adam: over epochs, the best one chosen, or for a number of steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from symscope._checks import choice, real, whole
from symscope._draws import seeded_state, stream

from ..data.splits import Split, Splits

if TYPE_CHECKING:
    import pandas

    from .models import MLP

HISTORY = ["epoch", "train_loss", "validation_loss", "validation_accuracy"]
EVALUATED_AT_ONCE = 4096  # samples
# Floating-point operations of one batch forwards, below which training takes one thread. A step of
# so few takes a millisecond, most of it overhead, so that a second thread can save little.
SMALL = 20e6


class Fit(NamedTuple):
    """What a training leaves beside the model itself."""

    history: pandas.DataFrame  # epoch, train_loss, validation_loss, validation_accuracy
    best_epoch: int  # counted from 1


def device() -> torch.device:
    """The first accelerator that torch sees, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


Network = TypeVar("Network", bound=nn.Module)


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """A network built from its own seed; the global random states are left as they were."""
    with seeded_state(seed):
        return build()


def _loss_for(targets: Tensor) -> Callable[..., Tensor]:
    """Cross-entropy for integer labels, mean squared error for values."""
    if targets.is_floating_point():
        return nn.functional.mse_loss
    return nn.functional.cross_entropy


def where(model: nn.Module) -> torch.device:
    """The device of a model's first parameter; the CPU for one without."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@torch.no_grad()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    """Mean loss and accuracy on a split; accuracy is NaN for regression.

    The model runs in eval mode and on its own device, and gets its modes back.

    Args:
        model: any module that takes the split's inputs.
        split: inputs (N, ...) and targets (N, ...); integer targets are labels.
    """
    loss = _loss_for(split.targets)
    classify = not split.targets.is_floating_point()
    total, hits = 0.0, 0
    parts = (part.split(EVALUATED_AT_ONCE) for part in split)
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for inputs, targets in zip(*parts, strict=True):
            outputs, targets = model(inputs.to(where(model))), targets.to(where(model))
            total += float(loss(outputs, targets)) * len(inputs)
            if classify:
                hits += int((outputs.argmax(-1) == targets).sum())
    finally:
        for module, mode in training.items():
            module.training = mode
    size = len(split.inputs)
    return total / size, hits / size if classify else float("nan")


def fit(
    model: nn.Module,
    splits: Splits,
    *,
    epochs: int,
    batch_size: int = 512,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    keep: str = "best",
    fresh: Callable[[int], Tensor] | None = None,
    after: Callable[[int], object] | None = None,
    seed: int = 0,
) -> Fit:
    """Train with Adam; the model ends with the weights of its best validation epoch, or the last.

    Labels (integer targets) are fitted with cross-entropy and selected by accuracy; values by
    mean squared error and selected by that loss. The test split is never looked at. Training
    runs on the device found by :func:`device`; the model comes back to its own, in eval mode.

    Args:
        schedule: "constant", or "cosine", to zero over all steps.
        keep: the weights of the "best" validation epoch, or of the "last" one.
        fresh: the training inputs of an epoch, in place of the split's own, for its labels.
        after: called with the number of each epoch when it has ended, to look at the model.
        seed: for the order of the samples, by a stream of its own: a network built from the same
            seed shares no random numbers with it.
    """
    import pandas

    choice("schedule", schedule, ("constant", "cosine"))
    choice("keep", keep, ("best", "last"))
    epochs, batch_size = whole("epochs", epochs), whole("batch_size", batch_size)
    order, home = stream(seed, "order"), where(model)
    loss = _loss_for(splits.train.targets)
    classify = not splits.train.targets.is_floating_point()
    inputs, targets = (part.to(device()) for part in splits.train)
    model.to(device())
    steps = epochs * -(-len(inputs) // batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    scheduler = _schedule(optimizer, schedule, steps)

    def objective(rows: Tensor) -> Tensor:
        rows = rows.to(inputs.device)
        # index_select: several times as fast as inputs[rows] on a CPU.
        return loss(model(inputs.index_select(0, rows)), targets[rows])

    def finite(split: str, value: float, epoch: int) -> float:
        if not value < float("inf"):
            more = ", or look for NaN in the validation data" if split == "validation" else ""
            raise ValueError(
                f"the {split} loss is not finite in epoch {epoch}: lower lr ({lr}){more}"
            )
        return value

    history, best, best_epoch, weights = [], float("-inf"), 0, {}
    try:
        with _threads(model, inputs[:batch_size]):
            for epoch in range(1, epochs + 1):
                if fresh is not None:
                    inputs = fresh(epoch).to(device())
                batches = torch.randperm(len(inputs), generator=order).split(batch_size)
                model.train()
                done = _descended(objective, batches, optimizer, scheduler)
                trained = sum(float(value) * len(rows) for value, rows in done) / len(inputs)
                finite("training", trained, epoch)
                validated, accuracy = evaluate(model, splits.validation)
                finite("validation", validated, epoch)
                history.append((epoch, trained, validated, accuracy))
                score = accuracy if classify else -validated
                if score > best or not best_epoch:  # the first of equals
                    best, best_epoch, weights = score, epoch, copy.deepcopy(model.state_dict())
                if after is not None:
                    after(epoch)
        if keep == "best":
            model.load_state_dict(weights)
    finally:
        model.to(home).eval()
    return Fit(pandas.DataFrame(history, columns=HISTORY), best_epoch)


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
    schedule: str = "cosine",
    seed: int = 0,
) -> Tensor:
    """Train an unfolded network on a task, by Adam.

    The batches are drawn without replacement, and afresh when the data are used up. The network
    stays on its device, where the data should be too, and ends in eval mode.

    Args:
        head: a task of :mod:`studies.lgn`: it has ``loss(inputs, targets)`` and a ``network``
            with ``penalty()``. Trained in place; if it has ``project()``, that is called after
            every step.
        penalty: weight of the dictionary's penalty beside the loss.
        schedule: of the learning rate: "cosine", to zero, or "halvings", halved when 1/2, 3/4 and
            7/8 of the steps are done, as in the code of `theodosis2023linear`.
        seed: for the order of the samples, by a stream of its own.

    Returns:
        (steps,) float64: each step's loss with its penalty, before the step.
    """
    steps, batch_size = whole("steps", steps), whole("batch_size", batch_size)
    lr, clip = real("lr", lr, above=0), real("clip", clip, above=0)
    choice("schedule", schedule, ("cosine", "halvings"))
    if len(inputs) < batch_size:
        raise ValueError(f"inputs must be at least one batch of {batch_size}, got {len(inputs)}")
    weights = [p for p in head.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=lr)
    task: Any = head  # a module with `loss` and `network`

    def objective(rows: Tensor) -> Tensor:
        rows = rows.to(inputs.device)
        wanted = None if targets is None else targets.index_select(0, rows)
        value = task.loss(inputs.index_select(0, rows), wanted)
        # Without a weight it would cost time for nothing.
        return value + penalty * task.network.penalty() if penalty else value

    def batches() -> Iterator[Tensor]:
        draw = stream(seed, "order")
        while True:  # a round's last batch is left out if it is short
            order = torch.randperm(len(inputs), generator=draw)
            yield from order[: len(inputs) - len(inputs) % batch_size].split(batch_size)

    # The state shares memory with the network. Its copy is used again in every step, since only
    # the next step's loss tells whether the weights are good.
    state = list(head.state_dict().values())
    good = [value.clone() for value in state]
    losses = torch.zeros(steps, dtype=torch.float64)
    rounds = islice(batches(), steps)
    scheduler = _schedule(optimizer, schedule, steps)
    done = _descended(objective, rounds, optimizer, scheduler, getattr(head, "project", None))
    head.train()
    for step, (value, _) in enumerate(done):
        losses[step] = value
        norm = nn.utils.clip_grad_norm_(weights, clip)
        if not torch.isfinite(value + norm):
            _copy(good, state)
            head.eval()
            raise FloatingPointError(
                f"the loss or its gradient is not finite at step {step + 1} of {steps}; the "
                f"network is as it was at step {max(step, 1)}. Lower lr ({lr:g}), or look for "
                "NaN in the data"
            )
        _copy(state, good)
    head.eval()
    return losses


@contextmanager
def _threads(model: nn.Module, inputs: Tensor) -> Iterator[None]:
    """One thread for a small network of linear layers; of others it is not known how much they do.

    On a busy machine two threads wait long for each other: beside twenty processes on two cores a
    step of the O(5) network took 180 ms on two threads and 8 ms on one. ``inputs`` are one batch.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    before = torch.get_num_threads()
    only = layers and weights == sum(parameter.numel() for parameter in model.parameters())
    if only and 2 * weights * inputs.numel() / layers[0].in_features < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _descended(
    objective: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    after: Callable[[], object] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Gives the loss of each batch of rows, with its gradient taken; then makes the step."""
    for rows in batches:
        value = objective(rows)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        yield value.detach(), rows
        optimizer.step()
        if scheduler:
            scheduler.step()
        if after:
            after()


def _schedule(
    optimizer: torch.optim.Optimizer, schedule: str, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    if schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if schedule == "halvings":
        halved = [steps // 2, steps * 3 // 4, steps * 7 // 8]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, halved, 0.5)
    return None


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for value, place in zip(source, target, strict=True):
        place.copy_(value)


def fit_layerwise(
    model: MLP, splits: Splits, *, epochs: int, seed: int = 0, **options: Any
) -> list[Fit]:
    """Train an MLP greedily, one hidden layer after the other from the input on.

    Each hidden layer is fitted together with a linear output layer of its own, on the features of
    the layers below it, which stay as they are. The last one's output layer is the network's;
    the others' are thrown away. Source: the supervised greedy training of Bengio et al. 2007
    (bengio2007greedy).

    Args are those of :func:`fit`, epochs for each hidden layer; the seed is also of the weights
    of the layers thrown away.

    Returns:
        One a hidden layer, in their order.
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
                train=_features(stage[:-1], splits.train),
                validation=_features(stage[:-1], splits.validation),
            )
    model.eval()
    return fits


@torch.no_grad()
def _features(layers: nn.Module, split: Split) -> Split:
    """A split with its inputs replaced by what some layers make of them."""
    parts = [layers(inputs.to(where(layers))) for inputs in split.inputs.split(EVALUATED_AT_ONCE)]
    return split._replace(inputs=torch.cat(parts))
