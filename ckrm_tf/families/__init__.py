"""Families of networks: what is free in each, what it costs, how it is built."""
