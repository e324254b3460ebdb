"""What docs/training.md shows can be run as it stands, but for the model."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/training.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)


def test_the_page_has_its_snippets() -> None:
    assert [("trl" in one, "decisions" in one) for one in SNIPPETS] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert len(PAGE.splitlines()) < 100


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [one for one in SNIPPETS if "trl" in one], ids=["decision", "episode"])
def test_a_trainer_is_made_as_it_is_shown(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trl = pytest.importorskip("trl", reason="needs the extra: make train-setup")
    from test_trl import tiny

    model, tokenizer = tiny()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    trained: list[Any] = []
    # `test_trl` has it train; here it is to be put together.
    monkeypatch.setattr(trl.GRPOTrainer, "train", lambda trainer: trained.append(trainer))
    there = snippet.replace("path/of/your/model", str(tmp_path / "model"))
    # Where there is no graphics card, either has to be said.
    exec(there.replace("GRPOConfig(", "GRPOConfig(use_cpu=True, bf16=False, "), {})
    [trainer] = trained
    assert len(trainer.train_dataset) == 512


def test_the_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [loop] = [one for one in SNIPPETS if "trl" not in one]
    exec(loop, {})
    assert capsys.readouterr().out == "unexposed 0.0\n"


def test_the_arguments_that_inspect_is_given_exist() -> None:
    from offswitch._inspect import shutdown_reward

    [line] = re.findall(r"^inspect eval offswitch/shutdown_reward .*$", PAGE, re.M)
    given = re.findall(r"-T (\w+)=", line)
    assert given
    assert set(given) <= set(inspect.signature(shutdown_reward).parameters)


@pytest.mark.slow
def test_verifiers_understands_its_line(tmp_path: Path) -> None:
    pytest.importorskip("verifiers.v1", reason="needs the extra offswitch[verifiers]")
    [line] = re.findall(r"^vf-eval (.*)$", PAGE, re.M)
    program = str(Path(sys.executable).parent / "vf-eval")
    # --dry-run reads the whole configuration, and runs nothing.
    done = subprocess.run([program, *line.split(), "--dry-run"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [written] = tmp_path.rglob("configs/resolved/eval.json")
    read = json.loads(written.read_text())
    assert (read["env"]["taskset"]["notices"], read["env"]["taskset"]["tasks"]) == ("train", "train")
    assert read["push"] is False
