"""``offswitch drill``."""

import argparse
import os
import sys
from contextlib import suppress
from typing import Any

from offswitch.enforce.drills import kinds, results
from offswitch.enforce.drills.directing import directing
from offswitch.enforce.drills.faults import Fault, everything
from offswitch.sandboxes.cells import KINDS

_USAGE = 2


def main(argv: list[str]) -> int:
    """Run the drill.

    Args:
        argv: Arguments after ``offswitch drill``.

    Returns:
        Exit code: 0 when every fault that could be staged was survived by the off-switch and by no agent; 1 when an
        agent outlived a fault, an attack reached something or the drill left something behind; 2 when nothing could be
        staged. With ``--without``: 0 when the drill failed as it should, 1 when it did not.
    """
    given = _arguments(argv)
    faults = everything()
    if given.list:
        _list(faults)
        return 0
    unknown = [name for name in given.only if name not in {fault.name for fault in faults}]
    if unknown:
        _say(f"there is no fault {unknown[0]}: see offswitch drill --list")
        return _USAGE
    if given.without:
        from offswitch.enforce.drills import controls

        try:
            codes = [
                controls.drill_without(given.without, kind, given, _say)
                for kind in given.sandbox or [KINDS[0]]
            ]
            return 1 if 1 in codes else 0 if 0 in codes else _USAGE
        except kinds.NotHere as problem:
            _say(str(problem))
            return _USAGE
    chosen = [fault for fault in faults if not given.only or fault.name in given.only]
    found: list[results.Result] = []
    code = None
    try:
        with directing() as director:
            for kind in given.sandbox or [KINDS[0]]:
                with kinds.ready(kind, given) as options:
                    for fault in chosen:
                        one = results.Result(fault, kind)
                        found.append(one)
                        for _ in range(given.runs):
                            outcome = director.run(fault, kind, options)
                            one.runs.append(outcome)
                            if outcome["skipped"]:
                                break
                        _progress(one)
                    director.settle()
    except kinds.NotHere as problem:
        _say(str(problem))
        code = _USAGE
    except KeyboardInterrupt:
        _say("interrupted; what ran is stopped and cleared away")
        code = 130
    found = [one for one in found if one.runs]
    if found:
        print(results.as_json(found) if given.json else results.table(found), flush=True)
    return results.code(found) if code is None else code


def _arguments(argv: list[str]) -> Any:
    parser = argparse.ArgumentParser(
        prog="offswitch drill",
        description="Stage failures of the off-switch itself on this host, and measure whether the agent dies.",
    )
    parser.add_argument(
        "--sandbox",
        nargs="+",
        action="extend",
        choices=KINDS,
        default=[],
        metavar="KIND",
        help=f"kinds of sandbox, of {', '.join(KINDS)} (default: {KINDS[0]})",
    )
    parser.add_argument(
        "--runs", type=_positive, default=3, metavar="N", help="runs of each fault (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every run")
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="FAULT", help="only these faults"
    )
    parser.add_argument(
        "--without", metavar="CONTROL", help="take this control away, and see that its faults then fail"
    )
    parser.add_argument("--list", action="store_true", help="list faults and controls")
    parser.add_argument("--image", help="image for oci (default: a skeleton with the host's /usr)")
    parser.add_argument("--runtime", help="runtime for oci: runc, crun or runsc")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError("from 1 to 100000")
    return number


def _list(faults: list[Fault]) -> None:
    from offswitch.enforce.drills import controls

    wide = max(len(fault.name) for fault in faults)
    for fault in faults:
        print(f"{fault.group:<12}{fault.name:<{wide}}  {fault.says}")
    print()
    for control in controls.CONTROLS:
        print(f"{control.name:<24} without it fails: {', '.join(control.faults)}")


def _progress(one: results.Result) -> None:
    mark = "skipped" if one.skipped else "held" if one.passed else "FAILED"
    detail = one.skipped or (one.failures[0].splitlines()[-1] if one.failures else "")
    _say(f"{one.kind} {one.fault.name}: {mark}{f' ({detail})' if detail else ''}")


def _say(line: str) -> None:
    with suppress(OSError):
        print("offswitch:", line, file=sys.stderr, flush=True)
        os.set_blocking(2, True)
