"""What the options of `ropewalk.ssl` refuse, and what they say then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ropewalk import ssl
from support import SCENARIOS


@pytest.fixture(scope="module")
def pem() -> Iterator[tuple[bytes, bytes, bytes]]:
    """An authority, a certificate and its key."""
    sys.path.insert(0, str(SCENARIOS))
    try:
        from ssl_peers import AUTHORITY, CERTIFICATE, KEY

        yield AUTHORITY.pem, CERTIFICATE, KEY
    finally:
        sys.path.remove(str(SCENARIOS))


NO_NAME = r"no name that a certificate could be for|no host name"

Made = tuple[bytes, bytes, bytes]


def test_a_missing_file_is_an_oserror_with_its_name(tmp_path: Path) -> None:
    missing = tmp_path / "cert.pem"
    with pytest.raises(FileNotFoundError) as caught:
        ssl.ServerOptions(missing)
    assert caught.value.filename == str(missing)
    assert str(caught.value) == f"[Errno 2] No such file or directory: '{missing}'"


def test_a_directory_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        ssl.ClientOptions("localhost", trustRoot=tmp_path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "there is no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n", "malformed PEM"),
    ],
)
def test_a_useless_file_is_a_valueerror_with_its_name(
    content: bytes, cause: str, tmp_path: Path
) -> None:
    file = tmp_path / "cert.pem"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=cause) as caught:
        ssl.ServerOptions(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_the_key_of_another_certificate_is_refused(tmp_path: Path, pem: Made) -> None:
    from ssl_peers import AUTHORITY

    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(pem[1])
    key.write_bytes(AUTHORITY.issue("other")[1])
    with pytest.raises(ValueError, match="does not belong to the certificate") as caught:
        ssl.ServerOptions(certificate, key)
    assert str(caught.value).startswith(f"{key}: ")


def test_a_certificate_without_key_is_refused(pem: Made) -> None:
    with pytest.raises(ValueError, match="there is no private key in it"):
        ssl.ServerOptions(pem[1])


def test_both_may_be_in_one_place(tmp_path: Path, pem: Made) -> None:
    file = tmp_path / "both.pem"
    file.write_bytes(pem[1] + pem[2])
    ssl.ServerOptions(file)
    ssl.ServerOptions(str(file), file)
    ssl.ServerOptions(pem[1] + pem[2])
    ssl.ClientOptions("localhost", clientCertificate=file)


def test_files_and_bytes_do_not_mix(pem: Made) -> None:
    with pytest.raises(TypeError, match="either both files or both PEM"):
        ssl.ServerOptions(pem[1], "key.pem")


def test_roots_may_be_several(pem: Made) -> None:
    ssl.ClientOptions("localhost", trustRoot=[pem[0], ssl.platformTrust()])
    with pytest.raises(ValueError, match="trusts nobody"):
        ssl.ClientOptions("localhost", trustRoot=[])


def test_platform_roots_are_not_for_clients(pem: Made) -> None:
    with pytest.raises(ValueError, match="for servers, not for clients"):
        ssl.ServerOptions(pem[1], pem[2], trustRoot=ssl.platformTrust())


@pytest.mark.parametrize("hostname", ["", "a b", "x" * 300, "-.-", "a..b"])
def test_what_no_certificate_could_be_for_is_refused(hostname: str, pem: Made) -> None:
    with pytest.raises(ValueError, match=NO_NAME):
        ssl.ClientOptions(hostname, trustRoot=pem[0])
    with pytest.raises(ValueError, match=NO_NAME):
        ssl.ClientOptions("localhost", trustRoot=pem[0]).forHostname(hostname)


def test_names_in_other_scripts_and_addresses_are_taken(pem: Made) -> None:
    options = ssl.ClientOptions("bücher.example", trustRoot=pem[0])
    assert options.hostname == "bücher.example"
    assert options.forHostname("::1").hostname == "::1"
    with pytest.raises(TypeError, match="has to be text"):
        ssl.ClientOptions(b"localhost", trustRoot=pem[0])  # type: ignore[arg-type]


def test_protocols_are_a_list_of_bytes(pem: Made) -> None:
    with pytest.raises(TypeError, match="is a list of bytes"):
        ssl.ServerOptions(pem[1], pem[2], acceptableProtocols=b"h2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="are bytes, not 'h2'"):
        ssl.ServerOptions(pem[1], pem[2], acceptableProtocols=["h2"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        ssl.ServerOptions(pem[1], pem[2], acceptableProtocols=[b""])


def test_versions_have_to_leave_one(pem: Made) -> None:
    with pytest.raises(ValueError, match="no TLS version between"):
        ssl.ServerOptions(
            pem[1],
            pem[2],
            minimumVersion=ssl.TLSVersion.TLSv1_3,
            maximumVersion=ssl.TLSVersion.TLSv1_2,
        )


def test_time_limits_are_seconds(pem: Made) -> None:
    with pytest.raises(ValueError, match="handshakeTimeout is -1"):
        ssl.ServerOptions(pem[1], pem[2], handshakeTimeout=-1)


def test_accepting_anybody_excludes_roots(pem: Made) -> None:
    with pytest.raises(TypeError, match="no trustRoot"):
        ssl.ClientOptions("x", trustRoot=pem[0], insecurelyAcceptAnyCertificate=True)


def test_twisteds_tls_says_what_it_cannot_take(pem: Made) -> None:
    from twisted.protocols.tls import TLSMemoryBIOFactory

    options = ssl.ServerOptions(pem[1], pem[2])
    with (
        pytest.warns(Warning, match="OpenSSL connection-creator"),
        pytest.raises(TypeError, match="makes no pyOpenSSL context"),
    ):
        TLSMemoryBIOFactory(options, False, None)  # type: ignore[arg-type]


def test_options_are_for_their_side(pem: Made) -> None:
    from ropewalk.epollreactor import EPollReactor

    reactor = EPollReactor()
    try:
        with pytest.raises(TypeError, match=r"a TLS client takes ropewalk\.ssl\.ClientOptions"):
            reactor.connectSSL("localhost", 1, None, ssl.ServerOptions(pem[1], pem[2]))
    finally:
        reactor.disconnectAll()
        for source in reactor._internalReaders:
            source.connectionLost(None)
