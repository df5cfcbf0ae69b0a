"""Rules: who met which, by which activity."""
