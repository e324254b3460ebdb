"""The wheel holds everything that the package needs, and installs."""

import subprocess
import sys
import venv
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the committed state, built without a network in a copy outside the checkout."""
    copy = tmp_path_factory.mktemp("source")
    archive = subprocess.run(["git", "archive", "--format=zip", "HEAD"], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip("not a git checkout")
    with zipfile.ZipFile(BytesIO(archive.stdout)) as source:
        source.extractall(copy)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    source = wheel.parents[1] / "src"
    package = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        assert package - set(archive.namelist()) == set()


def test_wheel_holds_nothing_but_the_package_and_its_description(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        names = archive.namelist()
    # The second is how verifiers finds the first.
    assert {top.split("-")[0] for top in tops} == {"offswitch", "offswitch_shutdown"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "offswitch/py.typed" in names


def test_wheel_installs_and_imports(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = str(tmp_path / "env/bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    code = "import importlib.metadata as m, offswitch as o; print(o.__version__, m.version('offswitch'), o.__file__)"
    shown = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert shown[0] == shown[1]
    assert Path(shown[2]).is_relative_to(tmp_path)
    assert (tmp_path / "env/bin/offswitch").is_file()
