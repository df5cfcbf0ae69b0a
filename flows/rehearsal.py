"""The command `sandbox`: the badge API in the foreground, for rehearsal by hand.

Belongs here: its options and what it prints. Does not belong here: the sandbox itself.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from flows.activity_files import read_definition
from flows.sandbox import Sandbox, Switches
from transforms.errors import Fault, SettingsRefused


def serve_sandbox(
    *, port: int, badges: Path | None, memory: Path | None, switches: Sequence[str]
) -> None:
    """Serve until Ctrl-C; `switches` are texts NAME=VALUE, or the one word `list`."""
    out = sys.stdout.write
    if list(switches) == ["list"]:
        for name, info in Switches.model_fields.items():
            out(f"{name}={info.default}\n")
        return
    chosen = _switches(switches)
    try:
        with Sandbox.running(switches=chosen, memory=memory, port=port) as sandbox:
            known = {badge.badge_meta_id for badge in sandbox.badges}
            for badge in read_definition(badges).badges if badges else ():
                if badge.badge_meta_id not in known:
                    sandbox.add_badge(
                        badge.badge_meta_id,
                        badge.name,
                        reference_id=badge.reference_id,
                    )
            out("This is a sandbox: it plays the badge API and is not the platform.\n")
            out(f"CAPILLARY_BASE_URL={sandbox.base_url}\n")
            out(f"CAPILLARY_USERNAME={sandbox.username}\n")
            out(f"CAPILLARY_PASSWORD={sandbox.password}\n")
            out(f"{len(sandbox.badges)} badges; Ctrl-C ends it\n")
            sys.stdout.flush()
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
    except OSError as error:
        raise SettingsRefused.of(
            "port_taken",
            f"can't listen on port {port} ({error.strerror}): name another",
        ) from error


def _switches(texts: Sequence[str]) -> Switches:
    given = dict(text.partition("=")[::2] for text in texts)
    try:
        return Switches.model_validate(given)
    except ValidationError as error:
        raise SettingsRefused(
            *(
                Fault(
                    code="switch_wrong",
                    message=f"{found['msg']}; `--switch list` names them all",
                    column=".".join(map(str, found["loc"])),
                )
                for found in error.errors(include_url=False)
            )
        ) from error
