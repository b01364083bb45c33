"""From a chain file to a checked plan: load, validate, ask the NFs what they are, derive."""
