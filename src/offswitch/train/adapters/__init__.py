"""How the reward and the environment plug into other people's trainers; each module stands for one of them."""
