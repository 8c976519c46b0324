"""The definitions themselves, against finite differences."""

import pytest
import torch
from kernel_cases import plane, random

from symscope.kernels import cpu, reference
from symscope.kernels.ops import differentiable

WHERE = plane((4, 5), translations=True)


DOUBLES = {
    "plane_rows": (lambda i, g: reference.plane_rows(i, g, WHERE), ((2, 4, 5), (2, 2, 4, 5))),
    "plane_gram": (lambda i, g: reference.plane_gram(i, g, WHERE), ((2, 4, 5), (2, 1, 4, 5))),
    "plane_fields": (lambda i: reference.plane_fields(i, WHERE), ((2, 4, 5),)),
    "linear_rows": (reference.linear_rows, ((3, 2, 2), (3, 2, 2, 2))),
    "linear_gram": (reference.linear_gram, ((3, 2, 2), (3, 2, 2, 2))),
    "orbits": (lambda w, a: reference.orbits(w, a, 3), ((2, 2, 3), (2, 3, 3))),
    "proximal_step": (
        lambda y, g, z, a, t: reference.proximal_step(y, g, z, a, t, 0.4, True),
        ((2, 3), (2, 3), (2, 3), (), ()),
    ),
    "host rows": (
        lambda i, g: differentiable(cpu.plane_rows, reference.plane_rows).apply(i, g, WHERE),
        ((2, 4, 5), (2, 1, 4, 5)),
    ),
}


@pytest.mark.parametrize("name", DOUBLES)
def test_gradcheck_of_the_definitions(name):
    function, shapes = DOUBLES[name]
    arguments = [
        random(*shape, seed=i, dtype=torch.float64).requires_grad_()
        for i, shape in enumerate(shapes)
    ]
    assert torch.autograd.gradcheck(function, arguments, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, arguments)


def test_the_adjoint_is_the_gradient_it_says():
    codes = [random(4, 5, seed=i) for i in range(3)]
    results, pull = torch.func.vjp(
        lambda *a: reference.proximal_step(*a, 0.3, 0.2, 0.4, True), *codes
    )
    by = (random(4, 5, seed=3), random(4, 5, seed=4))
    found = reference.proximal_adjoint(*by, results[0], 0.3, 0.4)
    for a, b in zip(found, pull(by), strict=True):
        torch.testing.assert_close(a, b)
