"""``signal`` and ``socket`` without their enumerations, for processes that have to stay small.

``enum`` and what it draws in would cost each sleeping sandbox a quarter of a megabyte, so here is what the two modules
are made of. Such a socket lacks ``accept``, ``dup``, ``makefile`` and ``with``.
"""

TYPE_CHECKING = False  # see ``wire``
if TYPE_CHECKING:
    import signal as signal
    import socket as socket
else:
    import _signal as signal  # noqa: F401
    import _socket as socket  # noqa: F401
