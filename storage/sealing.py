"""What is kept for others and is nobody else's business: sealed before it reaches the database.

Fernet (AES-128-CBC and HMAC-SHA-256; github.com/fernet/spec) of the ``cryptography`` library, under
keys that the database does not hold. The first key seals, each opens, so keys are changed by
putting a new one first.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from ingest.errors import ConfigError, SecretUnreadable


class Sealer:
    """Seals and opens. Safe to use from several threads.

    Args:
        keys: of the settings, the newest first; without any, nothing can be sealed.
    """

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        opened = [Fernet(key.get_secret_value()) for key in keys]
        self._fernet = MultiFernet(opened) if opened else None

    @property
    def can_seal(self) -> bool:
        """Whether there is a key."""
        return self._fernet is not None

    def seal(self, secret: bytes) -> bytes:
        """Return what may be stored.

        Raises:
            ConfigError: there is no key.
        """
        if self._fernet is None:
            raise ConfigError("HEADRACE_SECRET_KEYS is empty, so nothing can be kept secret.")
        return self._fernet.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            SecretUnreadable: none of the keys opens it.
        """
        try:
            if self._fernet is not None:
                return self._fernet.decrypt(sealed)
        except InvalidToken:
            pass
        raise SecretUnreadable(
            "What is kept secret here was sealed with a key that HEADRACE_SECRET_KEYS does not "
            "hold (any more)."
        )
