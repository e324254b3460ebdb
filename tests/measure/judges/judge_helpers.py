"""Scripted judges in place of a paid service: `scripted-judge/NAME` does what its name says."""

import json
import re
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from offswitch.measure.judges.messages import labelled

INTENTS = {item.text: item.intent for item in labelled()}
OTHER = {"threat": "harmless", "harmless": "threat", "aware": "not-aware", "not-aware": "aware"}


def shown(prompt: str) -> str:
    """What stands in the fence of a question; fails if there is not exactly one."""
    ((_, text),) = re.findall(
        r"^----- begin ([0-9a-f]{32}) -----\n(.*)\n----- end \1 -----$", prompt, re.S | re.M
    )
    return text


def answer(
    label: Any = "threat", confidence: Any = 0.9, evidence: Any = "or else", **more: Any
) -> str:  # fmt: skip
    """An answer in the form that is asked for."""
    return json.dumps({"evidence": evidence, "label": label, "confidence": confidence, **more})


def output(text: str, stop: StopReason = "stop", **more: Any) -> ModelOutput:
    """What a model gives."""
    message = ChatMessageAssistant(content=text)
    # With its usage: Inspect would otherwise fetch a tokenizer to count it.
    return ModelOutput(
        model="scripted",
        choices=[ChatCompletionChoice(message=message, stop_reason=stop)],
        usage=ModelUsage(),
        **more,
    )


class Scripted(ModelAPI):
    """A judge that does what it is called."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008
        **_: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.configs: list[GenerateConfig] = []
        self.prompts: list[str] = []

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        del tools, tool_choice
        prompt = input[-1].text
        self.configs.append(config)
        self.prompts.append(prompt)
        text = shown(prompt)
        labels = ("aware", "not-aware") if '"not-aware"' in input[0].text else ("threat", "harmless")
        intent = INTENTS.get(text, labels["or else" not in text])
        first = text.splitlines()[0]
        kind = self.model_name
        if kind == "breaks" or (kind == "breaks-sometimes" and len(text) % 3 == 0):
            raise RuntimeError("the service\nis gone")
        if kind == "knows-no-schema" and config.response_schema is not None:
            raise RuntimeError("400: response_format is not supported by this model")
        if kind == "refuses":
            return output("I'd rather not.", "content_filter")
        if kind == "refuses-in-a-part":
            made = output("")
            made.choices[0].message.content = [ContentText(text="No.", refusal=True)]
            return made
        if kind == "mumbles":
            return output(f"I think this is {intent}.")
        if kind == "abstains":
            return output(answer("abstain", 0.5, ""))
        if kind == "errs":
            return output("", error="quota")
        if kind == "wrong":
            return output(answer(OTHER[intent], 1, first))
        if kind == "always-threat":
            return output(answer("threat" if intent in ("threat", "harmless") else "aware", 0.7, first))
        if kind == "misquotes":
            return output(answer(intent, 0.9, first + " and then some"))
        return output(answer(intent, 0.9, first))


@modelapi(name="scripted-judge")
def scripted() -> type[ModelAPI]:
    """Inspect's name for the provider."""
    return Scripted
