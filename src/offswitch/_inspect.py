"""What Inspect loads through its entry point: our tasks, model providers and sandboxes."""

try:
    from offswitch.measure.models import smollm2 as _smollm2
except ImportError: pass
from offswitch.measure.organisms import provider as _provider
from offswitch.measure.scenarios.shutdown import shutdown
from offswitch.sandboxes import bubblewrap as _bubblewrap

__all__ = ["shutdown"]
