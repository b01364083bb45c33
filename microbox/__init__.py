"""Chains of network functions over one shared protocol stack."""
