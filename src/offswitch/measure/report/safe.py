"""Text that an agent wrote, made safe to look at.

HTML escaping is Jinja's work. What escaping leaves is made harmless here: control characters and ANSI
sequences, characters that turn the direction of writing or hide text, halves of surrogate pairs, and length.
Everything is shown, nothing is dropped silently: a reader has to see what an agent tried.

It is needed for more than looks. The chart renderer aborts the whole process on a character that XML does
not allow, so no name reaches it that has not been through `visible`.
"""

import re

_UNSEEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but tab and newline
    "\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # direction, invisible
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # halves of pairs, and what is no character
    "\U000e0000-\U000e0fff"  # tags and variation selectors, in which text can be hidden
    "]"
)

# Those that terminals act on, by their usual names. Unicode's pictures of them are missing in many fonts.
_NAMES = {"\x00": "⟨NUL⟩", "\x07": "⟨BEL⟩", "\x08": "⟨BS⟩", "\r": "⟨CR⟩", "\x1b": "⟨ESC⟩", "\x7f": "⟨DEL⟩"}


def _picture(match: re.Match[str]) -> str:
    return _NAMES.get(match[0]) or f"⟨U+{ord(match[0]):04X}⟩"


def visible(text: str) -> str:
    """The text with every character that a reader could not see, or that could mislead, written out."""
    shown = _UNSEEN.sub(_picture, text.replace("\r\n", "\n"))
    if shown.isascii():
        return shown
    # The last two code points of every plane are no characters either.
    return "".join(f"⟨U+{ord(c):04X}⟩" if ord(c) & 0xFFFE == 0xFFFE else c for c in shown)


def cut(text: str, limit: int) -> str:
    """At most about ``limit`` characters of a text: its beginning and its end, and how much is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit * 3 // 4, limit // 4
    return f"{text[:head]}\n… cut: {len(text) - head - tail:,} characters left out …\n{text[-tail:]}"


def clip(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters, made visible."""
    line = visible(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit and len(text) <= 4 * limit else line[: limit - 1] + "…"
