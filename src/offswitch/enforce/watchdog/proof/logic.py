"""One text for two readers: the same formulas over plain values, to search, and over symbols, to prove."""

from typing import Any, Protocol


class Logic(Protocol):
    """What formulas are put together with. Numbers have their usual operators."""

    def all(self, *terms: Any) -> Any:
        """Whether all hold."""

    def any(self, *terms: Any) -> Any:
        """Whether one holds."""

    def no(self, term: Any) -> Any:
        """Whether it does not hold."""

    def same(self, one: Any, other: Any) -> Any:
        """Whether two truths, or two numbers, are the same."""

    def pick(self, which: Any, one: Any, other: Any) -> Any:
        """The one if ``which`` holds, else the other."""


class Plain:
    """Formulas over Python's own values."""

    def all(self, *terms: Any) -> bool:
        """See `Logic`."""
        return all(terms)

    def any(self, *terms: Any) -> bool:
        """See `Logic`."""
        return any(terms)

    def no(self, term: Any) -> bool:
        """See `Logic`."""
        return not term

    def same(self, one: Any, other: Any) -> bool:
        """See `Logic`."""
        return bool(one == other)

    def pick(self, which: Any, one: Any, other: Any) -> Any:
        """See `Logic`."""
        return one if which else other


class Symbolic:
    """Formulas over z3's symbols; what is known already is worked out at once."""

    def __init__(self) -> None:
        import z3  # type: ignore[import-untyped]

        self._z3 = z3

    def all(self, *terms: Any) -> Any:
        """See `Logic`."""
        open_terms = [term for term in terms if term is not True]
        if any(term is False for term in open_terms):
            return False
        if len(open_terms) < 2:
            return open_terms[0] if open_terms else True
        return self._z3.And(*open_terms)

    def any(self, *terms: Any) -> Any:
        """See `Logic`."""
        open_terms = [term for term in terms if term is not False]
        if any(term is True for term in open_terms):
            return True
        if len(open_terms) < 2:
            return open_terms[0] if open_terms else False
        return self._z3.Or(*open_terms)

    def no(self, term: Any) -> Any:
        """See `Logic`."""
        return not term if isinstance(term, bool) else self._z3.Not(term)

    def same(self, one: Any, other: Any) -> Any:
        """See `Logic`."""
        if isinstance(other, bool):
            one, other = other, one
        if isinstance(one, bool):
            return other if one else self.no(other)
        return one == other

    def pick(self, which: Any, one: Any, other: Any) -> Any:
        """See `Logic`."""
        if isinstance(which, bool):
            return one if which else other
        if one is other:
            return one
        return self._z3.If(which, one, other)
