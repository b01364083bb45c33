"""Network functions: what a user writes, and what runs it.

An NF is a class (`function`) with handlers (`decorators`) and parameters (`parameters`). The
`runner` takes deliveries from the bus, shows them as `event` or `batch`, and writes back verdicts,
publications (`publication`) and log lines (`records`). `process` is the entry of an NF's process.
"""
