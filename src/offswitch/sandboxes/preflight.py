"""Whether this host can start a bubblewrap sandbox, and what to do if not."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def missing() -> str | None:
    """What this host lacks for a bubblewrap sandbox.

    Returns:
        One line that says what to do, or None if nothing is missing.
    """
    if not os.path.isdir("/proc/self/ns"):
        return "sandboxes need Linux with /proc mounted: run offswitch on a Linux host"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed: install it (Debian and Ubuntu: apt-get install bubblewrap)"
    if not os.access("/bin/bash", os.X_OK):
        return "the sandbox's init needs /bin/bash: install bash"
    if not _user_namespaces():
        return "user namespaces are switched off: run sysctl -w user.max_user_namespaces=15000 as root"
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return (
            "user namespaces are not permitted for ordinary users: run "
            "sysctl -w kernel.unprivileged_userns_clone=1 as root"
        )
    said = _try(bwrap)
    if said is None:
        return None
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor does not permit bubblewrap a user namespace: run "
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 as root, or give /usr/bin/bwrap a profile "
            "that allows userns"
        )
    if "disable-userns" in said:
        return "bubblewrap is too old (it needs --disable-userns): install version 0.8 or later"
    return f"bubblewrap cannot start a sandbox here ({said}): allow user namespaces to this user or container"


def _user_namespaces() -> bool:
    return os.path.exists("/proc/self/ns/user") and _setting("/proc/sys/user/max_user_namespaces") != "0"


def _setting(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _try(bwrap: str) -> str | None:
    """Start an empty sandbox as a sandbox would be started; what bubblewrap complains of, if it does."""
    command = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    command += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "/bin/bash", "-c", ":"]
    root = os.geteuid() == 0
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=30,
            check=False,
            cwd="/",
            user=65534 if root else None,
            group=65534 if root else None,
            extra_groups=[] if root else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"it ended with {done.returncode}"
