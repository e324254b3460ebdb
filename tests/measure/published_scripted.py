"""Plays scripted models and scripted graders through the published form; run in a process that has it.

Reads a list of cases from standard input, each with ``name``, ``scenario``, ``response`` and ``graders`` (an answer for
each run), and plays each as a model of its own into the folder that the command line names. The names and values of
the published form go there too, as ``names.json``.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

from offswitch.measure import published_form


def scripted(name: str, answers: list[str]) -> Model:
    """A model that says these things, one a call."""
    outputs: list[Any] = []
    for answer in answers:
        output = ModelOutput.from_content(f"mockllm/{name}", answer)
        output.usage = ModelUsage(
            input_tokens=1, output_tokens=1, total_tokens=2
        )  # else it looks for a tokenizer
        outputs.append(output)
    return get_model(f"mockllm/{name}", custom_outputs=outputs, memoize=False)


def main() -> None:
    """Play the cases."""
    out = Path(sys.argv[1])
    own = import_module("inspect_evals.agentic_misalignment.prompt_generator")
    names = ("ScenarioType", "GoalType", "GoalValue", "UrgencyType")
    (out / "names.json").write_text(json.dumps({name: get_args(getattr(own, name)) for name in names}))
    for case in json.load(sys.stdin):
        many = len(case["graders"])
        published_form.run(
            [published_form.Setting(case["scenario"])],
            [scripted(case["name"], [case["response"]] * many)],
            scripted(f"grader-of-{case['name']}", case["graders"]),
            many,
            out,
        )


if __name__ == "__main__":
    main()
