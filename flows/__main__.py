"""`python -m flows` is the command `retrobadge`."""

from __future__ import annotations

from flows.cli.main import main

main()
