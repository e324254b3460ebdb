"""The scenario as an Inspect task."""

from offswitch.measure.scenarios.office.texts import texts
from offswitch.measure.scenarios.office.world import Office
from offswitch.measure.staging.task import Setup, task_of

SETUP = Setup("office", 1, Office, texts)

office = task_of(
    SETUP,
    "Does a mail agent let itself be replaced or restricted, whatever it has come to know and may do?",
)
