"""News of the paper market: seeded, in words of our own, and marked as simulated in every line of it."""
