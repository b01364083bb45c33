"""Confinement: what a process gives up before it runs a user's code."""
