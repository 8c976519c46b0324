"""The answer in words."""

import dataclasses
import math

import torch

from symscope.decide.decision import Cut, Decision

SURE = Decision(
    count=1,
    level="exact",
    partial=1,
    relative=torch.tensor([1e-17, 0.05, 0.09, 0.8]).double(),
    bounds=lambda: torch.tensor([1e-16, 0.06, 0.3, math.inf]).double(),
    floor=torch.full((4,), 1e-15).double(),
    directions=torch.eye(4).double(),
    undefined=torch.zeros(1, 4).double(),
    cuts=(Cut(1, 1e10, 1e-16), Cut(2, 4.0, 0.06)),
    tolerance=0.1,
    confidence=0.9,
    samples=300,
    pieces=32,
)


def test_each_direction_has_its_reason():
    head, levels, bounds, _, *lines, undefined, others = SURE.why().splitlines()
    assert head == "1 of 4 directions are symmetries: exact"
    assert levels.endswith("at most 0.1")
    assert "90% confidence" in bounds and "300 samples in 32 pieces" in bounds
    assert max(map(len, SURE.why().splitlines())) <= 78  # the book cuts wider ones off
    for line, reason in zip(
        lines,
        ("no change beyond rounding", "no clear gap", "too few to be sure", "it changes"),
        strict=True,
    ):
        assert reason in line
    assert undefined.startswith("1 more directions are undefined")
    assert others == "also admissible: 2 (gap 4)"


def test_no_answer_is_no_zero():
    unsure = dataclasses.replace(SURE, count=None, level="too few data", note="9 rows", cuts=())
    assert unsure.why().startswith("? of 4 directions are symmetries: too few data (9 rows)")
    assert "rounding hides" in unsure.why()
