"""The processes of a run, and what they and the controller say to each other."""
