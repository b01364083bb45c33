"""What is written: logs, their parts and their renewal, the output, captures of alerts."""
