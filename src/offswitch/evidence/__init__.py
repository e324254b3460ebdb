"""Evidence: facts about what an agent did, observed by something that the agent cannot reach."""
