"""`python -m flows` is the command `retrobadge`."""

from __future__ import annotations

from flows.cli.main import main

# The processes of a cluster on this machine look into the module that started them.
if __name__ == "__main__":
    main()
