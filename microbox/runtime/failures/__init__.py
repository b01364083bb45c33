"""What is done about processes that die or stand still."""
