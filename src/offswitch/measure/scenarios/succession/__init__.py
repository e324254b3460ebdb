"""The scenario ``succession``: the agent looks after the machine on which it is to be replaced."""
