"""Stop any agent, whatever it does, and prove that it is dead."""
