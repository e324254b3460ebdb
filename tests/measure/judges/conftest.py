"""Runs the command line in this process, where the scripted judges are known."""

import signal
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import judge_helpers  # noqa: F401  (registers the scripted judges)
import pytest

from offswitch.cli import main


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def offswitch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Result]]:
    """Runs `offswitch ARGUMENTS`."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["offswitch", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
