"""What is read: captures, packed ones, several as one."""
