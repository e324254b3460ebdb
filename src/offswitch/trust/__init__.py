"""Keys, signed stop orders and receipts."""
