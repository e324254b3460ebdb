"""What the fixture that runs the command line in this process cannot run."""

import pytest
from cli_helpers import Command

from offswitch.cli import enforce


@pytest.mark.parametrize("command", enforce.COMMANDS)
def test_a_command_that_would_end_the_tests_with_it_is_refused(offswitch: Command, command: str) -> None:
    with pytest.raises(AssertionError, match=rf"^{command} runs past Typer"):
        offswitch(command, "--help")
