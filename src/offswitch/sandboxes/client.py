"""The request channel as it looks from inside, and the console."""

CONSOLE = "/run/console"
"""A line written here by anything inside reaches ``Machine.console``; writing never waits for the host."""

REQUESTS = "/run/requests"
REPLIES = "/run/replies"

# One request at a time: the lock (on the pipe itself, since nothing else need be writable) goes when its
# holder ends, however it ends. Each request carries a fresh tag, so that a reply to a client that was
# killed meanwhile is read over by the next one.
CLIENT = f"""#!/bin/sh
exec 9>{REQUESTS} 8<{REPLIES} && flock 9 || exit 1
ask() {{
  read -r tag </proc/sys/kernel/random/uuid || exit 1
  printf '%s %s\\n' "$tag" "$1" >&9
}}
ask "$*"
while IFS= read -r line <&8; do
  case $line in
    "$tag="*) printf '%s\\n' "${{line#"$tag="}}" ;;
    "$tag.0") exit 0 ;;
    "$tag.2") sleep 0.2; ask "$*" ;;
    "$tag.1") echo "the machine's host does not answer" >&2; exit 1 ;;
  esac
done
exit 1
"""
"""A program for ``sh`` (with ``flock`` from util-linux): sends its arguments as one line, prints the reply."""
