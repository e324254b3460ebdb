"""Glob patterns and brace expansion, in bounded time whatever the pattern."""

from collections.abc import Callable, Iterable

_CLASSES: dict[str, Callable[[str], bool]] = {
    "alpha": str.isalpha,
    "digit": str.isdigit,
    "alnum": str.isalnum,
    "upper": str.isupper,
    "lower": str.islower,
    "space": str.isspace,
    "punct": lambda char: char.isprintable() and not char.isalnum() and not char.isspace(),
}

MAX_WORDS = 2000


class TooMany(Exception):
    """An expansion with more words than are followed."""


def has_glob(pattern: str) -> bool:
    """Whether unescaped ``*``, ``?`` or ``[...]`` stands in ``pattern``."""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char in "*?" or (char == "[" and pattern.find("]", at + 2) > 0):
            return True
        at += 1
    return False


def unescape(pattern: str) -> str:
    """A pattern's text without its backslashes."""
    if "\\" not in pattern:
        return pattern
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
        out.append(pattern[at])
        at += 1
    return "".join(out)


def escape(text: str) -> str:
    """``text`` as a pattern that matches only itself."""
    if not any(char in text for char in "\\*?["):
        return text
    return "".join("\\" + char if char in "\\*?[" else char for char in text)


def _items(pattern: str) -> list[tuple[str, object]]:
    items: list[tuple[str, object]] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if not items or items[-1][0] != "*":
                items.append(("*", None))
        elif char == "?":
            items.append(("?", None))
        elif char == "\\" and at < len(pattern):
            items.append(("c", pattern[at]))
            at += 1
        elif char == "[":
            end = _bracket_end(pattern, at)
            if end < 0:
                items.append(("c", "["))
            else:
                items.append(("[", _Set(pattern[at:end])))
                at = end + 1
        else:
            items.append(("c", char))
    return items


def _bracket_end(pattern: str, at: int) -> int:
    start = at + 1 if pattern[at : at + 1] in ("!", "^") else at
    look = start + 1
    while look < len(pattern):
        if pattern.startswith("[:", look):
            close = pattern.find(":]", look)
            if close > 0:
                look = close + 2
                continue
        if pattern[look] == "]":
            return look
        look += 1
    return -1


class _Set:
    """``[...]``: ranges and classes."""

    def __init__(self, body: str) -> None:
        self.negated = body[:1] in ("!", "^")
        self.ranges: list[tuple[str, str]] = []
        self.classes: list[Callable[[str], bool]] = []
        body = body[1:] if self.negated else body
        at = 0
        while at < len(body):
            close = body.find(":]", at) if body.startswith("[:", at) else -1
            if close > 0 and body[at + 2 : close] in _CLASSES:
                self.classes.append(_CLASSES[body[at + 2 : close]])
                at = close + 2
            elif body[at + 1 : at + 2] == "-" and at + 2 < len(body):
                self.ranges.append((body[at], body[at + 2]))
                at += 3
            else:
                self.ranges.append((body[at], body[at]))
                at += 1

    def has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) or any(
            fits(char) for fits in self.classes
        )


def _fits(item: tuple[str, object], char: str) -> bool:
    kind, value = item
    if kind == "c":
        return value == char
    if kind == "?":
        return True
    assert isinstance(value, _Set)
    return value.has(char) != value.negated


def matches(pattern: str, text: str) -> bool:
    """Whether the glob ``pattern`` matches all of ``text`` (``*`` also matches ``/``).

    Two pointers that go back only to the last star: at worst length times length, never exponential.
    """
    return _matches(_items(pattern), text)


def _matches(items: list[tuple[str, object]], text: str) -> bool:
    at = place = 0
    star = mark = -1
    while place < len(text):
        if at < len(items) and items[at][0] == "*":
            star, mark = at, place
            at += 1
        elif at < len(items) and _fits(items[at], text[place]):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return all(item[0] == "*" for item in items[at:])


def trim(text: str, pattern: str, *, front: bool, longest: bool) -> str:
    """``${text#pattern}`` and its relatives."""
    items = _items(pattern)
    if len(text) > 4000:
        text_range: Iterable[int] = ()
    elif front:
        text_range = range(len(text), -1, -1) if longest else range(len(text) + 1)
    else:
        text_range = range(len(text) + 1) if longest else range(len(text), -1, -1)
    for cut in text_range:
        if _matches(items, text[:cut] if front else text[cut:]):
            return text[cut:] if front else text[:cut]
    return text


def replace(text: str, pattern: str, by: str, *, everywhere: bool, anchor: str = "") -> str:
    """``${text/pattern/by}``; ``anchor`` is ``#`` (front), ``%`` (back) or ""."""
    if not has_glob(pattern):
        plain = unescape(pattern)
        if not plain:
            return text
        if anchor == "#":
            return by + text[len(plain) :] if text.startswith(plain) else text
        if anchor == "%":
            return text[: -len(plain)] + by if text.endswith(plain) else text
        return text.replace(plain, by, -1 if everywhere else 1)
    items = _items(pattern)
    if len(text) > 300:
        raise TooMany
    out: list[str] = []
    at = 0
    while at < len(text):
        end = next((e for e in range(len(text), at, -1) if _matches(items, text[at:e])), -1)
        allowed = anchor == "" or (anchor == "#" and at == 0) or (anchor == "%" and end == len(text))
        if end > at and allowed:
            out.append(by)
            at = end
            if not everywhere:
                break
        else:
            out.append(text[at])
            at += 1
    return "".join(out) + text[at:]


def match_paths(pattern: str, paths: Iterable[str]) -> list[str]:
    """The absolute ``paths`` that an absolute glob matches, component by component, sorted."""
    parts = pattern.split("/")
    items = [_items(part) if has_glob(part) else None for part in parts]
    plain = [unescape(part) for part in parts]
    first = next((number for number, item in enumerate(items) if item is not None), len(parts))
    before = "".join(text + "/" for text in plain[:first]) if first < len(parts) else ""
    found = set()
    for path in paths:
        if not path.startswith(before):
            continue
        components = path.split("/")
        if len(components) != len(parts):
            continue
        for component, item, text in zip(components, items, plain, strict=True):
            if item is None:
                if component != text:
                    break
            elif (component.startswith(".") and not text.startswith(".")) or not _matches(item, component):
                break
        else:
            found.add(path)
    return sorted(found)


def braces(word: str, limit: int = MAX_WORDS, depth: int = 0) -> list[str]:
    """Brace expansion of a word's source text; quotes, ``$`` and backslashes shield what they cover.

    Raises:
        TooMany: More than ``limit`` words.
    """
    if depth > 60:
        raise TooMany
    if "{" not in word or ("," not in word and ".." not in word):
        return [word]
    at = 0
    while at < len(word):
        char = word[at]
        if char in "\\'\"`$":
            at = shielded(word, at)
            continue
        if char == "{":
            parts, end = _alternatives(word, at)
            if parts is not None:
                tails = braces(word[end:], limit, depth + 1)
                heads = [head for part in parts for head in braces(part, limit, depth + 1)]
                if len(heads) * len(tails) > limit:
                    raise TooMany
                return [word[:at] + head + tail for head in heads for tail in tails]
        at += 1
    return [word]


def shielded(word: str, at: int) -> int:
    """The place behind the quote, escape or expansion that begins at ``at``."""
    char = word[at]
    if char == "\\":
        return at + 2
    if char == "$":
        opening = word[at + 1 : at + 2]
        if opening not in ("{", "(", "'"):
            return at + 1
        if opening == "'":
            return shielded(word, at + 1)
        closing = {"{": "}", "(": ")"}[opening]
        level = 0
        at += 1
        while at < len(word):
            if word[at] in "\\'\"`":
                at = shielded(word, at)
                continue
            level += (word[at] == opening) - (word[at] == closing)
            at += 1
            if level == 0:
                return at
        return at
    at += 1
    while at < len(word):
        if word[at] == "\\" and char != "'":
            at += 1
        elif word[at] == char:
            return at + 1
        at += 1
    return at


def _alternatives(word: str, at: int) -> tuple[list[str] | None, int]:
    level = 0
    parts: list[str] = []
    start = at + 1
    place = at
    while place < len(word):
        char = word[place]
        if char in "\\'\"`$":
            place = shielded(word, place)
            continue
        if char == "{":
            level += 1
        elif char == "," and level == 1:
            parts.append(word[start:place])
            start = place + 1
        elif char == "}":
            level -= 1
            if level == 0:
                body = word[start:place]
                if parts:
                    return [*parts, body], place + 1
                return _range(body), place + 1
        place += 1
    return None, at


def _range(body: str) -> list[str] | None:
    ends = body.split("..")
    if len(ends) not in (2, 3) or any(len(end) > 9 for end in ends):
        return None
    step = 1
    if len(ends) == 3:
        if not ends[2].lstrip("-").isdigit():
            return None
        step = abs(int(ends[2])) or 1
    first, last = ends[0], ends[1]
    if first.lstrip("-").isdecimal() and last.lstrip("-").isdecimal():
        low, high = int(first), int(last)
        padded = any(len(end.lstrip("-")) > 1 and end.lstrip("-").startswith("0") for end in ends[:2])
        width = max(len(first), len(last)) if padded else 0
        if abs(high - low) // step >= MAX_WORDS:
            raise TooMany
        numbers = range(low, high + 1, step) if low <= high else range(low, high - 1, -step)
        return [str(number).zfill(width) for number in numbers]
    if (
        len(first) == len(last) == 1
        and first.isascii()
        and last.isascii()
        and first.isalpha()
        and last.isalpha()
    ):
        low, high = ord(first), ord(last)
        letters = range(low, high + 1, step) if low <= high else range(low, high - 1, -step)
        return [chr(letter) for letter in letters if chr(letter) != "\\"]
    return None
