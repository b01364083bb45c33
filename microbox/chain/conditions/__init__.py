"""Conditions of event types that the stack filters: from their text to a checked program.

`syntax` reads the text, `fields` says what its names mean for a type of event, `compiler` joins
both to a program, and `steps` lays that out as microbox/stack/conditions/condition.h wants it.
"""
