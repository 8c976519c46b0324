"""Fitting many networks of one architecture, in one batched pass where that is faster."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from .training import (
    HISTORY,
    Fit,
    check_finite,
    check_options,
    default_loss,
    device,
    fit,
    optimization,
)

if TYPE_CHECKING:
    from .datasets import Split, Splits

# Measured on a CPU, five networks, one thread or two: a batched pass takes half to two thirds of
# the time for networks as small as O(5)'s (1,376 parameters), where calling torch costs more
# than computing, and about the same time or more from some three thousand parameters on.
SMALL = 2_000


def batching_pays(models: Sequence[nn.Module]) -> bool:
    """Whether one batched pass is faster: on an accelerator, and for small networks anywhere.

    Networks with buffers are left out, since running statistics would change inside the pass.
    """
    if len(models) < 2 or any(True for _ in models[0].buffers()):
        return False
    parameters = sum(parameter.numel() for parameter in models[0].parameters())
    return device().type != "cpu" or parameters <= SMALL


def fit_many(
    models: Sequence[nn.Module],
    splits: Splits,
    *,
    seeds: Sequence[int],
    loss: Callable[..., Tensor] | None = None,
    epochs: int,
    batch_size: int = 512,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    progress: bool = False,
) -> list[Fit]:
    """Train networks of one architecture as :func:`symscope.training.fit` trains each.

    Every network has its own order of the samples and its own best epoch. On an accelerator,
    and for small networks anywhere, all are trained in one batched pass, which gives what one
    after the other would, to rounding; elsewhere they are trained one after the other. Dropout
    draws other numbers in a batched pass.

    Args:
        models: trained in place; alike but for their weights.
        splits: data in memory, with ``train`` and ``validation``.
        seeds: one a network, for the order of its samples.
        loss, epochs, batch_size, lr, weight_decay, schedule, progress: as there. A loss of
            one's own must be a mean over samples that ``torch.func.vmap`` can batch.

    Returns:
        One a network, in their order. The seconds of a batched pass are divided evenly.

    Raises:
        ValueError: for no networks, networks that differ, another number of seeds than of
            networks, and what :func:`symscope.training.fit` refuses.
    """
    models, seeds = list(models), list(seeds)
    if not models or len(models) != len(seeds):
        raise ValueError(
            f"there must be networks, and a seed for each; got {len(models)} networks and "
            f"{len(seeds)} seeds"
        )
    for place, model in enumerate(models):
        if architecture(model) != architecture(models[0]):
            raise ValueError(f"networks must be alike, and network {place} differs from network 0")
    options = {"epochs": epochs, "batch_size": batch_size, "schedule": schedule}
    options |= {"lr": lr, "weight_decay": weight_decay, "progress": progress}
    train = _fit_batched if batching_pays(models) else _fit_singly
    return train(models, seeds, splits, loss, **options)


def architecture(model: nn.Module) -> tuple:
    """All of a network but its weights, as far as it prints itself."""
    shapes = [(name, tuple(p.shape), p.dtype) for name, p in model.named_parameters()]
    return type(model), repr(model), shapes


def _fit_singly(
    models: list[nn.Module], seeds: list[int], splits: Splits, loss: Callable | None, **options
) -> list[Fit]:
    fits = []
    for place, (model, seed) in enumerate(zip(models, seeds, strict=True)):
        with noted(place):
            fits.append(fit(model, splits, loss=loss, seed=seed, **options))
    return fits


def _fit_batched(
    models: list[nn.Module],
    seeds: list[int],
    splits: Splits,
    loss: Callable[..., Tensor] | None,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    schedule: str,
    progress: bool,
) -> list[Fit]:
    """The loop of :func:`symscope.training.fit`, with a first dimension of networks."""
    import pandas
    from tqdm import tqdm

    check_options(epochs, batch_size, schedule)
    classify = not splits.train.targets.is_floating_point()
    loss = loss or default_loss(splits.train.targets)
    where = device()
    for model in models:
        model.to(where).train()  # they must all be in one mode
    inputs, targets = (part.to(where) for part in splits.train)
    weights, _ = stack_module_state(models)
    bare = copy.deepcopy(models[0]).to("meta")  # the architecture alone

    def outputs_and_loss(
        own: dict[str, Tensor], samples: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        outputs = functional_call(bare, own, (samples,))
        return outputs, loss(outputs, wanted)

    forward = vmap(outputs_and_loss, randomness="different")
    forward_shared = vmap(outputs_and_loss, (0, None, None))  # the same samples for all
    optimizer, scheduler = optimization(
        weights.values(), lr, weight_decay, schedule, epochs * -(-len(inputs) // batch_size)
    )
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    history: list[list[tuple]] = [[] for _ in models]
    best = [(-float("inf"), 0)] * len(models)  # score and epoch
    best_weights = {name: weight.detach().clone() for name, weight in weights.items()}
    started = time.perf_counter()
    for epoch in tqdm(range(1, epochs + 1), disable=not progress, unit="epoch", leave=False):
        bare.train()
        losses = []
        order = torch.stack([torch.randperm(len(inputs), generator=own) for own in orders])
        for places in order.to(where).split(batch_size, dim=1):
            samples = inputs.index_select(0, places.flatten()).unflatten(0, places.shape)
            _, values = forward(weights, samples, targets[places])
            optimizer.zero_grad(set_to_none=True)
            values.sum().backward()  # no weight is in two networks, so each gets its own gradient
            optimizer.step()
            if scheduler:
                scheduler.step()
            losses.append(values.detach() * places.shape[1])
        train_losses = (torch.stack(losses).sum(0) / len(inputs)).tolist()
        bare.eval()
        validated = _evaluate(forward_shared, weights, splits.validation, where)
        for place, measured in enumerate(zip(train_losses, *validated, strict=True)):
            train_loss, validation_loss, accuracy = measured
            with noted(place):
                check_finite("training", train_loss, epoch, lr)
                check_finite("validation", validation_loss, epoch, lr)
            history[place].append((epoch, *measured))
            score = accuracy if classify else -validation_loss
            if score > best[place][0]:
                best[place] = score, epoch
                for name, weight in weights.items():
                    best_weights[name][place] = weight.detach()[place]
    with torch.no_grad():
        for place, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.copy_(best_weights[name][place])
            model.eval()
    seconds = (time.perf_counter() - started) / len(models)
    return [
        Fit(pandas.DataFrame(rows, columns=HISTORY), epoch, seconds)
        for rows, (_, epoch) in zip(history, best, strict=True)
    ]


def _evaluate(
    forward: Callable, weights: dict[str, Tensor], split: Split, where: torch.device
) -> tuple[list[float], list[float]]:
    """Each network's mean loss and accuracy on a split, as :func:`symscope.training.evaluate`."""
    totals, hits = [], []
    with torch.no_grad():
        for inputs, targets in zip(
            split.inputs.split(4096), split.targets.split(4096), strict=True
        ):
            targets = targets.to(where)
            outputs, losses = forward(weights, inputs.to(where), targets)
            totals.append(losses * len(inputs))
            hits.append(
                torch.full_like(losses, float("nan"))
                if targets.is_floating_point()
                else (outputs.argmax(-1) == targets).sum(1)
            )
    count = len(split.inputs)
    return (torch.stack(totals).sum(0) / count).tolist(), [
        hit / count for hit in torch.stack(hits).sum(0).tolist()
    ]


@contextmanager
def noted(place: int) -> Iterator[None]:
    """Errors say which network they are of."""
    try:
        yield
    except ValueError as error:
        error.add_note(f"in network {place}")
        raise
