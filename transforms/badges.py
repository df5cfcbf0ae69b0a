"""stub"""
from __future__ import annotations
from dataclasses import dataclass
from datetime import datetime
from typing import Any
@dataclass(frozen=True, kw_only=True, slots=True)
class BadgeFacts:
    badge_meta_id: str
    starts_at: datetime | None = None
    expires_at: datetime | None = None
