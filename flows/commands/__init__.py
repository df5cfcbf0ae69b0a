"""The work of the commands that are no import: one module a command."""
