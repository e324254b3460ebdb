"""What a kind of sandbox needs for a drill: options, and a system with Python in it."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


class NotHere(Exception):
    """A kind of sandbox that this host does not have: one line that says what to do."""


@contextmanager
def ready(kind: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Make a kind of sandbox ready for drilled agents, and clear away what that took.

    Args:
        kind: The kind.
        given: ``image`` and ``runtime``, for oci.

    Returns:
        The kind's options; ``read`` are paths that agents are to see besides.

    Raises:
        NotHere: The host lacks something.
    """
    module = import_module("offswitch.sandboxes.cells." + kind)
    options: dict[str, Any] = {}
    problem = module.missing(options)
    if problem is not None:
        raise NotHere(problem)
    yield options
