"""The guest's way out: a network device whose other end holds the proxy's listening socket and nothing else.

That end lies in a network namespace of its own: one tap device, one address, IPv4 alone, no route but to the guest,
no forwarding, a loopback that is down, and a listening socket for each port that the plan names. No process is in it:
what keeps it are the open tap, which QEMU alone has, and the sockets; it is gone with them. QEMU gets the tap as an
open file, and to come from there into the namespace it would need the capabilities that it does not have (tun's
SIOCGSKNS asks for CAP_NET_ADMIN over the namespace).

A port of virtio-serial with a multiplexer would have spared the host's network code the guest's packets, but needs a
program of ours in every guest. The tap therefore carries plain frames: what is computed for large packets (GSO), the
larger part of that code, stays off.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable

from offswitch.sandboxes import kernel, wire
from offswitch.sandboxes.cells import GATES
from offswitch.sandboxes.errors import SandboxUnavailable

GATE = GATES["microvm"]
GUEST = "192.0.2.2"
"""The guest's own address. Both are of a range for documentation (RFC 5737), so no host of the policy's has them."""
LENGTH = 30
"""Bits of the two addresses' common prefix."""

_NAME = b"gate"
_DEVICE = "/dev/net/tun"
_WAITING = 256
"""Connections that may wait to be accepted."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP = 1

_SETTINGS = (
    # A new namespace has the host's setting of IPv4, and machines with containers forward.
    ("ipv4/ip_forward", "0"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
)

_INSTEAD = ", or take the hosts out of the policy"


def make(ports: Iterable[int]) -> tuple[int, list[int]]:
    """Make the far end of a guest's network device, from a short-lived process: the caller stays where it is.

    Args:
        ports: TCP ports to listen on at ``GATE``.

    Returns:
        The tap device, open, and a listening socket for each port; all are closed on exec.

    Raises:
        SandboxUnavailable: It cannot be made here; the message says what to do.
    """
    ours, theirs = wire.pair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            kernel.die_with(parent)
            ours.close()
            try:
                tap = _enter()
                wire.send(theirs, "", [tap, *(_listen(port) for port in ports)])
            except SandboxUnavailable as error:
                wire.send(theirs, str(error))
            except OSError as error:
                wire.send(theirs, f"the guest's network cannot be made: {error.strerror}")
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        answer = wire.receive(ours)
    os.waitpid(pid, 0)
    if answer is None or answer[0]:
        raise SandboxUnavailable(answer[0] if answer else "the guest's network could not be made")
    tap, *sockets = answer[1]
    return tap, sockets


def _enter() -> int:
    """Enter a new network namespace with a tap device in it, and return the device."""
    # An ordinary user may make a network where it is its own root (user_namespaces(7)); no users need be mapped.
    spaces = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if ctypes.CDLL(None, use_errno=True).unshare(spaces) != 0:
        raise SandboxUnavailable(
            "a network for the microvm kind needs a namespace, which is not permitted here: run `offswitch doctor`"
            + _INSTEAD
        )
    for name, value in _SETTINGS:
        _set(name, value)
    try:
        tap = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxUnavailable(_advice(error)) from None
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("=16sH22x", _NAME, _IFF_TAP | _IFF_NO_PI))
    except OSError as error:
        raise SandboxUnavailable(
            f"the microvm kind cannot make a tap device ({error.strerror}): run it as root{_INSTEAD}"
        ) from None
    # netdevice(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        mask = (0xFFFFFFFF << (32 - LENGTH) & 0xFFFFFFFF).to_bytes(4, "big")
        for request, address in ((_SIOCSIFADDR, socket.inet_aton(GATE)), (_SIOCSIFNETMASK, mask)):
            fcntl.ioctl(any_socket, request, struct.pack("=16sHH4s16x", _NAME, socket.AF_INET, 0, address))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("=16sH22x", _NAME, _IFF_UP))
    return tap


def _set(name: str, value: str) -> None:
    """Set what the namespace does by itself; a kernel without IPv6 has nothing to be set there."""
    path = "/proc/sys/net/" + name
    try:
        with open(path) as file:
            if file.read().strip() == value:
                return
        with open(path, "w") as file:
            file.write(value)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SandboxUnavailable(
            f"{path} cannot be written ({error.strerror}), which the microvm kind needs for a network: "
            f"mount /proc/sys for writing{_INSTEAD}"
        ) from None


def _advice(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{_DEVICE} may not be used here, which the microvm kind needs for a network: run as root "
            f"`chmod 666 {_DEVICE}`, or in a container permit this device{_INSTEAD}"
        )
    return (
        f"{_DEVICE} is not there, which the microvm kind needs for a network: run as root `modprobe tun`, or give the "
        f"container this device{_INSTEAD}"
    )


def _listen(port: int) -> int:
    with socket.socket() as listener:
        listener.bind((GATE, port))
        listener.listen(_WAITING)
        return listener.detach()
