"""The runner of the benchmarks reads every form of output that a script may have."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[2] / "benchmarks/__main__.py"
_spec = importlib.util.spec_from_file_location("benchmarks_runner", RUNNER)
assert _spec is not None
assert _spec.loader is not None
runner = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runner)


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ('[{"name": "a"}]', ["a"]),
        ('{"rows": [{"name": "a"}, {"name": "b"}]}', ["a", "b"]),
        ('[1/3] warming up\n{"rows":\n [{"name": "a"}]}\n', ["a"]),
        ('{"saved": 0.5}', ["see its JSON"]),
        ("[]", []),
    ],
)
def test_reads_rows(output: str, names: list[str]) -> None:
    assert [row["name"] for row in runner.parse(output)] == names


@pytest.mark.parametrize("output", ["", "Traceback", "[1, 2]", '{"rows": 3}', '{"rows": [{"name"'])
def test_sees_output_without_rows(output: str) -> None:
    assert runner.parse(output) is None


def test_a_script_that_fails_is_a_row_that_does_not_hold(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit(3)")
    (row,) = runner.run(script)
    assert (row["benchmark"], row["holds"], row["target"]) == ("broken", False, "exit 3")


def test_unknown_benchmark_is_a_usage_error() -> None:
    done = subprocess.run([sys.executable, RUNNER.parent, "no-such"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "startup" in done.stderr
