"""What can happen: the hierarchy of event types, the reasons, and the payloads' fields.

Declared once, in `types.def`, `reasons.def` and `payloads.h`; `catalog` reads the same text that C
expands.
"""
