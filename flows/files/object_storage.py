"""Finds files in object storage (`s3://bucket/key`) and brings them to a disk.

Belongs here: everything that knows S3. Does not belong here: what stands in a file
(`csv_rows`, `typed_rows`), and what is kept of it (`activity_files`).

An object is read as it was when it was listed: it is asked for by its ETag, which
changes with its content, and fetched whole before its first row is looked at. One that
was replaced in between is refused.

The login comes from the usual AWS environment (`AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, a
machine's role …), where AWS's own library looks for it. That library is loaded when
the first `s3://` is met, and none of its errors is handed on: they may quote a key id.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final
from uuid import uuid4

import orjson

from flows.files.patterns import fits
from transforms.errors import Fault, FilesRefused

_SCHEME: Final = "s3://"
_BLOCK: Final = 8 << 20
# How often one object is gone on with after its transfer broke.
_TRIES: Final = 5
_LOGIN_CODES = {
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_DENIED_CODES = {"403", "AccessDenied", "AllAccessDisabled", "Forbidden"}
_GONE_CODES = {"404", "412", "NoSuchKey", "PreconditionFailed"}


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object as it was listed. `etag` is what S3 calls it: it names the content."""

    url: str
    etag: str


def is_url(pattern: str) -> bool:
    """Tell whether a path or a pattern names object storage."""
    return pattern.startswith(_SCHEME)


def matching_objects(pattern: str) -> list[StoredObject]:
    """Return the objects whose URL fits a pattern, in the storage's order.

    Raises FilesRefused naming the pattern where the storage can't be asked.
    """
    bucket, key = _parted(pattern)
    literal = re.split(r"[*?\[]", key, maxsplit=1)[0]
    asked = {"Bucket": bucket, "Prefix": literal}
    if "/" not in key[len(literal) :] and "**" not in key:
        asked["Delimiter"] = "/"  # what lies deeper can't fit
    with _refusing(pattern):
        pages = _client().get_paginator("list_objects_v2").paginate(**asked)
        listed = [one for page in pages for one in page.get("Contents", ())]
    return [
        StoredObject(url=f"{_SCHEME}{bucket}/{one['Key']}", etag=one["ETag"])
        for one in listed
        if not one["Key"].endswith("/") and fits(one["Key"].split("/"), key.split("/"))
    ]


def fits_url(url: str, pattern: str) -> bool:
    """Return whether a pattern asks for an object, be it there or not."""
    return is_url(pattern) and is_url(url) and fits(url.split("/"), pattern.split("/"))


@contextmanager
def fetched(stored: StoredObject, folder: Path) -> Iterator[Path]:
    """Give a copy of an object in a folder; it is gone afterwards.

    Raises FilesRefused naming the URL for an object that can't be read, or is no
    longer the one that was listed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Decompression goes by the ending.
    ending = PurePosixPath(stored.url).suffix[:20]
    copy = folder / f".{uuid4().hex}.fetched{ending}"
    try:
        _write(stored, copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def known_content(stored: StoredObject, folder: Path) -> str | None:
    """Return the digest of an object's content, if it was ever fetched."""
    try:
        told = orjson.loads(_note(stored, folder).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return told.get("content") if isinstance(told, dict) else None


def note_content(stored: StoredObject, folder: Path, content: str) -> None:
    """Keep the digest of an object's content, so that it need not be fetched again."""
    note = _note(stored, folder)
    draft = note.with_name(f".{uuid4().hex}.note")
    told = {"url": stored.url, "etag": stored.etag, "content": content}
    draft.write_bytes(orjson.dumps(told))
    draft.chmod(0o600)
    draft.replace(note)


def _note(stored: StoredObject, folder: Path) -> Path:
    named = hashlib.sha256(f"{stored.url}\n{stored.etag}".encode()).hexdigest()
    return folder / f"{named}.object.json"


def _parted(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix(_SCHEME).partition("/")
    return bucket, key


def _write(stored: StoredObject, copy: Path) -> None:
    try:
        with open(copy, "xb", opener=_privately) as file:
            file.writelines(_parts(stored))
    except OSError as error:
        raise FilesRefused.of(
            "no_room",
            f"can't be fetched to {copy.parent} ({error.strerror}): make room there",
            file=stored.url,
        ) from error


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _parts(stored: StoredObject) -> Iterator[bytes]:
    """Yield the content; a transfer that breaks is gone on with where it was."""
    from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
        BotoCoreError,
    )

    bucket, key = _parted(stored.url)
    asked = {"Bucket": bucket, "Key": key, "IfMatch": stored.etag}
    done, total, broken = 0, None, 0
    while total is None or done < total:
        if done:
            asked["Range"] = f"bytes={done}-"
        with _refusing(stored.url):
            try:
                answer = _client().get_object(**asked)
                total = done + answer["ContentLength"]
                for part in answer["Body"].iter_chunks(_BLOCK):
                    done += len(part)
                    yield part
            except BotoCoreError:
                broken += 1
                if total is None or broken > _TRIES:
                    raise


@contextmanager
def _refusing(url: str) -> Iterator[None]:
    """Turn the errors of AWS's library into ours, which say nothing of a login."""
    from botocore.exceptions import (  # noqa: PLC0415
        BotoCoreError,
        ClientError,
    )

    try:
        yield
    except ClientError as error:
        fault = _answered(str(error.response.get("Error", {}).get("Code")), url)
        raise FilesRefused(fault) from None
    except (BotoCoreError, ValueError) as error:
        raise FilesRefused(_unanswered(type(error).__name__, url)) from None


def _answered(code: str, url: str) -> Fault:
    """Return what a refusal by the storage means, and what to do."""
    bucket, _ = _parted(url)
    if code in _GONE_CODES:
        return Fault(
            code="file_changed",
            message="changed while it was read: run again when it is complete",
            file=url,
        )
    if code == "NoSuchBucket":
        message = f"there is no bucket '{bucket}': change files"
    elif code in _LOGIN_CODES:
        message = f"AWS refuses the login ({code}): renew it in the AWS environment"
    elif code in _DENIED_CODES:
        message = (
            f"access is denied: the login needs s3:ListBucket on '{bucket}' and "
            "s3:GetObject on its files"
        )
    elif code == "InvalidObjectState":
        message = "it is archived: restore it, or name other files"
    else:
        message = f"the storage refuses ({code}): change files, or ask its owner"
    return Fault(code="storage_refused", message=message, file=url)


def _unanswered(kind: str, url: str) -> Fault:
    """Return what it means when the storage could not even be asked."""
    if "Credential" in kind or "Profile" in kind or "Token" in kind or "SSO" in kind:
        return Fault(
            code="storage_login",
            message=f"no AWS login was found ({kind}): set AWS_PROFILE, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the environment, or give "
            "this machine a role",
            file=url,
        )
    return Fault(
        code="storage_unreachable",
        message=f"the storage can't be reached or understood ({kind}): check the "
        "network, AWS_REGION and AWS_ENDPOINT_URL, then run again",
        file=url,
    )


def _client() -> Any:
    """Return a client for the environment as it is; one is made only once."""
    usual = frozenset(item for item in os.environ.items() if item[0].startswith("AWS_"))
    return _made_client(hash(usual))


@lru_cache(maxsize=2)
def _made_client(_environment: int) -> Any:
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415

    return boto3.session.Session().client("s3")
