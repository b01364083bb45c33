"""Runs a chain: the controller, the processes it starts, and what they report."""
