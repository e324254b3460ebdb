"""The drill: failures of the off-switch, staged on the host that it is run on, and measured from outside of it."""
