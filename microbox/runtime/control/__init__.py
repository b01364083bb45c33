"""The sockets on which a run is asked for something, and what may be asked."""
