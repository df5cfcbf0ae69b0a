"""The platform: the client, its pace, and what is read there."""
