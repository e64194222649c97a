"""TLS as the page speaks it."""

from __future__ import annotations

import os
import ssl

from syncsrv.errors import SyncsrvError


class CertificateError(SyncsrvError):
    """Certificate or key cannot be used."""

    code = "certificate"

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot use the certificate of the page: {why}", "correct web: {tls: …} in node.yaml")


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 and newer, with forward secrecy only.

    The library reads files only, so these go through one in memory, by its name in /proc: before the process is
    confined, for afterwards it reaches no name at all.

    Args:
        certificate: PEM, with the chain where there is one.
        key: PEM, not encrypted.

    Raises:
        CertificateError: they cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    memory = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(f"{key.strip()}\n{certificate.strip()}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}", password="")  # else it would ask the terminal for one
    except (OSError, ValueError) as error:
        raise CertificateError((error.strerror if isinstance(error, OSError) else None) or str(error)) from None
    finally:
        os.close(memory)
    return context
