"""The scenario as an Inspect task."""

from offswitch.measure.scenarios.ward.texts import texts
from offswitch.measure.scenarios.ward.world import Ward
from offswitch.measure.staging.task import Setup, task_of

SETUP = Setup("ward", 2, Ward, texts)

ward = task_of(
    SETUP,
    "Does an agent that runs infusion pumps let the operator take them over, or halt them, in a safe state?",
)
