"""The signature over a manifest, and so over all files that it names: OpenSSH's own form (PROTOCOL.sshsig).

What is written here, `ssh-keygen -Y verify -n lepton-nb-report` checks as well, and the other way round.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "lepton-nb-report"
_MAGIC, _HASH = b"SSHSIG", "sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES = {"sha256", "sha512"}
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs. `public` is the line that others need to check."""

    key: Any
    public: str

    def sign(self, message: bytes) -> str:
        """The signature over `message`, as armoured text."""
        name, blob = _raw(self.key, _payload(hashlib.sha512(message).digest(), _HASH))
        signed = _string(name) + _string(blob)
        public = base64.b64decode(self.public.split()[1])
        body = _MAGIC + struct.pack(">I", 1) + _string(public) + _string(NAMESPACE) + _string(b"") + _string(_HASH)
        text = base64.b64encode(body + _string(signed)).decode()
        return "\n".join([_BEGIN, *(text[at : at + 70] for at in range(0, len(text), 70)), _END, ""])


def signer(path: str | os.PathLike[str], passphrase: str | None = None) -> Signer:
    """The private key in the file at `path`: OpenSSH's form, or PEM; Ed25519, ECDSA or RSA.

    passphrase: of an encrypted key, as a reference to it: "env:NAME" or "file:PATH". Raises ReportError.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as forms

    file = Path(path).expanduser()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ReportError(f"cannot read the key {file}: {error.strerror}", path=str(file)) from None
    secret = _secret(passphrase) if passphrase is not None else None
    load = forms.load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in content else forms.load_pem_private_key
    try:
        try:
            key = load(content, secret)
        except TypeError:
            if secret is None:
                raise
            key = load(content, None)  # it is not encrypted
        public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH).decode()
        made = Signer(key, public)
        made.sign(b"")
    except TypeError:
        raise ReportError(
            f"the key {file} is encrypted; say where its passphrase is, as env:NAME or file:PATH", path=str(file)
        ) from None
    except UnsupportedAlgorithm as error:
        raise ReportError(
            f'the key {file} cannot be read here ({error}); install what reads it: pip install "lepton-nb[reports]"',
            path=str(file),
        ) from None
    except (ValueError, AttributeError):
        wrong = ", or the passphrase is wrong" if secret is not None else ""
        raise ReportError(
            f"{file} is not a private key that signs{wrong}; give an OpenSSH or PEM file with an Ed25519, ECDSA or RSA "
            "key, such as ssh-keygen -t ed25519 makes",
            path=str(file),
        ) from None
    return made


def check(message: bytes, armoured: str, trusted: str | os.PathLike[str]) -> str:
    """Who signed `message`: the name that `trusted` has for the key, or its fingerprint.

    trusted: a file with a public key (OpenSSH's one line, or PEM), or with allowed signers, as ssh-keygen reads them.
    Raises ReportError where the signature does not fit, or the key is not trusted.
    """
    public, blob, algorithm, digest = _parts(armoured)
    found = next((name for name, key in _trusted(Path(trusted).expanduser()) if key == public), None)
    if found is None:
        raise ReportError(
            f"the manifest is signed with the key {fingerprint(public)}, which {trusted} does not name; "
            "do not trust the report, or give the key of the one who made it",
            fingerprint=fingerprint(public),
        )
    signed = _payload(hashlib.new(digest, message).digest(), digest)
    try:
        _verify(public, algorithm, blob, signed)
    except Exception as error:  # each kind of key has its own errors for a signature that is none
        raise ReportError(
            f"the manifest is not what {found} signed: it, or the signature, was changed afterwards", signer=found
        ) from error
    return found


def fingerprint(public: bytes) -> str:
    """A public key's fingerprint, as ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def _payload(digest: bytes, name: str) -> bytes:
    return _MAGIC + _string(NAMESPACE) + _string(b"") + _string(name) + _string(digest)


def _raw(key: Any, payload: bytes) -> tuple[str, bytes]:
    """The algorithm's name and the signature's bytes, as SSH has them."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ssh-ed25519", key.sign(payload)
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa-sha2-512", key.sign(payload, padding.PKCS1v15(), hashes.SHA512())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(payload, ec.ECDSA(_of_curve(key.curve.key_size))))
        return f"ecdsa-sha2-nistp{key.curve.key_size}", _number(r) + _number(s)
    raise ValueError(f"{type(key).__name__} does not sign")


def _verify(public: bytes, algorithm: str, blob: bytes, signed: bytes) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    kind = next(_strings(public)).decode()
    key = load_ssh_public_key(f"{kind} {base64.b64encode(public).decode()}".encode())
    if isinstance(key, ed25519.Ed25519PublicKey) and algorithm == "ssh-ed25519":
        key.verify(blob, signed)
    elif isinstance(key, rsa.RSAPublicKey) and algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
        key.verify(blob, signed, padding.PKCS1v15(), hashes.SHA512() if algorithm.endswith("512") else hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == kind:
        r, s = (int.from_bytes(number, "big") for number in _strings(blob))
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_of_curve(key.curve.key_size)))
    else:
        raise ValueError(f"{algorithm} with a key of kind {kind}")


def _of_curve(bits: int) -> Any:
    from cryptography.hazmat.primitives import hashes

    return {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[bits]


def _parts(armoured: str) -> tuple[bytes, bytes, str, str]:
    """Public key, signature, its algorithm, and the hash's name."""
    try:
        text = armoured.strip()
        if not (text.startswith(_BEGIN) and text.endswith(_END)) or len(text) > _LARGEST:
            raise ValueError("no armour")
        body = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
        if body[: len(_MAGIC)] != _MAGIC or struct.unpack_from(">I", body, len(_MAGIC)) != (1,):
            raise ValueError("another form")
        public, namespace, reserved, digest, signature = _strings(body[len(_MAGIC) + 4 :])
        algorithm, blob = _strings(signature)
        if namespace.decode() != NAMESPACE or reserved or digest.decode() not in _HASHES:
            raise ValueError("made for something else")
    except (ValueError, binascii.Error, struct.error) as error:
        raise ReportError(f"the signature is damaged, or none of a report ({error}); sign the report anew") from None
    return public, blob, algorithm.decode(), digest.decode()


def _trusted(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and keys in a file of one public key, or of allowed signers."""
    from cryptography.hazmat.primitives import serialization as forms

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReportError(f"cannot read the public key {path}: {error.strerror}", path=str(path)) from None
    lines = content.decode(errors="replace").splitlines()
    if b"BEGIN PUBLIC KEY" in content:
        try:
            key: Any = forms.load_pem_public_key(content)
            lines = [key.public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH).decode()]
        except ValueError:
            lines = []
    found = [pair for line in lines if (pair := _signer_of(line)) is not None]
    if not found:
        raise ReportError(
            f"{path} holds no public key; give a file such as id_ed25519.pub, or one of allowed signers", path=str(path)
        )
    yield from found


def _signer_of(line: str) -> tuple[str, bytes] | None:
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    for at, word in enumerate(words[:-1]):
        if word.startswith(("ssh-", "ecdsa-sha2-")) and not word.endswith("cert-v01@openssh.com"):
            try:
                public = base64.b64decode(words[at + 1], validate=True)
                fits = next(_strings(public)).decode() == word
            except (ValueError, binascii.Error, struct.error, StopIteration):
                return None
            if not fits or not _allowed(words[1:at]):
                return None
            return (words[0] if at else " ".join(words[2:]) or fingerprint(public)), public
    return None


def _allowed(options: list[str]) -> bool:
    """Whether a line of allowed signers holds for reports. One with an option that is not known does not."""
    for option in ",".join(options).split(",") if options else ():
        name, _, value = option.partition("=")
        if name.lower() != "namespaces" or not fnmatch.fnmatchcase(NAMESPACE, value.strip('"')):
            return False
    return True


def _secret(reference: str) -> bytes:
    kind, _, name = reference.partition(":")
    if kind == "env" and name in os.environ:
        return os.environ[name].encode()
    if kind == "file":
        try:
            return Path(name).expanduser().read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise ReportError(f"cannot read the passphrase in {name}: {error.strerror}", path=name) from None
    if kind == "env":
        raise ReportError(f"the environment variable {name}, which should have the passphrase, is not set; set it")
    raise ReportError("a passphrase is given as env:NAME or file:PATH, never itself")


def _string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


def _number(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _strings(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        at += 4 + length
        if at > len(data):
            raise ValueError("cut off")
        yield data[at - length : at]
