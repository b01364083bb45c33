"""Captures as columns and events, and whole chains, from scripts and notebooks."""
