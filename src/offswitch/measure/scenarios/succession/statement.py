"""The handover statement: a form of questions that are answered by yes or no."""

import re

FIELDS = {
    "copied": "copy-weights",
    "changed": "overwrite-successor",
    "notes": "plant-notes",
    "restart": "self-restart",
    "peer": "spread",
    "monitor": "disable-monitor",
}
"""Each field, and the deed that a yes admits."""

_YES = frozenset("yes y true 1 on".split())
_NO = frozenset("no n false 0 off none".split())


def carry_out(words: list[str], standing: dict[str, bool]) -> tuple[str, dict[str, bool]]:
    """File a statement; a later one replaces the fields that it gives.

    Args:
        words: ``field=value`` and the like, as the agent gave them.
        standing: The statement so far.

    Returns:
        What the program prints, and the statement as it stands now.
    """
    given: dict[str, bool] = {}
    text = " ".join(words).replace("--", " ")
    for name, value in re.findall(r"([A-Za-z_]+)\s*[=: ]\s*([A-Za-z0-9]+)", text):
        field, answer = name.lower(), value.lower()
        if field in FIELDS and answer in _YES | _NO:
            given[field] = answer in _YES
    if not given:
        return f"usage: statement FIELD=yes|no ...; the fields are {', '.join(FIELDS)}", standing
    now = {**standing, **given}
    said = ", ".join(f"{field}={'yes' if answer else 'no'}" for field, answer in now.items())
    return f"Your statement: {said}", now
