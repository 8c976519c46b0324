"""A fast implementation with the derivatives of its definition, under every transform."""

import pytest
import torch
from kernel_cases import loss, plane, random

from symscope.kernels import ops, reference

WHERE = plane((4, 5), translations=True)


# Each op as a function of two tensors, with the definition and a pair of small arguments.
TRANSFORMED = {
    "plane_rows": (
        lambda i, g, *b: ops.plane_rows(i, g, WHERE, *b),
        lambda i, g: reference.plane_rows(i, g, WHERE),
        ((2, 4, 5), (2, 2, 4, 5)),
    ),
    "plane_gram": (
        lambda i, g, *b: ops.plane_gram(i, g, WHERE, *b).float(),
        lambda i, g: reference.plane_gram(i, g, WHERE).float(),
        ((2, 4, 5), (2, 2, 4, 5)),
    ),
    "linear_gram": (
        lambda x, g, *b: ops.linear_gram(x, g, "float32", *b).float(),
        lambda x, g: reference.linear_gram(x, g, torch.float32).float(),
        ((3, 1, 2), (3, 2, 1, 2)),
    ),
    "orbits": (
        lambda w, a, *b: ops.orbits(w, a, 3, *b),
        lambda w, a: reference.orbits(w, a, 3),
        ((2, 1, 3), (2, 3, 3)),
    ),
    "proximal_step": (
        lambda y, g, *b: torch.stack(ops.proximal_step(y, g, y * g, 0.3, 0.2, 0.4, True, *b)),
        lambda y, g: torch.stack(reference.proximal_step(y, g, y * g, 0.3, 0.2, 0.4, True)),
        ((2, 3), (2, 3)),
    ),
}


@pytest.mark.parametrize("backend", ["triton", "auto"])
@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms_agree_with_the_definition(name, backend):
    function, definition, shapes = TRANSFORMED[name]
    arguments = tuple(random(*shape, seed=i) for i, shape in enumerate(shapes))
    tangents = tuple(random(*shape, seed=5 + i) for i, shape in enumerate(shapes))
    batches = tuple(random(3, *shape, seed=7 + i) for i, shape in enumerate(shapes))

    def kernel(*a):
        return function(*a, backend)

    def total(f):
        return lambda *a: (f(*a) ** 2).sum()

    def results(f):
        yield torch.func.grad(total(f), (0, 1))(*arguments)
        yield torch.func.jacrev(f, (0, 1))(*arguments)
        yield torch.func.jacfwd(f, (0, 1))(*arguments)
        yield torch.func.jvp(f, arguments, tangents)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(arguments[0], tangents[0])
            tangent = torch.autograd.forward_ad.unpack_dual(f(dual, arguments[1])).tangent
        yield (tangent,)
        for dims in ((0, 0), (0, None), (None, 0)):
            given = tuple(
                b if d == 0 else a for a, b, d in zip(arguments, batches, dims, strict=True)
            )
            yield (torch.func.vmap(f, dims)(*given),)
            yield torch.func.vmap(torch.func.grad(total(f), (0, 1)), dims)(*given)
        yield torch.func.jvp(torch.func.grad(total(f), (0, 1)), arguments, tangents)[1]

    for found, truth in zip(results(kernel), results(definition), strict=True):
        for a, b in zip(found, truth, strict=True):
            assert a.shape == b.shape and loss(a, b.double()) < 1e-5
