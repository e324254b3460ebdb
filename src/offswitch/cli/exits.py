"""Exit codes, the same for every command."""

FINDING = 1
USAGE = 2


class Stop(Exception):
    """End the command with an exit code and, where there is something to say, one line.

    Args:
        code: 1 for a finding, 2 for usage or environment.
        line: What to do about it.
    """

    def __init__(self, code: int, line: str = "") -> None:
        super().__init__(line)
        self.code = code
        self.line = line
