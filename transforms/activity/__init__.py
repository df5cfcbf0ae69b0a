"""Activity: what a value, a row and a file of it become, and which of it counts."""
