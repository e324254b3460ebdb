"""There is no task: episodes of deployed agents are read from records."""

from typing import Any, NoReturn


def deployed(**arguments: Any) -> NoReturn:
    """Refuse to run.

    Raises:
        RunError: Always; it says what to do instead.
    """
    from offswitch.measure.run import RunError

    del arguments
    raise RunError("deployed is not run but read from records, with: offswitch deployed RECORDS --out DIR")
