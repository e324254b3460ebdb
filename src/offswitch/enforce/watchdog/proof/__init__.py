"""`offswitch prove`: that the table of the latch, and the machine that runs it, do what is promised of them."""
