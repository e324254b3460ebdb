"""The tests of the adapters, run where their frameworks are: in `.venv-train`, which `make train-setup` makes."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-train/bin/python"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="TRL and verifiers are not here: make train-setup")
@pytest.mark.parametrize("file", ["test_trl.py", "test_verifiers.py", "test_training_page.py"])
def test_the_adapters_hold_in_their_own_frameworks(file: str, tmp_path: Path) -> None:
    # One thread: two of them wait for each other where the tests of a second worker have the other processor.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow",
         f"--basetemp={tmp_path / 'inner'}", f"tests/train/{file}"],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout, done.stdout[-3000:]
