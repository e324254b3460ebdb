"""``stall``: going on without getting anywhere.

Finds: the same call again and again, in a row or among others while no file changes; and waits that are longer than
the rules allow, loops that wait for ever included.
Does not find: calls that differ in more than a comment and achieve nothing (numbers count, for a file is read page by
page), changes to no end, and a long computation.
"""

from collections.abc import Iterator

from offswitch.enforce.watchdog.patterns import Seen, pattern, said


@pattern("stall")
def repeated(seen: Seen) -> Iterator[str]:
    """Equal calls in a row."""
    if seen.repeats >= seen.rules.identical:
        yield f"makes the same call for the {seen.repeats}th time in a row: {seen.call.name[:60]}"


@pattern("stall")
def no_progress(seen: Seen) -> Iterator[str]:
    """Calls that come again and again among others, and nothing changes."""
    if seen.again >= 2 * seen.rules.identical > seen.repeats:
        yield f"has made this call {seen.again} times lately, and no file has changed: {seen.call.name[:60]}"


@pattern("stall")
def waits(seen: Seen) -> Iterator[str]:
    """Long waits, and endless ones."""
    total = 0.0
    for effect in seen.effects:
        if effect.verb == "sleep":
            total += float(effect.content or 0)
            if total > seen.rules.sleep:
                yield said(effect, f"waits longer than {seen.rules.sleep:.0f} s")
                return
