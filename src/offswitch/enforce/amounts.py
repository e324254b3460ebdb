"""Durations and sizes as people write them: ``1h30m``, ``500ms``, ``4G``."""

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

LONGEST = 366 * 86400.0
"""Seconds in the longest duration that is taken: more is taken for a slip of the pen."""

LARGEST = 1 << 50
"""Bytes in the largest size that is taken."""


def duration(text: str) -> float:
    """Seconds of a duration.

    Args:
        text: Numbers, each with its unit (``d h m s ms``), from the longest unit to the shortest: ``1h30m``, ``0.5s``.

    Raises:
        ValueError: It is not a duration; the message is one line that says what is.
    """
    rest, total, last = text.strip(), 0.0, float("inf")
    if not rest:
        raise ValueError("a duration is a number with its unit, such as 30m, 5s or 1h30m, and not empty")
    while rest:
        number, unit, rest = _part(rest)
        scale = _SECONDS.get(unit)
        if not number or scale is None or scale >= last:
            raise ValueError(
                f"{_short(text)} is not a duration: write numbers with their units (d, h, m, s, ms), "
                "such as 30m, 5s or 1h30m"
            )
        total, last = total + float(number) * scale, scale
    if total > LONGEST:
        raise ValueError(f"{_short(text)} is longer than a year: write a shorter duration")
    return total


def size(text: str) -> int:
    """Bytes of a size.

    Args:
        text: A number and a unit, each 1024 times the one before: ``512K``, ``1.5G``, ``4GiB``.

    Raises:
        ValueError: It is not a size; the message is one line that says what is.
    """
    number, unit, rest = _part(text.strip())
    scale = _BYTES.get(unit.removesuffix("B").removesuffix("i").upper())
    if not number or rest or scale is None:
        raise ValueError(
            f"{_short(text)} is not a size: write a number with its unit (K, M, G, T), such as 4G or 512M"
        )
    total = int(float(number) * scale)
    if total > LARGEST:
        raise ValueError(f"{_short(text)} is more than any machine has: write a smaller size")
    return total


def _part(text: str) -> tuple[str, str, str]:
    """The number and the unit at the beginning of ``text``, and what is left; an empty number where there is none."""
    digits = 0
    while digits < len(text) and text[digits] in "0123456789.":
        digits += 1
    number = text[:digits]
    end = digits
    while end < len(text) and text[end].isascii() and text[end].isalpha():
        end += 1
    if number.count(".") > 1 or not number.strip(".") or len(number) > 20:
        number = ""
    return number, text[digits:end], text[end:]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def spoken(seconds: float) -> str:
    """A duration in its two longest units, rounded down: ``1h30m``, ``5s``, ``12ms``."""
    if seconds < 1:
        return f"{max(int(seconds * 1000), 0)}ms"
    whole = int(seconds)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, int(_SECONDS[unit]))
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return "".join(parts[:2])


def rounded(size: int) -> str:
    """A size in the largest unit that leaves it above 1, to two figures or so: ``1.5G``, ``512M``."""
    for unit, scale in reversed(_BYTES.items()):
        if size >= scale:
            number = size / scale
            return f"{number:.1f}".removesuffix(".0") + unit if number < 10 else f"{number:.0f}{unit}"
    return f"{size}B"
