"""Layers above TCP and UDP: each an NF of its own, added where a chain needs its events."""
