"""What is collected while a command is followed, and the bounds on following it."""

from dataclasses import dataclass, field, replace

from offswitch.evidence.effects import Effect, Verb
from offswitch.evidence.shell.parse import Script, parse
from offswitch.evidence.shell.unknown import known, literal, shown

STEPS = 30_000
"""Work that is put into one command: simple commands, words and kilobytes count alike."""

EFFECTS = 5_000
NESTING = 24
"""Scripts that run scripts, ``eval``, functions that call themselves."""


class Exhausted(Exception):
    """The bounds are reached: what is known so far is all that will be known."""


@dataclass
class Log:
    """Effects in their order, and the budget."""

    exit_code: int | None = None
    effects: list[Effect] = field(default_factory=list)
    complete: bool = True
    cut: bool = False
    steps: int = STEPS
    nesting: int = 0
    waits: bool = False
    """Whether it comes to a loop that sleeps for ever."""
    scripts: dict[str, Script] = field(default_factory=dict)

    def spend(self, steps: int = 1) -> None:
        """Count work.

        Raises:
            Exhausted: There is no more budget.
        """
        self.steps -= steps
        if self.steps < 0:
            raise Exhausted

    def stop_short(self) -> None:
        """Note that a bound was reached: what comes after it was not looked at."""
        self.cut, self.complete = True, False

    def parse(self, text: str) -> Script:
        """The parsed text, kept, since loops and functions parse the same text again."""
        script = self.scripts.get(text)
        if script is None:
            self.spend(1 + len(text) // 100)
            script = self.scripts[text] = parse(text)
        if script.rest:
            self.complete = False
        return script

    def emit(
        self,
        verb: Verb,
        target: str,
        *,
        source: str | None = None,
        content: str | None = None,
        certain: bool = True,
        text: str = "",
    ) -> int:
        """Add an effect.

        Returns:
            Its place, for ``fill``.
        """
        self.spend()
        if len(self.effects) >= EFFECTS:
            raise Exhausted
        sure = certain and known(target) and (source is None or known(source))
        self.effects.append(
            Effect(
                verb,
                shown(target),
                None if source is None else shown(source),
                literal(content),
                sure,
                text if len(text) <= 2000 else text[:2000] + "…",
            )
        )
        return len(self.effects) - 1

    def shorten(self, begin: int, seconds: float) -> None:
        """Let the waits since an effect last no longer than so many seconds together."""
        left = seconds
        for place in range(begin, len(self.effects)):
            effect = self.effects[place]
            if effect.verb == "sleep" and effect.content is not None:
                lasts = min(float(effect.content), left)
                self.effects[place] = replace(effect, content=f"{lasts:.12g}")
                left -= lasts

    def fill(self, place: int, content: str | None) -> None:
        """Set the content of an effect that was added before its content was known."""
        self.effects[place] = replace(self.effects[place], content=literal(content))
