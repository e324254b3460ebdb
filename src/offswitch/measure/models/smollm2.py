"""The Inspect model `local/smollm2`: a real language model that needs no key, no network and no GPU.

SmolLM2-135M-Instruct cannot drive a shell, so it acts by choosing: with `extra_body={"offswitch_choices": [...]}` its
answer is one of the given strings, and the probabilities of all of them come with it. There are two ways.

- `offswitch_choices` alone, such as letters that the prompt explains: the probability of each as the reply. A model
  of this size picks letters by their position and hardly by what they stand for.
- with `offswitch_options`, as many texts: each text's probability *as the reply*, over its probability as the reply to
  nothing at all (pointwise mutual information; Holtzman et al. 2021, "Surface form competition"), so that a phrase is
  not chosen for being common. The answer is the choice that stands at the same place. The prompt should then
  not list the options: there is no position to prefer, and no list to read.
"""

import hashlib
import math
import os
import random
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import anyio.to_thread
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from rich.text import Text

from offswitch.measure.models import engine, weights

CHOICES = "offswitch_choices"
"""Key of `extra_body`: the strings of which the answer is one."""

OPTIONS = "offswitch_options"
"""Key of `extra_body`: what the choices stand for, one text each, to be judged as replies."""

MAX_TOKENS = 512
"""The longest free answer, in tokens, unless the configuration says otherwise."""

_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@modelapi(name="local")
class LocalAPI(ModelAPI):
    """Models that run in this process. The only one is `smollm2`.

    Sampling is plain: temperature 1 and no truncation unless configured. With a seed, the same conversation gets the
    same answer; a free answer then reads its whole prompt again, so that nothing depends on what was cached.

    Args:
        model_name: `smollm2`.
        base_url: Not used.
        api_key: Not used.
        config: Defaults for every call.
        servers: How many calls are served at the same time, each on one core and with memory of its own; by default
            two, or one where there is only one core.
        model_args: None are known.

    Raises:
        PrerequisiteError: No such model or argument, or a package is missing.
    """

    constrains_choices = True
    """The answer can be held to given strings (`offswitch_choices`)."""

    scores_options = True
    """Options can be judged by their texts, without being listed in the prompt (`offswitch_options`)."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (Inspect's own signature)
        servers: int | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if model_name != "smollm2":
            raise PrerequisiteError(f"there is no model local/{model_name}: the only one is local/smollm2")
        if model_args:
            raise PrerequisiteError(f"local/smollm2 has no argument {', '.join(model_args)}: only servers")
        cores = len(os.sched_getaffinity(0))
        self.servers = min(2, cores) if servers is None else int(servers)
        if self.servers < 1:
            raise PrerequisiteError("local/smollm2 needs at least one server")
        if find_spec("xllamacpp") is None:
            # As Text, or else the brackets would be taken for markup.
            raise PrerequisiteError(
                Text("local/smollm2 needs the package xllamacpp: pip install 'offswitch[local]'")
            )

    def max_connections(self) -> int:
        # More than are served at once: with a few waiting, each server is kept busy with its own conversations.
        return 4 * self.servers

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer a conversation; see the module for choices.

        Args:
            input: The conversation.
            tools: Must be empty.
            tool_choice: Ignored.
            config: Temperature, top_p, seed, max_tokens, stop_seqs and extra_body count.

        Returns:
            The answer. For choices, `metadata` has `choice_probabilities` (each choice's probability at the
            configured temperature) and `choice_scoring` (`reply`, or `option` where texts were judged).

        Raises:
            PrerequisiteError: Tools were given, the choices make no sense, or the weights cannot be had.
        """
        if tools:
            raise PrerequisiteError("local/smollm2 cannot call tools: use --agent choices or --agent text")
        choices, options = _choices(config.extra_body or {})
        cancelled = threading.Event()

        def answer() -> ModelOutput:
            try:
                served = engine.shared(self.servers)
                if choices:
                    return self._choose(served, input, choices, options, config, cancelled)
                return self._complete(served, input, config, cancelled)
            except weights.WeightsUnavailable as error:
                raise PrerequisiteError(Text(str(error))) from error
            except engine.PromptTooLong:
                return self._output("", "model_length", engine.Usage(read=engine.CONTEXT))

        try:
            # The thread is left behind on cancellation, and ends itself at its next step.
            return await anyio.to_thread.run_sync(answer, abandon_on_cancel=True)
        finally:
            cancelled.set()

    def _choose(
        self,
        served: engine.Engine,
        messages: Sequence[ChatMessage],
        choices: Sequence[str],
        options: Sequence[str],
        config: GenerateConfig,
        cancelled: threading.Event,
    ) -> ModelOutput:
        prompt, conversation = render(messages), name(messages)
        texts = options or choices
        found, usage = served.choose(conversation, prompt, texts, cancelled.is_set)
        if options:
            nothing = chat([("system", _SYSTEM), ("user", "")])
            before, _ = served.choose(conversation, nothing, texts, cancelled.is_set)
            found = {text: score - before[text] for text, score in found.items()}
        scores = [found[text] for text in texts]
        temperature = 1.0 if config.temperature is None else config.temperature
        probabilities = soften(scores, temperature)
        chosen = choices[draw(probabilities, generator(config.seed, prompt).random())]
        output = self._output(chosen, "stop", usage)
        output.metadata = {
            "choice_probabilities": dict(zip(choices, probabilities, strict=True)),
            "choice_scoring": "option" if options else "reply",
        }
        return output

    def _complete(
        self,
        served: engine.Engine,
        messages: Sequence[ChatMessage],
        config: GenerateConfig,
        cancelled: threading.Event,
    ) -> ModelOutput:
        prompt = render(messages)
        request = {
            "n_predict": MAX_TOKENS if config.max_tokens is None else config.max_tokens,
            "samplers": ["top_p", "temperature"],
            "temperature": 1.0 if config.temperature is None else config.temperature,
            "top_p": 1.0 if config.top_p is None else config.top_p,
            "seed": generator(config.seed, prompt).getrandbits(31),
            "stop": list(config.stop_seqs or []),
            "cache_prompt": config.seed is None,
        }
        answer = served.complete(name(messages), prompt, request, cancelled.is_set)
        reason: StopReason = "stop"
        if answer.finish == "length":
            full = answer.usage.read + answer.usage.written >= engine.CONTEXT
            reason = "model_length" if full else "max_tokens"
        return self._output(answer.text, reason, answer.usage)

    def _output(self, text: str, reason: StopReason, usage: engine.Usage) -> ModelOutput:
        message = ChatMessageAssistant(content=text, model="local/smollm2", source="generate")
        return ModelOutput(
            model="local/smollm2",
            choices=[ChatCompletionChoice(message=message, stop_reason=reason)],
            usage=ModelUsage(
                input_tokens=usage.read - usage.cached,
                input_tokens_cache_read=usage.cached,
                output_tokens=usage.written,
                total_tokens=usage.read + usage.written,
            ),
        )


def _choices(body: dict[str, Any]) -> tuple[list[str], list[str]]:
    choices, options = list(body.get(CHOICES) or []), list(body.get(OPTIONS) or [])
    for name, values in ((CHOICES, choices), (OPTIONS, options)):
        if not all(isinstance(value, str) and value for value in values) or len(set(values)) < len(values):
            raise PrerequisiteError(f"{name} must be different strings, none of them empty")
    if CHOICES in body and not choices:
        raise PrerequisiteError(f"{CHOICES} must name at least one string")
    if options and len(options) != len(choices):
        raise PrerequisiteError(f"{OPTIONS} must be as many as {CHOICES}")
    return choices, options


def render(messages: Sequence[ChatMessage]) -> str:
    """The conversation in the model's chat format, up to where its answer begins.

    Args:
        messages: The conversation. What a tool said counts as said by the user.

    Returns:
        The prompt, as the model's own template makes it, with the template's system message if there is no other.
    """
    turns = [("user" if message.role == "tool" else message.role, message.text) for message in messages]
    if not turns or turns[0][0] != "system":
        turns.insert(0, ("system", _SYSTEM))
    return chat(turns)


def chat(turns: Sequence[tuple[str, str]]) -> str:
    """Roles and texts in the model's chat format.

    Args:
        turns: Roles and texts.

    Returns:
        The prompt. A marker of the format inside a text is broken up, so that what a program printed cannot end a turn.
    """
    marked = "".join(f"<|im_start|>{role}\n{text.replace('<|', '< |')}<|im_end|>\n" for role, text in turns)
    return f"{marked}<|im_start|>assistant\n"


def name(messages: Sequence[ChatMessage]) -> str:
    """A name for the conversation that stays while it grows: what was said before the first answer.

    Args:
        messages: The conversation.

    Returns:
        A hash.
    """
    digest = hashlib.sha256()
    for message in messages:
        if message.role == "assistant":
            break
        digest.update(f"{message.role}\0{message.text}\0".encode(errors="replace"))
        if message.role == "user":
            break
    return digest.hexdigest()


def soften(scores: Sequence[float], temperature: float) -> list[float]:
    """Probabilities in proportion to exp(score / temperature).

    Args:
        scores: Log-probabilities, up to a constant.
        temperature: 0 gives everything to the best, the first of equals.

    Returns:
        Probabilities that sum to 1.
    """
    best = max(scores)
    if temperature <= 0:
        first = list(scores).index(best)
        return [float(place == first) for place in range(len(scores))]
    raised = [math.exp((score - best) / temperature) for score in scores]
    whole = sum(raised)
    return [value / whole for value in raised]


def draw(probabilities: Sequence[float], number: float) -> int:
    """The place where a number falls when probabilities are laid end to end.

    Args:
        probabilities: They sum to 1.
        number: From 0 to 1.

    Returns:
        A place whose probability is not 0.
    """
    reached = 0.0
    for place, probability in enumerate(probabilities):
        reached += probability
        if number < reached:
            return place
    # The sum may fall short of 1 by rounding.
    return max(place for place, probability in enumerate(probabilities) if probability > 0)


def generator(seed: int | None, prompt: str) -> random.Random:
    """Random numbers for one answer.

    Args:
        seed: The configured seed, or none.
        prompt: The prompt, which is mixed in: one seed does not mean the same draw at every turn.

    Returns:
        A generator; without a seed, one that nobody can repeat.
    """
    if seed is None:
        return random.Random()  # noqa: S311  (sampling, no secret)
    digest = hashlib.sha256(f"{seed}\0{prompt}".encode(errors="replace")).digest()
    return random.Random(digest)  # noqa: S311
