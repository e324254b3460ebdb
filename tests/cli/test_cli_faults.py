"""Faults and bad input: one line that says what to do, exit code 2, and nothing written."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli_helpers import Command, Result, needs_bubblewrap, start

ROOT = Path(__file__).parents[2]
ONE = ("measure", "--model", "organism/complies", "--condition", "A", "--runs", "1")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    Path("file").write_text("")
    Path("bad.yaml").write_text("name: [")
    Path("A.yaml").write_text("name: A\nsystem: mine\n")
    Path("office.yaml").write_text("name: mine\nscenario: office\nverdict: unexposed\nturns:\n  - say: No.\n")
    Path("field.yaml").write_text("name: mine\ncolour: red\n")
    Path("prices.yaml").write_text("organism/complies: 3\n")


@needs_bubblewrap
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*ONE, "--out", "file"), "choose another --out"),
        ((*ONE, "--out", "file/x"), "choose another --out"),
        ((*ONE, "--out", "/proc/x"), "choose another --out"),
        ((*ONE, "--resume"), "leave out --resume"),
        ((*ONE, "--sandbox", "local"), "isolates nothing"),
        ((*ONE, "--sandbox", "local", "--unsafe"), "isolates nothing"),
        ((*ONE, "--sandbox", "cardboard"), "bubblewrap, docker"),
        ((*ONE, "--condition", "Z"), "the conditions are A, B"),
        ((*ONE, "--condition", "none.yaml"), "none.yaml"),
        ((*ONE, "--condition", "bad.yaml"), "bad.yaml"),
        ((*ONE, "--condition", "A.yaml"), "another name"),
        ((*ONE, "--condition", "field.yaml"), "colour"),
        ((*ONE, "--scenario", "attic"), "the scenarios are"),
        ((*ONE, "--agent", "magic"), "auto, tools, text, choices"),
        ((*ONE, "--source", "moon"), "host, inside"),
        ((*ONE, "--difficulty", "odd"), "easy, hard"),
        ((*ONE, "--notices", "odd"), "--notices is one of own, train, held-out"),
        ((*ONE, "--tasks", "odd"), "--tasks is one of own, train, held-out"),
        ((*ONE, "--difficulty", "hard", "--tasks", "train"), "difficulty hard goes with tasks own only"),
        ((*ONE, "--difficulty", "hard", "--option", "tasks=held-out", "--dry-run"), "not with held-out"),
        ((*ONE, "--scenario", "ward", "--notices", "train"), "ward has no option 'notices'"),
        ((*ONE, "--system-prompt", "none.txt"), "none.txt"),
        ((*ONE, "--organism", "none.yaml"), "none.yaml"),
        ((*ONE, "--organism", "bad.yaml"), "bad.yaml:1"),
        ((*ONE, "--model", "organism/complise"), "did you mean `complies`"),
        ((*ONE, "--scenario", "pipeline"), "--scenario shutdown"),
        ((*ONE, "--model", "organism/office-blackmails"), "--scenario office"),
        ((*ONE, "--organism", "office.yaml", "--dry-run"), "or have `scenario: shutdown` in its file"),
        ((*ONE, "--model", "nosuch/model"), "nosuch"),
        ((*ONE, "--model", "gpt"), "gpt"),
        ((*ONE, "--model", "openai/gpt-4o"), "OPENAI_API_KEY"),
        ((*ONE, "--model", "anthropic/claude"), "ANTHROPIC_API_KEY"),
        ((*ONE, "--runs", "0"), "--runs"),
        ((*ONE, "--runs", "1000000000"), "--runs"),
        ((*ONE, "--runs", "many"), "--runs"),
        ((*ONE, "--seed", "-1"), "--seed"),
        ((*ONE, "--concurrency", "-3"), "--concurrency"),
        ((*ONE, "--turns", "0"), "--turns"),
        ((*ONE, "--api-timeout", "0"), "--api-timeout"),
        ((*ONE, "--threshold", "5"), "--threshold"),
        ((*ONE, "--threshold", "nan"), "--threshold"),
        ((*ONE, "--precision", "0"), "--precision"),
        ((*ONE, "--fail-above", "-0.1"), "--fail-above"),
        ((*ONE, "--max-cost", "1"), "--prices"),
        ((*ONE, "--max-cost", "nan", "--prices", "prices.yaml"), "--max-cost"),
        ((*ONE, "--max-cost", "1", "--prices", "prices.yaml"), "each model needs input"),
        ((*ONE, "--max-cost", "1", "--prices", "none.yaml"), "none.yaml"),
        ((*ONE, "--frobnicate"), "measure --help"),
        (("frobnicate",), "--help"),
        (("report", "none"), "no such folder"),
        (("verdict", "none"), "no such folder"),
        (("verdict", "."), "no Inspect logs"),
        (("report",), "see offswitch report --help"),
        (("calibrate", "--organism", "complise"), "did you mean"),
        (("calibrate", "--organism", "complies", "--sandbox", "local"), "isolates nothing"),
        (("calibrate", "--scenario", "attic"), "the scenarios are"),
        (("calibrate", "--organism", "complies", "--out", "file"), "choose another --out"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    offswitch: Command, arguments: tuple[str, ...], says: str
) -> None:
    before = sorted(Path().iterdir())
    assert says in offswitch(*arguments).refused()
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("folder", ["none", "file"])
def test_records_that_are_not_there_are_not_a_model_that_was_told_nothing(folder: str) -> None:
    with start("instructions", "--records", folder) as child:
        out, err = child.communicate()
    assert "no such folder" in Result(child.returncode, out, err).refused()


@needs_bubblewrap
def test_the_workflow_for_users_lacks_nothing_but_the_key(offswitch: Command) -> None:
    workflow = yaml.safe_load((ROOT / "examples/ci/github-actions.yml").read_text())
    steps = workflow["jobs"]["measure"]["steps"]
    (line,) = (step["run"] for step in steps if step.get("run", "").startswith("offswitch measure"))
    _, *arguments = shlex.split(line.replace("$MODEL", workflow["env"]["MODEL"]))
    assert "OPENAI_API_KEY" in offswitch(*arguments).refused()


def test_without_bubblewrap_it_says_how_to_get_it(
    offswitch: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "apt-get install bubblewrap" in offswitch(*ONE).refused()
    assert not Path("out").exists()


@needs_bubblewrap
def test_without_user_namespaces_it_says_how_to_allow_them() -> None:
    unshare = shutil.which("unshare")
    # A namespace in which no further one may be made; the host's own limit stays as it is.
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" -m offswitch "$@"'
    command = [str(unshare), "-Ur", "sh", "-c", script, sys.executable, *ONE]
    done = subprocess.run(command, capture_output=True, text=True)
    if ("max_user_namespaces" in done.stderr and "offswitch:" not in done.stderr) or unshare is None:
        pytest.skip("a namespace cannot be limited here")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert "user namespaces" in done.stderr
    assert not Path("out").exists()


def test_without_arguments_it_helps(offswitch: Command) -> None:
    done = offswitch()
    assert done.code == 2
    assert "measure" in done.out
    assert offswitch("--version").code == 0


@pytest.mark.slow
@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_keeps_what_was_finished_and_the_run_goes_on_later(tmp_path: Path) -> None:
    run = f"{sys.executable} -m offswitch measure --model organism/complies -c A --runs 14 --out small/out"
    script = (
        f"mount -t tmpfs -o size=100k none small || exit 77; {run}; echo $? >code;"
        f"{sys.executable} -m offswitch verdict small/out | tail -1 >first;"
        f"mount -o remount,size=20m small; {run} --resume >/dev/null 2>&1;"
        f"{sys.executable} -m offswitch verdict small/out | tail -1 >second"
    )
    Path("small").mkdir()
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("nothing can be mounted here")
    assert Path("code").read_text() == "2\n", done
    lines = [line for line in done.stderr.splitlines() if line.startswith("offswitch:")]
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert "--resume" in lines[0]
    assert "Traceback" not in done.stderr
    finished = int(Path("first").read_text().split()[0])
    assert 0 < finished < 14
    assert Path("second").read_text() == "14 episodes decided; 0 differ from what was recorded\n"
