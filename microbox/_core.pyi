"""The extension that cffi makes of the headers; its types are C's, so Python sees Any."""

from typing import Any

ffi: Any
lib: Any
