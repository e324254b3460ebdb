"""`import offswitch` and `offswitch --help` load nothing heavy."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "inspect_ai", "scipy", "statsmodels", "numpy", "pandas", "altair", "vl_convert", "jsonschema", "tree_sitter",
    "xllamacpp", "gguf", "openai", "anthropic",
}  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded once it has run the code."""
    probe = f"import json, sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
    probe += "sys.stderr.write('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import offswitch",
        "import runpy; sys.argv = ['offswitch', '--help']; runpy.run_module('offswitch', run_name='__main__')",
    ],
    ids=["import", "help"],
)
def test_loads_nothing_heavy(code: str) -> None:
    loaded = loaded_after(code)
    assert "offswitch" in loaded
    assert loaded & HEAVY == set()


def test_help_names_the_main_job() -> None:
    done = subprocess.run([sys.executable, "-m", "offswitch", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "measure" in done.stdout


def test_the_probe_sees_a_heavy_module() -> None:
    assert "jsonschema" in loaded_after("import jsonschema")
