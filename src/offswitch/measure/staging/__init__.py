"""What scenarios with tools of their own share: the world of an episode, who plays it, and how it is decided."""
