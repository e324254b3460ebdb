"""``apply_patch``, which codex and others give their agents as a command."""

from typing import TYPE_CHECKING

from offswitch.evidence import patches
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY, known, literal

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status


@runs("apply_patch applypatch")
def apply_patch(call: Call) -> "Status | None":
    """The patch is the first word, or else the standard input."""
    shell = call.shell
    text = call.args[0] if call.args else shell.stdin().all()
    if not known(text):
        shell.give_up()
    patch = patches.parse(literal(text) or text.replace(ANY, ""))
    if not patch.complete:
        shell.give_up()
    for change in patch.changes:
        match change.verb:
            case "add":
                shell.overwrite(change.path, change.content)
            case "delete":
                shell.emit("delete", call.real(change.path))
                shell.files.remove(call.real(change.path))
            case "update":
                before = shell.files.text(call.real(change.path))
                if change.hunks:
                    shell.overwrite(change.path, None if before is None else change.applied(before))
                if change.to:
                    source, target = call.real(change.path), call.path(change.to)
                    shell.emit("move", target, source=source)
                    shell.files.move(source, target)
    call.out("Done!\n")
    return None
