"""Networks, data and actions that many tests ask, and the slow definition they are held to."""

import itertools
from dataclasses import replace

import torch
from torch import nn

import studies
import symscope as ss
from symscope.extract import tuned
from symscope.extract.extraction import Extraction, Query, extract
from symscope.extract.factor import Factor
from symscope.extract.network import Network

ACTION = ss.LinearAction(4, copies=2)


def network(outputs: int = 3) -> nn.Module:
    return studies.networks.seeded(lambda: studies.networks.MLP((8, 16, outputs)), 0).double()


def plain(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Layers of these widths, with an activation between them."""
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), act()]
    return studies.networks.seeded(lambda: nn.Sequential(*layers[:-1]), 0)


def polynomial(n: int, degree: int) -> ss.FieldAction:
    """All fields on (N, n) data whose components are polynomials of at most a degree."""
    powers = [p for p in itertools.product(range(degree + 1), repeat=n) if sum(p) <= degree]
    powers.sort(key=sum)

    def fields(x: torch.Tensor) -> torch.Tensor:
        units = torch.eye(n, dtype=x.dtype, device=x.device)
        monomials = [(x ** x.new_tensor(p)).prod(1, keepdim=True) for p in powers]
        return torch.stack([m * unit for m in monomials for unit in units])

    return ss.FieldAction(fields, [f"{p} d{i}" for p in powers for i in range(n)])


def vectors(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def asked(model, data, action=ACTION, **settings) -> Extraction:
    """The extraction of a model on data."""
    query = Query(data=data, action=action, **settings)
    return extract(Network(model, query.outputs), query)


def published(model, data, action, outputs=None) -> torch.Tensor:
    """The definition, held whole: jacobian by torch.func, then the N C x K matrix."""
    outputs = outputs or (lambda y: y)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: outputs(model(x[None]))[0]))(data)
    return action.rows(data, jacobian.detach()).flatten(0, 1)


def assert_same_gram(factor: Factor, rows: torch.Tensor, tolerance: float) -> None:
    gram = factor.triangle.T @ factor.triangle
    truth = rows.T @ rows
    assert float((gram - truth).norm() / truth.norm()) < tolerance


def tuned_to(monkeypatch, **changes) -> None:
    """Other limits and thresholds of the extraction, for one test."""
    monkeypatch.setattr(tuned, "TUNED", replace(tuned.TUNED, **changes))


class Recorder:
    """A function around a network that notes whether it was differentiated forwards."""

    def __init__(self, inner: nn.Module):
        self.inner, self.forwards = inner, 0

    def __call__(self, x):
        self.forwards += torch._C._functorch.is_functorch_wrapped_tensor(x)
        return self.inner(x)


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class WrongForwardMode(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx, t):
        return t * ctx.saved_tensors[0].sin()  # should be the cosine


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


class Sine(nn.Module):
    def forward(self, x):
        return x.sin()


class Plain:
    """An action with no more than the members it must have."""

    def __init__(self, action):
        self.basis, self.shape = action.basis, action.shape
        self.check, self.rows, self.flow = action.check, action.rows, action.flow


def reference_rows(action):
    """The same action, whose rows are the definition's whatever is asked for."""
    plain = Plain(action)
    plain.rows = lambda data, cotangents: action.rows(data, cotangents, "reference")
    return plain


def random_network(inputs: int, width: int, outputs: int, seed: int):
    """A function without symmetry, far from linear: one hidden layer of tanh, with biases."""
    draw = torch.Generator().manual_seed(seed)

    def weights(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    first, bias = 1.5 / inputs**0.5 * weights(inputs, width), weights(width)
    last = weights(width, outputs) / width**0.5
    return lambda x: torch.tanh(x @ first.to(x) + bias.to(x)) @ last.to(x)


def frame_network(x: torch.Tensor) -> torch.Tensor:
    """From two vectors of space to one, equivariant by construction.

    A network without symmetry sees the vectors in the frame that they span themselves (Puny et
    al. 2022, frame averaging with one frame), and what it says is turned back.
    """
    a, b = x[:, :3], x[:, 3:]
    first = a / a.norm(dim=1, keepdim=True)
    second = b - (b * first).sum(1, keepdim=True) * first
    second = second / second.norm(dim=1, keepdim=True)
    frame = torch.stack([first, second, torch.linalg.cross(first, second)], 2)
    seen = (frame.mT @ torch.stack([a, b], 2)).flatten(1)
    return (frame @ random_network(6, 16, 3, 0)(seen)[:, :, None])[:, :, 0]


def vector_neurons(x: torch.Tensor) -> torch.Tensor:
    """From two vectors of space to one by mixing vectors (Deng et al. 2021, vector neurons)."""
    draw, vectors = torch.Generator().manual_seed(0), x.reshape(len(x), -1, 3)
    for _ in range(2):
        mix, aim = (
            torch.randn(8, vectors.shape[1], generator=draw, dtype=torch.float64).to(x)
            / vectors.shape[1] ** 0.5
            for _ in range(2)
        )
        vectors, aims = mix @ vectors, aim @ vectors
        aims = aims / aims.norm(dim=2, keepdim=True)
        vectors = vectors - (vectors * aims).sum(2, keepdim=True).clamp(max=0) * aims
    last = torch.randn(1, 8, generator=draw, dtype=torch.float64).to(x)
    return (last @ vectors)[:, 0]
