"""What is said to the platform, and what its answers mean."""
