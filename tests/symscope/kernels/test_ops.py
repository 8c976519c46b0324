"""Every kernel against its definition in float64: values, gradients and torch's transforms.

On a GPU if there is one, else in Triton's interpreter.
"""

import pytest
import torch
from kernel_cases import DEVICE, PLANES, loss, plane, random

import symscope as ss
from symscope.kernels import ops, reference

# A kernel may lose this many times what torch's float32 loses against float64, and a few
# roundings where torch happens to lose none.
TIMES, LEAST = 4, 1e-6

IMAGES = {
    "digits": (3, 28, 28),
    "odd": (2, 7, 5),
    "smallest": (2, 3, 3),
    "channels": (2, 3, 6, 9),
    "several blocks": (2, 19, 37),
    "none": (0, 5, 5),
}


def assert_as_exact(kernel, definition, *arguments):
    """Values and gradients: the kernel in float32 is as near to float64 as torch's float32."""
    double = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
    results = [
        values_and_gradients(f, a)
        for f, a in ((kernel, arguments), (definition, arguments), (definition, double))
    ]
    for found, usual, truth in zip(*results, strict=True):
        assert found.shape == truth.shape
        assert loss(found, truth) <= TIMES * loss(usual, truth) + LEAST


def values_and_gradients(function, arguments) -> list[torch.Tensor]:
    arguments = [
        a.detach().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments
    ]
    tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
    values = function(*arguments)
    values = values if isinstance(values, tuple) else (values,)
    assert all(v.device.type == DEVICE for v in values)
    weights = [
        random(*v.shape, seed=9 + i, dtype=torch.float64).to(v.dtype) for i, v in enumerate(values)
    ]
    total = sum((v * w).sum() for v, w in zip(values, weights, strict=True))
    gradients = torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True)
    return [*(v.detach() for v in values), *gradients]


@pytest.mark.parametrize(("differences", "translations"), PLANES)
@pytest.mark.parametrize("outputs", [1, 10])
@pytest.mark.parametrize("name", IMAGES)
def test_plane(name, outputs, differences, translations):
    shape = IMAGES[name]
    images, where = random(*shape), plane(shape, differences, translations)
    cotangents = random(shape[0], outputs, *shape[1:], seed=1)
    for operation in ("plane_rows", "plane_gram"):

        def kernel(i, g, operation=operation):
            return getattr(ops, operation)(i, g, where, "triton")

        def definition(i, g, operation=operation):
            return getattr(reference, operation)(i, g, where)

        assert_as_exact(kernel, definition, images, cotangents)


def test_more_outputs_than_one_reading_of_an_image_serves():
    images, cotangents = random(2, 5, 6), random(2, 37, 5, 6, seed=1)
    where = plane((5, 6), translations=True)
    for operation in ("plane_rows", "plane_gram"):
        found = getattr(ops, operation)(images, cotangents, where, "triton")
        truth = getattr(reference, operation)(images.double(), cotangents.double(), where)
        assert loss(found, truth) < 1e-6


LINEAR = {
    "one vector": (70, 1, 1, 5),
    "outputs": (9, 10, 1, 4),
    "several vectors": (11, 3, 2, 3),
    "more than a tile": (40, 1, 1, 13),
    "more than a split": (2100, 1, 1, 2),
    "numbers": (6, 1, 1, 1),
    "none": (0, 1, 1, 4),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_gram(name):
    n, outputs, copies, d = LINEAR[name]
    vectors, cotangents = random(n, copies, d), random(n, outputs, copies, d, seed=1)
    assert_as_exact(
        lambda x, g: ops.linear_gram(x, g, "float32", "triton"),
        lambda x, g: reference.linear_gram(
            x, g, torch.float32 if x.dtype == torch.float32 else torch.float64
        ),
        vectors,
        cotangents,
    )


ORBITS = {
    "patches": (2, 3, 6, 36),
    "largest": (1, 2, 3, 64),
    "many filters": (1, 37, 4, 5),
    "odd": (3, 1, 5, 7),
    "no step": (2, 3, 1, 4),
    "numbers": (1, 1, 3, 1),
    "none": (0, 2, 3, 4),
}


@pytest.mark.parametrize("name", ORBITS)
def test_orbits(name):
    sets, count, order, d = ORBITS[name]
    filters, generators = random(sets, count, d), random(sets, d, d, seed=1) / d**0.5
    assert_as_exact(
        lambda w, a: ops.orbits(w, a, order, "triton"),
        lambda w, a: reference.orbits(w, a, order),
        filters,
        generators,
    )


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("numbers", [float, torch.tensor])
@pytest.mark.parametrize("shape", [(7, 11), (2, 3, 5, 9), (3000,), (0, 4)])
def test_proximal_step(shape, numbers, two_sided):
    point, gradient, previous = (random(*shape, seed=i) for i in range(3))
    step, threshold = (numbers(0.3), numbers(0.2))
    if numbers is torch.tensor:
        step, threshold = step.to(DEVICE), threshold.to(DEVICE)

    def with_backend(*backend):
        function = ops.proximal_step if backend else reference.proximal_step
        return lambda *a: function(*a, 0.4, two_sided, *backend)

    arguments = (point, gradient, previous, step, threshold)
    assert_as_exact(with_backend("triton"), with_backend(), *arguments)


def test_a_code_that_is_no_number_stays_none():
    point = torch.tensor([float("nan"), 1.0], device=DEVICE)
    zero = torch.zeros(2, device=DEVICE)
    for two_sided in (True, False):
        codes, _ = ops.proximal_step(point, zero, zero, 1.0, 0.5, 0.0, two_sided, "triton")
        assert codes[0].isnan() and codes[1] == 0.5


def test_memory_that_is_not_contiguous():
    images = random(3, 9, 8, seed=1).mT[:, ::2]
    cotangents = random(3, 4, 9, 4, seed=2).movedim(-1, 2)
    where = plane(images.shape)
    truth = reference.plane_rows(images.double(), cotangents.double(), where)
    assert loss(ops.plane_rows(images, cotangents, where, "triton"), truth) < 1e-6
    assert loss(ops.plane_rows(images, cotangents, where), truth) < 1e-6
    assert loss(ops.plane_rows(images, cotangents[:, :1], where), truth[:, :1]) < 1e-6
    gram = reference.plane_gram(images.double(), cotangents.double(), where)
    assert loss(ops.plane_gram(images, cotangents, where, "triton"), gram) < 1e-6

    vectors, by = random(4, 2, 9, seed=3).permute(2, 1, 0), random(2, 9, 3, 4, seed=4).movedim(0, 2)
    gram = reference.linear_gram(vectors.double(), by.double())
    for backend in ("triton", "auto"):
        assert loss(ops.linear_gram(vectors, by, "float32", backend), gram) < 1e-6

    filters, generators = random(5, 2, 3, seed=5).movedim(0, 2), random(2, 5, 5, seed=6).mT
    truth = reference.orbits(filters.double(), generators.double(), 4)
    assert loss(ops.orbits(filters, generators, 4, "triton"), truth) < 1e-6

    codes = [random(6, 4, seed=i).T[::2] for i in range(3)]
    truth = reference.proximal_step(*codes, 0.3, 0.2, 0.4, True)
    found = ops.proximal_step(*codes, 0.3, 0.2, 0.4, True, "triton")
    assert all(loss(a, b.double()) < 1e-6 for a, b in zip(found, truth, strict=True))


WHERE = plane((4, 5), translations=True)


def test_auto_leaves_a_cpu_to_torch_and_forced_triton_is_not_replaced(monkeypatch):
    def fails(*arguments, **options):
        raise AssertionError("the kernel was called")

    monkeypatch.setattr("symscope.kernels.ops._kernel", fails)
    images, cotangents = torch.ones(2, 4, 5), torch.ones(2, 1, 4, 5)
    for backend in ("auto", "reference"):
        ops.plane_rows(images, cotangents, WHERE, backend)
    with pytest.raises(AssertionError, match="the kernel was called"):
        ops.plane_rows(images.to(DEVICE), cotangents.to(DEVICE), WHERE, "triton")


@pytest.mark.parametrize(
    ("action", "shape"),
    [
        (ss.PlaneAction("gl2"), (2, 4, 5)),
        (ss.LinearAction(3), (2, 3)),
        (ss.PointAction(3), (2, 4, 3)),
        (ss.FieldAction(lambda x: torch.stack([x]), ["scale"]), (2, 3)),
    ],
)
def test_forced_triton_is_not_replaced_for_fields(action, shape):
    data = torch.ones(shape, device=DEVICE)
    action.fields(data)
    with pytest.raises(RuntimeError, match="triton' was asked for, but no kernel writes tangent f"):
        action.fields(data, "triton")
