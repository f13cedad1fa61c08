"""Who is calling: a bearer token from the tokens file, or a client certificate.

The tokens file has one `name:sha256hex` a line (`#` starts a comment); `printf %s "$TOKEN" | sha256sum` makes the hash,
so the file never holds a token. With a tokens file every call needs a token, reflection too. Health alone needs none:
load balancers and supervisors ask it, and it tells no more than serving or not.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from diptych.errors import Unauthenticated

_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<digest>[0-9a-fA-F]{64})")


class TokensFileError(ValueError):
    """The tokens file does not read as one; the message names the line, never its content."""


class Tokens:
    """The callers that a tokens file names."""

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)

    @classmethod
    def read(cls, path: Path) -> "Tokens":
        """The tokens of `path`. TokensFileError names the first line that is wrong."""
        digests: dict[str, bytes] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            entry = line.partition("#")[0].strip()
            if not entry:
                continue
            match = _LINE.fullmatch(entry)
            if match is None:
                raise TokensFileError(f"line {number} of {path} is not `name:sha256hex`")
            if match["name"] in digests:
                raise TokensFileError(f"line {number} of {path} names {match['name']!r} a second time")
            digests[match["name"]] = bytes.fromhex(match["digest"])
        if not digests:
            raise TokensFileError(f"{path} holds no token, so nobody could call")
        return cls(digests)

    def caller(self, metadata: Mapping[str, str]) -> str:
        """The name behind the `authorization` header. Unauthenticated when there is none or nobody has that token."""
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("this server needs a token: send the header `authorization: Bearer TOKEN`")
        digest = hashlib.sha256(token.strip().encode()).digest()
        # Every entry is compared, in constant time each, so timing tells nothing of who or how close.
        names = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        if not names:
            raise Unauthenticated("the token is not one that this server knows")
        return names[0]


def certificate_name(auth_context: Mapping[str, Iterable[bytes]]) -> str | None:
    """The common name of the caller's certificate, None without mTLS."""
    for name in auth_context.get("x509_common_name", ()):
        return name.decode("utf-8", "replace")
    return None
