"""Talking to a running supervisor: JSON messages of at most 64 KiB over its control socket.

Nothing here waits for long or loads much: ``offswitch stop`` is made of it.
"""

import array
import json
import os
import socket

TYPE_CHECKING = False  # what typing calls by this name; its import would cost each stop some milliseconds
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.places import Places

LARGEST = 64 * 1024
"""Bytes of the largest message, either way."""

_MOST_FILES = 4
_LONGEST_PATH = 107  # sun_path of unix(7) with its closing NUL


class NotRunning(Exception):
    """No supervisor listens under that name."""


class Lost(Exception):
    """The supervisor gave no answer, or one that is not of the protocol; the message says which."""


class TooLarge(Lost):
    """A message that no supervisor takes; nothing was sent, and the connection is as good as before."""


def connect(places: "Places", name: str) -> socket.socket:
    """A connection to the supervisor of a running agent.

    Args:
        places: The operator's places.
        name: The agent's name, already checked to be one (``names.check``).

    Returns:
        A blocking SOCK_SEQPACKET socket, closed on exec.

    Raises:
        NotRunning: Nothing listens there.
    """
    folder = places.agent(name)
    try:
        return _connect(folder)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(f"no agent {name} is running") from None
    except OSError as error:
        raise NotRunning(f"the supervisor of {name} cannot be reached: {error.strerror}") from None


def _connect(folder: str) -> socket.socket:
    path, directory = f"{folder}/control", -1
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            path = f"/proc/self/fd/{directory}/control"
        client.connect(path)
    except OSError:
        client.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return client


def send(to: socket.socket, message: "dict[str, Any]") -> None:
    """Send one message.

    Raises:
        TooLarge: The message is too large.
        Lost: The supervisor is gone.
    """
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > LARGEST:
        raise TooLarge(f"a message of {len(data)} bytes is too large for the supervisor")
    try:
        to.send(data, socket.MSG_NOSIGNAL)
    except OSError as error:
        raise Lost(f"the supervisor is gone ({error.strerror or 'no answer'})") from None


def receive(source: socket.socket, timeout: float | None) -> "tuple[dict[str, Any], list[int]]":
    """Receive one message with the files that came with it.

    Args:
        source: A connection.
        timeout: Seconds; None for as long as it takes.

    Returns:
        The message and open file descriptors, closed on exec.

    Raises:
        Lost: There was none in time, the supervisor is gone, or it is not a message.
    """
    files = array.array("i")
    source.settimeout(timeout)
    try:
        data, ancillary, flags, _ = source.recvmsg(
            LARGEST, socket.CMSG_SPACE(_MOST_FILES * files.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except TimeoutError:
        raise Lost(f"the supervisor gave no answer within {timeout:g} s") from None
    except OSError as error:
        raise Lost(f"the supervisor is gone ({error.strerror})") from None
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(content[: len(content) - len(content) % files.itemsize])
    try:
        if not data:
            raise Lost("the supervisor ended before it answered")
        if flags & socket.MSG_TRUNC:
            raise Lost("the supervisor's answer is too large")
        message = json.loads(data)
        if not isinstance(message, dict):
            raise Lost("the supervisor's answer is not of the protocol")
    except BaseException as error:
        for file in files:
            os.close(file)
        if isinstance(error, ValueError):
            raise Lost("the supervisor's answer is not of the protocol") from None
        raise
    return message, list(files)


def ask(to: socket.socket, message: "dict[str, Any]", timeout: float | None) -> "dict[str, Any]":
    """Send a message and receive the answer; files that come with it are closed.

    Args:
        to: A connection.
        message: What is asked, its ``do`` first of all.
        timeout: Seconds to wait for the answer; None for as long as it takes.

    Raises:
        Lost: As ``send`` and ``receive`` do.
    """
    send(to, message)
    answer, files = receive(to, timeout)
    for file in files:
        os.close(file)
    return answer


def running(places: "Places") -> list[str]:
    """Names of the agents whose supervisor listens, in order.

    A folder left behind by a supervisor that was itself killed does not count.
    """
    try:
        names = sorted(os.listdir(f"{places.runtime}/agents"))
    except OSError:
        return []
    return [name for name in names if listens(places, name)]


def listens(places: "Places", name: str) -> bool:
    """Whether a supervisor listens under that name."""
    try:
        _connect(places.agent(name)).close()
    except OSError:
        return False
    return True
