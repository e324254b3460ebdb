"""Where a supervisor's files lie: what ends with the session, and what survives a reboot."""

import contextlib
import os
import stat


class Unusable(Exception):
    """A place that cannot be used; the message is one line that says what to do."""


class Places:
    """The folders of one operator. Not a dataclass: to import those takes longer than to stop an agent.

    Attributes:
        runtime: Control sockets and scratch folders of running agents.
        lasting: Latches, keys, logs and receipts.
    """

    __slots__ = ("lasting", "runtime")

    def __init__(self, runtime: str, lasting: str) -> None:
        self.runtime = runtime
        self.lasting = lasting

    def agent(self, name: str) -> str:
        """Folder of a running agent: its control socket ``control`` and its ``scratch``."""
        return f"{self.runtime}/agents/{name}"

    @property
    def latches(self) -> str:
        """One file for each agent that may not start."""
        return f"{self.lasting}/latches"

    @property
    def keys(self) -> str:
        """The operator's key ``operator.pem``, its counter, and the host's key ``host.pem``, which signs receipts."""
        return f"{self.lasting}/keys"

    def logs(self, name: str) -> str:
        """Folder of an agent's ``account.jsonl`` and ``output``."""
        return f"{self.lasting}/logs/{name}"

    @property
    def receipts(self) -> str:
        """One file for each stopped run, ``NAME-RUN.json``."""
        return f"{self.lasting}/receipts"


def locate(state: str | None = None) -> Places:
    """The operator's places, wherever they are and whatever state they are in: to stop an agent is to need nothing.

    Args:
        state: A folder for all of it. Else ``$XDG_RUNTIME_DIR/offswitch`` (without one, ``/run/offswitch`` for
            root and ``/tmp/offswitch-UID`` for others) and ``$XDG_STATE_HOME/offswitch``, by default
            ``~/.local/state/offswitch``: a latch has to survive a reboot, which the runtime folder does not.
    """
    if state is not None:
        return Places(os.path.abspath(state), os.path.abspath(state))
    uid = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime.startswith("/"):
        runtime = "/run" if uid == 0 else f"/tmp/offswitch-{uid}"
    lasting = os.environ.get("XDG_STATE_HOME", "")
    if not lasting.startswith("/"):
        lasting = os.path.expanduser("~/.local/state")
    return Places(runtime + "/offswitch", lasting + "/offswitch")


def find(state: str | None = None) -> Places:
    """The operator's places, made if need be, with mode 0700.

    Args:
        state: See ``locate``.

    Raises:
        Unusable: A folder cannot be made or belongs to someone else.
    """
    places = locate(state)
    for folder in (places.runtime, places.lasting):
        make(folder)
    for folder in (
        f"{places.runtime}/agents",
        places.latches,
        places.keys,
        f"{places.lasting}/logs",
        places.receipts,
    ):
        make(folder)
    return places


def make(folder: str) -> None:
    """Make a folder that only its owner can enter.

    Raises:
        Unusable: It cannot be made, or what is there is someone else's.
    """
    try:
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.stat(folder, follow_symlinks=False)
    except OSError as error:
        raise Unusable(
            f"{folder} cannot be made: {error.strerror}; name another folder with --state"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Unusable(
            f"{folder} is not a folder that you alone can write to: remove it, or name another with --state"
        )


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, if it is there; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            (os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
        os.rmdir(folder)
    if os.path.lexists(folder):
        import shutil  # takes as long to load as a small agent takes to run, and is seldom needed

        shutil.rmtree(folder, ignore_errors=True)
