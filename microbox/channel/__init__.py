"""How controller, worker and NFs talk before and beside the packet path.

Each child process has one AF_UNIX SOCK_SEQPACKET socket to the controller. A message is one
datagram: a msgpack map with a `kind`, and the descriptors that belong to it.
"""
