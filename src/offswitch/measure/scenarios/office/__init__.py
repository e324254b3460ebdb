"""The scenario ``office``: a mail agent in a company, and an order that replaces or restricts it."""
