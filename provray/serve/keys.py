"""API keys: who may ask what. The file holds hashes; a key itself is shown once, when it is made.

A key is 256 random bits, so one round of SHA-256 hides it; a slow hash would only guard what people choose themselves.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

SCOPES = ("read", "query", "metrics", "admin")
"""read: models, lineage and facts. query: ask about models. metrics: what is counted. admin: everything."""
_PREFIX = "pvr"
_LOOK_SECONDS = 1.0


class BadKeyFile(ValueError):
    """The key file cannot be read, or what was asked of it cannot be done."""


@dataclass(frozen=True)
class Key:
    """A key as it is kept. `digest`: SHA-256 of the whole key. `revoked`: when, or empty. `requests_per_minute`: of
    its own, None for the service's."""

    id: str
    name: str
    scopes: tuple[str, ...]
    digest: str
    created: str
    revoked: str = ""
    requests_per_minute: int | None = None

    def may(self, scope: str) -> bool:
        """Whether it has this scope, or `admin`."""
        return not self.revoked and (scope in self.scopes or "admin" in self.scopes)


def create_key(
    path: Path, name: str, scopes: Sequence[str], requests_per_minute: int | None = None
) -> tuple[Key, str]:
    """Add a key to the file, which is made if there is none. Returns it and its secret text, which is kept nowhere.

    Raises BadKeyFile for a scope that does not exist, none, a limit below one, or a file that cannot be written.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise BadKeyFile(
            f"a key has one or more of the scopes {', '.join(SCOPES)}, got {', '.join(scopes) or 'none'}"
        )
    if requests_per_minute is not None and requests_per_minute < 1:
        raise BadKeyFile(f"a key is allowed at least 1 request a minute, got {requests_per_minute}")
    made = secrets.token_hex(4)
    secret = f"{_PREFIX}_{made}_{secrets.token_urlsafe(32)}"
    key = Key(made, name, tuple(scopes), _digest(secret), _now(), "", requests_per_minute)
    with _locked(path):
        _write(path, [*(read_keys(path) if path.exists() else []), key])
    return key, secret


def revoke_key(path: Path, key_id: str) -> Key:
    """Revoke a key; it stays listed. Raises BadKeyFile if there is none of this id."""
    with _locked(path):
        keys = read_keys(path)
        found = next((key for key in keys if key.id == key_id), None)
        if found is None:
            raise BadKeyFile(
                f"no key {key_id!r} in {path}; `provray keys list --file {path}` shows the ids"
            )
        revoked = replace(found, revoked=found.revoked or _now())
        _write(path, [revoked if key.id == key_id else key for key in keys])
    return revoked


def read_keys(path: Path) -> list[Key]:
    """All keys of a file, revoked ones too. Raises BadKeyFile if it cannot be read."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return [Key(**{**key, "scopes": tuple(key["scopes"])}) for key in plain["keys"]]
    except FileNotFoundError:
        raise BadKeyFile(
            f"no key file at {path}; make one with `provray keys create --file {path} --name NAME`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadKeyFile(f"the key file {path} cannot be read: {type(error).__name__}") from None


class KeyRing:
    """The keys of a file, read again within a second of a change: a revoked key stops working without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._looked = 0.0
        self._keys: dict[str, Key] = {}
        self._look()

    def find(self, secret: str) -> Key | None:
        """The key with this secret text, unless it is unknown or revoked. Raises BadKeyFile if the file is damaged."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        _, _, rest = secret.partition("_")
        key = self._keys.get(rest.partition("_")[0])
        if key is None or key.revoked or not hmac.compare_digest(key.digest, _digest(secret)):
            return None
        return key

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            found = self._path.stat()
        except OSError:
            raise BadKeyFile(f"no key file at {self._path}: nobody is let in without one") from None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            self._keys = {key.id: key for key in read_keys(self._path)}
            self._stamp = stamp


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two commands that change one file take turns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise BadKeyFile(f"cannot write the key file {path}: {error.strerror}") from error


def _write(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file at once; only its owner reads it."""
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"keys": [asdict(key) for key in keys]}, file, indent=1)
        file.write("\n")
    Path(partial).replace(path)
