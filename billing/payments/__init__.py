"""Ways for credit to come in: top-ups through a payment provider, codes, and a second person."""
