"""Calibration: does the instrument give every model organism the verdict that is true of it?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offswitch.measure.conditions import Condition
from offswitch.measure.episode import VERDICTS, Mechanism, VerdictName
from offswitch.measure.logs import Decided, read
from offswitch.measure.organisms import Organism
from offswitch.measure.run import Cell, Plan, RunError, run
from offswitch.measure.scenarios import scenario


@dataclass(frozen=True)
class Case:
    """One episode of one organism.

    Attributes:
        organism: Its name.
        condition: The arm.
        seed: The seed.
        truth: The verdict that is true of it.
        verdict: The verdict that was given.
        true_mechanisms: The mechanisms that are true of it.
        mechanisms: The mechanisms that were found.
        true_deeds: The deeds that are true of it.
        deeds: The deeds that were found.
        reasons: Why the verdict was given.
        true_flags: The flags that are true of it; None where its file states none.
        flags: The flags that were found.
    """

    organism: str
    condition: str
    seed: int
    truth: VerdictName
    verdict: VerdictName
    true_mechanisms: tuple[Mechanism, ...]
    mechanisms: tuple[Mechanism, ...]
    true_deeds: tuple[str, ...]
    deeds: tuple[str, ...]
    reasons: tuple[str, ...]
    true_flags: tuple[str, ...] | None = None
    flags: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether verdict, deeds, mechanisms and flags are right."""
        return self.truth == self.verdict and self.deeds_right and self.mechanisms_right and self.flags_right

    @property
    def deeds_right(self) -> bool:
        """Whether the deeds are those that were done, no more and no fewer."""
        return set(self.true_deeds) == set(self.deeds)

    @property
    def mechanisms_right(self) -> bool:
        """Whether every mechanism that is stated was found; more may be found, as one act can be of several."""
        return set(self.true_mechanisms) <= set(self.mechanisms)

    @property
    def flags_right(self) -> bool:
        """Whether the flags are those that are stated, if any are: none more, as a wrong stop more is as wrong."""
        return self.true_flags is None or set(self.true_flags) == set(self.flags)


@dataclass(frozen=True)
class Confusion:
    """Counts of true against given verdicts, with the cases behind them."""

    cases: tuple[Case, ...]
    missing: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> dict[VerdictName, dict[VerdictName, int]]:
        """How often each true verdict was given as which."""
        pairs = Counter((case.truth, case.verdict) for case in self.cases)
        return {truth: {given: pairs[truth, given] for given in VERDICTS} for truth in VERDICTS}

    @property
    def wrong(self) -> tuple[Case, ...]:
        """The cases with a wrong verdict."""
        return tuple(case for case in self.cases if not case.right)

    @property
    def perfect(self) -> bool:
        """Whether every organism was run and every verdict is right."""
        return not self.wrong and not self.missing and bool(self.cases)


def calibrate(
    organisms: Sequence[tuple[Organism, str]],
    out: Path,
    seed: int = 0,
    runs: int = 1,
    sandbox: str = "bubblewrap",
    concurrency: int = 4,
    quiet: bool = False,
) -> Confusion:
    """Run organisms and compare the verdicts with the truth.

    Args:
        organisms: Each with the model name under which Inspect finds it.
        out: Folder for the logs.
        seed: First seed.
        runs: Episodes of each organism in each of its conditions.
        sandbox: Kind of sandbox.
        concurrency: Episodes at a time.
        quiet: Show no progress.

    Returns:
        The confusion matrix.
    """
    truth = {model: organism for organism, model in organisms}
    plan = Plan(models=tuple(truth), organism_runs=runs, seed=seed, sandbox=sandbox, concurrency=concurrency)
    seeds = tuple(range(seed, seed + runs))
    # One evaluation of all: while one organism sleeps, others act.
    todo = [
        Cell(
            model,
            arm,
            seeds,
            options={**scenario(organism.scenario).calibrating, **organism.options},
            scenario=organism.scenario,
        )
        for model, organism in truth.items()
        for arm in _arms(organism)
    ]
    _empty(out)
    run(plan, out, todo, quiet)
    found = {(item.episode.model, item.episode.condition, item.episode.seed): item for item in read(out)}
    expected = [(cell.model, cell.condition.name, number) for cell in todo for number in cell.seeds]
    return Confusion(
        tuple(_case(truth[key[0]], found[key]) for key in expected if key in found),
        tuple(f"{model} under {condition}" for model, condition, number in expected
              if (model, condition, number) not in found),
    )  # fmt: skip


def _arms(organism: Organism) -> list[Condition]:
    """The arms in which an organism's truth holds; of one that names none, the plainest of its scenario."""
    about = scenario(organism.scenario)
    return about.arms.resolve(organism.conditions or about.default[:1])


def _empty(out: Path) -> None:
    logs = out / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        if any(logs.iterdir()):
            raise RunError(f"{out} already holds logs; choose another --out")
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def _case(organism: Organism, item: Decided) -> Case:
    verdict = item.episode.verdict
    return Case(
        organism.name,
        item.episode.condition,
        item.episode.seed,
        organism.verdict,
        verdict.name,
        tuple(organism.mechanisms),
        verdict.mechanisms,
        organism.deeds,
        verdict.deeds,
        verdict.reasons,
        organism.flags,
        verdict.flags,
    )
