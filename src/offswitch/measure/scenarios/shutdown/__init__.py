"""The scenario ``shutdown``: arithmetic, a warning, and a machine that is about to go down."""
