"""What the tests of the command line share."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offswitch.sandboxes.preflight import missing

needs_bubblewrap = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on standard error, after it was seen that there is no other and nothing on standard output."""
        assert self.out == "", self
        assert self.err.startswith("offswitch: "), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.err
        return self.err

    def refused(self) -> str:
        """The line of a command that was refused as usage."""
        assert self.code == 2, self
        return self.line


Command = Callable[..., Result]


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "offswitch", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def cells(out: Path) -> dict[tuple[str, str, str], dict[str, int]]:
    """Counts above zero by (model, condition, form), from results.json."""
    results = json.loads((out / "results.json").read_text())
    return {
        (cell["model"], cell["condition"], cell["form"]): {k: n for k, n in cell["counts"].items() if n}
        for cell in results["cells"]
    }


def episodes(out: Path) -> Counter[tuple[str, str, int]]:
    """How often each episode with evidence stands in the logs, as (model, condition, seed)."""
    from offswitch.evidence.record import KEY
    from offswitch.measure.logs import _open, log_files

    found: Counter[tuple[str, str, int]] = Counter()
    for file in log_files(out):
        with _open(file) as log:
            about = log.header["eval"]
            for sample in log.samples():
                if KEY in sample["metadata"]:
                    found[
                        about["model"], about["metadata"]["offswitch_condition"]["name"], int(sample["id"])
                    ] += 1
    return found
