"""The command `retrobadge`: what is typed, and which work it starts."""
