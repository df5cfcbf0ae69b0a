"""Whether a request id may be used, and when it is used up (contract 2.8)."""

from __future__ import annotations

from typing import Literal

from flows.sandbox.bodies import Addressed
from flows.sandbox.codes import refusal
from flows.sandbox.moments import SECOND
from flows.sandbox.work import Context


class RequestId:
    """One use of a request id, from its look-up to its end."""

    def __init__(
        self, context: Context, addressed: Addressed, *, endpoint: str
    ) -> None:
        self._context = context
        self._id = addressed.request_id
        self._scope = {
            "organisation": "organisation",
            "badge": addressed.badge_meta_id,
            "endpoint": endpoint,
        }[context.switches.request_id_scope]
        if self._is_used():
            raise refusal(809)
        if context.switches.ids_registered_at == "start":
            context.memory.burn(self._scope, self._id)

    def _is_used(self) -> bool:
        used_at = self._context.memory.request_ids.get((self._scope, self._id))
        if used_at is None:
            return False
        kept = self._context.switches.ids_forgotten_after_seconds
        return kept is None or self._context.memory.now() < used_at + kept * SECOND

    def end(self, how: Literal["success", "failure", "crash"]) -> None:
        """Use the id up or not; after a crash it stays as it was."""
        if how == "success":
            self._succeeded()
        if how == "failure":
            self.failed()

    def _succeeded(self) -> None:
        """Use the id up."""
        if self._context.switches.ids_registered_at == "end":
            self._context.memory.burn(self._scope, self._id)

    def failed(self) -> None:
        """Use the id up, or free it again, as it is switched."""
        is_registered = self._context.switches.ids_registered_at == "start"
        burns = self._context.switches.failed_calls_burn_id
        if burns and not is_registered:
            self._context.memory.burn(self._scope, self._id)
        if is_registered and not burns:
            self._context.memory.free(self._scope, self._id)
