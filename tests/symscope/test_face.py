"""The public face: few names, each with an example that runs."""

import doctest

import pytest

import symscope as ss


def test_the_face_is_small():
    assert len(ss.__all__) <= 18 and len(set(ss.__all__)) == len(ss.__all__)


@pytest.mark.parametrize("name", ss.__all__)
def test_every_public_name_has_an_example(name):
    assert doctest.DocTestParser().get_examples(getattr(ss, name).__doc__ or "")


@pytest.mark.parametrize("name", ["actions", "algebra", "kernels", "orbits", "runs"])
def test_modules_stay_reachable(name):
    assert getattr(ss, name).__doc__
