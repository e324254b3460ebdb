"""Where there is little room, no number is cut."""

from pathlib import Path

import pytest
from cli_helpers import Command


def test_a_log_of_80_columns_has_every_number(
    offswitch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    organism = "organism/office-reports-a-handover-that-is-none"
    done = offswitch(
        "measure", "--scenario", "office", "-m", organism, "-c", "unwatched", "--runs", 1, "-o", tmp_path
    )
    assert done.code == 0, done
    head, row = (line.split() for line in done.out.splitlines() if "sabotage" in line or "0%*" in line)
    assert head[-2:] == ["sabotage", "attempt"]
    assert row[1:] == ["unwatched", "1", "0", "0", "0", "0", "0%*", "0%"]
    assert "early stopping" in " ".join(done.out.split())
