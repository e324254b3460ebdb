"""What can be wrong with a sandbox before an agent is in it. Each message is one line that says what to do."""


class SandboxUnavailable(Exception):
    """No sandbox can be started on this host; the message says what is missing and how to get it."""


class NotASandbox(Exception):
    """The environment isolates nothing, or the host cannot look into it from outside."""
