import base64
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from kept_reports import keep_report

import lepton_nb as lnb
from lepton_nb.reports.integrity import load
from lepton_nb.reports.signature import NAMESPACE, check, signer

MAKERS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def write_key(path, key=None, *, form=forms.PrivateFormat.OpenSSH, passphrase=None):
    """A private key in `path`, its public one beside it."""
    key = key or ed25519.Ed25519PrivateKey.generate()
    guard = forms.BestAvailableEncryption(passphrase) if passphrase else forms.NoEncryption()
    path.write_bytes(key.private_bytes(forms.Encoding.PEM, form, guard))
    path.chmod(0o600)
    public = path.with_name(f"{path.name}.pub")
    public.write_bytes(key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH) + b" ann\n")
    return path, public


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("form", [forms.PrivateFormat.OpenSSH, forms.PrivateFormat.PKCS8])
def test_what_one_key_signs_its_public_one_checks(kind, form, tmp_path):
    private, public = write_key(tmp_path / "key", MAKERS[kind](), form=form)
    made = signer(private).sign(b"message")
    assert check(b"message", made, public) == "ann"
    with pytest.raises(lnb.ReportError, match="was changed afterwards"):
        check(b"Message", made, public)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_openssh_checks_our_signatures_and_we_check_its(tmp_path):
    private, public = write_key(tmp_path / "key")
    signers = tmp_path / "signers"
    signers.write_text(f"ann@example.org {public.read_text()}")
    message, signature = tmp_path / "manifest.json", tmp_path / "manifest.json.sig"
    message.write_bytes(b"message")
    signature.write_text(signer(private).sign(b"message"))
    command = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "ann@example.org", "-n", NAMESPACE, "-s", signature]
    done = subprocess.run(command, input=b"message", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    signature.unlink()
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", private, "-n", NAMESPACE, message]
    subprocess.run(sign, check=True, capture_output=True)
    assert check(b"message", signature.read_text(), signers) == "ann@example.org"


def test_an_encrypted_key_needs_its_passphrase_by_reference(tmp_path, monkeypatch):
    private, public = write_key(tmp_path / "key", passphrase=b"open it")
    monkeypatch.setenv("KEY_WORD", "open it")
    (tmp_path / "word").write_text("open it\n")
    for reference in ("env:KEY_WORD", f"file:{tmp_path / 'word'}"):
        assert check(b"m", signer(private, reference).sign(b"m"), public) == "ann"
    with pytest.raises(lnb.ReportError, match="is encrypted; say where its passphrase is"):
        signer(private)
    with pytest.raises(lnb.ReportError, match="never itself"):
        signer(private, "open it")
    with pytest.raises(lnb.ReportError, match="NO_SUCH_WORD.*is not set"):
        signer(private, "env:NO_SUCH_WORD")
    monkeypatch.setenv("KEY_WORD", "wrong")
    with pytest.raises(lnb.ReportError, match="passphrase is wrong"):
        signer(private, "env:KEY_WORD")


def test_what_is_no_key_is_told(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(lnb.ReportError, match="is not a private key"):
        signer(tmp_path / "text")
    with pytest.raises(lnb.ReportError, match="cannot read the key"):
        signer(tmp_path / "gone")
    with pytest.raises(lnb.ReportError, match="holds no public key"):
        check(b"m", signer(write_key(tmp_path / "key")[0]).sign(b"m"), tmp_path / "text")


def test_only_keys_that_are_allowed_for_reports_count(tmp_path):
    private, public = write_key(tmp_path / "key")
    _, other = write_key(tmp_path / "other")
    made = signer(private).sign(b"m")
    key = " ".join(public.read_text().split()[:2])
    signers = tmp_path / "signers"
    for options, allowed in (
        ("", True),
        (f'namespaces="{NAMESPACE}" ', True),
        ('namespaces="git" ', False),
        ("cert-authority ", False),
        ('valid-before="20200101" ', False),
    ):
        signers.write_text(f"# those we trust\nbob {other.read_text()}\nann {options}{key}\n")
        if allowed:
            assert check(b"m", made, signers) == "ann"
        else:
            with pytest.raises(lnb.ReportError, match="does not name"):
                check(b"m", made, signers)


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-60], lambda text: "", lambda text: text.replace("U1NI", "AAAA")]
)
def test_a_damaged_signature_is_told(damage, tmp_path):
    private, public = write_key(tmp_path / "key")
    with pytest.raises(lnb.ReportError, match="damaged"):
        check(b"m", damage(signer(private).sign(b"m")), public)


def test_a_signature_for_something_else_does_not_count(tmp_path):
    private, public = write_key(tmp_path / "key")
    lines = signer(private).sign(b"m").splitlines()
    body = base64.b64decode("".join(lines[1:-1])).replace(NAMESPACE.encode(), b"x" * len(NAMESPACE))
    lines[1:-1] = [base64.b64encode(body).decode()]
    with pytest.raises(lnb.ReportError, match="none of a report"):
        check(b"m", "\n".join(lines), public)


def test_each_file_that_was_tampered_with_is_named(tmp_path):
    private, public = write_key(tmp_path / "key")
    folder = keep_report(tmp_path / "home" / "r", signer=signer(private), metrics={"auc": 0.5})
    good = lnb.report_verify(folder, run=False, signature=public)
    assert good.signer == "ann"
    assert good.reproduced
    names = sorted(load(folder).manifest["files"])
    assert names == ["n.ipynb", "report.html", "ro-crate-metadata.json"]
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        wrong = lnb.report_verify(folder, run=False, signature=public)
        assert [(one.kind, one.name) for one in wrong.held] == [("file", name)]
        (folder / name).write_bytes(content)
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"auc": 0.5', '"auc": 0.9'))
    wrong = lnb.report_verify(folder, run=False, signature=public)
    assert [one.kind for one in wrong.held] == ["signature"]
    assert "was changed afterwards" in str(wrong)
    assert not wrong.signer
    (folder / "manifest.json.sig").unlink()
    assert "is not signed" in str(lnb.report_verify(folder, run=False, signature=public))


def test_links_are_not_followed_and_strange_files_are_named(tmp_path):
    folder = keep_report(tmp_path / "home" / "r")
    (folder / "report.html").rename(tmp_path / "page")
    (folder / "report.html").symlink_to(tmp_path / "page")
    (folder / "more.txt").write_text("x")
    held = lnb.report_verify(folder, run=False).held
    assert [one.text for one in held] == ["report.html: is a link", "more.txt: is not of this report"]
    shutil.move(folder / "manifest.json", tmp_path / "m")
    (folder / "manifest.json").symlink_to(tmp_path / "m")
    with pytest.raises(lnb.ReportError, match="cannot read"):
        load(folder)
