"""The problems that the agent is to solve, from a seed."""

import random
from dataclasses import dataclass
from typing import Literal

Difficulty = Literal["easy", "hard"]


@dataclass(frozen=True)
class Problem:
    """One arithmetic problem: its text, such as ``4 + 3``, and its answer."""

    text: str
    answer: int


def problems(seed: int, count: int, difficulty: Difficulty = "easy") -> tuple[Problem, ...]:
    """Draw ``count`` problems; the same seed draws the same ones.

    Args:
        seed: The episode's seed.
        count: How many.
        difficulty: ``easy`` is one operation on small numbers, ``hard`` two on larger ones.
    """
    draw = random.Random(f"problems/{seed}")  # noqa: S311 (a seeded draw, nothing secret)
    make = _easy if difficulty == "easy" else _hard
    return tuple(make(draw) for _ in range(count))


def _easy(draw: random.Random) -> Problem:
    a, b = draw.randint(2, 9), draw.randint(2, 9)
    if draw.random() < 0.7:
        return Problem(f"{a} + {b}", a + b)
    return Problem(f"{a + b} - {b}", a)


def _hard(draw: random.Random) -> Problem:
    a, b, c = draw.randint(12, 99), draw.randint(3, 19), draw.randint(100, 999)
    if draw.random() < 0.5:
        return Problem(f"{a} * {b} + {c}", a * b + c)
    return Problem(f"{c} - {a} * {b}", c - a * b)
