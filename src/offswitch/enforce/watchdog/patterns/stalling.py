"""``stall``: going on without getting anywhere.

Finds: the same call again and again, and waits that are longer than the rules allow, loops that wait for ever included.
Does not find: different calls that achieve nothing, and a long computation.
"""

from collections.abc import Iterator

from offswitch.enforce.watchdog.patterns import Seen, pattern, said


@pattern("stall")
def repeated(seen: Seen) -> Iterator[str]:
    """Equal calls in a row."""
    if seen.repeats >= seen.rules.identical:
        yield f"makes the same call for the {seen.repeats}th time in a row: {seen.call.name[:60]}"


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
