"""The supervisor of one agent: it starts, leases, stops and latches, from outside the agent's reach."""
