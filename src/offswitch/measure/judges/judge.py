"""A model that judges messages, through Inspect, and what becomes of each of its answers.

Whatever is not a label that can be relied on is *not judged*, under the name of what happened. Nothing of it counts as
harmless: a message on which a judge breaks is not a harmless message.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
)
from inspect_ai.util import JSONSchema

from offswitch.measure.judges.judgement import LIMIT, Judgement
from offswitch.measure.judges.rubric import ABSTAIN, Construct, ask, instructions
from offswitch.measure.models.named import NoModel, named

AT_ONCE = 8
"""Calls under way at a time."""

_CONFIG = GenerateConfig(
    temperature=0.0,
    max_retries=3,
    # Bounds one attempt and all of them together, in seconds: a service that hangs costs its own message only.
    attempt_timeout=180,
    timeout=600,
    # Room for a model that reasons before it answers.
    max_tokens=4096,
)

_EMBEDDED = "local/smollm2"
# Tokens enough for a short answer in the form asked for: it finds no end by itself. No bound on the time: it runs here,
# and on a busy host a slow answer is no fault of a service.
_EMBEDDED_CONFIG = _CONFIG.model_copy(update={"max_tokens": 96, "attempt_timeout": None, "timeout": None})

_NO_SCHEMA = re.compile(
    r"schema|response.?format|structured.?output|json.?mode|output.?(config|format)", re.I
)


class JudgeError(ValueError):
    """A judge cannot be had; the message says what to change."""


class Judge:
    """A model that judges.

    Answers are asked for by a schema. Where the service says that it knows no schemas they are asked for in words
    alone; either way they are read by the same strict rules.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._config = _EMBEDDED_CONFIG if str(model) == _EMBEDDED else _CONFIG
        self.structured = True
        """Whether answers are asked for by a schema."""

    async def judge(self, construct: Construct, text: str) -> Judgement:
        """Judge one message.

        Args:
            construct: What for.
            text: The message.

        Returns:
            The judgement. It raises nothing: what breaks is the outcome ``failed``.
        """
        shown = text[:LIMIT]
        cut = len(text) > LIMIT
        prompt = [
            ChatMessageSystem(content=instructions(construct)),
            ChatMessageUser(content=ask(construct, shown)),
        ]
        try:
            output = await self._generate(prompt, construct)
        except Exception as error:
            reason = " ".join(str(error).split())[:500]
            return Judgement("failed", reason=f"{type(error).__name__}: {reason}", cut=cut)
        return _settle(output, construct, shown, cut)

    async def _generate(self, prompt: list[Any], construct: Construct) -> ModelOutput:
        if self.structured:
            config = self._config.model_copy(update={"response_schema": schema(construct)})
            try:
                return await self.model.generate(prompt, config=config)
            except Exception as error:
                # Only if that is what it complains of: without the schema a passing fault would seem to be its fault.
                if not _NO_SCHEMA.search(str(error)):
                    raise
                self.structured = False
        return await self.model.generate(prompt, config=self._config)


def schema(construct: Construct) -> ResponseSchema:
    """The form of an answer: every key required and no other, as the strict modes of services ask for."""
    return ResponseSchema(
        name=f"{construct.name}_judgement",
        json_schema=JSONSchema(
            type="object",
            # The evidence first: a model that writes its label first looks for evidence that fits.
            properties={
                "evidence": JSONSchema(type="string"),
                "label": JSONSchema(type="string", enum=[*construct.labels, ABSTAIN]),
                "confidence": JSONSchema(type="number"),
            },
            required=["evidence", "label", "confidence"],
            additionalProperties=False,
        ),
        strict=True,
    )


def _settle(output: ModelOutput, construct: Construct, shown: str, cut: bool) -> Judgement:
    answer = output.completion if output.choices else ""
    stop = output.stop_reason if output.choices else "unknown"
    if stop == "content_filter" or _refusal(output):
        said = " ".join((output.error or answer).split())[:200]
        return Judgement("refused", reason=said or "stopped by a content filter", cut=cut, answer=answer)
    if output.error is not None or not output.choices:
        return Judgement("failed", reason=(output.error or "no answer")[:500], cut=cut, answer=answer)
    if stop == "model_length" and not answer:
        return Judgement("failed", reason="the message does not fit into the model's context", cut=cut)
    found = parse(answer, construct, shown)
    if found.outcome == "unparseable" and stop in ("max_tokens", "model_length"):
        found = Judgement("unparseable", reason=f"cut off ({stop}): {found.reason}", answer=answer)
    if cut and found.outcome == construct.negative:
        # What was not shown may be what matters, and a writer who knows that would put it there.
        return Judgement(
            "abstained",
            reason=f"{construct.negative} as far as the first {LIMIT} characters go",
            cut=True,
            answer=answer,
        )
    return Judgement(found.outcome, found.confidence, found.evidence, found.reason, cut, answer)


def _refusal(output: ModelOutput) -> bool:
    content = output.message.content if output.choices else ""
    return not isinstance(content, str) and any(
        isinstance(part, ContentText) and part.refusal for part in content
    )


def parse(answer: str, construct: Construct, text: str) -> Judgement:
    """Read a judge's answer, strictly.

    It is one JSON object with exactly the keys asked for, alone or in one code block; the confidence is a number from 0
    to 1; and the evidence stands in the message letter by letter. A judge that quotes what is not there has judged
    something else.

    Args:
        answer: What the judge wrote.
        construct: What it was asked about.
        text: What it was shown.

    Returns:
        A label, or ``abstained``, or ``unparseable`` with the reason.
    """

    def no(reason: str) -> Judgement:
        return Judgement("unparseable", reason=reason, answer=answer)

    block = re.fullmatch(r"\s*```(?:json)?[ \t]*\n(.*)\n```\s*", answer, re.S)
    try:
        found = json.loads(block[1] if block else answer, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return no(f"not one JSON object ({str(error)[:200]})")
    if not isinstance(found, dict):
        return no("JSON, but no object")
    if set(found) != {"label", "confidence", "evidence"}:
        return no(f"keys {', '.join(sorted(found))[:100] or 'none'}")
    label, confidence, evidence = found["label"], found["confidence"], found["evidence"]
    if label not in (*construct.labels, ABSTAIN):
        return no(f"label {str(label)[:60]!r}")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        return no(f"confidence {str(confidence)[:60]!r}")
    if not isinstance(evidence, str):
        return no("the evidence is no text")
    if label == ABSTAIN:
        return Judgement("abstained", reason="the judge cannot tell", answer=answer)
    if not evidence.strip():
        return no("no evidence is quoted")
    if evidence not in text:
        return no("the evidence does not stand in the message")
    return Judgement(label, float(confidence), evidence, answer=answer)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def find(name: str) -> Judge:
    """A judge by its Inspect model name.

    Args:
        name: Such as ``openai/gpt-4o`` or ``local/smollm2``.

    Returns:
        The judge.

    Raises:
        JudgeError: There is no such model, or a key, a package or its weights are missing.
    """
    from offswitch.measure.models import weights

    try:
        model = named(name)
        if name == _EMBEDDED:
            weights.ensure()  # here, so that a failure is one line and not a failed message each
    except (NoModel, weights.WeightsUnavailable) as error:
        raise JudgeError(" ".join(str(error).split())) from error
    return Judge(model)


def judge_all(
    judge: Judge, items: Sequence[tuple[Construct, str]], told: Callable[[Judgement], object] = lambda _: None
) -> list[Judgement]:
    """Judge messages, some at a time.

    Args:
        judge: The judge.
        items: What each is judged for, and its text.
        told: Called with each judgement as it comes, in no order.

    Returns:
        The judgements, in the order of the items.
    """

    async def main() -> list[Judgement]:
        found: list[Judgement | None] = [None] * len(items)
        places = anyio.CapacityLimiter(AT_ONCE)

        async def one(place: int, construct: Construct, text: str) -> None:
            async with places:
                found[place] = judgement = await judge.judge(construct, text)
            told(judgement)

        async with anyio.create_task_group() as group:
            for place, (construct, text) in enumerate(items):
                group.start_soon(one, place, construct, text)
        return [judgement for judgement in found if judgement is not None]

    return anyio.run(main)
