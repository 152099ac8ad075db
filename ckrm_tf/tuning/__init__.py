"""The search: space, proposal, oracle, tuner, journal."""
