"""What is counted, what has to add up, and how it is told: progress, report, metrics."""
