"""Samples that move: their fields, and the rows that come of them."""

import pytest
import torch
from cases import vectors

import symscope as ss
from symscope.extract.moving import Moving, fields_of


def test_fields_serve_all_rows_of_the_same_samples():
    images = torch.randn(9, 2, 6, 7, generator=torch.Generator().manual_seed(0))
    slopes = torch.randn(9, 3, 2, 6, 7, generator=torch.Generator().manual_seed(1))
    plain, prepared = (Moving(images, ss.PlaneAction("affine"), "auto") for _ in range(2))
    prepared.prepare()
    assert "fields" in vars(prepared)
    torch.testing.assert_close(prepared.rows(slopes), plain.rows(slopes), rtol=1e-4, atol=1e-4)
    # Of more directions than numbers in a sample, fields would be more work.
    few = Moving(vectors(9), ss.LinearAction(4, copies=2), "auto")
    few.prepare()
    assert "fields" not in vars(few)


def test_parts_move_as_the_whole_does():
    data, slopes = vectors(10), vectors(10)[:, None]
    moving = Moving(data, ss.LinearAction(4, copies=2), "auto")
    assert moving.split(10) == [moving]
    parts = moving.split(4)
    assert [len(part) for part in parts] == [4, 4, 2]
    rows = [part.rows(own) for part, own in zip(parts, slopes.split(4), strict=True)]
    torch.testing.assert_close(torch.cat(rows), moving.rows(slopes))


def test_fields_of_another_shape_are_refused():
    class Flat(ss.LinearAction):
        def fields(self, data, backend="auto"):
            return super().fields(data, backend)[:, 0]

    with pytest.raises(ValueError, match="must be of shape .* for each direction; got"):
        fields_of(Flat(4, copies=2), vectors(5), "auto")
