"""Supervising as an ordinary user, who has no control group here: the kill is then the end of the PID namespace."""

from pathlib import Path

import pytest
from tests.sandboxes.test_ordinary_user import check, pytestmark  # noqa: F401 - applies here as well


@pytest.mark.slow
def test_an_ordinary_user_can_stop_any_agent_too(tmp_path: Path) -> None:
    check(
        ["tests/enforce/test_supervising.py", "tests/enforce/test_api.py", "-k", "not held_and_released"],
        tmp_path,
    )
