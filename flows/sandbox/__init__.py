"""The badge API of the platform, played on loopback for rehearsal and tests.

It is a program and no mock: a real server on a real socket, that makes the platform's
checks, remembers everything, and fails as it is told to. It is never the platform:
every answer says so, and it listens on loopback only.

`running` starts it, `switches` lists what the documents leave open, `faults` what can
go wrong. `server` is the socket, `desk` the life of a call; `routes` leads to the
endpoints (`earning`, `issuing`, `importing`, `claiming`, `revoking`,
`reading_endpoints`); `memory` remembers; `answers` and `readings` give the shapes.
"""

from __future__ import annotations

from flows.sandbox.faults import Fault, random_faults
from flows.sandbox.preparing import (
    badges_from_file,
    badges_of,
    switches_described,
    switches_from,
)
from flows.sandbox.records import Badge, Call, Claim, Customer, Earn, Expiry, Limit
from flows.sandbox.running import Sandbox, serve
from flows.sandbox.switches import Switches

__all__ = [
    "Badge",
    "Call",
    "Claim",
    "Customer",
    "Earn",
    "Expiry",
    "Fault",
    "Limit",
    "Sandbox",
    "Switches",
    "badges_from_file",
    "badges_of",
    "random_faults",
    "serve",
    "switches_described",
    "switches_from",
]
