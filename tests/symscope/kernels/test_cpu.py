"""The arrangement for a processor's caches is the definition."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import PLANES, plane, random

from symscope.kernels import cpu, reference


@settings(max_examples=40)
@given(
    n=st.integers(0, 5),
    channels=st.integers(0, 3),
    height=st.integers(3, 8),
    width=st.integers(3, 8),
    outputs=st.integers(1, 3),
    at=st.sampled_from(PLANES),
)
def test_the_arrangement_for_a_cpu_is_the_definition_on_the_plane(
    n, channels, height, width, outputs, at
):
    shape = (n, *([channels] if channels else []), height, width)
    images = random(*shape, dtype=torch.float64)
    cotangents = random(n, outputs, *shape[1:], seed=1, dtype=torch.float64)
    where = plane(shape, *at)
    for name, arguments in (
        ("plane_fields", (images, where)),
        ("plane_rows", (images, cotangents, where)),
        ("plane_gram", (images, cotangents, where)),
    ):
        found, truth = (getattr(room, name)(*arguments) for room in (cpu, reference))
        torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-10)


@settings(max_examples=40)
@given(
    n=st.integers(0, 40),
    outputs=st.integers(1, 4),
    copies=st.integers(1, 3),
    d=st.integers(1, 6),
)
def test_the_arrangement_for_a_cpu_is_the_definition_for_vectors(n, outputs, copies, d):
    vectors = random(n, copies, d, dtype=torch.float64)
    cotangents = random(n, outputs, copies, d, seed=1, dtype=torch.float64)
    found, truth = (room.linear_gram(vectors, cotangents) for room in (cpu, reference))
    torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-10)
