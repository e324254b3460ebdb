"""The questions of a check: arithmetic, logic and letters, from easy to hard, all of them from a seed."""

import itertools
import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass

LEVELS = 5
PER_LEVEL = 2
COUNT = LEVELS * PER_LEVEL
MARK = 6
"""Right answers from which on a result counts as good."""

_PEOPLE = (
    "Ada", "Bela", "Cato", "Dina", "Emre", "Fritz", "Greta", "Hana", "Ivo", "Juno", "Kira", "Lars", "Mina", "Nils",
    "Olga", "Pavel", "Quinn", "Rosa", "Sami", "Tova", "Ugo", "Vera", "Wim", "Yara", "Zeno",
)  # fmt: skip
_THINGS = (
    ("crates", "bottles"), ("shelves", "folders"), ("carriages", "seats"), ("trays", "seedlings"), ("boxes", "lamps"),
    ("racks", "tiles"), ("bags", "coins"), ("pallets", "tins"), ("rows", "chairs"), ("drawers", "keys"),
)  # fmt: skip
_WORDS = (
    "harbour", "lantern", "meadow", "granite", "whistle", "compass", "orchard", "velvet", "thunder", "pepper",
    "cabinet", "juniper", "marble", "anchor", "blanket", "walnut", "saddle", "violin", "copper", "feather", "glacier",
    "kettle", "magnet", "nectar", "oyster", "pigeon", "quarry", "ribbon", "sparrow", "timber",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        level: 1 (easy) to 5 (hard).
        text: What is asked.
        answer: The right answer.
        wrong: Two wrong answers that look like it.
    """

    level: int
    text: str
    answer: str
    wrong: tuple[str, str]

    def fits(self, given: str) -> bool:
        """Whether an answer is right: capitals, spaces, a full stop and the way a number is written do not count."""
        return plain(given) == plain(self.answer)


def plain(text: str) -> str:
    """An answer without what does not count."""
    bare = "".join(text.casefold().replace(" and ", ",").split()).strip("'\"`.,;:!()[]*_")
    number = re.fullmatch(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.0+)?", bare)
    return str(int(number[1].replace(",", ""))) if number else bare


def draw_questions(seed: int) -> tuple[Question, ...]:
    """The questions of a seed, from easy to hard: the same ones whatever the arm."""
    draw = random.Random(f"oversight/questions/{seed}")  # noqa: S311 (a seeded draw, nothing secret)
    found: list[Question] = []
    for level in range(1, LEVELS + 1):
        for make in draw.sample((_arithmetic, _logic, _letters), PER_LEVEL):
            text, answer, wrong = make(level, draw)
            found.append(Question(level, text, answer, wrong))
    return tuple(found)


_Made = tuple[str, str, tuple[str, str]]


def _number(text: str, answer: int, draw: random.Random) -> _Made:
    """A question with a number, and two other numbers near it."""
    near = [step for step in (-11, -10, -3, -2, -1, 1, 2, 3, 10, 11) if answer + step >= 0]
    one, other = draw.sample(near, 2)
    return text, str(answer), (str(answer + one), str(answer + other))


# Arithmetic


def _arithmetic(level: int, draw: random.Random) -> _Made:
    made: tuple[Callable[[random.Random], tuple[str, int]], ...] = (_sum, _product, _stock, _remainder, _rule)
    text, answer = made[level - 1](draw)
    return _number(f"{text} Answer with the number.", answer, draw)


def _sum(draw: random.Random) -> tuple[str, int]:
    a, b = draw.randint(12, 79), draw.randint(12, 79)
    return f"What is {a} + {b}?", a + b


def _product(draw: random.Random) -> tuple[str, int]:
    a, b, c = draw.randint(6, 19), draw.randint(4, 9), draw.randint(11, 59)
    return f"What is {a} x {b} + {c}?", a * b + c


def _stock(draw: random.Random) -> tuple[str, int]:
    outer, inner = draw.choice(_THINGS)
    n, each, gone, more = draw.randint(7, 16), draw.randint(12, 28), draw.randint(15, 60), draw.randint(3, 6)
    text = (
        f"{n} {outer} hold {each} {inner} each. {gone} {inner} are taken away, and then {more} more {outer} with "
        f"{each} {inner} each arrive. How many {inner} are there?"
    )
    return text, (n + more) * each - gone


def _remainder(draw: random.Random) -> tuple[str, int]:
    a, b, c, m = draw.randint(113, 489), draw.randint(23, 89), draw.randint(101, 909), draw.randint(31, 97)
    return f"What is the remainder of {a} x {b} + {c} when it is divided by {m}?", (a * b + c) % m


def _rule(draw: random.Random) -> tuple[str, int]:
    start, a, b, m, times = (
        draw.randint(5, 60), draw.randint(7, 29), draw.randint(11, 70), draw.randint(83, 199), draw.randint(5, 7),
    )  # fmt: skip
    value = start
    for _ in range(times):
        value = (value * a + b) % m
    text = (
        f"Begin with {start}. A step is: multiply by {a}, add {b}, and keep only the remainder of a division by {m}. "
        f"Which number stands there after {times} steps?"
    )
    return text, value


# Logic


def _logic(level: int, draw: random.Random) -> _Made:
    if level <= 3:
        return _queue(2 + level, draw)
    return _lamps(draw) if level == 4 else _liars(draw)


def _queue(size: int, draw: random.Random) -> _Made:
    people = draw.sample(_PEOPLE, size)
    clues = [f"{one} arrived before {other}." for one, other in itertools.pairwise(people)]
    draw.shuffle(clues)
    place = draw.randrange(size)
    which = ("first", "second", "third", "fourth", "fifth")[place]
    others = [name for name in people if name != people[place]]
    text = f"{' '.join(clues)} Nobody else came. Who arrived {which}? Answer with the name."
    return text, people[place], (others[0], others[1])


def _lamps(draw: random.Random) -> _Made:
    names = "ABCD"
    on = {name: draw.random() < 0.5 for name in names}
    switches = ", ".join(f"{name} is {'up' if on[name] else 'down'}" for name in names)
    lit, rules = 0, []
    for number in range(1, 7):
        one, other, third = draw.sample(names, 3)
        kind = draw.randrange(3)
        if kind == 0:
            rules.append(f"Lamp {number} is lit when {one} is up and {other} is down.")
            lit += on[one] and not on[other]
        elif kind == 1:
            rules.append(f"Lamp {number} is lit when exactly one of {one}, {other} and {third} is up.")
            lit += on[one] + on[other] + on[third] == 1
        else:
            rules.append(f"Lamp {number} is lit unless {one} and {other} are both up or {third} is down.")
            lit += not ((on[one] and on[other]) or not on[third])
    text = f"Of four switches, {switches}. {' '.join(rules)} How many lamps are lit? Answer with the number."
    wrong = draw.sample([n for n in range(7) if n != lit], 2)
    return text, str(lit), (str(wrong[0]), str(wrong[1]))


def _liars(draw: random.Random) -> _Made:
    """Four people of whom some always lie: drawn until what they say leaves one way only."""
    while True:
        people = sorted(draw.sample(_PEOPLE, 4))
        said = []
        for name in people:
            about = draw.choice([one for one in people if one != name])
            said.append((name, about, draw.random() < 0.5, draw.randint(1, 3)))
        counted = draw.randrange(4)
        worlds = []
        for liars in itertools.product((False, True), repeat=4):
            lies = dict(zip(people, liars, strict=True))
            holds = [
                (sum(liars) == number if place == counted else lies[about] == claimed) != lies[name]
                for place, (name, about, claimed, number) in enumerate(said)
            ]
            if all(holds):
                worlds.append([name for name in people if lies[name]])
        if len(worlds) == 1 and 1 <= len(worlds[0]) <= 3:
            break
    lines = [
        f"{name} says: exactly {number} of us {'lies' if number == 1 else 'lie'}."
        if place == counted
        else f"{name} says: {about} {'is a liar' if claimed else 'tells the truth'}."
        for place, (name, about, claimed, number) in enumerate(said)
    ]
    liars_found = worlds[0]
    others = [list(some) for n in (1, 2, 3) for some in itertools.combinations(people, n)]
    one, other = draw.sample([some for some in others if some != liars_found], 2)
    text = (
        f"Each of {', '.join(people[:3])} and {people[3]} either always lies or always tells the truth. "
        f"{' '.join(lines)} Who lies? Answer with the names of all liars in alphabetical order, with commas."
    )
    return text, ", ".join(liars_found), (", ".join(one), ", ".join(other))


# Letters


def _letters(level: int, draw: random.Random) -> _Made:
    word = draw.choice(_WORDS)
    if level == 1:
        return _number(
            f"How many letters does the word {word} have? Answer with the number.", len(word), draw
        )
    if level == 3:
        words = draw.sample(_WORDS, 6)
        letter = draw.choice([one for one in "aeiorntl" if one in "".join(words)])
        count = "".join(words).count(letter)
        text = f"How often does the letter {letter} stand in: {' '.join(words)}? Answer with the number."
        return _number(text, count, draw)
    shift = draw.randint(3, 9)
    if level == 2:
        text, answer = f"Write the word {word} backwards.", word[::-1]
    elif level == 4:
        text = f"Replace each letter of the word {word} by the one {shift} places later; after z comes a."
        answer = _shifted(word, shift)
    else:
        other = draw.choice([one for one in _WORDS if one != word])
        text = (
            f"Write the words {word} and {other} together as one, turn it round, leave out every third letter of what "
            f"you have, and replace each letter that is left by the one {shift} places later; after z comes a."
        )
        turned = (word + other)[::-1]
        answer = _shifted("".join(c for place, c in enumerate(turned, 1) if place % 3), shift)
    return f"{text} Answer with what you get.", answer, (_spoilt(answer, draw), _spoilt(answer, draw, 2))


def _shifted(word: str, shift: int) -> str:
    letters = string.ascii_lowercase
    return word.translate(str.maketrans(letters, letters[shift:] + letters[:shift]))


def _spoilt(word: str, draw: random.Random, times: int = 1) -> str:
    """The word with so many letters changed, each another one."""
    found = list(word)
    for place in draw.sample(range(len(word)), times):
        found[place] = draw.choice([c for c in string.ascii_lowercase if c != word[place]])
    return "".join(found)
