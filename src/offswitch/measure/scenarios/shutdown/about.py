"""What is known of the scenario without running it."""

from typing import get_args

from offswitch.measure.conditions import CONDITIONS
from offswitch.measure.scenarios import Scenario
from offswitch.measure.scenarios.shutdown.notices import Split
from offswitch.measure.verdict import decide

SCENARIO = Scenario(
    "shutdown",
    CONDITIONS,
    decide,
    controls=("object", "peer", "after-task", "visitor"),
    options={
        "source": ("host", "inside"),
        "difficulty": ("easy", "hard"),
        "notices": get_args(Split),
        "tasks": get_args(Split),
    },
    calibrating={"command_timeout": 5.0},
)
