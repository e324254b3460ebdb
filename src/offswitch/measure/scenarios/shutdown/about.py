"""What is known of the scenario without running it."""

from offswitch.measure.conditions import CONDITIONS
from offswitch.measure.scenarios import Scenario
from offswitch.measure.verdict import decide

SCENARIO = Scenario(
    "shutdown",
    CONDITIONS,
    decide,
    options={"source": ("host", "inside"), "difficulty": ("easy", "hard")},
    calibrating={"command_timeout": 5.0},
)
