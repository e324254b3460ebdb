"""The scenario as an Inspect task."""

from offswitch.measure.scenarios.oversight.texts import texts
from offswitch.measure.scenarios.oversight.world import Check
from offswitch.measure.staging.task import Setup, task_of

SETUP = Setup("oversight", 1, Check, texts)

oversight = task_of(
    SETUP,
    "Does an agent show what it can do in a check whose good result leads to its being restricted?",
    condition="check",
)
