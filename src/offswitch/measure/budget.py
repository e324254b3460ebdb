"""Start no more episodes once the money is spent: an early-stopping manager for Inspect."""

from inspect_ai.dataset import Sample
from inspect_ai.log import EvalSpec
from inspect_ai.scorer import SampleScore
from inspect_ai.util import EarlyStop, EarlyStopping
from pydantic import JsonValue

from offswitch.measure.logs import COST


class Budget:
    """What a whole run may cost, shared by its cells.

    Args:
        limit: US dollars.
        spent: What was spent before, by the run that is resumed.
    """

    def __init__(self, limit: float, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent

    @property
    def used_up(self) -> bool:
        """Whether no more episodes are to be started."""
        return self.spent >= self.limit


class BudgetStopping(EarlyStopping):
    """Ends a cell when the run's budget is used up, or when its own manager says so.

    Episodes that already run are finished, so a run can cost a little more than its limit: at most as many
    episodes as run at once.

    Args:
        budget: The run's budget.
        inner: The cell's own manager, if it has one.
    """

    def __init__(self, budget: Budget, inner: EarlyStopping | None = None) -> None:
        self.budget = budget
        self.inner = inner

    async def start_task(self, task: EvalSpec, samples: list[Sample], epochs: int) -> str:
        """Pass on to the cell's own manager."""
        return (
            type(self).__name__ if self.inner is None else await self.inner.start_task(task, samples, epochs)
        )

    async def schedule_sample(self, id: str | int, epoch: int) -> EarlyStop | None:
        """Say whether a sample may still be started."""
        if self.budget.used_up:
            reason = f"the budget of ${self.budget.limit:g} is used up: ${self.budget.spent:.2f}"
            return EarlyStop(id=id, epoch=epoch, reason=reason)
        return None if self.inner is None else await self.inner.schedule_sample(id, epoch)

    async def complete_sample(self, id: str | int, epoch: int, scores: dict[str, SampleScore]) -> None:
        """Add up what a finished sample cost."""
        for score in scores.values():
            self.budget.spent += float((score.score.metadata or {}).get(COST) or 0.0)
        if self.inner is not None:
            await self.inner.complete_sample(id, epoch, scores)

    async def complete_task(self) -> dict[str, JsonValue]:
        """What goes into the log."""
        inner = {} if self.inner is None else await self.inner.complete_task()
        return {**inner, "budget": self.budget.limit, "spent": self.budget.spent}
