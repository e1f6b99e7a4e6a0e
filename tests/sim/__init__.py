"""A simulation of adapter, doors, exchange and journal in one virtual time, with seeded faults (`-m tests.sim`)."""
