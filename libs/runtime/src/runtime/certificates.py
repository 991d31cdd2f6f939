"""Who issued a certificate that is not trusted: what Python's and OpenSSL's own errors leave out."""

import contextlib
import ssl
from collections.abc import Sequence
from typing import override

from runtime.reachability import UntrustedCertificateError


class _SSLObject(ssl.SSLObject):
    @override
    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            issuer = issuer_of(self.get_unverified_chain())
            if issuer is None:
                raise
            raise UntrustedCertificateError(error, issuer) from None


def naming_issuers(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have connections of asyncio under `context` raise `UntrustedCertificateError` where they trust no certificate."""
    context.sslobject_class = _SSLObject
    return context


def issuer_of(chain: Sequence[bytes]) -> str | None:
    """The issuer of the first certificate of a DER chain, as RFC 4514 writes names; None where there is none."""
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 - services that meet no such server do without

    with contextlib.suppress(ValueError, IndexError):
        return load_der_x509_certificate(chain[0]).issuer.rfc4514_string()
    return None
