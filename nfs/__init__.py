"""The built-in network functions: a file each, to use by name or to copy and change."""
