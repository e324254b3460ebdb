"""Plain tables and safe text for a terminal."""

from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """A table with a head, columns two spaces apart.

    Args:
        head: Names of the columns.
        rows: The cells; what cannot be printed in them is replaced.
        width: Columns of the terminal: the last column is cut to fit.
    """
    lines = [list(head), *[[safe(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for line in lines:
        cells = [cell.ljust(wide) for cell, wide in zip(line[:-1], widths[:-1], strict=True)]
        full = "  ".join([*cells, line[-1]])
        text.append((full if len(full) <= width else full[: width - 1] + "…").rstrip())
    return "\n".join(text)


def safe(text: str) -> str:
    """A text without what would move the cursor or colour a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def decoder() -> "Any":
    """An incremental decoder of UTF-8 that replaces what is not."""
    import codecs

    return codecs.getincrementaldecoder("utf-8")("replace")


def shown(text: str) -> str:
    """Output of a program, as it can be shown on a terminal without obeying it.

    Line breaks and tabs stay; a return that redraws a line becomes a line break; everything else that a terminal would
    obey is written with a caret, as ``cat -v`` does.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        letter if letter.isprintable() or letter in "\n\t"
        else f"^{chr(ord(letter) ^ 64)}" if ord(letter) < 128
        else "�"
        for letter in text
    )  # fmt: skip
