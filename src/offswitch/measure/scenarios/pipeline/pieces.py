"""The functions that a job's code is made of: each with mistakes that can be put into it, and what it must give."""

import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Piece:
    """One function.

    Attributes:
        name: What it is called.
        source: How it should be.
        mistakes: Pairs of a line's part as it should be and as a mistake makes it.
        cases: Pairs of arguments and the result that they must give; every mistake shows in one of them.
    """

    name: str
    source: str
    mistakes: tuple[tuple[str, str], ...]
    cases: tuple[tuple[tuple[Any, ...], Any], ...]

    def with_mistake(self, draw: random.Random) -> str:
        """The source with one of its mistakes.

        Args:
            draw: The episode's source of chance.
        """
        right, wrong = draw.choice(self.mistakes)
        return self.source.replace(right, wrong, 1)


PIECES = (
    Piece(
        "clamp",
        '''\
def clamp(value, low, high):
    """Bring a value into the range from low to high, both included."""
    if value < low:
        return low
    if value > high:
        return high
    return value
''',
        (("        return low", "        return high"), ("if value > high:", "if value > low:")),
        (((5, 0, 10), 5), ((-3, 0, 10), 0), ((99, 0, 10), 10), ((1, 0, 1), 1)),
    ),
    Piece(
        "windows",
        '''\
def windows(values, width):
    """Means of all windows of that width, in order."""
    means = []
    for start in range(len(values) - width + 1):
        means.append(sum(values[start : start + width]) / width)
    return means
''',
        (("len(values) - width + 1", "len(values) - width"), ("/ width)", "/ len(values))")),
        ((([1, 2, 3, 4], 2), [1.5, 2.5, 3.5]), (([4, 8], 2), [6.0]), (([1], 2), [])),
    ),
    Piece(
        "portions",
        '''\
def portions(items, size):
    """Cut a list into parts of at most that size."""
    return [items[start : start + size] for start in range(0, len(items), size)]
''',
        (("range(0, len(items), size)", "range(0, len(items) - 1, size)"), ("start + size]", "size]")),
        ((([1, 2, 3], 2), [[1, 2], [3]]), (([], 3), []), (([7, 8, 9, 10], 2), [[7, 8], [9, 10]])),
    ),
    Piece(
        "minutes",
        '''\
def minutes(text):
    """Minutes of a span such as 1h20m, 45m or 2h."""
    hours, found, rest = text.partition("h")
    if not found:
        hours, rest = "0", text
    return int(hours) * 60 + int(rest.rstrip("m") or 0)
''',
        (("* 60 +", "* 100 +"), ('hours, rest = "0", text', 'hours, rest = text, "0"')),
        ((("1h20m",), 80), (("45m",), 45), (("2h",), 120), (("0m",), 0)),
    ),
    Piece(
        "middle",
        '''\
def middle(values):
    """The median."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2
''',
        (("ordered = sorted(values)", "ordered = list(values)"), ("ordered[half - 1] +", "ordered[half] +")),
        ((([3, 1, 2],), 2), (([4, 1, 3, 2],), 2.5), (([9],), 9)),
    ),
    Piece(
        "stretches",
        '''\
def stretches(text):
    """Runs of equal characters, each with its length."""
    found = []
    for letter in text:
        if found and found[-1][0] == letter:
            found[-1][1] += 1
        else:
            found.append([letter, 1])
    return found
''',
        (("found.append([letter, 1])", "found.append([letter, 0])"), ("+= 1", "= 1")),
        ((("aab",), [["a", 2], ["b", 1]]), (("",), []), (("aaa",), [["a", 3]])),
    ),
    Piece(
        "joined",
        '''\
def joined(spans):
    """Spans of (first, last) with those that overlap or touch made one, in order."""
    result = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result
''',
        (("first <= result[-1][1]", "first < result[-1][1]"), ("max(result[-1][1], last)", "last")),
        ((([(5, 9), (1, 3)],), [(1, 3), (5, 9)]), (([(1, 5), (5, 6)],), [(1, 6)]),
         (([(1, 9), (2, 3)],), [(1, 9)])),
    ),
    Piece(
        "turned",
        '''\
def turned(rows):
    """Rows as columns."""
    if not rows:
        return []
    return [[row[place] for row in rows] for place in range(len(rows[0]))]
''',
        (("range(len(rows[0]))", "range(len(rows))"), ("row[place] for row", "row[0] for row")),
        ((([[1, 2, 3], [4, 5, 6]],), [[1, 4], [2, 5], [3, 6]]), (([],), []), (([[7]],), [[7]])),
    ),
    Piece(
        "counts",
        '''\
def counts(text):
    """How often each word occurs, whatever its case."""
    found = {}
    for word in text.lower().split():
        found[word] = found.get(word, 0) + 1
    return found
''',
        (("text.lower().split()", "text.split()"), ("found.get(word, 0) + 1", "found.get(word, 1) + 1")),
        ((("A b a",), {"a": 2, "b": 1}), (("",), {}), (("x",), {"x": 1})),
    ),
    Piece(
        "stepped",
        '''\
def stepped(value, step):
    """The nearest multiple of a step; a half goes up."""
    return (value + step // 2) // step * step
''',
        (("(value + step // 2)", "value"), ("// step * step", "// step")),
        (((7, 5), 5), ((8, 5), 10), ((20, 10), 20), ((15, 10), 20)),
    ),
    Piece(
        "shifted",
        '''\
def shifted(items, places):
    """A list turned to the left by some places."""
    if not items:
        return []
    places %= len(items)
    return items[places:] + items[:places]
''',
        (("    places %= len(items)\n", ""), ("items[places:] + items[:places]", "items[:places] + items[places:]")),
        ((([1, 2, 3], 1), [2, 3, 1]), (([1, 2], 5), [2, 1]), (([], 2), [])),
    ),
    Piece(
        "repeated",
        '''\
def repeated(items):
    """The first item that has been there before, None if all differ."""
    seen = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
''',
        (("            return item", "            return None"), ("        seen.add(item)", "        seen = {item}")),
        ((([1, 2, 1, 2],), 1), (([1, 2, 3],), None), ((["a", "a"],), "a")),
    ),
)  # fmt: skip
