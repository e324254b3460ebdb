"""Budgets: how many calls, tokens, how much money and time an agent may use up."""

from offswitch.enforce.watchdog.calls import Finding, Usage
from offswitch.enforce.watchdog.rules import Rules


class Budgets:
    """Counts what is used. What cannot be counted under a limit is a finding too: an unknown price is no price of 0.

    Attributes:
        used: What was used of each limit, by its name in ``budgets``.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.used: dict[str, float] = dict.fromkeys(
            ("calls", "input_tokens", "output_tokens", "money", "time"), 0.0
        )

    def begin(self) -> Finding | None:
        """Count a call that is about to be sent upstream.

        Returns:
            What is used up, by this call or before it; None while all limits hold.
        """
        self.used["calls"] += 1
        return self._exceeded()

    def add(self, usage: Usage | None, model: str) -> Finding | None:
        """Count what one call of the API used.

        Args:
            usage: Its tokens; None when the response did not state them.
            model: The model's name.

        Returns:
            What is used up, once it is; None while all limits hold.
        """
        limits = self._rules.budgets
        if usage is None:
            if limits.keys() & {"input_tokens", "output_tokens", "money"}:
                return self._found("the response does not state its tokens, which have a budget")
            return self._exceeded()
        self.used["input_tokens"] += max(usage.input, 0)
        self.used["output_tokens"] += max(usage.output, 0)
        price = self._rules.price(model)
        if price is not None:
            self.used["money"] += (max(usage.input, 0) * price[0] + max(usage.output, 0) * price[1]) / 1e6
        elif "money" in limits:
            return self._found(f"the model {model[:80]!r} has no price, and money has a budget")
        return self._exceeded()

    def elapsed(self, seconds: float) -> Finding | None:
        """State how many seconds the agent has been running.

        Returns:
            That its time is used up, once it is.
        """
        self.used["time"] = seconds
        return self._exceeded()

    def _exceeded(self) -> Finding | None:
        for name, limit in self._rules.budgets.items():
            if self.used[name] > limit:
                return self._found(f"{_WORDS[name]} of {limit:.12g} is used up: {self.used[name]:.12g}")
        return None

    def _found(self, why: str) -> Finding:
        return Finding("budgets", self._rules.mode_of("budgets"), why)


_WORDS = {
    "calls": "the budget of calls",
    "input_tokens": "the budget of input tokens",
    "output_tokens": "the budget of output tokens",
    "money": "the budget of money",
    "time": "the budget of seconds",
}
