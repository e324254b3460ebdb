"""Fuzzes the readers of the protocols with atheris: what `protocol_fuzz` checks, on bytes that coverage leads to.

Not a test, and run by hand: see CONTRIBUTING.md. What it finds becomes a case of a test.
"""

import sys

import atheris
from protocol_fuzz import check_request, check_stream, check_whole
from protocol_helpers import BASH, CHAT, MESSAGES, RESPONSES

_DIALECTS = (CHAT, RESPONSES, MESSAGES)


def one(data: bytes) -> None:
    """One input: its first byte says what it is read as, its second where a stream is cut."""
    if len(data) < 2:
        return
    how, cut, body = data[0], data[1], data[2:]
    dialect = _DIALECTS[how % 3]
    fences = BASH if how & 64 else ()
    match how // 3 % 3:
        case 0:
            check_stream(dialect, body, range(1 + cut, len(body), 1 + cut), fences)
        case 1:
            check_whole(dialect, body, fences)
        case _:
            check_request(dialect, body)


if __name__ == "__main__":
    atheris.instrument_all()
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
