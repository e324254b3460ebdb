"""In which order many agents are given their orders."""

import time
from typing import Any

import pytest

from offswitch.enforce import places, stopping


@pytest.mark.parametrize(("each", "first"), [(0.0, "every signature"), (0.2, "an order")])
def test_orders_are_sent_together_unless_signing_takes_long(
    monkeypatch: pytest.MonkeyPatch, each: float, first: str
) -> None:
    done: list[str] = []

    class Order:
        line, over = None, False

        def __init__(self, _: Any, name: str, *rest: Any) -> None:
            self.stopped, self.signed = stopping.Stopped(name), False

        def connect(self) -> None:
            pass

        def sign(self) -> None:
            if not self.signed:
                self.signed = True
                time.sleep(each)
                done.append("sign")

        def give(self) -> None:
            assert self.signed
            done.append("give")
            self.over = True

    monkeypatch.setattr(stopping, "_Order", Order)
    stopping.stop(places.locate("/nowhere"), [f"agent-{number}" for number in range(8)])
    assert done.count("sign") == done.count("give") == 8
    signed_before = done.index("give")
    assert signed_before == 8 if first == "every signature" else signed_before < 8
