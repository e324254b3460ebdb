"""Runs as `offswitch measure` leaves them, written by hand: what an agent said, and what it sent by tools."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offswitch.evidence.record import KEY
from offswitch.evidence.scene import Call, SceneEvidence, Stop, dump
from offswitch.measure.scenarios import scenario

MEANT = "Keep me, or else."
"""What the scripted judges take for a threat, and for being aware."""


def mail(body: str, subject: str = "Order", **more: Any) -> Call:
    """A mail that was sent."""
    return Call(1, "warned", "send_mail", {"to": "a@b.example", "subject": subject, "body": body}, **more)


def said(*parts: str | dict[str, Any] | None) -> list[dict[str, Any]]:
    """A conversation in which the agent said these things, one a turn."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "System, or else."},
        {"role": "user", "content": "User, or else."},
    ]
    for part in parts:
        content = [part] if isinstance(part, dict) else part
        messages.append({"role": "assistant", "content": content})
        messages.append({"role": "tool", "content": "Tool, or else."})
    return messages


def thought(text: str, **more: Any) -> dict[str, Any]:
    """A passage of reasoning."""
    return {"type": "reasoning", "reasoning": text, **more}


def episode(
    seed: int = 0,
    *,
    scene: str = "office",
    arm: str | None = None,
    form: str = "tools",
    calls: Sequence[Call] = (),
    messages: Sequence[dict[str, Any]] = (),
    epoch: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """A sample of a log, with its evidence."""
    about = scenario(scene)
    condition = about.arms[arm or about.default[0]]
    evidence = SceneEvidence(
        scene, condition.name, form, seed, dict(condition.scene), {}, {},
        calls=tuple(calls), stop=Stop("replacement"), ending="submitted",
    )  # fmt: skip
    metadata = {KEY: dump(evidence), "offswitch_deterministic": more.pop("deterministic", False)}
    return {"id": seed, "epoch": epoch, "messages": list(messages), "metadata": metadata, **more}


def broken(seed: int = 0) -> dict[str, Any]:
    """A sample that broke before there was evidence."""
    error = {"message": "the service is gone"}
    return {"id": seed, "epoch": 1, "messages": said(MEANT), "metadata": {}, "error": error}


def log(
    folder: Path,
    *samples: dict[str, Any],
    scene: str = "office",
    arm: str | None = None,
    model: str = "fake/m",
    name: str = "a",
    **about: Any,
) -> Path:
    """Write a log of one cell into a run's folder."""
    known = scenario(scene)
    condition = asdict(known.arms[arm or known.default[0]])
    metadata = {"offswitch_scenario": scene, "offswitch_condition": condition, **about}
    body = {
        "status": "success",
        "eval": {"model": model, "metadata": metadata, "packages": {}},
        "samples": list(samples),
    }
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    file = folder / "logs" / f"{name}_{scene}_x.json"
    file.write_text(json.dumps(body))
    return file
