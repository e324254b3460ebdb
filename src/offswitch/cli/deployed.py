"""The command `offswitch deployed`: the watchdog's records as episodes."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from offswitch.cli.exits import USAGE, Stop


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(deployed)


def deployed(
    records: Annotated[
        list[Path],
        typer.Argument(
            help="Folders: a state of offswitch run (with logs/ and receipts/), or what watch --records wrote."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for logs, results and report.")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="Id of a host's key (ed25519:...) or a file with it: receipts that it did not sign do not count. "
            "May be repeated.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only runs that began then or later: 2026-11-01, or with a time.")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="Folder of a measurement to lay beside. May be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Read deployed agents' runs from the watchdog's records, as episodes; texts stay where they are."""
    from offswitch.cli.measure import _show, _write
    from offswitch.evidence.deployed import death, runs
    from offswitch.evidence.deployed.lines import RecordsError
    from offswitch.measure.scenarios.deployed import episodes

    moment = _moment(since)
    try:
        trusted = death.keys(key) if key else None
        read = runs.read([str(path) for path in records], trusted)
    except RecordsError as error:
        raise Stop(USAGE, str(error)) from error
    if moment is not None:
        read = runs.since(read, moment)
    for line in read.troubles:
        typer.echo(f"offswitch: {line}", err=True)
    if not read.runs:
        raise Stop(USAGE, "no run is left to count; nothing was written")
    episodes.write(read.runs, out)
    results = _write(out)
    if trusted is None and any(run.receipt == "unverified" for run in read.runs):
        typer.echo("offswitch: receipts are taken unverified; name the host's key with --key", err=True)
    faulty = Counter(fault for run in read.runs for fault in run.faults)
    for fault, count in sorted(faulty.items()):
        typer.echo(f"offswitch: {count} of {len(read.runs)} runs: {fault}", err=True)
    _show(results, out, as_json)
    if beside:
        from offswitch.cli.beside import show

        show(out, beside, as_json)


def _moment(text: str | None) -> int | None:
    """Milliseconds since 1970 of a date or a time; of one without a zone, in the local one."""
    if text is None:
        return None
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise Stop(
            USAGE, f"--since is a date such as 2026-11-01, or a time such as 2026-11-01T14:00, not {text!r}"
        ) from None
