"""The one door from Python to C: the cffi module `microbox._core`, and views of its structs."""
