"""Sandboxes: the places that an agent cannot leave, and the host's view of them."""
