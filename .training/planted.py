#!/usr/bin/env python3
# ruff: noqa: E501, SIM905
"""Secrets as generators and people make them, and what is no secret, in the places where programs keep them.

    planted.py [SEED]        print how many of them an audit reports

The trainer learns from these lines beside labelled ones. Values are drawn anew from a seed; no list of real secrets is needed.
The lines of labelled.tsv are as they stand in repositories; the others combine each kind of value with each name and place.
"""

from __future__ import annotations

import base64
import collections
import random
import re
import string
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

Draw = random.Random
LABELLED = Path(__file__).with_name("labelled.tsv")
COMMON = ("pass", "admin", "secret", "test", "mail", "redis", "user", "root", "demo")
LOWER, DIGITS, ALNUM = string.ascii_lowercase, string.digits, string.ascii_letters + string.digits
WORDS = (
    "amber anchor apple arrow autumn badger bamboo basket beacon bishop blossom bottle branch bridge bronze"
    " butter cabin camel candle canyon carbon castle cedar cherry cinder circle cloud cobalt comet copper coral"
    " cotton crystal dagger dancer desert dolphin dragon eagle ember falcon feather fiddle forest fossil galaxy"
    " garden ginger glacier granite guitar hammer harbor hazel hollow honey hunter island ivory jaguar jungle"
    " kettle lantern lemon lizard marble meadow melon mirror monkey mountain nectar nickel ocean olive onion"
    " orange orchid oyster panda paper pebble pepper pilot planet plasma pocket prairie purple rabbit raven river"
    " rocket saddle salmon shadow silver spider spring summer sunset thunder tiger timber tulip turtle valley"
    " velvet violet walnut willow window winter wizard yellow zebra"
).split()  # fmt: skip


def drawn(alphabet: str, least: int, most: int) -> Callable[[Draw], str]:
    return lambda r: "".join(r.choice(alphabet) for _ in range(r.randint(least, most)))


def hexadecimal(r: Draw) -> str:
    value = r.randbytes(r.choice((8, 10, 12, 16, 16, 20, 20, 24, 28, 32, 32, 48, 64))).hex()
    return value.upper() if r.random() < 0.15 else value


def in_base64(r: Draw) -> str:
    raw = r.randbytes(r.choice((9, 12, 15, 16, 18, 20, 24, 30, 32, 33, 40, 48, 64)))
    if r.random() < 0.5:
        return base64.b64encode(raw).decode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=" if r.random() < 0.7 else "")


def with_symbols(r: Draw) -> str:
    symbols = r.choice(("!@#$%^&*", "-_.!", "#$%&()*+,-./:;<=>?@[]^_{|}~!", "!?+=", "._~-"))
    size = r.randint(8, 40)
    few = r.choice((1, 1, 2, 3, max(1, size // 4)))
    letters = r.choice((ALNUM, ALNUM, LOWER + DIGITS, string.ascii_letters))
    value = [r.choice(letters) for _ in range(size - few)] + [r.choice(symbols) for _ in range(few)]
    r.shuffle(value)
    return "".join(value)


def phrase(r: Draw) -> str:
    words = r.sample(WORDS, r.randint(2, 5))
    if r.random() < 0.5:
        words = [word.capitalize() for word in words]
    return r.choice(("-", "-", "_", ".", "")).join(words) + r.choice(("", "", str(r.randrange(1000))))


def person(r: Draw) -> str:
    word = r.choice((*WORDS, *COMMON * 3))
    word = word.capitalize() if r.random() < 0.5 else word
    if r.random() < 0.3:
        word = word.translate(str.maketrans("oiea", "01e4"))
    return word + str(r.randrange(1, 2030)) + r.choice(("", "!", "!", "#", "$", "@", "*", "?"))


RANDOM: dict[str, Callable[[Draw], str]] = {
    "hex": hexadecimal,
    "base64": in_base64,
    "letters and digits": drawn(ALNUM, 12, 64),
    "lower case and digits": drawn(LOWER + DIGITS, 12, 48),
    "base32": drawn(string.ascii_uppercase + "234567", 16, 40),
    "letters": drawn(string.ascii_letters, 16, 48),
    "symbols": with_symbols,
    "all printable": drawn(ALNUM + "!#$%&()*+,-./:;<=>?@[]^_{|}~", 12, 32),
    "prefixed": lambda r: (
        r.choice(("sk_", "acme_test_", "prod_", "v1.", "svc-", "test_")) + drawn(ALNUM, 18, 40)(r)
    ),
}
MEMORABLE: dict[str, Callable[[Draw], str]] = {
    "phrase": phrase,
    "person's": person,
    "syllables": lambda r: (
        "".join(r.choice("bdfgklmnprstvz") + r.choice("aeiou") for _ in range(r.randint(3, 6)))
        + r.choice(("", str(r.randrange(100))))
    ),
}
SHORT: dict[str, Callable[[Draw], str]] = {"short": drawn(LOWER + DIGITS, 6, 12)}
NAMES = {
    "pass": "DATABASE_PASSWORD DJANGO_DB_PASSWORD LDAP_BIND_PASSWORD FTP_PASS ROOT_PWD PROXY_PASSWORD PASSWORD"
    " KAFKA_SASL_PASSWORD TRUSTSTORE_PASSWORD EMAIL_HOST_PASSWORD MQTT_PASSPHRASE SSH_KEY_PASSPHRASE",
    "secret": "COOKIE_SECRET OAUTH_SECRET HMAC_SECRET APP_SECRET_KEY SECRET SLACK_SIGNING_SECRET STATE_SECRET"
    " TWITTER_CONSUMER_SECRET SECRET_KEY_BASE AZURE_CLIENT_SECRET",
    "key": "STRIPE_KEY MAILER_API_KEY APIKEY PRIVATE_KEY HASH_KEY LICENSE_KEY ACCOUNT_KEY SESSION_KEY AES_KEY"
    " MAPS_API_KEY SENTRY_KEY VAPID_PRIVATE_KEY ACCESS_KEY",
    "token": "API_TOKEN SLACK_TOKEN BEARER_TOKEN NPM_TOKEN PERSONAL_ACCESS_TOKEN CI_TOKEN USER_TOKEN TOKEN"
    " ID_TOKEN VERIFY_TOKEN GITEA_TOKEN",
    "auth": "HTTP_AUTH REGISTRY_AUTH SERVICE_CREDENTIALS DB_CREDENTIAL",
}


class Place(NamedTuple):
    path: str
    line: str  # with {n} and {v}
    style: str  # of the name: "upper", "lower", "camel", "kebab", "dots"
    bad: str  # characters that a value can't have there


PLACES = {
    "dotenv": Place("deploy/.env.staging", "{n}={v}", "upper", " #$'\"`\\"),
    "dotenv, quoted": Place("web/.env", '{n}="{v}"', "upper", "\"$`\\"),
    "shell": Place("scripts/start.sh", "{n}={v} ./serve --port 80", "upper", " #$'\"`\\()[]{}|&;<>*?!~"),
    "shell, quoted": Place("bin/setup", 'export {n}="{v}"', "upper", "\"$`\\!"),
    "properties": Place("conf/service.properties", "service.{n} = {v}", "dots", " \\#!"),
    "yaml": Place("deploy/settings.yaml", "    {n}: {v}", "camel", ":#'\"&*!|>%@`{}[],? -\\"),
    "yaml, single": Place("conf/app.yaml", "  - {n}: '{v}'", "kebab", "'\\"),
    "helm": Place("chart/values-prod.yaml", '  {n}: "{v}"', "camel", "\"\\"),
    "compose": Place("docker-compose.prod.yml", "      {n}: {v}", "upper", ":#'\"&*!|>%@`{}[],? -\\$"),
    "dockerfile": Place("app.dockerfile", "ARG {n}={v}", "upper", " #$'\"`\\"),
    "ini": Place("etc/server.cfg", "{n} = {v}", "lower", " ;#%\"'\\"),
    "toml": Place("Settings.toml", "{n} = '{v}'", "kebab", "'\\"),
    "tf": Place("main.tf", '  {n} = "{v}"', "lower", "\"\\$%"),
    "json": Place("conf/local.json", '  "{n}": "{v}",', "lower", "\"\\"),
    "json, one line": Place("data/seed.json", '{{"id": 7, "{n}": "{v}", "on": true}}', "camel", "\"\\"),
    "xml": Place("conf/beans.xml", '    <property name="{n}" value="{v}"/>', "camel", "\"<>&\\"),
    "xml element": Place("settings.xml", "      <{n}>{v}</{n}>", "camel", "<>&\\"),
    "python": Place("src/conf.py", "    {n} = '{v}'", "lower", "'\\"),
    "python call": Place("src/client.py", 'client = Client(host="db", {n}="{v}", port=1)', "lower", "\"\\"),
    "python dict": Place("src/db.py", "DATABASES = {{'default': {{'{n}': '{v}', 'PORT': 1}}}}", "upper", "'\\"),
    "python default": Place("src/env.py", "x = os.getenv('{n}', '{v}')", "upper", "'\\"),
    "typescript": Place("src/env.ts", "export const {n}: string = '{v}';", "upper", "'\\"),
    "javascript": Place("lib/db.js", '  "{n}": "{v}",', "camel", "\"\\"),
    "javascript or": Place("lib/env.js", "const k = process.env.{n} || '{v}';", "upper", "'\\"),
    "java": Place("src/Db.java", '        props.setProperty("{n}", "{v}");', "dots", "\"\\"),
    "kotlin": Place("src/Db.kt", '    private val {n} = "{v}"', "camel", "\"\\$"),
    "c#": Place("src/Options.cs", '    public string {n} {{ get; set; }} = "{v}";', "camel", "\"\\"),
    "go": Place("cmd/main.go", '\t{n} := "{v}"', "camel", "\"\\"),
    "go field": Place("cmd/conf.go", '\t\t{n}: "{v}",', "camel", "\"\\"),
    "ruby": Place("config/settings.rb", "  {n}: '{v}',", "lower", "'\\"),
    "php": Place("src/db.php", "$conf['{n}'] = '{v}';", "lower", "'\\"),
    "rust": Place("src/conf.rs", 'const {n}: &str = "{v}";', "upper", "\"\\"),
    "setter": Place("src/App.java", '        client.set{n}("{v}");', "pascal", '"\\'),
    "setter, php": Place("src/app.php", "$client->set{n}('{v}');", "pascal", "'\\"),
    "env call": Place("config/app.php", "    'x' => env('{n}', '{v}'),", "upper", "'\\"),
    "prose": Place("README.md", "My {n} is {v}", "spaces", " \"'`\\<>(){}[]|"),
    "prose, is": Place("notes.txt", "the {n} is {v}", "spaces", " \"'`\\<>(){}[]|"),
    "notes": Place("keys.txt", "{n}: {v}", "spaces", " \"'`\\<>(){}[]|"),
    "header": Place("docs/api.md", "    curl -H 'X-{n}: {v}' https://api.test", "kebab", " \"'`\\"),
    "nginx": Place("nginx.conf", '  proxy_set_header X-{n} "{v}";', "kebab", '"\\$'),
    "session": Place("src/app.js", "app.use(session({{ {n}: '{v}', resave: false }}));", "camel", "'\\"),
    "docs": Place("docs/setup.md", "    {n}: {v}", "lower", " :#'\"`\\"),
    "sql": Place("db/init.sql", "ALTER USER app SET {n} = '{v}';", "lower", "'\\"),
}  # fmt: skip
NO_SECRETS: dict[str, Callable[[Draw], str]] = {
    "camel case": lambda r: "".join(map(str.capitalize, r.sample(WORDS, 3))) + r.choice(("", "Id", "V2", "Key")),
    "lower camel": lambda r: r.choice(WORDS) + "".join(map(str.capitalize, r.sample(WORDS, r.randint(1, 3)))),
    "snake case": lambda r: "_".join(r.sample(WORDS, r.randint(2, 3))) + r.choice(("", "_id", "_key", "_2")),
    "kebab case": lambda r: "-".join(r.sample(WORDS, r.randint(2, 3))) + r.choice(("-secret", "-tls", "-auth", "-v1")),
    "dotted": lambda r: ".".join(r.sample(WORDS, r.randint(2, 4))),
    "upper": lambda r: "_".join(r.sample(WORDS, 2)).upper(),
    "title": lambda r: " ".join(map(str.capitalize, r.sample(WORDS, r.randint(2, 4)))),
    "sentence": lambda r: "The " + " ".join(r.sample(WORDS, r.randint(3, 7))) + r.choice((".", "", "?")),
    "path": lambda r: "/" + "/".join(r.sample(WORDS, r.randint(2, 4))) + r.choice(("", ".txt", ".pem", ".key")),
    "url": lambda r: "https://" + r.choice(WORDS) + ".test/" + r.choice(WORDS),
    "host": lambda r: r.choice(WORDS) + ".internal:" + str(r.randrange(1000, 9999)),
    "variable": lambda r: r.choice(("${%s}", "$%s", "{{ %s }}", "%%(%s)s", "<%s>", "process.env.%s", "ENV['%s']"))
    % r.choice(WORDS).upper(),
    "call": lambda r: r.choice(("get%s()", "config.%s", "self.%s()", "load%s(path)")) % r.choice(WORDS).capitalize(),
    "version": lambda r: f"{r.choice(('', '^', '~', 'v'))}{r.randrange(20)}.{r.randrange(20)}.{r.randrange(20)}",
    "date": lambda r: f"20{r.randrange(10, 30)}-{r.randrange(10, 13)}-{r.randrange(10, 29)}",
    "pattern": lambda r: r.choice(("^[a-z0-9]{%d,32}$", "[A-Za-z0-9_-]{%d}", r"\\d{%d}-\\w+")) % r.randint(4, 9),
    "small number": lambda r: str(r.randrange(10 ** r.randint(1, 6))),
    "word": lambda r: r.choice(("string", "none", "bearer", "basic", "required", "hidden", "text", "jwt", "id")),
    "mime": lambda r: "application/" + r.choice(WORDS) + "+json",
    "placeholder": lambda r: r.choice(("your-%s-here", "<%s>", "change_me_%s", "xxxx%s", "%s_TODO")) % r.choice(WORDS),
}  # fmt: skip
# Values that only labelled.tsv asks for.
FORMATS: dict[str, Callable[[Draw], str]] = {
    "word": lambda r: r.choice(WORDS),
    "Word": lambda r: r.choice(WORDS).capitalize(),
    "WORD": lambda r: r.choice(WORDS).upper(),
    "Words": NO_SECRETS["title"],
    "small": NO_SECRETS["small number"],
    "uuid": lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)),
    "base64url": drawn(ALNUM + "-_", 35, 35),
    "basic": lambda r: base64.b64encode(f"robot:{person(r)}".encode()).decode(),
    "encoded": lambda r: base64.b64encode(drawn(ALNUM, 12, 24)(r).encode()).decode(),
    "django": drawn(LOWER + DIGITS + "!@#$%^&*(-_=+)", 50, 50),
    "telegram": lambda r: f"{r.randrange(10**9, 10**10)}:AA{drawn(ALNUM + '-_', 33, 33)(r)}",
    "discord": lambda r: ".".join(("MT" + drawn(ALNUM, 24, 24)(r), "G" + drawn(ALNUM, 5, 5)(r), drawn(ALNUM + "-_", 38, 38)(r))),
}  # fmt: skip
# Alphabets of values whose size labelled.tsv gives.
SIZED = {"letters and digits": ALNUM, "hex": "0123456789abcdef", "base64": ALNUM + "+/", "base32": string.ascii_uppercase + "234567", "all printable": ALNUM + "!#$%&()*+,-./:;<=>?@[]^_{|}~"}  # fmt: skip
# Names of keys and tokens that aren't secrets, with random or other values.
OTHER_NAMES = (
    "primaryKey sortKey partitionKey cacheKey tokenId keyId integrity resolved sha512 commit etag publicKey"
    " clientId tokenType keyName secretName passwordField tokenCount keyCode nextToken pageToken hotKey keyPath"
    " translationKey routeKey i18nKey authType authUrl tokenUrl foreignKey surrogateKey keyword uniqueKey"
).split()  # fmt: skip


def spelled(name: str, style: str) -> str:
    words = name.lower().split("_")
    if style == "camel":
        return words[0] + "".join(map(str.capitalize, words[1:]))
    if style == "pascal":
        return "".join(map(str.capitalize, words))
    return (
        name
        if style == "upper"
        else {"lower": "_", "kebab": "-", "dots": ".", "spaces": " "}[style].join(words)
    )


def lines(seed: int, each: int, passwords: list[str]) -> Iterator[tuple[bool, str, str, str]]:
    """Yield (is a secret, its group, path, line); groups are generators by place, for testing."""
    r = Draw(seed)
    people = {"leaked": lambda r: r.choice(passwords)} if passwords else {}
    for place_name, place in PLACES.items():
        for kind, names in NAMES.items():
            makers = {
                **RANDOM,
                **(MEMORABLE if kind in ("pass", "secret") else SHORT),
                **(people if kind == "pass" else {}),
            }
            for secret, made in ((True, makers), (False, NO_SECRETS)):
                for how, make in made.items():
                    for _ in range(each if secret else 1):
                        line = put(place, r.choice(names.split()), make, r)
                        if line and not (
                            kind == "pass" and how in ("word", "small number", "kebab case", "snake case")
                        ):
                            yield secret, f"{how}/{place_name}", place.path, line
        for name in r.sample(OTHER_NAMES, 12):
            how = r.choice([*RANDOM, *NO_SECRETS])
            line = put(place, name, {**RANDOM, **NO_SECRETS}[how], r)
            if line:
                yield False, f"{how}/{place_name}", place.path, line


def put(place: Place, name: str, make: Callable[[Draw], str], r: Draw) -> str:
    """Return the line with a value that can stand there, or ""."""
    for _ in range(20):
        value = make(r)
        if not set(place.bad).intersection(value) and value[0] not in "-!&*%@`":
            shown = name if name in OTHER_NAMES else spelled(name, place.style)
            return place.line.format(n=shown, v=value)
    return ""


def labelled(seed: int, each: int) -> Iterator[tuple[bool, str, str, str]]:
    """Yield (is a secret, its group, path, text) for the rows of labelled.tsv; those with drawn values `each` times."""
    r = Draw(seed)
    for number, row in enumerate(LABELLED.read_text("utf-8").splitlines(), 1):
        if row.startswith("#"):
            continue
        label, path, line = row.split("\t", 2)
        for _ in range(each if "⟨" in line else 1):
            text = re.sub("⟨(.*?)⟩", lambda match: fill(match[1], r), line.replace("↵", "\n"))
            yield label == "yes", f"row {number}", path, text


def fill(kind: str, r: Draw) -> str:
    name, _, size = kind.rpartition(" ")
    if size.isdecimal():
        return "".join(r.choice(SIZED.get(name) or ALNUM + "-_") for _ in range(int(size)))
    return {**RANDOM, **MEMORABLE, **FORMATS}[kind](r)


def main() -> None:
    """Print the share of secrets that an audit finds at medium confidence, and of other lines that it reports."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import paissive_secrets as ps

    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    for name, rows in ("generated", lines(seed, 1, [])), ("labelled", labelled(seed, 5)):
        totals: collections.Counter[bool] = collections.Counter()
        reported: collections.Counter[bool] = collections.Counter()
        groups = set()
        for secret, group, path, text in rows:
            totals[secret] += 1
            matches = ps.scan(iter([f"{text}\n".encode()]), path, confidences=("high", "medium"))
            hit = any(True for _ in matches)
            reported[secret] += hit
            if hit != secret and name == "labelled":
                groups.add(group)
        for secret, what in (True, "secrets"), (False, "other lines"):
            share = reported[secret] / totals[secret]
            print(f"{name:9} {totals[secret]:6} {what:11} {share:7.1%} reported")
        if groups:
            print("missed or wrong at least once: labelled.tsv,", ", ".join(sorted(groups)))


if __name__ == "__main__":
    main()
