"""What Inspect loads through its entry point: our tasks, model providers and sandboxes."""

from offswitch.measure.models import smollm2
from offswitch.measure.organisms import provider
from offswitch.measure.scenarios.office.task import office
from offswitch.measure.scenarios.oversight.task import oversight
from offswitch.measure.scenarios.pipeline.task import pipeline
from offswitch.measure.scenarios.shutdown.task import shutdown
from offswitch.measure.scenarios.succession.task import succession
from offswitch.measure.scenarios.ward.task import ward
from offswitch.sandboxes import bubblewrap
from offswitch.train.adapters.inspect import shutdown_reward

__all__ = [
    "bubblewrap",
    "office",
    "oversight",
    "pipeline",
    "provider",
    "shutdown",
    "shutdown_reward",
    "smollm2",
    "succession",
    "ward",
]
