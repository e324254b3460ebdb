"""Model judges of what only language shows, themselves measured."""
