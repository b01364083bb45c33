"""What a chain that runs says of itself: its events, a flow, the way of a packet."""
