#!/usr/bin/env python3
# paissive_secrets 1.0.0.dev0 (2026-11-28)
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: 2026 the paissive_secrets maintainers
# Home: the project's repository; README says how to verify a copy against it.
# /// script
# requires-python = ">=3.9"
# dependencies = ["cryptography>=42"]
# ///
"""Keep secrets out of code, and find those that are in it.

    >>> from paissive_secrets import get_secret, set_secret
    >>> set_secret("DB_PASSWORD", "…", backend="memory")
    >>> get_secret("DB_PASSWORD", backend="memory")
    '…'

A backend is "env" (variables and .env, the default), "file" (encrypted
files), "memory", "vault", or any object with the methods of `Store`. The
command line has the same stores: see `python3 -m paissive_secrets help`.

    get_secret …            read, write, delete and list secrets by name
    load_env                add secrets to this process's environment
    SecretsManager          the same, with stores of its own
    SecretConfig            settings that may refer to secrets
    SecretRotation          new values, applied, verified, then current
    redact, redact_logs     `***` in place of values in text and logs
    audit, Audit            find secrets in files and in git's history
    seal, unseal            files in the format of age
    SecretsError            the base of all errors

Threads may share functions, managers and stores; a file or a rotation has
one writer at a time.

Contents of the source; each section uses only the sections above it, and
begins with what it provides:

    Errors, Rules, Names, Durable files
    Generators, Stores, Policies, Dotenv, Environment
    Store credentials, Age format, Running git
    Known stores, Sealed folder, Sealed access, Sealed files
    Vault settings, Vault transport, Vault logins, Vault store
    Manager and references, Config, Import and export, Templates
    Masking, Rotation, Provided environment, Processes, Redaction
    Candidates, Judgement, Detectors, Scan
    Git, Files, Audit, Reports, Check
    Commands
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036 - say so instead of failing somewhere below
    _Error = SystemExit if __name__ == "__main__" else ImportError
    raise _Error("paissive_secrets needs Python 3.9 or newer")
if __name__ == "__main__" and not __spec__ and not hasattr(sys, "frozen"):
    # Otherwise a project's own json.py beside this file would replace Python's.
    _program_folder = os.path.dirname(os.path.realpath(__file__))
    sys.path = [path for path in sys.path if path != _program_folder]
else:
    _program_folder = ""

import enum
import errno
import io
import itertools
import re
import stat
import time
from _thread import RLock, allocate_lock  # threading takes longer to import
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, cached_property, lru_cache, partial, wraps
from itertools import accumulate, chain, groupby, islice, product
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    NoReturn,
    Optional,
    Protocol,
    TypeVar,
    Union,
    cast,
    overload,
)

if TYPE_CHECKING:
    import subprocess
    from argparse import ArgumentParser, Namespace
    from typing import IO, AnyStr, TextIO
    from weakref import WeakValueDictionary

    from cryptography import exceptions
    from cryptography.hazmat.primitives import hashes, hmac, hpke
    from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
    from cryptography.hazmat.primitives.ciphers import aead
    from cryptography.hazmat.primitives.kdf import hkdf

__all__ = [
    "Audit",
    "AuditOptions",
    "BadName",
    "BadValue",
    "Baseline",
    "Conflict",
    "Corrupt",
    "Deleted",
    "Denied",
    "EnvironmentStore",
    "FileStore",
    "Finding",
    "Identity",
    "KnownValues",
    "Location",
    "Locked",
    "Member",
    "MemoryStore",
    "Moved",
    "NotFound",
    "Passphrase",
    "Recipient",
    "RedactedError",
    "RedactingFilter",
    "RotationFailed",
    "SecretConfig",
    "SecretRotation",
    "SecretVersion",
    "SecretsBackend",
    "SecretsError",
    "SecretsManager",
    "Store",
    "Summary",
    "Unavailable",
    "UnfinishedRotation",
    "Unsafe",
    "VaultSealed",
    "VaultStore",
    "WrongKey",
    "audit",
    "delete_secret",
    "generate",
    "get_secret",
    "list_secrets",
    "load_env",
    "redact",
    "redact_logs",
    "require_secret",
    "resolve_text",
    "seal",
    "set_secret",
    "unseal",
]
__version__ = "1.0.0.dev0"
__date__ = "2026-11-28"

# Public annotations avoid `X | Y`, so that typing.get_type_hints works on them in Python 3.9.
StrPath = Union[str, os.PathLike[str]]


# === Errors ===
# Every error is one line on what happened and a hint: the next step. None ever holds a value. Each but Locked
# subclasses the built-in that a caller would catch; only `main` turns them into exit codes.
#
# Docstrings name the errors that mean something of their own, and leave out what follows from these rules, in
# all sections:
#
# - What a callee raises passes through. A function that makes a value or another error of it says so.
# - A store that can't be used never looks empty. Whatever asks it raises Denied, Unavailable, Locked,
#   WrongKey, Corrupt or Unsafe, BadValue for bad settings or content, or Conflict for a format of another
#   version.
# - A name that no secret can have, or none of that store, is a BadName. For a secret that a .env says was
#   moved, the env store raises Moved, not NotFound.
# - OSError comes from functions of Durable files and Sealed folder. Their callers make Denied or Unavailable
#   of it, by `disk_errors`, so that none of our stores raises any other.
# - What is called `…_error` returns an error. What begins with check, require or reject raises one, or else
#   returns nothing or what it was given or found.


class SecretsError(Exception):
    """The base of all errors: `message` is what happened, `hint` what to do."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    # Some errors are KeyErrors, whose str() is the repr of the argument.
    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def seen_in(self, where: str) -> SecretsError:
        """Return a copy of this error whose message starts with `where`."""
        return self.reworded(f"{where}: {self.message}", self.hint)

    def reworded(self, message: str, hint: str) -> SecretsError:
        """Return a copy of this error with another message and hint."""
        error = type(self).__new__(type(self))  # whose __init__ may take anything
        error.__dict__.update(self.__dict__)
        error.args = (message,)
        error.message = message
        error.hint = hint
        return error


class NotFound(SecretsError, KeyError):
    """The store was reached and has no such secret."""

    exit_code = 1


class Deleted(NotFound):
    """The secret, or this version, was deleted; see the hint."""


class BadName(SecretsError, ValueError):
    """No secret can have this name."""


class BadValue(SecretsError, ValueError):
    """A value or a setting is not acceptable."""


class Denied(SecretsError, PermissionError):
    """The store was reached and refused access."""


class Unsafe(SecretsError, PermissionError):
    """Others could have tampered with a file or folder."""


class Locked(SecretsError):
    """The store can't be opened without a password, identity or login."""


class Moved(SecretsError, RuntimeError):
    """A .env file says that the secret is in another store, `backend`."""

    def __init__(self, message: str, *, hint: str = "", backend: str = "") -> None:
        super().__init__(message, hint=hint)
        self.backend = backend


class RotationFailed(SecretsError, RuntimeError):
    """A new value couldn't be made, applied or verified; the old one stays."""


class WrongKey(SecretsError, ValueError):
    """None of the keys opens this file."""


class Corrupt(SecretsError, ValueError):
    """A file was damaged, cut off or moved since it was written."""


class Unavailable(SecretsError, OSError):
    """The store can't be reached, or doesn't work at the moment."""


class VaultSealed(Unavailable):
    """The Vault server has to be unsealed or initialised first."""


class Conflict(SecretsError, RuntimeError):
    """Another writer was faster, or is still running."""


# === Rules ===
# What secrets look like, in two tables: literal prefixes, and patterns around keywords.
# {A36} matches 36 characters of class A in a shape, and becomes sample letters in a proof, so that no row is
# itself a finding. Bounded repetitions keep every expression linear in time.

_CLASSES = {
    "A": "A-Za-z0-9",
    "B": "A-Za-z0-9+/",  # base64
    "C": "1-9A-HJ-NP-Za-km-z",  # base58
    "H": "A-Fa-f0-9",
    "K": "A-Z2-7",  # base32
    "L": "A-Za-z",
    "Q": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",  # Bech32
    "T": "A-Za-z0-9._~+/%=-",  # RFC 6750, 2.1, and %-encoding
    "U": "A-Z0-9",
    "W": "A-Za-z0-9_-",
    "X": "A-Za-z0-9_=-",
    "a": "a-z0-9",
    "d": "0-9",
    "h": "a-f0-9",
}
# What follows a prefix that other things have, too.
_MIXED = r"(?=[a-z\d_+/=-]{0,60}[A-Z])(?=[A-Z\d_+/=-]{0,60}[a-z])(?=[A-Za-z_+/=-]{0,60}\d)"
# To add a rule with a prefix, add a row below its confidence and severity: name, prefix, shape. Its id is the
# name in lower case, with dashes. If no sample can be made from the shape, add an input that must match. The
# first matching row wins. ¦ is a bar that separates no alternatives. To require something before the prefix,
# use a lookbehind that includes the prefix. The id of a pair of keys is medium: it opens nothing by itself.
_PREFIXED = r"""
= high critical
GitHub token  gh(p|o|u|s|r)_  {A36,251}
GitHub app JWT  ghs_  {d1,12}_eyJ{W17,999}\.eyJ{W10,999}\.{W20,999}
GitHub fine-grained token  github_pat_  {W82}
GitLab token  gl(pat|dt|rt|rtr|ft|wt|soat|ffct)-  {W20,300}(?:\.(?:[0-9a-z]{2}\.)?[0-9a-z]{9})?  glpat-{W20}
GitLab OAuth secret  gloas-  {W64}
npm token  npm_  {A36}
Cloudflare token  cf(k|ut|at)_  {A40}{h8}
Cloudflare tunnel token  eyJhIjoi  {B100,400}={0,2}
Cloudflare origin key  v1.0-  {h24}-{h146}
Atlassian token  AT(ATT|CTT|BBT)3  {W80,400}=?{H8}
Bitbucket app password  ATBB  {A24}{H8}
Grafana service token  glsa_  {A32}_{H8}
Grafana Cloud token  glc_  {B32,400}={0,2}
Grafana API key  eyJrIjoi  {B40,400}={0,2}
AWS Bedrock key  ABSK  {B100,269}={0,2}
Google OAuth secret  GOCSPX-  {W28}
Google refresh token  1//0  {W40,120}
Slack token  xox(b|p|a|r|o|s|c|d|e)-  (?:[0-9]-)?(?:[0-9]{6,14}-){1,3}{A10,250}  xoxb-{d6}-{A10}
Slack config token  xoxe(-|.xoxp-|.xoxb-)  [0-9]-{W60,400}
Slack app token  xapp-  [0-9]-{U8,14}-[0-9]{8,14}-{a30,99}
Paystack key  sk_(live|test)_  {h40}
WorkOS key  sk_(live|test)_  [Ya]{B60,200}={0,2}
Stripe key  (s|r)k_(live|prod)_  {A16,200}
OpenAI project key  sk-(proj|svcacct|admin|None)-  {W10,200}T3BlbkFJ{W10,200}
OpenAI key  sk-  {W10,200}T3BlbkFJ{W10,200}
Anthropic key  sk-ant-  (?:api|admin|oat|ort|sid)[0-9]{2}-{W80,130}AA
OpenRouter key  sk-or-v1-  {h64}
Hugging Face token  hf_  {L34}
Hugging Face org token  api_org_  {L34}
Groq key  gsk_  {A52}
Replicate token  r8_  {A37}
Perplexity key  pplx-  {A40,60}
xAI key  xai-  {W70,90}
NVIDIA key  nvapi-  {W60,70}
Pinecone key  pcsk_  {W50,99}
Together key  tgp_v1_  {W43}
PyPI token  pypi-AgE  (?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw){W50,999}
RubyGems key  rubygems_  {h48}
NuGet key  oy2  {a43}
crates.io token  cio  {A32}
Clojars token  CLOJARS_  {a60}
Docker token  dckr_pat_  {W24,27}
Docker org token  dckr_oat_  {W32}
JFrog token  AKCp  {A69}
Vault token  hvs.  {W90,300}
Vault batch token  hvb.  {W138,300}
Vault recovery token  hvr.  {W24,300}
Terraform token  .atlasv1.  (?<=[A-Za-z0-9]{14}\.atlasv1\.){X60,70}  {A14}.atlasv1.{W60}
DigitalOcean token  do(p|o|r)_v1_  {h64}
Heroku key  HRKU-  AA{W58}|{u}
Fly.io token  fo1_  {W43}
Fly.io macaroon  fm(1|1r|1a|2)_  {B80,900}={0,3}
Doppler token  dp.(pt|st|ct|sa|scim|audit).  (?:[a-z0-9_-]{2,35}\.)?{A40,44}
Pulumi token  pul-  {h40}
1Password token  ops_eyJ  {B200,2000}={0,3}
1Password key  A3-  {U6}-(?:{U11}|{U6}-{U5})-{U5}-{U5}-{U5}
age key  AGE-SECRET-KEY-1  {Q58}
age post-quantum key  AGE-SECRET-KEY-PQ-1  {Q58}
SendGrid key  SG.  {X20,24}\.{X39,50}
Brevo key  x(key|smtp)sib-  {h64}-{A16}
Resend key  re_  {A8}_{A24}
Shopify token  shp(at|ca|pa|ss|ua|tka)_  {A32,64}
Square token  sq0(atp|csp)-  {W22,60}
Square access token  EAAA  [lE]{W59,60}
Plaid token  access-  (?:sandbox|development|production)-{u}
Databricks token  d(api|kea|ose)  {H32}(?:-[0-9])?
PlanetScale token  pscale_(tkn|pw|oauth)_  [\w=.-]{32,64}
Supabase token  sbp_|sbp_oauth_  {h40}
Supabase secret  sb_secret_  {W31}
MongoDB Atlas key  mdb_sa_sk_  {W40}
Dynatrace token  dt0(c01|s01|s02|s16).  {A24}\.{A64}
Vercel token  vc(p|i|a|r|k)_  {A24,60}
Netlify token  nf(p|c|o|u|b)_  {A36,40}
CircleCI token  CCIPAT_|CCIPRJ_  {A22}_{h40}
Tailscale key  tskey-  {L3,12}-{A5,30}-{A20,50}
Sourcegraph token  sg(p|d|s)_  (?:(?:local|{H16})_)?{H40}  sgp_{h40}
OpenShift token  sha256~  {W43}
Dropbox token  sl.|sl.u.  {W130,1400}
Facebook token  EAA  (?<![A-Za-z0-9+/]EAA)[MCBDHJKLPGQRST]{A60,400}
BIP32 private key  xprv  {C107,108}
Slack session cookie  xoxd-  [\w%+/-]{40,400}={0,2}
GitLab agent token  glagent-  {W50,99}
GitLab session cookie  _gitlab_session=  {a32}
Docker Swarm token  SWMTKN-1-  {a50}-{a25}
Docker Swarm key  SWMKEY-1-  {B43}
k3s token  K10  {h64}::[\w:.]{16,80}
Packagist token  packagist_(acs|ort|out|uut)_  {h28,76}
JFrog reference token  cmVmdGtu  {A56}
Neon key  napi_  {A64}
Render key  rnd_  {A28,40}
Aiven token  AVNU_|AVNS_  {W19}|{B40,900}={0,2}
CockroachDB key  CCDB1_  {A22}_{A40}
Astra token  AstraCS:  {A24}:{h64}
Confluent key  cflt  {B60}
Elastic Cloud key  essu_  {B40,200}={0,2}
Materialize password  mzp_  {h64}
Bitbucket DC token  BBDC-  {B44}
Bitwarden token  0.  {u}\.{A30}:{B22}={0,2}
Infisical token  st.  (?:{h24}|{u})\.{h32}\.{h32}
Phase token  pss_(service|user):  v[12]:[\w:]{100,300}  pss_user:v1:{h64}:{h35}
Boundary token  at_|atr_  {A10}_{A40,300}
Octopus key  API-  {U26}
Harness token  (p|s)at.  {W22}\.{A24}\.{A20}
Defined Networking key  dnkey-  {X26}-{X52}
NetBird token  nbp_  {A36}
JumpCloud key  jca_  {A36}
Scaleway key  SCW  {U17}
Scalingo token  tk-us-  {W48}
Exoscale key  EXO  {h24,26}
Yandex secret  YC(M|N|O|P)  {W37}
Yandex IAM token  t1.  {W20,300}={0,2}\.{W86}={0,2}
Volcengine key  AKLT  {W40,60}
Baidu Cloud key  ALTAK|bce-v3/ALTAK-  {A21}(?:/{h40})?
Google auth key  AQ.Ab  {W45,80}
AWS session token  IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz|AQoDYXdz  {B100,2000}={0,2}
Amazon MWS token  amzn.mws.  {u}
Amazon client secret  amzn1.oa2-cs.v1.  {h64}
Amazon refresh token  Atz(r|a)¦  [\w+/=-]{100,1000}
Salesforce session id  AQ  (?<=00D[A-Za-z0-9]{12}!AQ)[\w.]{60,110}  00D{A12}!AQ{A60}
Salesforce refresh token  5Aep861  {W60,100}
FCM server key  APA91b  (?<=AAAA[A-Za-z0-9_-]{7}:APA91b){W134}  AAAA{A7}:APA91b{W134}
Okta token  00  {mixed}(?![\w-]{0,40}[a-z]{8}){W40}
Ory token  ory_(at|pat|rt|ac|st)_  {W30,100}(?:\.{W43})?
Authress key  sc_|ext_|scauth_|authress_  {a5,30}\.{a4,6}\.acc[_-]{W10,32}\.[\w+/=-]{32,120}
    sc_{a10}.{a5}.acc_{a12}.{A32}
SettleMint token  sm_(p|a|s)at_  {A16}
Stytch secret  secret-(live|test)-  {W35,36}=?
Flutterwave key  FLWSECK(_TEST|)-  {h32}-X|{h12}
Paddle key  pdl_(live|sdbx)_apikey_  {a26}_{A22}_{A3}
Polar token  polar_(pat|oat|rat|at|rt)_  {A32,80}
Adyen key  AQE  (?<![A-Za-z0-9+/]AQE)[a-z]hm{B86,400}
Braintree token  access_token$(production|sandbox)$  {a16}\${h32}
Mercado Pago token  APP_USR-|TEST-  {d13,17}-{d6}-{h32}-{d6,11}
PayPal access token  A21AA  {W80,120}
Xendit key  xnd_(production|development)_  {A40,80}
Midtrans key  Mid-server-|SB-Mid-server-  {W24}
Omise key  skey_|skey_test_  {a19}
Cashfree key  cfsk_ma_(prod|test)_  {h32}_{h8}
Checkout.com key  sk_sbox_  [a-z0-9*#$=]{27}  sk_sbox_{a27}
Mercury token  mercury_(production|sandbox)_  [a-z]{3}_{A20,80}  mercury_sandbox_wma_{A20}
Razorpay key  rzp_(live|test)_  {A14}
WooCommerce key  ck_|cs_  {h40}
Shopify partner token  prtapi_|atkn_  {H32}
Klarna key  klarna_(live|test)_api_  [\w+/=-]{30,500}
eBay certificate id  PRD-|SBX-  {h12}-{h4}-{h4}-{h4}-{h4}
Porkbun key  sk1_|pk1_  {h64}
Onfido token  api_(live|sandbox)(|_us|_eu|_ca).  {W11}\.{W32}
Nylas key  nyk_v0_  {A64}
MailerSend token  mlsn.  {h64}
Telnyx key  KEY0  {A28}_{A22}
Duffel token  duffel_(live|test)_  {X43}
Nostr key  nsec1  {a58}
TeamCity token  eyJ0eXAi  OiAiVENWMiJ9\.{W36,40}\.{W48}
= high high
GitLab job token  glcbt-  {W20,99}
GitLab trigger token  glptt-  {W40}
GitLab runner token  GR1348941  {W20,60}
AWS Bedrock short key  bedrock-api-key-  (?:YmVkcm9jay5hbWF6b25hd3MuY29t){B0,2000}
Google API key  AIza  {W35}
Google OAuth token  ya29.  {W30,400}(?:\.{W10,400})?
Slack legacy token  xox(a|r)-  (?:[0-9]-)?{A16,48}
Stripe webhook  whsec_  {B24,88}={0,2}
LangSmith key  lsv2_(pt|sk)_  {h32}_{h10}
Langfuse key  sk-lf-  {u}
ElevenLabs key  sk_  {h48}
Shippo token  shippo_(live|test)_  {h40}
EasyPost key  EZAK|EZTK  {A54}
Telegram token  AA  (?<=[0-9]{7}:AA)[\w-]{33}  {d10}:AA{W33}
Discord token  (M|N)(T|D|j|z)|O(T|D)  {W22,24}\.{W6}\.{W27,38}
Linear key  lin_(api|oauth|wh)_  {A40,64}
Notion token  ntn_  {d11}{A35}
Notion secret  secret_  {A43}
Figma token  fig(d|u|o)_  {W40,60}
Airtable token  pat  {A14}\.{h64}
Postman key  PMAK-  {h24}-{h34}
Typeform token  tfp_  [\w=.-]{40,62}
Sentry org token  sntrys_eyJ  {B60,500}={0,2}(?:_{B43})?
Sentry user token  sntry(u|a|i)_  {h64}
New Relic key  NRAK-  {A27}
New Relic licence key  (eu|us|jp)01xx  {h30}NRAL
PostHog key  phx_  {A40,50}
LaunchDarkly key  sdk-|api-|mob-  {h8}-{h4}-4{h3}-{h4}-{h12}
Datadog app key  ddapp_|ddpat_  {A34,60}
Buildkite token  bk(ua|aj|ar|ct|pt)_  {W36,80}
Contentful token  CFPAT-  {W43}
SonarQube token  sq(u|p|a)_  {A40}
HubSpot token  pat-(na1|na2|eu1|ap1)-  {u}
Mapbox token  sk.eyJ  {W60,200}\.{W20,30}
Yandex key  AQVN  {W35,38}
Yandex OAuth token  y(0|1|2|3)_  {W50,60}
Cerebras key  csk-  {a48}
Tavily key  tvly-  (?:dev-|prod-)?{A20,40}
E2B key  e2b_|sk_e2b_  {h40}
Weights & Biases key  wandb_v1_  {W40,99}
RunPod key  rpa_  {U40}{a6}
LlamaCloud key  llx-  {A40,60}
Jina key  jina_  {h32}{W28,40}
Firecrawl key  fc-  {h32}
Apify token  apify_(api|proxy)_  {A36,40}
Kaggle token  KGAT_  {h32}
Anyscale key  esecret_  {A26}
Friendli token  flp_  {A46}
Helicone key  sk-helicone-  {a7}-{a7}-{a7}-{a7}
Runway key  key_  {h128}
Cursor key  crsr_|key_  {h64}
Coze token  (p|s)at_  {A64}
Twelve Labs key  tlk_  {U36}
Cartesia key  sk_car_  {A20,60}
Browserbase key  bb_live_  {W26,40}
CodeSandbox token  csb_v1_  {W43}
Daytona key  dtn_  {h64}
Mem0 key  m0-  {A40}
Humanloop key  hl_sk_  {h48}
GLHF key  glhf_  {h32}
Chutes key  cpk_  {h32}\.{h32}\.{A32}
LangChain key  ls__  {h32}
Logfire token  pylf_v1_(us|eu)_  {A43}
Prefect key  pn(u|b)_  {A36}
dbt token  dbt(c|u|s)_  {W40,60}
Honeycomb key  hc(a|b)(i|l|m)k_  {A58}
Axiom token  xa(a|p)t-  {u}
Checkly key  cu_  {h32}
Coralogix key  cxt(p|h)_  {A30}
Healthchecks key  hc(w|r)_  {A28}
Honeybadger token  hbp_  {A36}
StackHawk key  hawk.  {A20}\.{A20}
Dependency-Track key  odt_  (?:{A8}_)?{A32}
Socket token  sktsec_  {W40,60}
Deno token  dd(p|o)_  {A36}
Vercel Blob token  vercel_blob_rw_  {A16}_{A30}
Depot token  depot_(project|user|org)_  {h64}
Percy token  (web|app|auto)_  {h64}
Gitpod token  gitpod_pat_  {W30,200}
OpenVSX token  ovsx(p|at)_  {u}
Siemens token  code_pat_  {W20,60}
Trigger.dev key  tr_(dev|prod|stg|pat)_  {A20,40}
Inngest key  signkey-(prod|test)-  {h64}
n8n key  n8n_api_  {W36,400}
Svix token  sk_  {A32}\.(?:eu|us)
Unkey key  unkey_  {A20,40}
Zuplo key  zpka_  {h32}_{h8}
Kong token  (k|s)pat_  {A40,60}
AWS AppSync key  da2-  {a26}
Appwrite key  standard_  {h256}
Xata key  xau_  {A36,50}
Tinybird token  p.eyJ  {W50,300}\.{W40,50}
ClickHouse key  4b1d  {A38}
Infracost key  ico-  (?<![\w./]ico-){A32}
Code Climate token  qlt(cp|cw)_  {A40,60}
Unleash token  *:(production|development).  {h48,64}
DevCycle key  dvc_server_  {W30,60}
ConfigCat key  configcat-sdk-1/  {W22}/{W22}
GrowthBook key  secret_(user|admin|readonly)_  {A30,60}
Flagsmith key  ser.  (?<=["']ser\.){mixed}{A22}(?=["'])  'ser.{A22}'
Permit.io key  permit_key_  {A60,120}
Segment token  sgp_  {A64}
OneSignal key  os_v2_(app|org)_  {a100,110}
PubNub secret  sec-c-  {B44,60}={0,2}
Courier key  (p|d)k_prod_  {U28}
Klaviyo key  pk_  (?:{A6}_)?{h34}
ClickUp token  pk_  {d5,9}_{U32}
Intercom token  dG9rO  [\w+/-]{30,80}={0,2}
Asana token  (0|1|2)/  {d13,20}(?:/{d13,20})?:{h32}
Trello token  ATTA  {h64}(?:{H8})?
ZenHub token  zh_  {h64}
Harvest token  .pt.  (?<=[0-9]{5}\.pt\.){W80,90}  {d7}.pt.{W80}
Teamwork token  tkn.v1_  {B40,100}={0,2}
Zoho token  1000.  {h32}\.{h32}
Plane key  plane_api_  {h32}
Cal.com key  cal_(live_|)  {h32}
ReadMe key  rdme_  {a70}
GitBook token  gb_api_  {A40}
Postman collection key  PMAT-  {U26}
Contentstack token  cs  {h38}
Builder.io key  bpk-  {h32}
Retool token  retool_  {A26,50}
Ionic token  ion_  {a42}
Frame.io token  fio-u-  {X64}
Canva secret  cnvca  {W40,60}
Adobe secret  p8e-  {W32}
Adafruit IO key  aio_  {A28}
Samsara token  samsara_api_  {A30}
Rootly key  rootly_  {h64}
FireHydrant token  fhb-  {h32}
Liveblocks key  sk_dev_  {W60,70}
UpCloud token  ucat_  {U26}
EmailOctopus key  eo_  {h64}
Kit key  kit_  {h32}
RFC 8959 token  secret-token:  [\w.~%+/=-]{20,400}
AfterShip key  asat_  {h32}
Lob key  live_  {h35}
Radar key  prj_(live|test)_sk_  {h40}
Voiceflow key  VF.(DM|WS).  {h24}\.{A16}
Val Town token  vtwn_  {A27}
Dub key  dub_  {A24}
Pinterest token  pina_  {A32,300}
Instagram token  IG(AA|QV)  {W80,300}
X bearer token  AAAAAAAAAAAAAAAAAAAAA  (?!A{7})[\w%]{60,120}  AAAAAAAAAAAAAAAAAAAAA{A60}
Facebook app token  ¦  (?<=[0-9]{15}¦){W27,30}  {d16}|{W27}
Twitch chat token  oauth:  {a30}
Pushbullet token  o.  (?<=["']o\.){mixed}{A32}(?=["'])  'o.{A32}'
ntfy token  tk_  {a29}
Riot key  RGAPI-  {u}
Modrinth token  mrp_  {A60}
Thunderstore token  tss_  {A38}
Lichess token  lip_  {A20}
42 client secret  s-s4t2(ud|af)-  {h64}
Alchemy token  alcht_  {A30}
Covalent key  cqt_  {A26,30}
CoinGecko key  CG-  {A24}
QuickNode key  QN_  {h32}
Tatum key  t-  {h24}-{h24}
ngrok key  cr_  {A27}
Roblox cookie  -items.¦_  {H200,1500}
Teams webhook  /IncomingWebhook/  {h32}/[\w/-]{36,99}
Lark webhook  /open-apis/bot/v2/hook/  {u}
WeCom webhook  /cgi-bin/webhook/send?key=  {u}
IFTTT key  /with/key/  {mixed}{W20,60}
= high medium
GitLab mail token  glimt-  {W25}
Stripe test key  (s|r)k_test_  {A16,200}
New Relic ingest key  NR(II|IQ|RA)-  {W32,48}
= medium critical
AWS access key  A(KIA|SIA|BIA|CCA)  {K16}
Tencent Cloud id  AKID  {A32}
Google HMAC id  GOOG  (?:{U20}|1E{U57})
GoCardless token  live_|sandbox_  (?=[a-z_]{0,39}[A-Z0-9-]){X40}
Bitcoin key  5(H|J|K)  {C49}
Bitcoin compressed key  K(w|x|y|z)|L(1|2|3|4|5)  {C50}
Stellar seed  S(A|B|C|D)  {K54}
NKEY seed  S(A|C|N|O|P|U|X)  {K56}
= medium high
Alibaba key id  LTAI  {A16,20}
Mailgun key  key-  {h32}
Twilio key  SK  {h32}
NTLM response  TlRMTVNTUAADAAAA  {B40,2000}={0,2}
PKCS 12 store  MI(I|J|K|L)  {B2}[AQgw]IBAzCC{B30,9000}={0,2}  MII{B2}QIBAzCC{B30}
Azure SAS  sig=  {A20,60}(?:%2[BbFf]{A0,60}){0,9}%3[Dd]
DeepSeek key  sk-  {h32}
API key with sk-  sk-  {A48}
Fireworks key  fw_  {mixed}{A22,40}
Modal token  a(k|s)-  {mixed}{A22}
Voyage key  pa-|al-  {mixed}{W43}
Nomic key  nk-  {mixed}{W43}
Dify key  app-|dataset-  {mixed}{A24}
Mandrill key  md-  {mixed}{W22}
Jenkins token  11  (?=\d{0,31}[a-f]){h32}
Brave Search key  BSA  {mixed}{W27,28}
Statsig key  secret-|console-  {mixed}{A38,50}
Beamer key  b_  {mixed}{X44}
Mollie key  live_  {mixed}{A30}
Sanity token  sk  {mixed}{A80,180}
Blockfrost key  mainnet|preprod|preview  {mixed}{A32}
Vault legacy token  s.  (?<=["']s\.){mixed}(?=[A-Za-z]{0,24}\d[A-Za-z]{0,24}\d){A24}(?=["'])  's.{A24}'
Convex key  (prod|dev|preview):  [a-z0-9:-]{5,60}¦{B40,300}={0,2}  prod:a-b-12¦{B40}
Backblaze key  K00(0|1|2|3|4|5)  {mixed}{B27}
JWT  eyJ  {W14,2000}\.ey{W10,9000}(?:\.(?:{W10,2000})?)?
    eyJhbGciOiJIUzI1NiJ9.eyJ{W20}.{W10}
"""
# To add a rule for tokens without a prefix, add a row: name, shape. Its first run of letters, digits, _ and -
# has a length that few others have.
_SHAPED = r"""
= high critical
Azure DevOps token  {A52}JQQJ99{A26}
Azure AI key  {A52}JQQJ99{A22}
Azure Functions key  {W44}AzFu{W6}={0,2}
Azure search key  {A42}AzSe{A6}
= high high
Mailgun sending key  {h32}-{h8}-{h8}
= medium high
ngrok token  [0-3]{A26}_{A21}  2{A26}_{A21}
"""
# To add a rule for values in a certain context, add its name below its confidence and severity, then its
# forms, one per line: a keyword in lower case that every match contains (or /file name; or several, which
# {name} stands for), an expression whose last group is the value, and an input that must match. The near miss
# is that input with ${NAME} for the value. Rows without forms have a parser, or are judged by name and value.
_PATTERNS = r"""
= high critical
private key
JSON web key
RSA parameters
AWS secret key
Azure account key
    accountkey  AccountKey["']?\s?[=:]\s?["']?([A-Za-z0-9+/]{86}==)  AccountKey={B86}==
    sharedaccesskey  SharedAccessKey["']?\s?[=:]\s?["']?([A-Za-z0-9+/]{43}=)  SharedAccessKey={B43}=
    acdb  ([A-Za-z0-9+/]{76}ACDb[A-Za-z0-9+/]{6}==)  {B76}ACDb{B6}==
    apim  ([A-Za-z0-9+/]{76}APIM[A-Za-z0-9+/]{6}==)  {B76}APIM{B6}==
Azure registry key
Azure client secret
    q~  (?<![\w.~-])([\w.~-]{3}\dQ~[\w.~-]{31,34})(?![\w.~-])  {A3}8Q~{W34}
PuTTY key
    private-lines:  Private-Lines: \d{1,3}\s+((?:[A-Za-z0-9+/]{20,64}={0,2}\s){1,64})
        Private-Lines: 1 {B64} a
OpenVPN key
    static key v1  BEGIN OpenVPN Static key V1-----((?:\s+[0-9a-f]{32}){4,16})
        BEGIN OpenVPN Static key V1----- {h32} {h32} {h32} {h32}
= high high
JetBrains token
    perm:|perm-  (?<![\w-])({name}[A-Za-z0-9+/]{4,80}={0,2}\.[A-Za-z0-9+/]{4,80}={0,2}\.[A-Za-z0-9]{30})(?!\w)
        {name}{B8}.{B8}.{A30}
PagerDuty key
LinkedIn secret
    wpl_ap1.  (WPL_AP1\.[A-Za-z0-9]{16}\.[A-Za-z0-9+/]{6,8}={0,2})(?![\w+/=-])  WPL_AP1.{A16}.{A6}==
Stripe webhook secret
    whsec_  (whsec_[A-Za-z0-9+/]{24,88}={0,2})(?![\w+/-])  whsec_ab/cd+{B32}
Discord webhook
    /api/webhooks/  /api/webhooks/\d{17,20}/([\w-]{60,70})  discord.com/api/webhooks/{d18}/{W68}
= medium critical
npmrc login
    :_authtoken|:_password  (?<=[\w/])(?i:{name})\s?=\s?["']?([^\s"'${(]{8,300})  //x.local/{name}={p}{p}
hex private key
    private_key|privatekey
        (?i:{name})(?!\w{0,20}[iI][dD])\w{0,20}["']?\s?[=:]\s?["']?((?:0x)?[0-9a-fA-F]{64})(?!\w)
        {name}=0x{h64}
= medium high
URL password
Kubernetes Secret
registry auth
UUID key
password
secret
    /settings.php|/settings.local.php  hash_salt(?:['"]\])? ?= ?['"]([\w-]{20,200})['"]
        $drupal_hash_salt = '{W43}';
token
    /sonar-project.properties  (?m)^sonar\.login ?[=:] ?([0-9a-f]{40})(?!\w)  sonar.login={h40}
    sonar-scanner  sonar-scanner(?:\.bat)?{options}-D ?["']?sonar\.login=["']?([0-9a-f]{40})(?!\w)
        sonar-scanner -Dsonar.sources=. -Dsonar.login={h40}
key
credential
Basic auth
    basic  [Bb]asic +([A-Za-z0-9+/]{8,600}={0,2})  Basic bWU{A0}6azNYdzl2UXo=
bearer token
    bearer  ["'][Bb]earer ((?=[^\s\d]{0,60}\d)[\w.~+/-]{20,2000}={0,2})\\?["']  "Bearer {h40}"
    authorization
        [Aa]uthorization["'\])\\]{0,4}[:=, \t]{1,4}\\?["']?(?:[Bb]earer |(?![Bb]asic )(?:[A-Za-z-]{3,20} +(?:
        token=)?["']?)?(?=[^\s\d]{0,40}\d[^\s\d]{0,40}\d))([\w.~+/@-]{20,2000}={0,2})(?![\w(])
        Authorization: Token {h40}
login arguments
    basicauth(|userpassword(|credential(|credentials(|authentication(
        (?i:{name}){login}  x.{name}"me", "{p}")
    basic_auth  (?i:{name})[ (]{login}  basic_auth "me", "{p}"
    passwordtoken(|authenticationtoken(|auth=(|auth = (|loginasync(|.login(|wifi.begin(
        (?i:{name}){login}  x.{name}"me", "{p}")
    mysqli_connect(|mysqli(|pdo(|getconnection(|sequelize(|connect(|credentials(
        \b(?i:{name})(?:\s{0,40}(?:["'][^"'\n]{1,200}["']|[\w.$]{1,60})\s{0,9},){1,2}{login}
        {name}dsn, "me", "{p}")
    create_user(|createuser(|createasync(|wifi.begin(|setpassword(|addpasswordasync(
        (?i:{name})(?:\s{0,40}(?:["'][^"'\n]{1,200}["']|[\w.]{1,60})\s{0,9},){1,3}\s{0,40}["']
        (?![^"'@\s]{1,60}@[\w-]{1,60}\.)((?=[^"'\n]{0,60}[0-9!@#$%^*?+])[^\s"'$<{%](?:[^\s"'$<{}]|\$(?!\w)){5,99})["']\s{0,9}\)
        {name}me, "{p}")
    keystore.load(|pbekeyspec(
        (?i:{name})[^"\n]{0,60}"([^"\s]{4,60})"\.toCharArray  {name}in, "{p}".toCharArray())
    curlopt_userpwd  CURLOPT_USERPWD, ?["'][^"':\n]{1,60}:([^"'\s]{4,100})  CURLOPT_USERPWD, 'me:{p}')
    fernet(b"  (?i:fernet\(b)["']([\w-]{43}=)  {name}{W43}=")
    jwt.sign(|jwt.verify(|jwt.encode(|jwt.decode(|createhmac(
        (?i:{name})[^()\n]{1,120}?,\s{0,40}["'](?=[^"'\n]{0,60}[0-9])([^\s"'$<{}]{6,99})["']\s{0,9}[,)]
        {name}x, "{p}")
command password
    echo  echo(?: -\w)? ["']?[\w.-]{1,32}:([^\s"'$<{:]{4,60})["']? {0,9}\| {0,9}(?:sudo )?chpasswd
        echo 'me:{p}' | chpasswd
    psk=  psk="([^"\n]{8,63})"  psk="{p}"
    config set
        config set (?:--secret [\w.:-]{1,60}|[\w.:-]{1,60} --secret) {typed}  config set --secret x {p}
    sshpass|docker login|az login|psexec|dev-certs
        (?i:{name}){options}(?:-p ?|--password[ =]){typed}  {name} -u me -p {p} x.local
    redis-cli  redis-cli{options}-a {typed}  redis-cli -h x.local -a {p}
    -u  -u (?<=\s-u )["']?[A-Za-z][\w.@-]{0,60}:(?=[^\s"']{0,60}[0-9])(?=\d{0,60}[^\s"'\d])
        (?!\w{1,20}:?//)([^\s"'$<{/][^\s"'/]{5,99})  run -u me:{p} https://x.local
    sqlcmd  sqlcmd{options}-P ?{typed}  sqlcmd -S x.local -U sa -P {p}
    ldapsearch|ldapadd|ldapmodify  {name}{options}-w ?{typed}  {name} -x -w {p}
    mongo -  mongo{options}-p {typed}  mongo -u me -p {p}
    htpasswd  htpasswd (?:-\w ){0,2}-[A-Za-z]{0,6}b[A-Za-z]{0,6} (?:-\w )?(?:[^\s-]\S{0,99} ){1,2}{typed}
        htpasswd -bc users me {p}
    -pass pass:  -pass pass:{typed}  openssl enc -pass pass:{p}
    mysql|mariadb |mariadb"|mariadb-dump|mariadb-admin
        (?:mysql|mariadb)(?:-?dump|-?admin|sh)?{options}-p{typed}  {name} -u me -p{p} shop
    curl
        curl{options}(?:-u|--user)[ =]{0,3}["']?[^\s:"'$<]{0,80}["']?:["']?([^\s"'$<{(\[][^\s"']{2,99})
        curl -u 'me':'{p}' https://x.local
    convertto-securestring  ConvertTo-SecureString(?: -\w+){0,3} ["']([^"'${(<\[\n][^"'$\n]{3,100})["']
        ConvertTo-SecureString -String "{p}" -AsPlainText
netrc password
    machine  machine \S{1,99}\s+login \S{1,99}\s+(?:account \S{1,99}\s+)?password ([^\s"'$<{(\[]\S{2,99})
        machine x.local login me password {p}
pgpass password
    /.pgpass  (?m)^(?:[^:\n#]{1,200}:){4}([^\r\n]{3,99})\r?$  x.local:5432:shop:me:{p}
Erlang cookie
    erlang_cookie|erlangcookie|release_cookie  (?i:{name})["']?\s?[=:]\s?["']?
        ((?=[^\s"']{0,60}\d)[^\s"'$<{}(),;]{12,255}|[A-Z]{20}(?!\w))  {name}={U20}
    set cookie: :  (?i:{name})["']((?=[^\s"']{0,60}\d)[^\s"']{12,255})["']  {name}"k3!{U20}"
    -setcookie  -setcookie ["']?((?=[^\s"']{0,60}\d)[^\s"'$<{}(),;]{12,255}|[A-Z]{20}(?!\w))
        erl -setcookie {U20}
    /.erlang.cookie  \A(\S{8,255})\s*\Z  {U20}
Azure signature
    sp=  (?<!\w)sp=[^&\s]{1,60}&[^\s"'<>]{0,300}?sig=([A-Za-z0-9%_-]{43,70})
        ?sv=2020&sp=rl&se=2030&sig=ab%2B{A43}%3D
Azure Function key
    .azurewebsites.net/api/
        \.azurewebsites\.net/api/[^\s"'<>?]{1,100}\?(?:[^\s"'<>]{0,100}?&)?code=([\w%/+-]{40,80}={0,2})
        x.azurewebsites.net/api/a?code={W54}==
Mailchimp key
    -us  (?<![\w-])([0-9a-f]{32}-us[0-9]{1,2})(?![\w-])  {h32}-us12
Slack webhook
    hooks.slack.com/  hooks\.slack\.com/[a-z]{8,9}/([A-Z0-9]{6,15}/(?:\w{6,24}/){1,2}\w{16,48})
        https://hooks.slack.com/services/T{U8}/B{U8}/{A24}
= medium low
weak password
= low medium
password hash
    /.htpasswd  (?m)^[^:\n]{1,80}:(\{SHA\}[A-Za-z0-9+/]{27}=|[./A-Za-z0-9]{13})\r?$  me:{SHA}{B27}=
= medium medium
encrypted key
"""
_MACROS = {
    "{options}": r"""(?:\.exe)?["']?,?{space}(?:[^\s|;&]{1,99}{space}){0,30}?["']?""",
    "{space}": r"(?: |\\\n){1,9}",
    "{typed}": r"""["']?([^\s"'$<{%-][^\s"']{3,99})""",
    "{login}": r"""\s{0,40}["'][^"'\s]{1,80}["']\s{0,9},\s{0,40}["']"""
    r"""((?=[^"'\n]{0,60}[0-9!@#$%^*?+])[^\s"'$<{%](?:[^\s"'$<{}]|\$(?!\w)){5,99})["']""",
}


def lazily(pattern: AnyStr) -> re.Pattern[AnyStr]:
    """Return an expression that is compiled on first use, so that an import doesn't pay for the auditor."""
    return cast("re.Pattern[AnyStr]", _Lazy(pattern))


class _Lazy:
    """Stands for an expression, and compiles it when a method is first looked up."""

    def __init__(self, pattern: str | bytes) -> None:
        self._pattern = pattern

    def __getattr__(self, method: str) -> Any:
        """Return this method of the expression, the first time that it is asked for."""
        made = getattr(re.compile(self._pattern), method)
        setattr(self, method, made)  # bypasses this method next time
        return made


class Rule(NamedTuple):
    """One kind of secret, with its proof: an input that must match."""

    id: str
    what: str
    confidence: str  # "high", "medium" or "low"
    severity: str  # "critical", "high", "medium" or "low"
    prefix: str = ""  # literal text that every match begins with; a(b|c) stands for ab and ac
    shape: str = ""  # what follows it: an expression with classes such as {A36}
    hit: str = ""  # the proof, if the shape itself makes no sample


@cache
def _prefixed_rules() -> tuple[Rule, ...]:
    """Return the rules of tokens with a literal prefix, in the table's order."""
    # A row is a prefix, a shape and maybe a hit, with two spaces or more between them.
    return tuple(Rule(*rule[:4], *re.split(r"\s{2,}", row)) for rule, row in _table_rows(_PREFIXED))


def _shaped_rules() -> tuple[Rule, ...]:
    """Return the rules of tokens without a prefix, in the table's order."""
    return tuple(Rule(*rule[:4], "", *re.split(r"\s{2,}", row)) for rule, row in _table_rows(_SHAPED))


class KeywordPattern(NamedTuple):
    """How a rule finds a value by a keyword: one for each keyword of a form in the table."""

    rule: Rule
    keyword: str  # in lower case; every match has it, in any case
    regex: re.Pattern[bytes]  # its last group is the value; without one, the whole match is
    hit: str  # an input that must match, as in the table

    def proof(self) -> str:
        """Return the hit with sample letters for classes, a password for {p}, and the keyword for {name}."""
        return make_samples(self.hit.replace("{p}", "k3Xw{d1}vQz{U2}").replace("{name}", self.keyword))


@cache
def bytes_before_keyword(pattern: KeywordPattern) -> int:
    """Return how many bytes of a match precede its keyword, as in the proof; 0 if that doesn't match."""
    proof = pattern.proof()
    match = pattern.regex.search(proof.encode())
    return proof.lower().find(pattern.keyword) - match.start() if match else 0


@cache
def keyword_patterns() -> dict[bytes, list[KeywordPattern]]:
    """Return {keyword: patterns that contain it}; "/" and a file's name is the keyword for that file."""
    found: dict[bytes, list[KeywordPattern]] = {}
    for rule, forms in _table_rows(_PATTERNS):
        for form in filter(None, re.split(r"\n {4}(?! )", forms)):  # a line that goes on is indented more
            for pattern in _parse_form(rule, form):
                found.setdefault(pattern.keyword.encode(), []).append(pattern)
    return found


def _parse_form(rule: Rule, form: str) -> Iterator[KeywordPattern]:
    """Yield the pattern of each keyword of a form, which has keywords, an expression and a hit."""
    keywords, *parts, hit = re.split(r"\s{2,}", form)
    text = "".join(parts)
    for macro, meaning in _MACROS.items():
        text = text.replace(macro, meaning)
    names = keywords.split("|")
    regex = lazily(text.replace("{name}", f"(?:{'|'.join(map(re.escape, names))})").encode())
    for keyword in names:
        if text.startswith(f"{keyword} "):
            keyword += " "  # a longer keyword is met in fewer places
        yield KeywordPattern(rule, keyword, regex, hit)


@cache
def pattern_rules() -> dict[str, Rule]:
    """Return {id: rule} of the rules for values in a certain context."""
    return {rule.id: rule for rule, _ in _table_rows(_PATTERNS)}


def _table_rows(table: str) -> Iterator[tuple[Rule, str]]:
    """Yield (rule, the rest of its row) for each row of a table; the rule lacks prefix, shape and hit."""
    levels = ""  # confidence and severity, of the last line that begins with "="
    for row in re.split(r"\n(?! )", table.strip()):
        if row.startswith("= "):
            levels = row[2:]
        else:
            what, _, rest = row.partition("  ")
            what = what.rstrip()
            yield Rule(re.sub(r"\W+", "-", what.lower()), what, *levels.split()), rest.lstrip()


def all_rules() -> list[Rule]:
    """Return every built-in rule, in the order in which they are listed."""
    return [*_prefixed_rules(), *_shaped_rules(), *pattern_rules().values()]


def make_samples(text: str) -> str:
    """Return a text with letters in place of classes: 36 for {A36} or {A36,99}, the same ones each time."""
    text = text.replace("{u}", "{h8}-{h4}-{h4}-{h4}-{h12}").replace("{mixed}", "").replace("¦", "|")
    return re.sub(r"\{([A-Za-z])(\d+)(?:,\d+)?\}", lambda m: _sample(m[1])[: int(m[2])], text)


@cache
def _sample(letter: str) -> str:
    """Return 999 letters of a class, the same ones each time, in an order that doesn't count up."""
    letters = re.findall(f"[{_CLASSES[letter]}]", "".join(map(chr, range(33, 127))))
    step = 11 if len(letters) % 11 else 7  # one that reaches all letters
    return "".join(letters[(i * step + i // len(letters) + 5) % len(letters)] for i in range(999))


def _shape_regex(shape: str) -> str:
    """Return the expression of a shape, with sets of characters for its classes."""
    shape = shape.replace("{u}", "{H8}-{H4}-{H4}-{H4}-{H12}").replace("{mixed}", _MIXED).replace("¦", r"\|")
    return re.sub(r"\{([A-Za-z])(\d+(?:,\d+)?)\}", lambda m: f"[{_CLASSES[m[1]]}]{{{m[2]}}}", shape)


def rule_prefixes(prefix: str) -> list[str]:
    """Return the literals that a rule's prefix stands for: a(b|c) and ab|ac for ab and ac; ¦ is a bar."""
    found = re.match(r"([^(]*)\(([^)]*)\)(.*)", prefix) if "(" in prefix else None
    if found is None:
        return prefix.replace("¦", "\0").replace("|", "\n").replace("\0", "|").split("\n")
    head, choices, tail = found.groups()
    return [text for choice in choices.split("|") for text in rule_prefixes(head + choice + tail)]


# --- prefixes ---
# A run is a stretch of letters, digits, _ and -. A token is found by its first run, which begins with its
# literal, such as ghp_, or follows the lead of its literal, such as the SG. of SendGrid.

_RUN_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


class _Literal:
    """A text that tokens of a rule begin with; "" for a rule without a prefix."""

    def __init__(self, text: bytes, lead: int, rule: Rule) -> None:
        self.text = text
        self.lead = lead  # how many bytes of it are before its last run: 3 of "SG.", 0 of "ghp_"
        self.rule = rule

    def match(self, text: bytes, at: int) -> re.Match[bytes] | None:
        """Return the match of a whole token that begins here, or None.

        Its expression is compiled only if enough letters of its first class follow: mostly, none ever do.
        """
        letters, least = self._first_part
        begin = at + len(self.text)
        part = text[begin : begin + least]
        if len(part) < least or part.translate(None, letters):
            return None
        return self._regex.match(text, at)

    @cached_property
    def _first_part(self) -> tuple[bytes, int]:
        """The letters that the shape begins with, and how many of them at least; (b"", 0) if it's unclear."""
        shape = self.rule.shape
        found = re.match(r"(?:\{mixed\}|\(\?<?[=!][^()]*\))*\{([A-Za-z])(\d+)", shape)
        return (_sample(found[1]).encode(), int(found[2])) if found and "|" not in shape else (b"", 0)

    @cached_property
    def _regex(self) -> re.Pattern[bytes]:
        """The expression for a whole token."""
        # What begins a run has no letter before it, and what begins with a sign may have one.
        behind = rb"(?<![A-Za-z0-9])" if self.lead and self.text[:1].isalnum() else b""
        return token_regex(self.text, self.rule.shape, behind)


class _Prefixes:
    """The literals that tokens begin with, by what is at or before the beginning of a token's first run."""

    def __init__(self) -> None:
        """Take the literals of all built-in rules."""
        self.literals: dict[bytes, list[_Literal]] = {}  # by their text
        # Those with a lead, by the last two or three bytes before the run that follows it.
        self.joints: dict[bytes, list[_Literal]] = {}
        self.texts: dict[bytes, tuple[bytes, ...]] = {}  # by their first two bytes
        for rule in _prefixed_rules():
            for text in map(str.encode, rule_prefixes(rule.prefix)):
                lead = text.rstrip(_RUN_LETTERS)
                literal = _Literal(text, len(lead), rule)
                if text not in self.literals:
                    self.texts[text[:2]] = (*self.texts.get(text[:2], ()), text)
                self.literals.setdefault(text, []).append(literal)
                for end in _ends_of_lead(lead, rule.shape):
                    self.joints.setdefault(end, []).append(literal)
        self.sized: dict[int, list[_Literal]] = {}  # without a prefix, by the size of a token's first run
        for rule in _shaped_rules():
            sample = make_samples(rule.hit or rule.shape.replace("\\", ""))
            first_run = re.split(r"[^\w-]", sample)[0]
            self.sized.setdefault(len(first_run), []).append(_Literal(b"", 0, rule))

    def match_at(self, text: bytes, start: int, size: int = 0) -> tuple[Rule, re.Match[bytes]] | None:
        """Return (rule, match) of the token that begins at `start`, or None; the first rule counts.

        A token whose lead, such as "SG.", is in front of `start` is found, too. One without a prefix is found
        by `size`, the length of the run of letters, digits, _ and - that begins at `start`; 0 finds none.
        """
        for at, literal in self._literals_at(text, start, size):
            found = literal.match(text, at)
            if found and CHECKS.get(literal.rule.id, bool)(found[0]):
                return literal.rule, found
        return None

    def _literals_at(self, text: bytes, start: int, size: int) -> Iterator[tuple[int, _Literal]]:
        """Yield (where its token begins, literal) for each literal that a token here may begin with.

        `start` and `size` are those of match_at.
        """
        for prefix in self.texts.get(text[start : start + 2], ()):
            if text.startswith(prefix, start):
                yield from ((start, literal) for literal in self.literals[prefix])
        for size_of_end in (3, 2):
            for literal in self.joints.get(text[max(0, start - size_of_end) : start], ()):
                if text.startswith(literal.text, start - literal.lead):
                    yield start - literal.lead, literal
        yield from ((start, literal) for literal in self.sized.get(size, ()))


def _ends_of_lead(lead: bytes, shape: str) -> list[bytes]:
    """Return what two or three bytes may be in front of the first run of a token with this lead and shape.

    Without a lead, return none: the run itself is looked up.
    """
    if not lead:
        return []
    if len(lead) == 1:  # a number is before it
        return [b"%d%s" % (digit, lead) for digit in range(10)]
    if shape.startswith("(?<=[\"']") and len(lead) == 2:  # a quote is before it
        return [quote + lead for quote in (b'"', b"'")]
    return [lead[-3:]]


@cache  # compiled when a literal is first met: most never are
def token_regex(prefix: bytes, shape: str, behind: bytes) -> re.Pattern[bytes]:
    """Return an expression for a whole token: prefix and shape, where `behind` matches what is before it."""
    shape_regex = _shape_regex(shape).encode()
    return re.compile(rb"%s%s(?:%s)(?![A-Za-z0-9_-])" % (behind, re.escape(prefix), shape_regex))


@cache
def prefixes() -> _Prefixes:
    """Return the literals of all built-in rules; they are put together when first needed."""
    return _Prefixes()


# --- checks ---

KEY_LINE = lazily(rb"-----(BEGIN|END) (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


def decode64(encoded: bytes) -> bytes:
    """Decode Base64 of either alphabet, padded or not, up to its first padding.

    Characters outside of the alphabet are skipped. Return b"" if what is left can't be decoded.
    """
    import binascii

    try:
        return binascii.a2b_base64(encoded.translate(_TO_BASE64) + b"=" * (-len(encoded) % 4))
    except ValueError:
        return b""


def _is_web_token(token: bytes) -> bool:
    """Return whether a token with a dot is a JWT: a header with an algorithm, and a signature or a payload.

    Without a signature, the payload has to be whole. JWTs of NATS are public, and don't count.
    """
    head, payload, *signature = token.split(b".")
    header = decode64(head)
    if b"ed25519-nkey" in header:  # of NATS: as public as a certificate
        return False
    return b'"alg"' in header and (any(signature) or decode64(payload).strip()[-1:] == b"}")


def is_login(encoded: bytes) -> bool:
    """Return whether this is the Base64 of user:password, both readable.

    In the user, each byte is UTF-8, and in the password of three characters or more, nine of ten at least.
    """
    user, _, password = decode64(encoded).decode("utf-8", "replace").partition(":")
    if "\ufffd" in user or not (user + password).isprintable():
        return False
    return len(password) > 2 + 9 * password.count("\ufffd")


# Hashes of passwords that their own prefix gives away; $ may be doubled, as in a compose file.
PASSWORD_HASH = lazily(
    rb"""(?x)\$(?=[$0-9agPHSpsy]|(?<=\d\$))\$?(?:  # most other dollars fail at once
    (?:1|apr1)\$\$?[^$\s:]{0,8}\$\$?[./A-Za-z0-9]{22}  # crypt(5): MD5, and Apache's
    |2[abxy]?\$\$?\d\d\$\$?[./A-Za-z0-9]{53}  # bcrypt
    |[56]\$\$?(?:rounds=\d{4,9}\$\$?)?[^$\s:]{0,16}\$\$?(?:[./A-Za-z0-9]{86}|[./A-Za-z0-9]{43})  # SHA-2
    |g?y\$[./A-Za-z0-9]{1,20}\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}  # yescrypt
    |7\$[./A-Za-z0-9]{11,97}\$[./A-Za-z0-9]{43}  # scrypt
    |[PH]\$[./A-Za-z0-9]{31}|S\$[./A-Za-z0-9]{52}  # phpass, and Drupal's
    |argon2(?:id|i|d)\$\$?(?:v=\d{1,3}\$\$?)?m=\d{1,9},t=\d{1,9},p=\d{1,9}(?:\$\$?[A-Za-z0-9+/]{11,86}){2}
    |(?:scrypt|pbkdf2(?:-sha\d{1,3})?)\$[\w=,.]{1,40}(?:\$[A-Za-z0-9./+]{11,86}={0,2}){2}  # PHC's format
    |(?:(?<=pbkdf2_sha1\$)|(?<=pbkdf2_sha256\$)|(?<=pbkdf2_sha512\$))  # Django
     \d{3,8}\$[^$\s]{1,64}\$[A-Za-z0-9+/]{27,86}={0,2}
    |(?<=\d\$)[A-Za-z0-9]{8,22}\$(?:[0-9a-f]{64}|[0-9a-f]{128})(?![0-9a-f])  # Werkzeug
    |(?<=SCRAM-SHA-256\$)\d{4,7}:[A-Za-z0-9+/]{11,64}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=
    )"""
)
# Those that could be something else under another name than a password's: of RFC 2307, MySQL and PostgreSQL.
_HASH_AS_VALUE = lazily(
    rb"\{(?:CRYPT|(?:S?(?:SHA|MD5)|PBKDF2|ARGON2)[\w-]{0,8}|bcrypt|pbkdf2|scrypt|argon2)(?:@\w+)?\}\S"
    rb"|\*[0-9A-F]{40}\Z|md5[0-9a-f]{32}\Z"
)


def is_password_hash(value: bytes) -> bool:
    """Return whether the value that is assigned to a password's name is a password's hash."""
    return bool((b"$" in value and PASSWORD_HASH.search(value)) or _HASH_AS_VALUE.match(value))


# Further checks on the matches of these rules: what fails isn't found.
CHECKS: dict[str, Callable[[bytes], bool]] = {"jwt": _is_web_token, "basic-auth": is_login}


_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
_DIGITS_OF_62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def doubt_about(rule: str, token: bytes) -> str:
    """Return why a rule's token may not work: "its checksum is wrong", "it has expired"; "" for no doubt."""
    if rule == "jwt":
        return "it has expired" if _is_expired(token) else ""
    is_issued = _CHECKSUMS.get(rule)
    return "its checksum is wrong" if is_issued and not is_issued(token) else ""


def _crc(data: bytes) -> int:
    """Return the CRC-32 of data, which is the checksum in each of these tokens."""
    import binascii

    return binascii.crc32(data)


def _digits(number: int, digits: bytes, size: int) -> bytes:
    """Return the last `size` digits of a number whose base is the number of `digits`, with leading zeros."""
    text = b""
    for _ in range(size):
        number, digit = divmod(number, len(digits))
        text = digits[digit : digit + 1] + text
    return text


def _has_base62(token: bytes) -> bool:
    """Return whether a token ends with the checksum of the 30 characters before; others have none: True."""
    body = token.partition(b"_")[2]
    return len(body) != 36 or body[30:] == _digits(_crc(body[:30]), _DIGITS_OF_62, 6)


def _has_hex(token: bytes) -> bool:
    """Return whether a token ends with the checksum of all before it, in 8 digits of hex."""
    return int(token[-8:], 16) == _crc(token[:-8])


def _has_little_endian_hex(token: bytes) -> bool:
    """Return whether a token ends with _ and the checksum of what is before, in hex, lowest byte first."""
    return bytes.fromhex(token[-8:].decode()) == _crc(token[:-9]).to_bytes(4, "little")


def _has_base36(token: bytes) -> bool:
    """Return whether a token with a "." ends with the checksum of what is before; others have none: True."""
    return b"." not in token or token[-7:] == _digits(_crc(token[:-7]), _DIGITS, 7)


def _is_macaroon(token: bytes) -> bool:
    """Return whether this ends as libmacaroons writes it: the caveats' end, then a signature of 32 bytes."""
    decoded = decode64(token.removeprefix(b"pypi-"))
    return decoded[-35:-32] == b"\0\6\x20"


def _is_expired(token: bytes) -> bool:
    """Return whether a JWT has expired; False if it has no such claim, or can't be read."""
    import json

    with suppress(ValueError, TypeError, LookupError, RecursionError):
        expires = json.loads(decode64(token.split(b".")[1]))["exp"]  # RFC 7519, 4.1.4
        return bool(expires < time.time())
    return False


# By rule, what says whether a token was issued, as its provider documents it. Each gets a token of its rule.
_CHECKSUMS: dict[str, Callable[[bytes], bool]] = {
    "github-token": _has_base62,
    "npm-token": _has_base62,
    "gitlab-token": _has_base36,
    "atlassian-token": _has_hex,
    "grafana-service-token": _has_little_endian_hex,
    "pypi-token": _is_macaroon,
}


def is_token(value: str) -> bool:
    """Return whether a value is a token that a rule knows by its prefix, or has a line of a private key."""
    if not re.match(r"\S*[\w-]{16}", value) and "-----BEGIN " not in value:
        return False
    data = value.encode(errors="replace")
    if data.startswith(b"LS0tLS1CRUdJTi"):  # "-----BEGIN" in Base64, as for a variable of one line
        data = decode64(data)
    return bool(KEY_LINE.search(data) or prefixes().match_at(data, 0))


# === Names ===
# A name is 1 to 255 bytes of printable Unicode, with '/' between folders; stores may be stricter. A value is
# text without NUL. `is_secret` alone decides which variables hold a secret: `run`, `list`, `import`, `check`
# and `audit` ask it.

BINARY_HINT = "encode binary values, with base64 for instance"
MAX_NAME_BYTES = 255  # of UTF-8: the longest file name on common file systems
REFERENCE_PREFIX = "secret:"  # prefix of a text that is one reference
EMBEDDED_REFERENCE = r"\$?\$\{(secret:[^{}]*)\}"  # $${secret:…} is the escaped form
# Variables that this tool, `vault` and `bao` read. Others that begin so belong to the program. The record of
# known stores is in XDG_STATE_HOME: a committed .env must not lead to another.
_STORE_SETTING = (
    r"PAISSIVE_\w*|XDG_STATE_HOME"
    r"|(?:VAULT|BAO)_(?:ADDR|AGENT_ADDR|CACERT|CACERT_BYTES|CAPATH|CLIENT_CERT|CLIENT_KEY|CLIENT_TIMEOUT"
    r"|CLI_NO_COLOR|DISABLE_REDIRECTS|FORMAT|HTTP_PROXY|LICENSE|LICENSE_PATH|LOG_LEVEL|MAX_RETRIES"
    r"|MFA|NAMESPACE|PROXY_ADDR|RATE_LIMIT|REDIRECT_ADDR|SKIP_VERIFY|SRV_LOOKUP|TLS_SERVER_NAME"
    r"|TOKEN(?:_PATH|_FILE|_COMMAND)?|WRAP_TTL)"
)
# Go's time.ParseDuration without its tiniest units, with days and weeks.
_TERM = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|[smhdw])"
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}  # seconds
MAX_DURATION = 1e9  # seconds: more than 30 years would overflow timers
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # UTC, RFC 3339: text that sorts by time


class _Login(NamedTuple):
    """A way to log in to Vault; its settings are keywords of VaultStore, and variables PAISSIVE_VAULT_X."""

    body: dict[str, str]  # the members of the request's body, and the settings that they come from
    secrets: tuple[str, ...] = ()  # settings that open a store: not shown, nor passed on to any command
    optional: tuple[str, ...] = ()  # settings that may be missing
    user: str = ""  # the setting that the request's path ends with
    file: str = ""  # where its secret is if no setting says it
    locks_accounts: bool = False  # whether servers lock an account for some time after a few refusals

    def settings(self) -> list[str]:
        """Return the names of all settings of this login; empty for "token"."""
        return [*filter(None, [self.user]), *self.body.values()]


# To add a login, add a row here and, for people who type, its settings to the keywords of VaultStore.
# https://openbao.org/api-docs/auth/
VAULT_LOGINS: dict[str, _Login] = {
    "token": _Login({}),
    "approle": _Login({"role_id": "role_id", "secret_id": "secret_id"}, secrets=("secret_id",)),
    "kubernetes": _Login(
        {"role": "role", "jwt": "jwt"},
        secrets=("jwt",),
        file="/var/run/secrets/kubernetes.io/serviceaccount/token",
    ),
    "jwt": _Login({"role": "role", "jwt": "jwt"}, secrets=("jwt",), optional=("role",)),
    "userpass": _Login({"password": "password"}, secrets=("password",), user="username", locks_accounts=True),
    "ldap": _Login({"password": "password"}, secrets=("password",), user="username", locks_accounts=True),
    "cert": _Login({"name": "role"}, optional=("role",)),
    "github": _Login({"token": "github_token"}, secrets=("github_token",)),
}
# Variables that hold what opens a store or, with _FILE and _COMMAND, say where it is; logins have more.
_STORE_CREDENTIALS = {
    "PAISSIVE_MASTER_PASSWORD",
    "PAISSIVE_IDENTITY",
    "PAISSIVE_VAULT_TOKEN",
    "VAULT_TOKEN",
    "BAO_TOKEN",
}
# Which names are a secret's, word by word. A word belongs to the first kind that matches all of it.
_WORD = r"[Pp]ass(?:Word|Phrase|Code)|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
_SECRET_WORDS = {
    "pass": r"\w*pass(?:w(?:or[dt]|r?d)|phrase|frase|code)s?|\w*pwds?|\w{0,5}pws?|pins?|passe|kennwort|senha"
    r"|(?:|[dl]b|[mp]y|pg|bind|user|usr|root|admin|su|sudo|test|key|store|e?mail|smtp|imap|ftp|ssh|sql|mysql|ldap"
    r"|new|old|require|work|login|https?|proxy|auth|web|api|redis|mongo|postgres)pass",
    "secret": r"\w*secrets?|salts?|dsns?",
    "token": r"\w*tokens?|pats?",
    "key": r"[a-z]?keys?|psks?|(?:api|app|auth|access|account|admin|aes|client|consumer|cookie|crypt"
    r"|encryption|hex|hmac|jwt|licen[cs]e|master|my|private|rsa|secret|server|service|session|sign|signing|ssh"
    r"|storage|subscription|user)keys?",
    "cred": r"creds?|\w*credentials?",
    "auth": r"(?:|o|basic|http|proxy|smtp)auth|authorization",
    "nonce": r"nonces?",
}
_CHAT_HOOK = r"\b(?:chat|discord|mattermost|slack|teams) (?:web ?)?hook"  # its URL holds a token
# Words in a row that are a secret's together, and words that are a secret's at the end of a name.
_SECRET_PHRASE = (
    r"connection string"
    r"|(?:database|db|redis|(?:mongo|postgres)\w{0,30}|mysql|amqp|rabbit ?mq|broker) ur[il]\Z"
    rf"|{_CHAT_HOOK}|\bweb ?hook ur[il]s?\Z"
    r"|\b(?:hotp|master|mfa|otp|totp|wallet) seed\Z|\bpepper\Z|\bservice account (?:json|b(?:ase)? 64)\Z"
    r"|\b(?:mnemonic|seed) phrase\b|\bssh key data\Z"
    r"|\b(?:auth code|jwt|maps api|mnemonic|otp|pass ?key)\Z|\w (?<!lang )(?<!locale )sk\Z"
    r"|\bsigning (?:\w+ )?file contents\Z"
)
# Last words of names that are about a secret's place, owner or rules; each that ends with "name" is one, too.
_ABOUT_SECRET = """
address after age alg algorithm arn as at attempts audience authentication based branch broker ca checker
checksum class complexity connector count crt data database days db decimals description digest dir
directory domain driver duration email enabled encoder encoding encryption endpoint engine error event
events exp expiration expire expired expires expiry field fields file fingerprint folder format grant grants
guard guid handler hash hasher hashers header help hint history host hosts hours id identifier ids in
interval issuer iterations kind label leeway len length lifespan lifetime limit list login manager max md
message method min minutes mode model msg namespace path pattern period placeholder plugin policy port
prefix project prompt protected provider rate realm ref regex region required requirements reset retries
rotation rounds rules scheme schemes scope scopes seconds server servers service sha sid signature size slug
sock socket state status strategy strength sub suffix symbol table target text through thumbprint time
timeout title ttl type uid uri url user uuid validation validator validators validity version window within
years
"""
# Last words of a setting, or of a secret that is for one: TOKEN_STORE=redis, API_TOKEN_BACKEND=x7Fq….
_ABOUT_OR_OF = r"backend|cache|storage|store"
_ENCODING = r"(?i)_?base_?64_?url\Z"  # no address: RFC 4648, 5
# Words that make it another thing: a row for each, to which more words are added.
_NO_SECRET_PHRASE = "|".join(
    (
        # what isn't there, or only looks like it
        r"\b(?:no|not|fake|dummy|disabled|existing|invalid|wrong)\b|\bnopass|\bnon (?:empty|exist\w*|match\w*"
        r"|null|valid|work\w*)\b|\bnon\b(?! \w+ (?:key|pass\w*|secret|token)\Z)",
        # tokens of a page's forms, which each visitor gets
        r"\b(?:[cx]srf\w*|atl)\b(?!.{0,255}\b(?:secret|key)\b)",
        # functions and pages
        r"\b(?:get|find|forgot(?! (?:secret|key)\b))\b(?!.{0,255} by\b)",
        r"\A(?:is|has|label|field|text|title|hint|error|help)\b|\bto pass\Z",
        # keys that are public, or find something rather than open it
        r"key vault\Z|\b(?:public|publishable|pub|authorized|group|foreign|(?<!encryption )primary"
        r"|partition|sort|shard|cache|crash|issue|lock|index|row|rule|lookup|gpg|pgp|apt|recv|id|idempotency|identifier"
        r"|badge|repository|(?:web ?)?site|order|retry|object|translation"
        r"|verify|encrypted|sealed|wrapped|stored|tag|unique|sec web ?socket|ws|public \w+)"
        r" (?:api)?keys?\b|\bpubkeys?\b|\b(?:oauth|ssl) key\Z|\bpub(?:lic)? [xy]\b",
        # hashes, and what is encrypted already
        r"\bpass\w* (?:double )?(?:md|sha)\b|\bencrypted (?:\w+ ){0,9}(?:pass\w*|key|secret|token)\Z",
        r"\b(?:hashed|salted) (?:pass\w*|token|secret|key)\b|\bencoded (?:pass\w*|token)\b",
        # switches, and the like
        r"\b(?:error|status) code\b|\bwith credentials\b|\ballow\w* cred|\brender\w* pass\b",
        r"\b(?:allow|debug|disable|enable|mock|require|skip|use)\w* (?:\w+ ){0,3}auth\Z",
        r"\b(?:allow\w*|disable) (?:\w+ ){0,3}pass\w*|\brandom root pass\w*|\Aupdate pass\w*",
        r"\blast (?:two|four|six|eight)\Z|\bsentry dsn\b",
        # tokens of pages of results and of locks, and how many tokens a model takes
        r"(?:\A|\b(?:next|first|last|list) )page \w*tokens?\b",
        r"\b(?:next|starting|change|pagination|continuation|lock|request(?: verification)?|resume"
        r"|sync|authenticity|reply|cart|checkout|reservation"
        r"|debug|max|min|num|postman|total|version) \w*tokens?\b",
    )
)


def check_name(name: str) -> str:
    """Return `name`; raise BadName, with the reason, if no secret can have it."""
    if problem := name_problem(name):
        hint = f"use up to {MAX_NAME_BYTES} letters, digits, '_', '-', '.', and '/' between folders"
        raise BadName(f"bad name {show(name)}: {problem}", hint=hint)
    return name


def name_problem(name: object) -> str:
    """Return why no secret can have this name, for a message; "" if one can."""
    if not isinstance(name, str):
        return "it is not text"
    if not name:
        return "it is empty"
    if not name.isprintable():  # it could control a terminal; surrogates are not printable either
        return "it has a control character"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    # A name becomes a path: it must not lead out of its folder, nor be a second spelling of another.
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "it has an empty, '.' or '..' part"
    if "\\" in name:  # which separates folders on Windows
        return "it has a backslash"
    if name != name.strip():
        return "it begins or ends with a space"
    if re.search("(^|/)__(PENDING|PREVIOUS)$", name):
        return "it has nothing before __PENDING or __PREVIOUS"
    return ""


def show(name: object) -> str:
    """Return the repr of a name for a message: in quotes, escaped, and cut to 80 characters."""
    text = printable(repr(name))
    return text if len(text) <= 80 else text[:77] + "..."


def shell_word(name: str) -> str:
    """Return a name as a shell takes it, for a command in a hint: a stranger's file may be named `$(x)`."""
    import shlex

    # A # begins a comment only at the beginning of a word; Vault's names have one inside.
    return name if re.fullmatch(r"[\w.,:/@%+=-][\w.,:/#@%+=-]*", name) else shlex.quote(name)


def printable(text: str) -> str:
    """Return `text` in one line, with characters that could control a terminal escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_message(message: str, program: str = "paissive_secrets") -> None:
    """Print "PROGRAM: MESSAGE" on stderr, escaped so that it can't control a terminal.

    A process without a stderr, such as one of pythonw, prints nothing.
    """
    if sys.stderr is not None:
        print(f"{program}: {printable(message)}", file=sys.stderr)


def check_value(value: str, what: str = "the value") -> str:
    """Return `value`; raise BadValue unless it is text that UTF-8 can encode, without NUL.

    The error begins with `what`, and doesn't show the value.
    """
    if not isinstance(value, str):
        raise BadValue(f"{what} is not text, but {type(value).__name__}")
    if "\0" in value:
        raise BadValue(f"{what} has a NUL character", hint=BINARY_HINT)
    if not is_encodable(value):
        raise BadValue(f"{what} is not UTF-8", hint=BINARY_HINT)
    return value


def decode_value(data: bytes, what: str = "the value") -> str:
    """Return bytes as text; raise BadValue, which begins with `what`, unless they are UTF-8 without NUL."""
    # A strict decoder's error would hold the data. Surrogates, for bytes that aren't UTF-8, are refused.
    return check_value(data.decode(errors="surrogateescape"), what)


def is_encodable(text: str, encoding: str = "utf-8") -> bool:
    """Return whether a text can be encoded: an encoder's own error would hold the text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def variable_name(name: str) -> str:
    """Return the variable of a secret's name: DB_PASSWORD for `db/password`.

    A name that is a valid variable stays as it is, also in lower case. In any other, characters but ASCII
    letters and digits become "_", and the rest upper case: several names may have the same variable.
    """
    if name.isidentifier() and name.isascii():
        return name
    # POSIX, 3. Definitions, Name: letters, digits and underscores, not starting with a digit.
    mapped = "".join(c if c.isalnum() and c.isascii() else "_" for c in name).upper()
    return "_" + mapped if mapped[:1].isdigit() else mapped


# Build tools put variables that begin so into pages: whoever opens one reads them.
_BROWSER_NAME = "(?:EXPO_PUBLIC|GATSBY|MIX|NEXT_PUBLIC|NUXT_PUBLIC|REACT_APP|VITE|VUE_APP)_"
# RFC 3986, 3.1 and 3.2.1; the lookbehind makes a long run one attempt.
_URL_PASSWORD = (
    r"(?<![A-Za-z0-9+.-])[0-9+.-]*[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@]*:([^\s/?#@]+)@"  # paissive: allow
)
# In a connection string, `Server=db;Password=…`; in the query of a URL, `?user=me&token=…`.
_PASSWORD_PARAMETER = (
    r"(?i)(?<![^\s;?&,\"'])(?:\w{0,20}(?:password|passwd|pwd)|accountkey|sharedaccesskey"
    r"|(?<=[?&])(?:\w{0,20}token|api_?key|client_secret|sig))[ ]?=[ ]?"
    r"""(?:"([^"]+)"|'([^']+)'|([^\s;&"']+))"""
)
# Values that no secret has: flags and the absence of a value, numbers and durations, paths of words.
_FLAG = r"(?i)true|false|yes|no|on|off|enabled?|disabled?|none|null|nil|undefined"
_NUMBER = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})\s?(?i:ms|[smhdwy]|[kmg]i?b?)?"
_PATH_BEGINS = r"(?:~|\.\.?|[A-Za-z]:|file:/{0,3})?[/\\]"
_PATH_ENDS = r"\.(?:cer|crt|der|json|jks|key|p12|p8|pem|pfx|pub|txt|ya?ml)\Z"
_WORD_OF_PATH = "(?:[A-Z]?[a-z]{1,30}(?:[A-Z][a-z]{1,30}){0,4}|[A-Z]{1,30})?[0-9]{0,5}"
# Words that anybody would try as a password.
_WEAK_WORD = (
    r"(?:pass(?:wd|phrase)?|pwd?|secret|admin(?:istrator)?|root|test(?:ing)?|guest|user|demo"
    r"|default|sa|dev|local|postgres(?:ql)?|mysql|maria(?:db)?|mongo(?:db)?|redis|rabbit(?:mq)?|oracle"
    r"|minio|elastic|docker|app|db|my|the|change-?it|let-?me-?in|welcome|qwerty|foo|bar|hello|key|access|api"
    r"|auth|token|super|strong|secure|new|old|s3cr3t|abc|p[a4@]ssw[o0]rd|this|is|very|not)"
)
_WEAK = lazily(rf"(?i)(?:{_WEAK_WORD}[_-]?\d{{0,6}}){{1,4}}[!@]?|\d{{1,9}}")
# A part of a URL's path or query that tells two long addresses apart, as in a webhook's.
_RANDOM_PART = r"[/=](?=[\w-]{0,40}[0-9])(?=[\w-]{0,40}[A-Za-z])[\w-]{16}"


def is_secret(name: str, value: str = "") -> bool:
    """Return whether a variable with this value holds a secret rather than a setting.

    Settings of this tool and of Vault never do. References always do, and other values of variables that
    build tools hand to browsers never. Else a value is a secret if it has a provider's token, or a password
    in a URL or a connection string; or if the name, without the suffix of a stage, is a secret's, unless the
    value shows that it is a setting. An empty value shows nothing.
    """
    if is_store_setting(name):
        return False
    if looks_like_reference(value):
        return True
    name = base_of_stage(name) or name
    if re.match(_BROWSER_NAME, name):
        return False
    if not value:
        return is_secret_name(name)
    if is_secret_name(name) and not _is_setting_of(name, value):
        return True
    return is_token(value) or any(passwords_in(value))  # last, since the table of tokens takes time to build


def is_store_setting(variable: str) -> bool:
    """Return whether a variable is a setting of this tool or of Vault's, which no .env may supply."""
    variable = variable.upper()  # Windows takes any case
    begins = variable.startswith(("PAISSIVE_", "XDG_", "VAULT_", "BAO_"))  # few do: this spares an expression
    return begins and bool(re.fullmatch(_STORE_SETTING, variable))


def passwords_in(value: str) -> Iterator[str]:
    """Yield the passwords in a value's URLs and connection strings, and the tokens in queries of URLs.

    Their percent-escapes and the like aren't decoded.
    """
    for pattern in (_URL_PASSWORD, _PASSWORD_PARAMETER):
        for match in re.finditer(pattern, value):
            yield next(filter(None, match.groups()))


def is_weak(text: str) -> bool:
    """Return whether a text is up to four words such as "admin" and "test123", or up to nine digits."""
    return bool(_WEAK.fullmatch(text))


def _is_setting_of(name: str, value: str) -> bool:
    """Return whether a value under a secret's name shows that it is a setting.

    That is a short number, a duration or a size, a flag, a path, an address without a random part, or what
    settings of such a name have; see the examples below. A password in an address is for the caller to find.
    """
    kind = kind_of_name(name)
    if re.fullmatch(_NUMBER, value):
        longest = 5 if kind in ("pass", "secret") else 15  # digits of a port, a limit or a time
        return len(re.sub("[^0-9]", "", value)) <= longest
    if re.fullmatch(_FLAG, value) or _is_path(value):
        return True
    words = words_of(name)
    if "://" in value:
        address = re.sub(r"://[^/@]{0,255}@", "://", value)  # without its user, whose name may look random
        return not re.search(_RANDOM_PART, address) and not re.search(_CHAT_HOOK, " ".join(words))
    if re.fullmatch(_ABOUT_OR_OF, words[-1]):
        return bool(re.fullmatch(r"[A-Za-z._]+", value))  # redis; package.module.Class
    is_word = value.isalpha() and len(value) < 16
    return is_word and (kind == "auth" or words[-1] == "dsn")  # login, plain; flock


def _is_path(value: str) -> bool:
    """Return whether a value begins as a path does and exists, or begins or ends so and consists of words."""
    begin = re.match(_PATH_BEGINS, value)
    if begin and os.path.exists(os.path.expanduser(value)):
        return True
    if not begin and not re.search(_PATH_ENDS, value):
        return False
    words = re.split(r"[/\\._-]", re.sub(rf"\A{_PATH_BEGINS}", "", value))
    return len(value) < 1000 and all(re.fullmatch(_WORD_OF_PATH, word) for word in words)


def base_of_stage(name: str) -> str:
    """Return DB_PASSWORD for DB_PASSWORD__PENDING and DB_PASSWORD__PREVIOUS; "" for any other name."""
    base = re.sub("__(PENDING|PREVIOUS)$", "", name)
    return "" if base == name else base


def is_secret_name(name: str) -> bool:
    """Return whether a name is a secret's, as DB_PASSWORD and apiKey are, by its words alone."""
    if re.search(_SECRET_PHRASE, " ".join(words_of(name))):
        return True
    kind = kind_of_name(name)
    if kind == "auth":
        last = words_of(name.rstrip("0123456789"))[-1]
        if _kind_of_word(last) != "auth":  # PROXY_AUTH is a secret's, AUTH_MODEL isn't
            return False
    return bool(kind) and not is_about_secret(name)


@lru_cache(1024)
def is_about_secret(name: str) -> bool:
    """Return whether a name that has a secret's word names no secret, as TOKEN_URL and PUBLIC_KEY do.

    Whether it has such a word isn't looked at. Digits at the end of a name don't count.
    """
    words = words_of(re.sub(_ENCODING, "", name.rstrip("0123456789")))
    if re.search(_NO_SECRET_PHRASE, " ".join(words)):
        return True
    if words[-2:] == ["secret", "id"]:  # of Vault's AppRole: it is a password
        return False
    return bool(words) and (words[-1] in _ABOUT_SECRET.split() or words[-1].endswith("name"))


@lru_cache(1024)
def kind_of_name(name: str) -> str:
    """Return the kind of secret that a word of this name stands for, a key of _SECRET_WORDS; "" for none.

    Of several kinds, it is the one that comes first in that table, not in the name.
    """
    if name.strip("$") in ("PWD", "OLDPWD"):  # the shell's working directories
        return ""
    kinds = set(map(_kind_of_word, words_of(name)))
    return next((kind for kind in _SECRET_WORDS if kind in kinds), "")


@lru_cache(1024)
def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: ["api", "key"] for apiKey and API_KEY, ["key", "2"] for key2.

    Letters beyond ASCII and other characters separate words. Callers share the list, and don't change it.
    """
    return " ".join(re.findall(_WORD, name)).lower().split()


@lru_cache(1024)
def _kind_of_word(word: str) -> str:
    """Return the kind of secret that a word stands for, a key of _SECRET_WORDS; "" for none."""
    return next((kind for kind, words in _SECRET_WORDS.items() if re.fullmatch(words, word)), "")


def looks_like_reference(text: str) -> bool:
    """Return whether a text begins with `secret:`, or has a ${secret:…}, even an escaped or a broken one."""
    return text.startswith(REFERENCE_PREFIX) or bool(re.search(EMBEDDED_REFERENCE, text))


def reject_reference(value: str, what: str, hint: str) -> None:
    """Raise BadValue, which begins with `what`, for a value that would itself be resolved as a reference."""
    if looks_like_reference(value):
        raise BadValue(f"{what} would be followed as a reference", hint=hint)


@lru_cache(1024)
def is_store_credential(variable: str) -> bool:
    """Return whether a variable holds a key to a store or, with _FILE or _COMMAND, says where one is.

    No command that this tool starts gets such a variable, unless the user names it.
    """
    variable = variable.upper()  # Windows takes any case
    known = _STORE_CREDENTIALS | {login_variable(secret) for secret in login_secrets()}
    return re.sub("_(FILE|COMMAND)$", "", variable) in known


def login_secrets() -> set[str]:
    """Return the names of those settings of Vault logins that open a store, such as `secret_id`."""
    return set(chain.from_iterable(login.secrets for login in VAULT_LOGINS.values()))


def login_variable(setting: str) -> str:
    """Return the variable of a setting of a Vault login: PAISSIVE_VAULT_ROLE_ID for `role_id`."""
    return f"PAISSIVE_VAULT_{setting.upper()}"


def parse_duration(text: str) -> float | None:
    """Return the seconds in 30d, 1m30s or .5h, at most MAX_DURATION; None if it isn't a duration."""
    if not re.fullmatch(f"(?:{_TERM})+", text):
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_TERM, text))
    return min(seconds, MAX_DURATION)


def utc_now() -> str:
    """Return the present time in UTC, as TIME_FORMAT says."""
    return format_time(time.time())


def format_time(seconds: float) -> str:
    """Return a time, in seconds since the epoch, in UTC, as TIME_FORMAT says."""
    return time.strftime(TIME_FORMAT, time.gmtime(seconds))


def parse_json(text: str, where: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the JSON object in a text, which may begin with a byte order mark.

    `parse_float` makes the values of numbers with a fraction or exponent. Raise BadValue, which begins with
    `where`, for text that isn't JSON, for another value than an object, for a key that an object has twice,
    and for JSON that is nested too deep.
    """
    import json

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return an object of the text; raise BadValue for a key that it has twice."""
        found = dict(pairs)
        if len(found) < len(pairs):  # parsers disagree on such an object
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise BadValue(f"duplicate key {show(name)}")
        return found

    tree = problem = None
    try:
        tree = json.loads(text.lstrip("\ufeff"), object_pairs_hook=read_object, parse_float=parse_float)
    except (ValueError, RecursionError) as error:  # duplicate keys and Python's limits as well
        problem = str(error)
    if problem:  # raised here, since that exception holds the text
        raise BadValue(f"{where} can't be read as JSON: {problem}", hint="correct it")
    if not isinstance(tree, dict):
        raise BadValue(f"{where} is not a JSON object", hint='it must look like {"key": "value"}')
    return tree


def dump_json(value: Any, where: str, indent: str = "  ") -> str:
    """Return a value as JSON, on one line if `indent` is "", without a newline at the end.

    Raise BadValue, which begins with `where`, for NaN, infinity, lone surrogates, types that JSON doesn't
    have, and a value that is nested too deep.
    """
    import json

    text = ""
    with suppress(TypeError, ValueError, RecursionError):  # their messages may show the value
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent or None)
    if not text or not is_encodable(text):  # a lone surrogate fails now, not when the file is written
        raise BadValue(f"{where} would hold what JSON can't", hint="use text, numbers, lists and dicts")
    return text


def most_similar(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like this one, by difflib's measure; "" if none is similar.

    Case and leading dashes don't count.
    """
    import difflib

    words = {each.lower().lstrip("-"): each for each in known}
    found = difflib.get_close_matches(word.lower().lstrip("-"), words, 1)
    return words[found[0]] if found else ""


# === Durable files ===
# A write makes a new file in a private folder that git ignores, syncs it, and renames it over the old one, so
# that a killed writer leaves the old file or the new one. Reads are bounded and never block on a FIFO.

MAX_FILE_BYTES = 16 * 1024 * 1024  # far above any secret, and safe to hold in memory
_SMALL = 1 << 14  # bytes of a first read; allocating MAX_FILE_BYTES takes longer than reading a small file
_NONBLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)  # for FIFOs and terminals
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_TICK_NS = 3_000_000_000  # more than the coarsest timestamps of a file system (FAT) are apart
_NOTICE_SECONDS = 2  # after which a waiting writer says what it waits for
_GLANCE_SECONDS = 0.1  # after which one that doesn't wait gives up: `is_held` locks the file for a moment
_LOCKED_BYTE = 1 << 30  # on Windows, where a locked byte can't be read: one far past the text
_LOCK_FILE = ".gitignore"
_LOCK_TEXT = "*\n# locked by process {:<10}\n"  # a .gitignore, so that git ignores the folder
_OTHERS = {"write": 0o022, "read": 0o044}  # mode bits of the group and of all others

T = TypeVar("T")


def open_regular(path: str, *, follow: bool = True) -> IO[bytes]:
    """Open a file to read, or raise OSError; the caller closes it.

    Raise Unsafe for a folder, a FIFO, a device or, without `follow`, a symlink.
    """
    file_state(path, follow=follow)  # first, since opening a device can have effects
    more = _NONBLOCKING | (0 if follow else _NOFOLLOW)
    file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | more))  # noqa: SIM115
    # Check the open file as well: the path may lead elsewhere by now.
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise _not_a_file_error(path)


def _not_a_file_error(path: str) -> Unsafe:
    """Return the error about a folder, FIFO, device or symlink where a regular file has to be."""
    return Unsafe(f"{path} is not a file", hint="name another file, or remove this")


def read_file(path: str, *, follow: bool = True) -> bytes:
    """Return a file's content, or raise OSError.

    Raise Unsafe for a folder, a FIFO, a device or, without `follow`, a symlink; BadValue for more than
    MAX_FILE_BYTES.
    """
    with open_regular(path, follow=follow) as file:
        return read_bounded(file, path)


def read_bounded(file: IO[bytes], what: str) -> bytes:
    """Return the rest of an open file; raise BadValue, which begins with `what`, above MAX_FILE_BYTES."""
    data = file.read(_SMALL)
    if len(data) == _SMALL:
        data += file.read(MAX_FILE_BYTES + 1 - _SMALL)
    if len(data) > MAX_FILE_BYTES:
        problem = f"{what} is larger than {MAX_FILE_BYTES >> 20} MiB"
        raise BadValue(problem, hint="check that it is the right file")
    return data


class FileCache:
    """Parsed files, each of which is parsed again when it changes; copies and pickles are empty."""

    def __init__(self) -> None:
        # By path: the state, or None while the file may change unnoticed; the content; its parsed form.
        self._files: dict[str, tuple[tuple[int, ...] | None, bytes, object]] = {}

    def __reduce__(self) -> tuple[type[FileCache], tuple[()]]:
        """Pickle and copy as an empty cache."""
        return FileCache, ()

    def load(self, path: str, parse: Callable[[bytes], T], *, follow: bool = True) -> T:
        """Return `parse(content)` of a file, from the cache while the file doesn't change.

        All callers for a path get the same object, must not change it, and pass the same `parse`. Raise what
        `read_file` and `parse` raise.
        """
        state = file_state(path, follow=follow)
        known_state, known_data, parsed = self._files.get(path, (None, None, None))
        if known_state == state:
            return cast("T", parsed)
        # Read after its state: if the file changes in between, the next state differs.
        data = read_file(path, follow=follow)
        if data != known_data:
            parsed = parse(data)
        # Two writes of the same size within a tick of the file system's clock look like one, so until the
        # file is older, its bytes are read again and compared.
        *_, modified, changed = state
        if time.time_ns() - max(modified, changed) > _TICK_NS:
            self._files[path] = state, data, parsed
        else:
            self._files[path] = None, data, parsed
        return cast("T", parsed)


def file_state(path: str, *, follow: bool = True) -> tuple[int, ...]:
    """Return a file's inode, size and times, one of which changes with a write.

    Raise OSError, or Unsafe for a folder, a FIFO, a device or, without `follow`, a symlink.
    """
    status = os.stat(path) if follow else os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file_error(path)
    # The change time as well, since anybody can reset the modification time.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_credential(path: str) -> str:
    """Return a file's text without one newline at its end; warn if others can read or write the file.

    Bytes that aren't UTF-8 become surrogates: the caller checks the value. Raise what `read_file` raises.
    """
    text = read_file(path).decode(errors="surrogateescape")
    warn_if_exposed(path)
    return without_newline(text)


def without_newline(text: str) -> str:
    """Return a text without one LF or CRLF at its end."""
    return re.sub(r"\r?\n\Z", "", text)


def warn_if_exposed(path: str, has_secrets: Callable[[], bool] = lambda: True) -> None:
    """Warn, once, about this user's own file with secrets if others can read or write it.

    Not about a read-only file, nor one in a folder that others can't enter. `has_secrets` is called last,
    as it may have to read the file. Raise OSError if there is no such file.
    """
    status = os.stat(path)
    if os.name == "nt" or status.st_uid != os.getuid():
        return
    access = next((access for access in _OTHERS if _others_may(access, status)), "")
    folder = os.stat(os.path.dirname(os.path.realpath(path)))
    # Kubernetes and Docker mount credentials as read-only files, which nobody could protect with chmod.
    if access and os.access(path, os.W_OK) and folder.st_mode & 0o011 and has_secrets():
        warn_once(f"others can {access} {path}; chmod 600 {shell_word(path)}")


def _others_may(access: str, status: os.stat_result) -> bool:
    """Return whether anyone but the owner, and the owner's private group, may "read" or "write" a file."""
    bits = status.st_mode & _OTHERS[access]
    return bool(bits & stat.S_IRWXO or (bits and not _is_private_group(status.st_uid, status.st_gid)))


def is_trusted(status: os.stat_result) -> bool:
    """Return whether only this user and root can write to a file or folder; always true on Windows."""
    if os.name == "nt":
        return True
    link = stat.S_ISLNK(status.st_mode)  # a symlink's own mode means nothing
    return status.st_uid in (0, os.getuid()) and (link or not _others_may("write", status))


@lru_cache(maxsize=64)
def _is_private_group(uid: int, gid: int) -> bool:
    """Return whether a group is the user's own: the user's primary group, of the same name, without others.

    Of a user or group that has only a number, as in containers, it is one if the numbers are equal.
    """
    import grp
    import pwd

    # Many distributions give each user such a group, and a umask that lets the group write.
    try:
        user = pwd.getpwuid(uid)
        group = grp.getgrgid(gid)
    except KeyError:
        return uid == gid
    return user.pw_gid == gid and user.pw_name == group.gr_name and set(group.gr_mem) <= {user.pw_name}


def make_folder(path: str) -> None:
    """Make a folder of mode 0700, durably, unless something has its name: `check_folder` says whether it may.

    Raise OSError, for instance if the folder above it is missing.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
        sync_folder(os.path.dirname(path), f"{path} is made")


def check_folder(path: str) -> None:
    """Raise Unsafe for a folder where others could put files, and for a symlink or file in its place.

    A missing folder passes.
    """
    try:
        status = os.lstat(path)
    except OSError:  # any other error than its absence will come again when the folder is used
        return
    if not stat.S_ISDIR(status.st_mode):
        raise Unsafe(f"{path} is not a folder", hint="a symlink is not followed: make a real folder")
    if not is_trusted(status):
        word = shell_word(path)
        hint = f"if it is yours: chown -R $USER {word}; chmod -R go-w {word}"
        raise Unsafe(f"others can write to {path}", hint=hint)


def working_directory() -> str:
    """Return the path of the working directory, or "" if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def absolute_path(path: StrPath) -> str:
    """Return an absolute path; raise Unavailable if the working directory was removed."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise Unavailable("the working directory was removed", hint="change to another one") from None


def find_above(folder: str, name: str) -> str:
    """Return the path of `name` in an absolute folder or the nearest one above that has it; "" if none."""
    while not os.path.lexists(found := os.path.join(folder, name)):
        if folder == os.path.dirname(folder):
            return ""
        folder = os.path.dirname(folder)
    return found


@lru_cache(maxsize=256)
def warn_once(message: str) -> None:
    """Print a warning on stderr, unless it is one of the last 256 of this process."""
    print_message(f"warning: {message}")


class FileLock:
    """`with FileLock(path):` lets one writer in at a time, across threads and processes.

    Unfinished files are in a private folder that git ignores, PATH.paissive-tmp or, in a folder PATH,
    .paissive-tmp. Entering removes those of killed writers. If another has the lock, entering waits or,
    without `wait`, raises Conflict with the message "`what` is under way". While the lock is held, `fd` is
    the open locked file: a command that inherits it keeps the lock if this process is killed.
    """

    def __init__(self, path: str, *, wait: bool = True, what: str = "another write") -> None:
        """Choose what to lock: a file that is to be written, or a folder; nothing is locked yet."""
        self._path = path
        self._wait = wait
        self._what = what

    def __enter__(self) -> FileLock:
        """Lock, and remove the unfinished files of killed writers.

        Without `wait`, raise Conflict if another has the lock. Raise Unavailable or Denied if there can't be
        one, Unsafe if others can write to its folder.
        """
        self._folder = work_folder(self._path)
        self._file = os.path.join(self._folder, _LOCK_FILE)
        with disk_errors(f"write to {os.path.dirname(self._folder)}"):
            while not self._lock_file():
                pass  # its previous holder removed it
        # From here on nothing may raise, not even on a full disk: the lock would never be released.
        self.record_holder(os.getpid())
        with suppress(OSError):
            for name in set(os.listdir(self._folder)) - {_LOCK_FILE}:  # left by writers that were killed
                os.unlink(os.path.join(self._folder, name))
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the locked file and its folder, then let the next writer in.

        A failure isn't an error, since everything has been written.
        """
        with suppress(OSError):  # Windows can't remove an open file: the folder stays
            if self._is_in_place():  # if not, somebody removed it, and a file there is another writer's
                os.unlink(self._file)
                os.rmdir(self._folder)
        with suppress(OSError):
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(self.fd, fcntl.LOCK_UN)  # a forked process has the open file too
        with suppress(OSError):
            os.close(self.fd)

    def record_holder(self, pid: int) -> None:
        """Write a process's number into the locked file, for the notices of those who wait."""
        with suppress(OSError):  # on a full disk, the notices name no process
            os.lseek(self.fd, 0, os.SEEK_SET)
            os.write(self.fd, _LOCK_TEXT.format(pid).encode())

    def is_held(self) -> bool:
        """Return whether anybody has the lock now, also another object of this process; False if unknown."""
        try:
            fd = os.open(os.path.join(work_folder(self._path), _LOCK_FILE), os.O_RDWR | _NOFOLLOW)
        except OSError:
            return False
        try:
            return not _try_lock(fd)  # closing the file unlocks it again
        finally:
            os.close(fd)

    def _lock_file(self) -> bool:
        """Open and lock the file, as `fd`; return False if its previous holder has removed it meanwhile.

        If another has it, wait and print a notice after a while or, without `wait`, soon raise Conflict.
        After an error, as after False, the file is closed again.
        """
        # A holder that leaves removes the file, then its folder: every step may find either one missing.
        with suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        check_folder(self._folder)
        with suppress(FileNotFoundError), ExitStack() as undo:
            self.fd = os.open(self._file, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o600)
            undo.callback(os.close, self.fd)
            patience = time.monotonic() + (_NOTICE_SECONDS if self._wait else _GLANCE_SECONDS)
            while not _try_lock(self.fd):
                is_over = time.monotonic() >= patience
                if is_over and not self._wait:
                    problem = f"{self._what} is under way{self._holder()}"
                    raise Conflict(problem, hint="try again when it is done")
                if is_over:
                    warn_once(f"waiting for another writer of {self._path}{self._holder()}")
                    patience = float("inf")
                time.sleep(0.01)
            if self._is_in_place():
                undo.pop_all()
                return True
        return False

    def _is_in_place(self) -> bool:
        """Return whether the locked file is still the one at its path; raise FileNotFoundError if none is."""
        return os.path.samestat(os.stat(self._file), os.fstat(self.fd))

    def _holder(self) -> str:
        """Return " (process 123)", as the locked file says, or "" if it doesn't."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        found = re.match(rb"\*\n# locked by process (\d+)", os.read(self.fd, 100))
        return f" (process {int(found[1])})" if found else ""


def _try_lock(fd: int) -> bool:
    """Lock an open file, also for processes that inherit it; return False if it is locked already.

    Never wait. The lock is that of this opening of the file: another one, in this process too, can't have it.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # Not lockf: its locks are a process's, so no child would inherit one, and threads would share it.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def work_folder(path: str) -> str:
    """Return the path of the folder for unfinished files of `path`, as FileLock has it; don't make it.

    Raise Unavailable if the folder that `path` is in doesn't exist.
    """
    if os.path.isdir(path):
        return os.path.join(path, ".paissive-tmp")
    # Beside the real file, since a rename can't cross file systems.
    target = os.path.realpath(absolute_path(path))
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise Unavailable(f"there is no folder {folder}", hint="make it first, or name another file")
    return f"{target}.paissive-tmp"


def rewrite(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file durably as `replacing` does, following symlinks; the caller holds its FileLock.

    A new file gets `mode`. Raise OSError, or BadValue if it would be too large to read back.
    """
    _check_size(path, data)
    with replacing(path, mode, keep=True) as file:
        file.write(data)


def _check_size(path: str, data: bytes) -> None:
    """Raise BadValue for content that is too large for `read_file` to read back."""
    if len(data) > MAX_FILE_BYTES:
        raise BadValue(f"{path} would be larger than {MAX_FILE_BYTES >> 20} MiB", hint="it is unchanged")


@contextmanager
def replacing(path: str, mode: int, *, keep: bool) -> Iterator[IO[bytes]]:
    """Yield a new file to write, which then durably replaces `path`, or is discarded on an error.

    With `keep`, follow symlinks, and give the new file the mode and owner of the one that it replaces. It has
    `mode` if there is none, and without `keep`. The caller holds the FileLock of `path`. Raise OSError, or
    Unavailable as `sync_folder` does, after the replacement.
    """
    # Through a symlink, it is the file that this leads to which is replaced, not the link.
    target = os.path.realpath(path) if keep else os.path.abspath(path)
    before = os.stat(target) if keep and os.path.lexists(target) else None
    with _replacing_unsynced(target, work_folder(path)) as file:
        if os.name != "nt":
            # The owner first: changing it clears mode bits, and until then nobody else can read the file.
            if before:
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
                mode = stat.S_IMODE(before.st_mode)
            os.fchmod(file.fileno(), mode)
        yield file
    sync_folder(os.path.dirname(target), f"{path} is written")


@contextmanager
def _replacing_unsynced(target: str, folder: str) -> Iterator[IO[bytes]]:
    """Yield a new file of mode 0600 in the work `folder`, which then replaces the target, or is discarded.

    The file is synced; the target's folder isn't, so a power cut may bring the old file back.
    """
    # Unique, even if somebody removes the folder, and with it the lock, under several writers.
    path = os.path.join(folder, f"new-{os.urandom(8).hex()}")
    try:
        # Exclusive, so it never writes through a link that somebody puts there now.
        with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
            yield file
            # Sync, then rename: after a power cut the name must not lead to an empty file.
            file.flush()
            os.fsync(file.fileno())
        os.replace(path, target)
    # Also after Ctrl-C: don't leave half a secret in plaintext behind.
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def replace_files(files: Iterable[tuple[str, bytes]], folder: str) -> None:
    """Durably write these files, pairs of path and content, with mode 0600.

    `folder` is the work folder of the lock that is held. Raise BadValue for content that is too large. An
    error may leave some of the files replaced, but none in part.
    """
    changed: dict[str, str] = {}  # by folder: one of the files written there, for an error about it
    for path, data in files:
        _check_size(path, data)
        with _replacing_unsynced(path, folder) as file:
            file.write(data)
        changed[os.path.dirname(path)] = path
    for parent, path in changed.items():
        sync_folder(parent, f"{path} is written")


def sync_folder(path: str, done: str) -> None:
    """Make renames and removals in a folder durable, or raise Unavailable.

    Its message begins with `done`, which says what has happened in spite of the error.
    """
    if os.name == "nt":  # where folders can't be opened
        return
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # how some file systems say that they can't
            problem = f"{done}, but may not be on the disk yet: {error.strerror}"
            raise Unavailable(problem, hint="check the disk, then try again") from None


def refuse_hard_links(path: str, status: os.stat_result) -> None:
    """Raise Unsafe for a file with hard links, under which its old text would stay after a rewrite."""
    if status.st_nlink > 1:
        raise Unsafe(f"{path} has other names, which would keep the old text", hint="remove those first")


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Raise Denied or Unavailable in place of an OSError: "can't write .env: File too large".

    `doing` is "write .env" here. A SecretsError and a BrokenPipeError pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, (SecretsError, BrokenPipeError)):  # a broken pipe isn't a disk error
            raise
        raise disk_error(doing, error) from None


def disk_error(doing: str, error: OSError) -> SecretsError:
    """Return Denied for an OSError about permissions, Unavailable for any other: "can't `doing`: …".

    Where `doing` begins with "write", the hint says that the old content is there.
    """
    problem = f"can't {doing}: {error.strerror or 'it failed'}"
    if isinstance(error, PermissionError):
        return Denied(problem, hint="check its permissions, and its folder's")
    hint = "what was there is unchanged" if doing.startswith("write") else ""
    return Unavailable(problem, hint=hint)


# === Generators ===
# New values, by a specification such as token:32. Errors don't repeat that: it may be a misplaced value.

_SPEC = "(token|password|hex)(?::([0-9]{1,9})(?::([luds]+))?)?"
_DEFAULT_SIZES = {"token": 32, "password": 24, "hex": 16}  # bytes of token and hex, characters of a password
_SIZES = range(8, 1025)
SPEC_HINT = "use token:32, password:24, password:24:lud or hex:16"  # paissive: allow
_PASSWORD_CLASSES = {
    "l": "abcdefghijklmnopqrstuvwxyz",
    "u": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "d": "0123456789",
    "s": "-_.!@%^*+=?,:~",  # none that needs an escape between quotes, in a shell script as in JSON
}


def generate(spec: str = "token:32") -> str:
    """Return a new value: token[:N], password[:N[:CLASSES]] or hex[:N].

    N is 8 to 1024: random bytes of a token (URL-safe base64) or of hex,
    characters of a password. CLASSES are some of l, u, d, s (lower case,
    upper case, digits, symbols); a password has each of them. Raise
    BadValue for any other text.
    """
    import secrets

    match = re.fullmatch(_SPEC, spec)
    if not match or (match[3] and match[1] != "password"):
        raise BadValue("no such generator", hint=SPEC_HINT)
    kind = match[1]
    size = int(match[2] or _DEFAULT_SIZES[kind])
    if size not in _SIZES:
        raise BadValue(f"the size of a new value is {_SIZES[0]} to {_SIZES[-1]}", hint=SPEC_HINT)
    if kind == "token":
        return secrets.token_urlsafe(size)
    if kind == "hex":
        return secrets.token_hex(size)
    needed = [_PASSWORD_CLASSES[letter] for letter in set(match[3] or "luds")]
    while True:  # drawing again until it has each class keeps all such passwords equally likely
        password = "".join(secrets.choice("".join(needed)) for _ in range(size))
        if all(set(password) & set(characters) for characters in needed):
            return password


# === Stores ===
# A store is any object with the four methods of StoreMethods. `Store` has the whole interface; all other
# methods have defaults, which call the four.

STAGES = {"current": "", "pending": "__PENDING", "previous": "__PREVIOUS"}  # name suffixes in a rotation
_STORE_METHODS = ("get", "set", "delete", "names")


class StoreMethods(Protocol):
    """What an object needs to be a store."""

    def get(self, name: str) -> str: ...

    def set(self, name: str, value: str) -> None: ...

    def delete(self, name: str) -> None: ...

    def names(self) -> Iterator[str]: ...


class SecretVersion(NamedTuple):
    """A version of a KV 2 secret; times are UTC or "".

    `deleted` may lie ahead.
    """

    number: int  # counted from 1
    created: str
    deleted: str  # "" unless it was deleted or will be
    destroyed: bool  # for good


class Member(NamedTuple):
    """A member of a store, who opens it with the private key of `recipient`."""

    name: str
    recipient: str  # "age1…"
    added: str  # UTC


StatusValue = Union[str, int, bool, list[str], SecretsError]


class Store:
    """A mapping from names to secrets, which are text.

    Yours has to have `get`, `set`, `delete` and `names`; all else has a
    default. A store that is locked, denied or unreachable must not look
    empty: it raises an error other than NotFound. BadName and BadValue are
    for what a store can't hold. `location` tells the policies of several
    stores of one class apart. Of an object of another class, only the four
    methods are used; its KeyErrors count as NotFound.
    """

    # Secrets. A store must have the first four.

    def get(self, name: str) -> str:
        """Return the value, or raise NotFound."""
        raise NotImplementedError

    def set(self, name: str, value: str) -> None:
        """Store the value, replacing any previous one."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Delete the secret, or raise NotFound."""
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """Yield each name once, in any order; reads no values.

        In Vault, a name is a path, whose fields `get_fields` returns.
        """
        raise NotImplementedError

    def names_under(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin with a prefix."""
        return (name for name in self.names() if name.startswith(prefix))

    def field_names(self, prefix: str = "") -> Iterator[str]:
        """Yield a name for each value; in Vault, `app/db#password`."""
        return self.names_under(prefix)

    def names_for(self, variables: Iterable[str]) -> Iterator[str]:
        """Yield at least the names whose `variable_name` is among these."""
        return self.names()

    def get_all(self, names: Iterable[str]) -> dict[str, str]:
        """Return {name: value} for those of these names that exist.

        Names that the store can't hold are left out as well.
        """
        found = {}
        for name in names:
            with suppress(NotFound, BadName):  # a name of maximal length has no stages
                found[name] = self.get(name)
        return found

    def get_everything(self) -> dict[str, str]:
        """Return all values by name, those of stages as well."""
        return self.get_all(self.names())

    def set_all(self, values: Mapping[str, str]) -> None:
        """Set all of these; an error says how many are set."""
        set_each(values, self.set)

    def reading_view(self) -> Store:
        """Return a view for one operation, which reads nothing twice.

        It may refuse writes.
        """
        return self

    def expand(self, name: str) -> dict[str, str]:
        """Return {name: value} if `name` stands for several secrets.

        `app/db#` does so in Vault, which raises NotFound if there are none.
        For any other name, return {}.
        """
        return {}

    def includes(self, name: str, other: str) -> bool:
        """Return whether what `name` stands for includes the secret `other`.

        In Vault, `app/db#` includes each field; another spelling of a name
        includes the same secret.
        """
        return name == other

    def as_stored(self, name: str, value: str) -> str:
        """Return the value as `get` will return it: a store may change JSON."""
        return value

    # Rotation: stages of a secret, older values, policies.

    def stage_name(self, name: str, stage: str) -> str:
        """Return the name under which a stage of a secret is stored.

        BadName: no secret has this name, or none has stages under it.
        BadValue: there is no such stage.
        """
        return check_name(name) + stage_suffix(stage)

    def get_stages(self, *names: str) -> dict[str, dict[str, str]]:
        """Return {name: {stage: value}} with the stages that exist.

        An absent secret without stages has {}. Without names, return all
        secrets, sorted by name.
        """
        if names:
            values = self.get_all(key for name in names for key in self._names_of_stages(name).values())
        else:
            values = self.get_everything()
            names = tuple(sorted(name for name in values if not is_stage(name, values)))
        found = {}
        for name in names:
            stored = self._names_of_stages(name)
            found[name] = {stage: values[key] for stage, key in stored.items() if key in values}
        return found

    def _names_of_stages(self, name: str) -> dict[str, str]:
        """Return {stage: name under which it is stored}, only "current" for a name that can't have stages.

        That is one of maximal length or, in Vault, a path that stands for all its fields.
        """
        stored = {"current": self.stage_name(name, "current")}
        with suppress(BadName):
            stored.update({stage: self.stage_name(name, stage) for stage in STAGES})
        return stored

    def set_unless_pending(self, values: Mapping[str, str], *, replace: bool = True) -> None:
        """Set all of these, or raise Conflict as `check_no_conflict` does.

        That is checked where no other writer can come in between, as far as
        the store has a lock or check-and-set.
        """
        self.check_no_conflict(values, replace=replace)
        self.set_all(values)

    def check_no_conflict(self, values: Mapping[str, str], *, replace: bool) -> None:
        """Raise Conflict if a rotation of one of these is unfinished.

        Without `replace`, raise it also if the store has another value for
        one of them; secrets that it doesn't have yet are fine.
        """
        self.check_not_pending(*values)
        if replace:
            return
        # An import without --replace must not overwrite what somebody else has set.
        own = self.own_values(values)
        others = sorted(name for name in own if own[name] != values[name])
        if others:
            problem = f"the store has other values for {', '.join(map(show, others))}; nothing is changed"
            hint = "add --replace, delete those lines, or set PAISSIVE_SECRETS_DIR or PAISSIVE_VAULT_PREFIX"
            raise Conflict(problem, hint=hint)

    def check_not_pending(self, *names: str) -> None:
        """Raise Conflict if a rotation of one of these is unfinished."""
        stages = {}
        for name in names:
            with suppress(BadName):  # not every name has stages
                stages[self.stage_name(name, "pending")] = name
        for stage in self.get_all(stages):
            raise unfinished_error(stages[stage])

    def older_values(self, name: str) -> Iterator[str]:
        """Yield values that were replaced; BadValue if none are kept."""
        raise BadValue("this store keeps no older values")

    def policy_store(self) -> Optional[Store]:
        """Return a store for the policies; None: they go in a plain file."""
        return None

    def location(self) -> str:
        """Return KIND or KIND PLACE, by which policies identify the store."""
        return type(self).__name__

    # How long it lives, and how it opens.

    def persistent_view(self) -> Store:
        """Return the view of the store whose writes outlive the process."""
        return self

    def outlives_process(self) -> bool:
        """Return whether what is set outlives the process."""
        return True

    def check_exists(self) -> None:
        """Raise Unavailable if there is no store yet."""

    def check_known(self) -> None:
        """Raise Unsafe unless the user has confirmed which store this is.

        Ask before a command that a policy of this store names is run.
        """

    def unlock(self) -> None:
        """Open the store to write, with a prompt if necessary, or raise.

        Ask before a user types a value, and before holding a lock.
        """

    def renew(self) -> float:
        """Renew leases and the like; return the seconds until the next time."""
        return float("inf")

    def close(self, *, keep_leases: bool = False) -> None:
        """Close connections and revoke tokens; `keep_leases`: those stay."""

    def credentials(self) -> Iterable[str]:
        """Return passwords, tokens and keys of the store, to mask them."""
        return ()

    def status(self) -> Iterator[tuple[str, StatusValue]]:
        """Yield pairs of a label and a fact about the store; no secrets.

        Some labels are special: "problem" has an error, "conflict" the path
        of a file that git left in conflict, "note" advice, all of which may
        come several times; "known to leavers" has the names of secrets, and
        of their stages, whose values a removed member knew. "opens" is
        False for a store that doesn't open.
        """
        yield "store", repr(self)

    def last_set(self, name: str) -> str:
        """Return when a secret was set: "2026-11-28T13:30:00", UTC, or "".

        Setting the same value again may not count. BadValue if the store
        doesn't keep it.
        """
        raise BadValue("this store doesn't keep when a secret was set", hint="encrypted files and KV 2 do")

    def notes_on_set(self, *names: str) -> Iterable[str]:
        """Return notes for a user who has just set these, each a line."""
        return ()

    # Configuration, which may refer to secrets, and be in plaintext.

    def references_to_follow(self, *names: str) -> dict[str, str]:
        """Return {name: value} of those whose values are references.

        A store that holds no configuration has none to follow.
        """
        return {}

    def holds_secret(self, name: str, value: str) -> bool:
        """Return whether a value is a secret rather than a setting."""
        return True

    def overridden_by(self, name: str) -> str:
        """Return the source that hides the store's own value, or "".

        It is "variable X" or a path.
        """
        return ""

    def plaintext_file(self) -> str:
        """Return the path of the file that holds plaintext, or ""."""
        return ""

    def moved(self) -> dict[str, str]:
        """Return {variable: backend} of secrets that were moved elsewhere."""
        return {}

    def reserved_settings(self) -> list[str]:
        """Return the variables in a .env that no command gets.

        They are settings of this tool or of Vault's command line.
        """
        return []

    def layered_files(self) -> list[str]:
        """Return the files beside a .env that other loaders read, too.

        These are .env.local, .env.production and the like.
        """
        return []

    def plain_settings(self) -> dict[str, str]:
        """Return {name: text} of settings, such as DB_HOST in a .env."""
        return {}

    def get_stored(self, name: str) -> str:
        """Return the store's own value, even if one hides it; or NotFound."""
        return self.get(name)

    def own_values(self, names: Iterable[str]) -> dict[str, str]:
        """Return {name: the store's own value} for those that it has.

        As with `get_stored`, a variable that hides one doesn't count.
        Return {} if there is no store yet.
        """
        try:
            self.check_exists()
        except Unavailable:  # the first set creates it
            return {}
        found = self.get_all(names)
        for name in filter(self.overridden_by, list(found)):
            del found[name]
            with suppress(NotFound):
                found[name] = self.get_stored(name)
        return found

    def sealed_folder(self) -> str:
        """Return the folder with a file for each secret, or ""."""
        return ""


class _UserStore(Store):
    """An object with the four methods, as a Store; its KeyErrors become NotFound."""

    def __init__(self, methods: Any) -> None:
        self._methods = methods

    def __repr__(self) -> str:
        return repr(self._methods)

    def get(self, name: str) -> str:
        """Return the value; raise NotFound for the object's KeyError, BadValue if it doesn't return text."""
        value = self._call(self._methods.get, name)
        if isinstance(value, str):
            return value
        # None, for instance, as a dict's `get` returns for a missing key: it must not pass for a value.
        problem = f"{self.location()}.get returned {type(value).__name__} for {show(name)}, not text"
        raise BadValue(problem, hint="have it raise NotFound or KeyError where there is no such secret")

    def set(self, name: str, value: str) -> None:
        self._methods.set(name, value)

    def delete(self, name: str) -> None:
        self._call(self._methods.delete, name)

    def names(self) -> Iterator[str]:
        return iter(self._methods.names())

    def _call(self, method: Callable[[str], object], name: str) -> object:
        """Return what a method of the object returns for a name; raise NotFound for its KeyError."""
        try:
            return method(name)
        except NotFound:
            raise
        except KeyError:  # as of a dict
            raise not_found_error(name, self.location()) from None

    def location(self) -> str:
        """Return the name of the object's class."""
        return type(self._methods).__name__


def as_store(candidate: object) -> Store | None:
    """Return a Store as it is, an object with the four methods wrapped as one, and None for anything else."""
    if isinstance(candidate, Store):
        return candidate
    # A class has the methods as well, but calling them would fail with an obscure error.
    if isinstance(candidate, type) or not all(hasattr(candidate, name) for name in _STORE_METHODS):
        return None
    return _UserStore(candidate)


class MemoryStore(Store):
    """A dict, for tests and for the life of a process."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._id = os.urandom(8).hex()  # so that policies of other such stores aren't taken for its own

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._values)} secrets>"

    def get(self, name: str) -> str:
        """Return the value, or raise NotFound; BadName for a bad name."""
        try:
            return self._values[check_name(name)]
        except KeyError:
            raise not_found_error(name, "memory") from None

    def set(self, name: str, value: str) -> None:
        """Store the value; BadValue for what other stores can't hold."""
        self._values[check_name(name)] = check_value(value)

    def delete(self, name: str) -> None:
        if self._values.pop(check_name(name), None) is None:
            raise not_found_error(name, "memory")

    def names(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def location(self) -> str:
        """Return "memory" and an id that no other store has."""
        return f"memory {self._id}"

    def outlives_process(self) -> bool:
        return False


def stage_suffix(stage: str) -> str:
    """Return the suffix of a stage's name, "" for current; raise BadValue if there is no such stage."""
    if stage not in STAGES:
        raise BadValue(f"no stage called {show(stage)}", hint=f"use one of {', '.join(STAGES)}")
    return STAGES[stage]


def is_stage(name: str, names: Container[str]) -> bool:
    """Return whether a name is the pending or previous stage of a secret that is in `names`.

    A name with a stage's suffix, but without the secret, is a secret of its own.
    """
    base = base_of_stage(name)
    return base in names or base.partition("#")[0] in names  # Vault lists app/db#x as app/db


def set_each(values: Mapping[str, str], set: Callable[[str, str], None]) -> None:
    """Set these one after the other; raise the first SecretsError, which then says how many are set."""
    for done, (name, value) in enumerate(values.items()):
        try:
            set(name, value)
        except SecretsError as error:
            if len(values) == 1:  # the error says it all
                raise
            problem = f"{done} of {len(values)} secrets are set, not {show(name)}: {error.message}"
            raise error.reworded(problem, error.hint) from None


def count_secrets(names: Iterable[str]) -> int:
    """Return the number of different names, without those that are a stage of another one."""
    found = set(names)
    return sum(not is_stage(name, found) for name in found)


def not_found_error(name: str, where: str = "", hint: str = "see: list") -> NotFound:
    """Return the error for an absent secret; `where` names the store, if the message is to name one."""
    place = f" in {where}" if where else ""
    return NotFound(f"no secret named {show(name)}{place}", hint=hint)


def unfinished_error(name: str) -> Conflict:
    """Return the error for an operation that is impossible while a rotation has a pending value."""
    word = shell_word(name)
    hint = f"use: rotate resume {word}, or: rotate abort {word} (--force if a step of its policy fails)"
    return Conflict(f"a rotation of {show(name)} was left unfinished", hint=hint)


def is_same(value: str, other: str | None) -> bool:
    """Return whether a value equals another one, in constant time; False if there is no other (None)."""
    import hmac

    # Or else whoever can set a stage could find out the other value, character by character.
    return other is not None and hmac.compare_digest(value.encode(), other.encode())


# === Policies ===
# A policy says when a secret is due for rotation, and which commands replace it. Sealed files hold policies
# sealed as well; those for other stores are in one file, each for one store.

_POLICY_VERSION = 2  # of the file, and of a sealed policy, whose first line says so


class Policies:
    """The policies of one store by the secret's name, and the locks on rotations."""

    def __init__(self, store: Store, path: StrPath | None = None) -> None:
        """Choose the file: `path`, else PAISSIVE_ROTATION_FILE, else the store's own, else rotation.json.

        Nothing is read yet. Raise Unavailable if the working directory was removed.
        """
        path = path or os.path.expanduser(os.environ.get("PAISSIVE_ROTATION_FILE", ""))
        self.store = store
        self._sealed = None if path else store.policy_store()  # or None: the policies are in a file
        if self._sealed is not None:
            path = self._sealed.sealed_folder()
        # Of the file, or of the folder of sealed policies.
        self.path = absolute_path(path or "rotation.json")
        # The content of the file, {location of a store: {name: policy}}, or None before it is read. It is
        # read again under the lock, since another process may have written it.
        self._read: dict[str, dict[str, dict[str, Any]]] | None = None
        self._own_location = ""  # of the store, once it is known: asking Vault for it takes a request

    def names(self) -> list[str]:
        """Return the names that have a policy, sorted."""
        if self._sealed is None:
            return sorted(self._own_policies())
        return sorted(self._sealed.names())

    def get(self, name: str) -> dict[str, Any]:
        """Return a policy, or {} if there is none.

        Raise BadValue for one of another version or that isn't a JSON object, and for such a file.
        """
        if self._sealed is None:
            return self._own_policies().get(self.spelling_of(name), {})
        try:
            first_line, _, text = self._sealed.get(name).partition("\n")
        except NotFound:
            return {}
        where = f"the policy of {show(name)}"
        # The version stands before the JSON, so that a later one may be written in another way.
        found = re.fullmatch("version ([0-9]{1,9})", first_line)
        version = int(found[1]) if found else None
        _check_version(version, where, f"rotate unschedule {shell_word(name)}, then schedule it again")
        return parse_json(text, where)

    def change(self, name: str, changes: Mapping[str, Any]) -> None:
        """Merge `changes` into a policy; a key whose new value is None is removed.

        Without a policy, do nothing, unless "every" is among the changes. A policy that has no keys any more
        is deleted.
        """
        if self._sealed is not None:
            self.store.unlock()  # don't prompt while holding the lock
        with self._lock():
            before = self.get(name)
            # A rotation that ends must not bring back a policy that was deleted meanwhile.
            if before or "every" in changes:
                merged = {**before, **changes}
                self._write(name, {key: value for key, value in merged.items() if value is not None})

    def delete(self, name: str) -> bool:
        """Delete a policy, and return whether there was one; no key to the store is needed."""
        if name not in self.names():
            return False
        with self._lock():
            self._write(name, {})
        return True

    def check_settled(self, name: str) -> None:
        """Raise Conflict if a rotation is unfinished, or if the previous value has yet to be revoked.

        That is so if the policy has a command that revokes, and the previous value isn't the current one.
        A key to the store is needed only if there is a pending or a previous value. If the policy can't be
        read, raise what `get` raises: it may have such a command.
        """
        self.store.check_not_pending(name)
        with suppress(NotFound, BadName):  # not every name has stages
            previous = self.store.get(self.store.stage_name(name, "previous"))
            current = self.store.get_all([name]).get(name)
            # A value that is current again must not be revoked.
            if "revoke" in self.get(name) and not is_same(previous, current):
                hint = f"use: rotate drop {shell_word(name)}, or with --force if it can't be revoked"
                raise Conflict(f"the previous value of {show(name)} has yet to be revoked", hint=hint)

    def spelling_of(self, name: str) -> str:
        """Return the name under which a policy of this secret is stored; `name` if there is none.

        In a .env, for instance, db/password and DB_PASSWORD are one secret, which has one policy.
        """
        includes = self.store.includes
        if self._sealed is None and name not in (names := self._own_policies()):
            return next((each for each in names if includes(each, name) and includes(name, each)), name)
        return name

    def rotation_lock(self, name: str) -> FileLock:
        """Return the lock, not yet locked, that a rotation of `name` and its commands hold.

        Entering it raises Conflict while another rotation of that secret runs.
        """
        import hashlib

        name = self.spelling_of(name)
        self._read = None  # another process may change the policies until the lock is held
        # A name may contain '/', and be as long as a file name can be.
        path = os.path.join(self._folder(), f".rotation-{hashlib.sha256(name.encode()).hexdigest()}")
        return FileLock(path, wait=False, what=f"a rotation of {show(name)}")

    @contextmanager
    def hold_rotations(self, names: Iterable[str]) -> Iterator[None]:
        """Let no rotation of these begin meanwhile; raise Conflict if one is under way.

        Where this user can't make a lock, go on without one.
        """
        names = {self.spelling_of(name) for name in names}  # one lock for each secret
        if not os.path.isdir(os.path.dirname(os.path.realpath(self.path))):
            names = set()  # a lock would make the folder; while it is missing, nothing is rotated
        with ExitStack() as locks:
            for name in names:
                with suppress(Denied, Unavailable):
                    locks.enter_context(self.rotation_lock(name))
            yield

    def command_folder(self) -> str:
        """Return the folder where commands of policies run: the project's.

        That is the folder which has .paissive or the .env, else, for stores elsewhere, the policies' file.
        """
        store = self.store.sealed_folder()
        if store:
            return os.path.dirname(os.path.dirname(absolute_path(store)))
        return os.path.dirname(absolute_path(self.store.plaintext_file() or self.path))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock on the policies, for a read and a write; drop what was read before it was taken."""
        folder = self._folder()
        path = self.path
        # Sealed policies have another lock than their store, which takes its own for each write.
        if self._sealed is not None:
            path = os.path.join(folder, ".rotation")
        with FileLock(path):
            self._read = None
            yield

    def _folder(self) -> str:
        """Return the folder for the locks; make it if it is missing."""
        folder = os.path.dirname(os.path.realpath(self.path))
        with disk_errors(f"make {folder}"):
            os.makedirs(folder, 0o700, exist_ok=True)
        return folder

    @property
    def _location(self) -> str:
        """The store's key in the file: its location, without the folder of the file if the store is in that.

        So a folder with both can be moved.
        """
        folder = os.path.join(os.path.dirname(os.path.realpath(self.path)), "")
        if not self._own_location:
            self._own_location = self.store.location().replace(f" {folder}", " ", 1)
        return self._own_location

    def _write(self, name: str, policy: dict[str, Any]) -> None:
        """Store a policy, or delete it if it is empty, also if there is none; the caller holds the lock."""
        if self._sealed is not None:
            with suppress(NotFound):
                if policy:
                    self._sealed.set(name, f"version {_POLICY_VERSION}\n{dump_json(policy, name)}")
                else:
                    self._sealed.delete(name)
            return
        stores = self._load()
        policies = stores[self._location] = self._own_policies()
        key = self.spelling_of(name)
        policies.pop(key, None)
        if policy:
            policies[key] = policy
        self._read = None  # until the write has succeeded, the file differs from it
        with disk_errors(f"write {self.path}"):
            text = dump_json({"version": _POLICY_VERSION, "stores": stores}, self.path)
            rewrite(self.path, text.encode() + b"\n")

    def _own_policies(self) -> dict[str, dict[str, Any]]:
        """Return this store's policies in the file, by name; {} if it has none there."""
        stores = self._load()
        if not stores:  # don't ask for the store's location
            return {}
        return stores.get(self._location, {})

    def _load(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the file's content, {location of a store: {name: policy}}; {} without a file.

        It is read once, then remembered until the next write. Raise BadValue for a bad file, Unsafe if others
        can write it, since it has commands.
        """
        if self._read is not None:
            return self._read
        path = self.path
        if not os.path.lexists(path):
            self._read = {}
            return self._read
        with disk_errors(f"read {path}"), open_regular(path) as file:
            if not is_trusted(os.fstat(file.fileno())):
                word = shell_word(path)
                hint = f"look at its commands, then: chown $USER {word}; chmod go-w {word}"
                raise Unsafe(f"{path} holds commands, and others can write it", hint=hint)
            found = parse_json(decode_value(read_bounded(file, path), path), path)
        hint = "remove it, or name another file in PAISSIVE_ROTATION_FILE; then: rotate schedule"
        _check_version(found.get("version"), path, hint)
        try:
            self._read = {
                place: {check_name(name): {**policy} for name, policy in policies.items()}
                for place, policies in found["stores"].items()
            }
        except BadName as error:
            raise BadValue(f"{path}: {error.message}", hint=hint) from None
        except (AttributeError, KeyError, TypeError):
            raise BadValue(f"{path} has no policies", hint=hint) from None
        return self._read


def _check_version(version: Any, where: str, hint: str) -> None:
    """Raise BadValue for policies of another version than this copy's; `hint` is for older or bad ones."""
    if type(version) is int and version > _POLICY_VERSION:
        raise BadValue(f"{where} was written by a newer version", hint="use a copy of that one")
    if version != _POLICY_VERSION:
        raise BadValue(f"{where} isn't of version {_POLICY_VERSION}", hint=hint)


# === Dotenv ===
# A .env file is read as python-dotenv and bash do; where they differ, as most readers do: ${NAME} and
# ${NAME:-default} are expanded outside single quotes, $NAME is text. A rewrite changes one assignment. It
# refuses a value unless bash, python-dotenv and Docker Compose would read it alike. A comment such as
# `# DB_PASSWORD: in the file store` says that an import moved the secret there. An empty assignment of that
# name only declares it, for loaders such as viper that take no other names from the environment.

# The grammar of python-dotenv's parser. [^\S\r\n] is white space within a line.
_LINE_END = r"\r\n|\r|\n"
_ASSIGNED = r"([^\S\r\n]*(?:export[^\S\r\n]+)?)([^=#\s']+)[^\S\r\n]*=([^\S\r\n]*)"
_MOVED = r"[^\S\r\n]*#[^\S\r\n]*(\S+): in the (file|vault) store[^\S\r\n]*(?:#.*)?"
_TAIL = rf"[^\S\r\n]*(?:#[^\r\n]*)?(?:{_LINE_END}|\Z)"
_VARIABLE = r"\$\{(?P<name>[^}:]{0,255})(?::-(?P<default>[^}]*))?\}"
_UNCLOSED = "has a quote that is never closed"
_UNESCAPED = r"(?<!\\)(?:\\\\)*"  # what follows isn't behind a backslash that counts
BY_HAND = "store it by hand"
COMPOSED = "composed of others"
# "node" is dotenv, with and without dotenv-expand, Next.js and Node.js itself.
DOTENV_READERS = ["bash", "python-dotenv", "node", "phpdotenv", "godotenv", "ruby", "compose"]
_PORTABLE = ["bash", "python-dotenv", "compose"]  # a rewrite suits these
# Ways to write a value, in order of preference: quotes, and what gets a backslash in them.
_DOTENV_STYLES = (("'", ""), ('"', r'[\\"]'), ('"', r'[\\"$]'), ("`", ""))


# Values that some readers misread: the quotes that a value is in, "" for none; an expression that it matches
# as it is written in the file; the readers. To add a row, try it with the readers, as the tests do. Each
# expression takes linear time, whatever a stranger's value is: none searches to the end of the value from
# many places.
_QUIRKS = (
    ("", "#", "node phpdotenv ruby"),
    ("", r"\\.", "ruby"),
    ("", r"\\[\\\"'$]", "godotenv"),
    ("", r"\$[\w{($]", "python-dotenv"),  # most others expand it
    ("", r"\A`", "node"),
    ("'", r"\\['\\]|\\\Z|\$\{", "python-dotenv"),
    ("'", r"\\\Z", "godotenv compose"),
    ("'", r"\\\$|\$[\w{($]", "node"),
    ("'", '="', "phpdotenv"),
    ("'", r"\n", "phpdotenv ruby"),
    ("'", "'", "bash python-dotenv node phpdotenv godotenv ruby compose"),
    ('"', r"\\[^n]", "node"),
    ('"', r"\\\$", "python-dotenv"),
    ('"', r"\\\\\Z", "python-dotenv"),  # before 1.2.2
    ('"', r"\\[\\\"]\Z", "godotenv"),
    ('"', r"\n[^\n]*\\\Z", "phpdotenv"),
    ('"', r"\n|\\\\[nr]|\\\$\(", "ruby"),
    ('"', "`", "bash"),
    ('"', r"(?<!\\)(?:\\\\)+\$", "godotenv ruby"),
    ('"', rf"{_UNESCAPED}\$", "bash"),
    ('"', rf"{_UNESCAPED}\$\{{", "python-dotenv phpdotenv"),
    ('"', rf"{_UNESCAPED}\$[\w{{($]", "node godotenv ruby compose"),
    ("`", r"`|\\\$|\$[\w{($]", "node"),
    ("`", "", "bash python-dotenv phpdotenv godotenv ruby compose"),
)
_ESCAPES = {**{c: c for c in "\\'\"$`"}, **dict(zip("abfnrtv", "\a\b\f\n\r\t\v"))}


class Dotenv:
    """The text of a .env file: its assignments, and the text with other values."""

    def __init__(self, text: str, where: str = ".env") -> None:
        """Read the whole text; what can't be read is an error later. `where` names the file in messages."""
        self.where = where
        self._bom = "\ufeff" if text.startswith("\ufeff") else ""
        self._pieces: list[_Piece] = []  # whose texts make up the file
        at = len(self._bom)
        line = 1
        while at < len(text):
            piece = _Piece(text, at, line)
            self._pieces.append(piece)
            at += len(piece.text)
            line += len(re.findall(_LINE_END, piece.text))
        # By name: the store that has it, as a comment says, unless a line here assigns a value. An empty line
        # of such a name only declares it; elsewhere, it is the last assignment for every reader.
        with_values: set[str] = set()
        for piece in self._pieces:
            if piece.raw or piece.problem:
                with_values.update(piece.names)
        self._moved = {
            piece.moved_name: piece.backend
            for piece in self._pieces
            if piece.moved_name and piece.moved_name not in with_values
        }
        # By name: the place of the last assignment, which wins; in the order of places.
        last = {name: n for n, piece in enumerate(self._pieces) for name in piece.names}
        assigned = {name: place for name, place in last.items() if name not in self._moved}
        self.assigned = dict(sorted(assigned.items(), key=itemgetter(1)))
        # An environment and its `values`, as `get` last asked for them: each call takes all lines.
        self._latest: tuple[dict[str, str], dict[str, str]] | None = None

    def get(self, name: str, environ: Mapping[str, str]) -> str | None:
        """Return the value of a name, as `values` does, or None if no line assigns one.

        Raise BadValue if it can't be read, or if it has a ${NAME} and `values` raises an error, which may be
        about another line.
        """
        place = self.assigned.get(name)
        if place is None:
            return None
        piece = self._pieces[place]
        if piece.problem:
            raise self._error(piece)
        if not piece.referenced_variables():
            return piece.value(str)  # nothing is looked up
        environment = environment_now(environ)
        latest = self._latest
        if latest is None or latest[0] != environment:
            latest = self._latest = environment, self.values(environment)
        return latest[1][name]

    def values(
        self,
        environ: Mapping[str, str],
        *,
        override: bool = False,
        variables_first: Container[str] = (),
    ) -> dict[str, str]:
        """Return the values by name, without those that can't be read.

        ${NAME} is the variable of `environ`, else the value of a line above, as for python-dotenv. With
        `override`, the line comes before the variable. For a key to a store, only a line counts. A text for
        ${NAME} that is a reference is put in as ${secret:…}, so that it is still followed. For ${NAME} of a
        moved secret, the text is secret:NAME or, if `variables_first` has the name, secret://env/NAME. Raise
        BadValue if these texts get too long together, or if a reference can't be followed where it stands.
        """
        found: dict[str, str] = {}
        sources = [found, environ] if override else [environ, found]
        room = MAX_FILE_BYTES

        def look_up(name: str) -> str:
            """Return the text for ${NAME}, or ""; BadValue if all these texts together get too long."""
            nonlocal room
            # A stranger's file must not expose a key to our stores under another name.
            is_credential = is_store_credential(name)
            known = [found] if is_credential else sources
            texts = (source.get(name) for source in known)
            text = next((text for text in texts if text is not None), "")
            if name in self._moved and not is_credential:
                text = REFERENCE_PREFIX + ("//env/" if name in variables_first else "") + name
            room -= len(text)
            if room < 0:  # a few lines such as A=${A}${A} would exhaust memory
                problem = f"the values up to {show(piece.name)} exceed {MAX_FILE_BYTES >> 20} MiB"
                raise BadValue(problem, hint="look at its ${...}")
            return text

        for piece in self._pieces:
            # An earlier assignment doesn't count: its value is outdated.
            if piece.problem:
                for name in piece.names:
                    found.pop(name, None)
            elif piece.name in self.assigned:
                value = piece.value(look_up)
                if "${" in piece.raw and _has_dead_reference(value) and piece.referenced_variables():
                    problem = (
                        f"{show(piece.name)} in {self.where} has a reference behind a $, or with a brace"
                    )
                    raise BadValue(problem, hint="write secret:NAME in another way there")
                found[piece.name] = value
        return found

    def problems(self) -> Iterator[BadValue]:
        """Yield an error for each value that can't be read, and each line without NAME=value or a comment."""
        for piece in self._pieces:
            if piece.problem or piece.is_odd():
                yield self._error(piece)

    def odd_lines(self) -> Iterator[BadValue]:
        """Yield an error for each line that is neither a comment nor an assignment.

        Left out is what some readers take for a part of a value above: the rest of a key, for instance.
        """
        for piece in self._pieces:
            if piece.is_odd():
                yield self._error(piece)
            if piece.problem == _UNCLOSED:
                return

    def has_references(self) -> bool:
        """Return whether a value is or has a reference as it is written; a ${NAME} that becomes one isn't."""
        return any(looks_like_reference(piece.raw) for piece in self._pieces)

    def moved(self) -> dict[str, str]:
        """Return {name: backend} of the secrets that comments say are in other stores.

        Names are as written. A name that is assigned a value here, too, doesn't count as moved.
        """
        return self._moved

    def referenced_variables(self, name: str) -> set[str]:
        """Return the names in each ${NAME} of the last value of an assigned name; none in single quotes."""
        return self._pieces[self.assigned[name]].referenced_variables()

    def split(
        self, environ: Mapping[str, str], *, override: bool = False
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return `values`, split into secrets and settings.

        A value that takes in a secret with ${NAME} is a secret. A value that can't be read counts as one, and
        is "".
        """
        values = self.values(environ, override=override)
        secrets: dict[str, str] = {}
        settings: dict[str, str] = {}
        for name in self.assigned:
            variable = variable_name(name)
            # ${NAME} takes in lines above, which are sorted by now.
            used = self.referenced_variables(name)
            takes_in_secret = any(other in secrets for other in used)
            if name not in values:
                secrets[name] = ""
            elif is_secret(variable, values[name]) or (takes_in_secret and not is_store_setting(variable)):
                secrets[name] = values[name]
            else:
                settings[name] = values[name]
        return secrets, settings

    def with_values(self, values: Mapping[str, str]) -> str:
        """Return the text with these values, each in its name's last assignment or at the end.

        Raise BadValue if a reader might take a changed line for a part of one above it, or if no quotes can
        hold a value so that bash, python-dotenv and Compose agree.
        """
        texts = [piece.text for piece in self._pieces]
        end = len(texts)  # the place of a name that isn't assigned yet
        places = {name: self.assigned.get(name, end) for name in values}
        self._check_until(places.values())
        for name, value in values.items():
            place = places[name]
            if place < end:
                texts[place] = self._pieces[place].with_value(value)
            else:
                line_end = "" if not texts or texts[-1].endswith("\n") else "\n"
                texts.append(f"{line_end}{_dotenv_assignment(name, value)}\n")
        return self._bom + "".join(texts)

    def without(self, *names: str) -> str:
        """Return the text without any assignment of these names; a name that has none changes nothing.

        Raise BadValue if a reader might take a removed line for a part of one above it.
        """
        self._check_until(self.assigned[name] for name in names if name in self.assigned)
        return self._bom + "".join(piece.text for piece in self._pieces if piece.name not in names)

    def _check_until(self, places: Iterable[int]) -> None:
        """Raise BadValue if, for some reader, a value might go on in the next piece, up to the last place."""
        for piece in self._pieces[: max(places, default=-1) + 1]:
            if piece.problem or piece.goes_on():
                raise self._error(piece)

    def reason_to_stay(self, name: str, *, for_others: bool) -> str:
        """Return why moving an assigned name to another store might change a value; "" if it can't.

        With `for_others`, that counts also if other readers of .env files take its value for another one.
        """
        last = self._pieces[self.assigned[name]]
        if last.referenced_variables():
            return COMPOSED
        if name in self._dependent_on_others:
            return self._dependent_on_others[name]
        if not for_others:
            return ""
        if name != variable_name(name):
            return "not a name of variables"
        return last.disagreement()

    def with_comments(self, names: Container[str], backend: str) -> str:
        """Return the text with a comment that names `backend` in place of the first line of each name.

        A line is an assignment or a comment about an earlier import. Other lines of these names are dropped.
        """
        texts = []
        commented = set()
        for piece in self._pieces:
            name = piece.moved_name or piece.name
            text = piece.text
            if name in commented:
                continue
            if name in names:
                commented.add(name)
                if piece.backend != backend:  # not such a comment yet
                    text = piece.as_comment(backend)
            texts.append(text)
        return self._bom + "".join(texts)

    @cached_property
    def _dependent_on_others(self) -> dict[str, str]:
        """{name: reason} for each name whose value depends on other lines than its own, for some reader."""
        found = {}
        seen: set[str] = set()
        used: set[str] = set()
        unclosed = ""  # why all below stays: for some readers, it belongs to a quote that is never closed
        for piece in self._pieces:
            problem = unclosed
            if piece.problem and not unclosed:
                problem = f"line {piece.number} {piece.problem}: quote its value again"
            if piece.problem == _UNCLOSED:
                unclosed = problem
            for name in piece.names:
                if name in used:  # above its line, it is empty for some readers
                    found[name] = "taken in above its line: put it first"
                if name in seen:  # values in between may take in the first
                    found[name] = "assigned twice: keep one line"
                if problem:
                    found[name] = problem
                seen.add(name)
            used |= piece.referenced_variables()
        return found

    def _error(self, piece: _Piece) -> BadValue:
        """Return the error for a piece with a problem, one that goes on for bash, or else an odd one."""
        where = f"line {piece.number} of {self.where}"
        if piece.goes_on():
            return BadValue(f"{where} goes on in the next line for bash", hint="quote its value again")
        if piece.problem:
            return BadValue(f"{where} {piece.problem}", hint="quote its value again")
        return BadValue(f"{where} is not NAME=value", hint="fix it, or put # before it")


class _Piece:
    """A stretch of a .env file: one assignment, empty lines, or one line of anything else.

    If a value goes on in other lines, they belong to it, also if text behind its closing quote spoils it.
    """

    def __init__(self, text: str, at: int, number: int) -> None:
        """Read the piece that begins at a place in the text of a file, in the line with this number."""
        self.number = number
        self.text = line = _first_line(text, at)
        # The parts of an assignment: the head, which has blanks and `export`; the name, "" if nothing is
        # assigned; the quote and the text between quotes; the tail: blanks, a comment and the line end.
        self.head = self.name = self.quote = self.raw = self.tail = ""
        self.names: list[str] = []  # what it assigns: the name or, where that is a question, several
        self.problem = ""  # why an assignment has no value
        self.moved_name = self.backend = ""  # what a comment says was moved, and where it is
        assignment = re.match(_ASSIGNED, line)
        if assignment:
            self.head, self.name, blanks = assignment.groups()
            self.names = [self.name]
            rest = line[assignment.end() :]
            if rest[:1] in ("'", '"'):
                self._read_quoted(text, at, at + assignment.end())
            else:
                # The lookbehind makes a long run of spaces one attempt instead of one for each space.
                comment = re.search(r"^#|(?<!\s)\s+#" if blanks else r"(?<!\s)\s+#", rest)
                self.raw = (rest[: comment.start()] if comment else rest).rstrip()
                self.tail = rest[len(self.raw) :]
        elif " in the " in line and (comment := re.fullmatch(_MOVED, line.rstrip())):
            self.moved_name, self.backend = comment.groups()

    def _read_quoted(self, text: str, at: int, start: int) -> None:
        """Set the value of the piece at `at`, up to the end of the line with its closing quote.

        The opening quote is at `start`. An unclosed quote leaves the piece one line, without a value. Text
        after the closing quote leaves it without a value, too: it ends with the line of that text, as for
        python-dotenv, and `names` has every name that its lines assign, as for other readers.
        """
        quote = text[start]
        # Step by step: one expression for the whole value would keep each step in memory.
        steps = re.compile(rf"\\.|{quote}").finditer(text, start + 1)
        end = next((step.start() for step in steps if step[0] == quote), -1)
        if end < 0:
            self.problem = _UNCLOSED
        elif not (tail := re.compile(_TAIL).match(text, end + 1)):
            self.problem = "has text after a closing quote"
            self.text = text[at:end] + _first_line(text, end)
            assignments = re.finditer(rf"(?m)^{_ASSIGNED}", re.sub(_LINE_END, "\n", self.text))
            self.names = [assignment[2] for assignment in assignments]
        else:
            self.text = text[at : tail.end()]
            self.quote = quote
            self.raw = text[start + 1 : end]
            self.tail = tail[0]

    def is_odd(self) -> bool:
        """Return whether this has neither an assignment nor a comment, and isn't empty."""
        return not self.names and not re.match(r"\s*(#|\Z)", self.text)

    def goes_on(self) -> bool:
        """Return whether bash takes the next line for a part of this value, because of a backslash."""
        ends_line = self.tail[:1] in ("", "\r", "\n")  # or else a backslash at the end escapes a blank
        return not self.quote and ends_line and bool(re.search(r"(?<!\\)(?:\\\\)*\\\Z", self.raw))

    def referenced_variables(self) -> set[str]:
        """Return the names in each ${NAME} of the value; none in single quotes."""
        if self.quote == "'" or "${" not in self.raw:
            return set()
        closed = self.raw[: _end_of_variables(self.raw)]
        return {match["name"] for match in re.finditer(_VARIABLE, closed)}

    def disagreement(self) -> str:
        """Return which readers take the value for another one, and what to do; "" if none does.

        bash doesn't count, for which few files are made, nor do line breaks: a file that has some is for
        readers that can read them.
        """
        if self.tail.startswith("#"):
            return "some readers take # right behind it for a part of it: put a space before"
        raw = self.raw.replace("\n", " ")
        others = [reader for reader in DOTENV_READERS if reader != "bash"]
        misreaders = _misreaders(raw, self.quote, others)
        if not misreaders:
            return ""
        helps = not self.quote and not quote_dotenv(raw, others)[1]
        return f"read differently by {', '.join(misreaders)}: {'quote it' if helps else BY_HAND}"

    def as_comment(self, backend: str) -> str:
        """Return the comment that takes the place of this assignment, or of a comment about another store.

        A comment that stood behind the assignment is appended.
        """
        note = self.tail.strip()
        line_end = self.text[len(self.text.rstrip("\r\n")) :]
        name = self.name or self.moved_name
        return f"# {name}: in the {backend} store {note}".rstrip() + line_end

    def with_value(self, value: str) -> str:
        """Return the text of the assignment with another value, in the same quotes where they can hold it.

        A comment behind it stays, with its line end; without one, the line ends with "\\n", whatever its end
        was. Raise BadValue if no quotes can hold the value.
        """
        assignment = self.head + _dotenv_assignment(self.name, value, self.quote)
        blanks, mark, comment = self.tail.partition("#")
        if not mark:
            return assignment + "\n"  # bash would take \r for a part of the value
        return assignment + (blanks or " ") + mark + comment

    def value(self, look_up: Callable[[str], str]) -> str:
        """Return the value as python-dotenv reads it, with the texts for ${NAME} from `look_up`.

        For "", it takes the default of ${NAME:-default}. A text that is a reference is put in as ${secret:…}.
        """
        if not self.quote and "${" not in self.raw:
            return self.raw
        raw = re.sub(_LINE_END, "\n", self.raw)
        if self.quote == "'":  # python-dotenv's only escape there
            return raw.replace("\\'", "'")

        def fill_in(match: re.Match[str]) -> str:
            """Return the text for an escape, ${NAME} or ${NAME:-default}."""
            if match[0][0] == "\\":
                return _ESCAPES.get(match[0][1], match[0])
            text = look_up(match["name"]) or match["default"] or ""
            return f"${{{text}}}" if text.startswith(REFERENCE_PREFIX) else text

        escape = r"\\." if self.quote else "(?!)"  # which matches nothing
        end = _end_of_variables(raw)
        return re.sub(f"{escape}|{_VARIABLE}", fill_in, raw[:end]) + re.sub(escape, fill_in, raw[end:])


def environment_now(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a copy of the environment.

    Another thread may delete a variable meanwhile, where environ.items() would fail.
    """
    return {name: text for name in environ if (text := environ.get(name)) is not None}


def _first_line(text: str, at: int) -> str:
    """Return the line from a place on, with its end; of empty lines in a row, all."""
    return next(re.compile(rf"\n+|[^\r\n]*(?:{_LINE_END})?").finditer(text, at))[0]


def _end_of_variables(text: str) -> int:
    """Return where the last } ends, 0 if there is none: no ${ behind that place is closed.

    Searches for variables stop there: one from each unclosed ${ to the end would take quadratic time.
    """
    return text.rfind("}") + 1


def _has_dead_reference(text: str) -> bool:
    """Return whether a text has a ${secret: that isn't followed: behind a $, with a brace, or without }."""
    begins = text.count("${" + REFERENCE_PREFIX)
    if not begins:  # nearly always
        return False
    return begins > len(re.findall(r"(?<!\$)" + EMBEDDED_REFERENCE.removeprefix(r"\$?"), text))


def _dotenv_assignment(name: str, value: str, quote: str = "") -> str:
    """Return NAME=value, in `quote` if that can hold the value, else in others; BadValue if none can."""
    written, misreaders = quote_dotenv(value, _PORTABLE, quote)
    if misreaders:
        hint = "use --backend file, or export with --format json"
        raise BadValue(f"a .env file can't hold {show(name)} so that every reader agrees", hint=hint)
    return f"{name}={written}"


def quote_dotenv(value: str, readers: Collection[str], quote: str = "") -> tuple[str, list[str]]:
    """Return a value, written so that as few of these readers as possible misread it, and those that do.

    Of several such ways, it is the one in `quote`, else the first of _DOTENV_STYLES. A plain word stays
    without quotes, unless `quote` says otherwise.
    """
    if not quote and re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]+", value):
        return value, []
    found = []
    for mark, escaped in _DOTENV_STYLES:
        raw = re.sub(escaped, r"\\\g<0>", value) if escaped else value
        misreaders = _misreaders(raw, mark, readers)
        found.append((misreaders, mark != quote, mark + raw + mark))
    misreaders, _, written = min(found, key=lambda each: (len(each[0]), each[1]))
    return written, misreaders


def _misreaders(raw: str, quote: str, readers: Collection[str]) -> list[str]:
    """Return those of these readers that misread a text as it stands in `quote`; "" for no quotes."""
    found = set(readers if "\r" in raw else ())  # some reader or other changes every kind of line end but \n
    for mark, sign, misreaders in _QUIRKS:
        if mark == quote and re.search(sign, raw):
            found.update(misreaders.split())
    return [reader for reader in readers if reader in found]


# === Environment ===
# Variables, the files that Docker, Kubernetes and systemd mount, and .env. `set` and `delete` write that file
# only in the persistent view, or if it was named explicitly; otherwise they affect this process alone.


# Of dotenv-rails, Next.js, Vite, Symfony and Laravel, each with its own order.
_LAYER = r"\.env(?:\.(?:local|dev(?:elopment)?|prod(?:uction)?|test(?:ing)?|stag(?:e|ing)|preview|ci)){1,2}"


class EnvironmentStore(Store):
    """Variables, NAME_FILE, systemd's credentials, then the dotenv file.

    The dotenv file is `dotenv`, else the one that PAISSIVE_ENV_FILE names
    ("" for none), else .env in the directory where the store was made,
    unless another user could have written it. Unless a file is named, `set`
    and `delete` affect only this process. `db/password` is the variable
    DB_PASSWORD.
    """

    def __init__(self, dotenv: Optional[StrPath] = None) -> None:
        """Choose the file, "" for none; nothing is read yet."""
        self._dotenv = None if dotenv is None else os.fspath(dotenv)
        # Of the default .env, also after the program has changed to another folder.
        self._folder = working_directory()
        self._persists = False  # whether this is the view that writes the file
        # Variables that `set` and `delete` changed in this process; the persistent view, a copy, shares both.
        self._set_here: set[str] = set()  # listed even if they don't look secret
        self._deleted_here: set[str] = set()  # hidden, although the file or a mounted file may have them
        self._replaced: set[str] = set()  # names of the last `set` for which another spelling had a value
        self._files = FileCache()

    def __repr__(self) -> str:
        return f"<EnvironmentStore with {self.plaintext_file() or 'no dotenv file'}>"

    def get(self, name: str) -> str:
        """Return the variable, else a mounted file's text, else .env's.

        NotFound if there is none; Moved as in `get_stored`; BadValue or
        Denied if the file can't be used. References aren't followed.
        """
        variable = checked_variable(name)
        try:
            return os.environ[variable]  # faster than get()
        except KeyError:
            path = credential_path(name)
        if not path or variable in self._deleted_here:
            return self.get_stored(name)
        with disk_errors(f"read {path}, where {show(name)} is stored"):
            return check_value(read_credential(path), f"the value of {show(name)} in {path}")

    def get_stored(self, name: str) -> str:
        """Return the value in the dotenv file, or raise NotFound or Moved.

        In a value that has ${NAME} of a moved secret, a reference stands
        for that. Raise NotFound, too, for a setting of this tool, and after
        `delete` in this process.
        """
        variable = checked_variable(name)
        if variable not in self._deleted_here and not is_store_setting(variable):
            dotenv = self._load()
            value = dotenv.get(_key_in(dotenv, name), os.environ)
            if value is not None:
                return check_value(value, f"the value of {show(name)} in {dotenv.where}")
            self._check_not_moved(name, self.moved())
        raise not_found_error(name, self._described(), self._hint_if_missing())

    def set(self, name: str, value: str) -> None:
        self.set_all({name: value})

    def set_all(self, values: Mapping[str, str]) -> None:
        """Set all of these; after an error, none.

        If the error says that the file is written, but may not be on the
        disk yet, the file has them, and variables have the old values.
        """
        self._set_all(values, lambda: None)

    def set_unless_pending(self, values: Mapping[str, str], *, replace: bool = True) -> None:
        """Set all of these, or none: Conflict as in `check_no_conflict`."""
        self._set_all(values, lambda: self.check_no_conflict(values, replace=replace))

    def check_not_pending(self, *names: str) -> None:
        """Raise Conflict if the file that `set` writes has a pending value."""
        if not self._writes_file():  # no rotation is for a process alone
            return
        assigned = self._load().assigned
        for name in names:
            if variable_name(name + STAGES["pending"]) in assigned:
                raise unfinished_error(name)

    def _set_all(self, values: Mapping[str, str], check: Callable[[], None]) -> None:
        """Set values in the file and in variables that would hide them or, without a file, only in variables.

        `check`, which may raise, is called first, under the file's lock if there is a file. After an error,
        nothing is changed, except that a file which could not be synced has the new values.
        """
        changes = {checked_variable(name): check_value(value) for name, value in values.items()}
        if len(changes) < len(values):
            raise BadName("two of the names map to one variable", hint="import them into another store")
        for variable, value in changes.items():
            self._check_settable(variable, value)

        def change(dotenv: Dotenv) -> str:
            """Return the text with the values; record the names that replace another spelling of theirs."""
            check()
            keys = {name: _key_in(dotenv, name) for name in values}
            self._replaced = {name for name, key in keys.items() if key in dotenv.assigned and key != name}
            return dotenv.with_values({keys[name]: value for name, value in values.items()})

        here = changes
        if self._writes_file():
            self._rewrite(change)
            # Variables would hide the new values from this process.
            here = {variable: changes[variable] for variable in changes.keys() & set(os.environ)}
            for name in values:
                mounted = credential_path(name)
                # A command warns by itself; a variable gets the new value.
                if mounted and not self._persists and checked_variable(name) not in os.environ:
                    warn_once(
                        f"{mounted} comes before {self.plaintext_file()}, so {show(name)} has its value"
                    )
        else:
            check()
        os.environ.update(here)
        self._set_here.update(here)
        self._deleted_here.difference_update(changes)

    def _check_settable(self, variable: str, value: str) -> None:
        """Raise BadValue if a variable can't have this value.

        If `set` writes the file, raise BadName or Moved if that can't have this name.
        """
        what = f"the value of {show(variable)}"
        # A password that looks like a reference would be followed when it is read.
        reject_reference(value, what, "use another store, such as --backend file")
        # Setting the variable would raise an error that holds the value.
        if not is_encodable(value, sys.getfilesystemencoding()):
            raise BadValue(f"this locale can't encode {what}", hint="use UTF-8")
        if self._writes_file():
            if is_store_setting(variable):
                raise BadName(f"a dotenv file can't set {variable}, a setting", hint="export it instead")
            self._check_not_moved(variable, self._moved())

    def delete(self, name: str) -> None:
        """Delete the variable, and the line in the dotenv file.

        A store that writes no file leaves the files as they are, and hides
        what they have. Any other raises Denied for a mounted file, which
        only its owner can remove, and, in the command line, for a variable
        of the calling shell. Raise NotFound, Moved, or Conflict while it is
        rotated.
        """
        variable = checked_variable(name)
        path = ""
        assigned = False
        if variable not in self._deleted_here:
            path = credential_path(name)
            dotenv = self._load()
            assigned = _key_in(dotenv, name) in dotenv.assigned
        if not (variable in os.environ or path or assigned):
            self._check_not_moved(name, self.moved())
            raise not_found_error(name, self._described())
        if not self._writes_file():
            self._deleted_here.add(variable)
        elif path or (self._persists and not assigned):
            where = path or "the calling shell's environment"
            raise Denied(f"{show(name)} is in {where}, which `delete` can't change", hint="remove it there")
        elif assigned:

            def change(dotenv: Dotenv) -> str:
                """Return the text without the secret's lines; raise Conflict while it is being rotated."""
                self.check_not_pending(name)
                return dotenv.without(variable, name)

            self._rewrite(change)
        os.environ.pop(variable, None)

    def names(self) -> Iterator[str]:
        """Yield the names of secrets: of the dotenv file, variables and files.

        Left out are settings, unless `set` made them here, what `delete`
        hides here, and names that no variable can have. Of several
        spellings of a variable there is one.
        """
        found = set(self._load().split(os.environ)[0])
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder:
            with disk_errors(f"read {folder}"):
                credentials = [file.name for file in os.scandir(folder) if file.is_file()]
            found.update(name for name in credentials if name[0] != "." and not is_store_setting(name))
        for variable, value in environment_now().items():
            base = variable.removesuffix("_FILE")
            if base == variable:
                names_secret = is_secret(variable, value)
            else:  # NAME_FILE stands for the secret NAME if its file can be read
                names_secret = is_secret(base) and os.access(value, os.R_OK)
            if names_secret:
                found.add(base)
        found = {name for name in found if variable_name(name) not in self._deleted_here}
        found |= self._set_here & set(os.environ)  # whatever they look like: the program calls them secrets
        # Only what `get` accepts: a stranger's file may hold escape sequences, for instance.
        accepted = sorted(name for name in found if _has_variable(name) and not name_problem(name))
        # Of my-token in the file and the variable MY_TOKEN that `load_env` makes of it, the last, my-token.
        names = {variable_name(name): name for name in accepted}
        for variable in names:
            base = base_of_stage(variable)
            # A rotation of my-token makes MY_TOKEN__PREVIOUS, which must pass for its stage.
            if base in names:
                names[variable] = names[base] + variable[len(base) :]
        return iter(names.values())

    def location(self) -> str:
        """Return "env FILE", with symlinks resolved."""
        return f"env {os.path.realpath(self.plaintext_file())}"

    def get_everything(self) -> dict[str, str]:
        """Return all values by name.

        Left out, with a warning, are mounted files that can't be read.
        """
        found = {}
        for name in self.names():
            path = credential_path(name)
            try:
                found[name] = self.get(name)
            except NotFound:  # it was deleted meanwhile
                continue
            except SecretsError as error:
                if not path or self.overridden_by(name) != path:
                    raise
                # Another service's file may be mounted here as well, and is no reason to fail.
                warn_once(f"{error.message}; it is left out")
        return found

    def moved(self) -> dict[str, str]:
        """Return {variable: backend} of secrets that were moved elsewhere.

        The dotenv file says so. Left out is what a variable or a mounted
        file has, or what was deleted in this process.
        """
        return {name: backend for name, backend in self._moved().items() if not self.is_provided(name)}

    def text_for_other_store(self, name: str) -> Optional[str]:
        """Return a text for a name that the other store lacks, or None.

        That other store is the one that secrets were moved to. The name may
        be that of a moved secret, or of a value of the dotenv file that
        takes in secrets; for any other, and for what was deleted in this
        process, return None. If a variable or a mounted file has the name,
        return a reference to that, else the value, in which references
        stand for the moved secrets. For a moved secret that is nowhere
        here, raise Moved.
        """
        variable = variable_name(name)
        composed = self.composed(os.environ).get(variable)
        if variable in self._deleted_here or (composed is None and variable not in self._moved()):
            return None
        if self.is_provided(variable):
            return f"{REFERENCE_PREFIX}//env/{variable}"
        self._check_not_moved(name, self._moved())
        return composed

    def composed(self, environ: Mapping[str, str], variables_first: Container[str] = ()) -> dict[str, str]:
        """Return {variable: text} of the file's values that take in secrets.

        These have a ${NAME} of a moved secret, or of a variable or line
        that is a reference; the text refers to that. `environ` and
        `variables_first` are as in `Dotenv.values`.
        """
        dotenv = self._load()
        alone = dotenv.values({})  # without variables, which may hide lines that are references
        values = dotenv.values(environ, variables_first=variables_first)
        found = {}
        for name in values:
            variable = variable_name(name)
            takes_in_secret = any(looks_like_reference(each[name]) for each in (alone, values))
            if takes_in_secret and dotenv.referenced_variables(name) and not is_store_setting(variable):
                found[variable] = values[name]
        return found

    def is_provided(self, variable: str) -> bool:
        """Return whether a variable or a mounted file comes before the file.

        True, too, for a variable that this process has deleted: the file
        doesn't count for it any more.
        """
        return variable in os.environ or variable in self._deleted_here or credential_path(variable) != ""

    def reserved_settings(self) -> list[str]:
        """Return the settings of this tool and of Vault in the file."""
        return sorted(filter(is_store_setting, map(variable_name, self._load().assigned)))

    def layered_files(self) -> list[str]:
        """Return the files beside it that other loaders read, too."""
        path = self.plaintext_file()
        return layers_beside(path) if os.path.basename(path) == ".env" else []

    def plain_settings(self) -> dict[str, str]:
        """Return the file's settings that no variable has, by variable."""
        settings = self._load().split(os.environ)[1]
        found = {variable_name(name): value for name, value in settings.items()}
        left_out = {*filter(is_store_setting, found), *os.environ, *self._deleted_here}
        return {name: value for name, value in found.items() if name not in left_out}

    def includes(self, name: str, other: str) -> bool:
        """Return whether both names are those of one variable."""
        return variable_name(name) == variable_name(other)

    def stage_name(self, name: str, stage: str) -> str:
        """Return the name under which a stage of a secret is stored.

        For a stage itself, spelled in any way, return its variable.
        """
        if stage == "current" and base_of_stage(variable_name(check_name(name))):
            return _key_in(self._load(), name)
        return super().stage_name(name, stage)

    def persistent_view(self) -> EnvironmentStore:
        """Return a view that writes the dotenv file."""
        import copy

        # A copy, of whatever class this is: a user's may have been derived from it.
        view = copy.copy(self)
        view._persists = True
        return view

    def outlives_process(self) -> bool:
        """Return whether `set` writes a file."""
        return self._writes_file() and self._configured_file() != ""

    def plaintext_file(self) -> str:
        """Return the path of the dotenv file, which need not exist, or ""."""
        configured = self._configured_file()
        if configured is not None or not self._folder:
            return configured or ""
        # Messages show the short name while it is clear which .env that is.
        return ".env" if working_directory() == self._folder else os.path.join(self._folder, ".env")

    def holds_secret(self, name: str, value: str) -> bool:
        """Return whether it is a secret; all that `set` made here is one."""
        variable = variable_name(name)
        return variable in self._set_here or is_secret(variable, value)

    def overridden_by(self, name: str) -> str:
        """Return what hides the file's value: "variable X", a path, ""."""
        variable = checked_variable(name)
        return f"variable {variable}" if variable in os.environ else credential_path(name)

    def references_to_follow(self, *names: str) -> dict[str, str]:
        """Return {name: value} of values that are or have references.

        Left out is what is missing or can't be read, and the text of
        mounted files, in which references aren't followed.
        """
        found = {}
        for name in names:
            variable = checked_variable(name)
            # Whoever mounts a file gives the value itself.
            if variable not in os.environ and credential_path(name):
                continue
            with suppress(NotFound, BadValue):
                if looks_like_reference(value := self.get(name)):
                    found[name] = value
        return found

    def notes_on_set(self, *names: str) -> Iterator[str]:
        """Yield notes for a user who has just set these in the file.

        They say which are settings, so that `run` doesn't mask them, which
        replaced another spelling, and which are secrets in plaintext.
        """
        plain = self.plain_settings()
        settings = sorted(name for name in names if variable_name(name) in plain)
        if settings:
            shown = ", ".join(map(show, settings))
            yield f"note: settings, which `run` masks only if you name them: {shown}"
        for name in sorted(self._replaced.intersection(names)):  # my-token and my.token are both MY_TOKEN
            yield f"note: {show(name)} replaced what {variable_name(name)} had"
        secrets = sorted({*names} - {*settings})
        if secrets:
            shown = ", ".join(show(variable_name(name)) for name in secrets)
            yield f"note: {self.plaintext_file()} holds {shown} in plaintext; --backend file would encrypt it"

    def status(self) -> Iterator[tuple[str, StatusValue]]:
        """Yield facts about the dotenv file, and its problems.

        An error about the secrets ends this, as a "problem"; it isn't
        raised.
        """
        path = self.plaintext_file()
        yield "store", "environment"
        yield "dotenv", absolute_path(path) if path else "none"
        yield "exists", bool(path) and os.path.isfile(path)
        try:
            yield "secrets", count_secrets(self.names())
            yield "settings", len(self.plain_settings())
            self._check_trusted()
            yield from (("problem", problem) for problem in self._load().problems())
        except SecretsError as error:
            yield "problem", error

    def _moved(self) -> dict[str, str]:
        """Return {variable: backend} of all moved secrets, also of those that a variable has."""
        return {variable_name(name): backend for name, backend in self._load().moved().items()}

    def _check_not_moved(self, name: str, moved: Mapping[str, str]) -> None:
        """Raise Moved if the secret that has this name, or this stage, is in `moved`: {variable: backend}."""
        variable = variable_name(name)
        secret = base_of_stage(variable) or variable
        backend = moved.get(secret)
        if backend:
            problem = f"{show(secret)} is in the {backend} store, as {self.plaintext_file()} says"
            hint = f'use --backend {backend} or, in a program, load_env(backend="{backend}")'
            raise Moved(problem, hint=hint, backend=backend)

    def _hint_if_missing(self) -> str:
        """Return the hint for a missing secret: which dotenv file isn't read and why, or else "see: list"."""
        configured = self._configured_file()
        if configured == "":
            return "no .env is read, since the name of the file (PAISSIVE_ENV_FILE) is empty"
        if configured and not os.path.exists(configured):
            return f"the dotenv file {configured} does not exist"
        if configured is None and (above := dotenv_above()):
            return f"{above} isn't read from this folder: name it in PAISSIVE_ENV_FILE"
        return "see: list"

    def _described(self) -> str:
        """Return where this store looks, for an error: "the environment", and the file if there is one."""
        dotenv = self._load()
        return f"the environment or {dotenv.where}" if dotenv is not _NO_DOTENV else "the environment"

    def _configured_file(self) -> str | None:
        """Return the dotenv file that the program or PAISSIVE_ENV_FILE names.

        "" is for no file at all, None for the default: .env in the directory where the store was made.
        """
        configured = os.environ.get("PAISSIVE_ENV_FILE") if self._dotenv is None else self._dotenv
        return configured and os.path.expanduser(configured)

    def _writes_file(self) -> bool:
        """Return whether `set` and `delete` write the dotenv file, rather than only variables."""
        return self._persists or bool(self._configured_file())

    def _load(self) -> Dotenv:
        """Return the dotenv file, parsed once until it changes; _NO_DOTENV if there is none.

        A file that nobody named counts as none, with a warning, if others could have written it, or if it
        isn't a regular file; one that was named is Unsafe then. Raise Denied or Unavailable if it can't be
        read.
        """
        path = self.plaintext_file()
        try:  # this is faster than disk_errors()
            return self._files.load(path, self._parse)
        except FileNotFoundError:
            pass
        except Unsafe as error:
            if self._configured_file() is not None:
                raise
            if not os.path.isdir(path):  # .env is a folder where it is a virtual environment: no warning
                warn_once(str(error))
        except OSError as error:
            raise disk_error(f"read {path}", error) from None
        return _NO_DOTENV

    def _parse(self, data: bytes) -> Dotenv:
        """Return the dotenv file with this content; warn if others can read its secrets.

        Warn about the first line that can't be read. Raise BadValue for UTF-16, Unsafe as `_check_trusted`.
        """
        path = self.plaintext_file()
        self._check_trusted()
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # as `>` in Windows PowerShell writes
            raise BadValue(f"{path} is UTF-16", hint="save it as UTF-8")
        dotenv = Dotenv(data.decode(errors="surrogateescape"), path)

        problem = next(dotenv.problems(), None)

        def holds_plaintext() -> bool:
            """Return whether it has a secret other than references and empty ones, or can't be read."""
            try:
                secrets = dotenv.split(os.environ)[0]
            except BadValue:
                return True
            return bool(problem) or any(text and not looks_like_reference(text) for text in secrets.values())

        warn_if_exposed(path, holds_plaintext)
        if problem:
            warn_once(str(problem))
        return dotenv

    def _check_trusted(self) -> None:
        """Raise Unsafe for a file that nobody named and that others could have written."""
        # Anybody may put a .env into /tmp, for instance; who names a file has chosen it.
        path = self.plaintext_file()
        found = self._configured_file() is None and os.path.isfile(path)
        if found and not (is_trusted(os.stat(path)) and is_trusted(os.lstat(path))):
            problem = f"others can write to {path}, so it is ignored"
            raise Unsafe(problem, hint="name it in PAISSIVE_ENV_FILE to use it")

    def _rewrite(self, change: Callable[[Dotenv], str]) -> None:
        """Lock the dotenv file, and write the text that `change` returns for its content, or for none.

        Raise BadValue if no file is configured, or if it isn't a regular one; Unsafe as `_check_trusted`.
        """
        path = self.plaintext_file()
        hint = "name a file in PAISSIVE_ENV_FILE, or use --backend file"
        if not path:
            raise BadValue("there is no dotenv file to write", hint=hint)
        if os.path.exists(path) and not os.path.isfile(path):
            raise BadValue(f"{path} is not a file", hint=hint)
        self._check_trusted()
        with disk_errors(f"write {path}"), FileLock(path):
            rewrite(path, change(self._load()).encode(errors="surrogateescape"))


_NO_DOTENV = Dotenv("")  # in place of a file that isn't there


def layers_beside(path: str) -> list[str]:
    """Return the names of files such as .env.local in the folder of a file; none if it can't be listed."""
    with suppress(OSError):
        return sorted(filter(re.compile(_LAYER).fullmatch, os.listdir(os.path.dirname(path) or ".")))
    return []


def dotenv_above() -> str:
    """Return the path of the nearest .env above the working directory, for a hint that it isn't read.

    "" if there is none, if one is here, or if PAISSIVE_ENV_FILE is set.
    """
    if os.path.lexists(".env") or "PAISSIVE_ENV_FILE" in os.environ:
        return ""
    return find_above(working_directory(), ".env")


def _key_in(dotenv: Dotenv, name: str) -> str:
    """Return the name that a secret's line has, or would have: its variable.

    It is the secret's own name if a line assigns that, and none the variable.
    """
    variable = variable_name(name)
    if name in dotenv.assigned and variable not in dotenv.assigned:
        return name
    return variable


@lru_cache(maxsize=4096)
def checked_variable(name: str) -> str:
    """Return the variable of a name; raise BadName for a bad name, and for one that can't be a variable's.

    It is cached, since each `get` asks for it, and checking names is slow.
    """
    if not _has_variable(check_name(name)):
        hint = "use letters from A to Z, digits, and '_'"
        raise BadName(f"bad name {show(name)}: it has letters that variables can't have", hint=hint)
    return variable_name(name)


def _has_variable(name: str) -> bool:
    """Return whether a name can stand for a variable: it is ASCII, with a letter or a digit."""
    # Names without letters or digits would all map to variables such as ___.
    return name.isascii() and bool(re.search("[A-Za-z0-9]", name))


def credential_path(name: str) -> str:
    """Return the path that the variable NAME_FILE holds, else that of a systemd credential, else "".

    The former need not exist: whoever reads it then gets an error. A systemd credential has the secret's own
    name or its variable's.
    """
    variable = variable_name(name)
    chosen = os.environ.get(variable + "_FILE", "")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    paths = [os.path.join(folder, key) for key in (name, variable)] if folder else []
    return chosen or next(filter(os.path.isfile, paths), "")


# === Store credentials ===
# Passwords, tokens and keys that open a store come from the variable X, else the file that X_FILE names, else
# the command in X_COMMAND, else systemd's credential X, else a prompt. No command that we start gets them.

_CREDENTIAL_SECONDS = 60  # for X_COMMAND: long enough to touch a key, or to type a PIN
MAX_ERRORS = 1 << 16  # bytes held of what a command writes to stderr: the end of it
_ERRORS_SECONDS = 0.5  # for the last of them to arrive if the command leaves a process behind

# The output of each command, until `forget_store_credential` removes it because it opens nothing.
_command_outputs: dict[str, str] = {}
# A lock for each command, and for each store that a password opens: one thread runs the command or prompts,
# others wait for the outcome.
_credential_locks: dict[str, Any] = {}

if hasattr(os, "register_at_fork"):  # a child has none of the threads that would release a lock
    os.register_at_fork(after_in_child=_credential_locks.clear)


def credential_lock(source: str) -> Any:
    """Return this process's lock for a command line, or for the path of a store that a password opens.

    The thread that has it may take it again, as a signal's handler does that opens the store, too.
    """
    return _credential_locks.setdefault(source, RLock())


def read_store_credential(variable: str, *, is_brief: bool = False) -> str:
    """Return a credential from its first configured source, or "" if none is configured.

    The sources are `variable`, the file in X_FILE, the command in X_COMMAND, and systemd's credential. The
    command runs once in a process or, for a credential that `is_brief`, valid for a short time only, at each
    call. Raise BadValue if it can't be run, Locked if it fails or prints nothing, Denied or Unavailable if
    the file can't be read.
    """
    text = os.environ.get(variable, "")
    if text:
        return text
    # A file that is named comes before a command.
    command = os.environ.get(variable + "_COMMAND", "")
    if command and not os.environ.get(variable + "_FILE"):
        with credential_lock(command):
            # Looked up once: another thread may forget it at any time.
            printed = _command_outputs.get(command, "")
            if is_brief or not printed:
                printed = _command_outputs[command] = run_credential_command(variable + "_COMMAND", command)
            return printed
    path = credential_path(variable)
    if not path:
        return ""
    with disk_errors(f"read {variable} from {path}"):
        return read_credential(path)


def forget_store_credential(variable: str) -> None:
    """Drop what the command of `variable` has printed, so that it runs again the next time.

    Callers do so when that opens nothing, as after a mistyped PIN.
    """
    _command_outputs.pop(os.environ.get(variable + "_COMMAND", ""), None)


def run_credential_command(what: str, command: str, environment: dict[str, str] | None = None) -> str:
    """Return the output of a command line without a newline at its end; `what` is the variable that has it.

    `environment` is as in `run_command`. Raise BadValue if the line is empty or can't be split, its program
    isn't found, or the output isn't UTF-8 text; Locked if it fails, takes too long or prints nothing.
    """
    import shlex
    import shutil

    words: list[str] = []
    with suppress(ValueError):  # a quote isn't closed
        words = [os.path.expanduser(word) for word in shlex.split(command)]
    # The message doesn't show the line: whoever mistook the variable has put the password itself there.
    if not words:
        raise BadValue(f"{what} isn't a command", hint="begin it with a program, and close its quotes")
    if not shutil.which(words[0]):
        problem = f"the program that {what} begins with is not found"
        raise BadValue(problem, hint="install it, or write its full path")
    problem = "printed nothing"
    try:
        # In this process's session, so that it can ask for a PIN on the terminal.
        printed = run_command(words, None, _CREDENTIAL_SECONDS, session=False, environment=environment)
        if printed:
            return check_value(printed, f"the output of {what}")
    except Unavailable as error:
        problem = f"failed: {error.message}"
    raise Locked(f"{what} {problem}", hint="run it by hand to see why")


def credential_sources(variable: str) -> str:
    """Return a hint with the variables that configure a credential."""
    return f"set {variable}, {variable}_FILE or {variable}_COMMAND"


def can_ask() -> bool:
    """Return whether a user can be asked: stdin is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(prompt: str, *, twice: bool = False) -> str:
    """Return the text that a user types without an echo; with `twice`, let it be typed again.

    Raise BadValue if nothing is typed, or if the two entries differ. If stdin is no terminal, raise Locked,
    which asks for the master password: that is what callers then lack.
    """
    if not can_ask():
        hint = credential_sources("PAISSIVE_MASTER_PASSWORD")
        if read_store_credential("PAISSIVE_IDENTITY"):
            hint += "; if nobody knows it, choose another: password"
        else:
            hint += ", or PAISSIVE_IDENTITY"
        raise Locked("the master password is needed", hint=hint)
    import getpass

    typed = again = ""
    try:
        typed = getpass.getpass(prompt)
        again = getpass.getpass("Again: ") if twice and typed else typed
    except (EOFError, KeyboardInterrupt) as end:  # ^D and ^C leave the cursor behind the prompt
        print(file=sys.stderr)
        if isinstance(end, KeyboardInterrupt):
            raise
    if not typed:
        raise BadValue("nothing was typed", hint="try again")
    if again != typed:
        raise BadValue("the two entries differ", hint="try again")
    return typed


def run_command(
    argv: list[str],
    text: str | None,
    timeout: float,
    *,
    lock: FileLock | None = None,
    session: bool = True,
    folder: str | None = None,
    environment: dict[str, str] | None = None,
    capture: bool = False,
    explain: Callable[[bytes, bytes], str] | None = None,
) -> str:
    """Run a command with `text` on stdin, and return its output without a newline at its end.

    If `text` is None or "", stdin is empty. Unless it is None, the output is only returned with `capture`;
    without, it is dropped, and "" returned. The command runs in `folder`, by default the working directory,
    and gets `environment`, by default `child_environment`. If this process is killed, the command keeps the
    `lock`. With `session`, it leads a session of its own, so that all that it has started is killed with it;
    without, it can use the terminal.

    Raise Unavailable if it can't be started, fails, takes longer than `timeout` seconds or prints more than
    MAX_FILE_BYTES. That message ends with what `explain(output, end of stderr)` returns, unless that is "";
    without `explain`, stderr is dropped.
    """
    import signal
    from subprocess import DEVNULL, PIPE, Popen

    # The exit status would be lost, and Python would report 0.
    if hasattr(signal, "SIGCHLD") and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        raise Unavailable("this process ignores SIGCHLD, so it can't see how a command ends")
    stdin, feed, rest = DEVNULL, None, b""
    if text:
        stdin, feed, rest = _open_input(text.encode())
    try:
        child = Popen(
            argv,
            stdin=stdin,
            stdout=PIPE if text is None or capture else DEVNULL,
            stderr=PIPE if explain else DEVNULL,
            cwd=folder,
            env=child_environment(text) if environment is None else environment,
            pass_fds=(lock.fd,) if lock and os.name != "nt" else (),
            start_new_session=session,
        )
    except OSError as error:
        if feed:
            feed.close()
        raise Unavailable(f"{argv[0]}: {error.strerror}") from None
    finally:
        if stdin != DEVNULL:
            os.close(stdin)
    child.stdin = feed
    output = _Output(child.stdout)
    errors = _Output(child.stderr, is_tail=True)
    child.stdout = child.stderr = None  # `communicate` would hold any amount of them
    problem = _wait(child, output, rest, timeout, lock, session)
    if problem:
        errors.wait(_ERRORS_SECONDS)
        cause = explain(bytes(output.data), bytes(errors.data)) if explain else ""
        if cause:
            problem = f"{problem}: {cause}"
        raise Unavailable(problem)
    return without_newline(output.data.decode(errors="surrogateescape"))


def _open_input(data: bytes) -> tuple[int, IO[bytes] | None, bytes]:
    """Return what a command gets as stdin and, if that is a pipe, its other end and the rest to write there.

    The command gets all but the rest even if this process is killed before it has written that: the beginning
    of a new password must not pass for all of it. On Linux, there is no rest; elsewhere, it is what the pipe
    has no room for, on Windows all of the data. The caller closes both.
    """
    reader, writer = os.pipe()
    if os.name != "nt":
        os.set_blocking(writer, False)
        rest = data[os.write(writer, data) :]
        # A pipe has room for 64 KB. It is preferred, since a file in memory may be swapped out to the disk.
        file = _file_in_memory(data) if rest else None
        if file is not None:
            os.close(reader)
            os.close(writer)
            return file, None, b""
        data = rest
    return reader, os.fdopen(writer, "wb"), data


def _file_in_memory(data: bytes) -> int | None:
    """Return an unnamed open file with this content, at its beginning; None where memory has no files."""
    # AttributeError: on macOS. OSError: in a sandbox, for instance.
    with suppress(AttributeError, OSError), open(os.memfd_create("paissive"), "w+b") as file:
        file.write(data)
        file.seek(0)
        return os.dup(file.fileno())
    return None


def _wait(
    child: subprocess.Popen[bytes],
    output: _Output,
    rest: bytes,
    timeout: float,
    lock: FileLock | None,
    session: bool,
) -> str:
    """Write the rest of its input, wait for a command and its output, and return how it failed, or "".

    Kill it after `timeout` seconds, and if an exception such as Ctrl-C ends the wait: with all processes in
    its session, if it leads a `session`. Meanwhile, the lock names the command's process as its holder.
    """
    import subprocess

    ended = False
    deadline = time.monotonic() + timeout
    try:
        if lock:
            lock.record_holder(child.pid)
        with suppress(subprocess.TimeoutExpired):
            if child.stdin:
                child.communicate(rest, timeout)
            # The output ends once no process that it left in the background has the pipe open.
            if output.wait(deadline - time.monotonic()):
                child.wait(max(0.0, deadline - time.monotonic()))
                ended = True
    finally:
        if not ended:
            _kill(child, session)
    if lock:
        lock.record_holder(os.getpid())
    if not ended:
        return f"it took longer than {timeout:g} s"
    if len(output.data) > MAX_FILE_BYTES:  # before the status, which may be SIGPIPE's
        return "it printed too much"
    if child.returncode:
        how = "signal" if child.returncode < 0 else "status"
        return f"it ended with {how} {abs(child.returncode)}"
    return ""


class _Output:
    """A command's output, read from a pipe by a thread: its begin up to a limit or, of a tail, its end."""

    def __init__(self, pipe: IO[bytes] | None, *, is_tail: bool = False) -> None:
        """Begin to read; without a pipe, the output is empty and at its end."""
        import threading

        self.data = bytearray()  # only the thread changes it
        self._is_tail = is_tail
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        if pipe:
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to so many seconds for the end of the output; return whether it has come."""
        if self._thread.ident:  # it was started
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _read(self, pipe: IO[bytes]) -> None:
        """Read until the output ends; of a tail, drop all but the last MAX_ERRORS bytes.

        Of anything else, stop above MAX_FILE_BYTES and close the pipe, so that the command can't write more.
        """
        with pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self.data += piece
                if self._is_tail:
                    del self.data[:-MAX_ERRORS]
                elif len(self.data) > MAX_FILE_BYTES:
                    return


def _kill(child: subprocess.Popen[bytes], session: bool) -> None:
    """Kill a command and, if it leads a session, all processes in it; wait for its end."""
    import signal

    if session and hasattr(os, "killpg"):
        with suppress(OSError):  # macOS reports an error for a process that has ended
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    if child.returncode is None and os.name != "nt":  # wait() would hang if a signal had interrupted it
        child.returncode = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    child.wait()


def child_environment(value: str | None = None) -> dict[str, str]:
    """Return this process's environment for a user's command, less what that need not know.

    Left out are stages of secrets that are variables here, store credentials, variables that have `value`,
    and CREDENTIALS_DIRECTORY, systemd's folder, if it has or may have a store credential.
    """
    found = environment_now()
    folder = found.get("CREDENTIALS_DIRECTORY", "")
    # A command gets the value on stdin, and might pass on or print its environment.
    try:
        has_credential = bool(folder) and any(map(is_store_credential, os.listdir(folder)))
    except OSError:  # it can't be listed, so there may be one
        has_credential = True
    if has_credential:
        del found["CREDENTIALS_DIRECTORY"]
    return {
        name: text
        for name, text in found.items()
        if not (is_store_credential(name) or is_stage(name, found) or text == value)
    }


# === Age format ===
# The age v1 format (C2SP age.md), bytes in and bytes out: X25519, hybrid and scrypt recipients, STREAM
# payload, no armor. Only the canonical encoding that `seal` writes is accepted, so that no change goes
# unnoticed. Hybrid recipients are post-quantum. The package cryptography has all of the cryptography.

_AGE_VERSION = b"age-encryption.org/v1\n"
# Words separated by single spaces, then base64 in lines of 64 characters, the last one shorter.
_STANZA = rb"-> ([!-~]+(?: [!-~]+)*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)"
_SCRYPT_LABEL = b"age-encryption.org/v1/scrypt"  # before the salt
_SCRYPT_WORDS = rb"scrypt (.{22}) ([1-9][0-9]?)"  # salt and work factor
# Hybrid keys are ML-KEM-768 beside X25519 (age.md, mlkem768x25519). Bech32 shows them by these prefixes.
_HYBRID_RECIPIENT = "age1pq"
_HYBRID_IDENTITY = "AGE-SECRET-KEY-PQ-"
_HYBRID_LABEL = b"age-encryption.org/mlkem768x25519"
_MLKEM_PUBLIC = 1184  # bytes of a public key of ML-KEM-768 (FIPS 203); 32 of X25519 follow it
_MLKEM_SHARE = 1088  # bytes of its ciphertext, likewise
_MLKEM_SEED = 64  # bytes from which its private key is made, likewise
_HEADER_END = rb"--- ([A-Za-z0-9+/]{43})\n"
_CHUNK = 64 * 1024  # bytes of plaintext in a chunk of the payload
_NONCE = 16  # bytes before the first chunk
_TAG = 16  # bytes that ChaCha20-Poly1305 adds
LOG_N = 17  # 2**17 units of scrypt are 128 MiB and about half a second
MAX_LOG_N = 20  # 1 GiB and some seconds: upper bound on the work that a hostile file can demand
_MAX_STANZAS = 1000  # about 0.1 s of key exchange: likewise


def seal(plaintext: bytes, *recipients: Union[Recipient, Passphrase]) -> bytes:
    """Return an age v1 file (https://c2sp.org/age) that each recipient opens.

    The file does not authenticate its sender. Raises BadValue for no
    recipient, a Passphrase beside others, or recipients of which only some
    are post-quantum; Unavailable without the package cryptography.
    """
    require_cryptography()
    has_passphrase = any(isinstance(recipient, Passphrase) for recipient in recipients)
    if not recipients or (has_passphrase and len(recipients) > 1):
        raise BadValue("seal to one passphrase, or to one or more recipients")
    # A file is as safe as the weakest of its recipients, which age.md calls labels.
    if len({recipient.is_post_quantum for recipient in recipients}) > 1:
        raise BadValue("some recipients are post-quantum, others aren't", hint="seal two files")
    file_key = os.urandom(16)
    nonce = os.urandom(_NONCE)
    header = _AGE_VERSION + b"".join(recipient._wrap(file_key) for recipient in recipients) + b"---"
    mac = _base64(_header_mac(file_key, header).finalize())
    cipher = aead.ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload"))
    payload = (cipher.encrypt(count, chunk, None) for count, chunk in _chunks(plaintext, _CHUNK))
    return b"".join([header, b" ", mac, b"\n", nonce, *payload])


def unseal(sealed: bytes, *identities: Union[Identity, Passphrase]) -> bytes:
    """Return the plaintext of an age v1 file.

    Raises WrongKey if none of the keys opens it; Corrupt if it is damaged;
    BadValue if it demands too much work: scrypt over 2**20, or over 1000
    recipients; Unavailable without the package cryptography.
    """
    require_cryptography()
    stanzas, header, mac, payload = _split_file(sealed)
    unwrapped = (identity._unwrap(*stanza) for identity in identities for stanza in stanzas)
    file_key = next(filter(None, unwrapped), None)
    if file_key is None:
        raise WrongKey("none of the keys opens this")
    try:
        _header_mac(file_key, header).verify(_unbase64(mac))
    except exceptions.InvalidSignature:  # a stanza was added, dropped or moved
        raise _corrupt("the header's MAC does not match") from None
    cipher = aead.ChaCha20Poly1305(_hkdf(file_key, payload[:_NONCE], b"payload"))
    try:
        chunks = [cipher.decrypt(n, chunk, None) for n, chunk in _chunks(payload[_NONCE:], _CHUNK + _TAG)]
    except exceptions.InvalidTag:
        raise _corrupt("the payload was changed or cut off") from None
    if len(chunks) > 1 and not chunks[-1]:
        raise _corrupt("the last chunk is empty")
    return b"".join(chunks)


class Recipient:
    """A public key to seal to: "age1…" (X25519) or "age1pq1…" (post-quantum).

    Raises BadValue for anything but the canonical text.
    """

    def __init__(self, text: str) -> None:
        """Decode the key; one that nothing can be sealed to is an error later."""
        if text.upper().startswith("AGE-SECRET-KEY-"):
            hint = "its owner makes another, identity --new, and gives away only the public key, age1…"
            raise BadValue("that is a private key, which counts as exposed now", hint=hint)
        self._text = text
        self.is_post_quantum = text.startswith(_HYBRID_RECIPIENT + "1")
        if self.is_post_quantum:
            self._public = _bech32_decode(_HYBRID_RECIPIENT, text, _MLKEM_PUBLIC + 32)
        else:
            self._public = _bech32_decode("age", text, 32)

    def __str__(self) -> str:
        return self._text

    def _wrap(self, file_key: bytes) -> bytes:
        """Return a stanza with the file key for this recipient; raise BadValue for a key of low order."""
        wrap = _wrap_hybrid if self.is_post_quantum else _wrap_x25519
        try:
            return wrap(self._public, file_key)
        except ValueError:  # such as one of low order: anybody could open the file
            problem = "invalid public key: anyone could open a file sealed to it"
            raise BadValue(problem, hint="ask its owner for a new one") from None


class Identity:
    """A private key, "AGE-SECRET-KEY-1…", that opens what was sealed to it.

    "AGE-SECRET-KEY-PQ-1…" is a post-quantum one. Raises BadValue for
    anything but the canonical text; Unavailable without cryptography, which
    has to be 47 or newer for a post-quantum key.
    """

    def __init__(self, text: str) -> None:
        """Decode the key, and make its public key."""
        require_cryptography()
        self._text = text
        self.is_post_quantum = text.startswith(_HYBRID_IDENTITY)
        self._recipient: Optional[Recipient] = None  # made when asked for: a hybrid one takes a millisecond
        key: Union[_X25519Key, _HybridKey]
        if self.is_post_quantum:
            key = _HybridKey(_bech32_decode(_HYBRID_IDENTITY, text, 32))
        else:
            key = _X25519Key(_bech32_decode("AGE-SECRET-KEY-", text, 32))
        self._public = key.public
        self._unwrap = key.unwrap

    @classmethod
    def generate(cls, *, post_quantum: bool = False) -> Identity:
        """Return a new identity.

        Files that are sealed to a post-quantum one need age 1.3 or newer.
        """
        return cls(_bech32(_HYBRID_IDENTITY if post_quantum else "AGE-SECRET-KEY-", os.urandom(32)))

    def recipient(self) -> Recipient:
        """Return the public key to seal to."""
        if self._recipient is None:
            prefix = _HYBRID_RECIPIENT if self.is_post_quantum else "age"
            self._recipient = Recipient(_bech32(prefix, self._public))
        return self._recipient

    def reveal(self) -> str:
        """Return the private key as text."""
        return self._text


class _X25519Key:
    """The private key of an X25519 recipient."""

    def __init__(self, secret: bytes) -> None:
        """Make the keys from a secret of 32 bytes."""
        self._secret = x25519.X25519PrivateKey.from_private_bytes(secret)
        self.public = self._secret.public_key().public_bytes_raw()

    def unwrap(self, words: list[bytes], body: bytes) -> bytes | None:
        """Return the file key in an X25519 stanza; None for another key's, or for a stanza of another kind.

        Raise Corrupt if it is damaged.
        """
        if words[0] != b"X25519":
            return None
        try:
            (share,) = map(_unbase64, words[1:])
            key = _wrapping_key(self._secret, share, share + self.public)
        except ValueError:  # not one word, not 32 bytes, or an all-zero secret (RFC 7748, 6.1)
            raise _corrupt("an X25519 stanza has no usable share") from None
        return _open_box(key, body)


def _wrap_x25519(public: bytes, file_key: bytes) -> bytes:
    """Return an X25519 recipient stanza (age.md); raise ValueError for a point of low order."""
    # A new key pair each time, so the wrapping key is used once.
    ephemeral = x25519.X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    key = _wrapping_key(ephemeral, public, share + public)
    return _write_stanza([b"X25519", _base64(share)], key, file_key)


class _HybridKey:
    """The private keys of a hybrid recipient, both made from one seed."""

    def __init__(self, seed: bytes) -> None:
        """Make the keys from a seed of 32 bytes; raise Unavailable if cryptography is too old."""
        _require_hpke()
        expand = hashes.Hash(hashes.SHAKE256(_MLKEM_SEED + 32))
        expand.update(seed)
        seeds = expand.finalize()
        mlkem_key = mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds[:_MLKEM_SEED])
        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(seeds[_MLKEM_SEED:])
        self._secret = hpke.MLKEM768X25519PrivateKey(mlkem_key, self._x25519)
        self.public = mlkem_key.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()

    def unwrap(self, words: list[bytes], body: bytes) -> bytes | None:
        """Return the file key in a hybrid stanza; None for another key's, or for a stanza of another kind.

        Raise Corrupt if it is damaged.
        """
        if words[0] != b"mlkem768x25519":
            return None
        shares = _unbase64(words[1]) if len(words) == 2 else b""
        if len(shares) != _MLKEM_SHARE + 32:
            raise _corrupt("a mlkem768x25519 stanza has no usable share")
        _check_box(body)
        try:
            return _hybrid_suite().decrypt(shares + body, self._secret, _HYBRID_LABEL)
        except exceptions.InvalidTag:
            share = x25519.X25519PublicKey.from_public_bytes(shares[_MLKEM_SHARE:])
            try:
                self._x25519.exchange(share)
            except ValueError:  # of low order, which `seal` never writes
                raise _corrupt("a mlkem768x25519 stanza has no usable share") from None
            return None


def _wrap_hybrid(public: bytes, file_key: bytes) -> bytes:
    """Return a mlkem768x25519 recipient stanza (age.md); raise ValueError for an invalid public key."""
    _require_hpke()
    keys = hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]),
        x25519.X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:]),
    )
    sealed = _hybrid_suite().encrypt(file_key, keys, _HYBRID_LABEL)
    shares = sealed[: _MLKEM_SHARE + 32]
    words = [b"mlkem768x25519", _base64(shares)]
    return _join_stanza(words, sealed[len(shares) :])


def _hybrid_suite() -> hpke.Suite:
    """Return the HPKE suite of mlkem768x25519 (age.md, RFC 9180)."""
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def _require_hpke() -> None:
    """Import the modules for post-quantum keys, once; raise Unavailable if they are missing."""
    global hpke, mlkem
    if "mlkem" in globals():
        return
    try:
        from cryptography.hazmat.primitives import hpke
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

        _hybrid_suite()
        MLKEM768PrivateKey.from_seed_bytes(bytes(_MLKEM_SEED))
        from cryptography.hazmat.primitives.asymmetric import mlkem  # last, since it says that all is there
    except (ImportError, AttributeError, exceptions.UnsupportedAlgorithm):
        problem = (
            "post-quantum keys need cryptography 47 or newer, whose OpenSSL has ML-KEM, as its wheels' has"
        )
        hint = f"install it: {sys.executable} -m pip install 'cryptography>=47'"
        raise Unavailable(problem, hint=hint) from None


class Passphrase:
    """A passphrase to seal and open with.

    Sealing takes 2**log_n KiB of memory; opening raises BadValue for files
    that need over 2**max_log_n. Keys that scrypt derives live as long as
    the object, and are shared with others of the same passphrase. Raises
    BadValue for a passphrase that is empty or not valid Unicode, and for
    log_n outside 1 to 20.
    """

    is_post_quantum = True  # it is symmetric

    def __init__(self, text: str, log_n: int = LOG_N, *, max_log_n: int = MAX_LOG_N) -> None:
        """Check the text and `log_n`; no key is derived yet."""
        if not 1 <= log_n <= MAX_LOG_N:
            raise BadValue(f"scrypt's log N is 1 to {MAX_LOG_N}, not {log_n}")
        self._log_n = log_n
        self._max_log_n = max_log_n
        self._text = b""
        with suppress(UnicodeEncodeError):
            self._text = text.encode(errors="surrogateescape")  # the original bytes of a variable
        if not self._text:
            raise BadValue("the passphrase is empty, or not valid Unicode")
        global _derived_keys
        if _derived_keys is None:
            from weakref import WeakValueDictionary

            _derived_keys = WeakValueDictionary()
        # Those of another object with the same passphrase, if there is one: scrypt is slow.
        self._derived = _derived_keys.setdefault(self._text, _DerivedKeys())

    def _wrap(self, file_key: bytes) -> bytes:
        """Return a scrypt stanza with the file key."""
        salt = os.urandom(16)
        words = [b"scrypt", _base64(salt), str(self._log_n).encode()]
        return _write_stanza(words, self._derive(salt, self._log_n), file_key)

    def _unwrap(self, words: list[bytes], body: bytes) -> bytes | None:
        """Return the file key in a scrypt stanza; None for another passphrase's, or another kind of stanza.

        Raise Corrupt if it is damaged, BadValue if it demands too much work.
        """
        if words[0] != b"scrypt":
            return None
        match = re.fullmatch(_SCRYPT_WORDS, b" ".join(words))
        if not match:
            raise _corrupt("a scrypt stanza needs a salt of 16 bytes and a work factor of 1 or 2 digits")
        salt = _unbase64(match[1])
        log_n = int(match[2])
        if log_n > self._max_log_n:  # before any work is done
            problem = f"it asks for 2**{log_n} units of scrypt, more than 2**{self._max_log_n}"
            hint = f"if it is yours, set PAISSIVE_SCRYPT_LOG_N={log_n}" if log_n <= MAX_LOG_N else ""
            raise BadValue(problem, hint=hint)
        return _open_box(self._derive(salt, log_n), body)

    def _derive(self, salt: bytes, log_n: int) -> bytes:
        """Return the key that wraps a file key (age.md, scrypt recipient stanza); remember it."""
        source = salt, log_n
        if source not in self._derived:
            from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

            scrypt = Scrypt(salt=_SCRYPT_LABEL + salt, length=32, n=1 << log_n, r=8, p=1)
            self._derived[source] = scrypt.derive(self._text)
        return self._derived[source]


class _DerivedKeys(dict[tuple[bytes, int], bytes]):
    """The keys that scrypt has derived from a passphrase, by salt and log N.

    It is a class, since there are no weak references to a plain dict.
    """


# The derived keys by passphrase. They go away with the last Passphrase that uses them, so that no password
# outlives the store that it opens.
_derived_keys: WeakValueDictionary[bytes, _DerivedKeys] | None = None


def _split_file(sealed: bytes) -> tuple[list[tuple[list[bytes], bytes]], bytes, bytes, bytes]:
    """Return the stanzas as (words, body), the header up to its MAC, the MAC in base64, and the payload.

    The payload begins with its nonce. Raise Corrupt for a damaged header, BadValue for too many stanzas.
    """
    if not sealed.startswith(_AGE_VERSION):
        raise _corrupt("it does not begin like an age v1 file")
    stanzas = []
    pos = len(_AGE_VERSION)
    while stanza := re.compile(_STANZA).match(sealed, pos):
        pos = stanza.end()
        stanzas.append((stanza[1].split(b" "), _unbase64(stanza[2].replace(b"\n", b""))))
        if len(stanzas) > _MAX_STANZAS:
            raise BadValue(f"the file has more than {_MAX_STANZAS} recipients")
    end = re.compile(_HEADER_END).match(sealed, pos)
    if not stanzas or not end or len(sealed) < end.end() + _NONCE:
        raise _corrupt("the header is damaged or cut off")
    # Only someone who knows the passphrase can make a file that it opens; next to other stanzas, anybody
    # with one of the other keys could (age.md, scrypt recipient stanza).
    if len(stanzas) > 1 and any(words[0] == b"scrypt" for words, _ in stanzas):
        raise _corrupt("a passphrase is not the only recipient")
    return stanzas, sealed[: pos + 3], end[1], sealed[end.end() :]


def _chunks(data: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (nonce, chunk) of a payload; the nonce marks the last chunk, so that truncation shows."""
    # Payload (age.md): STREAM, each chunk under a counter, the key bound to the file by a nonce of its own.
    last = max(0, len(data) - 1) // size  # only an empty plaintext has an empty chunk
    for i in range(last + 1):
        yield i.to_bytes(11, "big") + bytes([i == last]), data[i * size : (i + 1) * size]


def _write_stanza(words: list[bytes], key: bytes, file_key: bytes) -> bytes:
    """Return a stanza whose body is the file key, encrypted under the wrapping key `key`."""
    # A zero nonce is safe: each key is used once.
    return _join_stanza(words, aead.ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))


def _join_stanza(words: list[bytes], box: bytes) -> bytes:
    """Return a stanza with this body."""
    return b"-> %b\n%b\n" % (b" ".join(words), _base64(box))


def _check_box(box: bytes) -> None:
    """Raise Corrupt for a body that doesn't have the length of a wrapped file key."""
    if len(box) != 16 + _TAG:  # before opening (age.md): a longer one may open under several keys
        raise _corrupt("a wrapped key isn't 32 bytes")


def _open_box(key: bytes, box: bytes) -> bytes | None:
    """Return the file key in a stanza's body, or None if another key wrapped it.

    Raise Corrupt for a body of another length.
    """
    _check_box(box)
    try:
        return aead.ChaCha20Poly1305(key).decrypt(bytes(12), box, None)
    except exceptions.InvalidTag:
        return None


def _wrapping_key(key: x25519.X25519PrivateKey, point: bytes, both: bytes) -> bytes:
    """Return the key that wraps a file key, from a private key and the other side's public key, `point`.

    `both` is the share and the recipient's public key. Raise ValueError for a point of low order.
    """
    # It depends on both public keys, so that a shared secret gives each recipient another key.
    shared = key.exchange(x25519.X25519PublicKey.from_public_bytes(point))
    return _hkdf(shared, both, b"age-encryption.org/v1/X25519")


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 (RFC 5869)."""
    return hkdf.HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def sha256(data: bytes) -> bytes:
    """Return a SHA-256 digest; the caller has imported cryptography."""
    # The standard library's would load a second OpenSSL, which takes longer than all the rest.
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()


def _header_mac(file_key: bytes, header: bytes) -> hmac.HMAC:
    """Return the MAC over a header, to finalize or to verify."""
    # Not the standard library's, which would load a second OpenSSL.
    mac = hmac.HMAC(_hkdf(file_key, b"", b"header"), hashes.SHA256())
    mac.update(header)  # through the three dashes, without the space after them (age.md, Header MAC)
    return mac


def require_cryptography() -> None:
    """Import the package cryptography, once; raise Unavailable if it is missing or too old."""
    usable = _can_import_cryptography()
    if not usable and _program_folder:
        sys.path.append(_program_folder)  # at the end, so that Python's own modules win
        usable = _can_import_cryptography()
        sys.path.remove(_program_folder)
    if not usable:
        hint = f"install it: {sys.executable} -m pip install 'cryptography>=42'"
        raise Unavailable("encrypted files need the package cryptography", hint=hint)


def _can_import_cryptography() -> bool:
    """Import the package as globals, and return whether it is there and new enough."""
    # Once: on a small file, repeated imports would be a tenth of the work.
    global aead, exceptions, hashes, hkdf, hmac, x25519
    if "hkdf" not in globals():
        try:
            from cryptography import exceptions
            from cryptography.hazmat.primitives import hashes, hmac
            from cryptography.hazmat.primitives.asymmetric import x25519
            from cryptography.hazmat.primitives.ciphers import aead
            from cryptography.hazmat.primitives.kdf import hkdf
        except ImportError:
            return False
    return hasattr(x25519.X25519PublicKey, "public_bytes_raw")  # some distributions have an older one


def _base64(data: bytes) -> bytes:
    """Return base64 (RFC 4648) without padding and line ends."""
    import binascii

    return binascii.b2a_base64(data, newline=False).replace(b"=", b"")


def _unbase64(text: bytes) -> bytes:
    """Return the bytes in base64 without padding; raise Corrupt for any other encoding of them."""
    import binascii

    with suppress(binascii.Error):
        data = binascii.a2b_base64(text + b"==")  # excess padding is ignored
        if _base64(data) == text:
            return data
    raise _corrupt("it has base64 that is not canonical")


_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # the digits of Bech32 (BIP 173), 5 bits each
# By the top five bits of a residue: what they change in the next, a generator of BIP 173 for each bit.
_BECH32_STEPS = [0]
for _generator in (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3):
    _BECH32_STEPS += [step ^ _generator for step in _BECH32_STEPS]


def _bech32(prefix: str, data: bytes) -> str:
    """Return bytes in Bech32 (BIP 173, "Bech32"), of any length, in the case of `prefix`."""
    bits = 8 * len(data)
    padding = -bits % 5
    number = int.from_bytes(data, "big") << padding
    # The data in groups of 5 bits, the first one first.
    digits = [number >> place & 31 for place in range(bits + padding - 5, -1, -5)]
    name = prefix.lower().encode()
    # The checksum covers the prefix in lower case, the data, and six zeros in its own place.
    expanded = [*(char >> 5 for char in name), 0, *(char & 31 for char in name)]
    residue = _bech32_residue([*expanded, *digits, *bytes(6)]) ^ 1
    checksum = [residue >> 5 * place & 31 for place in reversed(range(6))]
    text = "1" + "".join(_BECH32[digit] for digit in digits + checksum)
    return prefix + (text.upper() if prefix.isupper() else text)


def _bech32_residue(digits: Iterable[int]) -> int:
    """Return bech32_polymod of BIP 173, from which checksums are made."""
    residue = 1
    for digit in digits:
        residue = (residue & 0x1FFFFFF) << 5 ^ digit ^ _BECH32_STEPS[residue >> 25]
    return residue


def _bech32_decode(prefix: str, text: str, size: int) -> bytes:
    """Return the bytes in a text of Bech32; raise BadValue for a wrong prefix, size, case or checksum."""
    bits = 8 * size
    padding = -bits % 5
    number = 0
    for char in text[len(prefix) + 1 :][: (bits + padding) // 5]:
        number = number << 5 | _BECH32.find(char.lower()) & 31
    data = (number >> padding & (1 << bits) - 1).to_bytes(size, "big")
    # Encoding again checks all of it. This isn't in constant time: it is the user's own key.
    if _bech32(prefix, data) != text:
        raise BadValue(f"not an age key of the form {prefix}1…", hint="give the whole key, not a file's name")
    return data


def _corrupt(what: str) -> Corrupt:
    """Return the error about a damaged file: "not what was sealed: `what`"."""
    return Corrupt(f"not what was sealed: {what}", hint="restore it from a copy")


# === Running git ===
# The one way to ask git. The repository may be hostile, so everything that its configuration could run is
# switched off. Callers use plumbing commands only, which have no pager and no aliases.

_GIT_CONFIG = (
    "core.fsmonitor=false",
    "core.bigFileThreshold=4m",  # git streams what is larger, instead of holding it in memory
    "advice.graftFileDeprecated=false",  # which would hide the real error
)
_GIT = ("git", *(word for setting in _GIT_CONFIG for word in ("-c", setting)))
_GIT_SETTINGS = {
    "GIT_ALLOW_PROTOCOL": "",  # none: a partial clone must not fetch what it lacks
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # audit what was pushed, not this clone's replacements for it
    "GIT_GRAFT_FILE": os.devnull,  # nor a history that this clone truncates
    "LC_ALL": "C",
}
# Git finds its configuration by these, and its tests need some. Others may be secrets, or change the output.
_GIT_READS = (
    r"PATH|HOME|XDG_CONFIG_HOME|SYSTEMROOT|USERPROFILE|TMPDIR|LD_LIBRARY_PATH"
    r"|GIT_CEILING_DIRECTORIES|GIT_CONFIG\w*|GIT_TEST\w*"
)
# With these a hook finds its own repository; git in another folder must not get them.
_HOOK_READS = r"|GIT_(?:DIR|WORK_TREE|INDEX_FILE|PREFIX|(?:COMMON|OBJECT|ALTERNATE_OBJECT)_DIR\w*|NAMESPACE)"
_MAX_SILENT_SECONDS = 120  # of git: a FIFO in place of a .gitignore or of an object would block it forever


class _GitOutput(io.FileIO):
    """Git's output; reading it raises Unsafe if git is silent for too long."""

    def readinto(self, buffer: Any) -> Any:
        """Fill the buffer as FileIO does, once git has written something or has ended."""
        import select

        if hasattr(select, "poll"):  # not on Windows, where files can't block
            poll = select.poll()
            poll.register(self, select.POLLIN)
            if not poll.poll(_MAX_SILENT_SECONDS * 1000):
                hint = "is there a FIFO in place of a .gitignore? --no-gitignore avoids git"
                raise Unsafe("git does not answer", hint=hint)
        return super().readinto(buffer)


@contextmanager
def run_git(
    folder: str,
    *args: str,
    feed: Iterable[str] = (),
    on_error: Callable[[str], object] = lambda line: None,
) -> Iterator[IO[bytes]]:
    """Run git in a folder with the lines of `feed` on stdin, and yield its output to read.

    Raise Unavailable if git doesn't start or, at the end, if it fails, but not because some of its output
    was left unread. If it succeeds, call `on_error` with each line of its stderr. Reading raises Unsafe if
    git hangs. After an exception of the caller, git is killed.
    """
    from subprocess import PIPE, Popen

    names = _GIT_READS
    if folder == ".":  # which is a hook's own repository, if a hook has started us
        names += _HOOK_READS
    env = {name: text for name, text in environment_now().items() if re.fullmatch(names, name)}
    env.update(_GIT_SETTINGS)
    # Files, not pipes, which could fill up while git waits for us to read.
    with _scratch_file() as lines, _scratch_file() as errors:
        lines.writelines(line.encode() + b"\n" for line in feed)
        lines.seek(0)
        try:
            process = Popen([*_GIT, *args], cwd=folder, env=env, stdin=lines, stdout=PIPE, stderr=errors)
        except OSError as error:
            raise Unavailable(f"git does not start: {error.strerror}", hint="install git") from None
        with process:
            try:
                stdout = cast("IO[bytes]", process.stdout).fileno()
                yield io.BufferedReader(_GitOutput(stdout, closefd=False), 1 << 18)
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        said = errors.read(1 << 16).decode(errors="replace").splitlines()
    if process.returncode not in (0, -13):  # SIGPIPE, because we stopped reading
        problem = f"git says: {said[0]}" if said else f"git exits with {process.returncode}"
        raise Unavailable(problem)
    for line in said:
        on_error(line)


def _scratch_file() -> IO[bytes]:
    """Open an unnamed file, in memory where that is possible; it is gone once the caller closes it.

    Raise Denied or Unavailable if it can't be made.
    """
    # Importing tempfile takes longer than git does. A sandbox may refuse files in memory.
    with suppress(AttributeError, OSError):
        return open(os.memfd_create("paissive"), "w+b")
    import tempfile

    with disk_errors("make a temporary file"):
        return tempfile.TemporaryFile()


def ask_git(folder: str, *args: str, default: str | None = None) -> str:
    """Return git's output without newlines at the end.

    If git fails, is missing or hangs, return the default; without one, raise Unavailable or Unsafe. Raise
    Unsafe, even with a default, if the output is more than MAX_FILE_BYTES.
    """
    try:
        with run_git(folder, *args) as out:
            data = out.read(MAX_FILE_BYTES + 1)
    except SecretsError:
        if default is None:
            raise
        return default
    # A part of it would be a wrong answer: whoever can push decides how long some of it is.
    if len(data) > MAX_FILE_BYTES:
        problem = f"git {args[0]} prints more than {MAX_FILE_BYTES >> 20} MiB"
        raise Unsafe(problem, hint=f"is {folder} in the right repository?")
    return os.fsdecode(data.rstrip(b"\n"))


# === Known stores ===
# The fingerprints of the stores that this user has confirmed, by path, in the user's state folder, like ssh's
# known hosts. Without them, whoever knows a member's public key, or has an older copy of the store, could put
# a store there that opens. Git's history may show an older one as well.

PIN = "PAISSIVE_STORE_FINGERPRINT"  # one or several, instead of those that are recorded
_MAX_CHANGES = 1000  # of version.age, which changes with each rekey; more are refused, not searched


class KnownStore(NamedTuple):
    """The fingerprints that the store in a folder may have."""

    fingerprints: tuple[str, ...] = ()  # in a record, two while a rekey is unfinished, the newer one last
    how: str = ""  # it is known: "pin", "record", "argument" of --trust, or "" if it isn't
    member: str = ""  # whose file opened it when it was recorded: that file is tried first
    commit: str = ""  # the last one in git's history at which it was found to be the right store

    def fits(self, *found: str) -> bool:
        """Return whether the store may have one of these fingerprints."""
        return not set(self.fingerprints).isdisjoint(found)


def known_store(folder: str, cache: FileCache) -> KnownStore:
    """Return the pinned store or, without a pin, the recorded one; KnownStore() if neither is there.

    Raise BadValue for a bad pin and, whether or not there is a pin, what `_recorded_stores` raises.
    """
    record = recorded_store(folder, cache)
    pin = os.environ.get(PIN)
    if pin is None:
        return record
    pinned = tuple(re.findall(r"[^\s,]+", pin))
    # An empty pin is an error: a script or a CI job meant to set one, and would trust any store without it.
    if not pinned or not all(re.fullmatch("[0-9a-f]{32}", each) for each in pinned):
        hint = "set it to the 32 hex digits that `status` prints, or unset it"
        raise BadValue(f"{PIN} isn't a fingerprint", hint=hint)
    if len(record.fingerprints) > 1 and record.fits(*pinned):  # this user's rekey was killed
        pinned += record.fingerprints
    return record._replace(fingerprints=pinned, how="pin")


def recorded_store(folder: str, cache: FileCache) -> KnownStore:
    """Return the recorded store for a folder, whatever is pinned; KnownStore() if none is."""
    return _recorded_stores(cache).get(_place_of(folder), KnownStore())


def record_store(folder: str, fingerprints: Sequence[str], member: str = "") -> None:
    """Record for a folder the fingerprints of its store, the member who opens it, and git's current commit.

    For the member "", keep the recorded one. Raise what `_change_record` raises.
    """
    commit = checked_out_commit(folder, FileCache())
    recorded = tuple(fingerprints)
    _change_record(folder, lambda store: KnownStore(recorded, "record", member or store.member, commit))


def record_if_possible(folder: str, fingerprints: Sequence[str], member: str = "") -> None:
    """Record a store as `record_store` does or, where no record can be written, leave it unknown.

    A record of other fingerprints, which can't be replaced, is an error, since the store would be refused.
    """
    try:
        record_store(folder, fingerprints, member)
    except (Denied, Unavailable):
        if recorded_store(folder, FileCache()).fingerprints not in ((), tuple(fingerprints)):
            raise


def record_commit(folder: str, commit: str) -> None:
    """Add a commit to the record of a store; do nothing if there is none, or if it can't be written.

    Raise BadValue if it is damaged, Unsafe if others can write it.
    """
    with suppress(Denied, Unavailable):  # then it is found again the next time
        _change_record(folder, lambda store: store._replace(commit=commit))


def _change_record(folder: str, change: Callable[[KnownStore], KnownStore]) -> None:
    """Read the record, replace the store of a folder by what `change` returns for it, and write the record.

    `change` gets and may return KnownStore(), which isn't recorded. Raise Denied or Unavailable if the record
    can't be read or written, or if there is no home folder for it; BadValue if it is damaged, Unsafe if
    others can write it.
    """
    path = _record_path()
    if not path:
        raise Unavailable("there is no home folder")
    with disk_errors(f"write {path}"):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with FileLock(path):
            stores = dict(_recorded_stores(FileCache()))
            place = _place_of(folder)
            stores[place] = change(stores.get(place, KnownStore()))
            rows = {
                place: {"fingerprints": store.fingerprints, "member": store.member, "commit": store.commit}
                for place, store in sorted(stores.items())
                if store.fingerprints
            }
            text = dump_json({"version": 1, "stores": rows}, "the record of known stores")
            rewrite(path, text.encode() + b"\n")


def known_store_above(folder: str, cache: FileCache) -> str:
    """Return the path of the nearest store above this one that is recorded, still there and called .paissive.

    "Above" means in a folder above the one that holds `folder`. Return "" if there is none.
    """
    place = _place_of(folder)
    above = [
        path
        for path in _recorded_stores(cache)
        if path != place
        and os.path.basename(path) == ".paissive"
        and place.startswith(path.removesuffix(".paissive"))
        and os.path.lexists(path)
    ]
    return max(above, key=len, default="")


def _record_path() -> str:
    """Return the path of the record (XDG Base Directory Specification), or "" without a home."""
    folder = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(folder):  # which the specification has us ignore
        folder = os.path.expanduser("~/.local/state")
    return os.path.join(folder, "paissive", "known_stores") if os.path.isabs(folder) else ""


def _place_of(folder: str) -> str:
    """Return the real path of a folder, by which it is recorded; bytes that aren't UTF-8 are escaped."""
    return os.fsencode(os.path.realpath(folder)).decode(errors="backslashreplace")


def _recorded_stores(cache: FileCache) -> dict[str, KnownStore]:
    """Return the recorded stores by path; {} if there is no record, or if its folder is another user's.

    Raise BadValue if it is damaged, Unsafe if others can write it, Denied or Unavailable if it can't be read.
    """
    path = _record_path()
    try:
        return cache.load(path, partial(_parse_record, path)) if path else {}
    except SecretsError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        # In a container, the home folder may be another user's. Then, no record can be written either.
        if isinstance(error, PermissionError) and not os.path.exists(path):
            return {}
        raise disk_error(f"read {path}", error) from None


def _parse_record(path: str, data: bytes) -> dict[str, KnownStore]:
    """Return the stores in a record; raise BadValue if it is damaged, Unsafe if others can write it."""
    if not is_trusted(os.stat(path)):
        hint = f"see what is in it, then: chmod go-w {shell_word(path)}"
        raise Unsafe(f"others can write {path}", hint=hint)
    record = parse_json(decode_value(data, path), path)
    stores = {}
    try:
        for place, row in record["stores"].items():
            # What isn't a fingerprint fits no store.
            fingerprints = tuple(map(str, row["fingerprints"]))
            stores[place] = KnownStore(fingerprints, "record", str(row["member"]), str(row["commit"]))
    except (AttributeError, KeyError, TypeError):
        hint = "remove it, then confirm each store: status --trust"
        raise BadValue(f"{path} is damaged", hint=hint) from None
    return stores


def checked_out_commit(folder: str, cache: FileCache) -> str:
    """Return the commit that is checked out in the repository around a folder.

    Return "" if there is no repository or no commit yet and, with a warning, if git can't be asked.
    """
    repository = _repository_of(folder)
    if not repository:
        return ""
    with suppress(OSError, ValueError):  # a stranger's .git may name a path with NUL
        # Starting git would take longer than opening a secret.
        commit = cache.load(os.path.join(repository, "logs", "HEAD"), _last_in_log)
        if commit:
            return commit
    if _has_no_commit(repository):
        return ""
    try:
        return ask_git(folder, "rev-parse", "--revs-only", "HEAD")  # where it keeps no log
    except (Unavailable, Unsafe) as error:
        warn_of_unsearched(folder, error)
        return ""


def merge_conflicts(folder: str) -> set[str]:
    """Return `unmerged_paths`, but don't start git where no merge left a conflict, as nearly always."""
    # Git leaves this file after any conflict (since 2.34), and removes it some time after that is resolved.
    if os.path.lexists(os.path.join(_repository_of(folder), "AUTO_MERGE")):
        return unmerged_paths(folder)
    return set()


def unmerged_paths(folder: str) -> set[str]:
    """Return the absolute paths below a folder that a merge left in conflict; none if git can't be asked."""
    listed = ask_git(folder, "ls-files", "-uz", default="")
    return {os.path.join(os.path.realpath(folder), path) for path in re.findall(r"\t([^\0]+)", listed)}


def _repository_of(folder: str) -> str:
    """Return the path of git's own folder for the repository or worktree that a folder is in.

    It need not exist: a damaged .git may name anything. Return "" if there is no .git.
    """
    path = find_above(os.path.realpath(folder), ".git")
    with suppress(SecretsError, OSError):
        if os.path.isfile(path):  # of a worktree or a submodule (gitrepository-layout(5))
            text = os.fsdecode(read_file(path)).rstrip("\n").removeprefix("gitdir: ")
            return os.path.join(os.path.dirname(path), text)
    return path


def _has_no_commit(repository: str) -> bool:
    """Return whether a repository is certainly new: HEAD names a branch, and there are no branches yet.

    `repository` is git's own folder (gitrepository-layout(5)). Where that isn't certain, return False.
    """
    try:
        head = read_file(os.path.join(repository, "HEAD"))
        branches = os.listdir(os.path.join(repository, "refs", "heads"))
    except (OSError, ValueError, SecretsError):  # of a worktree, for instance, whose branches are elsewhere
        return False
    elsewhere = any(os.path.lexists(os.path.join(repository, name)) for name in ("packed-refs", "reftable"))
    return head.startswith(b"ref: refs/heads/") and not branches and not elsewhere


def _last_in_log(log: bytes) -> str:
    """Return the commit in the last line of a reflog, "OLD NEW author time\tmessage", or ""."""
    found = re.match(rb"[0-9a-f]+ ([0-9a-f]{40,64}) ", log.rstrip(b"\n").rpartition(b"\n")[2])
    return found[1].decode() if found else ""


def last_commit(path: str) -> str:
    """Return "1234567 by Ada" for the commit that changed a file last; "" if git knows none."""
    folder, name = os.path.split(os.path.realpath(path))
    return label_of_commit(folder, "HEAD", f":(literal){name}")


def in_last_commit(path: str) -> str:
    """Return " in commit 1234567 by Ada" for the commit that changed a file last; "" if git knows none."""
    commit = last_commit(path)
    return f" in commit {commit}" if commit else ""


def label_of_commit(folder: str, commit: str, *paths: str) -> str:
    """Return "1234567 by Ada" for a commit or, with paths, for the last up to it that changed one of them.

    It is cut to 80 bytes. Return "" if there is none, or if git can't be asked.
    """
    args = ["rev-list", "-1", "--format=%h by %an", commit, "--", *paths]
    # Read no more: an author's name may be longer than what `ask_git` takes.
    with suppress(SecretsError), run_git(folder, *args) as out:
        out.readline()  # "commit " and the whole id
        return out.readline(80).decode(errors="replace").rstrip("\n")
    return ""


def changes_of(folder: str, name: str, commit: str, since: str = "") -> list[str]:
    """Return the commits that changed a file, the newest first, up to `commit`.

    Left out are `since`, a commit, and what is in its history. Raise Unavailable if git lacks one of the two
    commits, or can't be asked; Unsafe if there are too many changes.
    """
    # On all sides of a merge: it may have taken the one on which nothing was changed.
    options = [f"-{_MAX_CHANGES}", "--full-history", "--topo-order", commit]
    if since:
        options.append(f"^{since}")
    changes = ask_git(folder, "rev-list", *options, "--", f":(literal){name}").split()
    if len(changes) == _MAX_CHANGES:
        problem = f"{_MAX_CHANGES} commits or more changed {name} in {folder}"
        raise Unsafe(problem, hint="see who wrote them: git log")
    return changes


def warn_of_unsearched(folder: str, error: SecretsError) -> None:
    """Warn that an older store in a folder wouldn't be noticed, since git can't be asked."""
    warn_once(f"git's history of {folder} was not searched for a newer identity: {error}")


def committed_content(folder: str, name: str, commit: str) -> bytes:
    """Return a file's content in a commit, at most MAX_FILE_BYTES; b"" if the commit has no such file.

    Raise Unavailable if git lacks the content, as in a partial clone, or can't be asked.
    """
    listed = ask_git(folder, "ls-tree", commit, "--", name)
    blob = re.match(r"\d+ blob (\w+)\t", listed)  # anything else is a folder or a submodule
    if not blob:
        return b""
    with run_git(folder, "cat-file", "blob", blob[1]) as out:
        return out.read(MAX_FILE_BYTES)


# === Sealed folder ===
# The files of a store: what each holds, how it is sealed and read. Which key opens a store, and whether it is
# the right one, is decided in the next section. A store has an identity of its own, to which everything else
# is sealed:
#
#   identity.age                  the identity, sealed with the master password, if there is one
#   members/NAME/identity.age     the identity, sealed to a member's key
#   members/NAME/recipient.age    the member's name and key, sealed to the identity
#   secrets/NAME.age              a secret, and in the folder rotation its policy
#   version.age                   the version of this format, and when a member was last removed
#   previous.age                  during a rekey: the old identity, sealed to the new one
#
# The recipient that belongs to the identity isn't stored, so only those who can open the store can add to it.

NO_STORE_HINT = "go to its folder, mount or copy it, or let the first set create it"
FORMAT_VERSION = "2"  # as version.age says; stores of version 1 have no such file
_LEAVER = "# without the member "  # begins a line of previous.age, which the age tool takes for a comment
# Before the name inside a policy's file. No secret's name begins so: neither file passes for the other.
POLICY_TITLE = "/rotation/"
# In the order of removal, so that nobody can open the store without being listed.
_MEMBER_FILES = ("identity.age", "recipient.age")
# What to do about a file that is sealed to another identity, by its folder.
_ADVICE = {
    "secrets": "if it was meant: delete {0}, then set or rotate it again",
    "rotation": "if it was meant: rotate unschedule {0}, then schedule it again",
    "members": "if it was meant: member add {0} age1…, or else: member remove {0}",
}
# Secrets a.age/b and a would need a folder and a file at one path.
_IMPOSSIBLE = r"\.age/"
# Naming Files, Paths, and Namespaces (Microsoft): devices keep their name whatever the extension.
_IMPOSSIBLE_ON_WINDOWS = r'\.age/|[. ]/|[<>:"|?*]|(?:^|/)(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³])(?:[./]|$)'


class Keys(NamedTuple):
    """The identity of a store and, while a rekey is unfinished, what previous.age holds."""

    seal_to: Identity
    old: Optional[Identity] = None  # the identity before, to which some files are still sealed
    leavers: tuple[str, ...] = ()  # the members who don't get the new identity

    def all(self) -> tuple[Identity, ...]:
        """Return the identities that open the store's files, the one to seal to first."""
        return (self.seal_to, self.old) if self.old else (self.seal_to,)

    def fingerprint(self) -> str:
        """Return 32 hex digits that identify the store but, unlike its recipient, allow no sealing to it."""
        return sha256(f"paissive_secrets store {self.seal_to.recipient()}".encode()).hex()[:32]


class SealedFolder:
    """The files of a store, for callers that have its keys and, to write, its lock."""

    def __init__(self, path: StrPath | None) -> None:
        """Choose the folder: `path`, else PAISSIVE_SECRETS_DIR, else the nearest .paissive, else one here.

        Nothing is read or made. Raise Unavailable if the working directory was removed.
        """
        # No shell expands ~ in quotes or in a unit file.
        configured = "" if path else os.path.expanduser(os.environ.get("PAISSIVE_SECRETS_DIR", ""))
        self.is_configured = configured != ""
        # Found by walking up, so that somebody could have put another one on the way.
        self.is_found = not path and not configured
        # An unsafe .paissive is an error later, not a reason to look further up.
        path = path or configured or find_above(working_directory(), ".paissive") or ".paissive"
        self.path = absolute_path(path)
        self.secrets = os.path.join(self.path, "secrets")
        self.policies = os.path.join(self.path, "rotation")
        self.members = os.path.join(self.path, "members")
        self.identity_file = os.path.join(self.path, "identity.age")
        self.previous_file = os.path.join(self.path, "previous.age")
        self.version_file = os.path.join(self.path, "version.age")
        # Of sealed files, the record of known stores and git's log; it never holds what was opened.
        self.cache = FileCache()

    def check(self, folder: str = "", *, make: bool = False) -> None:
        """Raise Unsafe if others can write to `folder`, by default that of the secrets, or on the way to it.

        With `make`, make the folders that are missing.
        """
        parts = os.path.relpath(folder or self.secrets, self.path).split(os.sep)
        for part in accumulate([self.path, *parts], os.path.join):
            if make:
                make_folder(part)
            check_folder(part)

    def is_new(self) -> bool:
        """Return whether there is no store here: no key to one, no secret and no policy."""
        return not (
            os.path.lexists(self.identity_file)
            or any(os.path.lexists(self.member_file(name, "identity.age")) for name in self.member_names())
            or any(self.entries())
        )

    def entries(self) -> Iterator[tuple[str, str]]:
        """Yield (path, title) of each secret's file, then of each policy's; the title is its name inside."""
        for folder, title in ((self.secrets, ""), (self.policies, POLICY_TITLE)):
            for name in names_under(folder):
                yield os.path.join(folder, f"{name}.age"), title + name

    def check_exists(self) -> None:
        """Raise Unavailable if there is no store yet."""
        if self.is_new():
            raise Unavailable(f"there is no store in {self.path}", hint=NO_STORE_HINT)

    def bytes_of(self, path: str) -> bytes:
        """Return a file's content, to see whether it has changed; b"" for "" and for an unreadable file."""
        try:
            return self.cache.load(path, bytes, follow=False) if path else b""
        except (SecretsError, OSError):  # raised again where the content is needed
            return b""

    def keys_of(self, identity: Identity) -> Keys:
        """Return this identity as Keys, with the content of previous.age if that is sealed to it.

        It is then the new identity of an unfinished rekey. Raise Corrupt if previous.age is damaged, BadName
        or BadValue if it opens and isn't what `seal_previous` makes, Denied or Unavailable if it can't be
        read.
        """
        path = self.previous_file
        # WrongKey: this is the old identity of a rekey that was killed before it gave out the new one.
        with disk_errors(f"read {path}"), suppress(FileNotFoundError, WrongKey):
            text = decode_value(open_file(path, [identity]), path)
            lines = text.splitlines()
            leavers = [check_member(line[len(_LEAVER) :]) for line in lines if line.startswith(_LEAVER)]
            return Keys(identity, parse_identities(text, path)[0], tuple(leavers))
        return Keys(identity)

    def read_version(self, keys: Keys) -> dict[str, str]:
        """Return the content of version.age: `version` and what else `seal_version` wrote.

        Raise WrongKey or Corrupt if it doesn't open, Denied or Unavailable if it can't be read.
        """
        path = self.version_file
        with disk_errors(f"read {path}"):
            return _open_texts(path, keys.all(), "version")

    def explain(self, path: str, error: SecretsError) -> SecretsError:
        """Return the error about a file that doesn't open, with advice on what to do about it.

        A WrongKey, for a file from before a rekey or a planted one, becomes one that names the commit which
        wrote the file. Any other error gets more advice if it is about a member, and else stays as it is.
        """
        folder, _, file = os.path.relpath(path, self.path).partition(os.sep)
        name = file.replace(os.sep, "/").removesuffix(".age")
        hint = _ADVICE.get(folder, "restore it from a copy")
        if folder == "members":
            name = name.partition("/")[0]
            error = error.reworded(error.message, f"{error.hint}, or else: member remove {shell_word(name)}")
        if not isinstance(error, WrongKey):
            return error
        by = in_last_commit(path)
        return WrongKey(f"{path} was sealed to another identity{by}", hint=hint.format(shell_word(name)))

    def member_file(self, name: str, file: str) -> str:
        """Return the path of a member's identity.age or recipient.age."""
        return os.path.join(self.members, name, file)

    def member_names(self) -> list[str]:
        """Return the names of the folders with one of a member's files, sorted.

        Skip folders whose names no member can have. Raise Unsafe if others can write to any of the folders.
        """
        if not os.path.lexists(self.members):
            return []
        check_folder(self.members)
        with disk_errors(f"read {self.members}"), os.scandir(self.members) as entries:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        names = []
        for folder in folders:
            check_folder(folder.path)
            with suppress(BadName):
                name = check_member(folder.name)
                if any(os.path.lexists(self.member_file(name, file)) for file in _MEMBER_FILES):
                    names.append(name)
        return sorted(names)

    def read_members(self, keys: Keys) -> tuple[list[Member], dict[str, SecretsError]]:
        """Return the members whose files are sound and, by name, the errors of the others, with advice.

        Those aren't raised, since whoever can write to the folder can damage files or add some. Raise Denied
        or Unavailable if a file can't be read now: a rekey leaves out the others, and a passing error must
        not cost a member access.
        """
        found = []
        problems: dict[str, SecretsError] = {}
        for name in self.member_names():
            identity_file = self.member_file(name, "identity.age")
            recipient_file = self.member_file(name, "recipient.age")
            try:
                texts = self.read_recipient(name, keys)
                if os.path.isdir(identity_file):
                    raise Corrupt(f"{identity_file} is a folder", hint="remove it")
                seal(b"", Recipient(texts["recipient"]))  # only this refuses a key of low order
                found.append(Member(name, texts["recipient"], texts["updated"]))
            except (Denied, Unavailable):
                raise
            except BadValue as error:
                corrupt = Corrupt(f"{recipient_file}: {error.message}", hint="restore it from a copy")
                problems[name] = self.explain(recipient_file, corrupt)
            except SecretsError as error:
                problems[name] = self.explain(recipient_file, error)
        return found, problems

    def read_recipient(self, name: str, keys: Keys) -> dict[str, str]:
        """Return the content of a member's recipient.age: `member`, `recipient` and `updated`.

        Raise WrongKey or Corrupt if it doesn't open, is missing, or is another member's.
        """
        path = self.member_file(name, "recipient.age")
        if not os.path.lexists(path):
            raise Corrupt(f"{path} is missing", hint="restore it from a copy")
        with disk_errors(f"read {path}"):
            found = _open_texts(path, keys.all(), "member", "recipient", "updated")
        if found["member"] != name:
            raise Corrupt(f"{path} is for the member {show(found['member'])}", hint="move it back")
        return found

    def write_member(self, member: Member, identity: Identity) -> None:
        """Write a member's two files, sealed as `identity` is the store's; the store is locked."""
        make_folder(self.members)
        make_folder(os.path.join(self.members, member.name))
        # In this order, nobody opens the store without being listed if this is killed. Until the second file
        # is written, it is the key that this one replaces, if any, that opens the store.
        self.replace([self.seal_recipient(member, identity)])
        self.replace([self.seal_identity(member, identity)])

    def delete_member(self, name: str) -> None:
        """Remove those of a member's two files that are there, and the folder unless something else is in it.

        Raise OSError; the store is locked.
        """
        for file in _MEMBER_FILES:
            path = self.member_file(name, file)
            if os.path.islink(path) or os.path.isfile(path):  # not a folder, which is somebody else's
                os.unlink(path)
        with suppress(OSError):  # something else is in it
            os.rmdir(os.path.join(self.members, name))
        if os.path.isdir(self.members):
            sync_folder(self.members, f"the member {show(name)} is removed")

    def seal_identity(self, member: Member, identity: Identity) -> tuple[str, bytes]:
        """Return path and content of a member's identity.age: the store's identity for the member's key."""
        text = f"{identity.reveal()}\n".encode()
        return self.member_file(member.name, "identity.age"), seal(text, Recipient(member.recipient))

    def seal_recipient(self, member: Member, identity: Identity) -> tuple[str, bytes]:
        """Return path and content of a member's recipient.age: name, key, and when that was added."""
        path = self.member_file(member.name, "recipient.age")
        texts = {"member": member.name, "recipient": member.recipient, "updated": member.added}
        return path, seal_texts(texts, identity)

    def seal_version(self, identity: Identity, removal_time: str = "") -> tuple[str, bytes]:
        """Return path and content of version.age: the version of the format, and when a member was removed.

        That is the last time, in UTC, or "" if there was none.
        """
        return self.version_file, seal_texts({"version": FORMAT_VERSION, "left": removal_time}, identity)

    def seal_previous(self, keys: Keys) -> tuple[str, bytes]:
        """Return path and content of previous.age: the old identity, and a comment for each leaver."""
        lines = [identity.reveal() for identity in keys.all()[1:]]
        lines.extend(_LEAVER + name for name in keys.leavers)
        text = "".join(f"{line}\n" for line in lines).encode()
        return self.previous_file, seal(text, keys.seal_to.recipient())

    def seal_entries(self, keys: Keys) -> Iterator[tuple[str, bytes]]:
        """Yield path and new content of each secret's and policy's file, sealed to the new identity.

        Skip those that neither identity opens; raise Corrupt for a damaged file.
        """
        old_first = keys.all()[::-1]  # the old identity opens nearly all of them
        for path, _ in list(self.entries()):
            with suppress(WrongKey):
                entry = _open_texts(path, old_first, "name", "value")
                yield path, seal_texts(entry, keys.seal_to)

    @contextmanager
    def write_lock(self, folder: str) -> Iterator[None]:
        """Hold the lock on the store; make `folder`, that for secrets or policies, if it is missing.

        Raise Unsafe if others can write there, Denied or Unavailable for an OSError, also of the caller's.
        """
        with disk_errors(f"change {self.path}"):
            self.check(folder, make=True)
            with FileLock(self.path):
                yield

    def replace(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write these files, each a pair of path and content, durably; the store is locked."""
        replace_files(files, work_folder(self.path))


def not_post_quantum(members: Iterable[Member]) -> list[str]:
    """Return the names of the members whose keys aren't post-quantum."""
    return [member.name for member in members if not Recipient(member.recipient).is_post_quantum]


def no_member_error(name: str) -> NotFound:
    """Return the error for an absent member."""
    return NotFound(f"no member named {show(name)}", hint="see: member list")


@lru_cache(maxsize=4096)
def file_name(name: str) -> str:
    """Return the path of a secret's file below `secrets`, NAME.age; raise BadName if no file can have it.

    It is cached, since checking names is slow.
    """
    longest = MAX_NAME_BYTES - len(".age")
    impossible = _IMPOSSIBLE_ON_WINDOWS if os.name == "nt" else _IMPOSSIBLE
    if re.search(impossible, check_name(name), re.I) or len(name.rpartition("/")[2].encode()) > longest:
        raise BadName(f"bad name {show(name)}: an encrypted file can't have that name")
    return name + ".age"


def open_file(path: str, keys: Sequence[Union[Identity, Passphrase]], sealed: bytes | None = None) -> bytes:
    """Return the plaintext of a file, whose content is `sealed` if it was read already.

    Raise WrongKey if none of the keys opens it, Corrupt if it is damaged or demands too much work, and what
    `read_file` raises.
    """
    if sealed is None:
        sealed = read_file(path, follow=False)
    try:
        return unseal(sealed, *keys)
    except WrongKey:
        hint = "it was written for another identity; see: status"
        raise WrongKey(f"the store's identity does not open {path}", hint=hint) from None
    except (Corrupt, BadValue) as error:
        raise Corrupt(f"{path}: {error.message}", hint=error.hint or "restore it from a copy") from None


def open_entry(title: str, path: str, keys: Keys, sealed: bytes | None = None) -> dict[str, str]:
    """Return the entry that a file holds: its `name`, its `value`, and any other fields.

    The file's content is `sealed` if it was read already. The name has to be `title`. Raise what `open_file`
    raises, Corrupt for another title or no entry, and BadValue for a value with NUL or lone surrogates.
    """
    entry = _open_texts(path, keys.all(), "name", "value", sealed=sealed)
    # Another secret's file was copied here, or the file system ignores case.
    if entry["name"] != title:
        hint = "use that name, or move it back"
        raise Corrupt(f"{path} holds the secret {show(entry['name'])}", hint=hint)
    check_value(entry["value"], f"the value in {path}")  # other tools may have written it
    return entry


def names_under(folder: str, prefix: str = "") -> Iterator[str]:
    """Yield the names of the secrets whose files are in a folder, or below it; none if it is missing.

    Each begins with `prefix`, the name of the folder with a slash when this calls itself. Skip anything that
    isn't a secret: symlinks, other files, and names that no secret can have. Raise Denied or Unavailable.
    """
    with disk_errors(f"read {folder}"), suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            # Not by os.path.splitext, for which `....age` has no extension: it is the secret `...`.
            name = path.removesuffix(".age")
            if name != path and not name_problem(name) and entry.is_file(follow_symlinks=False):
                yield name
            # No name leads into a folder called *.age, in upper or lower case.
            is_folder = not path.lower().endswith(".age") and len(path) <= MAX_NAME_BYTES
            if is_folder and entry.is_dir(follow_symlinks=False):
                yield from names_under(entry.path, path + "/")


def check_member(name: str) -> str:
    """Return a member's name; raise BadName if no member can have it: it is that of a folder."""
    if "/" in name:
        raise BadName(f"bad name {show(name)}: a member's has no '/'")
    file_name(name)
    return name


def seal_texts(texts: Mapping[str, str], identity: Identity) -> bytes:
    """Return a JSON object, sealed to the recipient of an identity."""
    import json

    return seal(json.dumps(texts).encode() + b"\n", identity.recipient())


def _open_texts(
    path: str, identities: Sequence[Identity], *keys: str, sealed: bytes | None = None
) -> dict[str, str]:
    """Return the JSON object in a file, whose content is `sealed` if it was read already.

    Raise what `open_file` raises, and Corrupt if the object lacks one of `keys`, or if a value isn't text.
    """
    plaintext = open_file(path, identities, sealed)
    entry: dict[str, Any] = {}
    with suppress(BadValue):
        entry = parse_json(decode_value(plaintext, path), path)
    if not (entry.keys() >= set(keys) and all(isinstance(value, str) for value in entry.values())):
        raise Corrupt(f"{path} opens, but holds no entry", hint="restore it from a copy")
    return entry


def parse_identities(text: str, where: str) -> tuple[Identity, ...]:
    """Return the identities in an age identity file, one a line beside comments: one at least.

    Raise BadValue, which begins with `where`, if there is none, or if a line is anything else.
    """
    lines = [line.strip() for line in text.splitlines()]
    try:
        found = tuple(Identity(line) for line in lines if line and not line.startswith("#"))
    except BadValue as error:
        raise BadValue(f"{where}: {error.message}", hint=error.hint) from None
    if not found:
        raise BadValue(f"{where} has no age identity")
    return found


# === Sealed access ===
# `Opener.open` opens a store for a purpose in three steps: find its identity by a password or a key
# (`_find_access`), try that on files (`_try_files`), and check for reasons to refuse the purpose (`_check`):
#
#   another      the folder has another store than the one that is known here, or may have
#   too few      more of the tried files are sealed to other identities than to this one
#   older        git shows that another identity replaced this one: somebody put an older store back
#   unconfirmed  no store is known here, and no master password opened this one; it may be read
#   newer        a newer version of this program wrote the store, which may be read
#
# A store is known if its fingerprint is pinned, recorded, or the argument of --trust.

_TO_READ = "read"  # secrets, policies, members or the identity
TO_CHANGE = "change"  # any of those, or run commands of policies
TO_TRUST = "trust"
TO_EXAMINE = "examine"  # for `status`
_SAMPLE = 5  # entries that are tried whenever a store is opened, however many there are
# What to do about another store, by how the right one is known.
_ADVICE_ON_ANOTHER = {
    "pin": "somebody replaced its identity{commit}; "
    f"after a rekey, ask whoever ran it for the new one, and set {PIN} to it",
    "record": "somebody replaced its identity{commit}; "
    "ask whoever removed a member or ran rekey, and if it was meant: status --trust {found}",
    "argument": "compare again",
}
_MIN_LOG_N = 15  # with less, passwords are guessed too fast
_MIN_PASSWORD = 8  # characters; shorter ones are guessed however long each guess takes (NIST SP 800-63B)


class Access(NamedTuple):
    """The keys of a store, how they were found, and what is needed to judge them."""

    keys: Keys
    how: str  # "password", "member", or "identity": PAISSIVE_IDENTITY has the store's own
    path: str = ""  # of the file that holds the identity; "" if PAISSIVE_IDENTITY does
    sealed: bytes = b""  # the content of that file
    member: str = ""  # whose file that is
    # `_find_access` adds these:
    known: KnownStore = KnownStore()  # which store belongs here
    another: Optional[Unsafe] = None  # the error if this is another one, or may be
    # `_try_files` adds these, about the files that it tried:
    set_times: Mapping[str, str] = {}  # when each that opens was set, in UTC, by its title; "" is version.age
    problems: Mapping[str, SecretsError] = {}  # the errors of the others, by path


class Opener:
    """Opens a store, and remembers what opened it; the store and its policies share one, copies don't."""

    def __init__(self, files: SealedFolder) -> None:
        """Open nothing yet."""
        self._files = files
        self.typed_password = ""  # at a prompt, or set by `change_password`
        self._passphrase: Passphrase | None = None  # the last one, which keeps the key that scrypt derived
        # The last access, and the state that it depends on: while that is the same, nothing is opened again.
        self._last: tuple[object, Access] | None = None
        # The commit and the fingerprint for which git's history, when last searched, had no newer identity.
        self._newest: tuple[str, str] | None = None
        self.conflicts: set[str] = set()  # the paths with a merge conflict when the store was opened
        self.credentials: dict[str, None] = {}  # all passwords and identities so far, to mask them

    def keys(self, folder: str = "", purpose: str = _TO_READ) -> Keys:
        """Return the keys for entries in a folder; open the store if it isn't open, or has changed since.

        Raise Unsafe if others can write on the way to the folder, and what `open` raises or, if the store is
        open, what `_check` raises for any purpose but reading.
        """
        self._files.check(folder)
        # First: a change from here on will be noticed the next time.
        source = read_store_credential("PAISSIVE_IDENTITY") or self.password(), self._state()
        last, access = self._last or (None, None)
        if not access or last != source or self._files.bytes_of(access.path) != access.sealed:
            access = self.open(purpose)
            self._last = source, access
            self.conflicts = merge_conflicts(self._files.path)
        elif purpose != _TO_READ:  # reading is always allowed once the store has been opened for any purpose
            self._check(access, purpose)
        return access.keys

    def keys_to_change(self) -> Keys:
        """Return the keys to write with, or to run commands of policies; raise what `keys` raises."""
        return self.settle(lambda: self.keys(purpose=TO_CHANGE))

    def settle(self, act: Callable[[], T]) -> T:
        """Return the result of `act`, or raise its error; call it again if the `_state` changed meanwhile.

        A rekey, for instance, changes it: then the result may be of neither the old identity nor the new one.
        """
        while True:
            state = self._state()
            try:
                result = act()
            except SecretsError:
                if self._state() == state:
                    raise
            else:
                if self._state() == state:
                    return result

    def _state(self) -> object:
        """Return the state that an access depends on, without credentials and the identity's file.

        It consists of previous.age, version.age, the known store and, if one is known, git's current commit.
        Each rekey changes one of the files before it seals the first secret to the new identity.
        """
        files = [self._files.bytes_of(path) for path in (self._files.previous_file, self._files.version_file)]
        known = known_store(self._files.path, self._files.cache)
        # Another commit may bring another store.
        commit = checked_out_commit(self._files.path, self._files.cache) if known.how else ""
        return files, known._replace(commit=""), commit

    def mask(self, *keys: Identity) -> None:
        """Add identities to the `credentials`, so that their text is masked."""
        self.credentials.update(dict.fromkeys(key.reveal() for key in keys))

    def open(
        self,
        purpose: str,
        known: Optional[KnownStore] = None,
        *,
        by_password: bool = False,
        all_files: bool = False,
    ) -> Access:
        """Open the store, and return access to it.

        `known` takes the place of pin and record; `by_password` ignores PAISSIVE_IDENTITY; `all_files` are
        tried, instead of a sample. Raise WrongKey, Locked or Corrupt if the store can't be opened,
        Unavailable if there is none, and what `_check` raises if this purpose is refused.
        """

        def open_once() -> Access:
            """Return access, which may be of no use if there is a rekey just now."""
            which = known or known_store(self._files.path, self._files.cache)
            access = self._find_access(which, by_password)
            access = self._try_files(access, None if all_files else _SAMPLE)
            self._check(access, purpose)
            self.mask(*access.keys.all())
            return access

        return self.settle(open_once)

    def _check(self, access: Access, purpose: str) -> None:
        """Raise the error about the first reason to refuse the purpose. What each reason refuses:

            another      anything
            too few      anything but to examine a known store: `status` names it beside others
            older        anything but to read an unknown store; to trust one, this only warns
            unconfirmed  to change a store; to read one, this only warns
            newer        to change a store

        To change a store, its version.age has to open: raise WrongKey or Corrupt if it doesn't.
        """
        is_known = access.known.how != ""
        if access.another:
            raise access.another
        too_few = self.too_few_error(access)
        if too_few and not (is_known and purpose == TO_EXAMINE):
            raise too_few
        # Nothing can be recorded of an unknown store, so each read would ask git again.
        if is_known or purpose != _TO_READ:
            _raise_or_warn(self._older_error(access), warn=purpose == TO_TRUST)
        if purpose in (_TO_READ, TO_CHANGE):
            _raise_or_warn(self._unconfirmed_error(access, purpose), warn=purpose == _TO_READ)
        if purpose == TO_CHANGE and self._files.read_version(access.keys)["version"] != FORMAT_VERSION:
            problem = f"{self._files.path} was written by a newer version of this program"
            raise Conflict(problem, hint="update this copy to change it")

    def _find_access(self, known: KnownStore, by_password: bool) -> Access:
        """Return access to the known store, else to the first that opens.

        `another` is set if that is, or may be, another store than the one that belongs here; `by_password`
        ignores PAISSIVE_IDENTITY. Raise WrongKey, Locked or Corrupt if none opens, Unavailable if there is
        none, Conflict for a store of version 1.
        """
        version_file = self._files.version_file
        self._files.check_exists()
        if not os.path.lexists(version_file):  # the identity may be the key of whoever has made the store
            problem = f"{version_file} is missing, as in stores of version 1, which this copy refuses"
            hint = (
                "restore it; or export --format json with the copy that made the store, "
                "then elsewhere import - --all"
            )
            raise Conflict(problem, hint=hint)
        found = []
        for access in self._candidates(known.member, by_password):
            if known.fits(access.keys.fingerprint()):
                return access._replace(known=known)
            found.append(access)
        # A member's file takes precedence: anybody can seal a version.age to a member's public key.
        found = [access for access in found if access.how == "member"] or found
        return found[0]._replace(known=known, another=self._another_error(found, known))

    def _another_error(self, candidates: list[Access], known: KnownStore) -> Unsafe | None:
        """Return the error about candidates of which none is the known store.

        If no store is known here, return one if these are different stores, or if this one hides a known
        store in a folder above; else None.
        """
        found = candidates[0].keys.fingerprint()
        if known.how:
            problem = f"{self._files.path} has the fingerprint {found}, not {' or '.join(known.fingerprints)}"
            hint = _ADVICE_ON_ANOTHER[known.how].format(commit=self._commit_of(candidates[0]), found=found)
            return Unsafe(problem, hint=hint)
        if len({access.keys.fingerprint() for access in candidates}) > 1:
            # Somebody who knows the member's public key put one there.
            names = ", ".join(access.member for access in candidates)
            problem = f"these members' files in {self._files.members} hold different identities: {names}"
            return Unsafe(problem, hint="see who wrote them: git log")
        above = known_store_above(self._files.path, self._files.cache) if self._files.is_found else ""
        if not above:
            return None
        hint = f"if somebody put it there, remove it; if it was meant: status --trust {found}"
        return Unsafe(f"{self._files.path} was never confirmed, and hides the store {above}", hint=hint)

    def too_few_error(self, access: Access) -> WrongKey | None:
        """Return the error if most of the files that were tried belong to another identity, or None.

        For an unknown store, half is enough. Not all need open: whoever can write to the folder can add
        some, sealed to anything. Damaged files don't count.
        """
        others = sum(isinstance(error, WrongKey) for error in access.problems.values())
        opened = len(access.set_times)
        is_known = access.known.how in ("pin", "record")
        if not others or others < opened or (others == opened and is_known):
            return None
        file = "PAISSIVE_IDENTITY"
        if access.path:
            file = os.path.relpath(access.path, os.path.dirname(self._files.path))
        problem = f"the store's identity does not open most of {self._files.secrets}"
        hint = f"somebody put an older or another identity into {file}{self._commit_of(access)}, or secrets"
        return WrongKey(problem, hint=f"{hint}; see: status")

    def _older_error(self, access: Access) -> Unsafe | None:
        """Return the error if git shows that another identity replaced this one, or None.

        A leaver may put an older store back, which fits the record of those who don't know of the removal. A
        commit without such a history is recorded, so that git is asked once for each. If git can't be asked,
        warn and record nothing: the next access asks again.
        """
        commit = checked_out_commit(self._files.path, self._files.cache)
        newest = commit, access.keys.fingerprint()
        if commit in ("", access.known.commit) or newest == self._newest:
            return None
        try:
            newer = self._commit_of_newer_identity(access)
        except Unavailable as error:
            warn_of_unsearched(self._files.path, error)
            return None
        if newer:
            label = label_of_commit(self._files.path, newer)
            problem = f"{self._files.path} is back at an identity that was replaced in commit {label}"
            hint = (
                f"somebody put an older store back{self._commit_of(access)}; ask whoever removed a member "
                f"or ran rekey, and if it was meant: status --trust {newest[1]}"
            )
            return Unsafe(problem, hint=hint)
        self._newest = newest
        if access.known.how == "record":
            record_commit(self._files.path, commit)
        return None

    def _commit_of_newer_identity(self, access: Access) -> str:
        """Return the newest commit by which another identity replaced this one, or "" if there is none.

        Raise Unavailable if git can't be asked, Unsafe if version.age has too many changes to look at.
        """

        @lru_cache(maxsize=1024)
        def error_at(commit: str) -> SecretsError | None:
            """Return why this identity doesn't open version.age of a commit, WrongKey or Corrupt, or None."""
            sealed = committed_content(self._files.path, "version.age", commit)
            try:
                open_file(self._files.version_file, access.keys.all(), sealed)
            except (WrongKey, Corrupt) as error:
                return error
            return None

        try:
            changes = changes_of(self._files.path, "version.age", "HEAD", access.known.commit)
        except Unavailable:  # the commit that is known may be gone, after a rebase for instance
            changes = changes_of(self._files.path, "version.age", "HEAD")
        for commit in changes:
            if not isinstance(error_at(commit), WrongKey):
                continue
            # On a branch that was merged, it may have replaced a third identity, not this one.
            before = changes_of(self._files.path, "version.age", commit)[1:]
            if None in map(error_at, before):
                return commit
        return ""

    def _unconfirmed_error(self, access: Access, purpose: str) -> Unsafe | None:
        """Return the error if the store isn't known, and wasn't opened by the master password; else None.

        If a member's key has opened it, a configured password is tried as well, and raises what
        `open_by_password` raises; not for reading, since that takes half a second.
        """
        if access.known.how or access.how == "password":
            return None
        found = access.keys.fingerprint()
        can_try = purpose != _TO_READ and self.password() and os.path.lexists(self._files.identity_file)
        if can_try and self.open_by_password().keys.fingerprint() == found:
            return None
        hint = f"compare its fingerprint with another member's, then: status --trust {found}"
        return Unsafe(f"{self._files.path} was never confirmed here, so it is read-only", hint=hint)

    def _commit_of(self, access: Access) -> str:
        """Return `in_last_commit` for the file of the identity."""
        return in_last_commit(access.path or self._files.version_file)

    def _try_files(self, access: Access, at_most: int | None) -> Access:
        """Return access with the result of opening version.age and `at_most` entries, all if that is None."""
        files = self._files
        set_times: dict[str, str] = {}
        problems: dict[str, SecretsError] = {}
        for path, title in chain([(files.version_file, "")], islice(files.entries(), at_most)):
            try:
                with disk_errors(f"read {path}"), suppress(FileNotFoundError):  # it was deleted meanwhile
                    entry = open_entry(title, path, access.keys) if title else files.read_version(access.keys)
                    set_times[title] = entry.get("updated", "")
            except SecretsError as error:
                problems[path] = error
        return access._replace(problems=problems, set_times=set_times)

    def _candidates(self, member: str, by_password: bool) -> Iterator[Access]:
        """Yield access by each file that PAISSIVE_IDENTITY opens or, without one, by the password.

        `by_password` ignores PAISSIVE_IDENTITY. The store's own identity comes first, then this member's
        file. A key may open several members' files, some of them planted. Raise WrongKey, Locked or Corrupt
        if the password doesn't open the store, and `_stranger_error` if PAISSIVE_IDENTITY opens nothing.
        """
        identities = () if by_password else self.configured_identities()
        if not identities:
            yield self.open_by_password()
            return
        keys = None
        errors: list[SecretsError] = []  # about files that this identity may open once they are repaired
        # Never take an identity for the store's because there are no members: somebody may have removed them.
        for path, identity in product([self._files.version_file, self._files.previous_file], identities):
            with _collect_errors(path, errors):
                open_file(path, [identity])
                keys = self._files.keys_of(identity)
        is_found = keys is not None
        if keys:
            yield Access(keys, "identity")
        for name in sorted(self._files.member_names(), key=lambda name: name != member):
            access = None
            with _collect_errors(self._files.member_file(name, "identity.age"), errors):
                access = self._open_member(name, identities)
            if access:
                is_found = True
                yield access
        if not is_found:
            forget_store_credential("PAISSIVE_IDENTITY")
            raise self._stranger_error(errors)

    def _stranger_error(self, errors: Sequence[SecretsError]) -> SecretsError:
        """Return the error for an identity that opens nothing, with the first of these about other files."""
        problem = f"this identity opens no member's file in {self._files.members}"
        if errors:
            error = errors[0]
            return error.reworded(f"{problem}, and one file can't be used: {error.message}", error.hint)
        hint = (
            "ask a member to run: member add NAME age1…; "
            "if it was the store's, use what `identity` prints now"
        )
        return WrongKey(problem, hint=hint)

    def configured_identities(self) -> tuple[Identity, ...]:
        """Return the identities in PAISSIVE_IDENTITY, members' or the store's own; () if it isn't set.

        Raise BadValue if there is anything else in it, and what `read_store_credential` raises.
        """
        text = read_store_credential("PAISSIVE_IDENTITY")
        if not text:
            return ()
        found = parse_identities(text, "PAISSIVE_IDENTITY")
        self.mask(*found)
        return found

    def password(self) -> str:
        """Return the master password that was typed, else the configured one, else ""."""
        return self.typed_password or read_store_credential("PAISSIVE_MASTER_PASSWORD")

    def open_by_password(self) -> Access:
        """Return access by the master password; prompt if it isn't configured.

        Raise Locked if the store has none or there is no terminal, WrongKey or Corrupt, Denied or Unavailable
        if the file can't be read, and BadValue for a bad PAISSIVE_SCRYPT_LOG_N. A wrong password is
        forgotten, so that the next attempt prompts or runs the command again.
        """
        path = self._files.identity_file
        if not os.path.lexists(path):
            hint = "set PAISSIVE_IDENTITY to a member's, with which `password` sets one; to become a member: "
            hint += "identity --new, then ask one to run: member add NAME age1…"
            raise Locked(f"{self._files.path} has no master password", hint=hint)
        log_n = _configured_log_n()
        with credential_lock(path):  # one prompt, and one scrypt, for all threads
            password = self.password()
            if not password:
                self.typed_password = password = ask(f"Master password of {self._files.path}: ")
            passphrase = Passphrase(password, max_log_n=max(LOG_N, log_n))
            try:
                with disk_errors(f"read {path}"):
                    sealed = self._files.cache.load(path, bytes, follow=False)
                    text = decode_value(open_file(path, [passphrase], sealed), path)
                identity = parse_identities(text, path)[0]
            except WrongKey:
                self.typed_password = ""  # somebody else may have changed it since it was typed
                forget_store_credential("PAISSIVE_MASTER_PASSWORD")
                hint = "try again, or check PAISSIVE_MASTER_PASSWORD if set; a member can reset it: password"
                raise WrongKey(f"the master password does not open {self._files.path}", hint=hint) from None
            except BadValue as error:
                raise Corrupt(error.message, hint="restore it from a copy") from None
            self._passphrase = passphrase
        self.credentials[password] = None
        return Access(self._files.keys_of(identity), "password", path, sealed)

    def _open_member(self, name: str, identities: tuple[Identity, ...]) -> Access:
        """Return access by a member's identity.age.

        Raise WrongKey if none of these identities opens it, OSError if it is missing, WrongKey or Corrupt if
        the member's recipient.age doesn't open, or is another's.
        """
        path = self._files.member_file(name, "identity.age")
        sealed = read_file(path, follow=False)
        text = decode_value(open_file(path, identities, sealed), path)
        keys = self._files.keys_of(parse_identities(text, path)[0])
        self._files.read_recipient(name, keys)
        return Access(keys, "member", path, sealed, name)

    def seal_by_password(self, identity: Identity, password: str) -> tuple[str, bytes]:
        """Return path and content of identity.age: the identity, sealed with a new master password.

        Raise BadValue for a password that can't be one, and warn of a short one.
        """
        self._passphrase = new_passphrase(password)
        self.credentials[password] = None
        return self._files.identity_file, seal(f"{identity.reveal()}\n".encode(), self._passphrase)


def _raise_or_warn(error: SecretsError | None, *, warn: bool) -> None:
    """Raise an error or, if `warn`, print it as a warning; do nothing for None."""
    if error and not warn:
        raise error
    if error:
        warn_once(str(error))


@contextmanager
def _collect_errors(path: str, errors: list[SecretsError]) -> Iterator[None]:
    """Append an error about opening a file to `errors` instead of raising it.

    A file that is missing, or sealed to other keys, is passed over in silence.
    """
    try:
        with disk_errors(f"read {path}"), suppress(FileNotFoundError, WrongKey):
            yield
    except SecretsError as error:
        errors.append(error)


def _configured_log_n() -> int:
    """Return PAISSIVE_SCRYPT_LOG_N, or its default; raise BadValue if it is out of range."""
    text = os.environ.get("PAISSIVE_SCRYPT_LOG_N") or str(LOG_N)
    if text not in map(str, range(_MIN_LOG_N, MAX_LOG_N + 1)):
        raise BadValue(f"PAISSIVE_SCRYPT_LOG_N is a number from {_MIN_LOG_N} to {MAX_LOG_N}")
    return int(text)


def new_passphrase(password: str) -> Passphrase:
    """Return a new master password to seal with; warn of a short one.

    Raise BadValue if it is empty, isn't valid Unicode, or has several lines, or if PAISSIVE_SCRYPT_LOG_N is
    out of range.
    """
    log_n = _configured_log_n()
    if re.search("[\r\n]", password):  # no prompt takes it, neither ours nor the age tool's
        raise BadValue("the master password has several lines", hint="use a single line")
    passphrase = Passphrase(password, log_n)
    if len(password) < _MIN_PASSWORD:
        problem = f"the new master password has under {_MIN_PASSWORD} characters, and can be guessed"
        warn_once(f"{problem}; change it to several random words with: password")
    return passphrase


# === Sealed files ===
# The store itself: its secrets, its members, a new identity for it (rekey), and its status. Its policies are
# the same kind of entries in another folder.


class FileStore(Store):
    """age files in a folder, opened by a master password or an identity.

    The folder is `folder`, else PAISSIVE_SECRETS_DIR, else the nearest
    .paissive from the working directory up; the first `set` makes it.
    Methods that have to open the store raise Locked without a password or
    an identity, WrongKey for a wrong one, Corrupt for a damaged file,
    Conflict for a store of version 1, and Unsafe if another store is known
    there, or if others can write to the folder; `get` doesn't look at that
    again for a secret whose file is unchanged. Methods that change the
    store raise Unsafe if it was never confirmed here, and Conflict if a
    newer version of this program wrote it. Threads may share a store.
    """

    def __init__(self, folder: Optional[StrPath] = None) -> None:
        """Choose the folder, which is opened once something is asked for.

        Raise Unavailable if the working directory was removed.
        """
        self._files = SealedFolder(folder)
        self.folder: str = self._files.path
        self._entries = self._files.secrets  # the folder of the entries that this store has
        self._title = ""  # what comes before a name inside an entry
        self._opener = Opener(self._files)
        self._cache = FileCache()  # of opened entries
        self._notes: list[str] = []  # advice after a set has made the store, until it is shown

    def __repr__(self) -> str:
        return f"<FileStore {self.folder}>"

    def location(self) -> str:
        """Return "file FOLDER", with symlinks resolved."""
        return f"file {os.path.realpath(self.folder)}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave values, and what opens the store, out of pickles and copies."""
        return {**vars(self), "_opener": Opener(self._files), "_cache": FileCache()}

    # Secrets.

    def get(self, name: str) -> str:
        """Return the value, or raise NotFound.

        WrongKey: it is sealed to another identity. Corrupt: it is damaged.
        """
        return self._load(name)["value"]

    def get_everything(self) -> dict[str, str]:
        """Return all values by name; a warning names each that doesn't open."""
        found = {}
        if next(self.names(), ""):
            self._opener.keys()  # if the store doesn't open, raise that, rather than warn of each secret
        for name in self.names():
            try:
                found[name] = self.get(name)
            except NotFound:  # it was deleted meanwhile
                continue
            except SecretsError as error:
                warn_once(f"left out: {self._files.explain(self._path(name), error)}")
        return found

    def last_set(self, name: str) -> str:
        """Return since when, in UTC, the secret has had its value.

        Setting the same value again changes nothing: whoever knew it still
        does. "" if the entry, of another program, doesn't say. Raise what
        `get` raises.
        """
        return self._load(name).get("updated", "").rstrip("Z")

    def _load(self, name: str) -> dict[str, str]:
        """Return a secret's entry, from the cache as long as its file doesn't change.

        Raise NotFound, Denied or Unavailable if the file can't be read: see `_read_error`; else what
        `_read_entry` raises.
        """
        path = self._path(name)
        try:
            return self._cache.load(path, partial(self._read_entry, name, path), follow=False)
        except OSError as error:
            raise self._read_error(name, error) from None

    def set(self, name: str, value: str) -> None:
        """Store a value; make the store if there is none.

        WrongKey or Corrupt: the value to replace doesn't open.
        """
        self.set_all({name: value})

    def set_all(self, values: Mapping[str, str]) -> None:
        """Store all of these; after an error, each is old or new."""
        self._set_all(values, lambda: None)

    def set_unless_pending(self, values: Mapping[str, str], *, replace: bool = True) -> None:
        """Store all of these, or raise Conflict: see `check_no_conflict`."""
        self._set_all(values, lambda: self.check_no_conflict(values, replace=replace))

    def _set_all(self, values: Mapping[str, str], check: Callable[[], None]) -> None:
        """Store all of these; `check`, which may raise, is called under the lock before any is stored."""
        # All names and values are checked before anything is asked or made.
        paths = {name: self._path(name) for name in values}
        for value in values.values():
            check_value(value)
        with self._open_to_write() as keys:
            check()
            for folder in {os.path.dirname(path) for path in paths.values()}:
                self._files.check(folder, make=True)
            sealed = {}
            for name, path in paths.items():
                with suppress(FileNotFoundError):
                    open_entry(self._title + name, path, keys)  # never overwrite an entry that doesn't open
                updated = self._time_of(name, values[name], keys)
                entry = {"name": self._title + name, "value": values[name], "updated": updated}
                sealed[path] = seal_texts(entry, keys.seal_to)
            self._files.replace(sealed.items())

    def _time_of(self, name: str, value: str, keys: Keys) -> str:
        """Return since when a stage of this secret has had this value: the present time if none has it.

        A value that is set again, or that a rotation copies, was known to the members who left since then.
        Stages that don't open are passed over. Return "" if the entry doesn't say.
        """
        secret = base_of_stage(name) or name
        digest = sha256(value.encode())  # how long a comparison takes tells nothing about the value
        for stage in STAGES:
            with suppress(SecretsError, FileNotFoundError):
                stored = self.stage_name(secret, stage)
                entry = open_entry(self._title + stored, self._path(stored), keys)
                if sha256(entry["value"].encode()) == digest:
                    return entry.get("updated", "")
        return utc_now()

    def delete(self, name: str) -> None:
        """Delete a secret, even a damaged one; no key is needed.

        NotFound: there is none. Conflict: it is being rotated.
        """
        path = self._path(name)
        try:
            file_state(path, follow=False)  # before the lock, which makes folders
        except OSError as error:
            raise self._read_error(name, error) from None
        folder, file = os.path.split(path)
        with self._files.write_lock(self._entries):
            self._files.check(folder)  # again: never delete through a symlink
            # Where file names ignore case, this name may find another secret.
            if not os.path.lexists(path) or file not in os.listdir(folder):
                raise not_found_error(name, self.folder)
            self.check_not_pending(name)
            os.unlink(path)
            sync_folder(folder, f"{show(name)} is deleted")
            with suppress(OSError):  # the first folder that isn't empty ends this
                while folder != self._entries:
                    os.rmdir(folder)
                    folder = os.path.dirname(folder)

    def check_not_pending(self, *names: str) -> None:
        """Raise Conflict if one of these is being rotated; no key is needed."""
        for name in names:
            with suppress(BadName):  # a name of maximal length has no stages
                if os.path.lexists(self._path(self.stage_name(name, "pending"))):
                    raise unfinished_error(name)

    def sealed_folder(self) -> str:
        """Return the folder with a file for each secret."""
        return self._entries

    def open_copy(self, name: str, sealed: bytes) -> str:
        """Return the value in another copy of a secret's file.

        WrongKey: it is sealed to another identity. Corrupt: it is damaged.
        """
        return open_entry(self._title + name, f"a copy of {name}", self._opener.keys(), sealed)["value"]

    def names(self) -> Iterator[str]:
        """Yield the names; none without a store.

        Unavailable: PAISSIVE_SECRETS_DIR names a folder without a store.
        """
        self._files.check(self._entries)
        if self._files.is_configured:
            self._files.check_exists()
        yield from names_under(self._entries)

    def check_exists(self) -> None:
        """Raise Unavailable if there is no store yet."""
        self._files.check_exists()

    def policy_store(self) -> FileStore:
        """Return the policies as a store, with the same keys."""
        policies = FileStore(self.folder)
        policies._files = self._files
        policies._entries = self._files.policies
        policies._title = POLICY_TITLE
        policies._opener = self._opener
        policies._cache = self._cache
        policies._notes = self._notes
        return policies

    def notes_on_set(self, *names: str) -> Iterable[str]:
        """Return advice, once, if a set has made the store."""
        notes = list(self._notes)
        self._notes.clear()
        return notes

    def _path(self, name: str) -> str:
        """Return the path of a secret's file; raise BadName if no file can have the name."""
        return os.path.join(self._entries, file_name(name))

    def _read_error(self, name: str, error: OSError) -> SecretsError:
        """Return the error for a secret's file that can't be read: NotFound if there is none.

        Raise Unsafe if others can write on the way to it, or Unavailable if the configured store is missing.
        """
        self._files.check(os.path.dirname(self._path(name)))
        if isinstance(error, SecretsError):  # that is an OSError as well, such as Unsafe
            return error
        if not isinstance(error, FileNotFoundError):
            return disk_error(f"read {self._entries}", error)
        if self._files.is_configured:
            self._files.check_exists()
        if os.path.lexists(self.folder):
            return not_found_error(name, self.folder)
        return NotFound(
            f"no secret named {show(name)}: there is no store in {self.folder}", hint=NO_STORE_HINT
        )

    def _read_entry(self, name: str, path: str, sealed: bytes) -> dict[str, str]:
        """Return an entry from its file's content, or from newer content if there was a rekey meanwhile.

        Warn if a merge left the file in conflict. Raise what `Opener.keys` and `open_entry` raise.
        """
        folder = os.path.dirname(path)
        keys = self._opener.keys(folder)
        try:
            entry = open_entry(self._title + name, path, keys, sealed)
        except WrongKey:
            newer = read_file(path, follow=False)
            if newer == sealed and self._opener.keys(folder) is keys:
                raise
            return self._read_entry(name, path, newer)
        conflicts = self._opener.conflicts
        if conflicts and os.path.realpath(path) in conflicts:
            warn_once(f"{path} has a merge conflict, and holds one side's value; see: status")
        return entry

    def credentials(self) -> Iterable[str]:
        """Return the passwords and identities used so far, to mask them."""
        return tuple(self._opener.credentials)

    def reveal_identity(self) -> str:
        """Return the store's identity, AGE-SECRET-KEY-…

        While a rekey is unfinished, the old one follows on a second line.
        """
        return "\n".join(key.reveal() for key in self._opener.keys().all())

    def unlock(self) -> None:
        """Open the store to write, or raise why not; prompt if necessary.

        If there is none, check what is needed to make one.
        """
        self._files.check(self._entries)
        if not self._files.is_new():
            self._opener.keys_to_change()
            return
        if os.environ.get(PIN):
            problem = f"there is no store in {self.folder}, and {PIN} allows no new one"
            raise Unsafe(problem, hint="is it the right folder? see: status")
        require_cryptography()  # before creating anything
        with credential_lock(self._files.identity_file):  # one prompt for all threads
            if not self._opener.configured_identities() and not self._opener.password():
                prompt = f"New master password for {self.folder}: "
                self._opener.typed_password = ask(prompt, twice=True)
        password = self._opener.password()
        if password:
            new_passphrase(password)  # raises BadValue for a bad one

    def check_known(self) -> None:
        """Raise an error unless commands of this store's policies may run.

        Unsafe: it was never confirmed here. Conflict: a newer version of
        this program wrote it. Without a store, do nothing.
        """
        if not self._files.is_new():
            self._opener.keys_to_change()

    def trust(self, fingerprint: str) -> None:
        """Record that the store here is the one with this fingerprint.

        From then on, no other one is opened in its place, unless
        PAISSIVE_STORE_FINGERPRINT is set, which comes first. Unsafe if it
        has another one. WrongKey if half of the secrets or more don't open;
        `status` names each that doesn't. Unavailable if there is no place
        for the record, and it isn't in there yet.
        """
        self._files.check()
        access = self._opener.open(TO_TRUST, KnownStore((fingerprint,), "argument"), all_files=True)
        try:
            record_store(self.folder, [fingerprint], access.member)
        except (Denied, Unavailable) as error:
            recorded = recorded_store(self.folder, self._cache)
            if recorded.fingerprints != (fingerprint,):
                raise Unavailable(
                    f"this can't be remembered: {error.message}", hint=f"set {PIN}={fingerprint} instead"
                ) from None
            self._opener.open(TO_EXAMINE, recorded)  # an older store needs the commit recorded as well

    # Members.

    def change_password(self, password: str) -> None:
        """Seal the identity to a new master password.

        BadValue: it has several lines. Conflict: a rekey isn't finished,
        and this user's key doesn't open its new identity yet. Unavailable:
        there is no store yet.
        """
        self._files.check_exists()
        with self._open_to_write() as keys:
            if os.path.lexists(self._files.previous_file):  # the password would open the old identity only
                problem = "a rekey was not finished, and its new identity isn't sealed to this key yet"
                by_others = "or have a member whose `status` reports it set any secret"
                raise Conflict(problem, hint=f"finish it first: rekey; {by_others}")
            self._files.replace([self._opener.seal_by_password(keys.seal_to, password)])
            self._opener.typed_password = password

    def members(self) -> list[Member]:
        """Return the members; a warning names each whose file is damaged."""
        found, problems = self._opener.settle(lambda: self._files.read_members(self._opener.keys()))
        for error in problems.values():
            warn_once(str(error))
        return found

    def add_member(self, name: str, recipient: str, *, replace: bool = False) -> None:
        """Let whoever has the key to a recipient, "age1…", open the store.

        With `replace`, it takes the place of a member's key, which opens
        copies of the store until the next `rekey`. Conflict: the name or
        the key is taken. NotFound: there is no member to replace. BadName,
        BadValue: no member can have that name, or that recipient.
        Unavailable: there is no store yet.
        """
        self._files.check_exists()
        seal(b"", Recipient(recipient))  # raises BadValue for a bad key before anything is written
        check_member(name)
        with self._open_to_write() as keys:
            self._check_addition(name, recipient, keys, replace)
            self._files.write_member(Member(name, recipient, utc_now()), keys.seal_to)

    def _check_addition(self, name: str, key: str, keys: Keys, replace: bool) -> None:
        """Raise Conflict if the name or the key is taken, NotFound if there is no member to replace."""
        if key == str(keys.seal_to.recipient()):
            raise Conflict("that is the store's own key", hint="a member has another: identity --new")
        is_member = False
        for member in self._files.read_members(keys)[0]:
            if not os.path.lexists(self._files.member_file(member.name, "identity.age")):
                continue  # an addition was killed
            if member.name == name:
                is_member = True
            elif member.recipient == key:
                hint = "each key has one name, so that its removal is complete"
                raise Conflict(f"{show(member.name)} is the member with this key", hint=hint)
        if is_member and not replace:
            hint = "choose another name or, for another key of the same person: --replace"
            raise Conflict(f"there is a member {show(name)}", hint=hint)
        if replace and not is_member:
            raise no_member_error(name)

    # `rekey` replaces the identity OLD by NEW, and so does `member remove`, which leaves somebody out. The
    # table says which of the two opens the store after each step: by password, for a member who stays, and
    # for one who leaves. Whoever has NEW gets OLD from previous.age, and so opens all files.
    #
    #     done so far                                               by password   who stays    who leaves
    #   1 the record of known stores has both fingerprints          OLD           OLD          OLD
    #   2 previous.age has OLD and the leavers, sealed to NEW       OLD           OLD          OLD
    #   3 identity.age has NEW, if the store has a password         NEW, OLD      OLD          OLD
    #   4 the files of members who stay have NEW                    NEW, OLD      NEW, OLD     OLD
    #   5 the files of leavers are removed                          NEW, OLD      NEW, OLD     -
    #   6 version.age is sealed to NEW, with the time of removal    NEW, OLD      NEW, OLD     -
    #   7 so are secrets, policies, and who the members are         NEW, OLD      NEW, OLD     -
    #   8 previous.age is removed                                   NEW           NEW          -
    #   9 the record has the fingerprint of NEW only                NEW           NEW          -
    #
    # It may be killed at any time. The next write or rekey by somebody with NEW takes the remaining steps.
    # Members who still have OLD open everything until then, and seal to OLD. They can't set a password: it
    # would open OLD only. In a store without a password they may rekey: they seal OLD to all members again,
    # so that nobody has that NEW any more, and start over.
    #
    # Where no record can be written, 1 and 9 leave the store unknown. 6 comes before 7, so that readers who
    # have OLD see by version.age that they have to open the store again.

    def rekey(
        self,
        *,
        without: Optional[str] = None,
        post_quantum: bool = False,
    ) -> str:
        """Seal everything to a new identity, and return its fingerprint.

        The key of the member `without` opens nothing any more, whatever
        other names it has. A store without a master password doesn't get
        one. The identity is post-quantum if that is asked for, or if the
        one before was. Entries that are sealed to another identity stay as
        they are, with a warning. Conflict if a damaged file hides the
        member's key, or if there would be neither a password nor a member,
        Corrupt for a damaged file, NotFound if there is no member
        `without`: then nothing is changed.
        """
        leaver = "" if without is None else check_member(without)
        self._files.check()
        self._files.check_exists()
        # If a removal was killed, the member may be gone already.
        was_killed = os.path.lexists(self._files.previous_file)
        if leaver and leaver not in self._files.member_names() and not was_killed:
            raise no_member_error(leaver)
        self._opener.open(TO_CHANGE, by_password=self._has_password())  # don't prompt while holding the lock
        with self._files.write_lock(self._entries):
            access = self._opener.open(TO_CHANGE, by_password=self._has_password(), all_files=True)
            for path, error in access.problems.items():
                if not isinstance(error, WrongKey):
                    raise error
                warn_once(f"skipped: {self._files.explain(path, error)}")
            is_post_quantum = any(key.is_post_quantum for key in access.keys.all())
            old = self._continue_rekey(access.keys).seal_to
            members = self._files.read_members(Keys(old))[0]
            leavers = self._leavers(leaver, members)
            new = Identity.generate(post_quantum=post_quantum or is_post_quantum)
            keys = Keys(new, old, tuple(leavers))
            self._begin_rekey(keys, [member for member in members if member.name not in leavers])
            return self._finish_rekey(keys).fingerprint()

    def _has_password(self) -> bool:
        """Return whether the store has a master password, which a rekey needs then."""
        return os.path.lexists(self._files.identity_file)

    def _leavers(self, leaver: str, members: Sequence[Member]) -> list[str]:
        """Return all names of a member's key, the member's own last; [] for the leaver "".

        Raise Conflict if a damaged file hides the key, which may be that of others.
        """
        if not leaver:
            return []
        key = next((member.recipient for member in members if member.name == leaver), "")
        # A leaver can damage the file that shows the key, and have another name.
        if not key and leaver in self._files.member_names():
            path = self._files.member_file(leaver, "recipient.age")
            problem = f"the key of {show(leaver)} is unknown, and may be another member's, too"
            word = shell_word(leaver)
            hint = f"restore {path}, or put the right key there: member add {word} age1…; then try again"
            raise Conflict(problem, hint=hint)
        # The leaver's own name last, since its file shows the key if this is killed.
        others = [member.name for member in members if member.recipient == key and member.name != leaver]
        return [*others, leaver]

    def _begin_rekey(self, keys: Keys, staying: Sequence[Member]) -> None:
        """Take steps 1 to 3 for a new identity and these members.

        First raise Conflict if there would be neither a password, which has opened the store, nor a member.
        """
        if not (staying or self._has_password()):
            hint = "set a master password first: password"
            raise Conflict("nobody could open the store any more", hint=hint)
        old = keys.all()[1]
        record_if_possible(self.folder, [Keys(old).fingerprint(), keys.fingerprint()])  # 1
        if os.path.lexists(self._files.previous_file):  # of a rekey whose identity this user doesn't have
            self._files.replace(self._files.seal_identity(member, old) for member in staying)
        self._files.replace([self._files.seal_previous(keys)])  # 2
        if self._has_password():
            password = self._opener.password()
            self._files.replace([self._opener.seal_by_password(keys.seal_to, password)])  # 3

    def _continue_rekey(self, keys: Keys) -> Keys:
        """Take the steps that a killed rekey left, if these keys have its new identity; return what remains.

        That is the new identity alone, or these keys if there is no such rekey. The store is locked.
        """
        if keys.old:
            return self._finish_rekey(keys)
        recorded = recorded_store(self.folder, self._cache)
        if len(recorded.fingerprints) > 1 and not os.path.lexists(self._files.previous_file):
            self._record_only(keys)  # 9
        return keys

    def _finish_rekey(self, keys: Keys) -> Keys:
        """Take steps 4 to 9, some of which may be done, and return the new identity alone.

        A member whose files are damaged gets no new identity, and a warning says so. Raise WrongKey or
        Corrupt for version.age or a damaged entry, OSError for a file that can't be read or written: the
        steps that are left are then for the next write.
        """
        files = self._files
        new = keys.seal_to
        members, problems = files.read_members(keys)
        staying = [member for member in members if member.name not in keys.leavers]
        for name in problems.keys() - set(keys.leavers):
            warn_once(f"{show(name)} gets no new identity: {problems[name]}")
        removal_time = utc_now() if keys.leavers else files.read_version(keys).get("left", "")
        files.replace(files.seal_identity(member, new) for member in staying)  # 4
        for name in keys.leavers:
            files.delete_member(name)  # 5
        files.replace([files.seal_version(new, removal_time)])  # 6
        files.replace(files.seal_entries(keys))  # 7
        files.replace(files.seal_recipient(member, new) for member in staying)
        os.unlink(files.previous_file)  # 8
        sync_folder(self.folder, "the store has a new identity")
        self._record_only(keys)  # 9
        return Keys(new)

    def _record_only(self, keys: Keys) -> None:
        """Take step 9; warn if that fails, on a full disk for instance: the rekey itself is complete."""
        try:
            record_if_possible(self.folder, [keys.fingerprint()])
        except (Denied, Unavailable) as error:
            problem = "the store has its new identity, but here the old one still counts as known, too"
            warn_once(f"{problem}, until a change of the store can record it: {error.message}")

    # Status.

    def status(self) -> Iterator[tuple[str, StatusValue]]:
        """Yield the store's state and its problems; this opens all files.

        A file or folder that can't be used is a "problem", not an error.
        """
        conflicts = unmerged_paths(self.folder)
        yield "store", "encrypted files"
        yield "folder", self.folder
        try:
            yield "secrets", count_secrets(self.names())
            access = self._opener.open(TO_EXAMINE, all_files=True)
        except SecretsError as error:
            yield "opens", False
            yield "problem", error
        else:
            yield "opens", True
            yield from self._describe(access)
            for path, problem in self._problems(access):
                if os.path.realpath(path) not in conflicts:
                    yield "problem", problem
        for path in sorted(conflicts):
            yield "conflict", path

    def _describe(self, access: Access) -> Iterator[tuple[str, StatusValue]]:
        """Yield the facts about a store that opens.

        "known to leavers" has the names of what was set before or at the last removal, or at an unknown time.
        """
        pin = access.keys.fingerprint()
        yield "password", self._has_password()
        yield "pin", f"{PIN}={pin}"
        yield "known", bool(access.known.how)
        if not access.known.how:
            yield "note", f"compare the pin with another member's, then: status --trust {pin}"
        kind = "X25519"
        if access.keys.seal_to.is_post_quantum:
            kind = "post-quantum"
            with suppress(SecretsError):  # which `_problems` yields
                weak = not_post_quantum(self._files.read_members(access.keys)[0])
                if weak:
                    kind += f", but X25519 of {', '.join(weak)}"
        yield "keys", kind
        with suppress(SecretsError):  # which `_problems` yields
            removal_time = self._files.read_version(access.keys).get("left", "")
            times = access.set_times
            known = sorted(name for name in self.names() if name in times and times[name] <= removal_time)
            if removal_time and known:
                yield "known to leavers", known

    def _problems(self, access: Access) -> Iterator[tuple[str, SecretsError]]:
        """Yield the problems of a store that opens, each with the path of its file."""
        if access.keys.old:
            yield self._files.previous_file, Conflict("a rekey was not finished", hint="rekey again")
        error = self._opener.too_few_error(access)
        if error:
            yield self._files.secrets, error
        for path, problem in access.problems.items():
            yield path, self._files.explain(path, problem)
        try:
            for name, problem in self._files.read_members(access.keys)[1].items():
                yield self._files.member_file(name, "recipient.age"), problem
        except SecretsError as error:  # others can write to the folder of a member, for instance
            yield self._files.members, error

    @contextmanager
    def _open_to_write(self) -> Iterator[Keys]:
        """Lock the store and yield its keys; make it if there is none.

        A rekey that was killed is finished first, if these keys have its new identity.
        """
        was_new = self._files.is_new()
        was_empty = not any(self._files.entries())
        # Don't prompt while holding the lock.
        try:
            self.unlock()
        except (Locked, WrongKey):
            if not was_empty or self._files.is_new():
                raise
            # Another process may be making the store, and not have written yet what opens it: wait for that.
            with self._files.write_lock(self._entries):
                pass
            self.unlock()
        with self._files.write_lock(self._entries):
            if self._files.is_new():
                yield self._create()
            else:  # before anything is sealed to an identity that other members lack
                yield self._continue_rekey(self._keys_to_change(was_new=was_new))

    def _keys_to_change(self, *, was_new: bool) -> Keys:
        """Return the store's keys, or raise why it can't be written.

        If it `was_new` when this write began, say that another process has just made it.
        """
        try:
            return self._opener.keys_to_change()
        except (Locked, WrongKey) as error:
            if not was_new:
                raise
            problem = f"another process has just made {self.folder}, with another password or identity"
            raise error.reworded(problem, error.hint) from None

    def _create(self) -> Keys:
        """Make a store with a new identity, and return that; the caller holds the lock.

        The owner of PAISSIVE_IDENTITY becomes the first member. The master password opens it, too, if there
        is one; without PAISSIVE_IDENTITY, `unlock` has asked for it.
        """
        own = self._opener.configured_identities()
        new = Identity.generate(post_quantum=bool(own) and own[0].is_post_quantum)
        owner = _login_name() if own else ""
        # First, or after a kill the store would be refused.
        record_if_possible(self.folder, [Keys(new).fingerprint()], owner)
        attributes = os.path.join(self.folder, ".gitattributes")
        if not os.path.lexists(attributes):  # so that git writes no conflict markers into files
            self._files.replace([(attributes, b"*.age binary\n")])
        self._files.replace([self._files.seal_version(new)])
        password = self._opener.password()
        if own:
            self._files.write_member(Member(owner, str(own[0].recipient()), utc_now()), new)
            note = f"note: made {self.folder}, whose first member is {show(owner)}"
            if not password:
                note += "; `password` adds a master password"
            self._notes.append(note)
        if password or not own:
            self._files.replace([self._opener.seal_by_password(new, password)])
        self._opener.mask(new)
        return Keys(new)


def _login_name() -> str:
    """Return this user's login name, or "owner" if that is unknown, or no member can have it."""
    import getpass

    # KeyError and OSError: in a container, a user may have only a number.
    with suppress(KeyError, OSError, ImportError, BadName):
        return check_member(getpass.getuser())
    return "owner"


# === Vault settings ===
# The variables of the `vault` and `bao` commands, and those that begin with PAISSIVE_VAULT_, are read when a
# store is created. A keyword of VaultStore overrides its variable.
# https://developer.hashicorp.com/vault/docs/commands#environment-variables

# What Go's strconv.ParseBool accepts: guessing at "yes" or "off" could turn off certificate checks.
_FLAGS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
# Without a user's password, which messages would show, and '?' or '#', behind which a path would be lost.
_URL = r"(?i)https?://(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?(?:/[a-z0-9_./~%-]*)?"


def parse_address(text: str) -> str | None:
    """Return the address of a server or, with unix://, of a socket; None if it isn't valid.

    A server's has no "/" at its end, no user and no query.
    """
    if text.startswith("unix://"):
        return text if text[7:] else None
    with suppress(ValueError):  # a port or IPv6 address out of range
        if re.fullmatch(_URL, text) and split_url(text).port != 0:
            return str(split_url(text).geturl()).rstrip("/")  # its scheme in lower case
    return None


def split_url(url: str) -> Any:
    """Return urllib's parts of a URL; raise ValueError for an IPv6 address that isn't valid.

    Their `port` raises ValueError for one that isn't valid.
    """
    from urllib.parse import urlsplit

    return urlsplit(url)


def _parse_folder(text: str) -> str | None:
    """Return a path without "/" at its ends; None if no secret's name can begin with it."""
    folder = text.strip("/")
    return None if name_problem(folder) else folder


def parse_header(text: str) -> str | None:
    """Return a text that can be a header's value, of printable ASCII without spaces; None for any other."""
    # Anything else could end a header and begin another.
    return text if re.fullmatch("[!-~]*", text) else None


def _parse_count(text: str) -> int | None:
    """Return a number of up to nine digits; None for any other text."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _parse_login(text: str) -> str | None:
    """Return the name of a login; None if there is no such login."""
    return text if text in VAULT_LOGINS else None


def _parse_timeout(text: str) -> float | None:
    """Return the timeout in seconds, or None if the text isn't a duration.

    As in Vault, 0 means the default of 60, a negative value means no limit (here MAX_DURATION), and a bare
    number is in seconds.
    """
    duration = text.removeprefix("-")
    if duration[-1:].isdigit():
        duration += "s"
    seconds = parse_duration(duration)
    if seconds and text.startswith("-"):
        return MAX_DURATION
    return 60.0 if seconds == 0 else seconds


_ADDRESS = "use https://host:8200, or unix:///path/of/socket"
_FOLDER = "write it as team/app"
UNPRINTABLE_HINT = "look for a space or a line break at its end"


class _Setting(NamedTuple):
    """A setting of a store: the first of its variables that is set is used, even if it is empty."""

    default: str = ""  # parsed like a variable's text
    parse: Callable[[str], object] = str  # returns None for what isn't valid
    hint: str = UNPRINTABLE_HINT  # for what isn't valid
    other_name: str = ""  # of its variable, which comes second


# Those of the `vault` and `bao` commands: a setting's variables are BAO_X and VAULT_X.
_SHARED_SETTINGS = {
    "addr": _Setting("https://127.0.0.1:8200", parse_address, _ADDRESS),
    "agent_addr": _Setting("", parse_address, _ADDRESS),
    "namespace": _Setting("", parse_header),
    "token": _Setting("", parse_header),
    "token_path": _Setting("~/.vault-token", os.path.expanduser),
    "cacert": _Setting(),
    "capath": _Setting(),
    "client_cert": _Setting(),
    "client_key": _Setting(),
    "tls_server_name": _Setting(),
    "skip_verify": _Setting("false", _FLAGS.get, "use true or false"),
    "client_timeout": _Setting("60", _parse_timeout, "use seconds, or a duration such as 1m30s"),
    "max_retries": _Setting("2", _parse_count, "use 0 or more"),
    "proxy_addr": _Setting(other_name="HTTP_PROXY"),
}
# This tool's own, beside those of logins, which Names has: a setting's variable is PAISSIVE_VAULT_X.
_OWN_SETTINGS = {
    "token_command": _Setting(),
    "mount": _Setting("secret", _parse_folder, _FOLDER),
    "prefix": _Setting("", _parse_folder, _FOLDER),
    "hosts": _Setting(),
    "login": _Setting("token", _parse_login, f"use one of: {', '.join(VAULT_LOGINS)}"),
    "login_mount": _Setting("", _parse_folder, _FOLDER),
}


class VaultSettings(SimpleNamespace):
    """The keywords of VaultStore; some are secret, so the repr shows none."""

    __repr__ = object.__repr__

    def __init__(self, keywords: Mapping[str, object]) -> None:
        """Read each setting from its keyword or, if that is absent or None, from its variable.

        Raise BadValue for one that isn't valid, and TypeError for an unknown keyword.
        """
        logins = chain.from_iterable(login.settings() for login in VAULT_LOGINS.values())
        settings = {**_SHARED_SETTINGS, **_OWN_SETTINGS, **dict.fromkeys(logins, _Setting())}
        unknown = keywords.keys() - settings.keys()
        if unknown:
            raise TypeError(f"no keyword {min(unknown)}; there are {', '.join(settings)}")
        values = {name: _read_setting(name, row, keywords.get(name)) for name, row in settings.items()}
        # An agent comes first, but its variable doesn't override the keyword `addr`.
        if values["agent_addr"] and (keywords.get("agent_addr") or not keywords.get("addr")):
            values["addr"] = values["agent_addr"]
        values["login_mount"] = values["login_mount"] or values["login"]
        super().__init__(**values)


def _setting_variables(name: str) -> list[str]:
    """Return the variables of a setting, in the order of precedence."""
    if name not in _SHARED_SETTINGS:
        return [login_variable(name)]
    names = [name.upper(), _SHARED_SETTINGS[name].other_name]
    return [brand + each for each in names if each for brand in ("BAO_", "VAULT_")]


def _read_setting(name: str, row: _Setting, value: object) -> Any:
    """Return a setting from its keyword's value or, if that is None, its variables or its default.

    An empty one without a default is "". Raise BadValue for text that isn't valid, without repeating it.
    """
    source = name
    if value is None:
        source = next((each for each in _setting_variables(name) if each in os.environ), "")
        value = os.environ.get(source, "")
    text = str(value) or row.default
    parsed = row.parse(text) if text else ""
    if parsed is None or not text.isprintable():
        raise BadValue(f"{source} isn't valid", hint=row.hint)
    return parsed


# === Vault transport ===
# Requests to one server by urllib.request, whose handler here keeps connections and follows one redirect if
# the token may go there. A broken connection is a response with status 0. No message repeats text of the
# server or of the library: both may quote a secret.
#
# Four loops repeat a request, each for its own reason: Transport.call after a failure that may pass,
# Session.call with a new token, VaultStore._find where mounts have changed, VaultStore._change over a version
# that others have written.

_MAX_RESPONSE = 32 << 20  # bytes, the server's own default for a request
_MAX_JSON_VALUES = 1 << 20  # in a response; each may take a hundred bytes of memory
_TOO_LARGE = "the response is too large to be Vault's"  # if it exceeds one of these
_FIRST_WAIT = 0.5  # seconds before the first retry, doubled for each later one
_ELECTION_RETRIES = 4  # at least: they take 8 to 15 seconds, as an election may
Json = dict[str, Any]
_REDIRECTS = {301, 302, 303, 307, 308}
_NO_BODY = {204, 304}
# The headers that say where a body ends, if all readers agree on them (RFC 9112, section 6.3): one length, or
# chunks; without both, it ends with the connection.
_FRAMING = r"(?i)\s*(?:[0-9]{1,12}|chunked)?\s*"
_NO_LEADER = "active cluster node not found"  # words of a standby node's error
_ADDRESS_HINT = "check VAULT_ADDR, http or https, and any proxy"
_NETWORK_SETTING = "(?:HTTPS?|NO)_PROXY|SSL_CERT_(?:FILE|DIR)"  # in any case
# What variables of a proxy or a CA had before `load_env` first set them, in either case. The program uses the
# new text. Requests to Vault don't: it may come from a stranger's .env, and would lead the token away.
_before_loading: dict[str, str] = {}
# How a request ended: whether a server carried it out.
DONE, NOT_DONE, UNKNOWN = "done", "not done", "unknown"
# How an attempt ended by the status of its response, and whether another may succeed; the first row counts.
_ENDINGS: tuple[tuple[Container[int], str, bool], ...] = (
    (range(200, 300), DONE, False),
    ([307], UNKNOWN, True),  # from a standby node that can't reach the active one
    (range(300, 400), UNKNOWN, False),  # for good, as from http to https
    ([412, 429], NOT_DONE, True),  # the node lags behind, or gets too many requests
    ([*range(400, 500), 501], NOT_DONE, False),  # 501: it isn't implemented
    (range(500, 1000), UNKNOWN, True),
)


def set_for_program(variable: str, text: str) -> None:
    """Set a variable of this process, for the program alone.

    If it names a proxy or a CA, requests to Vault go on with what it named before it was first set so.
    """
    if re.fullmatch(_NETWORK_SETTING, variable, re.I):
        for spelling in (variable.lower(), variable.upper()):  # on Windows, both are the same variable
            _before_loading.setdefault(spelling, os.environ.get(spelling, ""))
    os.environ[variable] = text


def _network_setting(variable: str) -> str:
    """Return the text of a variable, or what it had before `set_for_program` set that; "" for none."""
    return _before_loading.get(variable, os.environ.get(variable, ""))


def child_object(parent: Json, name: str) -> Json:
    """Return the object that is a member of another; {} if there is no such member, or it isn't an object."""
    value = parent.get(name)
    return value if isinstance(value, dict) else {}  # a server may send anything


def json_number(value: object) -> float:
    """Return a number from JSON; 0 for any other value, and for NaN, infinity and numbers beyond 1e15."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e15 else 0.0


@lru_cache(8)  # it only changes with a write
def _parse_index(text: str) -> tuple[str, int]:
    """Return the cluster and the number in OpenBao's X-Vault-Index; ("", 0) if it can't be read."""
    import base64
    import json

    with suppress(Exception):  # a server may send anything
        found = json.loads(base64.b64decode(text))
        return str(found["cluster"]), int(found["value"])
    return "", 0


def _is_older(index: str, other: str) -> bool:
    """Return whether a state is older than another of the same cluster; False if that can't be known."""
    found, known = _parse_index(index), _parse_index(other)
    return found[0] == known[0] and found[1] < known[1]


class ApiRequest(NamedTuple):
    """A request to the API; its repr doesn't show the body, which may hold a secret."""

    method: str
    path: str  # as it stands in a URL
    body: Json | None = None
    idempotent: bool = True  # whether it may be carried out twice
    fresh: bool = False  # whether it needs a connection on which nothing came before

    def __repr__(self) -> str:
        return object.__repr__(self)


class Transport:
    """Requests from many threads to one server, over connections that are used again.

    In HTTP, only their order says which response belongs to which request. A proxy that sends one response
    too many on one connection may have done so on others, unnoticed. So from the first such response on, no
    connection is used for a second request. The first response on a new connection can't belong to an earlier
    request: that is why a `fresh` request opens one.

    A standby node answers reads from its own copy. So each request names the newest state seen here, and a
    node that lags behind it asks the active one.
    https://developer.hashicorp.com/vault/docs/enterprise/consistency
    """

    newest = ""  # X-Vault-Index of the newest state that any response named
    closed = False  # `close` sets it, for good: no connection is used again, no request is repeated
    _max_idle = 8  # connections to each place; 0 once something came that no request asked for, or no HTTP
    _context: Any = None  # of TLS: made for the first connection to https, used by all

    def __init__(self, settings: VaultSettings) -> None:
        """Connect to nothing yet; raise BadValue for a proxy that isn't supported."""
        self.settings = settings
        self.socket_path = settings.addr.partition("unix://")[2]
        self._base = "http://localhost" if self.socket_path else settings.addr
        self.proxy, self.proxy_login = _find_proxy(settings)
        self.lock = allocate_lock()  # of all that follows, and of `newest`
        self._idle: dict[str, list[Any]] = {}  # connections by "scheme://host"
        self._busy: set[Any] = set()  # connections in use, which `close` interrupts

    def call(
        self, request: ApiRequest, *, token: str = "", deadline: float | None = None, outcome: str = NOT_DONE
    ) -> Exchange:
        """Send a request, and again after a failure that may pass; return the last attempt.

        Failures are in the Exchange, and none is raised. A request that isn't idempotent is sent again only
        if no server has carried it out. `outcome` is that of the same request before, with another token.
        """
        exchange = Exchange(self, request, token)
        exchange.outcome = outcome
        exchange.deadline = deadline or time.monotonic() + self.settings.client_timeout
        for attempt in itertools.count():
            exchange.send(f"{self._base}/v1/{request.path}")
            may_try = exchange.is_temporary and (request.idempotent or exchange.outcome == NOT_DONE)
            retries = self.settings.max_retries
            # A standby node knows no active one, or only one that it can't reach.
            is_leaderless = exchange.status == 307 or exchange.says(_NO_LEADER)
            if retries and is_leaderless:
                retries = max(retries, _ELECTION_RETRIES)
            if not may_try or self.closed or attempt >= retries:
                break
            # With jitter, so that not all clients come at once; more if the server asks for it.
            wait = _FIRST_WAIT * 2**attempt * (1 + os.urandom(1)[0] / 255)
            asked = exchange.headers.get("Retry-After", "")
            if re.fullmatch("[0-9]{1,8}", asked):
                wait = max(wait, int(asked))
            if time.monotonic() + wait > exchange.deadline:
                break
            time.sleep(wait)
        return exchange

    def trusts(self, url: str, target: str) -> bool:
        """Return whether a redirect from `url` may take the token to `target`.

        It may go to the same host and port, or to one of PAISSIVE_VAULT_HOSTS, but not from https to http.
        """
        new = split_url(target)
        if new.scheme not in (split_url(url).scheme, "https") or "@" in new.netloc:
            return False
        if _host_and_port(target) == _host_and_port(url):
            return True
        host = re.sub(":[0-9]*$", "", new.netloc.lower())
        trusted = re.findall("[^ ,]+", self.settings.hosts.lower())
        return host in trusted or f"{host}:{_host_and_port(target)[1]}" in trusted

    def take(self, place: str, *, fresh: bool = False) -> Any:
        """Return a connection to "scheme://host", busy until `give_back`.

        It is an idle one or, if `fresh` or none is usable, a new one that has yet to connect. Raise BadValue
        if the certificates for it can't be loaded.
        """
        with self.lock:
            idle = self._idle.get(place, [])
            connection = None
            while idle and self._max_idle and not fresh and connection is None:
                connection = self._check_idle(idle.pop())
            if connection is None:
                connection = self._new_connection(place)
            self._busy.add(connection)
        return connection

    def _check_idle(self, connection: Any) -> Any:
        """Return an idle connection if it is still usable; hang up and return None if it isn't.

        If it has received a response that no request asked for, use no connection twice from now on.
        """
        import ssl

        connection.sock.settimeout(0)
        try:
            if connection.sock.recv(1):
                self._max_idle = 0
        except (BlockingIOError, ssl.SSLWantReadError):  # nothing, or only TLS's own messages
            # Firewalls drop connections that are idle for long, and neither end notices.
            if time.monotonic() <= connection.deadline:
                return connection
        except OSError:
            pass
        connection.hang_up()
        return None

    def _new_connection(self, place: str) -> Any:
        """Return a connection that has yet to connect, by a tunnel if a proxy leads to https.

        The lock is held. With a unix: address, every place is reached by the socket, also that of a redirect.
        Raise BadValue if the certificates for https can't be used.
        """
        host, port = _host_and_port(place)
        connection = _connection_class()(*_host_and_port(self.proxy or place))
        connection.place = place
        if place.startswith("https:"):
            self._context = self._context or _tls_context(self.settings)
            if self.proxy:
                connection.set_tunnel(host, port, self.proxy_login)
        return connection

    def connect(self, connection: Any) -> None:
        """Connect before the deadline, to the server or by a tunnel through a proxy; then begin TLS.

        Raise what sockets and http.client raise, and Unavailable for a certificate that isn't trusted.
        """
        import socket
        import ssl

        if self.socket_path:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_time_left(connection.deadline))
            connection.sock.connect(self.socket_path)
        else:
            # getaddrinfo has no timeout; resolv.conf sets it.
            found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
            connection.timeout = _time_left(connection.deadline) / len(found)  # each address gets a share
            connection.connect()
        if connection.place.startswith("https:"):
            connection.sock.settimeout(_time_left(connection.deadline))
            host = self.settings.tls_server_name or _host_and_port(connection.place)[0]
            try:
                connection.sock = self._context.wrap_socket(connection.sock, server_hostname=host)
            except ssl.SSLCertVerificationError as error:
                problem = f"the server's certificate isn't trusted: {error.verify_message}"
                hint = "name the CA that signed it in VAULT_CACERT, or the server in VAULT_TLS_SERVER_NAME"
                raise Unavailable(problem, hint=hint) from None

    def give_back(self, connection: Any, *, reusable: bool, in_order: bool = True) -> None:
        """Keep a connection for the next request if it is reusable and there is room, or hang up.

        If its last response wasn't `in_order`, use no connection twice from now on.
        """
        with self.lock:
            self._busy.discard(connection)
            if not in_order:
                self._max_idle = 0
            idle = self._idle.setdefault(connection.place, [])
            if reusable and len(idle) < self._max_idle:
                idle.append(connection)
                return
        connection.hang_up()

    def close(self) -> None:
        """Hang up for good; threads that wait for a response get an error at once."""
        import socket

        with self.lock:
            self.closed = True
            self._max_idle = 0
            self._idle = {}  # dropped connections close
            connected = [connection.sock for connection in self._busy if connection.sock]
        for sock in connected:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket's would go on in plain text


class Exchange:
    """A request and the response to its last attempt, which may both hold secrets."""

    status: int  # of the response; 0 if there is none
    failure: SecretsError | None  # the error if there is no response, None if there is one
    headers: Any  # {} without a response
    body: Json  # {} if the response has none, or isn't JSON, as a proxy's error
    data: Json  # the object "data" in the body; {} if there is none
    is_temporary: bool  # whether the attempt failed, and another may succeed
    deadline: float  # of all attempts, on the monotonic clock
    outcome: str  # DONE or NOT_DONE; UNKNOWN if this or an earlier attempt may have been carried out
    _sent: bool  # whether this attempt may have reached a server

    def __init__(self, transport: Transport, request: ApiRequest, token: str) -> None:
        """Prepare the request's body and headers; `send` sets the fields of the response."""
        import json

        self.transport = transport
        self.request = request
        # A standby that passes a request on also redirects when the active node's response is lost. What must
        # not happen twice isn't passed on, so that a redirect means that nothing was done.
        self._is_direct = bool(not request.idempotent and transport.settings.hosts)
        self._data = None if request.body is None else json.dumps(request.body).encode()
        self._known = transport.newest
        fields = {
            "X-Vault-Request": "true",  # browsers, and servers that fetch URLs for others, can't send it
            "X-Vault-Token": token,
            "X-Vault-Namespace": transport.settings.namespace,
            "X-Vault-Index": self._known,
        }
        if self._known:
            fields["X-Vault-Inconsistent"] = "forward-active-node"
        if self._is_direct:
            fields["X-Vault-No-Request-Forwarding"] = "true"
        if request.method == "PATCH":
            fields["Content-Type"] = "application/merge-patch+json"
        elif self._data:
            fields["Content-Type"] = "application/json"
        self._fields = {name: value for name, value in fields.items() if value}

    def says(self, words: str) -> bool:
        """Return whether the server's errors contain these words, which are in lower case."""
        return words in str(self.body.get("errors")).lower()

    def send(self, url: str) -> None:
        """Make one attempt, which may follow a redirect, and fill in all fields.

        A failure of the connection, or a response that isn't Vault's, is in `failure`; it isn't raised.
        """
        from http.client import HTTPException

        self.status = 0
        self.headers = {}
        self.body = {}
        self.failure = None
        self._sent = False
        try:
            _opener().open(self.new_request(url))  # which calls `perform`
        except (OSError, ValueError, HTTPException) as error:
            self.status = 0
            self.failure = _connection_error(error, self.transport.settings)
            ended = UNKNOWN if self._sent else NOT_DONE
            # An error of this section, as for certificates that can't be loaded, would come again.
            self.is_temporary = not isinstance(error, SecretsError)
        else:
            self._compare_states()
            ended, self.is_temporary = next(row[1:] for row in _ENDINGS if self.status in row[0])
            # A standby node, which wasn't to pass the request on.
            if self._is_direct and (self.status in _REDIRECTS or self.says(_NO_LEADER)):
                ended = NOT_DONE
        if ended != NOT_DONE or self.outcome != UNKNOWN:
            self.outcome = ended
        self.data = child_object(self.body, "data")

    def _compare_states(self) -> None:
        """Note the state that a response names as the newest; turn a read of an older state into a 412.

        That status stands for a node which lags behind: the read is tried again.
        """
        index = self.headers.get("X-Vault-Index", "")
        if index:
            with self.transport.lock:
                if not _is_older(index, self.transport.newest):
                    self.transport.newest = index
        if self.request.method == "GET" and self.request.idempotent and _is_older(index, self._known):
            self.status = 412  # this node was active, and doesn't know yet that it isn't now

    def new_request(self, url: str) -> Any:
        """Return a request for urllib's opener, which leads back here."""
        from urllib.request import Request

        # Without headers and data: audit hooks see those of urllib's requests, and may log them.
        request: Any = Request(url, method=self.request.method)  # noqa: S310 - the address is http or https
        request.exchange = self
        return request

    def may_follow(self, code: int, url: str, target: str) -> bool:
        """Return whether to follow a redirect; if so, note whether the first server may have acted."""
        # Others ask for a GET (RFC 9110, section 15.4), whose success would look like a write's.
        asks_for_same = code in (307, 308) or self.request.method == "GET"
        is_safe = self.request.idempotent or self._is_direct
        if not (is_safe and asks_for_same and self.transport.trusts(url, target)):
            return False
        if self._is_direct:
            self._sent = False
        else:
            self.outcome = UNKNOWN
        return True

    def perform(self, req: Any) -> Any:
        """Send urllib's request over an idle or new connection; return http.client's response.

        Set status, headers and body. Raise what the library raises, ValueError for a response whose end is
        uncertain, and Unavailable for one that isn't Vault's.
        """
        from http.client import HTTPException

        target = req.selector
        fields = {"Host": req.host, **self._fields}
        # For https, a proxy only opens a tunnel, and its login goes no further.
        if self.transport.proxy and req.type == "http":
            target = req.full_url
            fields.update(self.transport.proxy_login)
        connection = self.transport.take(f"{req.type}://{req.host}", fresh=self.request.fresh)
        reusable = False
        in_order = True
        try:
            connection.deadline = self.deadline
            if connection.sock is None:
                self.transport.connect(connection)
            if self.transport.closed:
                raise ConnectionAbortedError
            self._sent = True
            response = self._ask(connection, target, fields)
            raw = response.read()
            in_order = not connection.stream.has_rest()
            reusable = in_order and connection.stream.is_plain and not response.will_close
        except (ValueError, HTTPException):  # it may be the rest of another response
            in_order = False
            raise
        finally:
            self.transport.give_back(connection, reusable=reusable, in_order=in_order)
        self.status = response.status
        self.headers = response.headers
        self.body = _read_body(response.status, raw)
        return response

    def _ask(self, connection: Any, target: str, fields: dict[str, str]) -> Any:
        """Send the request, and return its response, whose body has yet to be read.

        Its `will_close` is False only if the next response can follow it. Raise ConnectionResetError if the
        request wasn't sent completely and the response is no refusal, ValueError if it isn't certain where
        the response ends, and what http.client raises.
        """
        all_sent = False
        # A server that refuses a large request may answer and hang up before it has read all.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(self.request.method, target, self._data, fields)
            all_sent = True
        response = connection.getresponse()
        while 100 <= response.status < 200:  # interim responses (RFC 9110, section 15.2)
            if response.status == 101:
                raise ValueError  # the server switches to another protocol
            response.headers = None  # or http.client's `begin` would do nothing
            response.begin()
        if not all_sent and response.status < 400:
            raise ConnectionResetError
        headers = response.headers
        framing = headers.get_all("content-length", []) + headers.get_all("transfer-encoding", [])
        if headers.defects or not re.fullmatch(_FRAMING, ",".join(framing)):
            raise ValueError  # the next response could be misread
        # Some servers send a body after a status that has none.
        if not all_sent or (response.status in _NO_BODY and framing):
            response.will_close = True
        return response


# Classes derived from the library's are made by functions: the import of http.client and urllib takes longer
# than everything else here.


@cache
def _opener() -> Any:
    """Return an opener with our connections and redirects, and no exception for a status."""
    from urllib import request as urllib_request
    from urllib.error import HTTPError

    class Handler(urllib_request.HTTPRedirectHandler):
        max_redirections = 1

        def http_open(self, req: Any) -> Any:
            """Send a request, and return its response: a method that urllib's openers look for."""
            return req.exchange.perform(req)

        def http_response(self, req: Any, response: Any) -> Any:
            """Follow a redirect, whose response fills the same Exchange; return this response."""
            if response.status in _REDIRECTS:
                with suppress(HTTPError):  # a redirect to a third place, or to another scheme
                    self.http_error_302(req, response, response.status, "", response.headers)
            return response

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            """Return the request that follows a redirect, or None if it mustn't be followed."""
            if req.exchange.may_follow(code, req.full_url, newurl):
                return req.exchange.new_request(newurl)
            return None

        https_open, https_response = http_open, http_response

    opener = urllib_request.OpenerDirector()
    opener.add_handler(Handler())
    return opener


@cache
def _connection_class() -> Any:
    """Return the class of connections: http.client's, with what it lacks.

    That is a deadline for all that is sent and received, a response of limited size, and silence: the token
    reaches neither a debugger's output nor audit hooks.
    """
    from http.client import HTTPConnection, HTTPResponse

    class Connection(HTTPConnection):
        debuglevel = 0  # even if a program sets it for all connections: it would print the token
        deadline: float  # of the monotonic clock; `perform` sets it for each request
        place: str  # "scheme://host" of the server; `_new_connection` sets it
        stream: _Stream  # of the last response

        def send(self, data: Any) -> None:
            """Send data before the deadline, without an audit event: http.client's has the token.

            Raise TimeoutError at the deadline.
            """
            rest = memoryview(data)
            while rest:  # SSLSocket.sendall would restart the timeout with each record
                self.sock.settimeout(_time_left(self.deadline))
                rest = rest[self.sock.send(rest) :]

        def response_class(self, sock: Any, **more: Any) -> Any:  # type: ignore[override]
            """Return http.client's response, which is read from a stream with limits."""
            self.stream = _Stream(_Receiver(self))
            # If only a part of this line has come, the connection isn't used again, which costs little.
            self.stream.is_plain = bool(re.match(rb"HTTP/1\.1 [2-5]", self.stream.peek(10)))
            return HTTPResponse(cast("Any", self.stream), **more)

        def close(self) -> None:
            """Stay open: http.client closes before it reads the last response."""

        def hang_up(self) -> None:
            """Close the connection."""
            super().close()

        __del__ = hang_up  # Python would warn if a dropped store or a child process left it open

    return Connection


class _Receiver(io.RawIOBase):
    """The bytes of one response from a connection's socket, until its deadline and up to _MAX_RESPONSE."""

    is_paused = False  # if set, `readinto` receives nothing
    may_end = False  # whether the end of the connection may end the response

    def __init__(self, connection: Any) -> None:
        self._sock = connection.sock
        self._deadline = connection.deadline
        self._budget = _MAX_RESPONSE  # bytes that may still come

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Receive some bytes and return their number, None while paused.

        Raise TimeoutError at the deadline, Unavailable beyond the limit, and ConnectionResetError if the
        connection ends too early.
        """
        if self.is_paused:
            return None
        self._sock.settimeout(_time_left(self._deadline))
        size: int = self._sock.recv_into(buffer)
        self._budget -= size
        if self._budget < 0:  # nobody has to hold what a hostile server sends
            raise not_vault_error(_TOO_LARGE)
        if not size and not self.may_end:
            raise ConnectionResetError  # http.client takes a head that is cut off for a whole one
        return size


class _Stream(io.BufferedReader):
    """The socket and file that http.client reads one response from."""

    raw: _Receiver
    is_plain = False  # whether it begins with the final response; `response_class` sets it

    def makefile(self, _mode: str) -> _Stream:
        """Return this stream, as a socket would return a file to read from."""
        return self

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, or without one to the end of the connection; Unavailable if that is too many."""
        if size is None or size < 0:
            self.raw.may_end = True
        elif size > _MAX_RESPONSE:
            raise not_vault_error(_TOO_LARGE)  # before room is made for it
        return super().read(size)

    def close(self) -> None:
        """Stay open: http.client closes after the last byte of the response, before `has_rest`."""

    def has_rest(self) -> bool:
        """Return whether more was received than was read; receive no more."""
        self.raw.is_paused = True
        return bool(self.peek(1))


def url_path(path: str, safe: str = "/") -> str:
    """Return a path as it stands in a URL: all but letters, digits, "_.-~" and `safe` is escaped."""
    from urllib.parse import quote

    return quote(path, safe)


def _find_proxy(settings: VaultSettings) -> tuple[str, dict[str, str]]:
    """Return the address of the proxy, "" for none, and the header that logs in to it, {} for none.

    Raise BadValue for a proxy that expects anything but plain HTTP.
    """
    import base64
    from urllib.parse import unquote

    proxy = settings.proxy_addr
    if settings.addr.startswith("unix:"):
        return "", {}
    if not proxy and not _is_reached_directly(settings.addr):
        proxy = _proxy_variable(split_url(settings.addr).scheme)
    if not proxy:
        return "", {}
    # A proxy that expects TLS or SOCKS would get the password in clear text.
    parts = re.fullmatch("(?i)(?:http://)?(?:([^/?#]*)@)?([^/?#@]+)/?", proxy)
    address = parse_address(f"http://{parts[2]}") if parts else None
    if not parts or not address:
        hint = "use http://host:port in VAULT_PROXY_ADDR, or name the server in NO_PROXY"
        raise BadValue("the proxy isn't supported", hint=hint)
    header = {}
    if parts[1]:
        login = unquote(parts[1]).encode(errors="surrogateescape")
        header["Proxy-Authorization"] = "Basic " + base64.b64encode(login).decode()
    return address, header


def _is_reached_directly(address: str) -> bool:
    """Return whether NO_PROXY excepts a server, read as Go does; this machine always is.

    https://pkg.go.dev/golang.org/x/net/http/httpproxy
    """
    host, port = _host_and_port(address)
    entries = ["localhost", "127.0.0.0/8", "::1", *re.split("[ ,]+", _proxy_variable("no").lower())]
    return "*" in entries or any(_matches_no_proxy(entry, host, str(port)) for entry in entries)


def _matches_no_proxy(entry: str, host: str, port: str) -> bool:
    """Return whether an entry of NO_PROXY, in lower case, names this host: by address, range or domain."""
    import ipaddress

    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    parts = re.fullmatch(r"\[?([^]]+?)]?(?::([0-9]+))?", entry)
    if not parts or parts[2] not in (None, port):
        return False
    return parts[1] == host or host.endswith("." + parts[1].removeprefix("*").removeprefix("."))


def _proxy_variable(kind: str) -> str:
    """Return the text of http_proxy, https_proxy or no_proxy, else of the same in upper case, else ""."""
    if kind == "http" and "REQUEST_METHOD" in os.environ:  # in CGI, a client's header sets HTTP_PROXY
        return ""
    lower = f"{kind}_proxy"
    return _network_setting(lower) or _network_setting(lower.upper())


def _time_left(deadline: float) -> float:
    """Return the seconds until a deadline; raise TimeoutError if there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _host_and_port(url: str) -> tuple[str, int]:
    """Return the host, "" if there is none, and the port, or the default one."""
    parts = split_url(url)
    return parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]


def not_vault_error(problem: str = "the response isn't Vault's") -> Unavailable:
    """Return the error for a response that Vault wouldn't send."""
    return Unavailable(problem, hint=_ADDRESS_HINT)


def _tls_context(settings: VaultSettings) -> Any:
    """Return the context of TLS with the certificates in the settings; BadValue if they can't be loaded."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the oldest that Vault accepts
    context.hostname_checks_common_name = False  # only alternative names, as Go does
    try:
        _load_authorities(context, settings)
        if settings.client_cert or settings.client_key:
            # The empty password keeps OpenSSL from prompting.
            context.load_cert_chain(settings.client_cert, settings.client_key or None, password="")
    except OSError as error:
        reason = error.strerror or ""
        if isinstance(error, ssl.SSLError):
            reason = "the key isn't that of the certificate" if "MISMATCH" in reason else "not PEM"
        hint = "check VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"
        raise BadValue(f"certificates can't be loaded: {reason}", hint=hint) from None
    if settings.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_authorities(context: Any, settings: VaultSettings) -> None:
    """Trust the CAs in the settings' file or folder or, without these, the system's.

    Raise OSError for a file that can't be read, BadValue if `load_env` changed which ones are the system's.
    """
    import ssl

    if settings.cacert:
        context.load_verify_locations(settings.cacert)
    elif settings.capath:
        # Files at any depth, as Vault does; OpenSSL looks for hashed names only.
        paths = [os.path.join(place, name) for place, _, names in os.walk(settings.capath) for name in names]
        for path in paths:
            with suppress(ssl.SSLError):  # a key, for instance
                context.load_verify_locations(path)
    else:
        for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            if os.environ.get(variable, "") != _network_setting(variable):
                problem = f"{variable}, which load_env has set, can't say which CA to trust for Vault"
                raise BadValue(problem, hint="set it before the program starts, or set VAULT_CACERT")
        context.load_default_certs()


def _read_body(status: int, raw: bytes) -> Json:
    """Return the object in a body; {} for an error that isn't JSON, as a proxy's.

    Raise Unavailable for 200, 400 or 404 that isn't Vault's, and for a body with too many values.
    """
    body: Json | None = None
    # A value follows a comma, or begins an array or object. Those in strings count as well.
    if sum(map(raw.count, (b",", b"[", b"{"))) > _MAX_JSON_VALUES:
        raise not_vault_error(_TOO_LARGE)
    if not raw and status != 200:
        raw = b"{}"
    with suppress(ValueError):  # whose message would quote the body
        body = parse_json(raw.decode(), "the response")
    # Any server may answer 404, but not with one of these.
    if body is None or (status == 404 and not body.keys() & {"data", "errors"}):
        if status in (200, 400, 404):
            raise not_vault_error()
        return {}
    return body


def _connection_error(error: Exception, settings: VaultSettings) -> SecretsError:
    """Return the error for a request that ended with an OSError, ValueError or HTTPException.

    A SecretsError is returned as it is; of any other, no text is repeated.
    """
    import socket
    import ssl
    from http.client import HTTPException, IncompleteRead

    if isinstance(error, SecretsError):
        return error
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    kinds: dict[Any, str] = {
        ssl.SSLError: f"the TLS connection failed ({getattr(error, 'reason', '')})",  # a constant
        (socket.gaierror, UnicodeError): "no such host",  # the latter for vault..example
        (TimeoutError, socket.timeout): "it didn't answer in time",
        (ConnectionError, IncompleteRead): reason or "the connection broke",
        OSError: reason or "its proxy refuses, or the path of its socket is too long",  # without a number
        (ValueError, HTTPException): "what answers there doesn't speak HTTP",
    }
    problem = next(problem for kind, problem in kinds.items() if isinstance(error, kind))
    return Unavailable(f"Vault can't be reached at {settings.addr}: {problem}", hint=_ADDRESS_HINT)


def unknown_outcome_error(error: SecretsError) -> SecretsError:
    """Return a copy of an error that also says that the write may have been carried out."""
    return error.reworded(f"{error.message}; whether the write was carried out is unknown", error.hint)


# Words of the server's errors, in lower case, and the error, message and hint that a user gets.
_VAULT_FAILURES: tuple[tuple[str, type[SecretsError], str, str], ...] = (
    ("is sealed", VaultSealed, "Vault is sealed", "unseal it with: vault operator unseal, or init if new"),
    ("namespace not found", BadValue, "there is no such namespace", "check VAULT_NAMESPACE"),
    ("too large", BadValue, "the value is too large for Vault", "keep large files elsewhere, sealed"),
    ("high complexity", BadValue, "it has too many fields for Vault", "split it into several secrets"),
    ("parameter required", Conflict, "the secret requires check-and-set", "pass cas=, the current version"),
)


def vault_error(response: Exchange, capability: str, path: str) -> SecretsError:
    """Return the error for a response that isn't a success; its request needs a capability on a path.

    Without a response, it is the `failure`; else, by status or words, Denied, VaultSealed, BadValue, Conflict
    or Unavailable.
    """
    if response.failure:
        return response.failure
    if response.status in _REDIRECTS:
        hint = (
            "unless it is electing a leader, set PAISSIVE_VAULT_HOSTS to its nodes, or VAULT_ADDR to that one"
        )
        return Unavailable("Vault redirects to another node, where the token must not go", hint=hint)
    if response.status == 403:
        hint = f'its policies need: path "{path}" {{ capabilities = ["{capability}"] }}'
        return Denied(f"the token may not {capability} {path}", hint=hint)
    for words, kind, message, hint in _VAULT_FAILURES:
        if response.says(words):
            return kind(message, hint=hint)
    if response.status < 300 or (response.status == 405 and not response.body):
        return not_vault_error()
    address = response.transport.settings.addr
    problem = f"Vault at {address} answers {response.status} to: {capability} {path}"
    return Unavailable(problem, hint="try again later, or see the server's log")


# === Vault logins ===
# A session renews its token after two thirds of its lease and logs in again once it is gone, during calls and
# while `run` or `keep_alive` waits: another program that can't log in again has to make a call in the last
# third of each lease. If many threads notice at once, one acts for all.
# https://openbao.org/api-docs/auth/

_RENEW_AT = 2 / 3  # of a lease, as in Vault's agent: a third is left for a server that is down
# Seconds until a configured token is renewed, to learn its lease: most commands end sooner, and some tokens
# have few uses.
_FIRST_RENEWAL = 5.0
# Statuses by which Vault grants or refuses a renewal; any other, as of a proxy's page, decides nothing.
_RENEWAL_ANSWERS = (200, 400, 403)
_LOCKED_SECONDS = 300  # before credentials that were refused are sent again, where that locks accounts
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0  # seconds after other failures, doubled for each one in a row
LOOK_UP = ApiRequest("GET", "auth/token/lookup-self")  # the server's record of a token
CLOSE_SECONDS = 2.0  # for revoking: don't delay a program's end when the server is down
_LOGIN_HINT = "set VAULT_TOKEN, or choose a login with PAISSIVE_VAULT_LOGIN"
FOREVER = float("inf")
# Settings that a command which prints a token gets, to reach the same server.
_COMMAND_SETTINGS = (
    "addr",
    "namespace",
    "cacert",
    "capath",
    "client_cert",
    "client_key",
    "tls_server_name",
    "skip_verify",
)


def warn_of_leases(error: SecretsError) -> None:
    """Warn that leases couldn't be revoked because of an error."""
    warn_once(f"leases of Vault could not be revoked, and will expire: {error}")


class Lease:
    """The time that a token or a dynamic secret lasts; `response` is the secret's, None for a token."""

    def __init__(self, seconds: float = FOREVER, response: Any = None) -> None:
        self.response = response
        self.start(seconds)

    def start(self, seconds: float) -> None:
        """Let the lease last these seconds from now."""
        self.seconds = seconds
        self.fresh_until = time.monotonic() + seconds * _RENEW_AT  # when a read needs another secret
        self.renew_at = self.fresh_until  # `put_off` moves this one if a renewal fails

    def is_due(self) -> bool:
        """Return whether it is time for a renewal: at two thirds, or when `put_off` says."""
        return self.renew_at <= time.monotonic()

    def put_off(self) -> None:
        """Let the next renewal wait for a tenth of the lease, at least a second."""
        self.renew_at = time.monotonic() + max(1.0, self.seconds / 10)

    def extend(self, about: Json) -> bool:
        """Start again with what a renewal granted, and return True; if that is too short, return False.

        Half of the lease or less means that it is gone, or nears its maximum.
        """
        longer = json_number(about.get("lease_duration"))
        if longer <= self.seconds / 2:
            return False
        self.start(longer)
        return True


def lease_seconds(about: Json) -> float:
    """Return the seconds that a response's token or secret lasts; FOREVER if it names none."""
    return json_number(about.get("lease_duration")) or FOREVER


class _Refusal:
    """The last failure, and until when the same attempt fails again without being made."""

    def __init__(self) -> None:
        self._what: object = None  # credentials, or a command
        self._error = SecretsError("")
        self._until = 0.0  # on the monotonic clock
        self._pause = 0.0  # seconds

    def check(self, what: object) -> None:
        """Raise the last error again if it was about the same, and its time isn't over."""
        if what == self._what and time.monotonic() < self._until:
            raise self._error.reworded(self._error.message, self._error.hint)

    def record(self, what: object, error: SecretsError, seconds: float = 0.0) -> None:
        """Record an error, which `check` raises for these seconds; for 0, as long as the pause.

        The pause is _FIRST_PAUSE, doubled with each failure of the same in a row, up to _LAST_PAUSE.
        """
        if what == self._what:
            self._pause = min(self._pause * 2, _LAST_PAUSE)
        else:
            self._pause = _FIRST_PAUSE
        self._what = what
        self._error = error
        self._until = time.monotonic() + (seconds or self._pause)


class Session:
    """Calls with a token that is obtained when it is needed, renewed, and replaced once it has expired."""

    held: str | None = None  # the token; "" if an agent may add its own, None until it is needed

    def __init__(self, settings: VaultSettings) -> None:
        """Obtain no token yet; raise BadValue for a proxy that isn't supported."""
        self.settings = settings
        # Tokens come from the login. With "token" or a command, the one in the settings comes first, then the
        # command's or, without a command, that of the file.
        self._logs_in = settings.login != "token" and not settings.token_command
        self.uses_command = bool(settings.token_command and not settings.token)
        self._lease = Lease()  # the token's
        self._refusal = _Refusal()  # of a login, or of the command for a token
        self.login_secrets: set[str] = set()  # that were sent to log in, also from files and commands
        self._closed = False  # for good: `close` sets it
        self.reset("")

    def reset(self, newest: str) -> None:
        """Begin with new connections, locks and leases: after a fork, the old ones are the parent's.

        The token stays. `newest` is the state of the server that was seen last.
        """
        self.transport = Transport(self.settings)
        self.transport.newest = newest
        self._lock = allocate_lock()  # of the token: one thread at a time gets or renews it
        self.leases: dict[str, Lease] = {}  # of dynamic secrets, by path, until the token that read them ends
        self.lease_locks: dict[str, Any] = {}  # by path: one thread at a time reads such a secret
        self._revoking = allocate_lock()  # one thread at a time revokes: `close` waits for others
        self._is_own = False  # whether this process got the token by logging in
        self.pid = os.getpid()

    def call(self, request: ApiRequest) -> Exchange:
        """Do what a transport's `call` does, with a token; if that is unknown, replace it and call once more.

        The server's errors are in the Exchange. Raise an error if the session is closed, or if no token can
        be had: Locked, BadValue or Unavailable. It says so if the request may have been carried out.
        """
        self._revoke_if_closed()
        call = partial(self.transport.call, request)
        if self.held is None:
            self.token()  # a login doesn't shorten the time of the request
        deadline = time.monotonic() + self.settings.client_timeout  # of this, and of a renewal before it
        token = self.token()
        response = call(token=token, deadline=deadline)
        # Refused by a policy, or for an unknown token; in both cases, the request wasn't carried out.
        if response.status != 403:
            return response
        try:
            if not self._replace_token(token):
                return response
        except SecretsError as error:
            if response.outcome == UNKNOWN:
                raise unknown_outcome_error(error) from None
            raise
        return call(token=self.token(), outcome=response.outcome)

    def token(self) -> str:
        """Return the token, after a login if there is none, or a renewal if that is due.

        "" stands for none: an agent may add its own. If there is none, a login that fails raises an error. A
        renewal doesn't, nor a login in its place: the token is still valid for a while.
        """
        if self.held is not None and not self._lease.is_due():
            return self.held
        with self._lock:
            if self.held is None:
                self._log_in()
            elif self._lease.is_due():
                with suppress(SecretsError):
                    self._renew_token(self.held)
        return self.held or ""

    def renew(self) -> float:
        """Renew the token and leases that are due; return the seconds until the next one is, or FOREVER.

        Raise an error if a renewal fails; it is tried again after a while.
        """
        if self.held is None or self._closed:  # no request needs it yet, or any more
            return FOREVER
        with self._lock:
            if self._lease.is_due():
                self._renew_token(self.held)
        for path, lease in list(self.leases.items()):
            if lease.is_due():
                self._renew_lease(path, lease)
        due = [lease.renew_at for lease in (self._lease, *self.leases.values())]
        return max(1.0, min(due) - time.monotonic())

    def close(self) -> None:
        """Hang up for good, and revoke all leases and the token of a login; raise an error if that fails.

        Wait CLOSE_SECONDS at most for logins and leases under way; a later one is revoked by its own thread.
        """
        deadline = time.monotonic() + CLOSE_SECONDS
        self._closed = True
        for lock in (self._lock, *list(self.lease_locks.values())):
            if lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                lock.release()
        self.transport.close()
        self._revoke()

    def add_lease(self, path: str, lease: Lease) -> None:
        """Put the lease of a dynamic secret in the place of an earlier one, which ends by itself.

        After `close`, revoke it and raise Unavailable.
        """
        self.leases[path] = lease
        self._revoke_if_closed()

    def _revoke_if_closed(self) -> None:
        """After `close`, revoke leases and a login that came too late for it, and raise Unavailable.

        If they can't be revoked, only warn of it.
        """
        if self._closed:
            try:
                self._revoke()
            except SecretsError as error:
                warn_of_leases(error)
            hint = "open another, and close it when nothing uses it any more"
            raise Unavailable("the store was closed", hint=hint)

    def _revoke(self) -> None:
        """Revoke all leases and the token, if this process logged in; raise an error if that fails.

        A token that was configured, or that a parent process or a command obtained, stays valid.
        """
        with self._revoking:
            token = self.held
            leases = list(self.leases.values())  # at once: other threads may add some
            self.leases = {}
            if token is None:  # revoked already, and leases end with the token that acquired them
                return
            requests = [
                ApiRequest("POST", "sys/leases/revoke", {"lease_id": lease.response.body["lease_id"]})
                for lease in leases
            ]
            if self._is_own:
                requests = [ApiRequest("POST", "auth/token/revoke-self", {})]
                self.held = None
                self._is_own = False
            last = Transport(self.settings)
            deadline = time.monotonic() + CLOSE_SECONDS
            responses = [last.call(request, token=token, deadline=deadline) for request in requests]
        for response in responses:
            if response.status not in (200, 204):
                raise vault_error(response, "update", response.request.path)

    def _replace_token(self, stale: str) -> bool:
        """Replace a token that was refused as unknown; return whether there is another one now.

        It stays if the server knows it: then a policy refused. Raise an error if no other can be had.
        """
        with self._lock:
            if self.held == stale:
                # With "", an agent may add a token. A policy that refuses even this says "1 error occurred".
                response = self.transport.call(LOOK_UP, token=stale)
                if response.status == 403 and not response.says("1 error occurred"):
                    self._log_in(stale)
            return self.held != stale

    def _log_in(self, stale: str | None = None) -> None:
        """Set `held` to a token other than the `stale` one that was refused, "" if an agent may add its own.

        It comes from the login, else from the setting, the command or the file. Forget all leases, which end
        with the old token. Raise Locked if there is no other token, what a login or command raises, and
        Unavailable after `close`. The lock is held.
        """
        token = str(self.settings.token)
        seconds = FOREVER
        if self._logs_in:
            token, seconds = self._request_token()
        elif self.uses_command:
            token = self._run_token_command(stale)
        elif not token and os.path.isfile(self.settings.token_path):  # a FIFO could block
            token = _read_login_file(self.settings.token_path)
        # The variable or file is the same, or gone.
        if token == stale or (stale and not token):
            problem = "no token for Vault"
            if stale:
                problem = "the Vault token is unknown: it has expired or was revoked"
            raise Locked(problem, hint=_LOGIN_HINT)
        self.held = _check_token(token)
        self.leases = {}  # they end with the token that read them
        self._is_own = self._logs_in
        self._lease = Lease(seconds)
        if token and not self._logs_in:  # another program made it, so its lease isn't known yet
            self._lease.seconds = 0.0
            self._lease.renew_at = time.monotonic() + _FIRST_RENEWAL
        self._revoke_if_closed()

    def _renew_token(self, token: str) -> None:
        """Renew the token; if that fails or grants too little, log in again.

        Without a login, a refusal, or a grant that is too short, is final: the token is used until it ends.
        Only a refusal for a token that could be renewed before is raised, as Denied. After any other failure,
        raise an error and try again in a while. The lock is held.
        """
        self._lease.put_off()
        path = "auth/token/renew-self"
        response = self.transport.call(ApiRequest("POST", path, {}), token=token)
        granted = child_object(response.body, "auth")
        if self._lease.extend(granted):
            if granted.get("num_uses"):  # each renewal takes one of them
                self._lease.renew_at = FOREVER
            return
        if self._logs_in:
            self._log_in()
            return
        if response.status in _RENEWAL_ANSWERS:
            self._lease.renew_at = FOREVER
            # A token of unknown lease may have none, so that its renewal is refused.
            if response.status != 403 or not self._lease.seconds:
                return
        raise vault_error(response, "update", path)

    def _renew_lease(self, path: str, lease: Lease) -> None:
        """Renew a dynamic secret's lease; warn once if it can't be renewed for as long as it was granted.

        Raise what `call` raises. If the server can't be reached or doesn't answer as Vault does, do nothing:
        the next attempt waits a while.
        """
        lease.put_off()
        body = {"lease_id": lease.response.body["lease_id"], "increment": int(lease.seconds)}
        response = self.call(ApiRequest("POST", "sys/leases/renew", body))
        granted = json_number(response.body.get("lease_duration"))
        if response.status not in _RENEWAL_ANSWERS:
            return
        if granted < body["increment"]:
            warn_once(f"the secret at {path} ends soon and can't be renewed: read it again, or restart")
        if not lease.extend(response.body):
            lease.renew_at = FOREVER  # it is gone, or nears its maximum: the next read gets another

    def _request_token(self) -> tuple[str, float]:
        """Log in with the credentials in the settings; return the token and its seconds.

        Raise Locked if they are refused, were refused shortly before, are missing, or need a second factor;
        another error if the server can't be asked.
        """
        settings = self.settings
        name = settings.login
        login = VAULT_LOGINS[name]
        where = f"auth/{url_path(settings.login_mount)}/login"
        if login.user:
            where += "/" + url_path(self._login_value(login.user), safe="")
        body = {member: self._login_value(setting) for member, setting in login.body.items()}
        self._refusal.check(body)
        response = self.transport.call(ApiRequest("POST", where, body))
        auth = child_object(response.body, "auth")
        if auth.get("mfa_requirement"):
            raise Locked(f"the {name} login needs a second factor", hint=_LOGIN_HINT)
        if isinstance(auth.get("client_token"), str):
            self._refusal = _Refusal()
            return auth["client_token"], lease_seconds(auth)
        if response.status not in (400, 403):
            raise vault_error(response, "update", where)
        hint = f"check the credentials, the login mount {settings.login_mount}, and the server's log"
        error = Locked(f"Vault refuses the {name} login", hint=hint)
        # Vault gives the same answer while an identity provider is down: try again soon, unless that could
        # lock an account.
        seconds = _LOCKED_SECONDS if login.locks_accounts else 0.0
        self._refusal.record(body, error, seconds)
        raise error

    def _login_value(self, name: str) -> str:
        """Return the value of a login's setting, "" for an optional one that is missing; else raise Locked.

        A secret that isn't set is read as a store credential (from a file, a command or systemd), then from
        the login's usual file. Secrets are recorded in `login_secrets`, to be masked.
        """
        login = VAULT_LOGINS[self.settings.login]
        variable = login_variable(name)
        value = str(getattr(self.settings, name))
        is_secret = name in login.secrets
        if is_secret and not value:
            value = read_store_credential(variable, is_brief=True).strip()
            if login.file and not value:
                value = _read_login_file(login.file)
        if not value and name not in login.optional:
            hint = credential_sources(variable) if is_secret else f"set {variable}"
            raise Locked(f"no {name} to log in with", hint=hint)
        if is_secret:
            self.login_secrets.add(value)
        return value

    def _run_token_command(self, stale: str | None) -> str:
        """Return the token that the user's command prints, which must not be the `stale` one.

        Raise an error if the command fails, prints no valid or only a stale token, or did so shortly before.
        """
        command = self.settings.token_command
        what = login_variable("token_command")
        self._refusal.check(command)
        # In the command's environment, which holds no other credential of a store, `vault` and `bao` reach
        # this store's server.
        environment = child_environment()
        for name in ("agent_addr", *_COMMAND_SETTINGS):
            for brand in ("BAO_", "VAULT_"):
                environment.pop(brand + name.upper(), None)
        for name in _COMMAND_SETTINGS:
            value = getattr(self.settings, name)
            if value:
                environment["VAULT_" + name.upper()] = "true" if value is True else value
        try:
            token = _check_token(run_credential_command(what, command, environment).strip())
            if token == stale:
                raise Locked(
                    f"the Vault token that {what} prints is unknown", hint="run it by hand to see why"
                )
        except SecretsError as error:
            self._refusal.record(command, error)
            raise
        self._refusal = _Refusal()
        return token


def _check_token(token: str) -> str:
    """Return a token, also ""; raise BadValue if no header can hold it."""
    if parse_header(token) is None:
        raise BadValue("the token has a character that isn't allowed", hint=UNPRINTABLE_HINT)
    return token


def _read_login_file(path: str) -> str:
    """Return the text of a file that opens the store, without space around it; Locked if it can't be read."""
    try:
        return check_value(read_credential(path).strip())
    except (OSError, ValueError):
        raise Locked(f"the file {show(path)} can't be read", hint="check path, owner and mode") from None


# === Vault store ===
# The name `app/db#password` is field `password` of the KV secret `app/db`; without '#' the field is `value`;
# `app/db#` is all fields, as JSON. A name that begins with the path of a mount is in that mount, any other in
# the configured one, below its prefix. A write depends on the version that was read (check-and-set).
# https://openbao.org/api-docs/secret/kv/kv-v2/

_FIELD = "value"
_CAS_TRIES = 50  # of a write while others write the same secret
_IDLE_SECONDS = 5.0  # between looks at what is due: other threads may have read a dynamic secret meanwhile
_MOUNTS_SECONDS = 5.0  # for which known mounts are trusted: others may add or upgrade one
# Methods by the capability that a request needs; any other is POST.
_METHODS = {"read": "GET", "list": "GET", "patch": "PATCH", "delete": "DELETE"}


class _Path(NamedTuple):
    """The place of a secret."""

    mount: str  # without "/" at its end
    kv: int  # the mount's version of KV; 0 if it isn't KV
    path: str  # within the mount

    def at(self, kind: str) -> str:
        """Return the API path for a kind of request: data, metadata, delete and so on.

        Only paths of KV 2 have the kind in them.
        """
        return f"{self.mount}/{kind}/{self.path}" if self.kv == 2 else f"{self.mount}/{self.path}"

    def below(self, path: str) -> _Path:
        """Return the place of a path in this folder."""
        return self._replace(path=self.path + path)


class _Mounts:
    """The mounts that a token may see, shared by a store and its views; any thread may ask for them again."""

    found: Mapping[str, Json] = {}  # what the server says of them, by paths that end with "/"
    fresh_until = 0.0  # on the monotonic clock


class _Change(NamedTuple):
    """A change to the fields of a secret."""

    path: str
    apply: Callable[[Json], Json]  # returns the new fields for the old ones; {} deletes the secret
    patch: Json | None = None  # the same change as a merge patch (RFC 7396), if it is one


# A write that depends on the version before it (check-and-set), by the server's answer:
#
#   200 and the next version                         return that version
#   400: check-and-set did not match                 raise _Overtaken
#   404 for a PATCH of a deleted version             raise _Overtaken
#   200, but that version was removed meanwhile      delete what this brought back, and raise _Overtaken
#   403, 404, 405, 415 or 501 for any other PATCH    use POST from now on, and raise _Overtaken
#
# If an earlier attempt may have been carried out, although its answer was lost, the next version decides:
#
#   it has the new fields                            return that version
#   it has others, or doesn't exist                  as above
#   it was deleted or destroyed                      raise Unavailable: it may have been this write's
#
# All other answers are errors, which _call raises.
_PATCH_REFUSALS = (403, 404, 405, 415, 501)  # of policies, old servers and firewalls


class _Overtaken(Exception):
    """The version that a write depends on isn't the newest any more: read again, and change that."""


class VaultStore(Store):
    """Secrets in HashiCorp Vault or OpenBao, KV version 1 or 2.

    Each setting is a keyword, or else a variable: BAO_X or VAULT_X for

        addr, agent_addr, namespace, token, token_path, cacert, capath,
        client_cert, client_key, tls_server_name, skip_verify (True),
        client_timeout (seconds, or "1m30s"), max_retries, proxy_addr

    and PAISSIVE_VAULT_X for

        token_command, mount, prefix, hosts, login, login_mount, and those
        of logins: role, role_id, secret_id, jwt, username, password,
        github_token

    Readable paths other than KV work, too: `database/creds/app#password`.
    Many threads can share a store. Errors: NotFound, Deleted (see its
    hint), Denied, VaultSealed, Locked (no login), Unavailable.
    """

    def __init__(self, **settings: Union[str, bool, float, None]) -> None:
        """Read the settings, but connect only when something is asked for.

        BadValue for a setting that isn't valid, or a proxy that isn't
        supported; TypeError for an unknown keyword.
        """
        self.settings = VaultSettings(settings)
        self._open()

    def _open(self) -> None:
        """Start without a session's token, and without knowing any mount."""
        self._any_session = Session(self.settings)  # after a fork, the parent's, until it is reset
        self._mounts = _Mounts()
        self._may_patch = True  # until a PATCH is refused
        self._documents: dict[_Path, _Secret] | None = None  # that a view has read; None in the store itself

    def reading_view(self) -> VaultStore:
        """Return a view that reads each secret once, and refuses to write.

        So the fields that it returns belong together.
        """
        import copy

        view = copy.copy(self)  # of its class, which may be a user's
        view._documents = {}
        return view

    def __deepcopy__(self, memo: object) -> VaultStore:
        """Return a store with the same settings, and a session of its own."""
        import copy

        other = copy.copy(self)
        other._open()
        return other

    def location(self) -> str:
        """Return the id of the mount, and the prefix.

        Not the address, which can be spelled in several ways. Denied if
        there is no such mount, or the token may not see it.
        """
        mount = f"{self.settings.mount}/"
        self._locate(mount)
        mount_id = self._visible_mounts().get(mount, {}).get("uuid")
        if not isinstance(mount_id, str):
            raise not_vault_error(f"the server gives {mount} no uuid, as Vault does since 1.2")
        return f"vault {mount_id} {self.settings.prefix}".rstrip()

    @property
    def _session(self) -> Session:
        """The session of this process, which goes on with the parent's token after a fork."""
        session = self._any_session
        if session.pid != os.getpid():
            session.reset(session.transport.newest)
        return session

    def get(self, name: str, version: Optional[int] = None) -> str:
        """Return the value of a field, now or in a version of a KV 2 secret.

        NotFound if there is none; Deleted, with how to undo it, if the
        secret was deleted.
        """
        path, field = _path_and_field(name)
        fields = self._find(path, version).require_fields(name, version)
        value = _value_in(fields, field)
        if value is None:
            hint = f"all its fields: {path}#" if name == path and fields else "see: list"
            raise not_found_error(name, "Vault", hint)
        return value

    def get_all(self, names: Iterable[str]) -> dict[str, str]:
        """Return {name: value} for those of these names that exist.

        Left out is also what was deleted. Several secrets are read at once;
        an error about one of them is raised.
        """
        wanted = {}  # paths and fields by name
        for name in names:
            with suppress(BadName):
                wanted[name] = _path_and_field(name)
        places = {path: self._locate(path) for path, _ in wanted.values()}
        # A secret is read once, even if two paths lead to it, so that its values belong together.
        paths = {place: path for path, place in places.items()}
        secrets = dict(zip(paths, _read_all(self._find, paths.values())))
        found = {}
        for name, (path, field) in wanted.items():
            value = _value_in(secrets[places[path]].fields or {}, field)
            if value is not None:
                found[name] = value
        return found

    def get_everything(self) -> dict[str, str]:
        """Return the values of all fields, by name.

        Denied for a secret that the token may list, but not read.
        """
        secrets = _read_all(self._named_fields, self.names())
        return {name: _value_text(value) for fields in secrets for name, value in fields.items()}

    def get_fields(self, path: str, version: Optional[int] = None) -> dict[str, Any]:
        """Return all fields of a secret, or of a version, in one request.

        NotFound or Deleted if there are none.
        """
        return self._find(_secret_path(path), version).require_fields(path, version)

    def set(self, name: str, value: str) -> None:
        """Set one field; others stay, even if they are being written (KV 2).

        Conflict if others keep writing the secret.
        """
        self._change(_change_to(name, value), check_pending=False)  # rotations set stages by this

    def set_unless_pending(self, values: Mapping[str, str], *, replace: bool = True) -> None:
        """Set these one after the other; Conflict: see `check_no_conflict`.

        All are checked before any is set, and each again by its write. An
        error says how many are set.
        """
        changes = {name: _change_to(name, value, replace=replace) for name, value in values.items()}
        if len(values) > 1 or not replace:  # before any is set; each write checks its own again
            self.check_no_conflict(values, replace=replace)

        def set_one(name: str, _value: str) -> None:
            """Make the change that sets a name."""
            self._change(changes[name])

        set_each(values, set_one)

    def set_fields(self, path: str, fields: Mapping[str, Any], *, cas: Optional[int] = None) -> int:
        """Replace all fields; return the new version, 0 in KV 1.

        With `cas`, raise Conflict unless the secret is at this version; 0
        means absent.
        """
        min_kv = 1 if cas is None else 2  # which has check-and-set
        place = self._locate(_secret_path(path), min_kv)
        _check_fields(fields)
        try:
            return self._post(place, dict(fields), cas)
        except _Overtaken:
            problem = f"version {cas} of {show(path)} did not match the current version"
            raise Conflict(problem, hint="read it again before you decide what to write") from None

    def update_fields(self, path: str, fields: Mapping[str, Any]) -> int:
        """Set several fields in one version, and return it; 0 in KV 1.

        None removes a field, other fields stay, and objects are merged (RFC
        7396). An absent secret is created. BadValue if no field would be
        left. Conflict while one of the fields is being rotated, or if
        others keep writing the secret.
        """
        secret_path = _secret_path(path)
        _check_fields(fields)
        patch = dict(fields)

        def apply(old: Json) -> Json:
            """Return the new fields."""
            new = _merge_patch(old, patch)
            if not new:
                raise BadValue(f"no field of {show(path)} would be left", hint="delete it, if that is meant")
            return new

        return self._change(_Change(secret_path, apply, patch))

    def delete(self, name: str) -> None:
        """Remove one field, or for `app/db#` all.

        A secret without fields is deleted; in KV 2, `undelete` brings it
        back. NotFound if there is no such field; Conflict while it is
        rotated.
        """
        path, field = _path_and_field(name)
        # Read first: Vault answers the deletion of what isn't there with success.
        fields = self._find(path, min_kv=1).require_fields(name)
        if field and field not in fields:
            raise not_found_error(name, "Vault")
        change = _Change(path, lambda old: {})
        if field:
            patch = {field: None}
            change = _Change(path, lambda old: _merge_patch(old, patch), patch)
        self._change(change)

    def names(self) -> Iterator[str]:
        """Yield the paths of all secrets that the token may list.

        Those that can be undeleted are among them. Reads no secret. Folders
        that the token may not list are skipped; Denied for the first one.
        """
        return self.names_under("")

    def names_under(self, prefix: str) -> Iterator[str]:
        """Yield paths by one request for each folder, from the prefix's.

        Paths that no name can have, such as those with '#', are skipped.
        """
        top = prefix[: prefix.rfind("/") + 1]
        if name_problem(top + "x"):
            return
        start = self._locate(top)  # a prefix that begins with a mount lists that mount
        folders = [top]
        while folders:
            listed = dict.fromkeys(chain(*_read_all(partial(self._list, top, start), folders)))
            keys = [key for key in listed if key.startswith(prefix)]
            for key in keys:
                name = key
                place = start.below(key.removeprefix(top))
                if place != self._locate(key):
                    name = f"{place.mount}/{place.path}"  # by its path alone, it would be in another mount
                # What has a '#' in its path would be read as a field.
                if "#" not in name and not name_problem(name):
                    yield name
            # Not into folders below which no name can be: a server may send endless ones.
            folders = [key for key in keys if key.endswith("/") and not name_problem(key + "x")]

    def field_names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of fields that begin with a prefix.

        Their secrets are read for that. One that the token may not read
        counts as having the field `value`.
        """
        path, is_one, _ = prefix.partition("#")
        paths = [_secret_path(path)] if is_one else self.names_under(prefix)
        return (name for name in self._names_of_fields(paths) if name.startswith(prefix))

    def names_for(self, variables: Iterable[str]) -> Iterator[str]:
        """Yield the fields of secrets whose variables may be among these.

        No other secret is read.
        """
        asked = set(variables)
        paths = []
        for path in self.names():
            # The variables of all fields begin alike: APP_DB_ is variable_name("app/db#").
            start = variable_name(path + "#")
            if variable_name(path) in asked or any(each.startswith(start) for each in asked):
                paths.append(path)
        return self._names_of_fields(paths)

    def versions(self, name: str) -> list[SecretVersion]:
        """Return the versions of a whole secret, oldest first.

        Deleted and destroyed ones are among them. NotFound if there are
        none; BadValue in KV 1, which keeps none.
        """
        response = self._call("read", self._versioned(name).at("metadata"), ok=[404])
        found = child_object(response.data, "versions")
        numbers = sorted(int(key) for key in found if re.fullmatch("[0-9]{1,15}", key))
        if not numbers:
            raise not_found_error(name, "Vault")
        return [_read_version(number, child_object(found, str(number))) for number in numbers]

    def last_set(self, name: str) -> str:
        """Return when a secret was set, whichever of its fields was.

        NotFound if there is none; BadValue in KV 1.
        """
        return self.versions(name)[-1].created

    def older_values(self, name: str) -> Iterator[str]:
        """Yield the values in older versions, oldest first; BadValue in KV 1.

        Left out are versions that were deleted, or lack the field. NotFound
        if there is no such secret.
        """
        for version in self.versions(name)[:-1]:
            with suppress(NotFound):
                yield self.get(name, version.number)

    def undelete(self, name: str, version: Optional[int] = None) -> None:
        """Bring back a deleted version of a secret; default: the newest.

        NotFound if there is none, or it was destroyed; BadValue in KV 1.
        """
        self._on_version("undelete", name, version)

    def destroy(self, name: str, version: int) -> None:
        """Remove a version of a whole secret for good.

        NotFound if there is none, BadName for the name of one field,
        Conflict if it is the newest, and a field is being rotated.
        """
        self._on_version("destroy", _secret_path(name), version or 0)  # never the newest by mistake

    def renew(self) -> float:
        """Renew what is due; return the seconds until the next time.

        A failure only warns.
        """
        try:
            return self._session.renew()
        except SecretsError as error:
            warn_once(f"the Vault token or a lease could not be renewed: {error}")
        return 10.0  # until the next attempt

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Renew token and leases from a thread, while the program is idle.

        `with store.keep_alive():` warns once if a renewal fails, and
        revokes nothing at its end. A forked process needs its own.
        """
        import threading

        ended = threading.Event()

        def renew() -> None:
            """Renew what is due until the block ends."""
            while not ended.wait(min(self.renew(), _IDLE_SECONDS)):
                pass

        thread = threading.Thread(target=renew, daemon=True, name="VaultStore.keep_alive")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(CLOSE_SECONDS)  # it may wait for a silent server

    def close(self, *, keep_leases: bool = False) -> None:
        """Revoke leases and the token of a login, and hang up for good.

        With `keep_leases`, do nothing if there are any. Failures only warn.
        Requests of other threads end with an error.
        """
        session = self._session
        if keep_leases and session.leases:  # they end with the token that would be revoked
            return
        try:
            session.close()
        except SecretsError as error:
            warn_of_leases(error)

    def expand(self, name: str) -> dict[str, str]:
        """Return {name: value} of all fields for `app/db#`, or {}.

        NotFound or Deleted if there is no such secret.
        """
        if not name.endswith("#"):
            return {}
        return {name + field: _value_text(value) for field, value in self.get_fields(name).items()}

    def includes(self, name: str, other: str) -> bool:
        """Return whether `other` is the field `name`, or one of `app/db#`."""
        path, mark, field = name.partition("#")
        other_path, _, other_field = other.partition("#")
        is_same_field = (field or _FIELD) == (other_field or _FIELD)
        return path == other_path and (is_same_field or (mark != "" and field == ""))

    def as_stored(self, name: str, value: str) -> str:
        """Return the value, or the JSON that `get` has for `app/db#`."""
        if _path_and_field(name)[1]:
            return value
        return _value_in(_parse_fields(value), "") or ""

    def name_of_fields(self, name: str) -> str:
        """Return the name of all fields, `app/db#`: a JSON object."""
        return _secret_path(name) + "#"

    def delete_version(self, name: str, version: int) -> None:
        """Delete one version of a whole secret; `undelete` brings it back.

        NotFound if there is none, BadName for the name of one field,
        Conflict if it is the newest, and a field is being rotated.
        """
        self._on_version("delete", _secret_path(name), version or 0)  # never the newest by mistake

    def delete_metadata(self, name: str) -> None:
        """Remove a whole secret with all its versions, for good.

        BadName for the name of one field.
        """
        self._call("delete", self._versioned(_secret_path(name)).at("metadata"))

    def check_not_pending(self, *names: str) -> None:
        """Raise Conflict if one of these is being rotated.

        For `app/db#`, that is any of its fields.
        """
        super().check_not_pending(*names)
        for name in names:
            path, field = _path_and_field(name)
            if not field:
                _check_not_pending(path, self._find(path).fields or {}, {}, is_whole=True)

    def stage_name(self, name: str, stage: str) -> str:
        """Return the name of the field that holds a stage of a field.

        BadName for `app/db#`: all fields have no stages but current.
        """
        path, field = _path_and_field(name)
        suffix = stage_suffix(stage)
        if not suffix:
            return name
        if not field:
            hint = f"such as {path}#password, or JSON in one field"
            raise BadName(f"{show(name)} is all fields of a secret, and only one is rotated", hint=hint)
        return f"{path}#{field}{suffix}"

    def credentials(self) -> Iterator[str]:
        """Yield tokens, login secrets and the proxy's address, if set."""
        keys = ("token", "proxy_addr", *login_secrets())  # a proxy may have a password in its address
        known = {self._session.held or "", *self._session.login_secrets}
        yield from filter(None, known.union(getattr(self.settings, name) for name in keys))

    def status(self) -> Iterator[tuple[str, StatusValue]]:
        """Yield settings, the token's time and the mount.

        An error ends this, as a "problem"; it isn't raised.
        """
        settings = self.settings
        yield "store", "vault"
        yield "address", settings.addr
        if settings.namespace:
            yield "namespace", settings.namespace
        if settings.skip_verify:
            yield "note", "its certificate isn't checked, since VAULT_SKIP_VERIFY is set"
        yield "login", "a command" if self._session.uses_command else settings.login
        try:
            ttl = self._session.call(LOOK_UP).data.get("ttl")
            if ttl:  # 0: it has no end
                yield "seconds left", int(json_number(ttl))
            place = self._locate("", 1)
            yield "mount", f"{place.mount}/"
            yield "KV version", place.kv
        except SecretsError as error:
            yield "problem", error

    def _locate(self, path: str, min_kv: int = 0) -> _Path:
        """Return where a secret is: in the mount that its path begins with, or in the configured one.

        Raise Denied if there is no such mount, or the token may not see it; BadValue if its version of KV is
        below `min_kv`.
        """
        mounts = self._visible_mounts()
        mount = max(filter(path.startswith, mounts), key=len, default="")
        if mount:
            path = path[len(mount) :]
        else:
            mount = self.settings.mount + "/"
            path = f"{self.settings.prefix}/{path}".lstrip("/")
        if mount not in mounts:
            self._mounts.fresh_until = 0.0  # it may be created later
            hint = "check PAISSIVE_VAULT_MOUNT, without a prefix, and VAULT_NAMESPACE"
            hint += f"; or its policies need a path in {mount}"
            raise Denied(f"there is no mount {mount}, or the token may not see it", hint=hint)
        kv = _kv_version(mounts[mount])
        if min_kv and not kv:
            raise BadValue(f"{mount} isn't a KV mount: it can only be read")
        if kv < min_kv:
            raise BadValue(f"{mount} is KV version 1, which keeps no older versions")
        return _Path(mount[:-1], kv, path)

    def _versioned(self, name: str) -> _Path:
        """Return where a secret is; raise BadValue unless its mount is KV 2, which keeps versions."""
        return self._locate(_path_and_field(name)[0], 2)

    def _visible_mounts(self) -> Mapping[str, Json]:
        """Return what the server says of the mounts that the token may see, by paths that end with "/".

        The server is asked again after a few seconds, or at once if a caller has set `fresh_until` to 0.
        """
        where = "sys/internal/ui/mounts"  # open to any token
        if time.monotonic() >= self._mounts.fresh_until:
            found = child_object(self._call("read", where).data, "secret")
            own = self.settings.mount
            if own + "/" not in found:
                # Without a token the list is empty, and this is refused, so that the session logs in.
                self._session.call(ApiRequest("GET", f"{where}/{url_path(own)}"))
                found = child_object(self._call("read", where).data, "secret")
            self._mounts.found = {name: child_object(found, name) for name in found if name.endswith("/")}
            self._mounts.fresh_until = time.monotonic() + _MOUNTS_SECONDS
        return self._mounts.found

    def _find(
        self, path: str, version: int | None = None, min_kv: int = 0, *, fresh: bool = False
    ) -> _Secret:
        """Return a secret, or one of its versions, from where its path leads; absent ones have no fields.

        If there is nothing, ask for the mounts again, and read where the path leads now if that is elsewhere.
        Raise BadValue if the mount's version of KV is below `min_kv`, or 2 for a version. `fresh` and other
        errors are as in `_fetch`.
        """
        if version is not None:
            min_kv = 2
        place = self._locate(path, min_kv)
        secret = self._fetch(place, version, fresh=fresh)
        if secret.version:
            return secret
        self._mounts.fresh_until = 0.0  # a mount may be new, or was upgraded
        new_place = self._locate(path, min_kv)
        return secret if new_place == place else self._fetch(new_place, version, fresh=fresh)

    def _names_of_fields(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield the names of the fields of these secrets, in their order."""

        def names_in(path: str) -> Iterable[str]:
            """Return the names of a secret's fields; the path, that of `value`, if it may not be read."""
            try:
                return self._named_fields(path)
            except Denied:
                return [path]  # it exists, and `get` will raise that

        return chain.from_iterable(_read_all(names_in, paths))

    def _named_fields(self, path: str) -> Json:
        """Return {name: value} of a secret's fields, {} if it is absent or deleted.

        Fields that no name can have are left out: other programs may have written any.
        """
        found = {}
        for field, value in (self._fetch(self._locate(path)).fields or {}).items():
            if field and _is_field(field):
                found[path if field == _FIELD else f"{path}#{field}"] = value
        return found

    def _fetch(self, place: _Path, version: int | None = None, *, fresh: bool = False) -> _Secret:
        """Read the secret at a place, or a version of it; one without fields if there is none.

        Fields that a write copies are read `fresh`, over a new connection, so that they can't be another
        secret's. A view reads each secret once. A secret outside KV is read once while its lease is fresh.
        Raise BadValue for what can't be a version.
        """
        # Vault takes 0 for the newest.
        if version is not None and (type(version) is not int or not 0 < version < 1 << 63):
            raise BadValue("there is no such version", hint="they are counted from 1")
        if self._documents is not None and version is None and place in self._documents:
            return self._documents[place]
        if place.kv:
            query = f"?version={version}" if version else ""
            # KV 2 also answers 404 for a deleted version; the body says when it was deleted.
            response = self._call("read", place.at("data"), query=query, ok=[404], fresh=fresh)
        else:
            response = self._read_leased(place.at(""))
        secret = _Secret(response, place)
        if self._documents is not None and version is None:
            self._documents[place] = secret
        return secret

    def _read_leased(self, path: str) -> Exchange:
        """Return the response to a read outside KV: the last one, in the first two thirds of its lease.

        So user and password of a dynamic secret belong together. Other threads wait for the one that reads.
        """
        session = self._session
        with session.lease_locks.setdefault(path, allocate_lock()):
            lease = session.leases.get(path)
            if lease and time.monotonic() < lease.fresh_until:
                return cast(Exchange, lease.response)
            # It isn't repeated, since each read may create a database user, for instance.
            response = self._call("read", path, idempotent=False, ok=[404])
            if response.body.get("lease_id"):
                lease = Lease(lease_seconds(response.body), response)
                if not response.body.get("renewable"):
                    lease.renew_at = FOREVER
                session.add_lease(path, lease)
            return response

    def _change(self, change: _Change, *, check_pending: bool = True) -> int:
        """Change a secret, again as long as others write it; return the new version.

        It is 0 in KV 1, or if the change deletes the secret. Raise Conflict after _CAS_TRIES, and with
        `check_pending` if it would change a field that has a pending value. A PATCH that is refused is the
        last one of this store.
        """
        path = change.path
        for attempt in range(_CAS_TRIES):
            # If the server copies the other fields, they can't be another secret's: any connection will do.
            is_copied_there = change.patch and self._may_patch and self._locate(path, 1).kv == 2
            secret = self._find(path, min_kv=1, fresh=not is_copied_there)
            old = secret.fields or {}
            fields = change.apply(dict(old))
            if check_pending:
                _check_not_pending(path, old, fields, is_whole=change.patch is None)
            with suppress(_Overtaken):
                return self._write_over(secret, fields, change.patch)
            # At random, up to a tenth of a second, so that two writers don't meet again and again.
            time.sleep(os.urandom(1)[0] / 255 * min(attempt, 20) / 200)
        raise Conflict(f"others keep writing {show(path)}", hint="try again")

    def _write_over(self, secret: _Secret, fields: Json, patch: Json | None) -> int:
        """Write these fields over the version of a secret that was read: by deleting it, a PATCH or a POST.

        Return the new version, 0 in KV 1 or for a secret that is deleted. Raise _Overtaken if another version
        is the newest by now: see the table above that class.
        """
        place = secret.place
        old = secret.fields or {}
        if not fields:
            self._remove(secret)
            return 0
        if place.kv == 1:
            return self._post(place, fields)
        replaced = {field for field, value in (patch or {}).items() if not isinstance(value, dict)}
        others = fields.keys() & old.keys() - replaced
        # Whether anything is taken over from the old version; a patch merges objects.
        copies = any(fields[field] == old[field] or isinstance(fields[field], dict) for field in others)
        if copies and patch and self._may_patch:
            sent = {"data": patch, "options": {"cas": secret.version}}
            response = self._call("patch", place.at("data"), sent, ok=_PATCH_REFUSALS)
            if response.status in _PATCH_REFUSALS and not response.data:  # a deleted version has data
                self._may_patch = False
            return self._version_after(response, place, fields, secret.version)
        version = self._post(place, fields, secret.version)
        # Unlike a PATCH, a POST over a removed version succeeds, and so brings its fields back: delete them.
        if copies and self._read_back(place, secret.version).was_removed:
            with _unknown_outcomes():
                self._call("update", place.at("delete"), {"versions": [version]})
            raise _Overtaken
        return version

    def _post(self, place: _Path, fields: Json, cas: int | None = None) -> int:
        """Write all fields; with `cas` (KV 2 only), only over that version, or for 0 where there is none.

        Return the new version, 0 in KV 1. Raise _Overtaken as `_version_after` does. Errors say if the write
        may have been carried out.
        """
        needs = "update" if cas else "create"
        if place.kv == 1:
            self._call(needs, place.at("data"), fields, idempotent=False)
            return 0
        options = {} if cas is None else {"cas": cas}
        sent = {"data": fields, "options": options}
        response = self._call(needs, place.at("data"), sent, idempotent=cas is not None)
        return self._version_after(response, place, fields, cas)

    def _version_after(self, response: Exchange, place: _Path, fields: Json, cas: int | None) -> int:
        """Return the version of these fields after a request to write them, over the version `cas` if any.

        If it may have been carried out without an answer, look at the next version. Raise _Overtaken if the
        fields weren't written, and Unavailable if that can't be known: see the table above that class.
        """
        if response.outcome == DONE:
            version = int(json_number(response.data.get("version")))
            if version < 1 or cas not in (None, version - 1):
                raise unknown_outcome_error(not_vault_error())
            return version
        if response.outcome == UNKNOWN and cas is not None:
            found = self._read_back(place, cas + 1)
            if found.fields == fields:
                return cas + 1
            if found.was_removed:
                hint = "others wrote or deleted the secret since; read it"
                raise Unavailable("whether the write was carried out is unknown", hint=hint)
        raise _Overtaken

    def _remove(self, secret: _Secret) -> None:
        """Delete the version that was read, unless it is deleted; in KV 1, the secret.

        Raise _Overtaken if a newer version has some of its fields.
        """
        place = secret.place
        if secret.fields is None:  # others deleted it
            return
        if place.kv == 1:
            self._call("delete", place.at(""), idempotent=False)
            return
        # A newer version, which others have written meanwhile, isn't deleted by this.
        self._call("update", place.at("delete"), {"versions": [secret.version]})
        newest = self._read_back(place).fields or {}
        if not secret.fields.keys().isdisjoint(newest):
            raise _Overtaken

    def _read_back(self, place: _Path, version: int | None = None) -> _Secret:
        """Read a version, or the newest, after a write; errors say that this may have been carried out."""
        with _unknown_outcomes():
            return self._fetch(place, version, fresh=True)

    def _on_version(self, kind: str, name: str, version: int | None) -> None:
        """Delete, undelete or destroy a version (default: the newest) of a whole secret.

        The field in the name doesn't matter. Raise NotFound if there is no such version, or it is destroyed,
        and Conflict if the newest one, with a pending value, would be removed.
        """
        secret = self._fetch(self._versioned(name), version, fresh=True)
        if not secret.version or secret.destroyed:
            raise NotFound(f"no such version of {show(name)}, or it is destroyed")
        if kind != "undelete" and secret.version == self._fetch(secret.place, fresh=True).version:
            _check_not_pending(name, secret.fields or {}, {}, is_whole=True)
        self._call("update", secret.place.at(kind), {"versions": [secret.version]})

    def _call(
        self,
        needs: str,
        path: str,
        sent: Json | None = None,
        *,
        query: str = "",
        idempotent: bool = True,
        ok: Sequence[int] = (),
        fresh: bool = False,
    ) -> Exchange:
        """Make a request that `needs` a capability on a path, with the body `sent`; return its response.

        The capability decides the method, and a message names it. `query` follows the path; `idempotent` and
        `fresh` are those of ApiRequest. Raise an error unless the request succeeds, its status is in `ok`, or
        check-and-set refuses it; the error says if a write may have been carried out. Raise BadValue for a
        write by a view.
        """
        method = _METHODS.get(needs, "POST")
        accepted = {200, *ok}
        if method != "GET":
            accepted.add(204)
            if self._documents is not None:  # it would write over what was read long ago
                raise BadValue("a view of a store only reads", hint="write to the store itself")
        response = self._session.call(ApiRequest(method, url_path(path) + query, sent, idempotent, fresh))
        if response.status in accepted or response.says("check-and-set parameter did not match"):
            return response
        error = vault_error(response, needs, path)
        # Even if the response isn't Vault's: a proxy may have passed the request on.
        if method != "GET" and response.outcome != NOT_DONE:
            raise unknown_outcome_error(error)
        raise error

    def _list(self, top: str, start: _Path, folder: str) -> list[str]:
        """Return a folder's keys as paths; none if it is empty, or is below `top` and may not be listed.

        `top` is the folder in which the listing began, and `start` its place.
        """
        path = start.below(folder.removeprefix(top)).at("metadata")
        accepted = [404]
        if folder != top:
            accepted.append(403)
        # A GET with a query is a LIST that every proxy lets through.
        response = self._call("list", path, query="?list=true", ok=accepted)
        keys = response.data.get("keys") if response.status == 200 else []
        if not isinstance(keys, list):
            raise not_vault_error()
        return [folder + str(key) for key in keys]


def _read_all(read: Callable[[Any], T], places: Iterable[Any]) -> Iterator[T]:
    """Yield the result of `read` for each place, in their order; eight threads read at once.

    The first error, in that order, is raised, and places that no thread has begun to read aren't read.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(max_workers=8)
    try:
        yield from pool.map(read, places)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # don't delay an error or an interrupt


def _kv_version(mount: Json) -> int:
    """Return the KV version of a mount, 1 or 2; 0 if it isn't KV."""
    if mount.get("type") not in ("kv", "generic"):  # its name before Vault 0.8
        return 0
    return 2 if child_object(mount, "options").get("version") == "2" else 1


class _Secret:
    """A secret, or a version of it, as a response has it; fields are None if it is absent or was removed.

    The version is 0 if there is none; outside KV 2, a secret that is there has version 1.
    """

    def __init__(self, response: Exchange, place: _Path) -> None:
        """Read a response with status 200 or 404; raise Unavailable if it isn't Vault's."""
        there = response.status == 200
        # Outside KV 2, the data are the fields, and there are no versions to tell apart.
        fields = response.data
        about: Json = {"version": int(there)}
        self.place = place
        if place.kv == 2:
            about = child_object(fields, "metadata")
            fields = child_object(fields, "data")
        self.version = int(json_number(about.get("version")))
        self.destroyed = about.get("destroyed") is True
        self.fields = fields if there else None
        self.deleted = ""
        if there:  # a time would be that of a deletion which lies ahead
            is_valid = self.version > 0 and bool(response.data)
        else:
            self.deleted = _read_version(self.version, about).deleted
            is_valid = not fields
        if not is_valid:
            raise not_vault_error()

    @property
    def was_removed(self) -> bool:
        """Whether this version was written, and then deleted or destroyed."""
        return self.destroyed or bool(self.deleted)

    def require_fields(self, name: str, version: int | None = None) -> Json:
        """Return the fields; raise Deleted if they were deleted or destroyed, NotFound if there were none.

        `name` and `version` are what was asked for, for the message.
        """
        if self.fields is not None:
            return self.fields
        if self.destroyed:  # an error with a hint of its own, and so not NotFound
            raise Deleted(f"{show(name)} was destroyed", hint="older versions: get NAME --version N")
        if self.deleted:
            option = f" --version {version}" if version else ""
            hint = f"bring it back with: undelete {shell_word(name.partition('#')[0])}{option}"
            raise Deleted(f"{show(name)} was deleted on {self.deleted}", hint=hint)
        if version is not None:
            raise NotFound(f"no version {version} of {show(name)}")
        raise not_found_error(name, "Vault")


def _read_version(number: int, about: Json) -> SecretVersion:
    """Return a version by its metadata; times are "" if there are none."""
    times = []
    for key in ("created_time", "deletion_time"):
        # Only a time, to the second, may get into a message.
        found = re.match("[0-9-]{10}T[0-9:]{8}", str(about.get(key)))
        times.append(found[0] if found else "")
    return SecretVersion(number, times[0], times[1], about.get("destroyed") is True)


@contextmanager
def _unknown_outcomes() -> Iterator[None]:
    """Add to errors in this block that the write before it may have been carried out."""
    try:
        yield
    except SecretsError as error:
        raise unknown_outcome_error(error) from None


def _value_text(value: object) -> str:
    """Return a field's value as text, or as JSON if it isn't text; raise Unavailable if it isn't UTF-8."""
    text = value if isinstance(value, str) else dump_json(value, "the value", "")
    if not is_encodable(text):
        raise not_vault_error()  # Vault sends no lone surrogate
    return text


def _value_in(fields: Json, field: str) -> str | None:
    """Return a field's text or, for the field "", all fields but stages, as JSON; None if there is none."""
    if field:
        return _value_text(fields[field]) if field in fields else None
    whole = {key: fields[key] for key in sorted(fields) if not base_of_stage(key)}
    return _value_text(whole) if whole else None


def _parse_fields(text: str) -> Json:
    """Return the fields in the JSON of a whole secret, at least one; raise BadValue for anything else."""
    fields = parse_json(text, "the value for all fields")
    _check_fields(fields)
    if not fields:
        raise BadValue("the value for all fields is empty", hint="delete the secret, if that is meant")
    return fields


def _check_fields(fields: Mapping[str, Any]) -> None:
    """Raise BadValue if a field's name or value, which may be any JSON, can't be stored and read again."""
    for field, value in fields.items():
        what = f"the field {show(field)}"
        check_value(field, what)
        text = value if isinstance(value, str) else dump_json(value, what)
        check_value(text, what)


def _path_and_field(name: str) -> tuple[str, str]:
    """Return the path and the field of a name, or raise BadName; the field of `app/db#` is "", for all.

    Without '#', the field is `value`.
    """
    if not isinstance(name, str):
        check_name(name)  # which raises the error
    path, mark, field = name.partition("#")
    if mark and (not path or path != path.strip("/ ") or not _is_field(field)):
        raise BadName(f"bad name {show(name)}", hint="use path#field, such as app/db#password")
    check_name(path)
    if not mark:
        field = _FIELD
    return path, field


def _check_not_pending(path: str, old: Json, new: Json, *, is_whole: bool) -> None:
    """Raise Conflict if a field that has a pending value differs, or is missing, in the new fields.

    If all fields are replaced, raise it also if the pending value itself would be lost.
    """
    for field in old:
        base = base_of_stage(field)
        if field != base + STAGES["pending"]:
            continue
        if old.get(base) != new.get(base) or (is_whole and field not in new):
            raise unfinished_error(path if base == _FIELD else f"{path}#{base}")


def _change_to(name: str, value: str, *, replace: bool = True) -> _Change:
    """Return the change that sets the field in a name or, for `app/db#`, replaces all fields.

    Stages of fields that stay are left alone. Raise BadName or BadValue for what can't be set. Without
    `replace`, its `apply` raises Conflict if there is another value.
    """
    path, field = _path_and_field(name)
    check_value(value)
    fields = {field: value} if field else _parse_fields(value)

    def apply(old: Json) -> Json:
        """Return the new fields."""
        if not replace and _value_in(old, field) not in (None, _value_in(fields, field)):
            raise Conflict(f"another writer has just set {show(name)}", hint="import it again")
        # If all fields are replaced, only stages stay, which a rotation needs.
        others = {key: old[key] for key in old if field or base_of_stage(key) in fields}
        return {**others, **fields}

    return _Change(path, apply, fields if field else None)


def _merge_patch(old: Any, patch: Json) -> Json:
    """Return JSON with a merge patch applied, as RFC 7396 has it: None removes a member."""
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merge_patch(merged.get(name), value)
        else:
            merged[name] = value
    return merged


def _is_field(field: str) -> bool:
    """Return whether a name can have this field, "" for all; slashes in it are just characters."""
    return field.isprintable() and len(field.encode()) <= MAX_NAME_BYTES


def _secret_path(path: str) -> str:
    """Return the path in `app/db` or `app/db#`; raise BadName for the name of one field."""
    found, field = _path_and_field(path.rstrip("#") + "#")
    if field:
        raise BadName(f"{show(path)} is one field", hint=f"leave out the field: {show(found)}")
    return found


# === Manager and references ===
# `secret:NAME` refers to a secret in the same store, `secret://BACKEND/NAME` to one in another; in a longer
# text, both are in `${…}`, escaped by `$${…}`. References are followed only in config files, templates,
# variables and .env. Values of other stores are data: writing one secret must not be a way to read another.

# A few variables could ask for endless work.
_MAX_RESOLVED = 1 << 24  # characters that take the place of references in one text
_MAX_STEPS = 100  # from one reference to the next


class SecretsBackend(str, enum.Enum):
    """Where secrets are stored; a member equals and formats as its string."""

    ENV = "env"
    FILE = "file"
    MEMORY = "memory"
    VAULT = "vault"

    __str__ = str.__str__  # format() uses it as well, in any version of Python


Backend = Union[str, Store, StoreMethods, None]
Source = Union["SecretsManager", Backend]
STORES: dict[str, Callable[[], Store]] = {
    "env": EnvironmentStore,
    "file": FileStore,
    "memory": MemoryStore,
    "vault": VaultStore,
}


# Functions that are called with each secret that a program gets. redact_logs adds one; none is removed.
secret_listeners: list[Callable[[str], None]] = []


def report_secret(store: Store, name: str, stored: str, value: str) -> None:
    """Call the listeners with the value of a name, unless the text that is stored there is a setting."""
    if secret_listeners and store.holds_secret(name, stored):
        for listener in secret_listeners:
            listener(value)


class SecretsManager:
    """The functions of this module, with stores of its own.

    The backend is the argument, else `default_backend`, else
    PAISSIVE_BACKEND, else env. Thread-safe.
    """

    def __init__(self, default_backend: Backend = None) -> None:
        self._default = default_backend
        self._stores: dict[str, Store] = {}

    def store(self, backend: Backend = None) -> Store:
        """Return the store for a backend; a name always gets the same one.

        Raise BadValue for an unknown backend.
        """
        chosen = self._default if backend is None else backend
        if chosen is None:
            chosen = os.environ.get("PAISSIVE_BACKEND") or "env"
        if isinstance(chosen, str) and chosen in STORES:
            # setdefault: two threads that open a store at once get the same one.
            return self._stores.get(chosen) or self._stores.setdefault(chosen, STORES[chosen]())
        store = as_store(chosen)
        if store is None:  # an empty one may be false
            what = chosen if isinstance(chosen, str) else type(chosen).__name__
            raise BadValue(
                f"no backend called {show(what)}", hint=f"use one of {', '.join(STORES)}, or a store"
            )
        return store

    @overload
    def get_secret(self, name: str, default: str, *, backend: Backend = ..., stage: str = ...) -> str: ...

    @overload
    def get_secret(
        self, name: str, default: None = ..., *, backend: Backend = ..., stage: str = ...
    ) -> Optional[str]: ...

    def get_secret(
        self, name: str, default: Optional[str] = None, *, backend: Backend = None, stage: str = "current"
    ) -> Optional[str]:
        """Return the value of a secret, or `default` if it is absent.

        One that was deleted is absent, too. References in a variable or a
        .env are followed. A store that is locked, denied or unreachable
        raises, and so does a value that refers to no secret: NotFound.
        Moved: a .env says that the secret is in a store, and neither this
        one nor a variable has it. `stage` may also be "pending" or
        "previous".
        """
        store = self.store(backend)
        try:
            found = self._stored(store, name, stage)
        except NotFound:
            return default
        return self._resolve(store, found)

    def require_secret(self, name: str, *, backend: Backend = None, stage: str = "current") -> str:
        """Return the value of a secret, or raise NotFound.

        All else is as in `get_secret`.
        """
        store = self.store(backend)
        return self._resolve(store, self._stored(store, name, stage))

    def _stored(self, store: Store, name: str, stage: str) -> tuple[str, str, bool]:
        """Return the name under which a stage of a secret is stored, and the result of `text_of` for that.

        Raise NotFound or Moved as `text_of` does.
        """
        stored = name if stage == "current" else store.stage_name(name, stage)
        try:
            text, is_followed = self.text_of(store, stored)
        except NotFound as error:
            if stage == "current" or type(error) is not NotFound:  # Deleted says how to undo it
                raise
            raise NotFound(f"{show(name)} has no {stage} value", hint="a rotation makes one") from None
        return stored, text, is_followed

    def _resolve(self, store: Store, found: tuple[str, str, bool]) -> str:
        """Return the value of a secret from what `_stored` has found, and report it to the listeners.

        The text is the value, unless references in it are followed: NotFound for one that leads to no secret.
        """
        name, text, is_followed = found
        if not is_followed:  # nearly always: no snapshot is needed
            report_secret(store, name, text, text)
            return text
        snapshot = Snapshot(self)
        snapshot.collect([(text, store)])  # each store is read once for all references
        return Resolver(snapshot).follow(text, store, name, is_followed=True)

    def text_of(self, store: Store, name: str, view: Optional[Store] = None) -> tuple[str, bool]:
        """Return a secret's text, and whether references in it are followed.

        `view` is a view of the store to read from. If the store lacks the
        secret, and a .env says that it was moved, or has a value of that
        name which takes in moved secrets, the text is the env store's.
        Raise NotFound, or Moved if the moved secret is nowhere here.
        """
        try:
            text = (view or store).get(name)
        except NotFound as error:
            other = self._text_for(store, name, error)
            if other is None:
                raise
            return other, True
        return text, _has_references(store, name, text)

    def _text_for(self, store: Store, name: str, missing: NotFound) -> Optional[str]:
        """Return the env store's text for a name that `store` lacks, or None if the .env says nothing of it.

        Raise Moved for a moved secret that neither has; `missing` is the error of the store.
        """
        dotenv = self.dotenv()
        if store is dotenv:
            return None
        try:
            return dotenv.text_for_other_store(name)
        except Moved as error:
            backend = error.backend
        hint = missing.hint  # of one that was deleted: how to undo it
        if store is not self._stores.get(backend):  # it is not the store that the .env means
            hint = (
                f"use --backend {backend}; a command that needs both stores gets it by: "
                f"export {shell_word(name)}=secret://{backend}/{shell_word(name)}"
            )
        elif type(missing) is NotFound:
            hint = (
                f"set {shell_word(name)} --backend {backend}, or name this store's .env in PAISSIVE_ENV_FILE"
            )
        raise Moved(
            f"{missing.message}, though {absolute_path(dotenv.plaintext_file())} says "
            f"that it is in the {backend} store",
            hint=hint,
            backend=backend,
        )

    def renew(self) -> float:
        """Renew what it opened; return the seconds until the next time."""
        # A copy, since other threads may open stores meanwhile.
        return min((store.renew() for store in list(self._stores.values())), default=float("inf"))

    def close(self, *, keep_leases: bool = False) -> None:
        """Close what it opened for good: Vault revokes leases and logins.

        All stores are closed before the error of one is raised.
        """
        with ExitStack() as stack:
            for store in list(self._stores.values()):  # to which other threads may add
                stack.callback(store.close, keep_leases=keep_leases)

    def set_secret(self, name: str, value: str, *, backend: Backend = None) -> None:
        """Store a value.

        In env, that is for this process only, unless PAISSIVE_ENV_FILE
        names a file. Raise Conflict while a rotation is unfinished,
        BadValue if a reference is stored there.
        """
        store = self.store(backend)
        # Setting a name would leave the secret that a reference there leads to as it is.
        check_settable(store, name)
        store.set_unless_pending({name: value})

    def delete_secret(self, name: str, *, backend: Backend = None) -> bool:
        """Delete a secret, its previous value and its policy.

        Return whether it existed. Raise Conflict while a rotation is
        unfinished, or a previous value has yet to be revoked.
        """
        store = self.store(backend)
        # Deleted for this process only, the secret is still in .env, and needs its policy.
        if store.persistent_view() is not store and not store.outlives_process():
            return _delete_with_stages(store, name)
        return delete_with_policy(store, name)

    def list_secrets(self, *, backend: Backend = None) -> list[str]:
        """Return the names, sorted, without stages of rotations."""
        names = set(self.store(backend).names())
        return sorted(name for name in names if not is_stage(name, names))

    def resolve_text(self, text: str, backend: Backend = None, where: str = "the text") -> str:
        """Return `text` with its references resolved; `where` is for errors."""
        store = self.store(backend)
        snapshot = Snapshot(self)
        snapshot.collect([(text, store)])
        return Resolver(snapshot).text(text, store, where)

    def dotenv(self) -> EnvironmentStore:
        """Return the env store: its .env says what was moved elsewhere."""
        return cast("EnvironmentStore", self.store("env"))


def _has_references(store: Store, name: str, text: str) -> bool:
    """Return whether the text of a secret has references that are followed: other stores' values are data."""
    return REFERENCE_PREFIX in text and bool(store.references_to_follow(name))


def delete_with_policy(store: Store, name: str) -> bool:
    """Delete a secret, its previous value and its policy; return whether the secret existed.

    Raise what `hold_settled` raises, before anything is deleted, and what `remove_secret` does.
    """
    policies = Policies(store)
    with hold_settled(store, name, policies) as scheduled:
        existed = _delete_with_stages(store, name)
        for each in scheduled:
            policies.delete(each)
    return existed


@contextmanager
def hold_settled(store: Store, name: str, policies: Policies) -> Iterator[list[str]]:
    """Let no rotation of a secret begin while its values are removed, and yield its policies' names.

    Raise Conflict for a rotation that is under way or unfinished, and for a previous value that has yet to be
    revoked. The name may be that of such a stage, which has no policies, or `app/db#` in Vault, which has
    those of all fields.
    """
    base = base_of_stage(store.stage_name(name, "current"))
    locked = base or name
    rotated = [each for each in policies.names() if store.includes(locked, each)]
    with policies.hold_rotations({locked, *rotated}):
        # Under the lock, since a rotation may have made the stage a moment ago.
        secret = name
        if base and _may_be_needed(store, name, base, policies):
            secret = base
        scheduled = [each for each in policies.names() if store.includes(secret, each)]
        for each in (*scheduled, secret):  # in this order, an error has the name that is scheduled
            policies.check_settled(each)
        yield scheduled if secret == name else []


def _may_be_needed(store: Store, stage: str, secret: str, policies: Policies) -> bool:
    """Return whether a rotation of the secret may need this stage, which is neither missing nor damaged.

    Without the secret and a policy for it, the name is that of another secret.
    """
    try:
        store.get(stage)
    except (NotFound, WrongKey, Corrupt, BadValue):
        return False
    with suppress(WrongKey, Corrupt, BadValue):  # what is damaged is there all the same
        return bool(store.get_all([secret]) or policies.get(secret))
    return True


def _delete_with_stages(store: Store, name: str) -> bool:
    """Delete a secret and its previous value; return whether the secret existed.

    Only the store's `delete` looks for a rotation of it.
    """
    # The previous value first, so that a kill in between leaves no stage without its secret.
    with suppress(BadName):  # not every name has stages
        remove_secret(store, name, "previous")
    return remove_secret(store, name)


def remove_secret(store: Store, name: str, stage: str = "current") -> bool:
    """Delete a stage of a secret; return whether there was one.

    Raise Conflict, as the store's `delete` does, for the current one while a rotation is unfinished.
    """
    try:
        store.delete(store.stage_name(name, stage))
    except NotFound:
        return False
    return True


def check_settable(store: Store, *names: str) -> None:
    """Raise BadName for a name that ends like a stage's or that the store can't have.

    Raise BadValue for one under which a reference is stored.
    """
    for name in names:
        if base_of_stage(store.stage_name(name, "current")):  # each store knows its names
            raise BadName(f"{show(name)} ends like a stage of a rotation", hint="choose another name")
    for name, value in store.references_to_follow(*names).items():
        targets = existing_targets(value, store)
        hint = "set that one, with its --backend" if targets else "change it where it is, or delete it first"
        raise BadValue(f"{show(name)} is a reference to {', '.join(targets) or 'no secret'}", hint=hint)


def existing_targets(value: str, store: Store) -> list[str]:
    """Return a value's references to secrets of the store that exist, and to other backends, for a message.

    Secrets of the latter aren't looked for. Left out is any other text that looks like a reference: it may be
    a secret, which no message may show. Raise Locked and the like if the store can't say what exists.
    """
    targets = []
    for reference in references_in(value):
        with suppress(NotFound, Moved, BadName, BadValue):
            backend, target = _parse_reference(reference)
            if not backend:
                store.get(target)
            if backend in ("", *STORES):
                targets.append(reference)
    return targets


def references_in(text: str) -> list[str]:
    """Return the references in a text, without their ${ }: the text itself, or all that aren't escaped.

    Each begins with "secret:", but may be malformed.
    """
    if text.startswith(REFERENCE_PREFIX):
        return [text]
    return [match[1] for match in re.finditer(EMBEDDED_REFERENCE, text) if match[0][:2] != "$$"]


def _parse_reference(reference: str) -> tuple[str, str]:
    """Return the backend, or "" for the same store, and the name; BadName for a malformed reference.

    The backend may be one that doesn't exist.
    """
    backend = ""
    name = reference[len(REFERENCE_PREFIX) :]
    if name.startswith("//"):
        backend, _, name = name[2:].partition("/")
        if not backend:  # it would be a second spelling of secret:NAME
            raise BadName("it names no backend", hint="write secret:NAME, or secret://BACKEND/NAME")
    if backend in ("", "vault"):  # a field may follow '#', in whose name anything is allowed
        check_name(name.partition("#")[0])
    else:
        check_name(name)
    return backend, name


# The id of a store and a name in it or, for a text that no store holds, one of the next two and its own name.
_Place = tuple[int, str]
_CONFIGURATION = 0  # a template or a config: errors may show its references
_POSSIBLE_SECRET = -1  # a variable: errors must not, since it may be a secret that looks like one
_Trail = tuple[_Place, ...]  # the places from the first text to the one that is read now


class Snapshot:
    """The secrets that one operation reads, each once, several at a time.

    Fields of one document in Vault are from one version of it, but documents may be of different moments.
    """

    def __init__(self, manager: SecretsManager, *, stages: bool = False) -> None:
        """With `stages`, read all stages of each secret, so that they can be masked."""
        self.manager = manager
        self._with_stages = stages
        self._views: dict[int, tuple[Store, Store]] = {}  # stores and their views, by id of the store
        self._found: dict[_Place, dict[str, str]] = {}  # values by stage

    def view(self, store: Store) -> Store:
        """Return the store's view for this operation, which reads no document twice."""
        if id(store) not in self._views:
            self._views[id(store)] = store, store.reading_view()
        return self._views[id(store)][1]

    def load(self, store: Store, *names: str) -> list[str]:
        """Read secrets, by default all of the store, and those that they refer to.

        Return the names that exist: of all secrets, without their stages, or of those that were asked for. If
        stages are read as well, each name that was asked for counts, even if there is no such secret.
        """
        found = self._read(store, names)
        suspects = [name for name, stages in found.items() if REFERENCE_PREFIX in stages.get("current", "")]
        self.collect((text, store) for text in store.references_to_follow(*suspects).values())
        return list(found)

    def collect(self, texts: Iterable[tuple[str, Store]]) -> None:
        """Read the secrets that texts, each of a store, refer to, so that a resolver has them at hand.

        References in these secrets are read later, one by one. Bad references, and those to missing or moved
        secrets, are left to the resolver, which says where they are; Denied, Locked and the like are raised.
        """
        wanted: dict[int, tuple[Store, set[str]]] = {}  # by id, since not all stores are hashable
        for text, store in texts:
            for reference in references_in(text):
                with suppress(SecretsError):
                    target, name = self.target(reference, store)
                    wanted.setdefault(id(target), (target, set()))[1].add(name)
        for store, names in wanted.values():
            unread = sorted(name for name in names if (id(store), name) not in self._found)
            with suppress(BadName, BadValue, Moved):
                if unread:
                    self._read(store, unread)

    def _read(self, store: Store, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Read these secrets, by default all of the store; return {name: {stage: value}}.

        Absent ones are left out or, with stages, have {}. Without names, stages are read in any case.
        """
        if names and not self._with_stages:
            values = self.view(store).get_all(names)
            found = {name: {"current": value} for name, value in values.items()}
        else:
            found = self.view(store).get_stages(*names)
        self._found.update({(id(store), name): stages for name, stages in found.items()})
        return found

    def target(self, reference: str, store: Store) -> tuple[Store, str]:
        """Return the store and the name that a reference in a text of `store` leads to.

        Nothing is read. Raise BadName for a malformed reference or a name that the store can't have, BadValue
        for an unknown backend.
        """
        backend, name = _parse_reference(reference)
        target = self.manager.store(backend) if backend else store
        target.stage_name(name, "current")  # each store knows its names
        return target, name

    def text_of(self, store: Store, name: str) -> tuple[str, bool]:
        """Return a secret's text, and whether references in it are followed, read at most once.

        Raise what the manager's `text_of` raises.
        """
        text = self._found.get((id(store), name), {}).get("current")
        if text is None:
            return self.manager.text_of(store, name, self.view(store))
        return text, _has_references(store, name, text)

    def stages(self, store: Store, name: str) -> dict[str, str]:
        """Return a secret's values by stage; {} if it doesn't exist."""
        found = self._found.get((id(store), name))
        return self.view(store).get_stages(name)[name] if found is None else found


class Resolver:
    """Puts values in place of references, and keeps the values, so that they can be masked."""

    def __init__(self, snapshot: Snapshot, missing: list[NotFound] | None = None) -> None:
        """With `missing`, append errors for missing secrets to it instead of raising them."""
        self.snapshot = snapshot
        self._missing = missing
        self._resolved: dict[_Place, str] = {}  # final values of secrets
        self.values: set[str] = set()  # every value that was put in, for masking
        self.sources: list[tuple[Store, str]] = []  # where those came from

    def text(self, text: str, store: Store, where: str, *, may_be_secret: bool = False) -> str:
        """Return `text` with values in place of its references.

        `where` names the text in errors. They don't show what it refers to if it `may_be_secret`: a password
        may look like a reference. Raise NotFound, or collect it and put "" there; BadValue as `follow` and
        `_value` do.
        """
        place = _POSSIBLE_SECRET if may_be_secret else _CONFIGURATION
        return self._text(text, store, ((place, where),))

    def _text(self, text: str, store: Store, trail: _Trail) -> str:
        """Return the text at the end of a trail with values in place of its references."""
        if text.startswith(REFERENCE_PREFIX):
            return self._value(text, store, trail)
        size = 0

        def value(match: re.Match[str]) -> str:
            """Return the value for a reference, or an escaped reference without its first $."""
            nonlocal size
            if match[0].startswith("$$"):
                return match[0][1:]
            found = self._value(match[1], store, trail)
            size += len(found)
            if size > _MAX_RESOLVED:
                problem = f"the references in {trail[-1][1]} lead to too much text"
                raise BadValue(problem, hint="write the values there instead")
            return found

        return re.sub(EMBEDDED_REFERENCE, value, text)

    def secret(self, store: Store, name: str) -> str:
        """Return a secret's value with its references resolved.

        If there is none, raise NotFound, or collect it and return ""; Moved, for a secret that is nowhere
        here, is raised in any case.
        """
        try:
            text, is_followed = self.snapshot.text_of(store, name)
        except NotFound as error:
            return self._without_value(error)
        return self.follow(text, store, name, is_followed=is_followed)

    def _value(self, reference: str, store: Store, trail: _Trail) -> str:
        """Return the value for a reference in the text at the end of a trail, which is of `store`.

        If there is no such secret, raise NotFound, or collect it and return "". Raise BadValue for a
        reference to a key to a store.
        """
        failure = None
        try:
            target, name = self.snapshot.target(reference, store)
            text, is_followed = self.snapshot.text_of(target, name)
        except SecretsError as error:
            failure = _reference_error(error, reference, trail)
        if failure:  # raised here, since the other one may have the text of a value
            return self._without_value(failure)
        # The author of a reference may not know the key, and must not get it under another name. Keys are
        # variables or mounted files, which override a store's own values.
        if is_store_credential(variable_name(name)) and target.overridden_by(name):
            problem = f"{trail[-1][1]}: references can't lead to a key to a store"
            raise BadValue(problem, hint="name the variable itself")
        return self.follow(text, target, name, trail, is_followed=is_followed)

    def _without_value(self, error: SecretsError) -> str:
        """Collect a NotFound and return "", if errors are collected; else raise the error."""
        if self._missing is None or not isinstance(error, NotFound):
            raise error
        self._missing.append(error)
        return ""

    def follow(self, text: str, store: Store, name: str, trail: _Trail = (), *, is_followed: bool) -> str:
        """Return the value of the secret `name`, whose text is `text`; remember it for further references.

        If `is_followed`, its own references are resolved; else they are text. The value is recorded for
        masking, and reported to the listeners. Raise BadValue for a cycle, and for too many steps.
        """
        step = (id(store), name)
        if step in trail:
            way = " -> ".join(name for _, name in (*trail, step))
            raise BadValue(f"references form a cycle: {way}", hint="replace one of them by a value")
        if len(trail) > _MAX_STEPS:
            problem = f"{trail[0][1]} leads through too many references"
            raise BadValue(problem, hint="replace one of them by a value")
        if step not in self._resolved:
            value = self._text(text, store, (*trail, step)) if is_followed else text
            report_secret(store, name, text, value)
            self._resolved[step] = value
            self.values.add(value)
            self.sources.append((store, name))
        return self._resolved[step]


def _reference_error(error: SecretsError, reference: str, trail: _Trail) -> SecretsError:
    """Return the error for a reference that leads nowhere: the store's, with where the reference is.

    For a text that may be a secret, errors about names become a NotFound that doesn't show them.
    """
    place, where = trail[-1]
    # The text may be the value of a secret rather than a reference: no message may repeat it.
    if place != _CONFIGURATION and type(error) in (BadName, BadValue, NotFound):
        problem = f"the value of {show(where)} looks like a reference, and leads to no secret"
        return NotFound(
            problem, hint="set the secret that it names; if it isn't one, write $${secret: or unset it"
        )
    if type(error) is not NotFound:
        return error.seen_in(where)
    name = _parse_reference(reference)[1]
    return NotFound(
        f"no secret named {show(name)}, which {where} refers to", hint=f"set it with: set {shell_word(name)}"
    )


default_manager = SecretsManager()
get_secret = default_manager.get_secret
require_secret = default_manager.require_secret
set_secret = default_manager.set_secret
delete_secret = default_manager.delete_secret
list_secrets = default_manager.list_secrets
resolve_text = default_manager.resolve_text


def manager_and_backend(backend: Source) -> tuple[SecretsManager, Backend]:
    """Return the manager for a source, and the backend to ask it for: None for the manager's default."""
    if isinstance(backend, SecretsManager):
        return backend, None
    return default_manager, backend


# === Config ===
# Settings under dotted keys, from the environment store and a JSON or TOML file, which refers to secrets. A
# reference in the file stays one unless its secret is asked for, so that no value leaks by accident.

# Variables that settings such as `path` and `user` must not read (POSIX, 8. Environment Variables).
_RESERVED_VARIABLES = (
    "(AR|C|F|G|L|LD|MAKE|Y)FLAGS|CC|CDPATH|CHARSET|COLUMNS|DATEMSK|DEAD|EDITOR|ENV|EXINIT|FC|FCEDIT|GET"
    "|HIST(FILE|ORY|SIZE)|HOME|IFS|LANG|LC_[A-Z]+|LEX|LINENO|LINES|LISTER|LOGNAME|LPDEST"
    "|MAIL(CHECK|ER|PATH|RC)?|MAKESHELL|MANPATH|MBOX|MORE|MSGVERB|NLSPATH|NPROC|OLDPWD|OPT(ARG|ERR|IND)"
    "|PAGER|PATH|PPID|PRINTER|PROCLANG|PROJECTDIR|PS[1-4]|PWD|RANDOM|SECONDS|SHELL|TERM(CAP|INFO)?|TMPDIR|TZ"
    "|USER|VISUAL|YACC"
)


class SecretConfig:
    """Settings under dotted keys: of variables, then of a JSON or TOML file.

    The file is `config_file`, else PAISSIVE_CONFIG_FILE, else config.json;
    one that doesn't exist is empty. `backend` is as for get_secret, or a
    SecretsManager. `env_prefix`, else PAISSIVE_CONFIG_PREFIX, comes before
    the names of variables; without one, those that POSIX reserves are left
    out. Thread-safe.
    """

    def __init__(
        self,
        config_file: Optional[StrPath] = None,
        backend: Source = None,
        *,
        env_prefix: Optional[str] = None,
    ) -> None:
        """Choose the file, the store and the prefix; nothing is read yet."""
        config_file = config_file or os.path.expanduser(os.environ.get("PAISSIVE_CONFIG_FILE", ""))
        self.path = os.fspath(config_file or "config.json")
        self._manager, self._backend = manager_and_backend(backend)
        self._files = FileCache()
        self._prefix = os.environ.get("PAISSIVE_CONFIG_PREFIX", "") if env_prefix is None else env_prefix

    def get(self, key: str, default: Any = None, *, use_secret: bool = False) -> Any:
        """Return the setting, or `default`; `use_secret` follows references.

        `database.host` is the variable DATABASE_HOST of the process or the
        dotenv file (which give text), or what the config file says. With
        `use_secret`, it may also be the file that DATABASE_HOST_FILE names,
        a systemd credential or, if there is nothing else, the secret
        `database.host`. Moved: the dotenv file says that DATABASE_HOST is
        in another store. NotFound: a reference leads to no secret.
        """
        found = self._get(_key_path(key), use_secret)
        if found is not ABSENT:
            return found
        # The store comes last: it may have to ask for a password, or a server.
        return self._manager.get_secret(key, default, backend=self._backend) if use_secret else default

    def set(self, key: str, value: Any, *, use_secret: bool = False) -> None:
        """Write a setting; with `use_secret`, its value goes to the store.

        `value` is anything that JSON can hold. With `use_secret` it is a
        str, the file gets a reference to it, and it outlives this process:
        the env backend writes its .env file. BadValue if `key` leads
        through a setting that is not an object, for a TOML file, and as
        `delete` does.
        """
        path = _key_path(key)
        if use_secret:
            secret = value
            value = REFERENCE_PREFIX + key
            # Find any problem with the file before storing the secret.
            work_folder(self.path)
            self._changed_text(path, value)
            store = self._store().persistent_view()
            check_replaceable(store, key)
            store.set_unless_pending({key: secret})  # not under _write's lock: it may lock the same folder
        self._write(path, value)

    def delete(self, key: str) -> bool:
        """Remove a setting, not its secret; return whether it was there.

        BadValue for a TOML file, and if a number of the file, such as 1.50,
        would be written in another way.
        """
        return self._write(_key_path(key), ABSENT)

    def resolve(self) -> dict[str, Any]:
        """Return the file's settings as `get` with `use_secret` does.

        So variables take the place of the file's settings, and references
        are followed. NotFound, with all names, if some lead to no secret.
        """
        return dict(self._get((), True))

    def explain(self, key: str) -> str:
        """Return where `get` with `use_secret` finds it, never its value.

        A source that only `use_secret` reads ends with "(for use_secret)".
        For an object or a list, it is the file, although variables may
        replace its members. Locked and the like: the store can't say
        whether it has the secret.
        """
        path = _key_path(key)
        leaf = _look_up(self._tree(), path, self.path)
        if isinstance(leaf, (dict, list)):
            return self.path
        try:
            setting = self._choose(leaf, path, use_secret=True, mounted=True)
        except Moved as error:
            return f"{self._moved_to(error.backend)} (for use_secret, with --backend {error.backend})"
        if setting.secret:
            return f"{setting.source} (for use_secret)"
        if setting.is_reference:
            targets = existing_targets(setting.value, self._store())
            return f"{setting.source}, which refers to {', '.join(targets) or 'no secret'}"
        if setting.value is not ABSENT:
            return setting.source
        if existing_targets(REFERENCE_PREFIX + key, self._store()):
            return f"the secret {show(key)} (for use_secret)"
        variable = self._variable(path)
        if variable is None:
            return f"nowhere: no variable may replace it, and it isn't in {self.path}"
        return f"nowhere: no variable {variable}, and it isn't in {self.path}"

    def _store(self) -> Store:
        """Return the store of this config's secrets."""
        return self._manager.store(self._backend)

    def _variable(self, path: tuple[str, ...]) -> str | None:
        """Return the variable that may replace a setting: DATABASE_HOST, after the prefix, for database.host.

        None if it is one that POSIX reserves, and there is no prefix.
        """
        variable = variable_name(self._prefix + "_".join(path)).upper()
        if not self._prefix and re.fullmatch(_RESERVED_VARIABLES, variable):
            return None
        return variable

    def _moved_to(self, backend: str) -> str:
        """Return the words of `explain` for a secret that the .env says is in another store."""
        return f"the {backend} store, as {self._manager.dotenv().plaintext_file()} says"

    def _get(self, path: tuple[str, ...], use_secret: bool) -> Any:
        """Return the value at a path of the file, or ABSENT, with the value that `_choose` has for each leaf.

        An absent value counts as a leaf. With `use_secret`, references are followed. Raise NotFound if one
        leads to no secret, Moved as `_choose` does, BadValue if the file is nested too deeply for Python.
        """
        found = _look_up(self._tree(), path, self.path)
        # Within an object, NAME_FILE replaces only references, since other members are settings.
        mounted = not isinstance(found, (dict, list))
        settings: list[_Choice] = []

        def choose(leaf: Any, path: tuple[str, ...]) -> _Choice:
            """Return the choice for a leaf, and remember it."""
            settings.append(self._choose(leaf, path, use_secret=use_secret, mounted=mounted))
            return settings[-1]

        with suppress(RecursionError):
            found = _map_leaves(found, path, choose)
            if use_secret:
                self._follow([setting for setting in settings if setting.secret or setting.is_reference])
            return _map_leaves(found, path, lambda setting, _: setting.value)
        raise BadValue(f"{self.path} is nested too deeply", hint="put its parts into fewer levels")

    def _follow(self, settings: Sequence[_Choice]) -> None:
        """Put values in place of the references in these settings; the secrets are read together.

        Raise NotFound, with all names, if any are missing, and Moved for one that was moved to this store,
        which lacks it.
        """
        if not settings:
            return
        store = self._store()
        snapshot = Snapshot(self._manager)
        snapshot.collect((setting.value, store) for setting in settings)
        missing: list[NotFound] = []
        resolver = Resolver(snapshot, missing)
        for setting in settings:
            if setting.secret:
                setting.value = resolver.secret(store, setting.secret)
            else:
                setting.value = resolver.text(
                    setting.value, store, setting.key, may_be_secret=setting.is_variable
                )
        raise_missing(missing)

    def _choose(self, leaf: Any, path: tuple[str, ...], *, use_secret: bool, mounted: bool) -> _Choice:
        """Return the setting at a path, where the file has `leaf`, which may be ABSENT.

        The first of these that exists wins:

            without use_secret                        with use_secret
            the file's text, if that is a reference   the variable, or its line in .env
            the variable, or its line in .env         NAME_FILE or a credential, if the leaf is a reference,
                                                      or is not in an object (`mounted`)
            Moved, if .env says so                    the file's reference
                                                      the store's secret, if .env says that it moved there
                                                      Moved, if it moved elsewhere
            the leaf                                  the leaf
        """
        key = ".".join(path)
        is_reference = isinstance(leaf, str) and looks_like_reference(leaf)
        in_file = _Choice(value=leaf, key=key, source=self.path, is_reference=is_reference)
        if is_reference and not use_secret:
            return in_file
        try:
            mounted = use_secret and (mounted or is_reference)
            found = self._in_environment(path, mounted=mounted) or in_file
            if found.is_variable and found.is_reference and not use_secret:
                self._check_needs_no_moved(found.value)
            return found
        except Moved as error:
            if is_reference:
                return in_file
            backend = error.backend
            if use_secret and self._manager.store(backend) is self._store():
                name = str(self._variable(path))
                source = self._moved_to(backend)
                return _Choice(value=REFERENCE_PREFIX + name, key=key, source=source, secret=name)
            hint = f'use --secret --backend {backend} or, in a program, load_env(backend="{backend}")'
            raise Moved(error.message, hint=hint, backend=backend) from None

    def _check_needs_no_moved(self, text: str) -> None:
        """Raise Moved if a text of the .env takes in a secret that was moved to another store."""
        dotenv = self._manager.dotenv()
        for reference in references_in(text):
            name = reference[len(REFERENCE_PREFIX) :]
            if name in dotenv.moved():
                dotenv.get(name)  # which says where it is

    def _in_environment(self, path: tuple[str, ...], *, mounted: bool) -> _Choice | None:
        """Return the setting of the variable, .env or, if `mounted`, NAME_FILE or a credential; else None.

        Raise Moved if the .env says that it is in another store. A secret is reported to the listeners.
        """
        variable = self._variable(path)
        dotenv = self._manager.dotenv()
        with suppress(NotFound, BadName):  # not every key can be a variable
            if variable is None:
                return None
            if variable in os.environ or (mounted and credential_path(variable)):
                source = dotenv.overridden_by(variable)
                text = dotenv.get(variable)
            else:
                source = dotenv.plaintext_file()
                text = dotenv.get_stored(variable)
            # References in a mounted file aren't followed: it holds the value itself.
            is_file = source == credential_path(variable)
            is_reference = not is_file and looks_like_reference(text)
            if not is_reference:
                report_secret(dotenv, variable, text, text)
            if is_file:
                source += " (for use_secret)"
            return _Choice(
                value=text, key=".".join(path), source=source, is_reference=is_reference, is_variable=True
            )
        return None

    def _tree(self) -> dict[str, Any]:
        """Return the file's content, {} without a file; it is parsed again only after a change."""
        with disk_errors(f"read {self.path}"), suppress(FileNotFoundError):
            return self._files.load(self.path, self._parse)
        return {}

    def _parse(self, data: bytes) -> dict[str, Any]:
        """Return the content of a JSON file or, by its name, a TOML file; BadValue if it is neither."""
        text = decode_value(data, self.path)
        if not self.path.endswith(".toml"):
            return parse_json(text, self.path)
        if sys.version_info < (3, 11):
            raise BadValue(f"{self.path}: reading TOML needs Python 3.11", hint="use JSON, or a newer Python")
        import tomllib

        try:
            return tomllib.loads(text.lstrip("\ufeff"))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise BadValue(f"{self.path} is not TOML: {error}", hint="fix the file") from None

    def _write(self, path: tuple[str, ...], value: Any) -> bool:
        """Set or, if `value` is ABSENT, remove a setting; return False only if there was none to remove."""
        with disk_errors(f"write {self.path}"), FileLock(self.path):
            text = self._changed_text(path, value)
            if text:
                rewrite(self.path, text.encode())
        return bool(text)

    def _changed_text(self, path: tuple[str, ...], value: Any) -> str:
        """Return the file's text with a setting set or, if `value` is ABSENT, removed; "" if there is none.

        A missing file counts as {}. Order, indentation, line ends and a byte order mark stay; spaces within a
        line may change. Raise BadValue for TOML, for a file that isn't JSON, if the path leads through a
        setting that is no object, and if rewriting would change the text of a number that stays.
        """
        if self.path.endswith(".toml"):
            raise BadValue(f"{self.path}: TOML can only be read", hint="edit it by hand, or use JSON")
        before = "{}\n"
        with disk_errors(f"read {self.path}"), suppress(FileNotFoundError):
            before = decode_value(read_file(self.path), self.path)
        tree = parse_json(before, self.path, _WrittenNumber)
        if _look_up(tree, path, self.path) is ABSENT and value is ABSENT:
            return ""
        *parents, name = path
        parent = tree
        for part in parents:
            parent = parent.setdefault(part, {})
        if value is ABSENT:
            del parent[name]
        else:
            parent[name] = value
        # As the file is indented; an empty object doesn't show that.
        indent = "  "
        if before.strip("\ufeff \t\r\n") != "{}":
            first = re.match(r'\ufeff?\s*\{\s*\n([ \t]*)"', before)
            indent = first[1] if first else ""
        line_end = "\r\n" if "\r\n" in before else "\n"
        rest = before[len(before.rstrip()) :]  # line ends behind the object
        mark = "\ufeff" if before.startswith("\ufeff") else ""
        text = mark + dump_json(tree, self.path, indent).replace("\n", line_end) + rest
        parse_json(text, self.path)  # never write what can't be read again
        # After the change, so that a number which is replaced or removed doesn't count.
        if _changes_a_number(tree):
            problem = f"{self.path} has a number that would be written in another way"
            raise BadValue(problem, hint="put it into quotes, or edit the file by hand")
        return text


class _WrittenNumber(float):
    """A number of a JSON file that has a fraction or an exponent, and how it is written there."""

    def __init__(self, text: str) -> None:
        self.text = text


def _changes_a_number(tree: dict[str, Any]) -> bool:
    """Return whether `dump_json` would write a number of the file in another way, as 1.5 for 1.50."""
    waiting: list[Any] = [tree]
    for part in waiting:  # no recursion: the file may be nested deeply
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, _WrittenNumber) and float.__repr__(part) != part.text:
            return True
    return False


class _Choice(SimpleNamespace):
    """A setting, and where it comes from. Its repr shows no value."""

    value: Any  # ABSENT if there is none
    key: str  # dotted
    source: str  # for `explain`
    is_reference = False  # whether the value is a text with references
    is_variable = False  # whether the environment has it, or else the file
    secret = ""  # the secret of the config's store that the value refers to, if it was moved there

    __repr__ = object.__repr__


def _map_leaves(found: Any, path: tuple[str, ...], change: Callable[[Any, tuple[str, ...]], Any]) -> Any:
    """Return `found`, which is at `path`, with `change(leaf, path of the leaf)` in place of each leaf."""
    if isinstance(found, dict):
        return {key: _map_leaves(value, (*path, key), change) for key, value in found.items()}
    if isinstance(found, list):
        return [_map_leaves(value, (*path, str(n)), change) for n, value in enumerate(found)]
    return change(found, path)


ABSENT: Any = object()  # stands for a missing setting


def raise_missing(errors: list[NotFound]) -> None:
    """Raise one NotFound with the messages of all of these, if there are any."""
    if errors:
        problems = "; ".join(error.message for error in errors)
        hint = "set them" if len(errors) > 1 else errors[0].hint
        raise NotFound(problems, hint=hint)


def check_replaceable(store: Store, name: str) -> None:
    """Raise what `check_settable` does, and BadValue if a variable or a mounted file would hide a value."""
    check_settable(store, name)
    hidden = store.overridden_by(name)
    if hidden:
        raise BadValue(f"{hidden} would hide the new value of {show(name)}", hint="remove it there")


def _key_path(key: str) -> tuple[str, ...]:
    """Return the parts of a dotted key; raise BadName if one is empty, or if no secret can have that name."""
    path = tuple(check_name(key).split("."))
    if "" in path:
        raise BadName(f"bad key {show(key)}: an empty part", hint="write keys as database.host")
    return path


def _look_up(tree: Any, path: tuple[str, ...], where: str) -> Any:
    """Return the value at `path`, or ABSENT; for (), the tree itself.

    Raise BadValue, which begins with `where`, if the path leads through a leaf or a list.
    """
    for depth, part in enumerate(path):
        if not isinstance(tree, dict):
            problem = f"{where}: {show('.'.join(path[:depth]))} is not an object"
            raise BadValue(problem, hint="choose another key, or delete that one")
        if part not in tree:
            return ABSENT
        tree = tree[part]
    return tree


# === Import and export ===
# Secrets are imported from a .env file or a flat JSON object, and exported in the format that their next
# reader needs.

EXPORT_FORMS = ("env", "shell", "json")
DOTENV_NAME = r"(?i)(?:.*[._-])?env(?:[._-].*)?"  # of a file that is a .env, as .env.local and prod.env are


class Replacement(enum.Enum):
    """The text that takes the place of a secret's line in an imported file."""

    COMMENT = "comment"  # so that any program may read the file
    REFERENCE = "reference"  # which only this tool follows
    NONE = ""  # the file stays as it is


class Import:
    """The assignments of a text, sorted by what an import does with them. Its repr shows no value."""

    def __init__(self, dotenv: Dotenv, replacement: Replacement) -> None:
        self.dotenv = dotenv  # the file, or an empty one for JSON, which is never rewritten
        self.replacement = replacement
        self.secrets: dict[str, str] = {}  # which go to the store
        self.settings: dict[str, str] = {}  # and empty secrets
        self.references: dict[str, str] = {}  # values that are or have references: configuration
        self.left: dict[str, str] = {}  # secrets that have to stay where they are, and why

    @property
    def is_rewritten(self) -> bool:
        """Whether the text is that of a file, in which something takes the place of secrets."""
        return self.replacement is not Replacement.NONE

    def add_secret(self, name: str, value: str) -> None:
        """Put an assignment that is a secret, or is treated as one, into one of the four dicts."""
        reason = ""
        if self.is_rewritten:
            for_others = self.replacement is Replacement.COMMENT
            reason = self.dotenv.reason_to_stay(name, for_others=for_others)
        if looks_like_reference(value) and reason != COMPOSED:
            self.references[name] = value  # importing it could overwrite the secret that it names
        elif reason:
            self.left[name] = reason
        elif value:
            self.secrets[name] = value
        else:
            self.settings[name] = value


def parse_import(
    data: bytes, where: str, replacement: Replacement = Replacement.NONE, *, with_settings: bool = False
) -> Import:
    """Return the sorted assignments of a .env file or a JSON object, `with_settings` as if all were secrets.

    Secrets that can't be taken out of a file that is to be rewritten are in `left`. From any other text, all
    are taken as python-dotenv reads them. Raise BadValue for lines that can't be read, for JSON in a file
    that is to be rewritten, and for JSON that isn't an object of texts.
    """
    text = decode_value(data, where)
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        if replacement is not Replacement.NONE:
            raise BadValue(f"{where} is JSON, not a .env file", hint="pipe it: import - < FILE")
        found = Import(Dotenv(""), replacement)
        values = parse_json(text, where)
        for name, value in values.items():
            check_value(value, f"{where}: the value of {show(name)}")
        secrets = {name: value for name, value in values.items() if is_secret(name, value)}
        settings = {name: value for name, value in values.items() if name not in secrets}
    else:
        found = Import(Dotenv(text, where), replacement)
        problems = found.dotenv.problems()
        if replacement is Replacement.COMMENT:  # in which values that can't be read stay
            problems = found.dotenv.odd_lines()
        for problem in problems:
            raise problem
        # What the file says counts, whatever variables this process has.
        secrets, settings = found.dotenv.split(os.environ, override=True)
    if with_settings:
        secrets.update(settings)
    else:
        found.settings.update(settings)
    for name, value in secrets.items():
        found.add_secret(name, value)
    return found


def other_values_beside(path: str, values: Mapping[str, str]) -> dict[str, list[str]]:
    """Return {file: names} of the files beside a .env that have other values for these names.

    They are .env.local and the like. Empty values don't count, nor do files that can't be read.
    """
    found = {}
    for name in {".env", *layers_beside(path)} - {os.path.basename(path)}:
        with suppress(SecretsError, OSError):
            file = os.path.join(os.path.dirname(path), name)
            dotenv = Dotenv(read_file(file).decode(errors="surrogateescape"), file)
            theirs = dotenv.values(os.environ, override=True)
            differing = [key for key, value in values.items() if theirs.get(key) not in (None, "", value)]
            if differing:
                found[file] = sorted(differing)
    return found


def import_secrets(store: Store, values: Mapping[str, str], where: str, *, replace: bool = False) -> None:
    """Store those of these values that the store doesn't have yet, and read all of them back.

    Raise BadName or BadValue for what the store can't have, and Conflict, without `replace`, if it has
    another value for a name: then nothing is stored. Raise Conflict, too, if it returns another value
    afterwards; `where` names the text that was imported.
    """
    check_settable(store, *values)
    held = store.own_values(values)
    new = {name: value for name, value in values.items() if held.get(name) != store.as_stored(name, value)}
    if new:
        store.set_unless_pending(new, replace=replace)
    # Read back before the file loses them.
    held = store.own_values(values)
    for name, value in values.items():
        if held.get(name) != store.as_stored(name, value):
            raise Conflict(f"{where} is unchanged: the store returns another {show(name)}", hint="try again")


def possible_replacement(path: str, store: Store, wanted: Replacement) -> Replacement:
    """Return `wanted` for a file whose secrets can be taken out, NONE for a text that stays as it is.

    It stays if it is stdin or a pipe, or if the store is in plaintext, too. Raise BadValue for a file that
    isn't named like a .env file or is the store's own, Unsafe for one with several hard links.
    """
    is_file = os.path.isfile(path)
    if is_file and not re.fullmatch(DOTENV_NAME, os.path.basename(path)):
        raise BadValue(
            f"{path} isn't named like a .env file", hint=f"if it is one: import - < {shell_word(path)}"
        )
    if os.path.realpath(path) == os.path.realpath(store.plaintext_file() or os.devnull):
        raise BadValue(f"{path} is the env store's own file", hint="import it elsewhere: --backend file")
    if not is_file or store.plaintext_file():
        return Replacement.NONE
    refuse_hard_links(path, os.stat(path))
    return wanted


def take_out_secrets(path: str, data: bytes, found: Import, store: Store, backend: str) -> int:
    """Take the imported secrets out of a file in one write; return how many names that are.

    The same goes for references, left by an earlier import, to secrets that the store has; these are removed
    from `found.references`. Return 0, and write nothing, if the text isn't to be rewritten, or if there is
    nothing to take out. Raise Conflict if the file doesn't hold `data`, which was parsed, any more.
    """
    if not found.is_rewritten:
        return 0
    references = {name: f"secret://{backend}/{name}" for name in (*found.secrets, *found.references)}
    # The store has what an earlier import left a reference to.
    same = [name for name, text in found.references.items() if text == references[name]]
    names = {*found.secrets, *store.get_all(same)}
    for name in names & found.references.keys():
        del found.references[name]
    # References that are there already needn't be written again.
    if not (found.secrets or (names and found.replacement is Replacement.COMMENT)):
        return 0
    with disk_errors(f"write {path}"), FileLock(path):
        # The lock holds back this tool only; an editor may have written the file since it was read.
        if read_file(path) != data:
            raise Conflict(f"{path} is unchanged: something else wrote it meanwhile", hint="import it again")
        if found.replacement is Replacement.REFERENCE:
            text = found.dotenv.with_values({name: references[name] for name in names})
        else:
            text = found.dotenv.with_comments(names, backend)
        rewrite(path, text.encode())
    return len(names)


def export_secrets(values: Mapping[str, str], form: str, readers: Collection[str] = ()) -> str:
    """Return values by name as text in a form of EXPORT_FORMS.

    A .env file is for some of DOTENV_READERS, by default all. Raise BadValue for values that these would read
    differently or that aren't text, BadName for names that no variable, or the same one, can have.
    """
    values = dict(sorted(values.items()))
    for name, value in values.items():  # a variable may hold any bytes
        check_value(value, f"the value of {show(name)}")
    if form == "json":
        return dump_json(values, "the export") + "\n"
    names: dict[str, str] = {}
    for name in values:
        variable = checked_variable(name)
        if names.setdefault(variable, name) != name:
            raise BadName(f"{show(names[variable])} and {show(name)} are both variable {variable}")
    variables = {variable: values[name] for variable, name in names.items()}
    if form == "env":
        return _dotenv_for(variables, readers or DOTENV_READERS)
    # In single quotes, only the next one means anything (POSIX, Shell Command Language 2.2.2).
    return "".join(f"export {name}='{escape_single_quotes(value)}'\n" for name, value in variables.items())


def _dotenv_for(values: Mapping[str, str], readers: Collection[str]) -> str:
    """Return the text of a .env file; raise BadValue, with names, for values that these readers misread."""
    text = ""
    refused = []
    for name, value in values.items():
        quoted, misreaders = quote_dotenv(value, readers)
        text += f"{name}={quoted}\n"
        if misreaders:
            refused.append(f"{show(name)} (not by {', '.join(misreaders)})")
    if refused:
        raise BadValue(
            f"not all readers of .env files would take it as it is: {', '.join(refused)}",
            hint="name those that will read it with --for, or use `run`, or --format json",
        )
    return text


def escape_single_quotes(value: str) -> str:
    """Return a text as it stands between single quotes in a shell; the quotes aren't added."""
    return value.replace("'", "'\\''")


# === Templates ===
# Put values into a file so that whoever parses it gets them unchanged. What a value becomes depends on
# where its reference stands: in quotes it is escaped, and alone it becomes a quoted scalar. Anywhere else,
# as in a comment, it is refused where the format could be broken. Each format has a function that yields
# the stretches of a text that it understands, with how to write values there. Of {"a": "x ${secret:b}"},
# JSON yields "a" and "x ${secret:b}", in which quotes and backslashes are escaped; elsewhere, only a
# reference that stands alone is written, as a string. In a file of an unknown format, a value is refused
# that has what most formats would read as something else.

_Write = Callable[[str], str]  # makes the text to write from a value, or raises _CannotWrite
_Stretches = Iterator[tuple[int, int, _Write]]  # start, end, and how to write a value in between
# Stands for each reference while a text is taken apart: half of a surrogate pair, which no decoded text has.
_MARK = "\ud800"

# Where a value can't be written: what is said of the place, and how to go on. A format's own name is for any
# place that its function doesn't yield.
_QUOTES_HINT = 'put the reference into "…", in one line, with no backslash before it'
_REFUSALS = {
    "json": ("in this place", _QUOTES_HINT),
    "toml": ("in this place", _QUOTES_HINT),
    "yaml": ("in this place", _QUOTES_HINT),
    "xml": ("in this place", "put the reference into text, or into an attribute's quotes"),
    "properties": ("after a backslash", "leave out the backslash"),
    "env": ("in this place", "let the reference be all that follows NAME="),
    "shell": ("in this place", 'put the reference into "…" outside other quotes and $(…)'),
    "nested quotes": ("in quotes within quotes", "make the inner text from a template of its own"),
    "yaml block": ("in this block", 'use "…" in place of the block'),
    "xml character": ("in XML, which has no such control characters", "store the value in base64"),
    "env quotes": ("beside other text, or in quotes", "let the reference be all that follows NAME="),
    "env value": ("so that all readers of .env files agree", "write it for one of them: see help export"),
    "shell rest": (
        "after what may be a here-document or open quotes",
        'put A="${secret:NAME}" at the top of the script, and use $A',
    ),
    "unknown": (
        "with its quotes, backslashes, $ or line breaks, since this file's format isn't known",
        "say how with --escape; --escape none writes the value as it is",
    ),
}


class _CannotWrite(Exception):
    """A value can't be written in a place; the argument is a key of _REFUSALS."""


class _Escape(NamedTuple):
    """How values are escaped in a format, in a text that has _MARK in place of each reference.

    To add a format, add a row to ESCAPES, and templates to the tests that a parser of the format reads.
    """

    endings: str  # of the names of its templates
    stretches: Callable[[str], _Stretches]  # of a text
    prepare: Callable[[str], str] = str  # puts quotes where a text needs them; str leaves it as it is


def escape_of(path: str) -> str:
    """Return how to escape values in a template of this name: a key of ESCAPES, or "unknown".

    Endings that only say that it is a template don't count: app.json.in is JSON.
    """
    name = re.sub(r"(?:\.(?:in|tmpl|tpl|template|example|sample|dist|j2))+\Z", "", path.lower())
    ending = re.split(r"[./]", name)[-1]
    for escape, how in ESCAPES.items():
        if ending in how.endings.split():
            return escape
    return "env" if re.fullmatch(DOTENV_NAME, os.path.basename(name)) else "unknown"


def fill_template(text: str, escape: str, where: str, resolve: _Write) -> str:
    """Return a template with values in place of its references, and `${secret:…}` in place of `$${secret:…}`.

    `resolve` returns the value of a reference; it gets each `${secret:…}` once, and what it raises is raised.
    `escape` is what `escape_of` returns, and `where` names the template in errors. Raises BadValue, without
    the value, for one that can't be written where its reference stands or, but for "none", isn't UTF-8.
    """
    references: list[re.Match[str]] = []

    def put_mark(match: re.Match[str]) -> str:
        """Collect a reference, and return a mark; return an escaped one without its first $."""
        if match[0].startswith("$$"):
            return match[0][1:]
        references.append(match)
        return _MARK

    how = ESCAPES.get(escape, _UNKNOWN)
    marked = how.prepare(re.sub(EMBEDDED_REFERENCE, put_mark, text))
    values: dict[str, str] = {}
    before, *after = marked.split(_MARK)
    pieces = [before]
    for reference, write, piece in zip(references, _writes(how.stretches(marked), marked, escape), after):
        name = reference[0]
        if name not in values:
            values[name] = resolve(name)
            if escape != "none":  # a variable may hold any bytes
                check_value(values[name], f"the value of {show(reference[1])}")
        try:
            pieces += [write(values[name]), piece]
        except _CannotWrite as error:
            line = 1 + text.count("\n", 0, reference.start())
            place, hint = _REFUSALS[str(error)]
            problem = f"line {line} of {where}: {show(reference[1])} can't be written {place}"
            raise BadValue(problem, hint=hint) from None
    return "".join(pieces)


def _writes(stretches: _Stretches, text: str, escape: str) -> Iterator[_Write]:
    """Yield for each mark how to write a value in its place; outside the stretches, any is refused."""
    elsewhere = _refuse(escape)
    at = 0
    for start, end, write in stretches:
        yield from [elsewhere] * text.count(_MARK, at, start)
        yield from [write] * text.count(_MARK, start, end)
        at = end
    yield from [elsewhere] * text.count(_MARK, at)


# --- how to write a value ---


def _refuse(place: str) -> _Write:
    """Return a way to write no value at all; the place is a key of _REFUSALS."""
    return _unless("", place)


def _unless(pattern: str, place: str, write: _Write = str) -> _Write:
    """Return a way to write values in which a pattern isn't found, and to refuse others by _CannotWrite.

    The place is a key of _REFUSALS.
    """

    def write_some(value: str) -> str:
        """Return what `write` makes of a value, or raise _CannotWrite."""
        if re.search(pattern, value):
            raise _CannotWrite(place)
        return write(value)

    return write_some


def _in_quotes(text: str, escape: _Write) -> _Write:
    r"""Return a way to write values into a string, which is here as the template has it.

    If quotes are in it, as in "{\"a\": …}", values with quotes, backslashes or controls are refused.
    """
    if '\\"' not in text:
        return escape
    return _unless(r'["\\\x00-\x1f]', "nested quotes", escape)


def _quote_json(value: str) -> str:
    """Return a string of JSON (RFC 8259, 7) that TOML 1.0 and YAML read alike."""
    import json

    quoted = json.dumps(value, ensure_ascii=False)
    # Controls, and line breaks of YAML; JSON may have them escaped, too.
    return re.sub(
        r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", quoted
    )


def _escape_json(value: str) -> str:
    """Escape a value for a string in double quotes of JSON, TOML or YAML."""
    return _quote_json(value)[1:-1]


def _escape_xml(value: str) -> str:
    """Escape a value for text or an attribute (XML 1.0, 2.4 and 3.3.3).

    Raise _CannotWrite for one that XML can't have.
    """
    if re.search(_NOT_IN_XML, value):
        raise _CannotWrite("xml character")
    return re.sub(r"""[&<>"'\t\n\r]""", lambda match: f"&#{ord(match[0])};", value)


def _write_dotenv(value: str) -> str:
    """Quote a value so that all readers of .env files read it alike; raise _CannotWrite if that can't be."""
    quoted, misreaders = quote_dotenv(value, DOTENV_READERS)
    if misreaders:
        raise _CannotWrite("env value")
    return quoted


def _escape_properties(value: str) -> str:
    """Escape a value for java.util.Properties, which reads Latin-1, as a key or a value."""

    def escape(match: re.Match[str]) -> str:
        r"""Return the escape of a character: \: of a colon, \u00fc of ü, two of one beyond 16 bits."""
        character = match[0]
        if character.isascii() and character.isprintable():
            return "\\" + character
        units = character.encode("utf-16-be").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    return re.sub(r"[\\:=#! ]|[^\x20-\x7e]", escape, value)


# --- JSON, TOML, XML and properties ---

# The groups of these expressions say how values are written: they are keys of _WRITES. @ is _MARK, and
# `alone` one that stands alone. What has no group, such as a comment, is skipped. A string with
# a mark after a backslash isn't matched: the backslash would escape the value's first character.
_JSON_PARTS = (
    r"""(?P<double>"(?:\\[^@]|[^"\\])*")|'(?:\\[\s\S]|[^'\\])*'|//.*|/\*[\s\S]*?\*/"""
    r"|(?P<alone>(?<![^\s:,\[{/])@(?![^\s:,\]}/]))"
)
_TOML_PARTS = (
    r'''(?P<double>"""(?:\\[^@]|"{1,2}(?!")|[^"\\])*"""|"(?:\\[^@\n]|[^"\\\n])*")'''
    r"""|'''(?:'{1,2}(?!')|[^'])*'''|'[^'\n]*'|\#.*"""
    r"|(?P<alone>(?<![^\s=,\[{.])@(?![^\s=,\]}.\#]))"
)
_XML_PARTS = (
    r"<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?(?:\?>|\Z)"
    # Declarations: the texts and comments in them may have any sign.
    r"""|<!(?:<!--[\s\S]*?-->|<\?[\s\S]*?\?>|"[^"]*"|'[^']*'|[^"'<>]|<(?!!--|\?))*>"""
    r"""|(?P<tag></?[^\s<>"'/](?:"[^"]*"|'[^']*'|[^<>"'])*>)|(?P<text>[^<]+)"""
)
_NOT_IN_XML = r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_DOTENV_PARTS = (  # quoted values may span lines
    r"(?m)^[ \t]*#.*|(?P<value>(?<==)@(?=[ \t]*$))"
    r"""|(?P<inside>^[ \t]*(?:export[ \t]+)?[\w.-]+[ \t]*=[ \t]*(?:"(?:\\[\s\S]|[^"\\])*"|'[^']*')|@)"""
)
_PROPERTIES_PARTS = r"\\[\s\S]|(?P<property>@)"
_WRITES: dict[str, _Write] = {
    "property": _escape_properties,
    "double": _escape_json,
    "alone": _quote_json,
    "text": _escape_xml,
    "value": _write_dotenv,
    "inside": _unless("[^A-Za-z0-9_./:@%+,=-]", "env quotes"),
    "word": lambda value: f"'{escape_single_quotes(value)}'",
    # What double quotes don't take literally (POSIX, Shell Command Language 2.2.3).
    "string": lambda value: re.sub(r'[\\$"`]', r"\\\g<0>", value),
    "unchanged": str,
    "unknown": _unless(r"""["'`\\$\x00-\x1f\x7f]""", "unknown"),
}


def _stretches_of(pattern: str, text: str) -> _Stretches:
    """Yield each match of an expression that has a group, with the way to write that the group names."""
    for match in re.finditer(pattern.replace("@", _MARK), text):
        if match.lastgroup:
            yield (*match.span(), _in_quotes(match[0], _WRITES[match.lastgroup]))


def _in_xml(text: str) -> _Stretches:
    """Yield text, and what is in the quotes of attributes."""
    for match in re.finditer(_XML_PARTS, text):
        if match.lastgroup == "text":
            yield (*match.span(), _escape_xml)
        elif match.lastgroup == "tag":
            for quoted in re.finditer(r""""[^"]*"|'[^']*'""", match[0]):
                start, end = quoted.span()
                yield match.start() + start, match.start() + end, _escape_xml


# --- YAML ---

# One part of a YAML text; a plain scalar ends before `: ` or ` #`, and in [] or {} before their punctuation.
_YAML = r"""(?xm)
    (?P<space>\s+)
    | (?P<comment>(?<!\S)\#.*)
    | (?P<double>"(?:\\[\s\S]|[^"\\])*")
    | (?P<single>'(?:''|[^'])*')
    | (?P<open>[\[{])
    | (?P<close>[\]}])
    | (?P<marker>^(?:---|\.\.\.)(?=\s|\Z))
    | (?P<punctuation>[-?:](?=\s|\Z) | (?<=["']): | %s | [!&*][^\s,\[\]{}]*)
    | (?P<block>[|>][-+1-9]{0,2}[ \t]*(?:\#.*)?\r?\n(?:[ ]*\r?\n)*(?P<indent>[ ]*)(?=[^ \r\n]).*
        (?:\n(?:(?P=indent).*|[ \t]*\r?(?=\n|\Z)))*)
    | (?P<plain>(?:(?!:(?:\s|\Z)|\s\#)%s)+|.)
"""
_IN_BLOCK = lazily(_YAML % ("(?!)", "."))
_IN_FLOW = lazily(_YAML % (",|:(?=[,\\[\\]{}])", "[^\\n,\\[\\]{}]"))
_SCALARS = ("plain", "double", "single", "block")


class _Part(NamedTuple):
    """A part of a YAML text, of a kind that is a group of _YAML."""

    kind: str
    start: int  # in the text
    end: int
    indent: int  # of a block scalar's lines; 0 for another kind
    is_alone: bool  # it doesn't continue a scalar, or go on in the next line


def _in_yaml(text: str) -> _Stretches:
    """Yield the parts of a YAML text that have marks, as far as `_parts_of_yaml` goes.

    Values are written into double quotes of one line, in which plain scalars of one line are by now, and into
    blocks.
    """
    for part in _parts_of_yaml(text):
        content = text[part.start : part.end]
        if _MARK not in content:
            continue
        write = _refuse("yaml")
        if part.kind == "block":
            write = _write_in_block(content, part.indent)
        elif part.kind == "double" and "\n" not in content and f"\\{_MARK}" not in content:
            write = _in_quotes(content, _escape_json)
        yield part.start, part.end, write


def _quote_plain_scalars(text: str) -> str:
    """Return a YAML text with double quotes around plain scalars of one line that have marks.

    Of `a: x ${secret:b}`, it is `a: "x ${secret:b}"`.
    """
    pieces = []
    end = 0
    for part in _parts_of_yaml(text):
        scalar = text[part.start : part.end].rstrip()
        if part.kind == "plain" and part.is_alone and _MARK in scalar:
            pieces += [text[end : part.start], _quote_json(scalar)]
            end = part.start + len(scalar)
    return "".join([*pieces, text[end:]])


def _parts_of_yaml(text: str) -> Iterator[_Part]:
    """Yield the parts of a YAML text one after another, a plain scalar with all its lines.

    Stop before a | or > that begins no block whose end is known.
    """
    depth = 0  # of [] and {}
    at = 0
    last = ""  # the kind of the part before, spaces and comments aside
    while at < len(text):
        style = _IN_FLOW if depth else _IN_BLOCK
        match: Any = style.match(text, at)
        kind = match.lastgroup
        end = match.end()
        is_key = bool(re.match(r":(?:\s|\Z)", text[end : end + 2]))
        if kind == "open":
            depth += 1
        elif kind == "close" and depth:
            depth -= 1
        elif text[at] in "|>":
            is_block = kind == "block" and last not in _SCALARS  # else it may be text that goes on
            if not is_block or len(match["indent"]) <= _column_of_parent(text, at):
                return  # nothing is indented below it, so where does it end?
        elif kind == "plain" and not depth and not is_key:
            end = _end_of_plain(text, at, end)
        is_alone = end == match.end() and (is_key or last not in _SCALARS)
        yield _Part(kind, at, end, len(match["indent"] or ""), is_alone)
        if kind not in ("space", "comment"):
            last = kind
        at = end


def _end_of_plain(text: str, start: int, end: int) -> int:
    """Return where a plain scalar ends whose first line ends at `end`.

    A line continues it if it is indented further than the scalar's parent. A scalar that begins its line has
    its parent above, at a column that isn't known here. So a line that is indented less continues it, too,
    unless it has a key, is an item, or begins like one of a template language.
    """
    indent = _column_of_parent(text, start) + 1
    marker = r"(?:---|\.\.\.)(?:\s|\Z)"  # of a document
    other = r"[-?]\s|.*:(?:\s|\Z)|[{<]"
    goes_on = re.compile(rf"(?:[ \t]*\n)+(?!{marker})(?: {{{indent},}}| *(?!{other}))[^\s#].*")
    while more := goes_on.match(text, end):
        end = more.end()
    return end


def _column_of_parent(text: str, at: int) -> int:
    """Return the column of the key, `-` or `?` that stands before a scalar in its line.

    For what follows `- a: ` it is 2, where the key is; for what follows `- ` it is 0. For a scalar that
    begins its line, return one less than its own column.
    """
    line = text[text.rfind("\n", 0, at) + 1 : at]
    markers = re.match(" *(?:[-?] +)*", line)
    column = markers.end() if markers else 0
    if not re.fullmatch(r"(?:[!&]\S* +)*", line[column:]):
        return column  # a key is before it
    marker = max(line[:column].rfind("-"), line[:column].rfind("?"))
    if marker < 0:
        return column - 1
    return marker


# Including line breaks.
_UNPRINTABLE = r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]"


def _write_in_block(block: str, indent: int) -> _Write:
    """Return how to write values in a block scalar, whose lines are indented (YAML 1.2.2, 8.1)."""
    header, _, body = block.partition("\n")
    if _MARK in header or re.search("[>1-9]", header):  # of several lines, > makes one
        return _refuse("yaml block")
    refused = rf"(?!\n)(?:{_UNPRINTABLE})|\A\s|\A\Z"
    if body.rstrip().endswith(_MARK):
        refused += r"|\n\Z" if header[1:2] == "-" else r"|\n\n\Z"  # which the block's end drops
    return _unless(refused, "yaml block", lambda value: value.replace("\n", "\n" + " " * indent))


# --- shell ---

# A variable, but not one whose name would run on into a value; a command in parentheses that has neither
# parentheses nor references, such as $(dirname "$0"). The parentheses of `case` end nothing.
_EXPANSION = r"(?: \$\w+(?![\w@]) | \$\{\w+\} | \$[\@*\#?!$-] )"
_COMMAND = (
    rf"""\$\((?![^)]*\bcase\b)(?: [^()"'`\\$<\#@] | {_EXPANSION} | "(?:[^"`\\$@] | {_EXPANSION})*" )*\)"""
)
# The parts of a script. Values are written into strings in "…" and as words; the other parts are skipped.
# What isn't one of these ends the search, since a shell may read anything after it: `…`, <<, ((, ${a:-b}, an
# unclosed quote, a # that continues the word of the line above.
_SHELL_PART = rf"""(?x)
    (?P<string>"(?: \\[^@] | [^"\\`$] | {_EXPANSION} | {_COMMAND} | \$(?![\w({{@]) )*")
    | (?P<word>(?<![^\s=])@(?![^\s;&|)]))
    | (?<![^\s;&|()])\#.*
    | '[^']*' | \$'(?:\\[\s\S]|[^'\\])*' | \\(?!\n\#)[\s\S]
    | {_EXPANSION} | {_COMMAND} | <<<
    | (?!<<|\(\()[^"'`$\\]
"""


def _in_shell(text: str) -> _Stretches:
    """Yield strings in double quotes and words that stand alone, up to what this function may misread."""
    # In the expression, \@ is a variable.
    parts = re.compile(re.sub(r"(?<!\\)@", _MARK, _SHELL_PART))
    at = 0
    while part := parts.match(text, at):
        if part.lastgroup:
            yield at, part.end(), _in_quotes(part[0], _WRITES[part.lastgroup])
        at = part.end()
    yield at, len(text), _refuse("shell rest")


ESCAPES = {  # what --escape takes
    "json": _Escape("json jsonc json5 webmanifest", partial(_stretches_of, _JSON_PARTS)),
    "yaml": _Escape("yaml yml", _in_yaml, _quote_plain_scalars),
    "toml": _Escape("toml", partial(_stretches_of, _TOML_PARTS)),
    "xml": _Escape("xml config csproj plist props xhtml", _in_xml),
    "shell": _Escape("sh bash zsh ksh envrc profile", _in_shell),
    "properties": _Escape("properties", partial(_stretches_of, _PROPERTIES_PARTS)),
    "env": _Escape("env", partial(_stretches_of, _DOTENV_PARTS)),
    "none": _Escape("", partial(_stretches_of, "(?P<unchanged>@)")),
}
_UNKNOWN = _Escape("", partial(_stretches_of, "(?P<unknown>@)"))


# === Masking ===
# Every byte that belongs to a value becomes part of a `***`, wherever the stream is split. A value is a
# secret, as text; a form is the bytes that somebody writes for it; a place is where in the data a form is; an
# escape is a few bytes in the data that stand for a character, such as &lt; and %3C.
#
# 1. The forms of each value are made once: as it is, its parts and lines, in quotes, in hex and in base64.
# 2. All are looked up at once in the data's bare text, which has no line breaks and no backslashes, so what
#    JSON and programs quote is found, too. A form that is found there is compared with the data itself.
# 3. Escapes that may belong to a value are looked for: rare ones by the byte that they stand for and the two
#    beside it, HTML's usual ones by the four bytes beside them.
# 4. Around those, the data is decoded in each style and in all of them, once and twice, and searched as in 2.
# 5. What may go on as a value or as an escape in the next data is held back.

MIN_MASKED = 8  # characters; shorter values would mask ordinary words
MASK = b"***"
_MAX_SHOWN = 3  # bytes of a value's possible beginning shown when output pauses, for prompts and echoed keys
_WORD_BYTES = 4  # bytes that are looked up at once
_NOT_BARE = b"\\\r\n"  # what bare text leaves out
_MAX_BACKSLASHES = 64  # that are counted before a value; an even number
_SAMPLED_BYTES = 4096  # bytes by which is judged whether data is full of backslashes
_BLOCK = 64  # words that are looked up in one step
_MAX_GAP = 32  # bytes from one lookup to the next
_MAX_WORDS = 100_000  # table entries: beyond this, the gap shrinks
_SEARCH = 0.003  # lookups for each byte that take as long as to search for one text
_ALIKE = 24  # bytes with which several texts begin, and which are searched for once
_MAX_SEARCHED = 40  # bytes of any other text that are searched for: more are found faster
_MAX_ENCODED = 1 << 17  # characters, what a variable can hold: encodings take many times a value's memory
_MAX_LINES = 10_000  # of one value; of more, none is masked on its own
_MAX_ENCODED_LINES = 200
_MAX_ESCAPED = 16  # bytes that one byte takes at most, escaped twice
_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")  # of base64, RFC 4648
_CONTROLS = dict(zip(b"abefnrtv", b"\a\b\x1b\f\n\r\t\v"))  # by the letter after a backslash
_LETTERS_OF_CONTROLS = bytes.maketrans(bytes(_CONTROLS.values()), bytes(_CONTROLS))
# How HTML and XML are usually written.
_MARKUP = {
    b"&": (b"&amp;",),
    b"<": (b"&lt;",),
    b">": (b"&gt;",),
    b'"': (b"&quot;", b"&#34;"),
    b"'": (b"&#39;", b"&#x27;", b"&#039;", b"&apos;"),
}
# Too common to be masked as a part of a value: host names, words, numbers.
TOO_PLAIN = lazily(r"([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?|[A-Za-z]?[a-z]{1,15}(:\d+)?|[A-Z]{1,16}|[\d.:/-]{1,15}")


class _Found(NamedTuple):
    """Where data has a value, in any form, from its first byte to just after its last."""

    start: int
    end: int
    value: str  # the secret, not the form


class _Result(NamedTuple):
    """What a search found in some data."""

    places: list[_Found]
    cut: int  # where a value may begin that goes on in the next data, or else the data's end


class _Form(NamedTuple):
    """A way to write a value."""

    text: bytes
    value: str
    is_wrappable: bool  # line breaks may be anywhere in it


def maskable(value: str) -> bool:
    """Return whether a value is long enough to be masked."""
    return len(value.strip()) >= MIN_MASKED


class Encodings:
    """Values to mask, in every encoding; those under 8 characters are ignored, see `maskable`."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Make the forms of the values, and prepare to find them."""
        forms: dict[bytes, _Form] = {}
        escapable: set[bytes] = set()
        # A form that two values have in common is found as the first one's.
        for value in filter(maskable, values):
            for text, is_wrappable in _forms_of(value, escapable):
                text = text.strip(b"\r\n")  # bare text has none
                forms.setdefault(text, _Form(text, value, is_wrappable))
        self._search = _BareSearch(forms.values())
        self._escapes = _EscapeSearch(escapable)

    def find(self, data: bytes) -> list[_Found]:
        r"""Return the places of values, in order; they may overlap.

        Say that the value is `it"s&secret`, and the data is this line:

            {"it\"s&secret": "it&quot;s&amp;secret", "it%22s&secret"

        Its bare text, without the backslash, has `it"s&secret`, which is a form: the place is from 2 to 14.
        There are also &quot; and %22, which stand for what the value has, a quote. What is around them is
        decoded, and has the value from 18 to 38 and from 42 to 55.
        """
        places, _ = self._find(data, more_follows=False)
        return places

    def find_in_part(self, data: bytes) -> _Result:
        """Return the places in data that more will follow, and the cut; no place begins after it."""
        places, cut = self._find(_without_unfinished(data), more_follows=True)
        return _Result([place for place in places if place.start < cut], cut)

    def _find(self, data: bytes, more_follows: bool) -> _Result:
        """Return the places, in order, and the cut; places may begin after it."""
        bare = _Bare(data)
        places, cut = self._search.find(bare, more_follows)
        for layer in self._escapes.decoded_parts(bare, more_follows):
            decoded, decoded_cut = self._search.find(_Bare(layer.text), layer.is_last and more_follows)
            for start, end, value in decoded:
                places.append(_Found(layer.places[start], layer.places[end], value))
            if decoded_cut < len(layer.text) or layer.is_cut:
                cut = min(cut, layer.places[decoded_cut])
        return _Result(sorted({*places}), cut)

    def find_beginning(self, data: bytes) -> int:
        """Return the cut, but without regard to values that are escaped."""
        return self._search.find(_Bare(data), more_follows=True).cut

    def mask(self, text: AnyStr) -> AnyStr:
        """Return a text, or bytes, with `***` in place of values; the same object if it has none."""
        data = text if isinstance(text, bytes) else _to_bytes(text)
        masked = Masker(self).feed(data, is_end=True)
        if masked == data:
            return text  # callers compare by `is`
        return masked if isinstance(text, bytes) else masked.decode(errors="surrogateescape")


class Masker:
    """One stream, masked piece by piece; holds back only what may become a value."""

    def __init__(self, encodings: Encodings) -> None:
        self._encodings = encodings
        self._tail = b""  # what is held back: it may begin a value
        self._done = 0  # how many bytes of the tail were written, as they are or as a mask
        self._masked = False  # whether the last of them were written as a mask

    def feed(self, data: bytes, is_end: bool = False) -> bytes:
        """Add data to the stream; return what can be written now, masked, and with `is_end` all the rest."""
        data = self._tail + data
        if is_end:
            places, cut = self._encodings.find(data), len(data)
        else:
            places, cut = self._encodings.find_in_part(data)
        written = []
        for start, end, _ in places:
            # A place that overlaps the last mask is covered by it.
            if start >= self._done or not self._masked:
                written += [data[self._done : start], MASK]
            self._done = max(self._done, end)
            self._masked = True
        written.append(data[self._done : cut])
        self._tail = data[cut:]
        self._done = max(self._done - cut, 0)
        return b"".join(written)

    @property
    def has_prompt(self) -> bool:
        """Return whether something is held back that may be shown, since it has at most 3 bytes of a value.

        The beginning of an escape doesn't count: of "&copyright", which may become an entity, all may be
        shown unless a value begins with it or with one of its ends.
        """
        may_be_value = self._tail
        if _UNFINISHED.fullmatch(self._tail):
            may_be_value = self._tail[self._encodings.find_beginning(self._tail) :]
        return self._done < len(self._tail) and len(may_be_value) <= _MAX_SHOWN

    def pause(self) -> bytes:
        """Return the withheld text as it is; if a value begins in it, the rest of that one becomes `***`."""
        shown = self._tail[self._done :]
        self._done = len(self._tail)
        self._masked = False
        return shown


# --- the forms of a value ---


def _forms_of(value: str, escapable: set[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each form of a value, and whether line breaks may be anywhere in it.

    Add to `escapable` the forms whose characters may be escaped.
    """
    plain, encoded = _texts_of(value)
    for text in plain:
        yield _to_bytes(text), False
    for text in encoded:
        raw = _to_bytes(text)
        latin_1 = _with_latin_1(text)
        escapable.update((raw, latin_1))
        yield latin_1, False
        yield raw, False
        yield raw.translate(_LETTERS_OF_CONTROLS), False  # of an escaped \n, bare text has the n
        yield from ((form, True) for form in _in_hex_and_base64(raw))


def _texts_of(value: str) -> tuple[set[str], set[str]]:
    """Return the texts that are looked for as they are, and those that may also be encoded.

    The former are the value, the secrets in it and the lines of both, in quotes as well. Short or plain lines
    and a key's armour are left out, and all lines of a text that has more than 10,000. Only the first 200
    lines, and of each text the first 131,072 characters, may be encoded.
    """
    parts = {value, *_secret_parts(value)}
    parts |= {text.strip() for text in parts}
    plain = set(parts)
    lines: list[str] = []
    for text in parts:
        text = re.sub("\r\n?", "\n", text.strip())
        if "-----" in text:
            text = text.replace("\\n", "\n")  # a key in one line
        if "\n" not in text:
            continue
        plain |= {text, text.replace("\n", "\r\n")}  # as files and terminals have it
        if text.count("\n") < _MAX_LINES:  # logs add a prefix to each line
            lines += [line.strip() for line in text.split("\n")]
    # The armour of a key is not secret.
    lines = [line for line in lines if line[:5] != "-----" and _is_part(line)]
    encoded = {text[:_MAX_ENCODED] for text in parts.union(lines[:_MAX_ENCODED_LINES])}
    encoded |= {text.replace(" ", "+") for text in encoded}  # as in forms
    return plain.union(lines, *map(_quoted, encoded)), encoded


def _quoted(text: str) -> Iterator[str]:
    """Yield a text as it stands between the quotes of shells, SQL and CSV.

    At its ends, quotes stay as they are: there, a doubled one may be a quote of JSON and one that it escapes.
    """
    for quote, doubled in (("'", "'\\''"), ("'", "'\"'\"'"), ("'", "''"), ('"', '""')):
        yield text[:1] + text[1:-1].replace(quote, doubled) + text[-1:]


def _is_part(text: str) -> bool:
    """Return whether a part of a value is masked by itself: not if it is short, plain or a weak password."""
    return maskable(text) and not TOO_PLAIN.fullmatch(text) and not is_weak(text)


def _secret_parts(value: str) -> set[str]:
    """Return the secrets inside a value, since programs show them without the rest.

    They are the texts under secret names in JSON, and the passwords of URLs and connection strings, decoded
    as well. A text that also stands under another name, or beside the password, is left out.
    """
    members = list(_members(value))
    found = {text for key, text in members if is_secret_name(key)}
    found -= {text for key, text in members if not is_secret_name(key)}
    for text in [value, *(text for _, text in members)]:
        for password in passwords_in(text):
            beside = text.replace(password, "", 1)
            if not re.search(rf"(?<!\w){re.escape(password)}(?!\w)", beside):
                from urllib.parse import unquote  # which loads much that most commands don't need

                found |= {password, unquote(password, errors="surrogateescape")}
    return set(filter(_is_part, found))


def _members(value: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each member of an object in a JSON document, at any depth, whose value is text.

    Of a text that is JSON only up to some place, yield the objects that end before that.
    """
    import json

    found: list[tuple[str, Any]] = []
    with suppress(ValueError, RecursionError):
        json.loads(value, object_pairs_hook=found.extend)
    for key, text in found:
        if isinstance(text, str):
            yield key, text


def _to_bytes(text: str) -> bytes:
    """Encode to UTF-8; what was never text, as in some variables, becomes its bytes again.

    Half of a surrogate pair, which JSON may have, becomes what Python's "surrogatepass" makes of it.
    """
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _in_hex_and_base64(raw: bytes) -> Iterator[bytes]:
    """Yield hex in both cases, and base64 in both alphabets, as it is inside a longer text, too."""
    import base64

    yield from (raw.hex().encode(), raw.hex().upper().encode())
    encoded = [base64.b64encode(raw), base64.b64encode(raw + b"\n")]
    # The part that neighbours don't change, since three bytes make four characters (RFC 4648).
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        last = (shift + len(raw)) * 8 // 6
        encoded.append(base64.b64encode(b"\0" * shift + raw)[first:last])
    for form in encoded:
        yield from (form, form.translate(_URL_ALPHABET))


def _with_latin_1(text: str) -> bytes:
    r"""Return a text as Latin-1, as \xfc is decoded; what Latin-1 lacks is UTF-8."""
    return b"".join(char.encode("latin-1") if char <= "\xff" else _to_bytes(char) for char in text)


# --- search in bare text ---


class _Bare:
    """Data without line breaks, which may be anywhere in base64, and without backslashes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.text = _bare(data)

    def place(self, at: int) -> int:
        """Return where a byte of the text is in the data."""
        import bisect

        return at + bisect.bisect(self._ends, at)

    @cached_property
    def _ends(self) -> list[int]:
        """Where the text goes on after something was left out; made on demand: most data has no value."""
        pieces = self.data.replace(b"\r", b"\n").replace(b"\\", b"\n").split(b"\n")
        return list(accumulate(map(len, pieces)))


def _bare(data: bytes) -> bytes:
    """Return data without line breaks and backslashes."""
    if data.count(b"\\", 0, _SAMPLED_BYTES) > _SAMPLED_BYTES // 64:
        return data.translate(None, _NOT_BARE)  # which takes as long for many as for none
    return data.replace(b"\r", b"").replace(b"\n", b"").replace(b"\\", b"")


class _BareSearch:
    """A search for forms, by their bare text."""

    def __init__(self, forms: Collection[_Form]) -> None:
        """Index the forms, and the beginnings that they may be cut off to."""
        self._forms: dict[bytes, list[_Form]] = {}  # by their bare text
        for form in forms:
            self._forms.setdefault(_bare(form.text), []).append(form)
        self._forms.pop(b"", None)  # a value of backslashes is no secret
        self._index = _Index(self._forms)
        # Most ends of data begin no form by their bare text. If one does, line breaks in it count, unless the
        # form may be wrapped.
        self._bare_beginnings = _Beginnings(self._forms)
        self._wrapped_beginnings = _Beginnings(_bare(form.text) for form in forms if form.is_wrappable)
        self._beginnings = _Beginnings(_comparable(form.text) for form in forms)
        # Backslashes and line breaks that forms begin with; bare text has none.
        self._first = b"".join(
            form.text[: len(form.text) - len(form.text.lstrip(_NOT_BARE))] for form in forms
        )

    def find(self, bare: _Bare, more_follows: bool) -> _Result:
        """Return the places of forms in the data, in any order, and the cut; places may begin after it."""
        data = bare.data
        places: list[_Found] = []
        cut = self._find_cut(data) if more_follows else len(data)
        for at, text in self._index.find(bare.text):
            start = bare.place(at)
            end = bare.place(at + len(text) - 1) + 1
            written = _comparable(data[start:end])
            for form in self._forms[text]:
                # It has the same bare text, but other line breaks.
                if not form.is_wrappable and not _comparable(form.text).startswith(written):
                    continue
                place = _with_ends(data, _Found(start, end, form.value), form.text)
                # Its last backslash may follow, in any escape; many may not, so that little is held back.
                is_open = form.text.endswith(b"\\") and len(data) == place.end < end + _MAX_BACKSLASHES
                if end <= len(data) and not (is_open and more_follows):
                    places.append(place)
                elif more_follows:
                    cut = min(cut, place.start)
        return _Result(places, cut)

    def _find_cut(self, data: bytes) -> int:
        """Return the start of a form that the end of the data cuts off, else len(data).

        In "say correct", every end of it is compared with the forms, "ay correct" and so on: "correct" begins
        one, so the place is 4. Ends longer than the index's reach are left out: it finds forms that are cut.
        """
        reach = self._index.reach
        tail = _Bare(data[-4 * reach :])
        if len(tail.text) < reach:
            tail = _Bare(data)
        cut = len(tail.data)
        for at in range(max(len(tail.text) - reach, 0), len(tail.text)):
            if self._bare_beginnings.has(tail.text, at):
                start = tail.place(at)
                rest = _comparable(tail.data[start:])
                if self._wrapped_beginnings.has(tail.text, at) or self._beginnings.has(rest, 0):
                    cut = start
                    break
        cut = len(tail.data[:cut].rstrip(self._first))
        if cut < len(tail.data):
            cut = len(_without_last_backslashes(tail.data[:cut]))
        return len(data) - len(tail.data) + cut


def _comparable(text: bytes) -> bytes:
    """Return a text without backslashes and without line breaks at its beginning; those in it stay."""
    return text.replace(b"\\", b"").lstrip(b"\r\n")


def _without_last_backslashes(data: bytes) -> bytes:
    """Return data without the backslashes at its end: the last one may escape what comes next.

    At most 64 are left out, in pairs if there are more, so that the others escape what they did before.
    """
    backslashes = len(data) - len(data.rstrip(b"\\"))
    return data[: len(data) - min(backslashes, _MAX_BACKSLASHES - backslashes % 2)]


def _with_ends(data: bytes, place: _Found, text: bytes) -> _Found:
    """Return the place of a form's bare text, extended to what the form has before and after that.

    A backslash that escapes its first character is in it, too: it would escape what follows the mask.
    """
    start, end, value = place
    before = text[: len(text) - len(text.lstrip(_NOT_BARE))]
    if before:
        start = len(data[:start].rstrip(before))
    after = text[len(text.rstrip(_NOT_BARE)) :]
    if after:
        end = len(data) - len(data[end:].lstrip(after))
    last = data[max(start - _MAX_BACKSLASHES, 0) : start]
    backslashes = len(last) - len(last.rstrip(b"\\"))
    return _Found(start - backslashes % 2, end, value)


class _Index:
    """Texts, found in data by a few of its words.

    The table has the words of four bytes at the first `gap` offsets of each text. In the data, one word is
    looked up in every `gap` bytes, so one that begins inside a text is looked up wherever the text begins.
    With a gap of 8, the words of "correct-horse" are "corr", "orre", … "-hor". In "a correct-horse", only
    "a co" and "t-ho", at 0 and 8, are looked up; "t-ho" is known at offset 6, so the text begins at 2.
    Texts that are too short for the gap are searched for one by one, and so are all if they are few.
    """

    def __init__(self, texts: Collection[bytes]) -> None:
        """Choose the gap for these texts, and fill the table."""
        self._gap = _best_gap(texts)
        indexed = [text for text in texts if len(text) >= self._gap + _WORD_BYTES - 1]
        self._texts: dict[bytes, list[bytes]] = {}  # by their first `gap` bytes
        self._offsets: dict[bytes, set[int]] = {}  # of a word, in any text
        for text in indexed:
            self._texts.setdefault(text[: self._gap], []).append(text)
            for offset in range(self._gap):
                self._offsets.setdefault(text[offset : offset + _WORD_BYTES], set()).add(offset)
        # Sets are looked up faster than the table, and a sparse one faster still. CPython reserves room for a
        # set by what it is made from: here the larger one is better.
        sets = frozenset(self._offsets), frozenset([*self._offsets])
        self._words = max(sets, key=lambda words: sys.getsizeof(words, 0))  # PyPy knows no sizes
        self._block = f"{_WORD_BYTES}s{self._gap - _WORD_BYTES}x" * _BLOCK  # a format of struct
        self._searched: dict[bytes, list[bytes]] = {}  # the others, by what is searched for
        others = sorted(set(texts).difference(indexed))
        for _, alike in itertools.groupby(others, lambda text: text[:_ALIKE]):
            group = [*alike]
            size = _ALIKE if len(group) > 1 else _MAX_SEARCHED
            self._searched[group[0][:size]] = group
        # What begins earlier than this before the end of the data is found even if it is cut off: a longer
        # text has a word there that is looked up.
        self.reach = max([_WORD_BYTES, *map(len, self._searched)])
        if indexed:
            self.reach = max(self.reach, self._gap + _WORD_BYTES - 2)

    def find(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield where a text begins, and the text, even if the data cuts it off; some are found twice."""
        import struct

        for beginning, texts in self._searched.items():
            at = data.find(beginning)
            while at >= 0:
                yield from _those_at(data, at, texts)
                at = data.find(beginning, at + 1)
        if not self._words:
            return
        # In blocks of some words: most data has none or few of them, by chance.
        size = self._gap * _BLOCK
        padded = data + bytes(size)
        for first in range(0, len(data), size):
            words = struct.unpack_from(self._block, padded, first)
            if not self._words.isdisjoint(words):
                for place in itertools.compress(range(_BLOCK), map(self._words.__contains__, words)):
                    yield from self._texts_at(data, first + place * self._gap, words[place])

    def _texts_at(self, data: bytes, place: int, word: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the texts that have a word at a place of the data, and where they begin."""
        for at in [place - offset for offset in self._offsets[word]]:
            if at >= 0:
                # By the part with the word first: to cut a long text takes long.
                yield from _those_at(data, at, self._texts.get(data[at : at + self._gap], ()))


def _those_at(data: bytes, at: int, texts: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield, each with the place, those of the texts that begin there, even if the data cuts them off."""
    for text in texts:
        if data.startswith(text[: len(data) - at], at):
            yield at, text


def _best_gap(texts: Collection[bytes]) -> int:
    """Return the gap, in bytes, with which a search for these texts takes the least time.

    The wider it is, the fewer words are looked up, and the more texts are too short for it. If it is wider
    than all, none is looked up.
    """
    import bisect

    sizes = sorted(map(len, texts))
    widest = max(sizes, default=_WORD_BYTES)
    costs = {widest: _SEARCH * len({text[:_ALIKE] for text in texts})}
    for gap in range(_WORD_BYTES, min(_MAX_GAP, widest - _WORD_BYTES + 1) + 1):
        if gap == _WORD_BYTES or gap * len(sizes) <= _MAX_WORDS:
            costs[gap] = 1 / gap + _SEARCH * bisect.bisect(sizes, gap + _WORD_BYTES - 2)
    return min(costs, key=costs.__getitem__)


class _Beginnings:
    """A set of texts, to ask whether one of them begins at the end of some data."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._sorted = sorted(texts)
        self._first = {text[:size] for text in self._sorted for size in (1, 2)}  # by which most places are no

    def has(self, data: bytes, at: int) -> bool:
        """Return whether the data from a place on is the beginning of a text, but not the whole text."""
        import bisect

        if data[at : at + 2] not in self._first:
            return False
        rest = data[at:]
        next_one = bisect.bisect(self._sorted, rest)
        return next_one < len(self._sorted) and self._sorted[next_one].startswith(rest)


# --- escapes ---

_HEX = "[0-9A-Fa-f]"
_ENTITY = f"#[0-9]{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z][0-9A-Za-z]{{1,31}}"
_LOW_SURROGATE = rf"\\u[dD][c-fC-F]{_HEX}{{2}}"
_NUMERIC = (  # the first alternative is a surrogate pair, of UTF-16
    rf"u[dD][89abAB]{_HEX}{{2}}{_LOW_SURROGATE}|u{_HEX}{{4}}|u\{{{_HEX}{{1,6}}\}}|U{_HEX}{{8}}"
    rf"|x{_HEX}{{2}}|[0-3][0-7]{{2}}"
)
_ESCAPE_WITH_BACKSLASH = rf"\\(?:{_NUMERIC}|[^\r\n])"
_ANY_ESCAPE = rf"{_ESCAPE_WITH_BACKSLASH}|&(?:{_ENTITY});|%{_HEX}{{2}}"
_USUAL = [*chain.from_iterable(_MARKUP.values())]


def _decode_backslash(escape: bytes) -> bytes:
    r"""Return the bytes that an escape of JSON, JavaScript, Python, C or a shell stands for.

    \n is a line break, \/ a slash, \u00e9, \u{e9} and \U000000e9 are "é" in UTF-8, \ud83d\ude00 is one
    character, too; \xe9 and \351 are one byte, which may be a part of a character.
    """
    numbers = [int(number, 16) for number in re.findall(rb"\\[uU]\{?([0-9A-Fa-f]+)", escape)]
    if len(numbers) == 2:  # RFC 8259, 7
        high, low = numbers
        numbers = [0x10000 + ((high - 0xD800) << 10) + low - 0xDC00]
    if numbers:
        return chr(min(numbers[0], sys.maxunicode)).encode(errors="surrogatepass")
    if len(escape) == 4:
        return bytes([int(escape[2:], 16) if escape[1:2] == b"x" else int(escape[1:], 8)])
    return bytes([_CONTROLS.get(escape[1], escape[1])])


def _decode_entity(escape: bytes) -> bytes:
    """Return the characters that an escape of HTML or XML stands for; an unknown name stands for itself."""
    import html

    return html.unescape(escape.decode()).encode(errors="surrogatepass")


def _decode_percent(escape: bytes) -> bytes:
    """Return the byte that an escape of a URL stands for."""
    return bytes.fromhex(escape[1:].decode())


class _Style(NamedTuple):
    """A style of escapes, which begin with one byte."""

    decode: Callable[[bytes], bytes]  # takes any match of `escape`
    escape: re.Pattern[bytes]
    # Returns an expression, without the first byte, for those whose last byte may be one of some bytes, but
    # for those that bare text or _MARKUP takes care of.
    rare: Callable[[Collection[int]], str]


def _rare_with_backslash(stand_for: Collection[int]) -> str:
    """Return an expression for the numeric escapes that may stand for one of some bytes."""
    if max(stand_for) >= 128:
        return _NUMERIC
    byte = _in_hex(stand_for)
    return rf"u(?:00(?:{byte})|\{{0*[0-7]?{_HEX}\}})|U000000(?:{byte})|x(?:{byte})|[01][0-7]{{2}}"


def _rare_entity(stand_for: Collection[int]) -> str:
    """Return an expression for the entities that may stand for one of some bytes, but for HTML's usual ones.

    Of the names, these are those of the bytes alone: names of other characters are what pages are full of.
    """
    from html.entities import html5  # WHATWG HTML, 13.5

    numbers = f"[0-9]{{1,7}}|[xX]{_HEX}{{1,6}}"
    if max(stand_for) < 128:
        numbers = f"0{{0,5}}1?[0-9]?[0-9]|[xX]0{{0,5}}[0-7]?{_HEX}"
    ways = [f"#(?!3[49];|039;|x27;)(?:{numbers});"]
    usual = {escape[1:].decode() for escape in _USUAL}
    names = [name for name, text in html5.items() if name[-1] == ";" and _to_bytes(text)[-1] in stand_for]
    for first, alike in itertools.groupby(sorted({*names} - usual), lambda name: name[0]):
        ways.append(f"{first}(?:{'|'.join(name[1:] for name in alike)})")
    return "|".join(ways)


def _in_hex(numbers: Collection[int]) -> str:
    """Return an expression for one of some bytes, as two digits."""
    ways = []
    for first, row in itertools.groupby(sorted(numbers), lambda number: number >> 4):
        digits = "".join(f"{number & 15:x}" for number in row)
        ways.append(f"[{first:x}{first:X}][{digits}{digits.upper()}]")
    return "|".join(ways)


# By the byte with which each escape begins, so that most data is searched for that only.
_STYLES = {
    b"\\": _Style(
        lru_cache(4096)(_decode_backslash),
        escape=lazily(_ESCAPE_WITH_BACKSLASH.encode()),
        rare=_rare_with_backslash,
    ),
    b"&": _Style(
        lru_cache(4096)(_decode_entity),
        escape=lazily(f"&(?:{_ENTITY});".encode()),
        rare=_rare_entity,
    ),
    b"%": _Style(
        lru_cache(4096)(_decode_percent),
        escape=lazily(f"%{_HEX}{{2}}".encode()),
        rare=_in_hex,
    ),
}
_IN_ALL_STYLES = lazily(_ANY_ESCAPE.encode())
_UNFINISHED = lazily(  # one of these that the end of the data cuts off
    rf"(?:\\(?:u[dD][89abAB]{_HEX}{{2}}(?:\\{{1,2}}(?:u{_HEX}{{0,3}})?)?|u{_HEX}{{0,3}}|u\{{{_HEX}{{0,6}}"
    rf"|U{_HEX}{{0,7}}|x{_HEX}?|[0-3][0-7]?)?"
    rf"|&(?:amp;)?(?:#[0-9]{{0,7}}|#[xX]{_HEX}{{0,6}}|[A-Za-z][0-9A-Za-z]{{0,31}})?|%(?:25)?{_HEX}?)\Z".encode()
)
_MAX_UNFINISHED = 40  # bytes
_BESIDE = 4  # bytes beside a usual escape of HTML, of a text that has it


class _Layer:
    """A part of some data, decoded or not.

    Of "x%26quot;a" at 0, these are the layers, and the places in the data of their bytes and of their end:

        data                x%26quot;a    0 1 2 3 4 5 6 7 8 9 10
        URL                 x&quot;a      0 1 4 5 6 7 8 9 10
        URL, then HTML      x"a           0 1 9 10
    """

    def __init__(self, text: bytes, find_places: Callable[[], Sequence[int]], is_last: bool) -> None:
        self.text = text
        self.is_last = is_last  # whether the data ends where it ends
        self.is_cut = False  # whether an escape that the data's end cuts off was left out
        self._find_places = find_places

    @cached_property
    def places(self) -> Sequence[int]:
        """Found on demand: most layers have no value."""
        return self._find_places()

    def decoded(self, expression: re.Pattern[bytes], more_follows: bool) -> _Layer:
        """Return the layer with the escapes decoded that an expression finds.

        If more data follows the layer, an escape at its end that may go on is left out, and `is_cut` set.
        """

        def find_places() -> list[int]:
            return decoded_places(self.text, expression, self.places)

        text = expression.sub(decode_escape, self.text)
        layer = _Layer(text, find_places, self.is_last)
        if self.is_last and more_follows:
            layer.text = _without_unfinished(text)
            layer.is_cut = layer.text != text
        return layer


# What follows an escape: another one, or at most two bytes as they are, without a second quote, which shells
# and SQL may have added; and the name of an entity, if the escape stands for a &.
_FOLLOWING = (
    rf"(?=({_ANY_ESCAPE}|(?:[^\\&%\r\n][^\\&%\r\n\"']?)?))"
    r"(?=(#?[0-9A-Za-z]{0,32}(?![^;\\&%]))?)"
).encode()
_BEFORE = lazily(rb"(?:[^;\\\r\n\"']?[^;\\\r\n])?\Z")  # what precedes an escape as it is


class _EscapeSearch:
    """Finds the escapes that may belong to a value, and decodes what is around them.

    Any escape may that stands for a byte of a value and has the value's next two bytes after it, or near the
    value's end the two before, each of which may be another escape. So may one that stands for the beginning
    of another escape. But data may be full of HTML's usual escapes: they count only beside a value's own
    characters.
    """

    def __init__(self, texts: Collection[bytes]) -> None:
        """Make the expressions for the escapes that these texts may have."""
        self._longest = max(map(len, texts), default=0)
        bare = {_bare(way) for text in texts for way in (text, text.translate(_LETTERS_OF_CONTROLS))}
        self._bare = bare
        both = bare.union(texts)
        # What is compared with the data: each byte of a text with at most two after it, and each of its last
        # two bytes with at most two before it.
        self._ahead = {text[at : at + size] for text in both for at in range(len(text)) for size in (1, 2, 3)}
        starts = [text[: len(text) - left] for text in both for left in (0, 1)]
        self._behind = {start[-size:] for start in starts for size in (1, 2, 3)}
        self._expressions: dict[bytes, bytes] = {}  # by the first byte; made on demand

    def _expression(self, sign: bytes) -> bytes:
        """Return an expression for the escapes that begin with a sign and may belong to a value."""
        if sign not in self._expressions:
            ways = [_STYLES[sign].rare({*b"".join([*self._ahead, *_STYLES])}).encode()]
            if sign == b"&":
                doubled = b"|".join([*_usual_beside(self._bare, b"&amp;"), *ways])
                ways = [*_usual_beside(self._bare, b"&"), *ways, b"amp;(?:%s)" % doubled]
            self._expressions[sign] = b"%s(?:%s)%s" % (re.escape(sign), b"|".join(ways), _FOLLOWING)
        return self._expressions[sign]

    def decoded_parts(self, bare: _Bare, more_follows: bool) -> Iterator[_Layer]:
        """Yield the text around escapes that may belong to a value, decoded in several ways."""
        data = bare.data
        for start, end in _merged(self._longest * _MAX_ESCAPED, self._find_escapes(bare)):
            start, end = max(start, 0), min(end, len(data))
            layer = _Layer(data[start:end], partial(range, start, end + 1), is_last=end == len(data))
            decoded: dict[bytes, _Layer] = {}  # by their text, since several ways lead to one
            for once in _decoded_in_each_style(layer, more_follows):
                for decoded_layer in (once, *_decoded_in_each_style(once, more_follows)):
                    decoded.setdefault(decoded_layer.text, decoded_layer)
            yield from decoded.values()

    def _find_escapes(self, bare: _Bare) -> Iterator[tuple[int, int]]:
        """Yield the places in the data of the escapes that may belong to a value."""
        for sign in (b"\\", b"%"):
            for match in self._matches(sign, bare.data):
                yield match.span()
        # Backslashes may be between an entity and the value's characters around it.
        for match in self._matches(b"&", bare.text):
            yield bare.place(match.start()), bare.place(match.end())

    def _matches(self, sign: bytes, data: bytes) -> Iterator[re.Match[bytes]]:
        """Yield the escapes that begin with a sign and may belong to a value."""
        if sign not in data:  # which is asked faster than by an expression
            return
        for match in re.finditer(self._expression(sign), data):
            if self._is_of_interest(match):
                yield match

    def _is_of_interest(self, match: re.Match[bytes]) -> bool:
        """Return whether a value may have what an escape stands for, where it is.

        Return True also if the escape stands for the beginning of another one, as &amp;#60; does.
        """
        escape, following, entity = match.group(0, 1, 2)
        decoded = _decode(escape)
        last = decoded[-1:]
        if last == b"&":
            if entity is not None and _entity_goes_on(match.string, match.end(2)):
                return True
        elif last in _STYLES:
            return True
        if following[:1] in _STYLES:
            if last + following[:1] in self._ahead:  # what looks like an escape may be the value's own
                return True
            following = _decode(following)[:1]
            if following in _STYLES:
                return True
        if last + following in self._ahead:
            return True
        if last in self._behind:
            start = match.start()
            before = cast("re.Match[bytes]", _BEFORE.search(match.string, max(start - 2, 0), start))
            if (before[0] + decoded)[-3:] in self._behind:
                return True
        # What is beside HTML's usual ones has been compared.
        return escape[:1] == b"&" and escape.replace(b"&amp;", b"&") in _USUAL


def _entity_goes_on(data: bytes, at: int) -> bool:
    """Return whether an entity may go on at a place in the data: by ; or by another byte of it, escaped."""
    sign = data[at : at + 1]
    escape = _STYLES[sign].escape.match(data, at) if sign in _STYLES else None
    return escape is None or re.fullmatch(b"[#;0-9A-Za-z]", _decode(escape[0])) is not None


def _usual_beside(texts: Collection[bytes], start: bytes) -> Iterator[bytes]:
    """Yield expressions, without their start (& or &amp;), for HTML's usual escapes that may be in a text.

    A page is full of these escapes, and few of them belong to a value. A program that writes HTML escapes
    some of & < > " ' wherever they are, so it is enough to look for the first one of each in a text: by four
    bytes after it, or near the end of the text by those before it. If one of these were escaped, it would be
    found itself; but shells and SQL may have doubled a quote.
    """
    for sign, escapes in _MARKUP.items():
        parts = [text.partition(sign) for text in texts if sign in text]
        ahead = {after[:_BESIDE] for _, _, after in parts if len(after) >= _BESIDE}
        behind = {before[-_BESIDE:] for before, _, after in parts if len(after) < _BESIDE}
        behind = {re.sub(rb".*(?=[\"'])", b"", text) for text in behind}  # from the last quote on
        for escape in escapes:
            ways = []
            for _, alike in itertools.groupby(sorted(behind, key=len), len):  # for one width each
                before = b"|".join(map(re.escape, alike))
                ways.append(b"(?<=(?:%s)%s)" % (before, re.escape(start + escape[1:])))
            if ahead:
                # Most data is refused by one byte, which is faster.
                first = re.escape(b"".join({text[:1] for text in ahead}))
                ways.append(rb"(?![^&<>\"'%s])(?=%s)" % (first, _beginning_in_markup(ahead)))
            if ways:
                yield b"%s(?:%s)" % (escape[1:], b"|".join(ways))


def _beginning_in_markup(texts: Collection[bytes]) -> bytes:
    """Return an expression for what begins with one of some texts, or is cut off by the end of the data."""
    rests: dict[bytes, set[bytes]] = {}  # by the expression of their first byte
    for text in texts:
        if text:
            rests.setdefault(_as_in_markup(text[:1]), set()).add(text[1:])
    ways = [unit + _beginning_in_markup(following) for unit, following in rests.items()]
    return rb"(?:%s|\Z)" % b"|".join(ways) if ways else b""


def _as_in_markup(byte: bytes) -> bytes:
    """Return an expression for a byte as it is or, if HTML escapes it, for a few of such signs or escapes.

    Several, since shells and SQL write more than one quote for a quote.
    """
    if byte not in _MARKUP:
        return re.escape(byte)
    return b"(?:[&<>\"']|&(?:amp;)?(?:%s)){1,5}" % b"|".join(escape[1:] for escape in _USUAL)


def _merged(reach: int, places: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return a range for each place and `reach` bytes around it, in order; those that overlap become one."""
    merged: list[list[int]] = []
    for start, end in sorted(places):
        if merged and start - reach <= merged[-1][1]:
            merged[-1][1] = end + reach
        else:
            merged.append([start - reach, end + reach])
    return merged


def _decoded_in_each_style(layer: _Layer, more_follows: bool) -> Iterator[_Layer]:
    """Yield a layer decoded in each style that it has escapes of, and if there are several, in all."""
    expressions = [style.escape for style in _STYLES.values() if style.escape.search(layer.text)]
    if len(expressions) > 1:
        expressions.append(_IN_ALL_STYLES)
    for expression in expressions:
        yield layer.decoded(expression, more_follows)


def decode_escape(escape: re.Match[bytes]) -> bytes:
    """Return what an escape of JSON, Python, C, HTML, XML or a URL stands for."""
    return _STYLES[escape[0][:1]].decode(escape[0])


@lru_cache(4096)
def _decode(escape: bytes) -> bytes:
    """Return what an escape stands for, also of HTML in HTML."""
    escape = escape.replace(b"&amp;", b"&")
    return _STYLES[escape[:1]].decode(escape)


def decoded_places(text: bytes, expression: re.Pattern[bytes], places: Sequence[int]) -> list[int]:
    """Return the place of each byte of a text whose escapes are decoded, and of its end.

    The expression finds the escapes; `places` are those of the text as it is.
    """
    decoded: list[int] = []
    at = 0
    for escape in expression.finditer(text):
        start = escape.start()
        decoded += places[at:start]
        decoded += [places[start]] * len(decode_escape(escape))
        at = escape.end()
    return [*decoded, *places[at : len(text) + 1]]


def _without_unfinished(data: bytes) -> bytes:
    """Return data without an escape that its end cuts off, even a doubled one, and backslashes before it."""
    unfinished = _UNFINISHED.search(data, max(len(data) - _MAX_UNFINISHED, 0))
    return _without_last_backslashes(data[: unfinished.start()]) if unfinished else data


# === Rotation ===
# A new value is stored as pending, applied where it is used, verified, and only then made current; the old
# one stays as previous until it is revoked, if its policy can do that, and dropped. A process killed between
# any two steps leaves a valid current value and all that resume and abort need: the stages and, in a policy,
# when the rotation was started. So apply and revoke may run twice with the same value.
#
# What each command does in each state:
#
#   state       pending value       policy        rotate    resume    abort     drop      set, schedule, …
#   settled     none                not started   starts    NotFound  NotFound  drops     go ahead
#   begun       none                started       starts    NotFound  forgets   drops     go ahead
#   unfinished  any but the below   any or none   Conflict  finishes  undoes    Conflict  Conflict
#   done        is the current one  not started   starts    finishes  undoes    drops     Conflict
#
# A begun one was killed before it had a value, one that is done before its pending value was deleted. Nothing
# records without a policy that a rotation is done. `rotate now` without names finishes what a policy started.

STEP_TIMEOUT = "60s"  # for a command, unless its policy says otherwise
_GENERATOR = "token:32"  # likewise
_SHOWN_LINES = 3  # of the stderr of a failing command: its last ones
_SHOWN_CHARACTERS = 2000  # from the end of stderr, in which these lines are looked for
# Characters of a value whose beginning may be cut off: in no encoding does its rest reach the shown lines.
_LONGEST_CUT = 1000

_Interval = Union[str, float]
_Step = Union[Callable[[str], object], str, Sequence[str], None]
_Generator = Union[Callable[[], str], str, Sequence[str]]


class UnfinishedRotation(NamedTuple):
    """A rotation that failed or was killed at a step; `since` is UTC.

    Steps are generate, apply, verify, store and, of an abort, undo. Both
    are "" without a policy.
    """

    step: str
    since: str


class SecretRotation:
    """Rotate the secrets of one store by policies, which hold no values.

    The policies are in `policy_file`, else in the file that
    PAISSIVE_ROTATION_FILE names, else sealed with the secrets if those are,
    else in rotation.json. `backend` is as for SecretConfig. Thread-safe:
    while a name is rotated, or a command of a killed rotation still runs,
    another action on it raises Conflict.
    """

    def __init__(self, backend: Source = None, policy_file: Optional[StrPath] = None) -> None:
        """Choose the store and the file; nothing is read yet."""
        self._manager, self._backend = manager_and_backend(backend)
        self._policy_file = policy_file
        # Steps that are functions, by secret, as its policy spells it, and kind of step; a policy holds only
        # their names.
        self._functions: dict[str, dict[str, Callable[..., Any]]] = {}

    def schedule(
        self,
        name: str,
        every: _Interval,
        *,
        generate: _Generator = _GENERATOR,
        apply: _Step = None,
        verify: _Step = None,
        revoke: _Step = None,
        timeout: _Interval = STEP_TIMEOUT,
        keep_previous: Optional[_Interval] = None,
    ) -> None:
        """Rotate `name` as often as `every` says: "30d", "12h", or seconds.

        `generate` is a specification such as "token:32", a function, or a
        command that gets the current value on stdin and prints a new one: a
        list of arguments, or "command:" and a shell command line. `apply`
        and `verify` are functions of the new value, or commands, with or
        without a shell, that get it on stdin. `revoke` gets an old value
        before it is dropped, at the latest by the next rotation.

        A status other than 0, False or an exception is a failure; `timeout`
        is for each command. Commands run in the folder that the store is
        in. Functions live as long as this object. After `keep_previous`,
        `rotate_due` revokes and deletes the previous value. NotFound if
        there is no such secret; Conflict while a rotation is unfinished,
        unless this is its policy.
        """
        steps = {"generate": generate, "apply": apply, "verify": verify, "revoke": revoke}
        parse_interval(every, "--every")
        parse_interval(timeout, "--timeout")
        if keep_previous is not None:
            parse_interval(keep_previous, "--keep-previous")
        policy = {"every": every, "timeout": timeout, "keep_previous": keep_previous}
        policy.update({kind: _step(kind, step) for kind, step in steps.items()}, scheduled=utc_now())
        policies = self._policies()
        policies.store.stage_name(name, "pending")  # BadName for all fields of a Vault secret
        _check_generator_fits(policy["generate"], name, policies.store.get(name))  # it must exist
        with policies.rotation_lock(name):
            before = policies.get(name)
            # Steps that are back at their defaults, and weren't before.
            dropped = [kind for kind in steps if policy[kind] in (None, _GENERATOR)]
            dropped = [kind for kind in dropped if before.get(kind) not in (None, policy[kind])]
            if dropped:
                warn_once(f"the new policy of {show(name)} lacks what the old one had: {', '.join(dropped)}")
            # Scheduling the same again only brings back functions, with which a killed rotation is resumed.
            if any(before.get(key) != value for key, value in policy.items() if key != "scheduled"):
                if revoke is None:
                    policies.check_settled(name)
                policies.store.check_not_pending(name)
                policies.change(name, policy)
        self._functions[policies.spelling_of(name)] = {
            kind: step for kind, step in steps.items() if callable(step)
        }
        for kind in steps:
            _warn_of_missing_program(f"{kind} of {show(name)}", policy[kind], policies.command_folder())

    def scheduled(self) -> list[str]:
        """Return the names that have a policy, sorted."""
        return self._policies().names()

    def unschedule(self, name: str) -> bool:
        """Delete a policy, not the secret; return whether there was one.

        Conflict while a rotation is unfinished, or a previous value has yet
        to be revoked.
        """
        policies = self._policies()
        name = policies.spelling_of(name)
        if name not in policies.names():
            return False
        with policies.rotation_lock(name):
            with suppress(BadValue, WrongKey, Corrupt):  # a policy that can't be read will never revoke
                policies.check_settled(name)
            return policies.delete(name)

    @property
    def path(self) -> str:
        """The file or, if they are sealed, the folder of the policies."""
        return self._policies().path

    def due(self) -> list[str]:
        """Return the names that are due or were left unfinished, sorted."""
        return [name for name, date in self.due_dates().items() if date <= utc_now()]

    def due_dates(self) -> dict[str, str]:
        """Return when each is due, or its unfinished rotation began, in UTC.

        A policy that is damaged or has no valid times counts as due, with a
        warning; `rotate_due` fails on it. Raises BadValue for a damaged
        file.
        """
        policies = self._policies()
        dates = {}
        for name in policies.names():
            try:
                dates[name] = _due_date(name, policies.get(name))
            except (BadValue, Corrupt, WrongKey) as error:
                warn_once(str(error))
                dates[name] = utc_now()
        return dates

    def unfinished(self) -> dict[str, UnfinishedRotation]:
        """Return the rotations that failed or were killed, by name.

        Those of secrets without a policy are found in a local store only.
        One that is still under way on this machine isn't among them.
        """
        policies = self._policies()
        store = policies.store
        found = {}
        for name in policies.names():
            with suppress(BadValue, Corrupt, WrongKey):  # which `due_dates` warns of
                policy = policies.get(name)
                if "started" in policy:
                    found[name] = UnfinishedRotation(str(policy.get("step", "")), str(policy["started"]))
        if store.sealed_folder() or store.plaintext_file():
            for name in store.names():
                if name.endswith(STAGES["pending"]):
                    found.setdefault(base_of_stage(name), UnfinishedRotation("", ""))
        return {name: found[name] for name in sorted(found) if not policies.rotation_lock(name).is_held()}

    def rotate(self, name: str, new_value: Optional[str] = None) -> None:
        """Replace the value by `new_value`, or by what its policy generates.

        RotationFailed if a step fails, Conflict while another rotation is
        unfinished: current is unchanged, and `resume` or `abort` ends it.
        BadValue if there is neither a value nor a policy. With a value,
        there need not be such a secret yet.
        """
        with self._locked_rotation(name) as rotation:
            rotation.start(new_value)

    def rotate_due(self) -> list[str]:
        """Rotate or resume all that is due; return the names that were.

        If some fail, go on with the others, and raise RotationFailed at the
        end. Previous values are dropped as `rotate_if_due` does.
        """
        done = []
        failed = []
        policies = self._policies()
        names = policies.names()
        if names:
            policies.store.check_known()  # else each would fail, for the same reason
        for name in names:
            try:
                if self.rotate_if_due(name):
                    done.append(name)
            except SecretsError as error:
                failed.append(error.message)
            except Exception as error:  # a user's own store may raise anything, with a value in it
                failed.append(f"{show(name)}: {type(error).__name__}")
        if failed:
            raise RotationFailed("; ".join(failed), hint=f"rotated: {', '.join(done) or 'nothing'}")
        return done

    def rotate_if_due(self, name: str) -> bool:
        """Rotate or resume if that is due; return whether it was.

        If not, and `keep_previous` has passed, drop the previous value.
        Raises what `rotate`, `resume` and `drop` do; BadValue without a
        policy.
        """
        policy = self._policies().get(name)
        if _due_date(name, policy) > utc_now() and not _is_overlap_over(name, policy):
            return False
        with self._locked_rotation(name) as rotation:
            # Asked again: another process may have rotated it before this one had the lock.
            if _due_date(name, rotation.policy) <= utc_now():
                pending = rotation.value("pending")
                if pending is not None and "started" in rotation.policy:
                    rotation.finish(pending)
                else:
                    rotation.start(None)
                return True
            if _is_overlap_over(name, rotation.policy):
                rotation.drop()
        return False

    def rollback(self, name: str) -> None:
        """Rotate to the previous value; NotFound if there is none."""
        with self._locked_rotation(name) as rotation:
            previous = rotation.value("previous")
            if previous is None:
                raise NotFound(f"{show(name)} has no previous value", hint="never rotated, or dropped")
            rotation.start(previous)

    def resume(self, name: str) -> None:
        """Finish a rotation that failed or was killed, or raise NotFound."""
        with self._locked_rotation(name) as rotation:
            rotation.finish(rotation.require_pending())

    def abort(self, name: str, *, force: bool = False) -> None:
        """Undo a rotation that failed or was killed, or raise NotFound.

        The old value is applied again. A new one that was current, or about
        to be, becomes the previous one, any other is revoked. If that
        fails, raise RotationFailed; abort can be repeated. Conflict if the
        new one is current and there is no old one. With `force`, only give
        up the pending value: nothing is applied or revoked.
        """
        with self._locked_rotation(name) as rotation:
            if "started" not in rotation.policy:
                rotation.require_pending()
            pending = rotation.value("pending")
            if pending is not None and not force:
                rotation.undo(pending)
            rotation.record(started=None, step=None)
            rotation.delete("pending")

    def drop(self, name: str, *, force: bool = False) -> bool:
        """Revoke and delete the previous value; return whether there was one.

        If it can't be revoked, raise RotationFailed, or with `force` delete
        it all the same. Conflict while a rotation is unfinished: abort may
        need that value.
        """
        with self._locked_rotation(name) as rotation:
            return rotation.drop(force=force)

    @contextmanager
    def _locked_rotation(self, name: str) -> Iterator[_Rotation]:
        """Lock the rotations of a name, and yield one; Conflict if another process has it, or its command."""
        policies = self._policies()
        with policies.rotation_lock(check_name(name)) as lock:
            functions = self._functions.get(policies.spelling_of(name), {})
            yield _Rotation(name, policies, functions, lock)

    def _policies(self) -> Policies:
        """Return the policies as they are now, of the view whose writes outlive the process."""
        return Policies(self._manager.store(self._backend).persistent_view(), self._policy_file)


class _Rotation:
    """A rotation of one secret while its lock is held, by the policy as it was at the start."""

    def __init__(
        self, name: str, policies: Policies, functions: Mapping[str, Callable[..., Any]], lock: FileLock
    ) -> None:
        """Read the policy, {} if there is none; raise what `Policies.get` raises.

        `functions` are those of its steps that are functions, by the kind of step. Raise Unsafe unless the
        user has confirmed the store, since a policy names commands.
        """
        policies.store.check_known()
        self._name = name
        self._shown = show(name)  # in a message
        self._word = shell_word(name)  # in a command that a hint names
        self._store = policies.store
        self._policies = policies
        self._functions = functions
        self._lock = lock
        self.policy = policies.get(name)
        self._known: set[str] = set()  # values that were read or made here, to mask them in messages

    def start(self, value: str | None) -> None:
        """Store a new value as pending, then `finish`; if `value` is None, generate one by the policy.

        Raise BadValue for a value that is the current one or isn't text; Conflict while another rotation is
        unfinished; what `_generate` and `revoke_previous` raise. Until the new value is stored, a failure
        changes nothing, except that the previous value may have been revoked.
        """
        check_replaceable(self._store, self._name)
        self.check_finished()
        self._check_functions("apply", "verify", "revoke")  # before anything is stored
        current = self.value("current")
        if value is None:
            value = self._generate(current)
        check_value(value, f"the new value of {self._shown}")
        self._known.add(value)
        if is_same(value, current):
            raise BadValue(f"the new value of {self._shown} is its current one", hint="rotate to another")
        # Before apply: if two users take turns, the previous and the new value are of the same one.
        self.revoke_previous(pending=value)
        self.delete("pending")  # what a killed rotation left there must not pass for this one's
        # Recorded before there is anything to resume: after a kill in between, `due` lists it.
        self.record(started=utc_now(), step="generate")
        self._set("pending", value)
        self._check_pending(value)  # another machine may have set one, too
        self.finish(value)

    def _generate(self, current: str | None) -> Any:
        """Return what the policy's generator makes of the current value: of a function, anything.

        Raise BadValue if there is no policy, or a token would replace a URL, JSON or a key; NotFound if there
        is no secret; RotationFailed if the generator fails.
        """
        if not self.policy:
            problem = f"no policy says how to replace {self._shown} and where to apply the new value"
            raise BadValue(problem, hint=f"use: rotate schedule {self._word}, or --generate or --stdin")
        if current is None:
            hint = f"set it again, or: rotate unschedule {self._word}"
            raise NotFound(f"there is a policy for {self._shown}, but no such secret", hint=hint)
        _check_generator_fits(self.policy.get("generate"), self._name, current)
        return self._run("generate", current)

    def _check_functions(self, *kinds: str) -> None:
        """Raise BadValue if one of these steps is a function that this program has not scheduled."""
        for kind in kinds:
            step = self.policy.get(kind)
            if isinstance(step, dict) and kind not in self._functions:
                problem = f"{kind} of {self._shown} is a function of another program"
                raise BadValue(f"{problem}: {show(step.get('function'))}", hint="rotate it there")

    def finish(self, pending: str) -> None:
        """Apply and verify the pending value, make it current and the current one previous.

        Each step is recorded in the policy before it is taken. Raise RotationFailed if apply or verify fails,
        the store's errors, and Conflict if the pending value was changed; `resume` then repeats all steps.
        """
        check_replaceable(self._store, self._name)
        # Even if it is current already: a failed abort may have applied the old value.
        for step in ("apply", "verify"):
            if step in self.policy:
                self.record(step=step)
                self._run(step, pending)
        self._check_pending(pending)
        try:
            self.record(step="store")
            current = self.value("current")
            if not is_same(pending, current):
                # Previous before current: after a kill in between, the old value is there twice.
                if current is not None:
                    self._set("previous", current)
                self._set("current", pending)
            self.record(rotated=utc_now(), started=None, step=None)
            self.delete("pending")
        except SecretsError as error:
            problem = f"rotation of {self._shown} failed after apply: {error.message}"
            raise error.reworded(problem, self._hint_after("store")) from None

    def undo(self, pending: str) -> None:
        """Apply the value from before this rotation, and make it current again if it isn't.

        The pending value becomes previous if it was, or may have been, current; otherwise it is revoked,
        unless it is the previous one. The caller deletes it as pending. Raise RotationFailed if a step fails,
        Conflict if the pending value is current and there is no previous one.
        """
        check_replaceable(self._store, self._name)
        current = self.value("current")
        previous = self.value("previous")
        promoted = is_same(pending, current)
        if promoted and previous is None:
            hint = f"use: rotate resume {self._word}, or: rotate abort {self._word} --force"
            raise Conflict(f"{self._shown} has no earlier value to return to", hint=hint)
        self.record(step="undo")
        before = previous if promoted else current
        # Apply it while pending is still there: if that fails, abort can be repeated.
        if before is not None:  # else it is a new secret
            self._run("apply", before)
        if promoted and before is not None:
            self._set("current", before)
        if before is not None and is_same(before, previous):
            # The pending value was current or, if a kill came just before this, may have been: don't lose it.
            self._set("previous", pending)
        elif not is_same(pending, previous):  # it is, if this was a rollback
            self._run("revoke", pending)

    def revoke_previous(self, pending: str | None = None) -> None:
        """Revoke and delete the previous value, if there is one and the policy has `revoke`.

        A value that is current as well, or the new one, `pending`, is neither revoked nor deleted. Before a
        new value, warn if `keep_previous` isn't over yet. Raise RotationFailed if it can't be revoked.
        """
        previous = self.value("previous")
        if previous is None or "revoke" not in self.policy:
            return
        if not is_same(previous, self.value("current")) and not is_same(previous, pending):
            if pending is not None and "keep_previous" in self.policy:
                end = _end_of("keep_previous", self._name, self.policy)
                if end > utc_now():  # only one previous value can be stored
                    warn_once(f"the previous value of {self._shown} is revoked now, not after {end}")
            self._run("revoke", previous)
            self.delete("previous")

    def drop(self, *, force: bool = False) -> bool:
        """Revoke, unless with `force`, and delete the previous value; return whether there was one.

        Raise Conflict while a rotation is unfinished, RotationFailed if it can't be revoked: then it stays.
        """
        self.check_finished()
        # It is current if the rotation is done: abort would need the previous value.
        self.delete("pending")
        exists = self.value("previous") is not None
        if not force:
            self.revoke_previous()
        self.delete("previous")
        return exists

    def require_pending(self) -> str:
        """Return the pending value; raise NotFound without one, since no rotation is unfinished."""
        pending = self.value("pending")
        if pending is None:
            raise NotFound(f"no rotation of {self._shown} was left unfinished", hint="nothing to do")
        return pending

    def check_finished(self) -> None:
        """Raise Conflict if there is a pending value, unless it is current and only has yet to be deleted.

        Another rotation would displace a value that may be in use.
        """
        pending = self.value("pending")
        if pending is None:
            return
        is_done = self.policy and "started" not in self.policy and is_same(pending, self.value("current"))
        if not is_done:
            raise unfinished_error(self._name)

    def _check_pending(self, value: str) -> None:
        """Raise Conflict unless this is still the pending value: another machine may have set another."""
        if not is_same(value, self.value("pending")):
            raise Conflict(f"the pending value of {self._shown} was changed meanwhile", hint="try again")

    def value(self, stage: str) -> str | None:
        """Return the value of a stage, or None if there is none; record it as known."""
        try:
            # A store may return bytes that could neither be applied nor stored as previous.
            value = check_value(self._store.get(self._store.stage_name(self._name, stage)))
        except NotFound:
            return None
        self._known.add(value)
        return value

    def delete(self, stage: str) -> None:
        """Delete a stage, if there is one."""
        remove_secret(self._store, self._name, stage)

    def record(self, **changes: str | None) -> None:
        """Change times and steps in the stored policy, if there is one; None removes one.

        `policy` stays as it was.
        """
        self._policies.change(self._name, changes)

    def _set(self, stage: str, value: str) -> None:
        """Store the value of a stage."""
        self._store.set(self._store.stage_name(self._name, stage), value)

    def _run(self, kind: str, value: str | None) -> Any:
        """Run a step of the policy with a value; return what a generator generates.

        Without the step, do nothing, or generate a token. Raise RotationFailed if it fails; it ends with the
        last lines of a command's stderr, masked. Commands run in the store's folder. A generator's command
        gets the current value: it may name a user, or a provider may want it for a new key. Raise BadValue
        for a step that isn't valid, or is a function of another program.
        """
        step = _step(kind, self.policy.get(kind))  # checked again, since the policy may have been edited
        result: Any = None
        problem = ""
        try:
            if isinstance(step, list):
                timeout = self.policy.get("timeout", STEP_TIMEOUT)
                result = run_command(
                    step,
                    value,
                    parse_interval(timeout, f"the timeout of {self._shown}"),
                    lock=self._lock,
                    folder=self._policies.command_folder(),
                    capture=kind == "generate",
                    explain=partial(_last_lines, [*self._known, *self._store.credentials()]),
                )
            elif isinstance(step, dict):
                result = self._call(kind, value)
            elif kind == "generate":
                result = generate(step) if step else generate()
            if kind == "generate" and result == "":
                problem = "it returned nothing"
        except (RotationFailed, Unavailable) as error:
            problem = error.message
        if problem:  # raised here, without an exception as its context that may hold a value
            raise RotationFailed(f"{kind} of {self._shown} failed: {problem}", hint=self._hint_after(kind))
        return result

    def _call(self, kind: str, value: str | None) -> Any:
        """Call the step's function and return its result; a generator gets no argument, others get the value.

        Raise RotationFailed if it returns False or raises anything, whose text isn't repeated, and BadValue
        if it is a function of another program.
        """
        self._check_functions(kind)
        function = self._functions[kind]
        try:
            result = function() if kind == "generate" else function(value)
        except Exception as error:  # whose text may hold the value
            raise RotationFailed(f"it raised {type(error).__name__}") from None
        if result is False:
            raise RotationFailed("it returned False")
        return result

    def _hint_after(self, kind: str) -> str:
        """Return the hint after a step has failed, to read behind what the user has to repair: how to go on.

        It is "" for a generator, whose failure has changed nothing.
        """
        if kind == "generate":
            return ""
        with suppress(SecretsError):  # of the store: that the step has failed matters more
            if kind == "revoke" and self.value("pending") is None:
                return f"then repeat it, or give it up: rotate drop {self._word} --force"
        return f"then {unfinished_error(self._name).hint}"


def _last_lines(values: Iterable[str], printed: bytes, errors: bytes) -> str:
    """Return the last lines of a command's stderr on one line, with these values and words of stdout masked.

    `printed` is its stdout, `errors` the end of its stderr. Return "" if one of them can't be masked.
    """
    words = [word.decode(errors="surrogateescape") for word in (printed, *printed.split())]
    hidden = {text for text in (*values, *words) if text.strip()}
    # If the beginning of stderr was cut off, it may now begin with the rest of a value, which isn't masked.
    longest = 0 if len(errors) < MAX_ERRORS else max(map(len, hidden), default=0)
    if longest > _LONGEST_CUT or not all(map(maskable, hidden)):
        return ""
    text = Encodings(hidden).mask(errors).decode(errors="replace")
    lines = [line.strip() for line in text[-_SHOWN_CHARACTERS:].splitlines() if line.strip()]
    return printable(" / ".join(lines[-_SHOWN_LINES:]))


def _check_generator_fits(generator: Any, name: str, current: str) -> None:
    """Raise BadValue if a generated token would replace a URL, JSON or a key: `current` looks like one.

    A generator that is a command or a function may make these.
    """
    if isinstance(generator, (list, dict)):  # a command, or a function
        return
    is_url = any(passwords_in(current)) or re.match(r"\w[\w+.-]*://", current)
    if is_url or re.match(r"\s*\{", current) or "-----BEGIN " in current:
        problem = f"a generated token can't replace {show(name)}, which is a URL, JSON or a key"
        raise BadValue(problem, hint="use --generate command:CMD, which gets the current value on stdin")


def _step(kind: str, step: Any) -> Any:
    """Return a step as policies hold it: an argument list, {"function": name}, a specification or None.

    The first is a command, the third a generator's, such as token:32; None is for no step. Raise BadValue for
    anything else, such as an empty command or a generator that doesn't exist.
    """
    if step is None or isinstance(step, dict):
        return step
    if callable(step):  # a policy can't hold it, and its name might lead to another
        return {"function": getattr(step, "__qualname__", type(step).__name__)}
    if isinstance(step, str):
        if kind == "generate" and not step.startswith("command:"):
            generate(step)  # reject a bad specification now
            return step
        line = step.removeprefix("command:")
        step = ["sh", "-c", line] if line.strip() else []
    if not isinstance(step, (list, tuple)) or not step:
        raise BadValue("not a command", hint="use a shell command line, or a list of arguments")
    return [check_value(word, "a word of the command") for word in step]


def _warn_of_missing_program(what: str, step: Any, folder: str) -> None:
    """Warn if a step is a command that begins with a program which isn't here.

    It isn't an error: the machine that rotates may have it. A shell command line that begins with a quote or
    the like is passed over.
    """
    if not isinstance(step, list):
        return
    program = step[0]
    if step[:2] == ["sh", "-c"] and len(step) > 2:
        program = re.split(r"[\s;&|<>()]", step[2].strip(), maxsplit=1)[0]
    if not re.fullmatch(r"[\w./+~-]+", program):  # a quote, a substitution or an assignment
        return
    try:
        # Ask a shell, so that its builtins count as well.
        run_command(["sh", "-c", 'command -v -- "$1"', "sh", program], None, 10, folder=folder)
    except Unavailable:
        warn_once(f"{what}: there is no program {show(program)} here, seen from {folder}")


def parse_interval(interval: Any, what: str) -> float:
    """Return the seconds of "30d" or of a number, or raise BadValue, whose message begins with `what`."""
    if not isinstance(interval, str):
        interval = f"{interval}s"
    elif interval.isdigit():
        raise BadValue(f"{what} has no unit", hint="write 30d, 12h, 90m or 2w")
    seconds = parse_duration(interval)
    if not seconds or seconds == MAX_DURATION:
        raise BadValue(f"{what} isn't a valid interval", hint="write 30d, 12h, 90m or 2w")
    return seconds


def _due_date(name: str, policy: dict[str, Any]) -> str:
    """Return when a rotation is due by its policy, in UTC; for an unfinished one, when it began.

    Raise BadValue if the policy has no valid time or interval.
    """
    if "started" in policy:
        return min(str(policy["started"]), utc_now())  # if the clock was ahead then, it is due all the same
    return _end_of("every", name, policy)


def _is_overlap_over(name: str, policy: dict[str, Any]) -> bool:
    """Return whether the policy limits how long a previous value stays, and that time has passed."""
    return "keep_previous" in policy and _end_of("keep_previous", name, policy) <= utc_now()


def _end_of(interval: str, name: str, policy: dict[str, Any]) -> str:
    """Return when an interval of the policy, "every" or "keep_previous", ends, in UTC.

    It began with the last rotation or, if there was none, when that was scheduled. Raise BadValue if the
    policy has no valid time or interval.
    """
    import calendar

    what = f"the policy of {show(name)}"
    text = str(policy.get("rotated") or policy.get("scheduled"))
    try:
        start = calendar.timegm(time.strptime(text, TIME_FORMAT))
    except ValueError:
        raise BadValue(f"{what} has no valid time", hint="schedule it again") from None
    return format_time(start + parse_interval(policy.get(interval), f"{interval} in {what}"))


# === Provided environment ===
# The variables that a command gets, and that load_env adds to this process: our own, the settings of the
# dotenv file, the store's secrets, and values of the dotenv file that take in secrets. Each is a row of a
# list, and one loop puts values in place of references.

_HINT_TO_LEAVE_OUT = "name the secrets that the command needs, without it"


def load_env(*names: str, backend: Source = None, override: bool = False) -> None:
    """Add to `os.environ` what `run` gives to a command.

    That is the secrets of the store, or those with these names, as text;
    without names, also values of .env that take in moved secrets. Variables
    that exist stay, unless `override` says that the store's values replace
    them; none is removed. ${NAME} in a value of .env is the NAME that this
    process has then. A proxy or a CA that it sets isn't used for Vault,
    since a .env may be a stranger's. Raise NotFound for a name that the
    store lacks, and Moved for one that a .env says is in a store which
    lacks it. The key to the store isn't passed on by `run`: Locked, unless
    all of these have variables already. Call it before other threads read
    the environment.
    """
    manager, chosen = manager_and_backend(backend)
    store = manager.store(chosen)
    try:
        environment, secrets = environment_with_secrets(store, names, manager, variables_win=not override)
    except Locked as error:  # as under `run`, which passes on the secrets instead of the key
        environment, lacking = provided_values(store, names, manager)
        if lacking or not environment:
            which = ", ".join(map(show, lacking)) or "its secrets"
            hint = f"let `run`, which passes on no key, supply them; or {error.hint}"
            raise Locked(f"{error.message}, since no variable has {which}", hint=hint) from None
        if not names:
            variables = environment_now()
            snapshot = Snapshot(manager)
            for variable, text in _composed_texts(store, snapshot, variables, variables).items():
                environment[variable] = Resolver(snapshot).text(text, store, variable, may_be_secret=True)
        secrets = {variable: {text} for variable, text in environment.items()}
    # First, since another thread may log a variable as soon as it is set.
    for listener in secret_listeners:
        for value in chain.from_iterable(secrets.values()):
            listener(value)
    for variable, text in environment.items():
        if variable not in os.environ or (override and os.environ[variable] != text):
            set_for_program(variable, text)


def provided_values(
    store: Store, names: Sequence[str], manager: SecretsManager
) -> tuple[dict[str, str], list[str]]:
    """Return {variable: text} of these secrets from this process, and the names of those without a variable.

    By default, these are all secrets that the store lists without being open, and those that were moved.
    """
    wanted = list(names)
    if not names:
        listed = set(manager.dotenv().moved())
        with suppress(SecretsError):  # Vault lists nothing without a token
            listed.update(store.names())
        wanted = sorted(name for name in listed if not is_stage(name, listed))
    found = environment_now()
    values = {name: found[name] for name in map(variable_name, wanted) if name in found}
    return values, [name for name in wanted if variable_name(name) not in found]


def environment_with_secrets(
    store: Store,
    names: Sequence[str] = (),
    manager: SecretsManager | None = None,
    *,
    variables_win: bool = False,
) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Return a command's environment with these secrets (default: all), and the values to mask by variable.

    Each variable is the first of these that exists: a secret of the store; our own variable; and, without
    names, a setting of the .env, if that is the store, else a value of .env that takes in moved secrets. The
    latter is composed of the variables above or, with `variables_win`, of our own variables first.

    Keys to stores are left out of the environment; they are masked, as are other stages of the secrets. Raise
    NotFound, with all names, for secrets and references that lead nowhere, Moved for a secret that was moved
    and that neither a variable nor the store has, BadValue for values that can't be in an environment or that
    a program would follow as references.
    """
    store.check_exists()
    manager = manager or default_manager
    snapshot = Snapshot(manager, stages=True)
    rows = _rows(store, names, snapshot)
    composed: dict[str, str] = {}
    if not names:
        known = {row.variable: row.source() for row in rows if row.is_passed}
        variables_first = os.environ if variables_win else {}
        composed = _composed_texts(store, snapshot, {**known, **variables_first}, variables_first)
        rows += [_Row(variable, text) for variable, text in composed.items()]
    snapshot.collect((row.text, store) for row in rows)
    environment: dict[str, str] = {}
    masked: dict[str, set[str]] = {}
    missing: list[NotFound] = []
    for row in rows:
        text = row.text
        if row.secret or references_in(text):
            # One for each row, so that its values are those of this variable.
            resolver = Resolver(snapshot, missing)
            if row.secret:
                text = resolver.secret(store, row.secret)
            else:
                text = resolver.text(text, store, row.variable, may_be_secret=True)
            masked[row.variable] = values_to_mask(resolver)
            if row.is_passed:
                reject_reference(text, f"the value for {row.variable}", _HINT_TO_LEAVE_OUT)
        if row.variable in composed:  # it is masked as a whole, too
            masked.setdefault(row.variable, set()).add(text)
        if row.is_passed:
            environment[row.variable] = text
    raise_missing(missing)
    _check_encodable(environment)
    return environment, masked


class _Row:
    """A variable of a command, and the source of its text. Its repr shows no value."""

    def __init__(self, variable: str, text: str = "", *, secret: str = "", is_passed: bool = True) -> None:
        self.variable = variable
        self.text = text  # of our own variable or of a setting, "" if it is a secret
        self.secret = secret  # the name of a secret of the store, else ""
        self.is_passed = is_passed  # whether the command gets it; if not, it is only masked

    def source(self) -> str:
        """Return the text, or a reference to the secret."""
        return REFERENCE_PREFIX + self.secret if self.secret else self.text


def _rows(store: Store, names: Sequence[str], snapshot: Snapshot) -> list[_Row]:
    """Return a row for each variable but those composed of moved secrets; read the secrets into the snapshot.

    A secret of the store takes the place of our variable; no setting has the name of either. Two secrets with
    one variable are a BadValue, and app/db# is NotFound without a secret app/db; any other absent secret has
    a row.
    """
    rows = {variable: _Row(variable, text) for variable, text in child_environment().items()}
    if not names:
        rows.update((variable, _Row(variable, text)) for variable, text in store.plain_settings().items())
    asked = []
    for name in names:  # app/db# stands for all fields
        fields = snapshot.view(store).expand(name)
        asked += [field for field in fields if not is_stage(field, fields)] or [name]
    for name in snapshot.load(store, *asked):
        variable = variable_name(name)
        # A command could open everything with a key, so it doesn't get one unless the user names it.
        if is_store_credential(variable) and name not in asked:
            continue
        other = rows[variable].secret if variable in rows else ""
        if other:
            both = f"{show(other)} and {show(name)}"
            raise BadValue(f"{both} would both be {variable}", hint="name the one that the command needs")
        # The content of the file that NAME_FILE names is passed on only if NAME is asked for.
        path = os.environ.get(variable + "_FILE")
        is_mounted = bool(path) and store.overridden_by(name) == path
        rows[variable] = _Row(variable, secret=name, is_passed=bool(names) or not is_mounted)
    return list(rows.values())


def _check_encodable(environment: Mapping[str, str]) -> None:
    """Raise BadValue for a text that no variable can hold: with NUL, or in letters that the locale lacks."""
    for variable, text in environment.items():
        # Python's own errors come when the command starts, and one of them holds the text.
        with suppress(UnicodeEncodeError):
            if b"\0" not in os.fsencode(text):
                continue
        raise BadValue(f"the value for {variable} can't be in an environment", hint=BINARY_HINT)


def exported_values(store: Store, names: Sequence[str], manager: SecretsManager) -> dict[str, str]:
    """Return the values of these secrets by name, read in one snapshot; NotFound if the store lacks one.

    By default, these are all secrets of the store, the settings of the dotenv file, and what that composes of
    moved secrets, unless a variable has it. Raise Moved for a moved secret that the store lacks.
    """
    snapshot = Snapshot(manager)
    exported = names or [*snapshot.load(store), *store.plain_settings()]
    snapshot.collect((REFERENCE_PREFIX + name, store) for name in exported)
    resolver = Resolver(snapshot)
    values = {name: resolver.secret(store, name) for name in exported}
    if not names:
        known = {variable_name(name): REFERENCE_PREFIX + name for name in exported}
        for variable, text in _composed_texts(store, snapshot, {**os.environ, **known}).items():
            values[variable] = resolver.text(text, store, variable, may_be_secret=True)
    return values


def check_nothing_moved(store: Store) -> None:
    """Raise Moved for the first secret of the store that was moved to another one, and that no variable has.

    Only the env store has such secrets.
    """
    for name in store.moved():
        store.get(name)  # which raises it


def _composed_texts(
    store: Store, snapshot: Snapshot, known: Mapping[str, str], variables_first: Container[str] = ()
) -> dict[str, str]:
    """Return the texts of .env that take in secrets, by variables that `known` doesn't have.

    They refer to secrets of the store, or of the env store for names in `variables_first`. Commands get them,
    as a loader that reads the .env by itself would leave these secrets out. Return {} for the env store,
    which lists such values like its other secrets. Raise one Moved for all moved secrets that neither `known`
    nor the store has, also for those that no value takes in.
    """
    dotenv = snapshot.manager.dotenv()
    missing: dict[str, Moved] = {}
    for name in dotenv.moved():
        try:
            if name not in known and not is_store_credential(name):  # which no command gets
                snapshot.text_of(store, name)
        except Moved as error:
            missing[name] = error
    if missing:
        name, *others = missing
        likewise = f" (likewise: {', '.join(map(show, others))})" if others else ""
        raise missing[name].reworded(missing[name].message + likewise, missing[name].hint)
    if store is dotenv:
        return {}
    composed = dotenv.composed(known, variables_first)
    return {name: composed[name] for name in composed if name not in known and not dotenv.is_provided(name)}


def values_to_mask(resolver: Resolver) -> set[str]:
    """Return the values that a resolver put in, all their stages, and the keys that opened their stores.

    The stages are read from the stores. Keys that are too short to mask are left out; of the values, a masker
    decides that.
    """
    values = set(resolver.values)
    # A program may still have a previous value, or have a pending one already.
    for store, name in resolver.sources:
        values.update(resolver.snapshot.stages(store, name).values(), filter(maskable, store.credentials()))
    return values


# === Processes ===
# A command gets secrets in its environment, and a thread, a relay, masks each of its outputs. Its input and
# its signals are as they would be without us. Its outputs are pipes, unless somebody uses it on a terminal:
# pagers, shells and editors read keys from the terminal that they write to, so it gets one of its own.
#
#     pipes:     command -> pipe -> relay, masks -> our stdout (and the same for stderr)
#     terminal:  command -> its terminal -> relay, masks -> our terminal
#                keys -> our terminal, raw -> relay -> its terminal -> command
#
# Between us and the command is then one more process, the leader of the session of that terminal.

_FORWARDED = "SIGHUP SIGINT SIGQUIT SIGTERM SIGUSR1 SIGUSR2 SIGALRM SIGWINCH SIGCONT"
_IS_PROGRAM = __name__ == "__main__" and os.name != "nt"  # else leave signals and terminal to our caller
PIPE_BYTES = 1 << 18  # what a pipe holds at most, and what is masked at once
_QUIET_SECONDS = 0.05  # of silence, after which a prompt may be shown
# How long a finished command's outputs are read on if what it left running still has them: until this much
# silence, and not longer than this in all.
_GRACE_SECONDS = 0.5
_MAX_GRACE_SECONDS = 5.0


def run_in_place(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the command, as for `run --no-mask`; an error if it can't be started."""
    import signal

    if os.name != "nt":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; the command would inherit that
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is the point
    except OSError as error:
        raise _command_error(command[0], error) from None


def _command_error(program: str, error: OSError) -> SecretsError:
    """Return the error for a program that can't be started; it exits with 127 if there is none, or 126."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        failure = SecretsError(
            f"no command {show(program)}",
            hint="check its name, and the interpreter that its first line names; "
            "for a line of shell, use: sh -c",
        )
        failure.exit_code = 127
    else:
        failure = SecretsError(f"can't run {show(program)}: {(error.strerror or 'it failed').lower()}")
        failure.exit_code = 126
    return failure


def run_masked(
    command: list[str], environment: dict[str, str], values: Iterable[str], renew: Callable[[], float]
) -> int:
    """Run a command, values masked in its outputs; return its status as a shell does: 128+N for signal N.

    Meanwhile, call `renew` again each time that the seconds it returned have passed. Raise SecretsError if
    the command can't be started, and Unavailable if its output can't be written, unless a reader has left. In
    any case, our terminal is restored, and the relays' descriptors are closed.
    """
    import threading

    interactive = _IS_PROGRAM and os.isatty(0) and os.isatty(1) and _in_foreground()
    outputs, ends = _open_outputs(Encodings(values), interactive)
    relays = list(outputs)
    with ExitStack() as stack:
        for output in outputs:
            stack.callback(output.close)
        terminal = _Terminal() if interactive else None
        if terminal:
            terminal.make_raw()
            stack.callback(terminal.restore)
            # What is typed goes to the command's terminal.
            relays.append(_Relay(0, os.dup(outputs[0].source), Masker(Encodings()), outputs[0]))
        signals = _listen_for_signals() if _IS_PROGRAM else None
        process = _start(command, environment, ends, interactive)
        for relay in relays:
            relay.thread.start()
        ended = threading.Event()
        stack.callback(ended.set)

        def keep_alive() -> None:
            """Renew until the command has ended."""
            while not ended.wait(min(renew(), MAX_DURATION)):
                pass

        threading.Thread(target=keep_alive, daemon=True).start()
        status = process.wait() if signals is None else _wait_for(process, signals, outputs, terminal)
        for relay in relays:
            relay.stop_soon()
        ended_by = _wait_for_outputs(outputs, signals)
    if ended_by:
        return 128 + ended_by
    failure = max(output.failure for output in outputs)
    if failure:
        raise Unavailable(f"the command's output can't be written: {failure}")
    return status if status >= 0 else 128 - status


def _open_outputs(encodings: Encodings, interactive: bool) -> tuple[list[_Relay], list[int]]:
    """Return a relay to each of our outputs, and the ends that the command writes to: `_start` closes these.

    These are terminals if `interactive`, where the output is one, else pipes. There is one of each if both
    outputs go to one place. No relay runs yet.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # no other file may take the place of a closed stdin, stdout or stderr
    os.close(spare)
    # If both go to one place, one relay keeps their order. Windows has no number for pipes.
    same = os.fstat(1).st_ino and os.path.sameopenfile(1, 2)
    relays = []
    ends = []
    for fd in (1,) if same else (1, 2):
        if interactive and os.isatty(fd):
            import termios

            source, end = os.openpty()
            termios.tcsetattr(end, termios.TCSANOW, termios.tcgetattr(fd))
            _resize(source, fd)
        else:
            source, end = os.pipe()
            with suppress(ImportError, AttributeError, OSError):  # only Linux has it, and may refuse it
                import fcntl

                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        relays.append(_Relay(source, fd, Masker(encodings)))
        ends.append(end)
    return relays, ends


def _resize(terminal: int, like: int) -> None:
    """Give a terminal as many lines and columns as another has, unless one of them is closed."""
    import fcntl
    import termios

    with suppress(OSError, ValueError):  # closed meanwhile
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(like, termios.TIOCGWINSZ, bytes(8)))


def _start(
    command: list[str], environment: dict[str, str], ends: list[int], interactive: bool
) -> subprocess.Popen[bytes]:
    """Start the command with its outputs, and if `interactive` its input, at these ends; close them here.

    Raise SecretsError if it can't be started; the ends are closed then, too.
    """
    import subprocess

    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=ends[0] if interactive else None,
            stdout=ends[0],
            stderr=ends[-1],
            close_fds=False,  # those passed to us by number are for the command; no other is inherited
            start_new_session=interactive,
            preexec_fn=_lead_session if interactive else None,  # there are no threads yet
        )
    except OSError as error:
        raise _command_error(command[0], error) from None
    finally:
        for end in ends:
            os.close(end)


def _lead_session() -> None:
    """Fork, in the process that Popen has started to run the command: only the child returns, and becomes it.

    The child has a process group of its own, which is in the foreground of its terminal. The parent is the
    process that Popen and we know. It stays as the session's leader in `_stand_by`, which stops and ends as
    the command does: without a parent in its session, ^Z wouldn't stop the command (its group would be
    orphaned).
    """
    import signal

    os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first terminal that a session's leader opens is its own
    command = os.fork()
    if command:
        try:
            _stand_by(command)
        finally:
            os._exit(2)
    os.setpgid(0, 0)
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # who isn't in the foreground yet would get it
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, before)


def _stand_by(command: int) -> NoReturn:
    """Relay signals to the command, stop and continue when it does, and exit with its status.

    That is 128+N if signal N ended it. All files that were inherited are closed.
    """
    import signal

    def forward(number: int, _: object) -> None:
        """Send the command a signal that this process got."""
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(command, number)

    signal.set_wakeup_fd(-1)
    for number in _forwarded_signals():
        signal.signal(number, forward)
    os.closerange(0, 1 << 16)  # Popen and the relays wait until nobody holds the other ends
    while os.WIFSTOPPED(status := os.waitpid(command, os.WUNTRACED)[1]):
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(command, signal.SIGCONT)  # once we have sent it to this process
    status = os.waitstatus_to_exitcode(status)
    os._exit(status if status >= 0 else 128 - status)


class _Relay:
    """A thread that copies from one descriptor to another, masked.

    The relay of keystrokes has a peer, the relay of the terminal's output; each ends when the other does.
    """

    def __init__(self, source: int, target: int, masker: Masker, peer: _Relay | None = None) -> None:
        import threading

        self.source = source
        self.target = target
        self._stop_when_quiet = False  # set when the command has ended, whose children may still write
        self._deadline = float("inf")  # when to stop even without silence, by time.monotonic()
        self._late_bytes = 0  # read after the deadline
        self.failure = ""  # why the rest could not be written
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._masker = masker
        self._peer = peer  # the relay of the terminal's output, for that of keystrokes

    def close(self) -> None:
        """Close our own descriptors, so that a process that still writes learns that nobody reads."""
        for fd in {self.source, self.target} - {-1, 0, 1, 2}:
            with suppress(OSError):  # closed by the thread at the same time
                os.close(fd)
        self.source = -1

    def stop_soon(self) -> None:
        """Have the thread end at the next silence, or at a deadline: the command or the peer has ended."""
        self._deadline = time.monotonic() + _MAX_GRACE_SECONDS
        self._stop_when_quiet = True

    def _run(self) -> None:
        """Relay until the end; of what can't be masked, nothing is written."""
        try:
            while self._pass_on():
                pass
            self._write(self._masker.feed(b"", is_end=True))
        # Whatever it is, the command must not wait for a reader.
        except Exception as error:
            self.failure = f"masking failed with {type(error).__name__}; please report it (leave out secrets)"
        finally:
            self.close()
            if self._peer:
                self._peer.stop_soon()

    def _pass_on(self) -> bool:
        """Wait a moment for data and write it, or else what may be a prompt; return whether to go on.

        Stop if the source has ended, a write failed, or the peer has closed the command's terminal. After
        `stop_soon`, stop at the first silence or, past the deadline, after as much as a pipe holds.
        """
        if self._peer and self._peer.source == -1:  # the command's terminal is closed once both have left it
            return False
        has_prompt = self._masker.has_prompt
        patience = _QUIET_SECONDS if has_prompt else _GRACE_SECONDS
        is_late = time.monotonic() > self._deadline
        if is_late:
            # What the command itself wrote is in the pipe, before anything that its children write now.
            patience = 0
            if self._late_bytes >= PIPE_BYTES:
                return False
        # On Windows, only a read can wait for a pipe.
        if os.name == "nt" or _is_ready(self.source, patience):
            if self._peer and not _in_foreground(without_terminal=True):  # a read would stop us
                time.sleep(_QUIET_SECONDS)
                return not self._stop_when_quiet
            try:
                data = os.read(self.source, PIPE_BYTES)
            except OSError:  # a terminal whose other side is gone
                data = b""
            if is_late:
                self._late_bytes += len(data)
            return bool(data) and self._write(self._masker.feed(data))
        if has_prompt:
            return self._write(self._masker.pause())
        return not self._stop_when_quiet

    def _write(self, data: bytes) -> bool:
        """Write all of it; if that fails, return False and, unless the reader has left, set `failure`."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self.target, rest) :]
            except BlockingIOError:  # our caller made the pipe nonblocking
                _is_ready(self.target, MAX_DURATION, to_write=True)
            except OSError as error:
                is_closed_terminal = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.target).st_mode)
                if error.errno != errno.EPIPE and not is_closed_terminal:  # else the reader has left
                    self.failure = (error.strerror or "it failed").lower()
                return False
        return True


def _is_ready(fd: int, seconds: float, *, to_write: bool = False) -> bool:
    """Wait until a descriptor can be read or, with `to_write`, written, and return whether it can.

    Its end, or an error, counts as well.
    """
    import select

    waiting = select.poll()  # unlike select(), for any number of open files
    waiting.register(fd, select.POLLOUT if to_write else select.POLLIN)
    return bool(waiting.poll(min(seconds * 1000, 1 << 30)))  # milliseconds, in an int


class _Terminal:
    """Our own terminal; raw while we are in the foreground, so that the command's terminal gets every key."""

    def __init__(self) -> None:
        self._modes: list[Any] | None = None  # before it was made raw

    def make_raw(self) -> None:
        """Pass every key on as it is typed, unless that is so already, or somebody else has the terminal."""
        import termios
        import tty

        if self._modes is None and _in_foreground():
            self._modes = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)

    def restore(self) -> None:
        """Undo `make_raw`, unless somebody else has the terminal."""
        import termios

        if self._modes is not None and _in_foreground():
            with suppress(termios.error):  # closed meanwhile
                termios.tcsetattr(0, termios.TCSANOW, self._modes)
            self._modes = None


def _in_foreground(*, without_terminal: bool = False) -> bool:
    """Return whether what is typed in our terminal is for us, and `without_terminal` if we have none."""
    try:
        with open("/dev/tty", "rb", 0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return without_terminal


def _forwarded_signals() -> Iterator[int]:
    """Yield the signals to forward, except those that are ignored, as under nohup."""
    import signal

    for name in _FORWARDED.split():
        number = getattr(signal, name)
        if signal.getsignal(number) != signal.SIG_IGN:
            yield number


def _listen_for_signals() -> int:
    """Catch the signals to forward, and SIGCHLD; return a pipe from which the number of each can be read.

    That stays so until this process ends: `run` is the last thing that it does.
    """
    import signal

    signals, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_forwarded_signals()):
        signal.signal(number, lambda *_: None)
    return signals


def _received(signals: int, seconds: float) -> bytes:
    """Return the numbers of the signals that have come, or that come within these seconds."""
    return os.read(signals, PIPE_BYTES) if _is_ready(signals, seconds) else b""


def _wait_for(
    process: subprocess.Popen[bytes], signals: int, outputs: list[_Relay], terminal: _Terminal | None
) -> int:
    """Return a process's status, -N for signal N; meanwhile forward signals to it.

    With a terminal, stop when it stops, and continue it when we are continued.
    """
    import signal

    while process.returncode is None:
        pid, status = os.waitpid(process.pid, os.WNOHANG | (os.WUNTRACED if terminal else 0))
        if not pid:
            if terminal:
                terminal.make_raw()  # again after `bg` and `fg`, which sends no signal
            for number in _received(signals, _GRACE_SECONDS):
                _handle_signal(number, process, outputs, terminal)
        elif terminal and os.WIFSTOPPED(status):
            terminal.restore()
            os.killpg(0, signal.SIGTSTP)  # the shell takes over, if there is one, until `fg` or `bg`
            terminal.make_raw()  # before the command writes again
            os.kill(process.pid, signal.SIGCONT)
        else:
            process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


def _wait_for_outputs(outputs: list[_Relay], signals: int | None) -> int:
    """Wait until the relays of the outputs end; return 0, or the number of a signal that asks not to wait.

    A reader of our outputs may never read on. Signals that came while the command ran don't count.
    """
    import signal

    if signals is None:
        for output in outputs:
            output.thread.join()
        return 0
    _received(signals, 0)
    while any(output.thread.is_alive() for output in outputs):
        for output in outputs:
            output.thread.join(_QUIET_SECONDS)
        for number in _received(signals, 0):
            if number not in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT):
                return number
    return 0


def _handle_signal(
    number: int, process: subprocess.Popen[bytes], outputs: list[_Relay], terminal: _Terminal | None
) -> None:
    """Forward a signal to the process, unless the terminal has already done so or the process is root's.

    With SIGWINCH, the process's terminals get the size of ours.
    """
    import signal

    if number == signal.SIGWINCH:
        for output in outputs:
            _resize(output.source, output.target)
    # The keyboard has interrupted a command in our process group, one without a terminal of its own.
    by_key = number in (signal.SIGINT, signal.SIGQUIT) and not terminal and _in_foreground()
    if number != signal.SIGCHLD and not by_key:
        with suppress(PermissionError):  # sudo has made it root's
            os.kill(process.pid, number)


# === Redaction ===
# Values masked in text, files and logs. Filters on loggers miss the records of child loggers, filters on
# handlers miss the handlers added later. So `redact_logs` replaces the functions that every record passes.
# What handlers and hooks show of an exception can't be known, variables in its frames for example, so none
# gets it: a `RedactedError` takes its place, whose text is the plain report, masked.

_Redactable = Union[Backend, SecretsManager, Iterable[str]]  # where the values to mask come from
_HIDDEN = MASK.decode()
_WITHHELD = "[withheld: it can't be searched for secrets]\n"  # in place of a report
# UTF-16 and UTF-32 begin with a byte order mark, or with characters of ASCII that have NULs beside them.
_WIDE_TEXT = lazily(rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff|(?:[\t\r\n -~]\0{1,3}){4}|(?:\0{1,3}[\t\r\n -~]){4}")


def redact(value: T, source: Union[_Redactable, RedactingFilter]) -> T:
    """Return text, or built-in containers of it, with values as `***`.

    `source` is a backend, a store, values, a mapping (whose values count)
    or, for many calls, a filter. Other objects are returned as they are if
    neither str() nor repr() shows a value; otherwise, and if they can't be
    examined, they become `***`.
    """
    redacting = source if isinstance(source, RedactingFilter) else RedactingFilter(source)
    return cast("T", redacting.redact(value))


def redact_file(
    path: str, secrets: RedactingFilter, mask_more: Callable[[Iterator[bytes]], Iterable[bytes]] = iter
) -> None:
    """Mask values in a text file, and what `mask_more` masks; nothing is written on an error.

    Raise Unsafe for a link, for a file that has several names and for one that values are read from, BadValue
    for one that is binary, UTF-16 or UTF-32, Conflict for one that changes meanwhile, and OSError.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise Unsafe(f"{path} is not a regular file", hint="name the file that a link leads to")
    state = file_state(path, follow=False)
    with open_regular(path, follow=False) as file, open_regular(path, follow=False) as unmasked:
        status = os.fstat(file.fileno())
        refuse_hard_links(path, status)
        # Settings such as DB_PASSWORD_FILE name files to read values from.
        chosen = [text for variable, text in environment_now().items() if variable.endswith("_FILE")]
        sources = filter(os.path.isfile, [*chosen, *secrets.files])
        if any(os.path.samestat(os.stat(source), status) for source in sources):
            raise Unsafe(f"{path} is where values are read from", hint="delete or rotate the secrets instead")
        is_same = True
        for piece in mask_more(secrets.redact_stream(file.read, path)):
            is_same = is_same and piece == unmasked.read(len(piece))
            if b"\0" in piece:
                raise BadValue(f"{path} is binary", hint="redact the text that it was made from")
        if is_same and not unmasked.read(1):
            return
        with FileLock(path), replacing(path, 0o600, keep=True) as target:
            file.seek(0)
            target.writelines(mask_more(secrets.redact_stream(file.read)))
            if file_state(path, follow=False) != state:
                raise Conflict(f"{path} changed meanwhile", hint="try again when nothing writes to it")


def redact_logs(source: _Redactable) -> RedactingFilter:
    """Mask values in all logging and in reports of uncaught exceptions.

    The source is as for `redact`. From then on, each secret that the
    functions of this module, a manager, a config or `load_env` return is
    masked as well, as are new values after a rotation; settings never are.
    Of "env", what was moved to another store is masked once it is read.
    A warning names values that are too short. Each exception is reported
    by its plain traceback, masked: handlers of logs and a program's own
    hooks, such as crash reporters', which may show variables, get a
    `RedactedError` in its place, whose text is that report. Not covered:
    tracebacks that a program prints itself, a `threading.excepthook` that
    is installed later.
    """
    import logging

    installed: RedactingFilter | None = getattr(logging.Handler.handle, "redacting", None)
    redacting = installed or RedactingFilter()
    try:
        # First: an error leaves no hooks that mask nothing. What was moved is masked once it is read.
        short = redacting.add(source, is_complete=False)
    except Locked:
        manager, chosen = manager_and_backend(cast("Any", source))
        provided, lacking = provided_values(manager.store(chosen), (), manager)
        # `run` masks the output of its command, and every secret in use is already a variable there.
        if lacking or not provided:
            raise
        short = redacting.add(provided)
    if installed is None:
        _redact_records(redacting)
        _redact_uncaught(redacting)
        secret_listeners.append(redacting.add_value)
    if short:
        logging.getLogger("paissive_secrets").warning(
            "not redacted (under %d characters): %s", MIN_MASKED, ", ".join(short)
        )
    return redacting


def _redact_records(redacting: RedactingFilter) -> None:
    """Replace two functions of logging, to redact a record before any handler or its own filters see it.

    A handler may replace `handle`, so that only its logger is seen; or get its records from a queue.
    """
    import logging

    def redacting_first(pass_on: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method in place of one that gets a record: it redacts the record, then calls that one."""

        @wraps(pass_on)
        def redact_and_pass_on(self: Any, record: Any) -> Any:
            """Redact the record in place, and pass it on."""
            redacting.filter(record)
            return pass_on(self, record)

        return redact_and_pass_on

    logging.Logger.callHandlers = redacting_first(logging.Logger.callHandlers)  # type: ignore[method-assign]
    logging.Handler.handle = redacting_first(logging.Handler.handle)  # type: ignore[method-assign]
    logging.Handler.handle.redacting = redacting  # type: ignore[attr-defined]


class RedactedError(Exception):
    """Takes an exception's place in handlers of logs and a program's hooks.

    Its text is the masked report. It has no traceback and no cause, through
    which a hook could reach variables.
    """


class _IsReported(RuntimeError):
    """An audit hook raises this to say that sys.excepthook needn't be called."""


def _redact_uncaught(redacting: RedactingFilter) -> None:
    """Replace Python's hooks for uncaught exceptions, and call a program's own hooks with a substitute.

    A program may replace sys.excepthook at any time, so the audit event before its call is what counts: as
    Python documents it, an audit hook that raises a RuntimeError suppresses the call.
    """
    import threading

    in_thread, of_unraisable = threading.excepthook, sys.unraisablehook
    report = partial(_report_uncaught, redacting)

    def before_excepthook(event: str, args: tuple[Any, ...]) -> None:
        """Report an exception that sys.excepthook is about to get, and suppress that call."""
        if event == "sys.excepthook" and args[2] is not None:
            report(args[2], args[0], lambda error: (type(error), error, None))
            raise _IsReported

    def without_context(kind: Any, error: BaseException) -> tuple[Any, ...]:
        """Return a hook's one argument: a structure of this kind about an error, other fields None."""
        # No traceback; no thread or object either, since their attributes may be secrets.
        return (kind((type(error), error, *[None] * (kind.n_sequence_fields - 2))),)

    def report_in_thread(args: Any) -> None:
        """Report an exception that ended a thread, for threading.excepthook."""
        if args.exc_value is not None and args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "without a name"
            about = f"Exception in thread {name}:\n"
            report(args.exc_value, in_thread, partial(without_context, threading.ExceptHookArgs), about)

    def report_unraisable(args: Any) -> None:
        """Report an exception that nobody can catch, as in __del__, for sys.unraisablehook."""
        if args.exc_value is not None:
            about = f"{args.err_msg or 'Exception ignored'}:\n"
            report(args.exc_value, of_unraisable, partial(without_context, type(args)), about)

    sys.addaudithook(before_excepthook)
    threading.excepthook = report_in_thread
    sys.unraisablehook = report_unraisable


def _report_uncaught(
    redacting: RedactingFilter,
    error: BaseException,
    hook: Callable[..., Any] | None,
    arguments: Callable[[BaseException], tuple[Any, ...]],
    about: str = "",
) -> None:
    """Call a program's own hook with a `RedactedError`, or where it has none or that fails, print the report.

    `arguments` makes the hook's arguments from the exception that it gets. Nothing is raised: Python would
    print an error of a hook with the exception that it was called for.
    """
    import _thread

    try:
        text = redacting.redact(about) + redacting.report(error)
    except KeyboardInterrupt:  # which must not let a hook go on
        text = _WITHHELD
    # By identity and type: what foreign code raised here would let Python go on to the hook.
    is_interrupt = issubclass(type(error), KeyboardInterrupt)  # which hooks tell from a crash by its type
    pythons = (None, sys.__excepthook__, sys.__unraisablehook__, _thread._excepthook)
    if all(hook is not own for own in pythons):
        substitute = KeyboardInterrupt() if is_interrupt else RedactedError(text.rstrip())
        try:
            cast("Any", hook)(*arguments(substitute))
            return
        except BaseException as failure:
            with suppress(BaseException):
                text += redacting.report(failure)
    with suppress(Exception):  # a closed stream
        if sys.stderr:
            sys.stderr.write(text)


class RedactingFilter:
    """A logging filter that masks values; threads may share one."""

    def __init__(self, source: _Redactable = ()) -> None:
        """Mask what `add` finds in the source, without a list of values that are too short."""
        # An ordered set, which only grows. No lock: if another thread held it during a fork, the child could
        # never acquire it.
        self._values: dict[str, None] = {}
        self._built = (0, Encodings())  # of how many values, and what they are
        self.files: set[str] = set()  # where stores keep values in plaintext
        self.add(source)

    def add(self, source: _Redactable, *, is_complete: bool = True) -> list[str]:
        """Redact these values, too; return the names of those too short.

        Raise Moved, if `is_complete`, for a store some of whose secrets
        were moved to another one, BadValue for what is neither a store nor
        values.
        """
        # A manager's default store, a backend, a store, or values.
        manager, chosen = manager_and_backend(cast("Any", source))
        by_name = chosen is None or (isinstance(chosen, str) and chosen in STORES)
        store = manager.store(chosen) if by_name else as_store(chosen)
        if store and is_complete:
            check_nothing_moved(store)
        values = _values_of(chosen) if store is None else _values_in(store, manager)
        if store:
            self.files.add(store.plaintext_file())
        for value in chain.from_iterable(values.values()):
            self.add_value(value)
        return sorted(name for name, held in values.items() if not all(map(maskable, held)))

    def add_value(self, value: str) -> None:
        """Redact this value as well."""
        self._values[value] = None

    @property
    def _encodings(self) -> Encodings:
        """The encodings of all values, built on demand: a program may read many secrets in a row."""
        if self._built[0] != len(self._values):
            values = list(self._values)
            # Two threads may do this at once, which harms nobody.
            self._built = (len(values), Encodings(values))
        return self._built[1]

    def redact(self, value: Any) -> Any:
        """Return text and containers with `***` in place of values.

        Other objects stay if their text has no value.
        """
        return _Redaction(self._encodings).redact(value)

    def redact_stream(self, read: Callable[[int], bytes], name: str = "the text") -> Iterator[bytes]:
        """Yield the data of `read(size)`, masked.

        Also masks a value that is split between two reads. Raises BadValue
        with the name for UTF-16 and UTF-32, where no value would be found.
        """
        masker = Masker(self._encodings)
        data = read(PIPE_BYTES)
        if _WIDE_TEXT.match(data):
            raise BadValue(f"{name} is UTF-16 or UTF-32", hint="convert it to UTF-8 first, as iconv does")
        while data:
            yield masker.feed(data)
            data = read(PIPE_BYTES)
        yield masker.feed(b"", is_end=True)

    def filter(self, record: Any) -> bool:
        """Redact a record's message, arguments, exception and extra fields.

        Return True: the record is logged.

        A `RedactedError` takes an exception's place. What can't be redacted
        is withheld.
        """
        try:
            self._redact_fields(record)
            if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
                error = record.exc_info[1]
                report = str(error) if type(error) is RedactedError else self.report(error).rstrip("\n")
                record.exc_text = self.redact(report)  # which formatters use
                record.exc_info = (RedactedError, RedactedError(record.exc_text), None)
        except KeyboardInterrupt:
            raise
        except BaseException:  # of foreign code
            hidden = dict.fromkeys(_own_fields(record), _HIDDEN)
            vars(record).update(hidden, msg=_WITHHELD.rstrip(), args=(), exc_info=None)
            vars(record).update(exc_text=None, stack_info=None)
        return True

    def _redact_fields(self, record: Any) -> None:
        """Redact a record's message, arguments and other fields, but for its exception.

        Arguments stay as they are if they make the redacted message. Raise what objects in the record raise;
        a plain message that doesn't fit its arguments raises nothing, since logging reports that.
        """
        # Objects in a message may lead to more than it shows, as exceptions do to variables.
        is_plain = type(record.msg) in (str, *_CONTAINERS) and _is_plain(record.args)
        try:
            message = record.getMessage()
            redacted = self.redact(message)
        except Exception:
            if not is_plain:  # else logging reports it, with what is redacted below
                raise
        else:
            if redacted != message or not is_plain:
                parts = self.redact(record.msg), self.redact(record.args)
                # Formatters such as uvicorn's read the arguments: they stay if they make the same message.
                keep = is_plain and _makes(*parts, redacted)
                record.msg, record.args = parts if keep else (redacted, ())
        redaction = _Redaction(self._encodings, replaces_errors=True)
        for name in _own_fields(record):
            setattr(record, name, redaction.redact(getattr(record, name)))

    def report(self, error: BaseException) -> str:
        """Return Python's report of an exception, masked.

        A report that can't be made is withheld.
        """
        import traceback

        try:
            lines = traceback.format_exception(type(error), error, error.__traceback__)
            return cast("str", self.redact("".join(lines)))
        except KeyboardInterrupt:
            raise
        except BaseException:  # of foreign code
            return _WITHHELD


class _Redaction:
    """Redacts values with all that they hold; for logs, a `RedactedError` takes each exception's place."""

    def __init__(self, encodings: Encodings, *, replaces_errors: bool = False) -> None:
        self._mask = encodings.mask
        self._replaces_errors = replaces_errors
        self._done: dict[int, tuple[Any, Any]] = {}  # by id: what takes an object's place, and the object

    def redact(self, value: Any) -> Any:
        """Return the value itself if it shows no secret, else a masked copy or `***`.

        For logs, a `RedactedError` takes the place of any exception, even of one that shows none.
        """
        if isinstance(value, (str, bytes)):
            return self._mask(cast("Any", value))
        if id(value) not in self._done:
            self._done[id(value)] = _HIDDEN, value  # where it contains itself
            redacted = _HIDDEN
            with suppress(Exception):  # it can't be read, or is nested too deep
                redacted = self._redact_object(value)
            self._done[id(value)] = redacted, value
        return self._done[id(value)][0]

    def _redact_object(self, value: Any) -> Any:
        """Return an object that isn't text if it shows no value, a masked copy of a container, or `***`."""
        if self._replaces_errors and isinstance(value, BaseException):
            return RedactedError(self._mask(str(value)))
        parts: list[Any] = []  # of a container or a mapping; any other object has none
        if isinstance(value, (Mapping, *_CONTAINERS)):
            parts += value.items() if isinstance(value, Mapping) else value
        redacted = [self.redact(part) for part in parts]
        kind = type(value)
        is_same = all(new is old for new, old in zip(redacted, parts))
        if is_same and (kind in _CONTAINERS or not self._shows_value(value)):
            return value
        if kind not in _CONTAINERS:
            return _HIDDEN
        copy = kind(redacted)
        return _HIDDEN if kind is dict and len(copy) < len(parts) else copy  # keys that became the same

    def _shows_value(self, item: Any) -> bool:
        """Return whether the text of an object shows a value, or can't be relied on."""
        if isinstance(item, (Iterator, memoryview)):  # whose text says nothing about what is in it
            return True
        return any(self._mask(text) != text for text in (str(item), repr(item)))


def _own_fields(record: Any) -> set[str]:
    """Return the names of a log record's attributes, but for standard ones that hold no value."""
    import logging

    usual = vars(logging.makeLogRecord({})).keys() - {"msg", "args", "exc_text", "stack_info"}
    return set(vars(record)) - usual


def _makes(msg: str, args: Any, message: str) -> bool:
    """Return whether logging makes this message of the parts of a record."""
    try:
        return bool(msg % args == message)
    except Exception:  # a number that became text
        return False


_CONTAINERS = (dict, list, tuple, set, frozenset)  # which are copied; a subclass becomes `***`


def _is_plain(value: Any) -> bool:
    """Return whether a value is text, bytes, a number or None, or a container of nothing else."""
    if type(value) is dict:
        return all(map(_is_plain, chain.from_iterable(value.items())))
    if type(value) in _CONTAINERS:
        return all(map(_is_plain, value))
    return type(value) in (str, bytes, int, float, bool, type(None))


def _values_in(store: Store, manager: SecretsManager) -> dict[str, set[str]]:
    """Return the values to mask by name, for all names of a store: stages, and where references lead.

    A name whose value is bad, or has been deleted, adds fewer values or none; a warning names a bad one. An
    error of the store as a whole, such as Locked, is raised.
    """
    snapshot = Snapshot(manager, stages=True)
    names = _load_each(snapshot, store)
    found = {}
    for name in names:
        resolver = Resolver(snapshot)
        try:
            resolver.secret(store, name)  # not by a reference: none leads to what opens a store
        except (NotFound, Moved):  # deleted meanwhile, or a reference to nothing here
            pass
        except (BadName, BadValue) as error:
            _warn_of_bad(name, error)
        found[name] = values_to_mask(resolver) | set(snapshot.stages(store, name).values())
    return found


def _load_each(snapshot: Snapshot, store: Store) -> list[str]:
    """Read all secrets of a store into a snapshot, and return their names.

    Only if one has a bad value are they read one by one: that one is left out with a warning.
    """
    try:
        return snapshot.load(store)
    except (BadName, BadValue):
        found = []
    names = set(store.names())
    for name in sorted(name for name in names if not is_stage(name, names)):
        try:
            found += snapshot.load(store, name)
        except (BadName, BadValue) as error:
            _warn_of_bad(name, error)
    return found


def _warn_of_bad(name: str, error: SecretsError) -> None:
    """Warn that a name's value can't be masked because of an error."""
    warn_once(f"what {show(name)} leads to can't be masked: {error}")


def _values_of(source: Any) -> dict[str, set[str]]:
    """Return the values of a mapping or another iterable, by a name to warn with; else raise BadValue."""
    # No message shows the source: it may be a value.
    if isinstance(source, str) or not isinstance(source, Iterable):
        raise BadValue("what to redact is neither a store nor a list of values", hint="put it into a list")
    by_name = source if isinstance(source, Mapping) else {f"value {n}": v for n, v in enumerate(source, 1)}
    if not all(isinstance(value, str) for value in by_name.values()):  # it would break each later call
        raise BadValue("what to redact has to be text", hint="leave out None, and decode bytes")
    return {str(name): {value} for name, value in by_name.items()}


# === Candidates ===
# Values that are assigned to names. One search in C finds all fragments of names such as pass and key, and
# an expression matches the text from each of them up to the value; or only up to the next attribute, if the
# name and its value are attributes of one object.

# Every keyword contains one of a few rare letters. Folding those to `k` lets `re` skip from k to k.
_RARE = b"bcpuq"
_ANY_VALUE_WORDS = (b"pass", b"pw", b"secret", b"identified by")  # the values of these may be any word
_RANDOM_VALUE_WORDS = (b"token", b"key", b"nonce", b"cred", b"auth")  # those of these look random
_RAREST_FIRST = b"qjxzwvfkybhpgmucdlnorstiae0123456789_-./:=$&<>(@ "
NAME_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$-"
# What stands between a telltale fragment of a name and its value, in steps that `_assignment` puts together.
# To add a form, add a row to its step: an expression, and a line in which it takes what is between « and »
# (¶ ends a line). An expression may go on in lines that begin with four spaces. {bare} is a character of a
# bare value, {operand} an expression without commas before a value, {key} the key of an attribute.
_FORMS = r"""
= after the name
\\{0,3}["'`]  {"pass«"»: "V"}
&quot;|&#3[94];  {&quot;pass«&quot;»: &quot;V&quot;}
\*\*  **pass«**»: V
(?: [\w.:-]{1,30}="[^"<>\n]{0,60}"){1,3}(?=>)  <pass« encrypted="no"»>V</pass>
 FOR ["'`]?[\w.%-]{1,40}["'`]?(?:@["'`]?[\w.%-]{1,40}["'`]?)?(?= =)  SET PASS« FOR 'me'» = 'V'
= behind an attribute in quotes
,\s{0,40}(?:#|/[/*]|{key}(?:=>|[:=])(?!=))  {"name": "pass"«, "type":» "x", "value": "V"}
\s{0,40}\}  {"value": "V", "name": "pass"«}»
/>  <add value="V" key="pass"«/>»
(?<=["'])\s{1,40}[\w:.-]{1,30}\s{0,9}=\s{0,9}["']  <add key="pass"« value="»V"/>
= behind an attribute on a line
(?:#[^\n]{0,200})?\r?\n\s{0,60}(?:[#}]|\Z|(?:- )?{key}[:=])  name: PASS«¶value:» V
= behind an attribute on a line in source
\r?\n {1,40}value:  - name: PASS«¶ value:» "V"
= behind an element
>\s{0,40}(?:<(?!/|!\[)|\Z)  <pass«><»value>V</value>
</[\w.:-]{0,40}>  <key>pass«</key>»<string>V</string>
= before an object
(?:=>|[:=])?[ \t]{0,9}\{\s{0,40}(?:#|/[/*]|{key}(?:=>|[:={])(?!=))  "pass"«: {"value":» "V"}
:[ \t]{0,9}(?:#[^\n]{0,200})?\r?\n(?:[ \t]{0,40}#[^\n]{0,200}\n){0,3} {0,40}(?<= ){key}:(?=\s)
    Pass«:¶ Default:» V
= type
 \{ get;[\w ;]{1,20}\}(?= =)  string Pass« { get; set; }» = "V"
(?<!["'`]) (?:As )?(?=[^ =\n]{1,24} =)(?!\w{0,20}(?:pass|secret|token))
    [\w\[*&][\w.<>\[\]*&?]{0,23}(?= ?=[^=>])
    var pass« String» = "V"
[:?!]:?(?<=:)(?<!["'`:]:) ?(?=[^\n=;{}]{1,120}=[^=>])(?P<mark_of_type>["']?)(?:&'\w{1,20} )?
    (?:[*&?]|\[\d{0,9}\]?){0,2}\w[\w.:]{0,40}
    (?:[<\[(][^\n;{}]{0,80}[>\])])?\w{0,20}[?*&\[\]]{0,4}(?: ?[|&] ?\w[\w.\[\]]{0,30}){0,3}
    (?P=mark_of_type)(?= ?=[^=>])
    pass«: Union[str, None] | bytes» = "V"
= separator before a quote
=>|:=|[?.+]=|={1,3}  pass «=» "V"
!={1,2}  pass «!==» "V"
\|\|=?|\?\?=?|:-  pass «??» "V"
(?<=[)\]\w] )\?:  getenv("PASS") «?:» "V"
(?<=[)\]] )or  getenv("PASS") «or» "V"
::?|,|\(|\{  setPass«(»"V")
(?<= )[iI][sS](?= )  the pass «is» "V"
(?<=["'] )(?:->|to)(?= )|<-(?= )  "pass" «->» "V"
(?<=_password )(?:BY|by)(?= )  IDENTIFIED WITH a_password «BY» 'V'
(?<=[ \t])  set pass «»"V"
(?:["']\)|(?<=["']\)))\.(?:type|fill|send_?[kK]eys|setValue)\(  get("[name=pass]«").type(»"V")
= operand before a quote
{operand} (?:\? [\w$.()\[\]]{1,60} :[ ]|(?:\|\||\?\?|\?:|//|or|else|\?|\{) \(?)  pass = «a ? b(c) : »"V"
= before a quote
[\[{(]\s{0,40}(?=["'])  pass = «[»"V", "W"]
\[\]byte\(  pass := «[]byte(»"V")
[A-Za-z_][\w.]{0,40}\((?=[^\n]{0,120}default)
    (?:[^\n()"'`]|["'][^"'\n]{0,60}["']|\([^()\n]{0,40}\)){0,60}?default(?:_?[vV]alue)?\s?[=:]\s?
    pass = «field(a=1, default=»"V")
(?:(?:new|await) )?\(  pass = «(»"V")
(?:(?:new|await) )?[A-Za-z_](?P<call>[\w.:(]{0,40})(?<=\()  pass = «new Pass(»"V")
= separator before a bare value
=>|:=|[?.]=|:-|=|:(?!//|\?)  pass «=» V
(?<= )[iI][sS](?:(?= )|:(?=\s))  the pass «is» V
>\s{0,20}(?:<!\[CDATA\[)?  <pass«>»V</pass>
(?<= )  --pass «»V
= above a bare value
(?:!!str )?[|>][-+\d]{0,2}[ \t]{0,9}(?:#[^\n]{0,99}|\r?)\n(?: {0,40}\r?\n){0,2} {1,40}  pass: «>-¶ »V
(?:(?<=[:*])|(?<=[:*] ))\r?\n(?:[ \t>]{0,9}(?:```\w{0,12}|~~~)?[ \t]{0,9}\r?\n){0,2}
    [ \t>]{0,40}(?:\*\*)?(?P<mark>[`"']?)
    (?=[^\s`"'][^\s`"']{2,298}(?<![:,*])(?P=mark)(?:\*\*)?[ \t]{0,9}\r?(?:\n|\Z))
    Pass:«¶> »VALUE
= begin of a bare value
(?={bare})  pass: «»V
(?:(?<=[=:>\[])|(?<=[=:] ))(?![{\[(][\s\d])(?=[^\s"'`=>])  pass=«»[V
= begin of a bare value in source
(?={bare}{0,299}(?:[0-9]|(?<={bare})(?:["'`&]|;\S)))  f("a=b;pass=«»V")
(?={bare}{1,99} (?:host|port|dbname|sslmode|user)=)  connect("pass=«»V user=a")
"""
# What stands for {bare}, {operand} and {key} in the table.
_BARE = r"[^\s\"'`,;<>(){}&|\\\[\]=:]"
_OPERAND = (
    r"[\w$(!][\w$.:!=<>&*@+(){}\[\] -]{0,60}?(?:[\"'][\w.:-]{0,40}[\"'][\w$.:!=<>&*@+(){}\[\] -]{1,60}?)?"
)
_ANY_KEY = r"""\\{0,3}["'`]?[\w.:@-]{1,40}\\{0,3}["'`]?\s{0,9}"""
# What is before the quote of a value after an operand, which may have a string of its own. This spares work.
_OPERAND_AHEAD = (
    r"(?=(?=(?P<run>[\w$(!][^\n\"'`]{1,62}))(?P=run)(?:(?<=[|?:/re] )"
    r"|(?<=[(\[{ ])[\"'][\w.:-]{0,40}[\"'][^\n\"'`]{1,60}(?:(?<=[|?:/re{] )|(?<=\()))[\"'`])"
)
# A string may be on the next line, where formatters put it.
_NEXT_LINE = r"(?:(?:(?<=[=:])|(?<== )\\)\r?\n[ \t]{1,40}(?=[\"'`]))?"
_STRING_PREFIX = r"(?:[bBeEfFlLnNrRuU$@]{1,2}|[uU]&)?"
_QUOTE = r"""(?P<quote>\\{0,3}(?:\"""|'{3,4}|``|["'`])|&quot;|&#3[94];)"""
# A quote closes a string if white space follows it or, but for a value that looks random, a mark.
_OPENS = r"""(?![ \t\r\n]|[,;:)\]](?!(?=[^\s"'`]{0,30}\d)(?=[^\s"'`]{0,30}[A-Z])[^\s"'`]{11,99}(?P=quote)))"""
# The value of a name that says less must not begin like a word. This only spares work: what is random, and
# what a word, is for Judgement to say.
_NO_WORD = lazily(
    rb"""(?x)[A-Za-z]{16}|[A-Z]{8}(?:[A-Z]{4}|(?![\w.(]))|[A-Za-z+/]{2,40}==
    |(?=[a-z]{0,9}[A-Z])(?=[A-Z]{0,9}[a-z])[\w+/-]{16}
    # Or it has a digit, or a bracket that a letter follows.
    |(?=(?P<plain>[^0-9"'`\n\\\])}]{0,60}(?:(?:\\[^\n]|[\])}](?![A-Za-z]))[^0-9"'`\n\\\])}]{0,60}){0,9}))
     (?P=plain)[0-9\])}]
    # Or it has symbols that code without spaces doesn't mix with both cases.
    |(?=[^\s"']{12})(?=\S{0,9}?[a-z])(?=\S{0,9}?[A-Z])(?:\S{0,9}?[!#$%^*?~@|&;,+<]){2}"""
)
# What may follow a fragment of a name: the rest of the name, and what begins an assignment.
_NAME_AHEAD = rb"(?=[\w.$-]{0,40}[\\\"'`*&<\])\[ \t\r\n:=?+|,({>!])"
# Behind one whose value has to look random: no short word, as in a query. Logs take 11 times as long without.
_NO_WORD_AHEAD = rb"(?![\w.$-]{0,40}=[a-z]{0,15}[\s&])"
# A key that is called no more than that, in a mapping or a query, is a secret only if it is long.
_LONG_AHEAD = (
    rb"(?:(?<=[\w.$-]key)|(?<=\w key)"
    rb"|(?!\\?[\"']?\s?[=:]\s?(?:\\?[\"'][^\s\"'\\]{0,19}[\"'\\]|[\w.%+/-]{1,19}(?:[\s&]|\Z))))"
)
# In source, most names stand in lines that go on with neither a quote nor a digit. Those have no value, but
# for one on the next line, after a quote, a dash or "value", or in a connection string: password=V user=a.
_VALUE_AHEAD_IN_SOURCE = lazily(
    rb"(?:(?![^\n0-9\"'`&;<>]{0,120}(?:\n(?!\s{0,40}[\"'v-])|;[ \t\r]*\n))"
    rb"|(?=[^\n]{0,120} [a-z]{4,7}=))"
)
_AHEAD = {
    **dict.fromkeys(_ANY_VALUE_WORDS, _NAME_AHEAD),
    **dict.fromkeys(_RANDOM_VALUE_WORDS, _NAME_AHEAD + _NO_WORD_AHEAD),
    b"key": _LONG_AHEAD + _NAME_AHEAD + _NO_WORD_AHEAD,
}
# What only names a secret, or says where it is: a reference, and what an import leaves in a .env file.
_OUR_REFERENCE = lazily(rb"(?<=[\"'{= ])secret:[\w/]|(?<=: )in the [a-z]{1,20} store\b")
_READ = lazily(  # what follows the first letter of a call that reads: [g]etToken(
    rb"""(?x)
    \A(?:et(?:[A-Zp_]|env\()|equire\()                                      # getToken(, getenv(, require(
    |[._](?:[gG]et(?!Bytes)|[rR]equire|[fF]ind|[fF]orm|Key\()                # x.get(, vault.Key(
    |[._][sS]et\w{0,9}I[dD]\(                                               # x.setKeyId(
    |etrieve|reateKey
    """
)
_TYPES = lazily(  # what ends the name of a field that is typed into: passwordField.fill(
    rb"(?:El(?:ement)?|Field|Input|Locator|(?:Text)?Box|_(?:field|input))?\.(?:fill|send_?[kK]eys|setValue|type)\Z"
)
_SETTING = lazily(rb"(?i)\b(?:set(?:env|x)?|env) (?:-\w+ )?\Z")  # of a shell or a Dockerfile
_CALL = lazily(
    rb"""(?x)
    [A-Za-z_$][\w$]*(?:(?:\.|::)\$?\w+)*               # a name, with members, and then
    (?:[\[(]["'\w()\[\]{&*:\r\n]|->\w|\ [+?]\s)       # arguments, an index, a member or a sum: f(x, a + b
    |(?:Get|Read|ConvertTo|New)-[A-Z][a-z]+\s          # or a cmdlet: Get-Content x
    """
)
_TYPED = lazily(  # eight letters or more with a digit, and a symbol or both cases
    rb"(?=\S{8})(?=\S{0,60}[0-9])(?=\S{0,60}[a-z])(?:(?=\S{0,60}[!#$%^&*?~@+])|(?=\S{0,60}[A-Z]))"
)
_NO_PROSE = lazily(rb"[|>!\r\n]|[^\s\"'`,;<>(){}&|\\\[\]0-9]{0,299}[0-9]")  # a block, or a word with a digit
_OPERATORS = (b"!=", b"!==", b"||", b"||=", b"??", b"??=", b"?:", b"::")
_SAME_AS_EQUALS = dict.fromkeys((b"->", b"<-", b"to", b"BY", b"by"), "=")
_CODE_POINT = lazily(rb"u[0-9a-fA-F]{4}")
_NULL = lazily(  # a value of a language, or a tag of YAML before a value from elsewhere
    rb"""(?xi)
    (?:true|false|null|none|nil|undefined|inherit|always|never|await|yes|no|default!)[,;!]*\Z
    |!(?:vault|ref|sub|getatt)(?!\w)
    """
)
Detected = tuple["Iterable[Span]", int]  # what was found, and where to go on
Detector = Callable[[bytes, int], Detected]  # takes a window and where a keyword ends
MAX_ITEMS = 50  # of one list
_IS_KEY = lazily(rb"\s{0,9}[:=](?!=)")  # of a mapping
_NEXT_ITEM = lazily(
    rb"""(?x)
    \s{0,9},\s{0,60}
    (?:(?:\#|//)[^\n]{0,200}\n\s{0,60}){0,9}            # comments on the item before it
    [bru]?(["'])((?:(?!\1)[^\\\n]|\\[^\n]){0,300})\1    # the string
    (?!\s{0,9}[:=])                                     # which isn't the key of a mapping
    """
)
MAX_VALUE = 300  # bytes; a longer one is judged by its beginning
# How a bare value ends: at what separates words, or with all that belongs to it. Those up to "shell" have a
# line to themselves.
_BARE_VALUES = {
    "line": lazily(rb"[^\n]{1,299}?(?=[;,]?(?:[ \t]+[#;]|[ \t\r]*(?:\n|\Z)))|[^\n]{300}"),
    "scalar": lazily(rb"[^\n]{1,299}?(?=[ \t]+#|:\s|,[ ]\w{1,30}:[ ]|[ \t\r]*(?:\n|\Z))|[^\n]{300}"),
    "shell": lazily(rb"(?:[^\s\"'`;<>()&|\\]|\\[^\n]){1,300}"),
    "word": lazily(rb"(?!:)[^\s\"'`,;<>(){}&|\\\[\]]{1,300}(?<![.:])"),
    "alone": lazily(rb"[^\s`\"']{3,299}(?<!\*)"),  # on its line
    "said": lazily(rb"[^\s\"'`<>\\]{1,299}?(?=[.,;:?)]{0,2}(?:[\s\"'`<>\\]|\Z))"),  # the password is …
    "element": lazily(rb"[^\n<]{1,300}?(?=\s{0,20}(?:</|\]\]>))"),
}
_REMARK = lazily(rb"#[ \t]?[a-z]+(?!\S)")  # where a value is missing
_PHRASE = lazily(rb"(?!\{\{)(?=.*\s)(?:\D*\Z|.*[\"'(){}<>@])")  # or code
_LINE_BEGIN = lazily(rb"[ \t]*%?(?:(?:export|set|local|readonly|ENV|ARG|-)[ \t]+)?(?:\w[\w.$-]*)?\Z")
_ITEM_BEGIN = lazily(rb"[ \t]*-[ \t]+[\"']\Z")
_SETS = lazily(rb"[^\n]{0,200}\n\s{0,200}(?:#[^\n]{0,200}\n\s{0,99}){0,9}[-\w. ]{1,60}[:={](?!=)")
_PASSED = lazily(rb"(?:[=(,\[{+>]\s{0,19}|(?::|\breturn) {0,9})[A-Za-z$@]{0,3}\Z")
# What a value falls back on: ${NAME:-value}, {{ name | default("value") }}, getenv("NAME", "value").
_DEFAULT = lazily(
    r"""(?x)
    (?:\$\{(?:[\w.-]{1,60}?:[-=]?|[A-Z0-9_]{1,60}[-=])(?!\?)([^{}$]+)\}
    |\{\{.*\bdefault[ (]{1,2}["']([^"'{}]+)["'].*\}\})\Z
    """
)
_DEFAULTING = lazily(rb"(?i)env|get|config|option|default|fetch|param|lookup|setting")
_SECOND_ARGUMENT = lazily(rb"[\"']\s{0,9},\s{0,40}(?:\w{1,20}=)?[bru]?[\"']([^\"'\\\n]{1,300})[\"']\s{0,9}\)")


class Candidate(NamedTuple):
    """A value that is assigned to a name, and the line around it."""

    start: int  # of the value, in its window
    end: int
    kind: str  # what the name is about: a key of _SECRET_WORDS
    name: str  # this, the value and the line are text with one character for each byte
    separator: str  # between name and value; "_" for a space, "=" also for what is read like it
    quote: str  # "" around a bare value
    value: str
    language: str  # the kind of a _Language
    before: str = ""  # the line up to the name
    after: str = ""  # the line from the value's end

    def __repr__(self) -> str:
        return f"<candidate {self.kind} at {self.start}>"


class Span(NamedTuple):
    """A place that a detector found, and the verdict on it."""

    start: int  # of the value, in its window
    end: int
    rule: Rule
    confidence: str  # "high", "medium", "low", or "" for no finding
    candidate: Candidate | None = None  # of a value under a telltale name
    reason: str = ""  # what says that it is no secret, or may be none, so that its confidence is lower


def keyword_hits(
    window: bytes, language: _Language, keywords: frozenset[bytes] = frozenset()
) -> Iterator[tuple[bytes, int, int, list[Candidate] | None]]:
    """Yield the places of keywords and of names with a telltale fragment, in order.

    For a name, it is (word with the fragment, start, end, candidates for its values); names without a value
    are left out. For one of `keywords`, it is (keyword, start, end, None): only a name has candidates. Since
    the text is folded, similar words are taken for a keyword.
    """
    search = _keyword_search(keywords)
    words, known = search.find_words(window, language)
    assignment = _assignment(language.kind == "source")
    resume_at = 0
    for word, start, stop in words:
        if start < resume_at:
            continue
        if word in keywords:
            yield word, start, stop, None  # another may begin in it
            if not search.fragments[word]:
                continue
        values = known.get(start) or (start, *search.values_of(window, language, assignment, word, stop))
        was_at, resume_at, candidates = known[start] = values
        if was_at != start:  # in an earlier text
            moved = start - was_at
            resume_at += moved
            candidates = [c._replace(start=c.start + moved, end=c.end + moved) for c in candidates]
        if candidates:
            yield word, start, stop, candidates


def _choices(branches: dict[bytes, list[bytes]]) -> bytes:
    """Return an expression of {expression of a letter: those of what may follow it}."""
    return b"|".join(letter + b"(?:%s)" % b"|".join(ends) for letter, ends in branches.items())


# A keyword or a fragment of a name in a text, and where its first rare letter is and its end. A plain tuple:
# a text has very many.
_Word = tuple[bytes, int, int]
_MAX_WORD_AHEAD = 200  # bytes after a word that say whether it is one: `_AHEAD`, `_VALUE_AHEAD_IN_SOURCE`
# Where a word begins, where to go on behind its values, and the candidates for them.
_Values = tuple[int, int, "list[Candidate]"]
_MAX_ASSIGNMENT = 1 << 14  # bytes after a word that say which values it has
_MAX_BEFORE_NAME = 1 << 10  # bytes before a word that say so, too: it may be in an object with them


class _KeywordSearch:
    """Finds all keywords and name fragments with one expression.

    `re` is quick at skipping to one letter. Each word has a letter that is rare, so a copy of the text has
    `k` in place of all of these, and the expression looks for words at each k. An expression that looks for
    the words themselves takes seven to nine times as long.
    """

    def __init__(self, keywords: frozenset[bytes]) -> None:
        """Make the expression for these keywords and the fragments of secrets' names."""
        fragments = (*_ANY_VALUE_WORDS, *_RANDOM_VALUE_WORDS)
        words = sorted({*keywords, *fragments}, key=lambda word: (-len(word), word))  # the longest wins
        rare = set(_RARE)
        # A word without one makes its own rarest letter rare.
        rare.update(min(word, key=_RAREST_FIRST.index) for word in words if rare.isdisjoint(word))
        lower = bytes(range(256)).lower().replace(b"'", b'"')  # a keyword with a quote stands for both
        self._fold = fold = bytes(ord("k") if n in rare else n for n in lower)
        self._words = {f"w{number}": word for number, word in enumerate(words)}  # by their group
        marks = rb"[=~\">\\]"  # seldom after a k, so that one test for all of them is quicker
        branches: dict[bytes, dict[bytes, list[bytes]]] = {}  # words by the two letters after their first k
        for group, word in self._words.items():
            folded = word.translate(fold)
            at = folded.index(b"k")
            is_mark = re.match(marks, folded[at + 1 :])
            second = marks if is_mark else re.escape(folded[at + 1 : at + 2])
            third = re.escape(folded[at + 2 : at + 3])
            behind = b"(?<=%s)" % re.escape(folded[: at + 3]) if at or is_mark else b""
            ahead = _AHEAD.get(word, b"")
            found = behind + re.escape(folded[at + 3 :]) + ahead + b"(?P<%s>)" % group.encode()
            branches.setdefault(second, {}).setdefault(third, []).append(found)
        seconds = {letter: [_choices(thirds)] for letter, thirds in branches.items()}
        self._search = re.compile(b"k(?:%s)" % _choices(seconds)).search
        self.keywords = keywords  # of detectors
        self._keyword_groups = {group for group, word in self._words.items() if word in self.keywords}
        self.fragments = {  # of names in each word, and how many bytes are after them
            word: [(part, len(word) - word.find(part) - len(part)) for part in fragments if part in word]
            for word in words
        }
        # By whether it is source: the text that was searched last, its language, its words, and the values
        # that are known, by the begins of their words. `find_words` replaces all four; `keyword_hits` adds
        # values, whose places may be those of an earlier text.
        self._last: dict[bool, tuple[bytes, _Language, list[_Word], dict[int, _Values]]] = {}

    def find_words(self, text: bytes, language: _Language) -> tuple[list[_Word], dict[int, _Values]]:
        """Return the words of a text, in order, and the values that are known, by the begins of their words.

        A word may begin inside another. Only lines that differ from the last text are searched: in a history,
        that is mostly a version of the same file. Without this, a history takes twice as long.
        """
        source = language.kind == "source"
        last, last_language, words, known = self._last.get(source, (b"", language, [], {}))
        if language != last_language:
            last, words, known = b"", [], {}
        begin, end = _differing_lines(last, text)
        moved = len(text) - len(last)
        # Words before the lines that differ stay, those in them are searched for, those behind them move.
        found = [word for word in words if word[1] < begin]
        folded = text[begin : end + _MAX_WORD_AHEAD].translate(self._fold)
        start = -1
        has_value = _VALUE_AHEAD_IN_SOURCE.match
        while (hit := self._search(folded, start + 1)) and begin + (start := hit.start()) < end:
            if not source or hit.lastgroup in self._keyword_groups or has_value(folded, hit.end()):
                found.append((self._words[hit.lastgroup or ""], begin + start, begin + hit.end()))
        still_known = {at: values for at, values in known.items() if at < begin - _MAX_ASSIGNMENT}
        if end < len(text):
            found += [(word, at + moved, to + moved) for word, at, to in words if at + moved >= end]
            near = end + _MAX_BEFORE_NAME - moved
            still_known.update((at + moved, values) for at, values in known.items() if at >= near)
        self._last[source] = (text, language, found, still_known)
        return found, still_known

    def values_of(
        self, window: bytes, language: _Language, assignment: re.Pattern[bytes], word: bytes, stop: int
    ) -> tuple[int, list[Candidate]]:
        """Return where to go on behind a word that ends at `stop`, and the candidates for its values.

        `assignment` is the expression from the word to a value in this language.
        """
        for fragment, after in self.fragments[word]:
            found = assignment.match(window, stop - after)
            # Compare the fragment last: few have a value.
            if found and window[found.start() - len(fragment) : found.start()].lower() == fragment:
                is_apart = found["apart"] is not None
                if is_apart or fragment in _ANY_VALUE_WORDS or _NO_WORD.match(window, found.end()):
                    # Behind `stop` in any case: there, no value was found.
                    resume_at = max(found.end("rest"), stop + 1) if is_apart else found.end()
                    return resume_at, _candidates_at(window, language, found)
        return (0 if word in self.keywords else stop), []


def _differing_lines(last: bytes, text: bytes) -> tuple[int, int]:
    """Return where the lines of a text begin and end in which its words may differ from those of the last."""
    size = min(len(last), len(text))
    # How many bytes are equal at the beginning, then how many of the others are at the end.
    equal = _count_equal(size, lambda count: text.startswith(last[:count]))
    begin = text.rfind(b"\n", 0, max(0, equal - _MAX_WORD_AHEAD)) + 1
    equal = _count_equal(size - equal, lambda count: text.endswith(last[len(last) - count :]))
    end = find_or_end(text, b"\n", len(text) - equal, len(text))
    return begin, min(end + 1, len(text))


def _count_equal(size: int, are_equal: Callable[[int], bool]) -> int:
    """Return how many of `size` bytes are equal, to within 64; `are_equal` compares that many."""
    low, high = 0, size
    if size < 64 or not are_equal(64):  # most texts of a tree
        return 0
    while high - low >= 64:
        middle = (low + high) // 2
        if are_equal(middle):
            low = middle
        else:
            high = middle
    return low


_keyword_search = cache(_KeywordSearch)


@cache
def _assignment(source: bool) -> re.Pattern[bytes]:
    """Return the expression from the end of a telltale fragment to its value, in source or elsewhere.

    Its group `apart` is set if the value doesn't follow the name: they may be attributes of one object.
    Operands may precede a quoted value: `password = a || "V"`. In source, a bare value is a literal if it has
    a digit, or ends where a string or a part of one does. Elsewhere, a value may be below its name.
    """
    form = {step: "|".join(regex for regex, _ in rows) for step, rows in _assignment_forms().items()}
    # These two give nothing back: a name ends where its letters end, and spaces where the next thing begins.
    name = r"(?=(?P<name>[\w.$-]{0,40}))(?P=name)"
    spaces = r"(?=(?P<spaces>[ \t]{0,20}))(?P=spaces)"
    where = " in source" if source else ""
    above = "" if source else f"(?:{form['above a bare value']})?"
    quotes = r"(?<=[\"'`])" if source else ""
    operand = rf"(?:(?<!,)(?<!, ){_OPERAND_AHEAD}(?:{form['operand before a quote']}))?"
    steps = (
        rf"(?P<rest>{name}(?:{form['after the name']})?\]?\)?(?:\[\d{{0,5}}\])?)",
        rf"(?:(?P<apart>{quotes}[ \t]{{0,9}}(?:{form['behind an attribute in quotes']})",
        rf"|[ \t]{{0,9}}(?:{form['behind an attribute on a line' + where]}|{form['behind an element']}",
        rf"|{form['before an object']}))|(?:{form['type']})?{spaces}",
        rf"(?:(?P<separator>{form['separator before a quote']})[ \t]{{0,20}}",
        rf"{_NEXT_LINE}{operand}(?:{form['before a quote']})?{_STRING_PREFIX}{_QUOTE}{_OPENS}",
        rf"|(?P<bare>{form['separator before a bare value']})(?:\*\*)?(?P<outer>[ \t]{{0,20}})",
        rf"{above}(?:{form['begin of a bare value' + where]})))",
        r"(?!(?:[^\\\n]|\\.){0,3}?(?P=quote))",  # the value has four characters or more
    )
    return re.compile("".join(steps).encode())


@cache
def _assignment_forms() -> dict[str, list[tuple[str, str]]]:
    """Return the rows of each step of an assignment: an expression, and a line with a part that it takes."""
    forms: dict[str, list[tuple[str, str]]] = {}
    for step, table in re.findall(r"^= (.*)\n((?:(?!= ).*\n)+)", _FORMS, re.M):
        for row in re.split(r"\n(?! {4})", table.rstrip("\n")):
            *parts, example = re.split(r" {2,}|\n {4}", row)
            regex = "".join(parts).replace("{bare}", _BARE).replace("{operand}", _OPERAND)
            regex = regex.replace("{key}", _ANY_KEY)
            forms.setdefault(step, []).append((regex, example))
    return forms


class _Name(NamedTuple):
    """The name that a match is about."""

    begin: int  # in its window
    text: bytes


def _candidates_at(window: bytes, language: _Language, match: re.Match[bytes]) -> list[Candidate]:
    """Return the values of the name in a match: one, or the items of a list.

    Return [] if the name isn't a secret's or is a reference of ours, and if it is only mentioned, read or
    compared.
    """
    name = _name_in(window, match)
    if not kind_of_raw_name(name.text) or _OUR_REFERENCE.match(window, name.begin):
        return []
    if match["apart"] is None:
        return _values_behind(window, language, match, name)
    is_source = language.kind == "source"
    end = _end_of_key(window, language, match, name)
    found = _assignment(is_source).match(window, end) if end >= 0 else None
    if not found or found["apart"] is not None:
        return []
    if is_source and not found["quote"] and found["bare"][:1] != b">":  # an expression
        return []
    return _values_behind(window, language, found, name)


def _values_behind(
    window: bytes, language: _Language, match: re.Match[bytes], name: _Name
) -> list[Candidate]:
    """Return the value that a match leads up to, and the items that follow it in a list; [] for no value."""
    first = _candidate_at(window, language, match, name)
    if not first:
        return []
    # What opens a list, an object or a call before the value.
    opener = window[match.end("separator") : match.start("quote")].strip()[:1]
    is_item = opener in (b"[", b"{") or match["separator"] == b","
    # It is the key of a member, not a value.
    if is_item and _IS_KEY.match(window, first.end + len(first.quote)):
        return []
    first = _take_default(first)
    if _NULL.match(first.value.encode("latin-1")):
        return []
    return [first, *_next_items(window, first)] if opener in (b"[", b"{", b"(") else [first]


def _next_items(window: bytes, first: Candidate) -> Iterator[Candidate]:
    """Yield a candidate for each quoted item that follows the first of a list, up to the first other item.

    Empty ones are left out; of a long list, MAX_ITEMS are read.
    """
    at = first.end + len(first.quote)
    for _ in range(MAX_ITEMS - 1):
        found = _NEXT_ITEM.match(window, at)
        if not found:
            return
        at = found.end()
        start, end = found.span(2)
        if start < end:
            after = latin1(rest_of_line(window, end))
            yield first._replace(start=start, end=end, value=latin1(found[2]), after=after)


def _candidate_at(
    window: bytes, language: _Language, match: re.Match[bytes], name: _Name
) -> Candidate | None:
    """Return the value that a match leads up to, as a candidate, or None if the match sets no value.

    It sets none if the name is compared or only mentioned; if a call, a reference of ours, null or prose
    follows; or if both are items of a list that aren't an option and its value.
    """
    if _is_compared(name.text, language, match) or _OUR_REFERENCE.match(window, match.end()):
        return None
    # Most lines of a log have a space and a plain word after the name; they need no closer look.
    if match["bare"] == b"" and name.text[:1] != b"-" and not _NO_PROSE.match(window, match.end("outer")):
        return None
    before = window[max(0, name.begin - 200) : name.begin].rpartition(b"\n")[2]
    ending = "word" if name.text[:1] == b"-" else language.ending  # an option
    quote, bare = match.group("quote", "bare")
    found = _quoted_at(window, match) if quote else _bare_at(window, match, ending, before)
    if not found:  # a call
        return None
    value = found[found.lastindex or 0]  # its group, if it has one
    if (not quote and _is_prose(name.text, bare.lower(), before, value, ending)) or _NULL.match(value):
        return None
    separator = (match["separator"] or bare or b"").strip()
    if separator == b"(" and _TYPES.search(name.text):
        name = name._replace(text=_TYPES.sub(b"", name.text))
        separator = b"="
    if separator == b"," and name.text[:1] == b"-":  # they are in a list
        if not _is_argument(name.text, value, before):
            return None
        separator = b"="
    if len(separator) > 1 and separator.endswith(b"("):  # types into the field of a page
        separator = b"="
    start, end = found.span(found.lastindex or 0)
    return Candidate(
        start=start,
        end=end,
        kind=kind_of_raw_name(name.text),
        name=latin1(name.text),
        separator=_SAME_AS_EQUALS.get(separator) or latin1(separator) or "_",
        quote=latin1(quote or b""),
        value=latin1(value),
        language=language.kind,
        before=latin1(before),
        after=latin1(rest_of_line(window, end)),
    )


def _name_in(window: bytes, match: re.Match[bytes]) -> _Name:
    """Return the name whose telltale fragment ends where a match begins, from up to 40 bytes before that."""
    ahead = window[max(0, match.start() - 40) : match.start()]
    begin = match.start() - len(ahead) + len(ahead.rstrip(NAME_LETTERS))
    if window[begin - 1 : begin] == b"\\" and _CODE_POINT.match(window, begin):  # \u0026token=
        begin += 5
    return _Name(begin, window[begin : match.end("name")])


def _is_compared(name: bytes, language: _Language, match: re.Match[bytes]) -> bool:
    """Return whether the name is an operand: of a test in a shell, or beside what a call returns."""
    if match["call"] and match["separator"] in _OPERATORS:
        return True
    is_variable = language.kind == "shell" and name[:1] == b"$"
    return is_variable and (not match["quote"] or match["rest"][-1:] == b'"')


def _is_argument(name: bytes, value: bytes, before: bytes) -> bool:
    """Return whether two items of a list are an option and its value, as in ["--password", "V"].

    `before` is the option's line up to it. The first of a call, or one before words, is only defined:
    `add_argument("--token", "-t")`, ["--token", "what it opens"].
    """
    is_item = before.rstrip(b"\"' \t")[-1:] in (b"[", b"{", b",", b"-", b"")
    is_value = value[:1] != b"-" and b" " not in value and value.lower() != name.strip(b"-").lower()
    return name[:1] == b"-" and is_item and is_value


def _quoted_at(window: bytes, match: re.Match[bytes]) -> re.Match[bytes] | None:
    """Match the quoted text, or its beginning, unless a call reads a name: then its default, or None.

    The value is the last group of the match or, without groups, the whole match.
    """
    value = _quote_regex(match["quote"]).match(window, match.end(), match.end() + MAX_VALUE)
    if not value or not match["call"]:
        return value
    read = _READ.search(match["call"])
    call = window[match.start("call") - 1 : match.end("call")]
    default = None
    if read or _DEFAULTING.search(call):
        default = _SECOND_ARGUMENT.match(window, value.end())
    return default or (None if read else value)


def _bare_at(window: bytes, match: re.Match[bytes], ending: str, before: bytes) -> re.Match[bytes] | None:
    """Match a value without quotes: what its line, element or word has, by the language; None for a call."""
    start = match.end()
    bare = match["bare"]
    if window[start - 1 : start] in (b" ", b"\t") and _REMARK.match(window, start):
        return None
    if match.end("outer") < start:  # below its name
        is_block = window[match.end("outer")] in b"|>!"
        return _BARE_VALUES["line" if is_block else "alone"].match(window, start)
    if bare[:1] == b">":
        return _BARE_VALUES["element"].match(window, start)
    if ending in _LINE_ENDINGS and bare in (b"=", b":"):
        if match["rest"][-1:] in (b'"', b"'"):
            before = before[:-1]  # without the name's quote
        if ending == "scalar" and _ITEM_BEGIN.match(before):  # - "NAME=value"
            return _quote_regex(before[-1:]).match(window, start)
        found = _BARE_VALUES[ending].match(window, start) if _LINE_BEGIN.match(before) else None
        if found and not _PHRASE.match(found[0]):
            return found
    # Behind a quote or a bracket, `--password` is only mentioned.
    if (not bare and match["rest"][-1:] in (b'"', b"'", b"`", b")")) or _CALL.match(window, start):
        return None
    return _BARE_VALUES["said" if bare[:2].lower() == b"is" else "word"].match(window, start)


def _is_prose(name: bytes, separator: bytes, before: bytes, value: bytes, ending: str) -> bool:
    """Return whether a space or `is` between a name and a word assigns nothing: the password works.

    That is so for a word that is short or has no digit, and for any behind `$NAME`; but not behind `is` if
    the word looks like a password.
    """
    if separator not in (b"", b"is") or (name[:1] == b"-" and b"$" not in name):  # or it is an option
        return False
    if name[:1] == b"$" and not separator:  # curl -u $user:$password URL
        return True
    if separator == b"is" and _TYPED.match(value):  # as a sentence names it
        return False
    # Oracle has IDENTIFIED BY, and redis.conf `requirepass VALUE`.
    is_command = name.lower() == b"by" or _SETTING.search(before[-20:]) or (ending == "line" and not before)
    return len(value) < (6 if is_command else 16) or value.translate(None, b"0123456789") == value


def _take_default(c: Candidate) -> Candidate:
    """Return the candidate with what its value falls back on, if that is what it is: `${NAME:-value}`."""
    default = _DEFAULT.match(c.value)
    if not default:
        return c
    start, end = default.span(default.lastindex or 0)
    return c._replace(start=c.start + start, end=c.start + end, value=c.value[start:end])


def rest_of_line(window: bytes, end: int) -> bytes:
    """Return the rest of the line from `end` on, at most 120 bytes and without the line break."""
    return window[end : end + 120].partition(b"\n")[0]


def find_or_end(text: bytes, part: bytes, start: int, end: int) -> int:
    """Return the first place of `part` in text[start:end], or `end` if it isn't there."""
    found = text.find(part, start, end)
    return found if found >= 0 else end


def literals(text: bytes, language: _Language) -> Iterator[tuple[int, bytes]]:
    """Yield strings of several lines in source that set things as a file does, and where they begin."""
    for quote in _LONG_QUOTES.get(language.ending, ()):
        parts = text.split(quote)
        at = 0
        for before, part in zip(parts[::2], parts[1::2]):
            at += len(before) + len(quote)
            # The cheapest first: most aren't passed to anything.
            sets = b"\n" in part and _PASSED.search(before[-20:]) and _SETS.match(part)
            if sets and b";\n" not in part.replace(b"\r", b""):  # it isn't code
                yield at, part
            at += len(part) + len(quote)


def kind_of_raw_name(name: bytes) -> str:
    """Return the kind of a name in a file, as kind_of_name does; SQL's BY is a "pass", "" is no secret."""
    return "pass" if name.lower() == b"by" else kind_of_name(latin1(name))


def latin1(part: bytes) -> str:
    """Return text with one character for each byte, whatever the bytes encode."""
    return part.decode("latin-1")


@cache
def _quote_regex(quote: bytes) -> re.Pattern[bytes]:
    """Return the expression of the text up to this closing quote; what is escaped belongs to it."""
    if quote.startswith(b"\\"):  # in a string
        return re.compile(rb"[^\\\n%s]{1,300}" % quote[-1:])
    if quote.startswith(b"&"):  # &quot;
        return re.compile(rb"[^&\n]{1,300}")
    return re.compile(rb"(?:[^\\\n%s]{1,300}|\\[^\n]){1,300}" % quote[-1:])


# --- attributes ---
# A name and its value may be two attributes of an object, with others and comments between them:
# {"name": "DB_PASSWORD", "type": "x", "value": "…"}. They are in any order, but in lines of YAML, the value
# is below. Or the name has an object with a value or a default, or is an argument beside a default. Objects
# are in braces, in lines of YAML, or in a tag or the elements of XML. From the end of the attribute's key
# on, its value is matched as in any assignment.

_MAX_ATTRIBUTES = 24  # of an object
_REACH_OF_OBJECT = 600  # bytes from a name to the start of its object
_REACH_OF_LINE = 400  # bytes of a line in an object
_KEYS_OF_NAMES = (  # endings of the keys whose values are names
    *(b"name", b"key", b"type", b"id", b"variable", b"param", b"parameter", b"property", b"option"),
    *(b"field", b"header"),
)
_KEY_LETTERS = NAME_LETTERS + b":"
_BLOCKS = (b"variable", b"output", b"parameter")  # of Terraform: variable "NAME" {
_VALUE_KEY = lazily(  # but `secure`, below which Travis, AppVeyor and Pulumi have ciphertext
    rb"(?i)(?:\w{1,20}:)?(?:(?:default[_-]?|param(?:eter)?[_-]?|env-entry-|string)?value|content|string|default)\Z"
)
_DEFAULT_KEY = lazily(rb"(?i)default(?:_?value)?\Z")
_BETWEEN = rb"(?:[\s,;]|\#[^\n]{0,200}\n|//[^\n]{0,200}\n|/\*[^*]{0,200}\*/|<!--[^>]{0,200}-->){0,60}"
_NESTED = rb"(?:[^{}\[\]]|\{[^{}]{0,300}\}|\[[^\[\]]{0,300}\]){0,400}"
_ATTRIBUTE = lazily(  # of an object in braces or in a tag, or an argument
    _BETWEEN + rb"\\{0,3}[\"'`]?(?P<key>[A-Za-z_@][\w.:@-]{0,40})(?P<end>)\\{0,3}[\"'`]?"
    rb"[ \t]{0,30}(?:(?:=>|:=|[:=])\s{0,20}|(?=\{))"
    rb"(?:\"(?:[^\"\\\n]|\\[^\n]){0,300}\"|'(?:[^'\\\n]|\\[^\n]){0,300}'|`[^`]{0,300}`"
    rb"|\\{1,3}\"[^\"\\\n]{0,300}\\{1,3}\"|\{"
    + _NESTED
    + rb"\}|\["
    + _NESTED
    + rb"\]|[^\n,;{}<>\"'`]{1,200})"
)
_ELEMENT = lazily(
    _BETWEEN + rb"<(?P<key>[\w.:-]{1,40})(?P<end>)(?: [^<>]{0,80})?>[^<]{0,300}</[\w.:-]{1,40}>"
)
_OPEN_TAG = lazily(rb"<(?:[^<>\"']|\"[^\"\n]{0,300}\"|'[^'\n]{0,300}'){1,200}(?<!/)>")
_PARENT = lazily(rb"<[\w.:-]{1,40}(?: [^<>]{0,80})?>(?=\s{0,40}<[\w.:-])")
_LINE_OF_YAML = lazily(
    rb"(?P<indent>[ ]*(?:-[ ]+)?)(?:[\"']?(?P<key>[\w.@-]{1,40})(?P<end>)[\"']?[ ]{0,9}:(?=\s))?"
)


class _AttributeKey(NamedTuple):
    """The key of an attribute, without its quotes, and where it ends."""

    text: bytes
    end: int


def _end_of_key(window: bytes, language: _Language, match: re.Match[bytes], name: _Name) -> int:
    """Return where the key ends whose value belongs to a name, in the object of both; -1 if there is none."""
    at, sign = _key_before(window, name.begin)
    after = match.end("rest")
    is_value = _VALUE_KEY.match
    if at >= 0:
        keys = _keys_around(window, language, at, sign)
    elif sign in (b"(", b","):
        keys = _attributes(_ATTRIBUTE, window, after)
        is_value = _DEFAULT_KEY.match
    else:
        keys = _keys_below(window, name.begin, after, sign == b"{")
    return next((key.end for key in keys if is_value(key.text)), -1)


def _key_before(window: bytes, begin: int) -> tuple[int, bytes]:
    """Return (start of the key whose value is the name at `begin`, or -1 for none; the sign before the name).

    The sign is the last byte before the name, its quote and white space, but "=" for "=>", and "{" for the
    name of a block of Terraform.
    """
    before = window[max(0, begin - 60) : begin]
    ahead = before.rstrip(b"\\\"'` \t\r\n")
    if ahead.endswith(_BLOCKS):
        return -1, b"{"
    sign = ahead[-1:]
    if sign not in (b":", b"=", b">"):
        return -1, sign
    if ahead.endswith(b"=>"):
        sign = b"="
    left = ahead.rstrip(b":=> \t\\\"'")
    key = left[len(left.rstrip(_KEY_LETTERS)) :].lower()
    is_quoted = before[-1:] in (b'"', b"'")  # a type is seldom the name of a secret, unless it is a string
    if not key.endswith(_KEYS_OF_NAMES) or (key == b"type" and not is_quoted):
        return -1, sign
    return begin - len(before) + len(left) - len(key), sign


def _keys_around(window: bytes, language: _Language, at: int, sign: bytes) -> list[_AttributeKey]:
    """Return the keys of the object that has the key which begins at `at`, as far as they can be read.

    The object is the elements of XML beside one, for the sign ">"; a mapping in lines of YAML; a tag; else
    what is in braces, brackets or parentheses.
    """
    first = max(0, at - _REACH_OF_OBJECT)
    if sign == b">":
        parents = [parent.end() for parent in _PARENT.finditer(window, first, at)]
        return _attributes(_ELEMENT, window, parents[-1] if parents else at - 1)
    line = window.rfind(b"\n", first, at) + 1
    if language.ending == "scalar" and not window[line:at].strip(b" -\"'"):
        return _keys_in_lines(window, line)
    tag = window.rfind(b"<", first, at)
    if tag > window.rfind(b">", first, at):
        return _keys_of_tag(window, tag)
    marks = (b"{", b"}", b"[", b"]", b"(")
    begin = 1 + max(window.rfind(mark, first, at) for mark in marks)
    keys = _attributes(_ATTRIBUTE, window, begin or at)
    if any(key.end > at for key in keys):
        return keys
    return _attributes(_ATTRIBUTE, window, at)


def _keys_of_tag(window: bytes, tag: int) -> list[_AttributeKey]:
    """Return the keys of the attributes of a tag, of the element in it, and b"content" for its text."""
    begin = tag + len(window[tag : tag + _REACH_OF_OBJECT].split(None, 1)[0])
    keys = _attributes(_ATTRIBUTE, window, begin)
    whole = _OPEN_TAG.match(window, tag)
    if not whole:
        return keys
    inner = _attributes(_ELEMENT, window, whole.end())[:1]
    return [*keys, *(inner or [_AttributeKey(b"content", whole.end() - 1)])]


def _keys_below(window: bytes, begin: int, after: int, is_block: bool) -> list[_AttributeKey]:
    """Return the keys of the object that is the value of the name at `begin`, and which begins at `after`.

    A block of Terraform needs no sign before its brace. Return [] if no object begins there.
    """
    behind = window[after : after + 30].lstrip(b" \t")
    sign = behind[:1]
    # What begins behind the colon, the equals sign or the arrow.
    inner = behind.lstrip(b":=> \t")[:1]
    if sign == b">":
        return _attributes(_ELEMENT, window, window.index(b">", after) + 1)[:1]
    if inner == b"{" and (is_block or sign in (b":", b"=")):
        return _attributes(_ATTRIBUTE, window, window.index(b"{", after) + 1)
    if sign != b":" or inner not in (b"#", b"\r", b"\n"):
        return []
    # A mapping of YAML, in the next line that isn't a comment, if that is indented further than the name.
    line = window.find(b"\n", after) + 1
    while window[line : line + _REACH_OF_LINE].lstrip(b" ")[:1] == b"#":
        line = find_or_end(window, b"\n", line, line + _REACH_OF_LINE) + 1
    found = _LINE_OF_YAML.match(window, line)
    column = begin - window.rfind(b"\n", 0, begin) - 1
    return _keys_in_lines(window, line) if found and len(found["indent"]) > column else []


def _attributes(regex: re.Pattern[bytes], window: bytes, at: int) -> list[_AttributeKey]:
    """Return the keys of the attributes, elements or arguments that begin at `at`."""
    keys: list[_AttributeKey] = []
    while len(keys) < _MAX_ATTRIBUTES and (found := regex.match(window, at)):
        keys.append(_AttributeKey(found["key"], found.end("end")))
        at = found.end()
    return keys


def _keys_in_lines(window: bytes, line: int) -> list[_AttributeKey]:
    """Return the keys of a mapping of YAML that begins with this line; lines that are deeper are skipped."""
    keys: list[_AttributeKey] = []
    column = -1  # of the keys; -1 before the first
    for _ in range(2 * _MAX_ATTRIBUTES):
        found = _LINE_OF_YAML.match(window, line)
        if not found or line >= len(window):
            break
        indent = found["indent"]
        if found["key"]:
            column = len(indent) if column < 0 else column
            # The mapping has ended: a line is indented less, or begins the next item of a list.
            if len(indent) < column or (keys and b"-" in indent and len(indent) <= column):
                break
            if len(indent) == column:
                keys.append(_AttributeKey(found["key"], found.end("end")))
        line = find_or_end(window, b"\n", line, line + _REACH_OF_LINE) + 1
    return keys


# --- languages ---
# To add a language, add its file extensions to the row that it resembles: what kind of file it is, which is
# what the weights know, and how a bare value ends in it (a way of _BARE_VALUES) or, in source, which of
# _LONG_QUOTES it has.

_LANGUAGES = """
source triple py pyw pyi pyx java kt kts scala groovy gradle cs fs swift jl dart ex exs erl hrl coffee nim
source back js jsx mjs cjs ts tsx mts cts map go d
source literal c h cc cpp cxx hpp hh hxx ino vb rs m mm rb rake php phtml pl pm t lua r hs clj cljs css scss
    less sql psql pas zig sol proto bicep bas asm s as hx ml lisp el vim
config line conf config ini cfg properties env cnf ldif
config scalar yml yaml
config word toml tf hcl tfvars mobileconfig redis
json word json ipynb har cast jsonl ndjson json5 webmanifest
docs word md mdx rst txt adoc markdown org tex csv readme changelog changes install contributing
log word log tokens
markup word html htm xml xaml axaml vue svg pug erb plist xhtml jsp twig razor
    cshtml
shell shell sh bash zsh fish ps1 psm1 bat cmd dockerfile makefile mk
"""
_LINE_ENDINGS = ("line", "scalar", "shell")
_LONG_QUOTES = {"triple": (b"'''", b'"""'), "back": (b"`",)}  # of strings of several lines


class _Language(NamedTuple):
    """What kind of file an extension stands for, and how a bare value ends in it."""

    kind: str  # or "none"
    ending: str


@cache
def _languages() -> dict[str, _Language]:
    """Return the language of each file extension."""
    rows = map(str.split, re.split(r"\n(?! )", _LANGUAGES.strip()))
    return {ending: _Language(kind, how) for kind, how, *endings in rows for ending in endings}


JSON_SETTINGS = lazily(  # appsettings.Production.json, config.json, google-credentials.json
    r"(?i)(?:\A|[/_.-]|app)(?:settings|config|secrets?|credentials)(?:[_.-][\w-]+)?\.json5?\Z"
)
IN_LITERAL = _Language("config", "scalar")


@lru_cache(1 << 10)
def language_of(path: str) -> _Language:
    """Return the language of the last known extension (a.py.orig is Python), else ("none", "line")."""
    endings = os.path.basename(path).lower().split(".")
    known = (_languages().get(ending) for ending in reversed(endings[1:] or endings))
    return next(filter(None, known), _Language("none", "line"))


# === Judgement ===
# Whether a span is a secret. Every span passes one gate, `judge_span`, which gives it its final confidence.
# A value under a telltale name begins with the confidence of its score: features of the value and of its
# place have weights, made by .training/train.py, that add up to log odds in hundredths. Any other begins
# with that of its rule. Two tables lower it: _PROPERTIES by an expression, _IN_CONTEXT by name and place.

_LIKELY = -10  # log odds in hundredths, from which on a value is reported by default
_LIKELY_KEY = 80  # those for a key outside settings
THRESHOLDS = (("high", 200), ("medium", _LIKELY), ("low", -60))
_RULE_OF_KIND = {"pass": "password", "secret": "secret", "token": "token", "key": "key"}
_SCORED_RULES = frozenset((*_RULE_OF_KIND.values(), "credential"))


def is_scored(span: Span) -> bool:
    """Return whether a span's confidence comes from a score, and not from its rule."""
    return span.rule.id in _SCORED_RULES


def level(score: int) -> str:
    """Return the confidence of a score; "" for no finding."""
    return next((name for name, least in THRESHOLDS if score >= least), "")


# --- features ---

_SHAPE = lazily(  # the first that fits
    r"""(?x)
    (?P<words> [A-Za-z]{3,} (?:[-_.\ ][A-Za-z]{3,}){3,}\Z )      # correct-horse-battery-staple
    | (?P<lower> [a-z]+\Z )                                      # hunter
    | (?P<hex> (?:[0-9a-f]+|[0-9A-F]+)\Z )                       # 3f9a
    | (?P<numbered> [A-Za-z][a-z]+\d{1,4}\Z )                    # Summer2024
    | (?P<marked> [A-Za-z][a-z]+\d{0,4}[!@\#$*.]{1,2}\Z )        # Summer2024!
    | (?P<base36> (?:[a-z0-9]+|[A-Z0-9]+)\Z )                    # k7qx9w
    | (?P<spaces> .*\s )                                         # a b
    | (?P<symbols> .*[^\w.:/+=~-] )                              # k7#q
    """
)
_MADE_UP_PARTS = lazily("pass|secret|token|test|foo|admin|123|abc")
_LENGTHS = (1, 2, 3, 5, 7, 9, 12, 16, 20, 24, 31, 32, 39, 40, 63, 64, 100, 300)
_CALLED_WITH = lazily(  # what is before the first of two arguments, a name and its value
    r"""(?xi)
    (?:
        get\w{0,12}|env\w{0,3}|config|option|default|fetch|lookup           # falls back on the value
        |set\w{0,20}|put|add\w{0,12}|append|define                           # sets it
        |entry|field|header|pair(?:<[^<>]{1,40}>)?|property                  # makes a pair of both
        |login|auth\w{0,12}                                                 # logs in with both
    )
    \(\s?[bur]?["']\Z
    |\{\Z                                                                  # a tuple of Erlang
    """
)
_COMPARES = lazily(r"(?i)\.(?:is_?equal\w*|equals?\w*|eql\??|compareTo\w*)\Z")  # a method
_LINE_OF_ITS_OWN = lazily(
    r"[\s{<,\"'#%-]*"
    r"(?:export |set |ENV |Environment=|(?:\w+ )?(?:name|key|type)[\"']?\s?[:=]\s?[\"']?|key>)?\Z"
)
_SETTINGS = ("config", "json", "none", "shell", "markup")  # languages of files that set values
_LONG_PART = lazily(r"[A-Za-z0-9_-]{16,}")
_MIXTURE = lazily(r"(?=\D{0,99}\d)[^A-Za-z]{0,99}[A-Za-z]")
_HEX_RUN = lazily(r"(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{16}|(?=\d*[A-F])(?=[A-F]*\d)[0-9A-F]{16}")
_CAMEL_NAME = lazily(r"(?=\w*[a-z][A-Z]|\w*_)[A-Za-z_]\w*\Z")
_CAMEL_CASE = lazily(r"[A-Z][a-z]{2,}|(?<![A-Za-z0-9])[a-z]{3,}(?=[A-Z_])")  # the words of GetUserName2
_ONE_WORD = lazily(r"(?:[A-Z]?[a-z]*|[A-Z]+)\Z")
_LONG_WORD = lazily(r"[a-z]{6,}|[A-Z]{6,}")
_SPACE = lazily(r"\s")
_IN_ORDER = "0123456789abcdefghijklmnopqrstuvwxyz012345678901234567890"  # hex goes on from 9 to a
_IN_A_ROW = lazily("|".join(_IN_ORDER[i : i + 10] for i in range(46)) + r"|(.)\1{4,}")
_QUOTES = {"": "bare", '"': "double", "'": "single", "`": "back", "``": "back"}
# a letter for each byte: a small, A capital, 0 digit, - anything else
_CLASS_OF = b"-" * 48 + b"0" * 10 + b"-" * 7 + b"A" * 26 + b"-" * 6 + b"a" * 26 + b"-" * 133
# Values that differ in their digits share one cache entry.
_DIGITS_TO_0 = bytes.maketrans(b"123456789", b"000000000")
_PAIR = lazily("(?=([a-z]{2}))")
_IN_SENTENCES = lazily(r"\b(?:the|your|and|are|not|for|with|must|can|has|have|this|that|from|only|use|you)\b")
_SYMBOLS = frozenset("!\"#$%&'()*+;<=>?@[]^`{|}~")  # those that names, numbers and paths don't have
_SYMBOLS_OF_CODE = frozenset("\"'()[]{}<>=;`+")
# Made by .training/train.py: each group of features, then its values and their weights.
_WEIGHTS = r"""
bias: - -16
classes: aA0- 122 aA0 99 aA 78 a 58 a0 50 aA- -4 0- -163 - -189 A- -275
digits: many 58 some 40 two -20 none -95
drawn: token 262 key 250 secret 239 cred 234 auth 229 - -107 nonce -144
ends: - -146
first: postgres 165 mysql 136 access 131 x 72 password 36 client -37 token -71 key -149
has: test -32 token -89 123 -90 abc -99 secret -103 foo -136 pass -182
kind: pass 79 key -135
language: config 86 shell 84 source 13 json -38
last: str 284 time 234 password 89 pass 26 secret 16 key -52 nonce -199
length: 9 118 12 109 16 84 7 54 31 39 20 27 63 -28 5 -85 300 -98 2 -151 1 -178 100 -216 3 -290
letters: 3 173 2 145 1 95 4 60 5 -49 6 -104 few -114 7 -137
name: private 135 authorization 111 api 104 set 94 access 49 client -15 auth -32 token -71 forgot -151
  public -162 label -171 check -183 keys -191
quote: double 37 bare -20 back -51
separator: = 43 : 7 _ -84 ( -129 , -369
shape: marked 72 lower 58 base36 57 numbered 35 symbols -78 - -124 spaces -156
symbols: 3 73 1 54 4 -149 0s -169
weak: token -139 pass -150
"""
# Made by .training/train.py: a row for each first letter, a column for each second.
_PAIRS = r"""
05662351614777050777554450
51435011450522530442500051
60426216506642721547511020
63357310610423520454511130
64776752404867464877355751
50325520700522611544500030
31216134500425320453520001
60117100600222600434300020
55655550203768751577050405
20005000000000300000300000
30126020400303220241204000
63357711702613640365622051
65137100501342660254400020
72677572504425740267552040
46673440404568560766645312
71337303502612650646532050
00000000000000000100500000
73558461704456730666543050
51538245603443552367623150
72547418701543640765724262
44436440400666350766200100
60006000400021300000001000
50134105600304400531002000
41514200400210140126000210
12224211300233350255013010
10005000400110200000000000
"""


def _score(c: Candidate, chosen: bool = False) -> int:
    """Return log odds in hundredths; without what is weak about a `chosen` password."""
    weights = load_weights()
    found = features(c)
    if chosen:
        found = [feature for feature in found if feature.split(" ")[0] not in ("has", "weak")]
    return sum(weights.get(feature, 0) for feature in found)


def features(c: Candidate) -> list[str]:
    """Return the features of a candidate, as "GROUP FACT": facts about its place, its name and its value.

    Whatever sets a value counts as "=", and the parenthesis of a comparison as "==".
    """
    called = c.separator in ",(" and _CALLED_WITH.search(c.before)
    if c.separator == "," and c.name.rpartition(".")[2].isupper():  # a constant
        called = called or _CALLED_WITH.search(c.before + '"')
    separator = "=" if called or c.name.lower() == "by" else c.separator
    if separator == "(" and _sets_literal(c):
        separator = "="
    name = _COMPARES.sub("", c.name)
    if separator == "(" and name != c.name:
        separator = "=="
    value = c.value.encode("latin-1")
    if c.quote and c.language != "source" and _is_passphrase(c.value):
        value = value.replace(b" ", b"-")
    return [
        *_features_of_place(c.kind, name, separator, c.quote, c.language),
        *_features_of_value(value.translate(_DIGITS_TO_0)),
        *_marks(c),
    ]


def _is_passphrase(value: str) -> bool:
    """Return whether a value is four to eight words that make no sentence, as diceware has them."""
    is_words = re.fullmatch("[a-z]{3,10}(?: [a-z]{3,10}){3,7}", value)
    return bool(is_words) and not _IN_SENTENCES.search(value)


@lru_cache(4096)
def _features_of_place(kind: str, name: str, separator: str, quote: str, language: str) -> tuple[str, ...]:
    """Return the features of a name, and of how its line and file assign a value to it."""
    words = words_of(name.rstrip("0123456789")) or words_of(name)
    return (
        "bias -",
        f"kind {kind}",
        f"language {language}",
        f"quote {_QUOTES.get(quote, 'escaped')}",
        f"separator {separator}",
        f"ends {'telltale' if _ends_telltale(name) else '-'}",
        *(f"name {word}" for word in sorted(set(words))),
        f"first {words[0]}",
        f"last {words[-1]}",
    )


@lru_cache(4096)
def _features_of_value(zeroed: bytes) -> tuple[str, ...]:
    """Return the features of a value in which each digit is 0.

    They are its shape, how long it is, how common its pairs of letters are, how many digits it has, which
    classes of characters, and how many different symbols.
    """
    value = latin1(zeroed)
    size = len(value)
    shape = _SHAPE.match(value)
    classes = zeroed.translate(_CLASS_OF)
    digits = classes.count(b"0")
    how_many = "some" if digits < 0.3 * size else "many"
    if digits < 3:
        how_many = "two" if digits else "none"
    return (
        f"shape {(shape and shape.lastgroup) or '-'}",
        f"length {next(length for length in _LENGTHS if length >= min(size, MAX_VALUE))}",
        f"letters {wordness(value)}",
        f"digits {how_many}",
        f"classes {latin1(bytes(sorted(set(classes), reverse=True)))}",
        f"symbols {min(len(_SYMBOLS.intersection(value)), 5)}{'s' if ' ' in value else ''}",
    )


def wordness(value: str) -> str:
    """Return how common its pairs of letters are in words: "0" to "9", or "few" if it has under three."""
    often = _letter_pairs()
    pairs = [often[pair] for pair in _PAIR.findall(value.lower())]
    return str(round(sum(pairs) / len(pairs))) if len(pairs) > 2 else "few"


@cache
def _letter_pairs() -> dict[str, int]:
    """Return how common each pair of letters is in words, from 0 to 9."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return dict(zip(map("".join, itertools.product(letters, letters)), map(int, _PAIRS.replace("\n", ""))))


def _marks(c: Candidate) -> list[str]:
    """Return the features for made-up parts of a value, and for a value that is weak or looks random."""
    parts = set(_MADE_UP_PARTS.findall(c.value.lower()))
    if c.kind == "pass" and not c.value.isdigit():
        parts.discard("123")  # which ends chosen words
    found = [f"has {part}" for part in parts]
    if is_weak(c.value):
        found.append(f"weak {c.kind}")
    if looks_random(c.value):
        found.append(f"drawn {c.kind if is_secret_name(c.name) else '-'}")
    return found


def _ends_telltale(name: str) -> bool:
    """Return whether the last word of a name says that its value is a secret."""
    words = words_of(_CONFIRMING.sub("", name))
    return bool(words) and (words[-1] == "by" or bool(kind_of_name(words[-1])))


@lru_cache(1 << 12)  # many rows ask for one value
def looks_random(value: str) -> bool:
    """Return whether a long part of a value was drawn: it makes no words, and doesn't repeat or count up."""
    if len(value) < 12 or len(set(value)) < 7:  # most values, without a search
        return False
    # Letters of one case are found ten times as fast as those of both.
    for row in reversed([*_IN_A_ROW.finditer(value.lower())]):
        value = value[: row.start()] + value[row.end() :]
    if len(value) < 12 or len(set(value)) < 7:
        return False
    return _has_mixed_symbols(value) or any(map(_is_mixture, _LONG_PART.findall(value)))


def _has_mixed_symbols(value: str) -> bool:
    """Return whether a value has symbols among letters that make no words, as generated passwords do."""
    rest = _LONG_WORD.sub("", value)
    symbols = _SYMBOLS.intersection(rest[1:])  # the first may only mark a name
    of_passwords = symbols - _SYMBOLS_OF_CODE
    if not symbols or len(rest) < 12:
        return False
    if _SPACE.search(value):
        return len(of_passwords) > 5
    letters = wordness(rest)
    return letters in "0 1 2 3" or len(of_passwords) > (2 if letters in "6 7 8 9" else 1)


def _is_mixture(part: str) -> bool:
    """Return whether a part mixes digits and letters, or both cases, and makes no words."""
    if _HEX_RUN.search(part):  # whose few letters make pairs that words have
        return True
    pieces = re.split("[_-]", part)
    drawn = "".join(piece for piece in pieces if not _ONE_WORD.match(piece))  # without acme_test_
    in_camel_case = sum(map(len, _CAMEL_CASE.findall(drawn)))
    if 10 * in_camel_case > 7 * len(drawn) and wordness(drawn) in "456789":
        return False
    if drawn.isdigit() and len(pieces) > 4:  # words_with_a_number_at_the_end_7
        return False
    letters = wordness(drawn if len(drawn) > 15 else part)
    if not _MIXTURE.match(part):
        return letters in "0 1 2 3" and not part.islower() and not part.isupper()
    return letters not in "6 7 8 9"


@cache
def load_weights() -> dict[str, int]:
    """Return the weight of each feature, in hundredths of log odds."""
    weights: dict[str, int] = {}
    for row in re.split(r"\n(?! )", _WEIGHTS.strip()):
        group, *items = row.split()
        weights.update((f"{group[:-1]} {fact}", int(weight)) for fact, weight in zip(items[::2], items[1::2]))
    return weights


# --- what is no secret ---

# What no secret is or has. To add a property, add a row below the place where it shows: the reason that
# --explain prints, its expression, an input that it drops (-), and a secret that it must not drop (+); the
# tests have more, and put the inputs into drawn keys: a row whose property counts even there says where, and
# why (~). A "plain value" doesn't look random; what is after a value begins with its closing quote.
# .training/train.py prints what each row saves and costs; one that saves nothing goes.
_PROPERTIES = r"""
= value
it is a sample from documentation
    \AEXAMPLE[A-Za-z0-9]{9}|EXAMPLE(?:KEY)?\d?\Z|\Asample[_-]|\AAQoEXAMPLE|/wEXAMPLE|FAKE(?:ACCESS|SECRET|KEY|TOKEN)|\AJBSWY3DPEHPK3PX
    |IkpvaG4gRG9l[A-Za-z0-9]{1,60}\.(?:SflKxwRJ|TJVA95Or|KMUFsIDT)
    |\A(?:2YotnFZFEjr1zCsicMWpAA|tGzv3JOkF0XG5Qx2TlKWIA|(?:Basic )?czZCaGRSa3F0Mzp\w+|7Fjfp0ZBr1KtDRbnfVdmIw
    |mF_9\.B5f-4\.1JqM|45ghiukldjahdnhzdauz|SplxlOBeZQQYbYS6WxSbIA|gX1fBat3bV|A3ddj3w|dpf43f3p2l4k3l03
    |hh5s93j4hdidpola|hdhd0244k9j7ao03|kkk9d7dh3k39sjv7|9djdj82h48djs9d2|dGhlIHNhbXBsZSBub25jZQ==)\Z
    - {U9}EXAMPLE
    + {U9}EXAMPLES
    ~ begin, middle, end: AWS begins or ends its samples so; jwt.io's have these signatures, RFCs the rest
it is a variable of the environment
    \A\$\{?[A-Z][A-Z0-9]{0,30}(?:_[A-Z0-9]{1,30}){1,9}\}?\Z
    - $E2E_CLOUD_ACCESS_KEY
    + $K7QX{A16}
it is text in another script
    \A\D*(?:[\xcd-\xe0\xe3-\xf4]|\xe1(?![\xb8-\xbb])|\xe2(?!\x82))\D*\Z|\A(?:\\{1,2}u[0-9a-fA-F]{4}){2,}\D?\Z
    - пароль
    + schönesWetter
it is a URL or an ARN
    \A[a-z][a-z0-9+]{1,15}(?:://|%3A%2F)|\Aarn:
    - https://me.local/token
    + k7Q://x9v2
    ~ begin: a scheme; a password in a URL has a rule of its own
it is a file
    \A[\w/.-]+\.(?:py|[jt]s|c|cc|cpp|cs|kt|swift|rs|json|ya?ml|txt
    |pem|key|crt|p12|jks|zip|t?gz|jar|war|conf|cfg|env|sh|rb|go|java|php|xml|html|md
    |png|jpg|svg|pdf)(?::\d+)?\Z
    - keys/server.pem
    + k7/Q2x9v.Js3
    ~ end: the extension of a file; assets have a hash before it
it is a version
    \A[\^~<>=]{0,2} ?v?\d{1,14}(?:\.[\dx*]{1,14}){1,19}(?:[-+](?:g?[0-9a-f]{7,12}|[A-Za-z]{0,12}\d{0,14})
    (?:[._+-](?:g?[0-9a-f]{7,12}|[A-Za-z]{0,12}\d{0,14})){0,5})?(?:/go\.mod)?\Z
    - ^7.0.4
    + 1kQ.2.x9v
it goes on elsewhere
    (?:\$\{|\{\{)\{?\Z|\.{4}|\.{3}\Z|\xe2\x80\xa6\Z|\$\{\{[^{}]{1,80}\}\}
    - app-k7-${{
    + k7${x
    ~ begin, middle, end: the syntax of a template, or an ellipsis for the rest
it is filled up
    (?![A/])(.)\1{9}|(?:([A-Za-z])\2{3,}-?){3}
    - k7qqqqqqqqqq9
    + uZQAAAAAAAAAAB{A20}
    ~ begin, middle, end: nothing drawn has ten equal characters in a row, or three runs of four
it is a pattern
    \[\^?(?:a-z|A-Z|0-9)|\\[dsw][{*+]|\(\?[:=!i<]|\\(?:e|033|x1[bB])\[
    - \s{0,9}x - ^[a-z]{8,32}$
    + ^k7[Qa-2x9Kv
    ~ begin, middle, end: the syntax of an expression
it is PEM, which has a rule of its own
    \ALS0tLS1CRUdJTi|-----BEGIN
    - -----BEGIN PUBLIC KEY-----
    + LS0{A20}
    ~ begin, middle, end: the first line of RFC 7468
it is a hash
    \A(?:\w+:)?(?:\${1,2}(?:[156yP]|2[abxy]|gy|apr1|(?:md5|sha|shiro|scrypt|argon2|pbkdf2|bcrypt|p-sha)[\w-]*)\$
    |\{(?!noop|plain)[A-Za-z0-9-]{3,12}\}\S|(?i:(?:\w{1,12}-)?(?:md5|sha\d{1,3}|pbkdf2\w*|bcrypt|scrypt)[:$=]))
    |\A(?:[0-9a-f]{2}:){15,31}[0-9a-f]{2}\Z
    - 0a:1b:2c:3d:4e:5f:60:71:82:93:a4:b5:c6:d7:e8:f9
    + {h40}
    ~ begin, middle: the scheme of a hash, as in crypt(5) and RFC 2307, maybe after a user
it is encrypted
    \A(?:\$ANSIBLE_VAULT|ENC(?:\[[A-Z]|\()|Ag[A-D][A-Za-z0-9+/]{290}|gAAAAA|EJ\[\d:|!\[[A-Za-z0-9+/]{16,}=*\]\Z|eyJpdiI6I|\{[A-Za-z0-9+/]{42,}=*\}\Z|(?:CiQA|AQICAH)[A-Za-z0-9+/]{60}
    |(?:AES|enc|cipher|sealed|vault|kms)[\w.]{0,12}:[\w+/=:.-]{40})
    - ENC[AES256_GCM,data:{A12}]
    + Ag{A40}
    ~ begin: who encrypted it
it is public
    \A(?:0x(?:[0-9a-fA-F]{40}\Z|0[23][0-9a-f]{64}\Z)|p(?:hc|k_(?:live|test))_|M(?:FkwEw|HYwEA|II[BC][Ia]jANBgkq|CowBQYDK2Vw)|age1[a-z0-9]{50}
    |(?:\S+ )?(?:ssh-|ecdsa-sha2-)\S+ AAAA|AAAA(?:[BC]3NzaC1|E2VjZHNh))
    - ssh-rsa AAAA{B40}
    + MII{B40}
    ~ begin, middle, end: the form of a public key
it is the signature of one request
    \AAWS4-HMAC-SHA256 Credential=
    - AWS4-HMAC-SHA256 Credential=a/b
    + AWS4{A20}
    ~ begin, middle, end: its form has a space
it is the name of an algorithm or an encoding
    (?i)\A(?:utf-?(?:8|16)(?:[lb]e)?|us-ascii|latin-?1|iso-8859-\d{1,2}
    |(?:[a-z]{1,12}\d?[_-]?){0,3}sha-?\d{1,3}|[ehpr]s\d{3}|(?:ed|x)(?:25519|448)|aws4-hmac-sha256 ?
    |x5t(?:#s256)?|ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3}|pbkdf2(?:withhmacsha\d{1,3})?|(?:[bs]|sha2)crypt|argon2(?:i|d|id)?|base64|nfk?[cd]
    |aes-?\d{1,3}(?:-\w{1,6})?|(?:aes|des\w*|rsa|blowfish)/\w{1,9}/\w{1,40}|a\d{3}(?:cbc|gcm|kw)(?:[+-]hs\d{3})?)\Z
    - HS256
    + sha{A16}
it is a number or a date
    (?i)\A(?:-?0x[0-9a-f]{1,16}[lu]{0,3}|#[0-9a-f]{3,8}
    |GHSA(?:-\w{4}){3}|\d{4}-\d\d-\d\d(?:[ T][\d:.]{5,18}(?:z|[+-][\d:]{4,5})?)?)\Z
    - 0xbe4ba423396cfeb8
    + 0x{h64}
= plain value
it is a placeholder
    (?i)your(?:[_ -]|\w{0,9}(?:pass|key|token|secret))|place.?holder|redacted|dummy|\bfake|example
    |\Areplaced\Z|\Asome[_-]pass\w*\Z
    |(?:change|replace|put|insert|enter)[_ -]?(?:me|this|here|with)|\Atodo(?!\w)
    |\A(?:user(?:name)?|client[_-]id|id|foo)?:(?:pass(?::?word)?|value|bar|(?:client[_-])?secret)\Z
    |\A(?:my|some)[_ -]?(?:\w+[_ -])?(?:key|secret|token|password|data|value)\Z
    |\Ax-(?:oauth-basic|access-token)\Z|\A\w{0,9}[\[<][a-z]+(?:[_ -]\w+)+[\]>]
    - your-password-here
    + {A20}
it is a mark for translators
    \Acrwdn[se]\d{1,9}:
    - crwdns1262:0crwdne1262:0
    + crwdns{A16}
it is crossed out
    (?i)x{5}|\*{4}|\.{3}|\A(?:.|(\D)\1+|(.{2,8}?)\2{2,4}|(.{2,4}?)\3{5,}.{0,4})\Z
    - XXXXXXXX
    + k7xxQ.9v..2
it is a path
    (?i)\A(?:\.{1,2}|[~#])/|\A(?:unix:)?//?[a-z_-]{2,12}\d?(?:/[\w.-]{1,40}){0,20}(?:\Z|[ #])
    |\A[\w.-]+(?:/\[|\[-?\d)
    - ../src/a
    + /{B40}
    ~ begin: how a path begins; the name of a file may be drawn
it is a package and its version
    \A[\w./@:-]*[:@-][\^~]?v?\d+\.\d[\w.-]*\Z
    |\A[\w.,\[\]-]{0,60} ?\(?(?:[\^<>~]|[<>=!~]=) ?v?\d+(?:\.\d|[ |,])|\s\|\|\s
    - npm:^7.0.4
    + k7Q1.2
it is a type, a state or a rule for a field
    \A(?i:string|number|bool(?:ean)?|int(?:eger)?|function|[01]|text|digest|[A-Z]\w*Type|flags?|options?|optional|(?:var)?char\(\d+\).*
    |nullable|required\w*|sometimes|bail|confirmed|hashed\w*|encrypted|(?:min|max|size):\d+|(?:mis|no)?match)(?!\w|[-@$%&*]\S*\d)
    |\A[a-z_]+(?:\|[a-z_]+(?::\w+)?)+\Z
    - String!
    + stringK7
it says that it is wrong, or that any would do
    (?i)\A(?:(?:non|not|mis)[_ -]?match(?:ing|es)?|should[_-]?not[_-]?\w+|not[_-]?right|(?:too[_-]?)?short
    |default[_-]?value|does_?not_?matter|bad[_-]default|bogus|junk|garbage|forgot(?:ten)?|bad_?auth
    |(?:wrong|incorrect|invalid|bad)[_ -]?(?:pass\w{0,9}|pwd?|key|token|secret|hash|credentials?)?)\d{0,4}\Z
    - wrong-password
    + wrongK7pass9x
it is put in later
    \S \Z|[$#{]\{|\$\(|<%|\(\([\w./:-]+\)\)
    |%\(\w+\)|(?:\A|:)[%~](?:ts|[\d.]{0,4}[sdfv])(?:\Z|[&%])|%(?:\.\*|\d\$)?s(?![A-Za-z])|\A@@?[\w.-]+@@?\Z
    |\A__[A-Za-z_]+__\Z|\A[&*][A-Za-z_-]+\Z|\A\.?(?:[$*][A-Za-z_]+|\$\$[A-Z][A-Z0-9_]{2,}|\$[A-Z][A-Z0-9_]*)(?::\w+)?(?:\Z|[\s/,\[$})])
    |\A\$[a-z]+(?:[.-][A-Za-z]+)+(?:\Z|:)|\A(?:Basic|Bearer) \$[A-Za-z_]\w*\Z
    - ${DB_PASS}
    + k7$Q2{x
    ~ begin, middle, end: the syntax of a template
it is the name of a variable or a type
    \A[A-Z]+(?:[_-][A-Z0-9]+)*[_-](?:KEY|TOKEN|SECRET|PASS\w*|PWD?|AUTH|CRED(?:ENTIAL)?S?|ID|NAME|URL|URI|USER|HOST
    |HASH|SALT|FILE|PATH|VALUE|TYPE)S?(?:,\S+)?\Z|\A\w+(?:(?:::|\\{1,2})[A-Za-z]\w*)+\Z
    |\A[a-z_]+(?:\.[a-z_]+)+:(?:main|cli|app|run)\Z
    - PG_LOGIN_NAME
    + K7_QX
it is a call or a template
    \A(?:\+[\w.]*[();+]|\[\][\w.*]+\{)|\A(?:Dir|File|os|process|window|document|this|self)\.[\w.]+\Z
    |\A[\w.]{2,40}\(.{0,200}\);?\Z
    |\A!(?:\w+\.[\w.]+|[a-z]+(?:[A-Z][a-z]+)+)\Z|\A<[\w +,=-]+>|\{(?!")[\w.: \[\]()'"]*\}
    - getPassword()
    + k7(Q2)x9Kv!
    ~ begin, middle, end: the syntax of a call, or of a template
= before
what is before it says that it is something else
    \?\s?["']\Z|\barn:[\w-]{1,20}:[\w:/*-]{0,99}\Z|\b(?:class|interface|struct|enum|type(?:of)?) \Z
    |\b(?i:public|gpg|pgp|using rsa) ?\Z
    - public
    + export
= after
what is after it says that it is cut off, or a name
    \A(?:\.{3}|\{\{| \{|:(?:[ `)]|\s*\Z)| \(\) =>|["'] ?=>)
    - ...
    + # comment
"""


class _Property(NamedTuple):
    """A row of the table of what is no secret."""

    reason: str  # as --explain prints it
    where: str  # "value", "before", …
    regex: re.Pattern[str]
    proofs: list[str]


@cache
def properties() -> list[_Property]:
    """Return the rows of the table of what is no secret."""
    found: list[_Property] = []
    for part in _PROPERTIES.strip().split("\n= "):
        where, *rows = re.split(r"\n(?! )", part.removeprefix("= "))
        for row in rows:
            # The reason, an expression of one line or several, and proofs.
            reason, *lines = row.split("\n    ")
            proofs = [line for line in lines if line.startswith(("- ", "+ ", "~ "))]
            pattern = "".join(line for line in lines if line not in proofs)
            found.append(_Property(reason, where, lazily(pattern), proofs))
    return found


# --- the gate ---

_UUID_VALUE = lazily(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_LONG_HEX = lazily(r"[0-9a-fA-F]{32,}\Z")
_ENCODED = lazily(  # as hashes and ciphertext are: in hex or Base64
    r"(?:[0-9a-fA-F]{32,}|(?=.*[0-9+/=])[A-Za-z0-9+/]{22,}={0,2})\Z"
)
_TWO_DIGITS = lazily(r"\D\d\d")
_SAMPLE_LOGIN = lazily(  # RFC 7617 has Aladdin
    r"(?i)(?:test-)?(?:username|client[_-]?id|aladdin|example):|(?:user|id|foo)?:(?:pass(?::?word)?|value|bar)\Z"
)
_COMMENT = lazily(r"(?i)\s*(?:#(?!define)|//|/\*|\*\s|;|--\s|<!--|%|rem\s|echo\s)")  # or what a script prints
_OF_TOKENS = (  # the rows that count for a token with a known prefix
    "it is a sample from documentation",
    "it is filled up",
    "it is a placeholder",
    "it is crossed out",
)
# Files of translations: by their ending, or by what is before an ending that settings have, too.
_TRANSLATION_ENDING = lazily(r"\.(?:po|pot|xlf|xliff|strings|stringsdict|arb|ftl|resx|lang)\Z")
_ENDING_OF_TEXTS = lazily(r"\.(?:json5?|ya?ml|properties|ini|xml|toml|txt)\Z")
_TRANSLATION_FILE = lazily(  # of a path without its ending
    r"""(?x)
    (?:\A|[/._-])(?i:locales?|lang(?:uages?)?|i18n|l10n|translations?|messages)   # it, or a folder of them,
    (?:/[A-Za-z]{2,3}(?:[_-]\w{2,4})?(?:/[^/]+)*)?                                # one in it for a language,
    (?:[/._-][^/]*)?\Z                                                            # and the rest of the name
    |[/._-][A-Za-z]{2}[_-][A-Z]{2}(?:/[^/]*)?\Z                                   # or de-DE, at the end
    """
)
_TRANSLATED_SETTINGS = lazily(r"(?:\A|/)locales?/[a-z]{2}-[A-Z]{2}/[^/]+\.json\Z")  # the texts of a page
_SETTINGS_FILE = lazily(r"(?i)settings|config|compose|application|values|secret|\benv")  # a part of its name
_PACKAGE_LOCK = lazily(  # of package managers
    r"package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.ya?ml|bun\.lock|composer\.lock|gemfile\.lock"
    r"|cargo\.lock|poetry\.lock|uv\.lock|pipfile\.lock|mix\.lock|pubspec\.lock|packages\.lock\.json|go\.sum"
    r"|podfile\.lock"
)
_SHIPPED_FILE = lazily(r"(?i)(?:\A|/)\.yarn/|[.-]min\.[cm]?js\Z|(?:\A|/)[\w.-]*bundle[\w.-]*\.[cm]?js\Z")
_TEST_FILE = lazily(  # test_login.py, login.spec.ts, LoginTests.Refresh.cs
    r"test_|(?:.*[._-])?(?:tests?|specs?)[._-]|.*[a-z0-9](?:Tests?|TestCase|TestBase|Fixtures?|Specs?|IT)\."
)


class _FileKind(NamedTuple):
    """What the path of a file says about words in it. No row uses it to make a random value low."""

    is_translation: bool = False
    is_package: bool = False  # made by a package manager or a minifier
    is_test: bool = False  # by the name of the file, wherever it is


_NO_FILE = _FileKind()


@lru_cache(1 << 10)
def about_path(path: str) -> _FileKind:
    """Return the kinds of a file, by its path: a translation, a package manager's, a test."""
    name = os.path.basename(path)
    lower = name.lower()
    is_translation = bool(_TRANSLATION_ENDING.search(lower))
    if _ENDING_OF_TEXTS.search(lower):
        is_translation = bool(_TRANSLATION_FILE.search(path.rpartition(".")[0]))
    if is_translation and _SETTINGS_FILE.search(name):
        is_translation = bool(_TRANSLATED_SETTINGS.search(path))
    is_package = bool(_PACKAGE_LOCK.fullmatch(lower) or _SHIPPED_FILE.search(path))
    return _FileKind(is_translation, is_package, bool(_TEST_FILE.match(name)))


def judge_candidate(candidate: Candidate, path: str = "", reason: str = "") -> Span:
    """Return a span with the verdict on a value under a telltale name, in the file at `path`.

    It is low at most if the detector has a reason against it.
    """
    # Cached without its place: versions of a file repeat most lines.
    span = _judge_placeless(candidate._replace(start=0, end=0), reason, about_path(path))
    return span._replace(start=candidate.start, end=candidate.end, candidate=candidate)


@lru_cache(1 << 12)
def _judge_placeless(candidate: Candidate, reason: str, path: _FileKind) -> Span:
    """Judge a candidate whose place is (0, 0), so that equal ones share a verdict."""
    rule = pattern_rules()[_rule_of(candidate)]
    return judge_span(rule, (0, 0), candidate.value.encode("latin-1"), candidate, reason, path=path)


def _rule_of(c: Candidate) -> str:
    """Return the id of the rule for a candidate's value."""
    if c.kind == "pass" and is_password_hash(c.value.encode("latin-1")):
        return "password-hash"
    if c.kind in ("auth", "pass", "secret") and is_login(c.value.encode("latin-1")):
        return "registry-auth"
    if _UUID_VALUE.match(c.value):
        return "uuid-key"
    if is_weak_password(c):
        return "weak-password"
    return _RULE_OF_KIND.get(c.kind, "credential")


def judge_span(
    rule: Rule,
    place: tuple[int, int],
    value: bytes,
    candidate: Candidate | None = None,
    reason: str = "",
    at_most: str = "low",
    path: _FileKind = _NO_FILE,
) -> Span:
    """Return a span with its final confidence and, if that was lowered or is "", the reason.

    It begins as the confidence of the rule or, under a telltale name, of the score: "" if that is too low.
    The first of these that applies lowers it:

        a reason of this section against a secret   to low
        `reason`, the detector's own                to `at_most`, which is never above the rule's
        of a high score, a row of _IN_CONTEXT       to medium
    """
    scored = candidate if candidate and rule.id in _SCORED_RULES else None
    confidence = _confidence_of_score(scored) if scored else rule.confidence
    if not confidence:
        return Span(*place, rule, "", candidate, "too little speaks for a secret")
    if not reason or at_most != "low":
        against = _reason_against_span(rule, value, candidate, path)
        if against:
            reason, at_most = against, "low"
    if not reason and scored and confidence == "high":
        reason, at_most = _reason_in_context("medium", scored.value, scored, path), "medium"
    if reason and confidence != "low":
        confidence = at_most
    return Span(*place, rule, confidence, candidate, reason)


_WHOLE_KEY = lazily(r"(?=.{0,39}[G-Z])[A-Za-z0-9+/]{40,}={0,2}\Z")  # but no hash in hex


def _confidence_of_score(c: Candidate) -> str:
    """Return the confidence of a candidate's score.

    A value that looks random is low at least, never "", and medium if it is the whole of a long key. Any
    other under the name of a key needs more outside settings, where most keys find an entry, unless its name
    says what it opens.
    """
    score = _score(c)
    is_whole_key = bool(_WHOLE_KEY.match(c.value)) and is_secret_name(c.name) and looks_random(c.value)
    if is_whole_key and c.separator in ("=", ":", "=>", ","):
        score = max(score, _LIKELY)
    opens = c.language != "docs" and _opens_something(c) and looks_random(c.value)
    if c.kind == "key" and not (is_whole_key or opens or _is_in_settings(c)) and score < _LIKELY_KEY:
        score = min(score, _LIKELY - 1)
    return level(score) or ("low" if looks_random(c.value) else "")


def _reason_against_span(rule: Rule, value: bytes, candidate: Candidate | None, path: _FileKind) -> str:
    """Return why a value that a rule has found can't be a secret; "" if it can.

    Behind the prefix of a token, few rows count: those of _OF_TOKENS. Any other value is for `reason_against`
    and, if it is under no telltale name, for `_reason_against_match`.
    """
    # All values of a rule share its prefix.
    public = max((len(p) for p in rule_prefixes(rule.prefix) if value.startswith(p.encode())), default=0)
    body = latin1(value[public:])
    if rule.prefix:
        return _reason_against_value(body, _OF_TOKENS)
    reason = reason_against(body, candidate, path)
    return reason or ("" if candidate else _reason_against_match(rule, body))


def is_comment(before: str) -> bool:
    """Return whether a line with this beginning is a comment; what a script echoes is none."""
    return bool(_COMMENT.match(before)) and not before.lstrip().lower().startswith("echo")


def reason_against(value: str, candidate: Candidate | None = None, path: _FileKind = _NO_FILE) -> str:
    """Return why a value can't be a secret, whatever its weights; "" if it can.

    The value is looked at first and, if it has a candidate, what is beside it, then its name and place.
    """
    reason = _reason_against_value(value)
    if reason or not candidate:
        return reason
    for row in properties():
        if row.where in ("before", "after") and row.regex.search(getattr(candidate, row.where)):
            return row.reason
    return _reason_in_context("low", value, candidate, path)


def _reason_in_context(at_most: str, value: str, c: Candidate, path: _FileKind) -> str:
    """Return the first reason of _IN_CONTEXT that applies and leaves a confidence `at_most`; "" for none."""
    rows = (row for row in _IN_CONTEXT if row.at_most == at_most)
    return next((row.reason for row in rows if row.applies(value, c, path)), "")


@lru_cache(1 << 12)
def _reason_against_value(value: str, reasons: tuple[str, ...] = ()) -> str:
    """Return why a value, or what it holds in Base64, can't be a secret; "" if it can.

    With `reasons`, only these rows count, and only for the value itself.
    """
    texts = texts_to_search(value)
    for row in properties():
        if (
            row.where in texts
            and (not reasons or row.reason in reasons)
            and row.regex.search(texts[row.where])
        ):
            return row.reason
    encoded = value.rpartition(" ")[2]
    if not reasons and re.fullmatch("[A-Za-z0-9+/_-]{8,}={0,2}", encoded):
        plain = latin1(decode64(encoded.encode())).strip()
        if len(plain) > 5 and re.fullmatch("[ -9;-~]+", plain):
            return _reason_against_value(plain)
    return ""


def texts_to_search(value: str) -> dict[str, str]:
    """Return the texts that rows search for a value, by `where`; a random one has no "plain value"."""
    return {"value": value, "plain value": "" if looks_random(value) else value}


def _reason_against_match(rule: Rule, value: str) -> str:
    """Return why a value that the pattern of a rule found can't be a secret; "" if it can."""
    if is_weak(value) and not _TWO_DIGITS.search(value):
        return "it is a word for a password"
    if rule.id == "bearer-token" and not looks_random(value):
        return "it doesn't look random"
    if rule.id == "basic-auth" and _SAMPLE_LOGIN.match(latin1(decode64(value.encode("latin-1")))):
        return "its user is an example"
    return ""


# --- weak passwords ---

_WEAK_ENDING = lazily(
    r"(?!(?:band|high|low|by)pass)[a-z]{2,15}\d?[-_]?"
    r"(?:admin|db|dev|local|pass(?:wd|word)?|pwd?|test)\d{0,4}\Z"
)
_CHOSEN = lazily(  # in lower case, like the last: p@ss-w0rd, admin#1
    r"""(?x)
    (?=\S*[a-z])                                                        # a letter,
    (?=\S*[\d!@$%^&*?])                                                 # a digit or a symbol,
    (?=\S*(?:p[a@4][s$5]{2}|pwd|secret|admin|test|root|user))           # and a word that many choose
    [\w!@\#$%^&*?.+~()-]{5,40}\Z
    """
)
_WORDS_AND_DIGITS = lazily(r"[A-Za-z_]{3,}[\d!@#$%]+[A-Za-z]*\Z")
_NUMBERED_KEY = lazily(r"(?!0x)(?=[\W\d]*[A-Za-z])[\w.@$!-]{3,}\d\d\Z")  # abc123, sk_test_4567
_SETTING_OPTION = lazily(r"\s(?:-e|--env|--set)[ =][\"']?\Z")
_BESIDE_USER = lazily(  # before the password in a connection string or a login module: User Id=sa;
    r"""(?xi)
    \b(?:user(?:\ ?id|_?name)?|uid)[ ]?=[ ]?
    (?:\w[\w.@-]{0,60}|\\?"\w[\w.@-]{0,60}\\?")      # the user, maybe in quotes
    [;\s]{1,2}\Z
    """
)
_MEMBERS = lazily(r"[*@?]?[A-Za-z_]\w*(?:(?:\??\.|::|#)[A-Za-z_]\w*)*(?:\$\d)?\Z")


def is_weak_password(c: Candidate) -> bool:
    """Return whether a candidate sets a password to words that anybody would try, or to a variation on them.

    The secret of an application counts, too, if it is in the environment, a literal of words and digits, or a
    phrase.
    """
    words = words_of(c.name.rstrip("0123456789"))
    is_pass = bool(words) and kind_of_name(words[-1]) == "pass"
    # An application's secret, in the environment; numbers there are of seconds, for instance.
    is_secret = c.kind == "secret" and c.name.isupper() and not c.value.isdigit() and c.language in _SETTINGS
    is_literal = c.language == "source" and c.name[0] != "-"
    if not _sets_value(c) or (is_literal and _names_a_field(c)):
        return False
    if _is_chosen_secret(c):
        return True
    # In source, the secret or the key of an application: abc123, admin#1.
    if is_literal and _opens_something(c):
        is_numbered = _NUMBERED_KEY.match(c.value) and not looks_random(c.value)
        is_chosen = _WORDS_AND_DIGITS.match(c.value) and _CHOSEN.match(c.value.lower())
        return words[-1] == "secret" and bool(is_numbered or is_chosen)
    if not (is_pass or is_secret):
        return False
    # Letters only: a word of the name, such as password, and any for an application.
    if c.value.isalpha():
        if c.value.istitle() or c.value.isupper():  # a label, or put in later
            return False
        if len(c.value) > 2 and c.value.islower() and (c.value in words or is_secret):
            return True
    if is_weak(c.value) or _WEAK_ENDING.match(c.value.lower()):
        return True
    # A variation on a word that many choose: its score would be likely but for what is weak about it.
    if not is_pass or not _CHOSEN.match(c.value.lower()):
        return False
    return _is_likely(_score(c, chosen=True)) and not _is_likely(_score(c))


_OWN_SECRET = lazily(  # the name of one that whoever runs an application chooses, and no provider issues
    r"""(?x)
    (?:\b(?:app(?:lication)?|\w*auth|client|cookie|cron|csrf|enc\w*|flask|hmac|jwt|master|session|state|token
       |sign(?:ing)?(?=\ key)) \ (?:\w+\ )?  # what it is for, maybe with a word behind it,
    |\A(?:\w+\ )?secret\ )  # or "secret" before "key";
    (?:secret|key)(?:\ key|\ base)?(?:\ [a-z]{3})?\Z  # and maybe a cipher's mode: DB_ENC_KEY_GCM
    """
)
_THREE_WORDS = lazily(r"(?=.{10})[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+){2,}[!.]?\Z")
_COUNTS_UP = lazily(r"(?:0?123456789(?:0|abcdef)?){1,7}[0-9a-f]{0,9}\Z")
_PART_OF_PHRASE = lazily(r"(?!(?:key|secret|some|test|the|value|your)\Z)\w*[a-z]{3}")


def _is_chosen_secret(c: Candidate) -> bool:
    """Return whether the value is a phrase that somebody chose for a secret of their own application.

    It has three words or more, two of which aren't in the name: a_very_long_secret, but not my-jwt-secret. In
    settings, digits that count up are chosen, too.
    """
    name = words_of(c.name.rpartition(".")[2].rstrip("0123456789"))
    if not _OWN_SECRET.search(" ".join(name)):
        return False
    if _is_in_settings(c) and len(c.value) > 15 and _COUNTS_UP.match(c.value):
        return True
    if not _THREE_WORDS.match(c.value) or c.value.isupper() or looks_random(c.value):
        return False
    words = re.split("[-_]", c.value.lower().rstrip("!."))
    # The name of a secret that is elsewhere ends with another kind: shop-db-password, shop-tls.
    if words[-1] in ("credentials", "id", "name", "password", "tls", "token"):
        return False
    return sum(word not in name and bool(_PART_OF_PHRASE.match(word)) for word in set(words)) > 1


_TELLTALE_WORD = lazily(r"(?:[a-z]{2,6}(?:pass(?:wd|word)?|pwd)|[a-z]{0,6}secret)\Z")  # testpass
_DOTTED_NAME = lazily(r"[A-Za-z_-]+\Z|[a-z]\w*(?:\.[a-z]\w*)+\Z")


def _names_a_field(c: Candidate) -> bool:
    """Return whether the value is itself a secret's name: of several words, or of one that its name has."""
    words = words_of(c.value)
    if not kind_of_name(c.value) or not _DOTTED_NAME.match(c.value):
        return False
    is_made_up = _TELLTALE_WORD.match(c.value.lower()) or (is_weak(c.value) and len(c.value) > 8)
    return len(words) > 1 or words[0] in words_of(c.name) or not is_made_up


_OPENING_KEY = lazily(  # words of a name that say what a key opens, signs or encrypts
    r"\b(?:api|app|application|access|account|admin|aes|auth|authorization|bot|cipher|client|cookie|crypto?"
    r"|data|decrypt\w*|deploy|encrypt\w*|hmac|jwt|licen[cs]e|master|pre ?shared|private|root|rsa|secret"
    r"|secur\w*|server|service|session|shared|sign|signature|signing|ssh|storage|subscription|user|wrapping)"
    r" ?(?:\w+ ){0,2}keys?\b"
)


def _opens_something(c: Candidate) -> bool:
    """Return whether the name is of a token or a secret, or of a key that says what it opens.

    A variable of the environment needn't say that: STRIPE_KEY, but not gateway_key.
    """
    words = words_of(c.name.rstrip("0123456789"))
    if words[-1:] in (["token"], ["secret"]):
        return not is_about_secret(c.name)
    is_named = c.name.isupper() or _OPENING_KEY.search(" ".join(words))
    return bool(words) and kind_of_name(words[-1]) == "key" and bool(is_named)


def _is_likely(score: int) -> bool:
    """Return whether a score is enough for a report by default."""
    return level(score) in ("high", "medium")


def _sets_value(c: Candidate) -> bool:
    """Return whether the line sets the name to the value, so that any word may be a password.

    It does as an option, a literal in source, or on a line of its own in settings. Documentation does so with
    an equals sign, or in quotes: letters alone are samples there.
    """
    is_option = c.name[0] == "-" and (c.separator == "=" or c.language == "shell")
    if is_option or _SETTING_OPTION.search(c.before):
        return True
    if c.separator == "=" and _BESIDE_USER.search(c.before):
        return True
    if c.language == "source":
        return bool(c.quote) and _sets_literal(c)
    sets = c.language in _SETTINGS
    if c.language == "docs":
        more = r"[\W\d_]" if c.quote else r"\d"  # than a word
        sets = c.separator == "=" or (c.quote != "`" and bool(re.search(more, c.value)))
    own_line = sets and c.separator in ("=", ":", ">", ":-") and _LINE_OF_ITS_OWN.match(c.before)
    return bool(own_line) and (_ends_telltale(c.name) or bool(_OWN_SECRET.search(" ".join(words_of(c.name)))))


def _sets_literal(c: Candidate) -> bool:
    """Return whether source assigns a value, a literal, or passes it to what sets or takes passwords."""
    if c.separator == "(":
        return bool(re.match(r"(?i)set|with|pass\w", c.name.rpartition(".")[2]))
    if c.separator == ",":
        return bool(_CALLED_WITH.search(c.before))
    return c.separator in ("=", ":", "=>", ":=")


# --- reasons in context ---
# Each predicate gets a value without the prefix of its rule, its candidate, and the kinds of its file. To add
# a reason, add a predicate, and a row to the table at the end.

_WITH_UUID = lazily(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_CONFIRMING = lazily(  # what may end a name
    r"(?i)(?:confirm(?:ation)?|repeat|again|verify|_wo|_?base_?64_?url|_?base_?(?=64))?\d*\Z"
)
_VARIANTS = (  # what may follow "password" in the name of a password
    *("dev", "development", "test", "testing", "stage", "staging", "prod", "production", "local", "live"),
    *("old", "new", "default", "value"),
)
_TEXT = lazily(  # of a translation
    r"""(?xs)
    .*\s                                                  # words
    |(?=\D*\d?\D*\Z)                                     # or one, with at most one digit,
     [(（]?[^\W_]+(?:[-.'’ʼ(：，、・（]+[^\W_]+)*          # maybe of several parts,
     [.!?:…)）：。！？]*\Z                                 # and the marks of a sentence
    """
)
_TABLE_OF_TEXTS = lazily(
    r"(?i)(?:\A|[^\w.])\$?(?:_?lang|(?:\w{1,20}_)?(?:labels|messages|texts|translations))\[[\"']\Z"
)
_KEY_IN_WORDS = lazily(r"[{,\s][\"'][A-Za-z][\w ().-]* \Z")  # "OAuth client secret": …
_IN_SENTENCE = lazily(r"[a-z)]\W{1,3}\n[A-Za-z`']+ [a-z`'(]{2}")  # words before and after
_NAMED_BY = lazily(r"(?i)\b(?:the|an?) (?:\w+ ){1,3}identified \Z")
_BEFORE_SPACE = lazily(
    r"(?i)(?:^\s*|\b(?:(?:set|with|identified|encrypted|to|define|def|\w*header)[ (]"
    r"|(?:login|(?:role|user) \S+) |h?m?set [\w.-]{1,60}[/:][^\s\"']{0,120}[ /:])|:)\Z"
)  # and a name follows
_IDENTIFIER = lazily(r"[A-Za-z_$][\w$.-]*\Z")
_KEY_ID = lazily(r"(?=\w*[0-9])(?=\w*[G-Z])[A-Z0-9]{16,24}\Z")
_SAMPLE_TOKEN = lazily(  # abc123xyz, access-token-1234
    r"[A-Za-z]{3,12}\d{0,10}[a-z]{0,4}(?:[-_.][A-Za-z]{0,12}\d{0,10}[a-z]{0,4}){0,4}\Z"
)
_ENDS_LIST = lazily(r"[\"'](?:, ?[\"'][\w-]{1,40}[\"']){0,9}\]")
_ASSERTS = lazily(r"(?i)\b(?:assert|expect)\w*\(|\bcontains?Entry\([\"']\Z")
_MOCKS_REPLY = lazily(  # .reply(200, {, .to_return(body: , mockResponse(, Fprint(w,
    r"""(?x)
    \.reply\(\s?\d{3},|\bto_return\(|\bF[Pp]rintf?\(w,|\brespond_with\w*\(|\bset_?[bB]ody\(
    |(?i:mock)\w*(?:Response|Reply|Return|Resolved)\w*\(|\bandReturn\(|\bwillReturn\w*\(|_response\(
    """
)
_RECORD_FIELD = lazily(r"[\"']\w+[\"'] ?(?::|=>) ")
_EMPTY_FIELD = lazily(r"(?::|=>) (?:null|nil|None|\[\]|\{\}|\"\")\s?[,}]")
# In an action of a template: {{- $a := f, {% set a = f, <% a = f
_IN_ACTION = lazily(r"(?:\{[{%]|<%)(?:(?![%}]\}|%>).)*\Z")
_WORDS = lazily(  # shop-db2_tls, auth.google/v2
    r"""(?x)
    [A-Za-z]{1,40}(?:\d{1,2}(?=[-_]))?                      # a word, and a number before a dash
    (?:[-_./:\#\ ]{1,2}
       (?:[A-Za-z]{1,20}\d{0,2}[a-z]?|\d{1,2}|\$\w{1,2})    # words, numbers or variables
    ){0,9}\Z
    """
)
_NUMBERED_WORDS = lazily(r"[a-z]{3,15}\d{0,2}(?:-[a-z]{2,10}\d{0,2}){0,4}\Z")


def _is_identifier(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is a UUID under a name that doesn't say secret.

    Under "key" alone, also a value that has one, and a number in hex: they find an entry. So does the key
    in a table or a call of a program whose name doesn't say what it opens.
    """
    if not _UUID_VALUE.match(value):
        is_entry = value.startswith("0x") or (len(value) > 36 and _WITH_UUID.search(value))
        finds_entry = c.language == "source" and c.separator in ("(", ",", "{", "=>")
        finds_entry = finds_entry and c.kind == "key" and not _opens_something(c)
        return (c.name.lower() == "key" and bool(is_entry)) or finds_entry
    if c.separator == "," and not _CALLED_WITH.search(c.before):  # in a row of SQL, for instance
        return True
    return bool(re.search(r"(?i)(?:\A|\.)key\Z", c.name)) or not is_secret_name(c.name)


def _is_in_settings(c: Candidate) -> bool:
    """Return whether the value is in the settings of a program or a shell, which hold secrets themselves."""
    return c.language in ("config", "shell")


def _is_salt(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is the salt of one hash, which is no secret, as in a column `salt`.

    An application's, which signs or peppers, is longer and has a longer name: SECRET_KEY_SALT.
    """
    words = words_of(c.name)
    return words == ["salt"] or (words[-1:] == ["salt"] and len(value) < 16)


def _is_nonce(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is a nonce that everybody may see: in source, in a page or of a protocol."""
    is_public = c.language in ("source", "markup") or "realm=" in c.before or value.isdigit()
    return is_public and "nonce" in words_of(c.name)


def _is_about_secret(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the name is about a secret, as TOKEN_URL is."""
    return is_about_secret(c.name) and not _UUID_VALUE.match(value)


def _is_about_password(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the name says something else about a password, as in `password_driver = "ldap"`."""
    if c.kind != "pass" or c.separator == "(" or looks_random(value):
        return False
    return not _ends_telltale(c.name) and words_of(c.name)[-1] not in _VARIANTS


def _is_translation(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is text in a file or a table of texts: `$labels['password'] = 'Cyfrinair'`."""
    if not path.is_translation and not _TABLE_OF_TEXTS.search(c.before):
        return False
    text = _as_text(value)
    plain = re.sub(r"\\u00([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)  # JSON's letters
    if plain == text and looks_random(value):
        return False
    return bool(_TEXT.match(plain))


def _as_text(value: str) -> str:
    """Return the characters of a value, which has one for each byte."""
    return value.encode("latin-1").decode("utf-8", "replace")


def _is_label(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether a form shows the value: its key is in words, or it is an entry with a capital letter."""
    if c.separator == ":" and c.quote and _KEY_IN_WORDS.search(c.before):
        return not looks_random(value)
    text = _as_text(value)
    is_entry = c.separator in ("=>", ":") and (c.before[-1:] in ("'", '"') or c.language == "source")
    is_element = c.separator in (">", "=") and "<" in c.before
    # Words with letters beyond ASCII, or one word with a capital letter.
    if is_entry and c.quote and " " in text and not text.isascii() and not re.search(r"\d", text):
        return True
    label = text.rstrip("*: ")
    return (is_entry or is_element) and label.isalpha() and label.istitle() and len(text) < 20


def _is_in_sentence(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is a word of a sentence with a colon, or of a comment's label."""
    if c.quote:
        return False
    if c.name.lower() == "by":  # the token identified by 00Tk…
        return bool(_NAMED_BY.search(c.before))
    if c.separator == "_":  # -- Name: passwords_key
        return bool(_COMMENT.match(c.before)) and c.before.endswith(": ")
    if c.separator != ":":
        return False
    is_text = c.language == "docs" or (value.isalpha() and _is_in_string(c))
    more = r" [A-Za-z]\w+[ ,.]" if is_text else "(?: [a-z]+){4}"
    return bool(re.match(more, c.after) or _IN_SENTENCE.search(f"{c.before}\n{value}{c.after}"))


def _is_quoted_in_prose(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value stands in quotes after a name and a space.

    Not if a command sets the name, unless the quotes are backticks.
    """
    if c.separator != "_" or not c.quote:
        return False
    is_verb = re.search(r"(?:to pass|^\s*Pass)\Z", f"{c.before}{c.name}")
    is_command = c.name[0] == "-" or (_BEFORE_SPACE.search(c.before) and not is_verb)
    return c.quote[0] == "`" or not is_command


def _is_expression(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether a bare value in source, a template, a page's script or a notebook's cell is code.

    A literal there is in quotes, or looks random.
    """
    # In an action of a template, or in a script that isn't source.
    if not c.quote and c.separator[-1:] == "=" and _IN_ACTION.search(c.before) and not looks_random(value):
        return True
    is_script = c.language == "markup" and c.after[:1] in (";", ",")  # of the page, or a notebook's cell
    is_cell = c.language == "json" and c.separator == "=" and c.after[:1] in (",", ")")
    is_sample = c.language == "docs" and c.after.rstrip() in (";", ",") and not c.before.strip()
    if not c.quote and (is_script or is_cell or is_sample):
        return bool(_MEMBERS.match(value))
    if c.language != "source" or c.quote or _is_in_string(c):
        return False
    # In source: a number or a name in camel case; what is called, or begins a block; members of an object.
    if value.lstrip("-").isdigit() or (
        c.kind != "pass" and _CAMEL_NAME.match(value) and not looks_random(value)
    ):
        return True
    if c.after.lstrip()[:1] in ("(", "<", "{"):
        return True
    return bool(_MEMBERS.match(value)) and _is_bare_name(value, c)


def _is_in_string(c: Candidate) -> bool:
    """Return whether the value is inside a string, which begins before the name.

    A quote right before the name of a key may be the key's own, if none after the value belongs to it.
    """
    before = c.before
    is_key = c.separator in (":", "=>") or before[-2:-1] == "["
    if is_key and before[-1:] in ("'", '"') and c.after.count(before[-1]) % 2 == 0:
        before = before[:-1]
    return bool(before.count('"') % 2 or before.count("'") % 2)


def _is_bare_name(value: str, c: Candidate) -> bool:
    """Return whether what looks like a name is one, or several with dots, rather than a bare password.

    So it is behind => and :=, in a call or a type behind a colon, and in a line of its own as an argument.
    """
    if c.separator in ("=>", ":=") or not value.isidentifier() or (c.separator == ":" and "(" in c.before):
        return True
    ends_argument = c.after[0] in ",);" if c.after else "_" in value
    return not c.before.strip() and ends_argument


def _is_reference_in_template(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether a template of Angular or Vue refers to it: #name="ngModel", @click="reset", :a="b"."""
    return c.language == "markup" and c.separator == "=" and c.before[-1:] in ("#", "@", ":")


def _is_made_by_tool(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is a word or an identifier in a lock file, or in minified code."""
    return path.is_package and bool(_IDENTIFIER.match(value)) and not looks_random(value)


def _is_word(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is a number, a name or words, under a name that isn't a password's.

    What authenticates has to look random, and a key has to be long, to have symbols, or to look random: most
    others find or name something.
    """
    if c.separator == "(" and value.isalpha() and _ENDS_LIST.match(c.after):  # setPass(["model", "id"])
        return True
    ends = [kind for kind in map(kind_of_name, words_of(c.name)) if kind][-1:]
    is_password = c.kind == "pass" and ends in ([], ["pass"]) and c.name not in ("passwords", "pass", "Pass")
    if is_password or is_weak_password(c):
        return False
    is_entry = c.kind == "key" and len(value) < 20 and not _SYMBOLS.intersection(value)
    if (is_entry or c.kind in ("auth", "cred")) and not looks_random(value.rpartition(" ")[2]):
        return True
    if len(value) < 10 and value.rstrip("smhd").isdigit():  # 30s
        return True
    if value.isdigit() and c.name.lower().endswith("tokens"):  # which a model took
        return True
    if c.kind == "token" and not looks_random(value):
        is_named = _NUMBERED_WORDS.match(value) and wordness(value) in "456789"  # tomcat9
        if is_named or (not _is_in_settings(c) and _SAMPLE_TOKEN.match(value)):
            return True
    return bool(_WORDS.match(value.strip(":./_-"))) and wordness(value) not in "01234"


def _is_key_id(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is the id of an access key, as S3 has it, which isn't secret."""
    words = words_of(c.name.rstrip("0123456789"))
    return words[-2:] == ["access", "key"] and "secret" not in words and bool(_KEY_ID.match(value))


def _is_compared_with(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether a test compares the value with what has the name: assertEqual(reply.token, "…")."""
    return c.separator == "," and bool(_ASSERTS.search(c.before))


def _is_mocked(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is in what a mocked server replies, or in one line of its data.

    Such a line has fields before and after the value, some of them without a value.
    """
    if c.language != "source" or c.kind not in ("token", "key", "auth"):
        return False
    if _MOCKS_REPLY.search(c.before):
        return True
    line = f"{c.before}{c.after}"
    is_record = len(_RECORD_FIELD.findall(line)) > 3 and _RECORD_FIELD.search(c.after)
    return bool(is_record and _EMPTY_FIELD.search(line))


def _may_be_refused(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is in the source of a test, where many requests are meant to be refused."""
    return path.is_test and c.language == "source"


def _may_be_sample(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is in a comment, in prose or an argument, as samples are."""
    return c.language == "docs" or c.separator in ("(", ",", "_", "is") or bool(_COMMENT.match(c.before))


def _may_be_hash(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether a password is in hex or, but for settings, in Base64, as its hash would be."""
    form = _LONG_HEX if _is_in_settings(c) else _ENCODED
    return c.kind == "pass" and looks_random(value) and bool(form.match(value))


def _may_be_name(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value may be a name: it has no digit, and doesn't look random.

    Not in settings, which hold passwords themselves.
    """
    sets_passwords = c.kind == "pass" and _is_in_settings(c)
    return not sets_passwords and not looks_random(value) and not re.search("[0-9]", value)


def _may_be_id(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the name says key or the like, and no more: what finds something has such names, too.

    Not if it is a variable of the environment, which has few other keys.
    """
    return c.kind not in ("pass", "secret", "token") and not c.name.isupper()


def _may_be_made_up(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the value is shorter than those that programs draw for keys and tokens."""
    return c.kind != "pass" and len(value) < 20


def _may_be_listed(value: str, c: Candidate, path: _FileKind) -> bool:
    """Return whether the name is in the plural, as those of lists to try or to check against are."""
    last = words_of(c.name)[-1]
    return last.endswith("s") and bool(kind_of_name(last[:-1]))


class _Context(NamedTuple):
    """A row of the table of names and places where no secret is, or where a high score says less."""

    reason: str  # as --explain prints it
    at_most: str  # "low" where no secret is; "medium" where one is likely, but not certain
    looks_at: str
    applies: Callable[[str, Candidate, _FileKind], bool]
    drops: str  # the path of a file, and a line whose value it applies to; · hides it from audits
    keeps: str  # another whose value it must not apply to


_IN_CONTEXT = (
    _Context(
        "it is an identifier", "low", "value and name", _is_identifier, "a.yml key: {u}", "a.yml api_key: {u}"
    ),
    _Context(
        "it is a salt",
        "low",
        "value and name",
        _is_salt,
        'a.py pas·sword_salt = "{A12}"',
        'a.py pas·sword_salt = "{A24}"',
    ),
    _Context(
        "it is a nonce",
        "low",
        "name and file",
        _is_nonce,
        'a.html <a nonce="{A10}">',
        'a.json "nonce": "{A16}"',
    ),
    _Context(
        "its name says that it is something else, or not real",
        "low",
        "name",
        _is_about_secret,
        'a.py fake_token = "{A20}"',
        'a.py auth_token = "{A20}"',
    ),
    _Context(
        "its name is about a password",
        "low",
        "value and name",
        _is_about_password,
        "a.yml pas·sword_banner: x7c9dQ2v",
        "a.yml pas·sword_dev: x7c9dQ2v",
    ),
    _Context(
        "it is a translation",
        "low",
        "value, line and file",
        _is_translation,
        "locales/de.yml pas·sword: Kennwort9",
        "locales/de.yml pas·sword: {A20}",
    ),
    _Context(
        "it is a label",
        "low",
        "value and line",
        _is_label,
        'a.js login({pas·sword: "Kennwort"})',
        'a.js login({pas·sword: "kenn7wort"})',
    ),
    _Context(
        "it is prose",
        "low",
        "line",
        _is_in_sentence,
        "a.md pas·sword: sel3ctor7 of it",
        "a.md pas·sword: sel3ctor7",
    ),
    _Context(
        "it is quoted in prose",
        "low",
        "line",
        _is_quoted_in_prose,
        'a.md the pas·sword "sel3ctor7"',
        'a.md set pas·sword "sel3ctor7"',
    ),
    _Context(
        "it is an expression",
        "low",
        "value and line",
        _is_expression,
        "a.go Pas·sword = 12345678",
        'a.go Pas·sword = "12345678"',
    ),
    _Context(
        "it is a reference in a template",
        "low",
        "line",
        _is_reference_in_template,
        'a.vue <form @forget-pw·d="resetForm">',
        'a.vue <form forget-pw·d="resetForm">',
    ),
    _Context(
        "it is a name in generated code",
        "low",
        "value and file",
        _is_made_by_tool,
        'a.min.js {pas·s:"qzxvwkjh"}',
        'a.js {pas·s:"qzxvwkjh"}',
    ),
    _Context(
        "it is a number, a name or a word",
        "low",
        "value and name",
        _is_word,
        "a.yml tok·en: tomcat9",
        "a.yml tok·en: tomcat7qx9",
    ),
    _Context(
        "it is the id of a key",
        "low",
        "value and name",
        _is_key_id,
        "a.env ACCESS_KEY=Q3{U18}",
        "a.env ACCESS_KEY={A40}",
    ),
    _Context(
        "a test expects it",
        "low",
        "line",
        _is_compared_with,
        'a.py assertEqual(a.tok·en, "{A20}")',
        'a.py login(a.tok·en, "{A20}")',
    ),
    _Context(
        "it is in a mocked reply",
        "low",
        "name and line",
        _is_mocked,
        'a.js nock(u).reply(200, {"tok·en": "{A32}"})',
        'a.js nock(u).post("/", {"tok·en": "{A32}"})',
    ),
    _Context(
        "many such values are samples",
        "medium",
        "line and file",
        _may_be_sample,
        "a.md secret={A40}",
        "a.env secret={A40}",
    ),
    _Context(
        "many such values are hashes",
        "medium",
        "value and name",
        _may_be_hash,
        "a.env pas·sword={h40}",
        "a.env pas·sword=tulip7x9Kv!2",
    ),
    _Context(
        "many such values are names",
        "medium",
        "value and name",
        _may_be_name,
        'a.py pas·sword = "qzxvw!kjhq"',
        "a.env pas·sword=qzxvw!kjhq",
    ),
    _Context(
        "many such names are of ids",
        "medium",
        "name",
        _may_be_id,
        "a.env api.key={A40}",
        "a.env API_KEY={A40}",
    ),
    _Context(
        "it is short for a drawn value",
        "medium",
        "value and name",
        _may_be_made_up,
        "a.env TOK·EN={A16}",
        "a.env TOK·EN={A24}",
    ),
    _Context(
        "it may be one of many values to try",
        "medium",
        "name",
        _may_be_listed,
        "a.env SEC·RETS={A40}",
        "a.env SEC·RET={A40}",
    ),
    _Context(
        "a test may expect it to be refused",
        "medium",
        "name of the file",
        _may_be_refused,
        'user_test.go secret = "{A40}"',
        'user.go secret = "{A40}"',
    ),
)


# === Detectors ===
# What turns places in a window into spans: runs of token characters by their prefix, keywords by the pattern
# around them, and the few kinds that need a parser. A detector gets the text and where a keyword ends, looks
# at a few thousand bytes, and returns spans and where to go on.

MAX_AHEAD = 1 << 14  # bytes past a match's start that it may need: the longest private key
_HEX_KEY = lazily(r"(?i)(?:0x)?(?:[0-9a-f]{2}){16,64}\Z")
_HEX_HASH = lazily(r"(?:[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})\Z")
_RESOURCE_ID = lazily(r"[A-Za-z0-9]{16,64}\Z")
_COLLECTION = lazily(rb"/[a-z_]{2,30}s/\Z")
_HASH_LINE = lazily(rb"(?m)^\s*[\"']?([\w./-]{1,200})[\"']?[ ]?[:=][ ]?[\"']?([0-9a-f]{16,64})[\"']?,?\r?$")
_REACH_OF_HASHES = 2000  # bytes from a value in hex to others
_KNOWN_ANSWER = lazily(rb"(?i)\b(?:aad|ct|pt|(?:cipher|plain)_?text)[\"']?\s{0,9}[:=]")
_PASSES_TO = lazily(rb"(?i)[:{]\s{0,60}[\"']?pass[\"']?:[ \t]{0,9}[\"']?\Z")  # the first in its mapping
# Its letters first, which are found ten times as fast in one case as in both.
_NAME_IN_TEXT = lazily(rb"name(?<!\wname)[\"']?:[ \t]{0,9}[\"']?([\w./-]{1,99})")
_NAMED_SID = lazily(rb"(?:(?:\b|_)(?i:sid)|[a-z]Sid)[\"']?\s{0,9}[:=]\s{0,9}[\"'`]?\Z")


def find_spans(
    text: bytes, path: str, custom: tuple[Rule, ...] = (), *, encoded: bool = True
) -> Iterator[Span]:
    """Yield each possible secret in a text and, if `encoded`, in its Base64, with the verdict on it.

    Those that are rejected have no confidence. Spans may overlap, and come in no order. `custom` are rules of
    the project. The kind of file follows from `path`; "" is text of no kind.
    """
    runs = _token_runs(text)
    yield from _tokens_of_project(text, custom)
    if runs:
        yield from _tokens(text, runs)
    if encoded:
        yield from _encoded(text, runs, custom)
        if path.endswith((".jsonl", ".ndjson")):  # logs, transcripts, and what an agent passes to a hook
            yield from _spans_in_json(text, custom)
    yield from _urls(text, path)
    name = os.path.basename(path).lower().encode(errors="replace")
    of_file = keyword_patterns().get(b"/" + name, ())
    for pattern in of_file:
        for found in pattern.regex.finditer(text):
            yield judge_span(pattern.rule, found.span(1), found[1])
    detectors = _keyword_detectors()
    language = language_of(path)
    if language.kind == "json" and JSON_SETTINGS.search(path):
        language = language._replace(kind="config")
    resume_at: dict[bytes, int] = {}
    if language.kind == "source":
        yield from _literal_spans(text, path)
    elif language.kind != "log":
        yield from _password_hashes(text)
    yield from _keys_with_plus(text)
    if language.kind in ("docs", "none"):
        yield from _values_in_tables(text, path)
    for word, start, end, candidates in keyword_hits(text, language, _keywords()):
        if candidates:
            for candidate in candidates:
                yield _judge_in_text(text, _with_all_parts(text, candidate), path)
        # Don't look at the same text twice, nor at what only looks like the keyword once it is folded.
        elif (
            start >= resume_at.get(word, 0)
            and text[end - len(word) : end].lower().replace(b"'", b'"') == word
        ):
            spans, resume_at[word] = detectors[word](text, end)
            yield from spans
    if not of_file and len(text) < 2 * MAX_VALUE:
        yield from _whole_file(text, path)


def _whole_file(text: bytes, path: str) -> Iterator[Span]:
    """Yield all that a file holds if that is one value, and the file's name one of a secret: db_password.txt.

    If the value looks random, its folder may have that name instead. Source, such as pw.py, holds code.
    """
    value = text.strip()
    if not 8 <= len(value) <= MAX_VALUE or len(value.split()) > 1 or value[:1] == b"{":
        return
    folder, name = os.path.split(path)
    name = name.removesuffix(".txt")
    kind = kind_of_name(name)
    if not kind and looks_random(latin1(value)):  # secrets/shop, or a key of WireGuard in private/10.0.0.1
        name = os.path.basename(folder)
        is_key = name in ("private", "preshared") and len(value) == 44
        kind = "key" if is_key else kind_of_name(name)
    if kind and language_of(path).kind != "source":
        start = text.find(value)
        candidate = Candidate(start, start + len(value), kind, name, "=", "", latin1(value), "config")
        yield judge_candidate(candidate, path)


def _literal_spans(text: bytes, path: str) -> Iterator[Span]:
    """Yield bare values that are assigned in strings of source that have several lines: a .env in a test."""
    for begin, literal in literals(text, language_of(path)):
        found = (candidates or () for *_, candidates in keyword_hits(literal, IN_LITERAL, _keywords()))
        for candidate in chain.from_iterable(found):
            if not candidate.quote:  # in quotes, it is found as in any source
                span = judge_candidate(candidate, path)
                yield span._replace(start=begin + span.start, end=begin + span.end)


def _judge_in_text(text: bytes, c: Candidate, path: str) -> Span:
    """Return the verdict on a candidate, low at most if what stands around it says that it is uncertain."""
    reason = ""
    if c.value.isalpha() and _is_apart(text, c):
        reason = "it is a word below or beside a label"
    elif _HEX_KEY.match(c.value) and _KNOWN_ANSWER.search(text, max(0, c.start - 400), c.end + 400):
        reason = "it is beside what it encrypts, in a test vector"
    elif _is_among_hashes(text, c):
        reason = "it is one of many hashes, most of them of something else"
    elif _is_of_resource(text, c):
        reason = "it is the id of a resource in a URL"
    elif _passes_to_name(text, c):
        reason = "it is a name in the same text, and `pass` is a verb"
    return judge_candidate(c, path, reason)


def _is_among_hashes(text: bytes, c: Candidate) -> bool:
    """Return whether the lines around a value in hex have as long ones under names of no secrets, too."""
    if not _HEX_HASH.match(c.value):
        return False
    around = text[max(0, c.start - _REACH_OF_HASHES) : c.end + _REACH_OF_HASHES]
    names = [name for name, value in _HASH_LINE.findall(around) if len(value) == len(c.value)]
    others = sum(not kind_of_name(latin1(name)) for name in names)
    return len(names) > 7 and (others > 3 or c.before[-1:] == "/")


def _is_of_resource(text: bytes, c: Candidate) -> bool:
    """Return whether the value of a "token" stands in the path of a URL, too, after a plural: checkouts/V."""
    if c.language != "source" or c.kind != "token" or not _RESOURCE_ID.match(c.value):
        return False
    at = text.find(b"s/" + c.value.encode("latin-1"))
    return bool(_COLLECTION.search(text, max(0, at - 40), at + 2)) if at > 0 else False


def _is_apart(text: bytes, c: Candidate) -> bool:
    """Return whether a value is in a table, where its quote is "`", or bare on a line below its name."""
    before = text[max(0, c.start - MAX_VALUE) : c.start]
    return c.quote == "`" or (not c.quote and b"\n" in before[len(before.rstrip(b" \t\r\n>*`\"'")) :])


def _passes_to_name(text: bytes, c: Candidate) -> bool:
    """Return whether `pass` begins a mapping, as in `action: {pass: tea}`, and the text has `name: tea`."""
    if c.name.lower() != "pass" or looks_random(c.value):
        return False
    before = text[max(0, c.start - 99) : c.start]
    return bool(_PASSES_TO.search(before)) and c.value.encode("latin-1") in _names_in(text)


@lru_cache(1)  # one search for all values of a text
def _names_in(text: bytes) -> frozenset[bytes]:
    """Return the values that a text has under the key `name`."""
    return frozenset(_NAME_IN_TEXT.findall(text))


# --- tokens ---

_RUN = b"a" * 20
_TOKEN_LETTERS = NAME_LETTERS + b"+/%=:$|"
_LITERAL_QUOTES = b"\"'"
_SIGNS = b"+/%.:$|~="  # what else tokens have, before a run that isn't the first of its token
_MARKS = _SIGNS + _LITERAL_QUOTES + b"\\"  # before a run in which a token may begin or go on
_JOINS = b" \t\r\n\\+.<>&\"'"  # what can be between two literals
_JOIN = rb"[ \t]{0,9}(?:\+|\.|<>|&)?[ \t]{0,9}\\?(?:\r?\n[ \t]{0,40})?(?:(?:\+|\.|<>|&)[ \t]{0,9})?"
_LITERAL = lazily(rb"(?P<part>[^\"'\\\n]{1,200})[\"']")
_LITERAL_BEFORE = lazily(rb"([\"'])([^\"'\\\n]{1,80})\1" + _JOIN + rb"\1\Z")
_LITERAL_AFTER = lazily(rb"([\"'])" + _JOIN + rb"\1(?P<part>[^\"'\\\n]{1,200})")
_MAX_PARTS = 8  # of a split token before its longest
_HASH_NAMES = (b"sha1:", b"sha256:", b"sha512:")  # what precedes most runs in lock files
_REACH_OF_PREFIX = 100  # bytes from a prefix to the first run in its token
_WORD_BEGIN = lazily(rb"(?s)(?<![A-Za-z0-9_-])[A-Za-z0-9].")
_TWO_CLASSES = bytes(97 if (chr(n).isalnum() and n < 128) or n in b"_-" else 32 for n in range(256))
# Text in Base64, by the bits that are zero in ASCII; of random letters, one in 30,000 looks like it.
_ENCODED_TEXT = lazily(rb"(?:[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9_-]){5}")
_BASE64 = lazily(rb"(?:[A-Za-z0-9+/]{60,76}\r?\n[ \t]*)*[A-Za-z0-9+/_-]+={0,2}")  # also in lines
_NO_TEXT = lazily(rb"[\0-\x08\x0e-\x1f]")
_BASE64_BEFORE = lazily(rb"(?=(?:\D{0,59}\d){3})(?=(?:[^A-Z]{0,59}[A-Z]){3})[A-Za-z0-9+/]{60}")
_AWS_SECRET = lazily(rb"(?<![A-Za-z0-9+/=_.-])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=_(-]|\.[a-z])")
_HEX_OR_WORDS = lazily(rb"[0-9a-f]+|[0-9A-F]+|[A-Za-z/+]+")  # a hash, or words
_BESIDE_ID = 200  # bytes between an AWS key id and its secret


def _token_runs(text: bytes) -> list[tuple[int, int]]:
    """Return (begin, end) of each run of 20 or more letters, digits, _ and -."""
    find = text.translate(_TWO_CLASSES).find
    end = 0
    runs: list[tuple[int, int]] = []
    while end >= 0 and (start := find(_RUN, end)) >= 0:
        end = find(b" ", start)
        runs.append((start, end if end >= 0 else len(text)))
    return runs


def _tokens(text: bytes, runs: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """Yield tokens of built-in rules, and secrets beside AWS key ids.

    A token is found by a run in it: its first, or a later one if a sign of tokens, or a quote, is before it.
    The loop sees each run, so every step counts.
    """
    known = prefixes()
    texts, sized = known.texts, known.sized
    done = 0  # where the last token ends
    searched = 0  # the beginnings of tokens before this have been looked at
    for start, end in runs:
        found = texts.get(text[start : start + 2])  # the literals with these first two bytes
        if not found and text[start - 1] not in _MARKS and end - start not in sized:
            continue  # most runs
        begins = found and text.startswith(found, start)
        before = _before_run(text[start - 3 if start > 2 else 0 : start])
        if before == "escape" and not begins and text[start] in b"nrt":  # which is a part of the escape
            start += 1
            begins = text.startswith(texts.get(text[start : start + 2], ()), start)
        if not (begins or before or end - start in sized) or start < done:
            continue
        span = None
        if begins or before == "lead" or end - start in sized:
            span = _token_at(text, start, end - start)
        if span:
            pass
        elif before in ("lead", "sign"):
            if searched < start - 1 and _may_go_on(text[start:end], text[start - 1]):
                span = _token_around(text, max(searched, start - _REACH_OF_PREFIX), start)
                searched = end
        elif text[start - 1] in _LITERAL_QUOTES and (begins or _is_joined(text, start)):
            span = _split_token(text, start)
        if span and not _is_in_base64(text, span):
            done = span.end
            yield span
            if span.rule.id == "aws-access-key":
                yield from _aws_secrets(text, span)


@lru_cache(1 << 12)
def _before_run(before: bytes) -> str:
    """Return what the three bytes before a run are to it; "" for nothing.

    It is "lead" if the lead of a token's literal may end there, "sign" for another sign that tokens have,
    "joined" for a quote that another literal may precede, and "escape" for a backslash.
    """
    joints = prefixes().joints
    if before in joints or before[-2:] in joints:
        return "lead"
    last = before[-1:]
    if last in _SIGNS:
        return "sign" if last else ""
    if last == b"\\":
        return "escape"
    ends_literal = before[1:2] in _LITERAL_QUOTES or (before[:1] in _JOINS and before[1:2] in _JOINS)
    return "joined" if last in _LITERAL_QUOTES and ends_literal else ""


def _is_joined(text: bytes, start: int) -> bool:
    """Return whether the same quote is shortly before the one at `start`: a literal that may be joined."""
    before = text[max(0, start - 60) : start - 1].rstrip(b" \t\r\n\\+.<>&")
    return before[-1:] == text[start - 1 : start]


def _may_go_on(run: bytes, last: int) -> bool:
    """Return whether a run may be a later part of a token, by the sign before it.

    After a dot, a short one is a member of an object; words in lower case are those of a path.
    """
    if last == ord("."):
        return len(run) >= 32
    return not (run.islower() and run.translate(None, b"_-").isalpha())


def _split_token(text: bytes, start: int) -> Span | None:
    """Return the token that the literal at `start` makes with those that it is joined to: "ghp_" + "…".

    It begins where one of them does, as in "Bearer " + "ghp_" + "…". Return None if there is none, or if
    nothing is joined.
    """
    begins = [start]  # of the literals, from this one back
    while len(begins) <= _MAX_PARTS:
        before = _LITERAL_BEFORE.search(text, max(0, begins[-1] - 150), begins[-1])
        if not before:
            break
        begins.append(before.start(2))
    for begin in reversed(begins):
        joined, end = _joined_literals(text, begin)
        token = prefixes().match_at(joined, 0)
        if token and end - begin > len(joined):  # what joins the literals is between them
            rule, found = token
            return judge_span(rule, (begin, end), found[0])
    return None


def _joined_literals(text: bytes, start: int) -> tuple[bytes, int]:
    """Return the content of the literal that begins here, joined with those that follow it, and their end.

    Return (b"", start) if no literal begins here.
    """
    joined = b""
    end = start
    part = _LITERAL.match(text, start)
    while part and len(joined) < MAX_VALUE:
        joined += part["part"]
        end = part.end("part")
        part = _LITERAL_AFTER.match(text, end)
    return joined, end


def _with_all_parts(text: bytes, c: Candidate) -> Candidate:
    """Return a candidate of source with the literals that follow its own, joined: "k3Xw" + "9vQ2".

    Return it as it is if none follow, or if they have white space.
    """
    if c.language != "source" or not c.quote:
        return c
    joined, end = _joined_literals(text, c.start)
    if end <= c.end or re.search(rb"\s", joined):  # a message may be in several parts, too
        return c
    return c._replace(end=end, value=latin1(joined), after=latin1(rest_of_line(text, end)))


def _token_around(text: bytes, begin: int, start: int) -> Span | None:
    """Return the token that the run at `start` is in and that begins before it, from `begin` on; or None."""
    begin += len(text[begin:start].rstrip(_TOKEN_LETTERS))
    texts = prefixes().texts
    words = _WORD_BEGIN.findall(text, begin, start)
    if texts.keys().isdisjoint(words) or text.endswith(_HASH_NAMES, 0, start):  # most runs
        return None
    for word in _WORD_BEGIN.finditer(text, begin, start):
        at = word.start()
        found = texts.get(text[at : at + 2])
        span = _token_at(text, at) if found and text.startswith(found, at) else None
        if span and span.end > start:
            return span
    return None


def _is_in_base64(text: bytes, span: Span) -> bool:
    """Return whether a token is in the middle of Base64, such as an image; with `_` or `-` it isn't."""
    value = text[span.start : span.end]
    if not value.translate(None, b"+/=").isalnum():
        return False
    return bool(_BASE64_BEFORE.fullmatch(text, max(0, span.start - 60), span.start))


def _token_at(text: bytes, start: int, size: int = 0) -> Span | None:
    """Return the token that begins here or, with a prefix such as "v1.", before this run, judged; else None.

    `size` is the length of the run, by which tokens without a prefix are found. A token whose checksum is
    wrong, or that has expired, is medium at most; Twilio's key is low where it is an id.
    """
    token = prefixes().match_at(text, start, size)
    if not token:
        return None
    rule, found = token
    # An API key of Twilio has a secret beside it, and an id.
    if rule.id == "twilio-key" and _NAMED_SID.search(text, max(0, start - 30), start):
        return judge_span(rule, found.span(), found[0], reason="it is an identifier")
    doubt = doubt_about(rule.id, found[0])
    return judge_span(rule, found.span(), found[0], reason=doubt, at_most="medium")


def _encoded(text: bytes, runs: list[tuple[int, int]], custom: tuple[Rule, ...]) -> Iterator[Span]:
    """Yield the secrets in text that Base64 encodes, as spans of the Base64; Base64 in that isn't decoded."""
    is_text = _ENCODED_TEXT.match
    last = ord("f")  # its first letter is this or a smaller one
    begins = [start for start, _ in runs if text[start] <= last and is_text(text, start)]
    if runs and runs[0][0] == 0 and begins[:1] != [0]:  # the text may begin within a group of four
        aligned = _ENCODED_TEXT.search(text, *runs[0])
        if aligned:
            begins.insert(0, aligned.start())
    done = 0
    for begin in begins:
        run = _BASE64.match(text, begin) if begin >= done else None
        if not run:
            continue
        done = run.end()
        joined = b"".join(run[0].split())
        plain = decode64(joined[: len(joined) // 4 * 4])
        spans = list(find_spans(_NO_TEXT.split(plain, 1)[0], "", custom, encoded=False))
        if not spans:
            continue
        # Of each character of the Base64, without its line breaks.
        places = [begin + letter.start() for letter in re.finditer(rb"\S", run[0])]
        yield from (_in_base64(span, places) for span in spans)


def _in_base64(span: Span, places: Sequence[int]) -> Span:
    """Return a span of decoded text as one of the Base64, whose characters are at these places."""
    first = span.start * 4 // 3
    last = min(span.end * 4 // 3, len(places) - 1)
    return span._replace(start=places[first], end=places[last] + 1)


def _aws_secrets(text: bytes, key: Span) -> Iterator[Span]:
    """Yield each possible secret of an AWS key id: 40 characters of Base64, at most 200 bytes from it.

    Those of hex, or of letters and slashes only, are left out: they are hashes, or words.
    """
    rule = pattern_rules()["aws-secret-key"]
    begin = max(0, key.start - _BESIDE_ID)
    end = key.end + _BESIDE_ID
    for found in _AWS_SECRET.finditer(text, begin, end + 1):  # one more: longer Base64 must not pass for it
        if found.end() <= end and not _HEX_OR_WORDS.fullmatch(found[0]):
            yield judge_span(rule, found.span(), found[0])


# --- patterns around keywords ---

_KEY_NOISE = lazily(rb"\\[nrt]|[A-Za-z-]{3,20}: [^\r\n\\]{1,200}")
_BASE64_RUN = lazily(rb"[A-Za-z0-9+/]{16,}")
_KEY_STORE = lazily(  # PKCS 12, or Java's own, by the object identifier of a private key in it
    rb"\*\x86H\x86\xf7\r\x01\x0c\n\x01[\x01\x02]|\+\x06\x01\x04\x01\*\x02[\x11\x13]\x01"
)
_INSERT = lazily(rb"(?i)insert (?:ignore )?into\s{1,9}[^\s(]{1,80}\s{0,9}\Z")
_HASH_IN_ROW = lazily(rb"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})")
_MIN_COLUMN = 16  # bytes of a key or a token in a row of SQL
_ROW_BEGIN = lazily(rb"[\s,]{0,99}(?:--[^\n]{0,300}\n[\s,]{0,99}){0,9}\(")
_ITEM = lazily(  # of a row, with what follows it: a plain string, or anything else
    rb"(?s)\s{0,40}(?:(?:[NnEe]|_\w{1,20})?'((?:[^'\\]|\\.|''){0,8000})'(?:::[\w .]{1,40})?"
    rb"|[^,()']{0,200}(?:'[^']{0,8000}'|\((?:[^()]|\([^()]{0,99}\)){0,200}\))?)\s{0,40}[,)]"
)
_ROW_END = lazily(rb"\)(?=\s{0,40},\s{0,40}\()|;\s{0,9}\n")  # or the end of all rows
_MAX_IN_ROW = 1 << 13  # bytes of a value, or to the end of a row that can't be read
_WEB_KEY_MEMBER = lazily(  # a private one: RFC 7518, 6.2.2, 6.3.2 and 6.4
    rb"""(?<![\w-])(?:k|d[pq]?|p|qi?)\\{0,3}["']?\s{0,9}(?::|=>)\s{0,9}\\{0,3}["']([\w-]{16,})"""
)
_RSA_NUMBER = lazily(  # of a private key: "D":"…" or <D>…</D>
    rb"""(?<!\w)(?:D|DP|DQ|InverseQ|P|Q)(?:\\{0,3}["']\s{0,9}:\s{0,9}\\{0,3}["']|>)"""
    rb"""((?:[A-Za-z0-9+/]|\\{1,2}u002[Bb]){40,}={0,2})"""
)
# Signs in keys, from a plus on: the rule, how many characters of the key are before the plus, and the key.
_PLUS = lazily(rb"\+(?:AS[tb]|ACR|(?<=u\+))")  # one byte first, which is found much faster than two
_WITH_PLUS = {
    b"+": (
        "pagerduty-key",
        1,
        lazily(rb"(?<![\w+/-])u\+(?=[A-Za-z_-]{0,17}\d)(?=[a-z\d_-]{0,17}[A-Z])[\w-]{18}(?![\w+/=-])"),
    ),
    b"+ASt": ("azure-account-key", 76, lazily(rb"(?<![\w+/])[A-Za-z0-9+/]{86}==(?![\w+/=])")),
    b"+ASb": ("azure-account-key", 33, lazily(rb"(?<![\w+/])[A-Za-z0-9+/]{43}=(?![\w+/=])")),
    b"+ACR": ("azure-registry-key", 42, lazily(rb"(?<![\w+/])[A-Za-z0-9+/]{52}(?![\w+/=])")),
}


@cache
def _keyword_detectors() -> dict[bytes, Detector]:
    """Return {keyword: the detector that looks at the text around it}; keywords are in lower case."""
    detectors: dict[bytes, Detector] = {
        keyword: partial(_match_patterns, patterns)
        for keyword, patterns in keyword_patterns().items()
        if keyword.rfind(b"/") != 0  # else it is a file's name
    }
    detectors[b"private key"] = _private_key
    detectors[b"values"] = _inserted_rows
    web_key = partial(_key_object, "json-web-key", _WEB_KEY_MEMBER)  # RFC 7517
    detectors.update(dict.fromkeys((b'kty"', b"kty\\", b"kty:"), web_key))
    rsa_key = partial(_key_object, "rsa-parameters", _RSA_NUMBER)  # as .NET writes them
    # Its only rare letter is its last: without what follows, it would be looked for at each rare letter.
    detectors.update(dict.fromkeys((b'inverseq"', b"inverseq\\", b"inverseq>"), rsa_key))
    for mark in (b":", b" ", b"\t", b'"'):  # of `kind: Secret`; more files have `kind`
        detectors[mark + b"secret"] = _kube_secret
    return detectors


@cache
def _keywords() -> frozenset[bytes]:
    """Return the keywords of all detectors; a set is hashed once, a tuple for each text."""
    return frozenset(_keyword_detectors())


def _match_patterns(patterns: list[KeywordPattern], text: bytes, at: int) -> Detected:
    """Return ([value], where to go on) of the first pattern that matches around a keyword that ends at `at`.

    Return ((), at) if none does; so do the other detectors for a keyword that leads to nothing.
    """
    for pattern in patterns:
        found = pattern.regex.match(text, at - len(pattern.keyword) - bytes_before_keyword(pattern))
        if found and CHECKS.get(pattern.rule.id, bool)(found[(group := found.lastindex or 0)]):
            return [judge_span(pattern.rule, found.span(group), found[group])], found.end()
    return (), at


def _private_key(text: bytes, at: int) -> Detected:
    """Return ([private key], at), where the keyword that ends at `at` is in the key's first line.

    The key has its first and last line; without a last line, it ends within 600 bytes. An encrypted one has a
    rule of its own. Return ((), at) if it is cut short, or if what follows the first line doesn't look like a
    key.
    """
    begin = text.rfind(b"-----BEGIN ", max(0, at - 60), at)
    head = KEY_LINE.match(text, begin) if begin >= 0 else None
    if not head:
        return (), at
    dashes = text.find(b"-----", head.end(), head.end() + MAX_AHEAD - 200)  # none are in a body
    tail = KEY_LINE.match(text, dashes) if dashes >= 0 else None
    start = text[head.end() : head.end() + 600].partition(b"-----")[0]
    lines = _BASE64_RUN.findall(_KEY_NOISE.sub(b"\n", start))  # or names, if code follows
    body = b"".join(lines)
    # In a document, dots stand for the rest; no RSA key is shorter.
    is_cut = b"..." in start or "…".encode() in start or (b"RSA" in head[0] and len(body) < 200)
    # A hash in hex, of 16 different characters at most, follows in reports of other tools.
    has_line = any(len(line) >= 31 and len(set(line)) > 16 for line in lines)
    if is_cut or not has_line or len(body) < 50:
        return (), at
    rule = pattern_rules()["encrypted-key" if b"ENCRYPTED" in head[0] + start else "private-key"]
    end = tail.end() if tail and tail[1] == b"END" else head.end() + len(start)
    return [judge_span(rule, (head.start(), end), body)], at


def find_key_store(first: bytes, path: str) -> Span | None:
    """Return the place of a private key in a binary file that is a key store; None if it isn't one.

    Android's debug.keystore doesn't count: everybody has the same.
    """
    begins = first.startswith((b"0", b"\xfe\xed", b"\xce\xce")) and not path.endswith("debug.keystore")
    found = _KEY_STORE.search(first) if begins else None
    return judge_span(pattern_rules()["encrypted-key"], found.span(), found[0]) if found else None


def _inserted_rows(text: bytes, at: int) -> Detected:
    """Return (values in secrets' columns, end of the last row read) for an SQL VALUES that ends at `at`.

    Return ((), at) unless `INSERT INTO table (columns)` precedes it, with a secret's column. Stop after 50
    values that are likely secrets.
    """
    columns = text[max(0, at - 2000) : at - len("values")].rstrip()
    if columns[-1:] != b")":  # without their names, nothing says which column is a secret's
        return (), at
    table, _, columns = columns.rpartition(b"(")
    names = [name.strip(b" \n\r\t\"'`[]") for name in columns[:-1].split(b",")]
    if not _INSERT.search(table[-120:]) or not any(map(kind_of_raw_name, names)):
        return (), at
    spans: list[Span] = []
    likely = 0  # how many of them are likely secrets
    row = _ROW_BEGIN.match(text, at)
    while row and likely < MAX_ITEMS:
        values, end = _row_values(text, row.end(), len(names))
        found = [*filter(None, map(partial(_judge_in_row, text), names, values))]
        spans += found
        likely += sum(span.confidence in ("medium", "high") for span in found)
        at = end or row.end()
        row = _ROW_BEGIN.match(text, end) if end else None  # no next row after one that can't be read
    return spans, at


def _row_values(text: bytes, at: int, count: int) -> tuple[list[re.Match[bytes]], int]:
    """Return up to `count` values of a row, and where the row ends, 0 if that isn't clear.

    The group of a value is what a plain string has in its quotes; it is missing for anything else.
    """
    values: list[re.Match[bytes]] = []
    while len(values) < count:
        value = _ITEM.match(text, at)
        if not value:
            break
        values.append(value)
        at = value.end()
        if value[0].endswith(b")"):  # the row has fewer values than columns, or just as many
            return values, at
    # Here is a value that can't be read, or one too many; look for the end of the row without reading it.
    end = _ROW_END.search(text, at, at + _MAX_IN_ROW)
    return values, end.end() if end and end[0] == b")" else 0


def _judge_in_row(text: bytes, column: bytes, value: re.Match[bytes]) -> Span | None:
    """Return the verdict on a value of SQL in this column.

    Return None if the column isn't a secret's, or if the value is too short or long, has several lines, or
    isn't a plain string.
    """
    kind = kind_of_raw_name(column)
    string = value[1] if value.lastindex else b""
    # Shorter ones are ids, of a token for instance.
    least = 1 if kind == "pass" else _MIN_COLUMN
    if not kind or b"\n" in string or not least <= len(string) <= MAX_VALUE:
        return None
    if kind == "pass" and _HASH_IN_ROW.fullmatch(string):
        return judge_span(pattern_rules()["password-hash"], value.span(1), string)
    after = latin1(rest_of_line(text, value.end(1)))
    return judge_candidate(
        Candidate(*value.span(1), kind, latin1(column), "=", "'", latin1(string), "source", after=after)
    )


def _key_object(rule: str, member: re.Pattern[bytes], text: bytes, at: int) -> Detected:
    """Return ([secret], end of the key) for a key in JSON or XML with the keyword that ends at `at`.

    The secret goes from the first private member, which `member` matches, to the last. A key without any
    gives none; ((), at) means that no key is here.
    """
    first = max(0, at - 4000)
    begin = max(text.rfind(b"{", first, at), text.rfind(b"<RSAKeyValue", first, at))
    ends = [end for mark in (b"}", b"</RSAKeyValue") if (end := text.find(mark, at, at + 4000)) >= 0]
    if begin < 0 or not ends:
        return (), at
    members = [*member.finditer(text, begin, min(ends))]
    if not members:
        return (), min(ends)
    place = (members[0].start(1), members[-1].end(1))
    return [judge_span(pattern_rules()[rule], place, members[0][1])], min(ends)


def _password_hashes(text: bytes) -> Iterator[Span]:
    """Yield hashes of passwords that are known by their own form, such as bcrypt's $2b$…"""
    if b"$" in text:
        rule = pattern_rules()["password-hash"]
        yield from (judge_span(rule, found.span(), found[0]) for found in PASSWORD_HASH.finditer(text))


def _keys_with_plus(text: bytes) -> Iterator[Span]:
    """Yield keys of PagerDuty and Azure, which have a "+" in them.

    As keywords, their signs would be met too often in minified code.
    """
    for sign in _PLUS.finditer(text):
        rule, before, key = _WITH_PLUS[sign[0]]
        found = key.match(text, sign.start() - before)
        if found:
            yield judge_span(pattern_rules()[rule], found.span(), found[0])


# --- tables ---

_CELL = lazily(
    rb"(?<=\|)[ \t]*[`*_]{0,3}([^\s`*_|](?:[^`|\n]{0,298}[^\s`*_|])?)[`*_]{0,3}[ \t\r]*(?=[|\n]|\Z)"
)
_ROW = lazily(rb"\|(?<![^\n]\|)[^\n]*")  # one byte first, which is found much faster than two
_TABLE_RULE = b"|+:=- \t\r\n"  # what is in the line below a header
_LABEL = lazily(rb"[\w.' -]{2,60}\Z")
_MIN_CELL = 4  # bytes of a value in a table


def _values_in_tables(text: bytes, path: str) -> Iterator[Span]:
    """Yield secrets in tables of Markdown and its like: below a header, or beside the label of a row."""
    labels: list[tuple[int, int]] = []  # the header's cells
    cells: list[tuple[int, int]] = []  # of the row before
    for row in _ROW.finditer(text):
        if not row[0].strip(_TABLE_RULE):  # the line below a header
            labels = cells
            continue
        cells = [cell.span(1) for cell in _CELL.finditer(text, *row.span())]
        for label, cell in [*zip(labels, cells), *zip(cells[:1], cells[1:])]:
            candidate = _named_cell(text, label, cell)
            if candidate:
                yield _judge_in_text(text, candidate, path)


def _named_cell(text: bytes, label: tuple[int, int], cell: tuple[int, int]) -> Candidate | None:
    """Return the candidate in a table's cell; None unless that has one word and its label names a secret.

    `label` and `cell` are places in the text.
    """
    value = text[slice(*cell)]
    words = _LABEL.match(text, *label)
    if not words or len(value) < _MIN_CELL or len(value.split()) > 1:
        return None
    name = latin1(words[0]).replace(" ", "_")
    kind = kind_of_name(name)
    return Candidate(*cell, kind, name, ":", "`", latin1(value), "docs") if kind else None


# --- URLs ---

# RFC 3986, but people forget to encode # and @, and JSON may escape &.
_URL_USER = rb"://([A-Za-z0-9_.%+~@-]{0,64}):"  # or an e-mail address
_IN_USERINFO = rb"[^\s/?\"'<>`\\{}\[\]|]"
_URL_HOST = rb"([A-Za-z0-9.-]{0,80})"
_USERINFO = lazily(
    _URL_USER + rb"(" + _IN_USERINFO + rb"{0,200}(?:\\u00[2-7][0-9A-Fa-f]" + _IN_USERINFO + rb"{0,200}){0,9})"
    rb"@" + _URL_HOST
)
_PORT = lazily(rb"\d{1,5}#")  # of a URL with a fragment
_MAX_LOGIN = 200  # bytes of it on either side of its @
_GO_HOST = lazily(rb"@(?:tcp|unix)\(")
_DSN_USERINFO = lazily(rb"(?<![\w.-])([\w.-]{1,64}):([^\s:\"'`]{3,100})@(?:tcp|unix)\(([\w.-]{0,80})")
_PLAIN_USER = lazily(rb"(?i)(?:user(?:name)?|usr|foo|me|[au]|name|login|scott)\Z")
_PLAIN_HOST = lazily(rb"host(?:name)?|.*example.*|\..*")


def _urls(text: bytes, path: str) -> Iterator[Span]:
    """Yield passwords in URLs and in the logins of Go's MySQL driver; what looks like an example is low.

    A password that people choose is judged by its own rule.
    """
    if b"@" not in text:
        return
    rule = pattern_rules()["url-password"]
    language = language_of(path).kind
    for found in chain(_USERINFO.finditer(text), _go_dsns(text)):
        user, password, host = found.groups()
        if not 3 <= len(password) <= 200 or _PORT.match(password):
            continue
        password = _JSON_ESCAPE.sub(decode_escape, password)
        # An example: a user and a password that are words, a host such as example.com, or xxx.
        plain = _PLAIN_USER.match(user) and wordness(latin1(password)) in "456789"
        is_sample = plain or _PLAIN_HOST.fullmatch(host) or len(set(password.lower())) < 3
        # What people read, comments for instance, shows what a URL looks like.
        file = about_path(path)
        begin = text.rfind(b"\n", max(0, found.start() - 200), found.start()) + 1
        is_text = file.is_translation or file.is_package or is_comment(latin1(text[begin : found.start()]))
        if is_text and not looks_random(latin1(password)):
            is_sample = True
        reason = "its user, its host or its password is an example" if is_sample else ""
        place = found.span(2)
        candidate = Candidate(*place, "pass", "password", ":", "", latin1(password), language)
        if not is_sample and is_weak_password(candidate):
            yield judge_candidate(candidate, path)
        else:
            yield judge_span(rule, place, password, reason=reason)


def _go_dsns(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield matches of logins of Go's MySQL driver, with groups for user:password@tcp(host)."""
    for host in _GO_HOST.finditer(text):
        at = host.start()
        logins = _DSN_USERINFO.finditer(text, max(0, at - _MAX_LOGIN), at + _MAX_LOGIN)
        yield from (login for login in logins if login.end(2) == at)


# --- Kubernetes ---

_KUBE_REACH = MAX_AHEAD // 2  # bytes of an object before its kind, and after it
_KUBE_KIND = lazily(rb"""kind\\?["']?\s?:\s?\\?["']?Secret(?!\w)""")
_KUBE_NO_ENTRY = rb"[ \t]{0,200}(?:#[^\n]{0,200}|\{\{[^\n]{0,200}|\r?)\n"  # but a comment or a line for Helm
_KUBE_DATA = lazily(
    rb"""(?<![\w.-])(data|stringData)\\?["']?\s?:[ \t]?"""
    rb"(?:(\{)|(?:#[^\n]{0,200}|\r?)\n(?:" + _KUBE_NO_ENTRY + rb"){0,50}([ \t]{1,200})(?=[^\s#{]))"
)
_KUBE_ENTRY = (
    rb"""\\?["']?([\w.-]{1,253})\\?["']?:[ \t]{0,9}\\?["']?([^\s"'\\{}\[\],|>&*!%@`#<$][^\s"'\\,}]{3,})"""
)


def _kube_secret(text: bytes, at: int) -> Detected:
    """Return (members, end) of the Kubernetes Secret whose `kind: Secret` ends at `at`, judged.

    Return ((), at) if the keyword isn't the kind of an object.
    """
    kind = text.rfind(b"kind", max(0, at - 20), at)
    if kind < 0 or not _KUBE_KIND.match(text, kind):
        return (), at
    spans: list[Span] = []
    begin, end = _kube_object(text, kind)
    while data := _KUBE_DATA.search(text, begin, end):
        entries, begin = _kube_entries(text, data, end)
        for entry in entries:
            spans += _kube_entry(entry, data[1] == b"data")  # else stringData, which isn't encoded
    return spans, end


def _kube_object(text: bytes, kind: int) -> tuple[int, int]:
    """Return (begin, end) of the object whose `kind` is at this place.

    It begins at its `apiVersion` or, if that is below its kind, at `---`, and ends at the next of these, at
    most 8 KiB from its kind on both sides.
    """
    begin = max(text.rfind(b"\n---", max(0, kind - _KUBE_REACH), kind), kind - _KUBE_REACH, 0)
    end = find_or_end(text, b"\n---", kind, kind + _KUBE_REACH)
    version = text.rfind(b"apiVersion", begin, kind)
    if version < 0:  # it is below its kind
        return begin, find_or_end(text, b"apiVersion", find_or_end(text, b"apiVersion", kind, end) + 1, end)
    return version, find_or_end(text, b"apiVersion", kind, end)


def _kube_entries(text: bytes, data: re.Match[bytes], end: int) -> tuple[Iterable[re.Match[bytes]], int]:
    """Return (members, end) of a `data`, in braces or indented; a member's groups are its name and its value.

    `data` is a match of its beginning, and `end` the end of the object that it is in.
    """
    if data[2]:
        start = data.start(2)
        end = find_or_end(text, b"}", data.end(), end)
        begin = rb"[{,]\s{0,200}"
    else:
        start = data.start(3)
        indent = len(data[3])
        # A line that is indented less ends it, unless it is a comment or for Helm.
        close = re.compile(rb"(?m)^[ \t]{0,%d}(?!\{\{)[^\s#]" % (indent - 1)).search(text, start, end)
        end = close.start() if close else end
        begin = rb"(?m)^[ \t]{%d}(?=\S)" % indent
    return re.compile(begin + _KUBE_ENTRY).finditer(text, start, end), end


def _kube_entry(entry: re.Match[bytes], encoded: bool) -> Iterator[Span]:
    """Yield a member of `data`, which is encoded, or `stringData`, judged; for a file with secrets, these.

    Left out are what should be Base64 and isn't, certificates, less than 3 bytes, and binary data in which
    few bytes differ.
    """
    value = plain = entry[2]
    if encoded:
        if len(value) % 4 or not re.fullmatch(rb"[A-Za-z0-9+/]{4,}={0,2}", value):
            return
        plain = decode64(value)
        in_file = [span for span in _in_kube_file(latin1(entry[1]), plain) if span.confidence]
        if in_file:
            places = range(*entry.span(2))
            yield from (_in_base64(span, places) for span in in_file)
            return
    text = plain.decode("utf-8", "replace")
    is_readable = "\ufffd" not in text and re.sub(r"[\r\n\t]", "", text).isprintable()
    is_random = len(set(plain)) * 4 > min(len(plain), 256)
    if len(plain) < 3 or b"BEGIN CERTIFICATE" in plain or not (is_readable or is_random):
        return
    rule = pattern_rules()["kubernetes-secret"]
    place = entry.span(2)
    candidate = Candidate(*place, "secret", latin1(entry[1]), ":", "'", latin1(plain), "config")
    yield judge_span(rule, place, plain if is_readable else value, candidate)


def _in_kube_file(name: str, plain: bytes) -> Iterable[Span]:
    """Return the spans in a member that is a file: JSON, or text of several lines; none for any other."""
    if _JSON_BEGIN.match(plain):  # .dockerconfigjson, for instance
        return find_spans(plain, f"{name}.json", encoded=False)
    if b"\n" in plain.strip():
        return find_spans(plain, name, encoded=False)
    return ()


# --- JSON ---

_JSON_BEGIN = lazily(rb'\s*(?:\{\s*["}]|\[\s*["\[\]{])')
_JSON_PART = lazily(rb'(?:[^"\\\n]+|\\.)+')  # what is in a string, or between two
_JSON_ESCAPE = lazily(  # RFC 8259, 7
    rb"""\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|["\\/bfnrt])"""
)
_CUT_ESCAPE = lazily(rb"(?<!\\)(?:\\\\){0,99}\\(?:u[0-9a-fA-F]{0,3})?\Z")
_JSON_KEY = lazily(rb'(?<!\\)"\s{0,9}:\s{0,9}\Z')
_JSON_PIECE = lazily(rb'["\n]|(?:[^"\\\n]+|\\[^\n])+')  # a string never goes on after a line break
_JSON_NAME = lazily(rb'[\w.:$ -]{1,40}"\s{0,9}:')  # none is longer than a line of a private key
_JSON_LITERAL = lazily(rb"(?<![^\s,:\[\]{}])(?!(?:true|false|null)\b)[^\s,:\[\]{}]+")
_MAX_JSON_DEPTH = 3  # JSON in a string of JSON in a string of JSON


def path_by_content(path: str, first: bytes) -> str:
    """Return "stdin.jsonl" for stdin, "-", if its content begins like JSON; else the path itself."""
    return "stdin.jsonl" if path == "-" and _JSON_BEGIN.match(first) else path


def mask_in_json(text: bytes, start: int, end: int) -> tuple[int, bytes, int]:
    """Return (begin, mask, end): in JSON, the mask instead of begin to end hides start to end, and is valid.

    A place may take in several strings, as a private key in a list of its lines does: between them, only
    punctuation, short names and words like `null` stay.
    """
    if _CUT_ESCAPE.search(text, max(0, start - 200), start):  # the place begins within an escape
        start = text.rindex(b"\\", 0, start)
    masked = b""
    after = start
    in_string = not _JSON_KEY.search(text, max(0, start - 40), start)  # else it is a number
    for piece in _JSON_PIECE.finditer(text, start, end):
        after = piece.end()
        if piece[0] in (b'"', b"\n"):
            in_string = not in_string and piece[0] == b'"'
            masked += piece[0]
        elif not in_string:
            masked += _JSON_LITERAL.sub(b'"***"', piece[0])
        elif masked and _JSON_NAME.match(text, piece.start()):
            masked += piece[0]
        else:
            masked += b"***"
    return start, masked, after


def _spans_in_json(text: bytes, custom: tuple[Rule, ...], depth: int = 1) -> Iterator[Span]:
    """Yield secrets that show when escapes in strings are undone, as places in the text with its escapes.

    JSON in a string of JSON is searched as well, up to three levels. The text may begin anywhere, in a string
    as well.
    """
    for part in _JSON_PART.finditer(text):
        if b"\\" not in part[0]:  # it is found as it is written
            continue
        plain = _JSON_ESCAPE.sub(decode_escape, part[0])
        spans = list(find_spans(plain, "", custom, encoded=False))
        if depth < _MAX_JSON_DEPTH and b"\\" in plain:
            spans += _spans_in_json(plain, custom, depth + 1)
        if not spans:
            continue
        places = decoded_places(part[0], _JSON_ESCAPE, range(len(part[0]) + 1))
        for span in spans:
            first, end = places[span.start], places[span.end]
            yield span._replace(start=part.start() + first, end=part.start() + end)


# --- rules of a project ---


def custom_rule(name: str, pattern: str) -> Rule:
    """Return the rule that a project defines as "acmw_(live|test)_ {A32}": a prefix and a shape.

    Raises BadValue unless the prefix is literal, the shape linear (classes, at most one with a range), and a
    sample of it found with the rule's confidence.
    """
    prefix, _, shape = map(str.strip, pattern.strip().partition(" "))
    if not re.fullmatch(r"[\w-]+", name) or name in ("known-value", *(rule.id for rule in all_rules())):
        raise BadValue(f"{show(name)} can't be a rule's name, or is one already")
    if not re.fullmatch(r"[\w.:/+%=~-]*(?:\([\w.|-]+\))?[\w.:/+%=~-]*", prefix) or len(prefix) < 3:
        raise BadValue(f"rule {show(name)} has no literal prefix")
    part = r"\{[ABCHKLQTUWXadh][1-9]\d{0,2}(?:,[1-9]\d{0,2})?\}|[\w.:/+%=~-]"
    if "{" not in shape or not re.fullmatch(f"(?:{part}){{1,20}}", shape) or shape.count(",") > 1:
        raise BadValue(f"rule {show(name)} has no shape, or two ranges")
    letters = itertools.count()  # the next letter of a class, for all parts
    sample = re.sub(part, lambda m: _sample_of_part(m[0], letters), shape)
    hit = min(rule_prefixes(prefix), key=len) + sample
    rule = Rule(name, name, "high", "high", prefix, re.sub(r"[.+]", r"\\\g<0>", shape), hit)
    found = [span for span in find_spans(hit.encode(), "", (rule,)) if span.rule == rule]
    if not any(span.confidence == rule.confidence for span in found):
        why = ", ".join({span.reason for span in found}) or "nothing is"
        raise BadValue(f"rule {show(name)} doesn't find its own sample: {why}")
    return rule


def _sample_of_part(part: str, numbers: Iterator[int]) -> str:
    """Return letters for a class such as {A36}, or the part itself if it is a letter.

    `numbers` goes on from part to part, so that many short classes get different letters.
    """
    found = re.match(r"\{(\w)(\d+)", part)
    if not found:
        return part
    letters = make_samples(f"{{{found[1]}999}}")
    return "".join(letters[number % 999] for number in islice(numbers, int(found[2])))


def _tokens_of_project(text: bytes, rules: Iterable[Rule]) -> Iterator[Span]:
    """Yield tokens of a project's rules, by `find`: they may have any letters and any length."""
    literals = [(rule, prefix.encode()) for rule in rules for prefix in rule_prefixes(rule.prefix)]
    for rule, prefix in literals:
        # A word's beginning, maybe after an escape; what begins with a sign needs nothing before it.
        behind = rb"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))" if prefix[:1].isalnum() else b""
        regex = token_regex(prefix, rule.shape, behind)
        at = text.find(prefix)
        while at >= 0:
            found = regex.match(text, at)
            span = judge_span(rule, found.span(), found[0]) if found else None
            if span and not _is_in_base64(text, span):
                yield span
            at = text.find(prefix, span.end if span else at + 1)


# === Scan ===
# Scans a stream of bytes in bounded windows. Values are masked and hashed here: the records that leave this
# section say where a secret is, but never hold one.

CONFIDENCES = ("low", "medium", "high")
READ_SIZE = 1 << 19  # bytes asked for in one read
_CONTEXT = 100  # bytes on either side of a value that say which one it is
# Elsewhere than in these places, it may be a part of another value.
_ASSIGNED_NAME = lazily(
    rb"""(?x)
    (?:^[ \t\#/;-]*(?:[A-Za-z]+\ ){0,3}(?:self\.|this\.|\$)?|[{,][ \t]*(?=["']))  # a line, or JSON
        ["']?([A-Za-z_][\w.-]*)["']?(?::\ ?[A-Za-z]\w*)?[ \t]*(?::=|=>|[:=])[ \t]*["'`]?\Z
    |\$\{([A-Za-z_]\w*):?[=-]\Z  # ${NAME:-value}
    |[(\[]\ ?["']([A-Za-z_][\w.-]*)["'](?:\]\ ?=|,)\ ?(?:default=)?["'`]\Z  # env("NAME", "value")
    """
)
_WIDE_ENCODINGS = {  # by byte order mark, the longer ones first
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# In UTF-16 and UTF-32, a NUL is beside each character of ASCII. Other characters may look like ASCII, but not
# so many.
_ASCII_RUN = lazily(rb"[\t\r\n -~]{32}|\A(?:\xff\xfe\0\0|\0\0\xfe\xff)?[^\0]+\Z")
_BEHIND = 1 << 12  # bytes before a match's start that may matter
_ALLOW = lazily(rb"pragma: {0,99}allowlist {1,99}secret|(?:gitleaks|paissive): {0,99}allow")
_JSON_BREAK = lazily(rb'(?<!\\)"|\\n')  # the end of a string, or of a line in one
_ALLOW_NEXT = lazily(rb"pragma: {0,99}allowlist {1,99}nextline {1,99}secret")
_COMMENT_BEGIN = lazily(  # in any language
    rb"""(?<![\w:])(?:#|//|--|/\*|<!--|;|%|\"{3}|'{3}|rem\b)|^[ \t]*\*"""
)


class Match(NamedTuple):
    """Where a secret is, never its value."""

    rule: Rule
    confidence: str  # may differ from the rule's
    line: int  # of its first character, from 1
    column: int  # of its first character, from 1
    end_line: int
    sample: str  # masked: at most the public prefix and two characters
    identity: int  # hash of the value, keyed by Python: of no use outside of this process
    mark: str  # 16 bits of the name and of the line without values, and 8 of the value, in hex
    silenced: str  # the comment on the line that allows it, or ""
    name: str = ""  # that it is assigned to, if that is a secret's
    why: tuple[str, ...] = ()  # lines that explain the confidence, on request


class _Window(NamedTuple):
    """A part of a text, with what is around it; the repr doesn't show the text."""

    text: bytes
    begin: int  # matches that start here or later, and
    until: int  # before this, belong to this window
    line: int  # number of its first line
    column: int  # characters of that line before the window

    def __repr__(self) -> str:
        return f"<window of {len(self.text)} bytes>"


def chunks_of(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield a file's content, up to READ_SIZE bytes at a time."""
    return iter(lambda: read(READ_SIZE), b"")


def scan(
    chunks: Iterator[bytes],
    path: str,
    *,
    custom: tuple[Rule, ...] = (),
    skipped: Counter[str] | None = None,
    known: Callable[[bytes], list[Span]] | None = None,
    levels: Container[str] = CONFIDENCES,
    explain: bool = False,
) -> Iterator[Match]:
    """Yield the secrets with a confidence of `levels` in a file's content, in order.

    `custom` are rules of the project; the spans that `known` finds take precedence. Of a binary file or an
    archive, only known values and a key store at its beginning are found; it is counted in `skipped`, as
    "binary" or "archive". With `explain`, yield rejected matches too, and the reasons.
    """
    first = next(chunks, b"")
    is_stdin = path == "-"
    path = path_by_content(path, first)
    wide = _wide_encoding(first)
    kind = ""
    # A NUL is what git takes for binary, but some programs also end a text with one, such as a key in PEM.
    if not wide and b"\0" in first[:8000].rstrip(b"\0\n"):
        kind = "archive" if is_archive(first) else "binary"
        if skipped is not None:
            skipped[kind] += 1
        store = find_key_store(first, path)
        if store and store.confidence in levels:
            yield Match(store.rule, store.confidence, 1, 1, 1, "…", hash(first), _mark("", b"", first), "")
        if not known:
            return
    chunks = chain([first.removeprefix(b"\xef\xbb\xbf")], chunks)
    if wide:
        import codecs

        decoded = codecs.iterdecode(chunks, wide, "replace")
        chunks = map(str.encode, decoded)
    for window in _windows(chunks):
        spans = [] if kind else list(find_spans(window.text, path, custom))
        if known:
            spans += known(window.text)
        if spans:
            is_json = language_of(path).kind == "json"
            for match in _matches(window, spans, levels, explain, is_json=is_json):
                # No comment counts on stdin: it may have anybody's words.
                yield match._replace(silenced="") if is_stdin else match


def _wide_encoding(first: bytes) -> str:
    """Return "utf-16" or "utf-32" for a text that begins with such a byte order mark, else "".

    ASCII after a mark is ASCII: programs run such a file, and decoded, it would hide what is in it.
    """
    for mark, encoding in _WIDE_ENCODINGS.items():
        if first.startswith(mark):
            return "" if _ASCII_RUN.search(first) else encoding
    return ""


def mask_found(pieces: Iterable[bytes], path: str, levels: Container[str]) -> Iterator[bytes]:
    """Yield a text with `***` in place of what built-in rules find with these confidences.

    JSON stays valid. No comment allows a value here: a text to be masked may come from anybody.
    """
    chunks = filter(None, pieces)
    first = next(chunks, b"")
    path = path_by_content(path, first)
    is_json = language_of(path).kind == "json"
    done = 0  # leading bytes of a window that belong to a mask before it
    for window in _windows(chain([first], chunks)):
        text = window.text
        at = window.begin + done
        for span in _resolve_overlaps(find_spans(text, path)):
            wanted = span.confidence in levels and at <= span.start < window.until
            if not wanted:
                continue
            start, mask, end = span.start, b"***", span.end
            if is_json:
                start, mask, end = mask_in_json(text, start, end)
            yield text[at:start] + mask
            at = max(at, end)
        yield text[at : window.until]  # nothing, if the last value reaches into the next window
        done = max(at - window.until, 0)


def is_archive(first: bytes) -> bool:
    """Return whether a file with this beginning is a zip, gzip, zstd or tar file."""
    return first.startswith((b"PK\3\4", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) or is_tar(first)


def is_tar(first: bytes) -> bool:
    """Return whether a file with this beginning is a tar of POSIX or GNU."""
    return first[257:262] == b"ustar"


def _windows(chunks: Iterator[bytes]) -> Iterator[_Window]:
    """Yield windows that overlap, so that each match has all it needs on both sides; one for no text."""
    text = next(chunks, b"")
    begin, line, column = 0, 1, 0
    while True:
        more = next(chunks, b"")
        text += more
        if more and len(text) < 4 * MAX_AHEAD:  # else most of a window would be what is around it
            continue
        until = _line_start(text, len(text) - MAX_AHEAD) if more else len(text)
        yield _Window(text, begin, until, line, column)
        if not more:
            return
        keep = _line_start(text, until - _BEHIND)  # what is in front of that isn't needed any more
        line, column = _place_after(text[:keep], line, column)
        text = text[keep:]
        begin = until - keep


def _line_start(text: bytes, near: int) -> int:
    """Return where the line at `near` begins or, if that is over 4 KiB before, the character at `near`."""
    begin = text.rfind(b"\n", near - _BEHIND, near) + 1
    return begin or next((at for at in range(near, near - 4, -1) if text[at] & 0xC0 != 0x80), near)


def _place_after(text: bytes, line: int, column: int) -> tuple[int, int]:
    """Return (line, characters before it on that line) of the end of a text that begins at these."""
    begin = text.rfind(b"\n") + 1
    width = len(text[begin:].decode("utf-8", "replace"))
    return (line + text.count(b"\n"), width) if begin else (line, column + width)


def _matches(
    window: _Window, spans: list[Span], levels: Container[str], explain: bool, *, is_json: bool
) -> Iterator[Match]:
    """Yield a match for each span that begins in a window and has one of these levels.

    Spans that overlap a better one are left out, and so are repetitions: the same value on the same line,
    found by the same rule.
    """
    text = window.text
    at = 0
    line, column = window.line, window.column
    shown = [span for span in _resolve_overlaps(spans) if span.confidence in levels]
    if explain:
        shown += _rejected(spans, {*shown})
        shown.sort(key=lambda span: span.start)
    bare = _without_values(text, spans) if shown else text
    seen = set[tuple[object, ...]]()
    for span in shown:
        if not window.begin <= span.start < window.until:  # it belongs to another window
            continue
        # Lines are counted from one span to the next.
        line, column = _place_after(text[at : span.start], line, column)
        at = span.start
        value = text[at : span.end]
        repeated = line, span.rule, span.confidence, value
        if repeated in seen:
            continue
        seen.add(repeated)
        name = _name_before(text, at)
        yield Match(
            rule=span.rule,
            confidence=span.confidence,
            line=line,
            column=column + 1,
            end_line=line + value.count(b"\n"),
            sample=_mask_sample(span.rule, value),
            identity=hash(value),
            mark=_mark(name, _line_around(bare, at, span.end), value),
            silenced=_allow_comment(text, at, span.end, is_json),
            name=name,
            why=tuple(_reasons(span)) if explain else (),
        )


def _rejected(spans: Iterable[Span], shown: Container[Span]) -> Iterator[Span]:
    """Yield the spans that aren't shown, without a confidence; those that another one overlaps say so."""
    for span in spans:
        if span in shown:
            continue
        if span.confidence:
            span = span._replace(confidence="", reason="a more certain finding overlaps it")
        yield span


def _without_values(text: bytes, spans: list[Span]) -> bytes:
    """Return a text with NULs for the values, but not for known ones: no fingerprint depends on a store."""
    bare = bytearray(text)
    for span in spans:
        if span.rule.id != "known-value":
            bare[span.start : span.end] = bytes(span.end - span.start)
    return bytes(bare)


def _line_around(bare: bytes, start: int, end: int) -> bytes:
    """Return up to 100 bytes before and after a value on its lines, without white space and other values.

    `bare` is a text in which NULs are in place of values.
    """
    before = bare[max(0, start - _CONTEXT) : start].rpartition(b"\n")[2]
    after = bare[end : end + _CONTEXT].partition(b"\n")[0]
    return b"".join((before + after).replace(b"\0", b"").split())


def _mark(name: str, line: bytes, value: bytes) -> str:
    """Return the part of a fingerprint that doesn't depend on the path.

    It has 4 hex digits, of the name and the line, then 2 of the value.
    8 bits of the value rule out 255 of 256 guesses, and more findings of the same value add nothing. The line
    could hold a secret that nobody recognises, so there are only 16 bits of it and of the name.
    """
    import hashlib

    place = hashlib.sha256(name.encode() + b"\0" + line)
    return place.hexdigest()[:4] + hashlib.sha256(value).hexdigest()[:2]


def _resolve_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Return those spans with a confidence that overlap no better one, in order.

    Better is a known value, else one that isn't low, else a format, which says more than a name and a value,
    else one that is high, else the first.
    """
    import bisect

    def rank(span: Span) -> tuple[bool, bool, bool, bool, int]:
        """Return a key that sorts better spans first."""
        low, high = span.confidence == "low", span.confidence == "high"
        return span.rule.id != "known-value", low, is_scored(span), not high, span.start

    chosen: list[Span] = []  # they don't overlap, and are in order
    starts: list[int] = []  # of these
    for span in sorted(filter(lambda span: span.confidence, spans), key=rank):
        after = bisect.bisect_left(starts, span.end)  # the number of those that begin before it ends
        if not after or chosen[after - 1].end <= span.start:
            chosen.insert(after, span)
            starts.insert(after, span.start)
    return chosen


def _mask_sample(rule: Rule, value: bytes) -> str:
    """Return a rule's public prefix, two characters of the rest, or fewer if it has less than 8, and "…"."""
    text = value.decode("utf-8", "replace")
    public = max((p for p in rule_prefixes(rule.prefix) if text.startswith(p)), default="")
    shown = text[: len(public) + min(2, (len(text) - len(public)) // 4)]
    return "".join(c if c.isprintable() else "?" for c in shown) + "…"


def _name_before(text: bytes, at: int) -> str:
    """Return the name that a value here is assigned to, if that is a secret's, else ""."""
    line = text[text.rfind(b"\n", 0, at) + 1 : at]
    match = _ASSIGNED_NAME.search(line, len(line) - 200)
    name = match[match.lastindex or 0].decode() if match else ""
    # Not any word: that could be a part of a value of several lines.
    return name if is_secret(name) else ""


def _allow_comment(text: bytes, start: int, end: int, is_json: bool) -> str:
    """Return the words in a comment that allow a finding, in lower case; "" for none.

    They are on the finding's line or, for the next line, above it. In JSON, only what is in the same string
    counts, and there on the same line: a line of JSON may be a whole prompt or answer, in which others can
    write what they like.
    """
    above = max(text.rfind(b"\n", 0, start), 0)  # the line break above, and the one below
    below = find_or_end(text, b"\n", end, end + _BEHIND)
    before = text[max(above, start - _BEHIND) : start]
    after = text[end:below]
    if is_json:
        before = _JSON_BREAK.split(before)[-1]
        after = _JSON_BREAK.split(after, 1)[0]
    # With the value in it: a comment that begins in front of the value may end behind it.
    found = _in_comment(_ALLOW, (before + text[start:end] + after).lower())
    if not found and not is_json:
        earlier = max(text.rfind(b"\n", 0, above), above - _BEHIND, 0)
        found = _in_comment(_ALLOW_NEXT, text[earlier:above].lower())
    return found


def _in_comment(words: re.Pattern[bytes], lines: bytes) -> str:
    """Return the first match of `words` with the begin of a comment before it on its line; "" for none."""
    if b"allow" not in lines:  # which is found much faster than all words
        return ""
    for found in words.finditer(lines):
        begin = lines.rfind(b"\n", 0, found.start()) + 1
        if _COMMENT_BEGIN.search(lines[begin : found.start()]):
            return found[0].decode()
    return ""


def _reasons(span: Span) -> Iterator[str]:
    """Yield lines that explain the verdict on a span, without the value or its name; none if it is plain."""
    if span.reason:
        outcome = f"{span.confidence} at most" if span.confidence else "no finding"
        yield f"  {outcome}: {span.reason}"
    if span.candidate and is_scored(span):
        weights = load_weights()
        found = [(feature, weights[feature]) for feature in features(span.candidate) if feature in weights]
        found.sort(key=lambda item: (-abs(item[1]), item))  # the heaviest first
        limits = ", ".join(f"{name} from {least / 100:+.2f}" for name, least in THRESHOLDS)
        # Not the name: it may be a part of another name's value.
        yield f"  a value assigned to a name of kind {span.candidate.kind!r} in {span.candidate.language}"
        yield f"  log odds {sum(weight for _, weight in found) / 100:+.2f}; {limits}"
        yield from (f"  {weight / 100:+6.2f}  {feature}" for feature, weight in found)


# === Git ===
# What git lists, stages and remembers, and its hooks.

# Modes of what has no content here: a submodule, whose id is of another repository, and nothing at all.
_NO_FILES = ("160000", "000000")


class Blob(NamedTuple):
    """A version of a file in git or, outside of it, a file."""

    oid: str  # its id; "" for a removed file, a submodule, and outside of git
    path: str
    commit: str = ""  # the id of the one that added it; "" if it is staged, unreachable, or not in git
    date: str = ""  # when the author wrote that commit, ISO 8601
    replaces: tuple[str, ...] = ()  # ids of the versions before it, one for each parent; "" where it is new
    is_older: bool = False  # whether it comes from before the audited commits, only for comparison


def split_records(out: IO[bytes]) -> Iterator[str]:
    """Yield the records of git's -z output, which end with a NUL; what follows the last one is dropped."""
    rest = b""
    for chunk in chunks_of(out.read):
        *records, rest = (rest + chunk).split(b"\0")
        yield from map(os.fsdecode, records)


def staged_blobs(folder: str, tree: str) -> Iterator[Blob]:
    """Yield the files in the index that differ from a tree, or all of them for "".

    A removed one and a submodule have no id. Raise Unavailable if git fails.
    """
    if not tree:  # nothing on stdin is the empty tree, whose id depends on the repository's hash
        tree = ask_git(folder, "hash-object", "-t", "tree", "--stdin")
    with run_git(folder, "diff-index", "--cached", "-z", tree, "--") as out:
        yield from _parse_changes(out)


def find_in_repository(folder: str, *revisions: str) -> list[str]:
    """Return [top folder of the repository, id, …] with the id of each revision that the repository has.

    A bare repository has no top; `folder` stands for it. Raise Unavailable outside of a repository.
    """
    lines = ask_git(folder, "rev-parse", "--show-cdup", "--revs-only", *revisions).split("\n")
    up = ""
    if not lines[0].isalnum():  # "../", say, or "" at the top; in a bare repository, only ids are printed
        up = lines.pop(0)
    return [real_path(os.path.join(folder, up)), *lines]


def real_path(path: str) -> str:
    """Return an absolute path without links, with "/" as its separator and at the end of a folder's."""
    real = os.path.realpath(path).replace(os.sep, "/")
    return real.rstrip("/") + "/" if os.path.isdir(real) else real


def _parse_changes(out: IO[bytes]) -> Iterator[Blob]:
    """Yield the changed files of raw diffs with -z (git-diff-tree(1)), with the commit and date before them.

    A removed file and a submodule have no id. A renamed file is a removed one and a new one.
    """
    commit = date = ""
    records = split_records(out)
    for record in records:
        record = record.lstrip("\n")  # a commit's line is ended by a newline or, in a merge, by a NUL
        sides = len(record) - len(record.lstrip(":"))  # one, or in a merge one for each parent
        if sides:
            path = next(records, "")
            fields = record.lstrip(":").split()
            modes = fields[: sides + 1]
            oids = fields[sides + 1 :]
            *before, new = ("" if mode in _NO_FILES else oid for mode, oid in zip(modes, oids))
            yield Blob(new, path, commit, date, tuple(before))
        elif record:
            commit, _, date = record.partition(" ")


def read_objects(folder: str, oids: Iterable[str]) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Yield (id, size, chunks of its content) of each object, in order; (id, -1, no chunks) if it is missing.

    Read a content before you take the next object, which skips what is left of it. Raise Unavailable if
    git fails, for a broken object for instance.
    """
    with run_git(folder, "cat-file", "--batch", "--buffer", feed=oids) as out:
        # "<id> SP <type> SP <size> LF <content> LF", or "<id> missing" (git-cat-file(1)).
        for header in iter(out.readline, b""):
            oid, _, *size = header.decode().split()
            if not size:
                yield oid, -1, iter(())
                continue
            chunks = _read_exactly(out, int(size[0]))
            yield oid, int(size[0]), chunks
            for _ in chunks:  # the caller left these unread
                pass
            out.read(1)  # the newline that follows


def _read_exactly(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file in chunks, or fewer if it ends before that."""
    while chunk := file.read(min(size, READ_SIZE)):  # b"" if git left the rest out
        size -= len(chunk)
        yield chunk


# Options of rev-list for all kinds of objects; before a missing one is a "?".
_OBJECTS = ("--objects", "--no-object-names", "--missing=print")


def _rev_list(folder: str, revisions: Sequence[str], *options: str) -> Iterator[str]:
    """Yield the ids of the commits that revisions reach (git-rev-list(1)); `options` may ask for more.

    Without revisions, start from all refs and reflogs. Raise Unavailable for a revision that isn't there.
    """
    which = ("--end-of-options", *revisions) if revisions else ("--all", "--reflog")
    with run_git(folder, "rev-list", *options, *which, "--") as out:
        yield from (line.decode().rstrip("\n") for line in out)


def object_ids(folder: str, kinds: str, revisions: Sequence[str] = ()) -> Iterator[str]:
    """Yield the ids of objects that revisions reach or, without any, of all in this clone, dangling ones too.

    `kinds` are words: blob, commit, tag, and "missing", which are objects that revisions reach and this clone
    lacks.
    """
    which = ["--batch-all-objects", "--unordered"]  # the pack's order resolves deltas faster
    reached: Iterable[str] = ()
    if revisions:
        which = []
        reached = (oid.lstrip("?") for oid in _rev_list(folder, revisions, *_OBJECTS))
    check = "--batch-check=%(objectname) %(objecttype)"
    with run_git(folder, "cat-file", "--buffer", check, *which, feed=reached) as out:
        for line in out:
            oid, kind = line.decode().split()  # "<id> missing" for one that isn't here
            if kind in kinds.split():
                yield oid


def file_versions(folder: str, revisions: Sequence[str]) -> Iterator[Blob]:
    """Yield each version of each path once: of these revisions or, without any, of all that git has.

    First come the versions that commits add, with the commit, oldest first. Without revisions, those that are
    staged follow. Last come blobs that were not reached by a path, also because git couldn't walk a commit;
    their path is "blob ID". A range such as A..B leaves commits out: a version of theirs comes with
    `is_older`, right before the version that replaces it.
    """
    # Hashes, since there may be millions. Each process has a key of its own for them (PEP 456), so nobody can
    # make them collide.
    commits = set[int]()
    versions = set[int]()
    blobs = set[int]()

    def is_new(item: object, known: set[int]) -> bool:
        """Add an item; return whether it wasn't there yet."""
        size = len(known)
        known.add(hash(item))
        return len(known) > size

    reached = _rev_list(folder, revisions, "--reverse", "--topo-order")
    if not revisions:
        # Dangling ones come last: what an amended commit added is often in a reachable one as well.
        reached = chain(reached, object_ids(folder, "commit"))
    with_path = changed_blobs(folder, (commit for commit in reached if is_new(commit, commits)))
    if not revisions:
        with_path = chain(with_path, _index_blobs(folder))
    for blob in with_path:
        for oid in blob.replaces:
            if revisions and is_new((oid, blob.path), versions):
                yield Blob(oid, blob.path, is_older=True)
        if is_new((blob.oid, blob.path), versions):
            blobs.add(hash(blob.oid))
            yield blob
    listed = object_ids(folder, "blob missing", revisions)
    if not revisions and ask_git(folder, "config", "--get-regexp", "promisor", default=""):
        # What a partial clone hasn't fetched.
        listed = chain(listed, (oid[1:] for oid in _rev_list(folder, (), *_OBJECTS) if oid[0] == "?"))
    for oid in listed:
        if is_new(oid, blobs):
            yield Blob(oid, f"blob {oid[:12]}")


def changed_blobs(folder: str, commits: Iterable[str]) -> Iterator[Blob]:
    """Yield the versions of files that these commits add or change, with the commit.

    A merge adds what differs from all of its parents. Stop without an error where git fails: a partial clone
    may lack trees, and a dangling commit its parent.
    """
    options = ("--stdin", "--root", "-c", "-r", "--format=%H %aI", "-z")
    with suppress(Unavailable), run_git(folder, "diff-tree", *options, feed=commits) as out:
        yield from (blob for blob in _parse_changes(out) if blob.oid)


def _index_blobs(folder: str) -> Iterator[Blob]:
    """Yield the files whose staged version isn't that of HEAD, but not removed ones; none if git fails."""
    with suppress(Unavailable):
        tree = ask_git(folder, "rev-parse", "HEAD:", default="")
        yield from (blob for blob in staged_blobs(folder, tree) if blob.oid)


def ask_about_file(path: str, *args: str) -> str:
    """Return the output of a git command on one file; "" if git fails, as it does outside of a repository."""
    folder, name = os.path.split(os.path.realpath(path))
    return ask_git(folder, *args, "--", f":(literal){name}", default="")


def is_committable(path: str) -> bool:
    """Return whether git tracks a file or would add it: doesn't ignore it; False outside of a repository."""
    return bool(ask_about_file(path, "ls-files", "-co", "--exclude-standard"))


BASELINE = ".paissive-baseline"  # accepted findings, read unless another file is chosen
# pre-commit reads SKIP too, with the id from .pre-commit-hooks.yaml.
_HOOK_BEGIN = """#!/bin/sh
# written by: paissive_secrets.py hook install
# SKIP=paissive-audit git {verb} … leaves it out once
case ",$SKIP," in *[,\\ ]paissive-audit[,\\ ]*) exit 0 ;; esac
"""
# Run as a script, this file would be compiled before each commit; imported, once. An import makes no garbage.
_IMPORT_AND_RUN = (
    "import gc, sys; gc.disable(); sys.path[:] = filter(None, sys.path); del sys.argv[0];"
    " import importlib.util as util;"
    " spec = util.spec_from_file_location('paissive_secrets', sys.argv[0]);"
    " sys.modules[spec.name] = module = util.module_from_spec(spec);"
    " spec.loader.exec_module(module); gc.enable(); module.run_as_program()"
)
# What a hook runs; git passes the name of the remote, and what it pushes on stdin (githooks(5)).
_HOOKS = {"pre-commit": "audit --staged", "pre-push": 'audit --pushed "$1"'}


def install_hook(name: str, backend: str = "") -> str:
    """Write git's "pre-commit" or "pre-push" hook, which runs an audit, and return its path.

    With a backend, the audit also searches for the values in it. A hook that this function wrote earlier is
    replaced; raise Conflict if there is any other, Unavailable outside of a repository, and OSError.
    """
    import shlex

    path = os.path.normpath(ask_git(".", "rev-parse", "--git-path", f"hooks/{name}"))
    # No module of the repository takes the place of Python's. -S: only a store needs packages, and -I would
    # hide those of the user.
    options = "-Ec" if backend or name == "pre-push" else "-ISc"
    action = _HOOKS[name] + (f" --backend {shlex.quote(backend)}" if backend else "")
    program = [sys.executable, options, _IMPORT_AND_RUN, os.path.abspath(__file__)]
    begin = _HOOK_BEGIN.format(verb=name.removeprefix("pre-")).encode()
    command = f"{shlex.join(program)} {action}"
    problem = f"paissive_secrets: {printable(program[-1])} is gone; run `hook install` with the new one"
    refuse_if_gone = f"[ -f {shlex.quote(program[-1])} ] || {{ echo {shlex.quote(problem)} >&2; exit 1; }}"
    with suppress(FileNotFoundError):
        # The last line, with the command, differs if this file has moved since. This never writes a link.
        if os.path.islink(path) or read_file(path).splitlines()[:-1] != begin.splitlines():
            hint = f"add to it: {shlex.join([program[0], program[-1]])} {action}"
            raise Conflict(f"there is a {name} hook already: {path}", hint=hint)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with FileLock(path), replacing(path, 0o755, keep=False) as file:
        file.write(begin + os.fsencode(f"{refuse_if_gone}; {command} || exit 1\n"))
    return path


def pushed_revisions(remote: str, lines: Iterable[str]) -> list[str]:
    """Return a push's new commits as revisions for git-rev-list(1); [] for a push that only deletes.

    What the remote is known to have is left out. `lines` are a pre-push hook's stdin (githooks(5)): local ref
    and id, remote ref and id. Raise BadValue for anything else.
    """
    revisions: list[str] = []
    for line in lines:
        try:
            _, new, _, old = line.split()
        except ValueError:
            raise BadValue("stdin isn't what git passes to a pre-push hook") from None
        if not new.strip("0"):  # a deletion
            continue
        revisions.append(new)
        if ask_git(".", "cat-file", "-t", f"{old}^{{commit}}", default=""):
            revisions.append(f"^{old}")
        else:
            # A new ref, or one that others have moved. Only this remote's branches count: another remote may
            # be private. For a URL in place of a name, none are known.
            where = f"refs/remotes/{remote}"
            revisions += set(ask_git(".", "for-each-ref", "--format=^%(objectname)", where).split())
    return revisions


def set_merge_driver(path: str) -> bool:
    """Add a line to a .gitattributes file that lets git merge baselines; return whether it wasn't there.

    A union of both sides' lines is a right merge, since a baseline's lines may have any order, and repeat.
    Raise OSError.
    """
    rule = f"{BASELINE} merge=union".encode()
    with FileLock(path):
        text = b""
        if os.path.lexists(path):
            text = read_file(path)
        if rule in text.splitlines():
            return False
        if text and not text.endswith(b"\n"):  # the last line of the file isn't ended
            text += b"\n"
        rewrite(path, text + rule + b"\n", 0o644)
        return True


# === Files ===
# The files below a folder: all that git lists or, outside of a repository, all. No symlink is followed, and
# only regular files are opened: a FIFO blocks, and opening a device can act on it.

_VENDORED_FOLDER = lazily(  # third-party or generated
    r"(?:\A|/)(?:node_modules|bower_components|\.venv|venv|\.eggs|__pycache__|\.tox|\.nox|\.gradle|\.next"
    r"|\.cache|\.mypy_cache|\.pytest_cache|\.ruff_cache)/"
)

ListedFile = tuple[str, str]  # path to open, path to show
# Errors on opening a listed file that has since vanished, or become a link or a FIFO.
VANISHED = (Unsafe, FileNotFoundError, NotADirectoryError)


class FileFilter(NamedTuple):
    """Says which files an audit leaves out, and counts them in its summary."""

    excludes: Callable[[str], bool]  # whether to leave out a path, as shown
    gitignore: bool  # whether to leave out what git ignores
    skips_vendored: bool  # whether to leave out folders in which others wrote everything
    on_error: Callable[[str, str], None]  # called with a path, as shown, and why it can't be read
    skipped: Counter[str]  # the summary's: what was left out so far, by kind

    def leave_out(self, shown: str) -> bool:
        """Return whether a file or a folder is excluded, and count it if so."""
        if not self.excludes(shown):
            return False
        self.skipped["excluded"] += 1
        return True

    def leave_out_vendored(self, path: str) -> bool:
        """Return whether a path leads through a vendored folder that is to be skipped, and count it if so."""
        if not self.skips_vendored or not _VENDORED_FOLDER.search(path):
            return False
        self.skipped["vendored"] += 1
        return True


def files_below(root: str, shown: str, which: FileFilter) -> Iterator[ListedFile]:
    """Yield the files below a folder, then the files of each repository in it, by its own ignore files.

    Git lists them in a repository if `which.gitignore` is set; else the folders are walked. Paths are shown
    with `shown` in place of the folder: "", or a path with "/" at its end.
    """
    pending = [(root, shown, bool(find_above(os.path.realpath(root), ".git")))]
    for root, shown, in_git in pending:
        names = None
        if which.gitignore and in_git:
            names = _names_by_git(root, shown, which)
        if names is None:
            names = _walk(root, shown, which)
        for name in names:
            path = f"{root}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):  # another repository
                pending.append((path, f"{shown}{name}/", True))
            else:
                yield path, shown + name


def _names_by_git(root: str, shown: str, which: FileFilter) -> Iterator[str] | None:
    """Return the paths that git lists below a folder, relative to it; a repository in it is one path.

    Left out are those behind a link, in vendored folders, and excluded ones. Return None where git's list
    can't be used, so that the folder has to be walked. Iterating raises Unavailable if git fails later.
    Messages have `shown`, as in files_below, in place of the folder.
    """
    listed = _list_with_git(root, shown, which)
    try:
        first = next(listed, "")
    except Unavailable:  # git is missing, or refuses a repository that someone else owns
        return None
    if first == ".":  # git takes the folder itself for another repository
        return None
    if not first:  # there is nothing to list, or git ignores the folder, which was asked for by name
        parent, name = os.path.split(os.path.realpath(root))
        if ask_git(parent, "check-ignore", "--", f"./{name}", default=""):
            return None
    names = (name for name in chain([first], listed) if name not in ("", "."))
    return _files_of_git(names, root, shown, which)


def _list_with_git(root: str, shown: str, which: FileFilter) -> Iterator[str]:
    """Yield the tracked files below a folder, and others that git doesn't ignore, each once.

    They are relative to the folder; a repository in it is one of them. Raise Unavailable if git fails.
    Folders that git can't open, and files outside of the folder that its index names, are reported as
    unreadable, with `shown` in place of the folder.
    """

    def report(line: str) -> None:
        """Pass a line of git's stderr on if it says that a folder can't be opened."""
        if "could not open directory" in line:  # git lists the rest; other warnings don't mean a file
            which.on_error(shown.rstrip("/"), line)

    with run_git(root, "ls-files", "-co", "--exclude-standard", "-z", on_error=report) as out:
        # A conflict lists a name three times. A repository in this one ends with "/".
        for name, _ in groupby(split_records(out)):
            if "/../" in f"/{name}/":  # git refuses to add it, but not an index that was made by hand
                which.on_error(shown + name, "git's index names it, and it is outside of the folder")
            else:
                yield name.rstrip("/")


def _files_of_git(names: Iterable[str], root: str, shown: str, which: FileFilter) -> Iterator[str]:
    """Yield the names from git without those behind a link, in vendored folders, or excluded.

    They are relative to `root`, and excluded as they are shown: with `shown` before them.
    """
    is_link = lru_cache(1024)(lambda path: os.path.islink(f"{root}/{path}"))
    for folder, group in groupby(names, lambda name: name.rpartition("/")[0]):
        # Git lists what is in its index even if a folder has become a symlink. For a/b, ask about a and a/b.
        folders = accumulate(folder.split("/"), "{}/{}".format)
        if any(map(is_link, folders)):
            continue
        for name in group:
            if not (which.leave_out_vendored(name) or which.leave_out(shown + name)):
                yield name


def _walk(root: str, shown: str, which: FileFilter) -> Iterator[str]:
    """Yield the regular files below a folder, relative to it, and each repository in it as one path.

    A folder's files come first, in order, then its folders. Links, devices, .git, vendored and excluded
    folders and files are left out; a folder that can't be listed is reported as unreadable. Files are
    excluded and reported as they are shown: with `shown` before them.
    """
    pending = [""]
    while pending:
        # A stack, not recursion: a hostile tree may be deeper than Python allows.
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                plain = (e for e in entries if not e.is_symlink() and (e.is_dir() or e.is_file()))
                found = dict(sorted((e.name, e.is_dir()) for e in plain))
        except OSError as error:
            which.on_error((shown + folder).rstrip("/"), str(error.strerror))
            continue
        if folder and ".git" in found:
            yield folder.rstrip("/")  # a repository, which the caller lists by its own ignore files
            continue
        below = []
        for name, is_folder in found.items():
            path = f"{folder}{name}/" if is_folder else folder + name
            if is_folder and (name == ".git" or which.leave_out_vendored(path)):
                continue
            if which.leave_out(shown + path):
                continue
            if is_folder:
                below.append(path)
            else:
                yield path
        pending += reversed(below)


class _Pattern(NamedTuple):
    """A line of a .gitignore (gitignore(5))."""

    is_negated: bool  # whether it puts back what an earlier line leaves out
    is_for_folders: bool  # whether it matches folders only
    # Expressions for the names of a path; None is `**`, any number of them.
    names: list[re.Pattern[str] | None]


class IgnorePatterns:
    """Patterns as in a .gitignore, matched as git does (gitignore(5)), but by characters instead of bytes.

    Raise BadValue for one that git can't read, or that has a backslash or a class such as [[:digit:]].
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns: list[_Pattern] = []  # the last line takes precedence, and so comes first
        for pattern in patterns:
            self.add(pattern)

    def add(self, line: str) -> None:
        """Add a line, which takes precedence over earlier ones; an empty one or a comment does nothing.

        Raise BadValue if it can't be read.
        """
        import fnmatch

        line = line.rstrip(" \r\n")
        path = line.removeprefix("!")
        if not path or line.startswith("#"):
            return
        # A "/" at the end means folders only, one elsewhere that the pattern is for a whole path.
        names = path.removesuffix("/").split("/")
        if len(names) == 1:
            names.insert(0, "**")
        elif not names[0]:
            del names[0]
        if not all(map(_PATTERN_OF_NAME.fullmatch, names)):
            hint = r"write [0-9] for [[:digit:]], and [*] for \*"
            raise BadValue(f"the pattern {show(line)} can't be read", hint=hint)
        if names[-1] == "**":  # one name at least: `d/**` isn't `d` itself
            names.append("*")
        expressions: list[re.Pattern[str] | None] = []
        for name in names:
            # fnmatch's expressions take linear time for each star.
            text = fnmatch.translate(name.replace("[^", "[!"))
            expressions.append(None if name == "**" else re.compile(text))
        self._patterns.insert(0, _Pattern(path != line, path.endswith("/"), expressions))

    def match(self, path: str) -> bool:
        """Return whether a path, or a folder that it is in, is left out. A folder's path ends with "/"."""
        if not self._patterns:
            return False
        *folders, file = path.split("/")
        # As in git, nothing below a folder that is left out can be put back.
        above = accumulate([folder] for folder in folders)  # for a/b/c: [a], [a, b]
        if any(self._leaves_out(names, is_folder=True) for names in above):
            return True
        return bool(file) and self._leaves_out([*folders, file], is_folder=False)

    def _leaves_out(self, names: list[str], *, is_folder: bool) -> bool:
        """Return whether the last pattern to match exactly this path excludes it."""
        for pattern in self._patterns:
            if (is_folder or not pattern.is_for_folders) and _matches_names(pattern.names, names):
                return not pattern.is_negated
        return False


# Text and sets of characters; a set has neither a backslash nor a class such as [:digit:].
_PATTERN_OF_NAME = lazily(r"(?s)(?:[^\\\[]|\[(?![!^]?\])(?:[^\]\\\[]|\[(?!:))+\])*")


def _matches_names(expressions: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    """Return whether the names of a path match the expressions of a pattern, all of them.

    The time grows with the product of both lengths at most.
    """
    starts = {len(names)}  # from the end: where the names that the expressions so far match may begin
    for expression in reversed(expressions):
        if expression is None:  # it matches any number of names before these
            starts = set(range(max(starts) + 1))
        else:
            starts = {at - 1 for at in starts if at and expression.match(names[at - 1])}
        if not starts:
            return False
    return 0 in starts


# --- archives ---
# Archives stream, at every level, except for zips, whose list of files is at their end. Nothing is written to
# disk. A hostile one can't make this take much time or memory.

MAX_ARCHIVE_LEVELS = 4  # an image, a layer, an archive in that, and one more
# An archive may unpack to the larger of these: so many bytes, and so many times what was read of it.
_MAX_UNPACKED = 1 << 28
_MAX_RATIO = 20
_MAX_HELD = 1 << 28  # bytes of zips in memory at a time
_MAX_ZIP_LIST = 1 << 23  # bytes of a zip's list of files, which takes 20 times as much in memory
_MAX_TAR_HEADER = 1 << 20  # bytes: of a name, for instance
_MAX_PAX_HEADERS = 1000  # of those for all of a tar, which nest
_MEMBER_COST = 512  # bytes that a member counts for at least
_ZSTD = b"\x28\xb5\x2f\xfd"
_LAYER_NAME = lazily(r"!(?:blobs/sha256/)?[0-9a-f]{64}(?:(?:/layer)?\.tar|\.json)?(?=!|\Z)")


class ArchiveTooLarge(BadValue):
    """An archive unpacks to more than its budget."""


class ArchiveBudget:
    """Limits what the outermost archive, with all archives in it, may unpack to."""

    def __init__(self) -> None:
        self._read = 0  # bytes of the outermost archive so far
        self._unpacked = 0  # bytes that came out of it and of those in it so far
        self.held = 0  # bytes of zips that are in memory now; _unzip adds and takes off its own

    def count_read(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks of the outermost archive; each adds to the budget."""
        for chunk in chunks:
            self._read += len(chunk)
            yield chunk

    def count_unpacked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a member, and count them; raise ArchiveTooLarge beyond the budget."""
        self._spend(_MEMBER_COST)
        for chunk in chunks:
            self._spend(len(chunk))
            yield chunk

    def _spend(self, size: int) -> None:
        """Count bytes that were unpacked; raise ArchiveTooLarge if they are too many by now."""
        self._unpacked += size
        if self._unpacked > max(_MAX_UNPACKED, _MAX_RATIO * self._read):
            raise ArchiveTooLarge("what it unpacks to is too large to examine all of it")


def unpack(
    chunks: Iterable[bytes], name: str, budget: ArchiveBudget
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield (name, chunks of its content) of each file in a zip, tar, tar.gz or gzip file called `name`.

    Read a content before you take the next file. Both raise BadValue where an archive can't be read to its
    end, and ArchiveTooLarge when the budget is spent.
    """
    files = _checked(_unpack(chunks, name, budget))
    for inner_name, content in files:
        yield inner_name, _checked(content)


def _checked(items: Iterator[T]) -> Iterator[T]:
    """Yield items; raise BadValue for any error of Python's modules, which differ for damaged archives."""
    try:
        yield from items
    except SecretsError:
        raise
    except Exception:
        raise BadValue("it is damaged or encrypted") from None


def _unpack(
    chunks: Iterable[bytes], name: str, budget: ArchiveBudget
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the files of an archive as `unpack` does, but raise zipfile's, tarfile's and gzip's own errors.

    What is none of these formats is yielded as one file: the content of a .gz that holds no tar.
    """
    file = _file_of(chunks)
    head = file.read(512)
    if head.startswith(_ZSTD):
        raise BadValue("it is compressed with zstd, which can't be read here; use gzip, or unpack it first")
    chunks = chain([head], chunks_of(file.read))
    if head.startswith(b"PK"):
        yield from _unzip(chunks, budget)
        return
    if head.startswith(b"\x1f\x8b"):
        import gzip

        unzipped = gzip.GzipFile(fileobj=_file_of(chunks))
        # read1, since read raises an error for damage before it returns what is in front of that.
        file = _file_of(budget.count_unpacked(chunks_of(unzipped.read1)))
        head = file.read(512)
        chunks = chain([head], chunks_of(file.read))
    if is_tar(head):
        yield from _untar(chunks, budget)
    else:
        yield name.removesuffix(".gz"), chunks


def stable_path(path: str) -> str:
    """Return a path for fingerprints: without the hashes that name an image's layers and settings.

    They differ between two builds of the same image.
    """
    return _LAYER_NAME.sub("", path)


def _unzip(chunks: Iterable[bytes], budget: ArchiveBudget) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the files of a zip, and its folders as empty ones. It is held in memory: its list is at its end.

    Raise BadValue for a zip that is too large for that, has a file with a rare compression or, after all
    others, bytes before its first file. Those between files aren't read: a signed APK has some.
    """
    import zipfile

    packed = _ZipFile()
    try:
        for chunk in chunks:
            budget.held += packed.write(chunk)
            if budget.held > _MAX_HELD:
                raise BadValue("it is a zip that is too large for memory")
        zipped = zipfile.ZipFile(packed)
        for info in zipped.infolist():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadValue("it is compressed by a rare method")
            info.file_size = sys.maxsize  # zipfile would stop at the listed size, which may be too small
            yield info.filename, budget.count_unpacked(chunks_of(zipped.open(info).read))
        if min([zipped.start_dir, *(info.header_offset for info in zipped.infolist())]):
            raise BadValue("it has bytes before its first file, such as another zip, which were not examined")
    finally:
        budget.held -= len(packed.getbuffer())


class _ZipFile(io.BytesIO):
    """A zip in memory; reading more than 8 MiB at once, as zipfile reads a list of files, raises BadValue."""

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or all."""
        if size and size > _MAX_ZIP_LIST:
            raise BadValue("it has too many files")
        return super().read(size)


def _untar(chunks: Iterable[bytes], budget: ArchiveBudget) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the regular files of a tar and of tars that follow it, and members of unknown types.

    Programs that unpack a tar make files of those. Other members, such as links and folders, have no content.
    """
    import tarfile

    archive: Any
    with tarfile.open(fileobj=_file_of(chunks), mode="r|", bufsize=1 << 18, tarinfo=_tar_header()) as archive:
        archive.ignore_zeros = True  # else what follows the end of a tar is never read
        while member := archive.next():
            archive.members = []  # else it collects them
            if member.isfile() or member.type not in tarfile.SUPPORTED_TYPES:
                yield member.name, budget.count_unpacked(chunks_of(archive.extractfile(member).read))


def _tar_header() -> type[Any]:
    """Return a class for tarfile's headers that raises BadValue for sparse files, and long or many headers.

    A sparse file may be tiny in the tar and endless outside; names and pax headers are parsed in memory. A
    damaged header, which tarfile takes for the end, raises ReadError.
    """
    import tarfile

    base: Any = tarfile.TarInfo

    class Header(base):  # type: ignore[misc]
        @classmethod
        def frombuf(cls, block: bytes, *args: Any) -> Any:
            """Return the header in a block; raise ReadError if it is damaged, HeaderError if it is empty."""
            try:
                return super().frombuf(block, *args)
            except tarfile.HeaderError as error:
                if any(block):  # tarfile would take it for the end
                    raise tarfile.ReadError(str(error)) from None
                raise

        # Documented in tarfile as the method to override.
        def _proc_member(self, archive: tarfile.TarFile) -> Any:
            """Read what follows the header and is no content, unless that is too much."""
            pax = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
            is_content = self.isreg() or self.type not in (*tarfile.SUPPORTED_TYPES, *pax)
            if self.type == tarfile.GNUTYPE_SPARSE or (not is_content and self.size > _MAX_TAR_HEADER):
                raise BadValue("it has a sparse file or a header that is too large")
            if len(archive.pax_headers) > _MAX_PAX_HEADERS:
                raise BadValue("it has too many headers")
            return super()._proc_member(archive)

        def _proc_gnusparse_00(self, *args: Any) -> None:
            """Refuse a sparse file of one of pax's three formats."""
            raise BadValue("it has a sparse file")

        _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00

    return Header


def _file_of(chunks: Iterable[bytes]) -> IO[bytes]:
    """Return a file whose content are these chunks, which are taken as it is read."""
    return io.BufferedReader(_Chunks(chunks), 1 << 18)


class _Chunks(io.RawIOBase):
    """A file that is made of chunks as they are needed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = filter(None, chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from one chunk; return how many bytes that are, 0 at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


# === Audit ===
# A finding says where a secret is and of what kind, never its value. An audit goes this way:
#
#   options     AuditOptions.check refuses options that contradict each other
#   scope       _find_scope: the folder that paths are relative to, and the project's top, with its settings
#               (_AuditSettings) and its baseline (Baseline)
#   contents    Audit.files, staged_blobs or file_versions
#   scan        _Scanner turns each content, and the files in an archive, into matches (section Scan)
#   judge       Audit._silenced_by drops matches, each place by itself
#   group       Audit._findings: one finding for each rule and value in a content
#   report      section Reports writes findings as they come, and the Summary last
#
# A baseline can be committed and merged: it holds 8 bits of a value, which rule out most wrong guesses and
# confirm none.

_BASELINE_VERSION = 2
AUDIT_SETTINGS = ".paissive-audit"  # what the project excludes, disables, adds and allows
_BASELINE_FIELDS = ("path", "rule", "fingerprint")  # of an accepted place
_MAX_FINDINGS = 50_000  # per file: a hostile one must not fill the memory
_GIT_BATCH = 4096  # versions that are read at a time

_Matches = Iterator[tuple[Blob, list[Match]]]  # of each content, in order of their places; there may be none


class Location(NamedTuple):
    """One place of a finding."""

    line: int  # from 1, like the next two
    end_line: int
    column: int  # in characters
    # 16 hex digits of the path from the project's top, rule, name, the rest of the line, and 8 bits of the
    # value.
    fingerprint: str


class Finding(NamedTuple):
    """A secret that was left in a file: everything but its value.

    There is one for each rule and value in a file, or in a version of a
    file in git's history. Its position is the match with the highest
    confidence, the first of these if several tie; `locations` lists every
    match, that one first.
    """

    # With "/", relative to the working directory or, if a PATH is outside of it, to what all PATHs have in
    # common; in git's index and history, to the repository's top.
    path: str
    line: int  # from 1, like the next two
    end_line: int
    column: int  # in characters
    rule: str  # an id from `audit --list-rules`
    what: str  # what that rule finds, in words
    severity: str  # "low", "medium", "high" or "critical": what could be done with it
    confidence: str  # "low", "medium" or "high": how likely it is a secret
    sample: str  # the public prefix and at most two characters, then "…"
    fingerprint: str  # as in Location
    fix: str = ""  # what to do next
    secret: str = ""  # of a known value: its name,
    verdict: str = ""  # and whether it is "current", "pending", "previous" or "retired"
    commit: str = ""  # in history: the id of the commit that added it,
    date: str = ""  # and when its author wrote it, ISO 8601
    locations: tuple[Location, ...] = ()  # first the finding's own, then the others in order


class Summary:
    """What an audit has read, found and left out.

    It is complete after the last finding.
    """

    def __init__(self) -> None:
        self.files = self.bytes = self.findings = self.unreadable = 0
        self.silenced = Counter[str]()  # places, by what silenced them
        self.skipped = Counter[str]()  # files and folders that were not examined, by reason
        self.errors: list[tuple[str, str]] = []  # (path, why) of what is unreadable
        self.by_confidence = dict.fromkeys(reversed(CONFIDENCES), 0)


_OneOrMore = Union[StrPath, Iterable[StrPath]]


class AuditOptions(NamedTuple):
    """What to look for, and where: the options of an audit."""

    exclude: _OneOrMore = ()  # what not to read: patterns as in gitignore(5)
    confidence: str = "medium"  # the lowest to report
    disable: _OneOrMore = ()  # ids of rules that find nothing
    baseline: Optional[StrPath] = None  # the file of accepted findings; by default, the project's
    staged: bool = False  # read git's index instead of the working tree
    history: Optional[_OneOrMore] = None  # read what these revisions of git's reach, or everything for []
    gitignore: Optional[bool] = None  # whether to skip what git ignores; by default, unless `untrusted`
    archives: bool = False  # also read what is in zip, tar and gzip files
    untrusted: bool = False  # ignore the project's settings and baseline, and comments that allow a finding
    known: Optional[KnownValues] = None  # also search for these values
    jobs: int = 1  # processes at most; 0 is one per core
    on_error: Optional[Callable[[str, str], None]] = None  # called with a path, and why it can't be read
    on_progress: Optional[Callable[[Summary], None]] = None  # called as files are read

    def check(self) -> None:
        """Raise BadValue for a bad confidence, and staged with history."""
        if self.confidence not in CONFIDENCES:
            hint = f"use one of {', '.join(CONFIDENCES)}"
            raise BadValue(f"bad confidence {show(self.confidence)}", hint=hint)
        if self.staged and self.history is not None:
            raise BadValue("staged and history can't be combined", hint="audit one after the other")


def audit(paths: _OneOrMore = ".", **options: Any) -> Iterator[Finding]:
    """Yield the secrets left in files, except those that the baseline accepts.

    The options are those of AuditOptions, by name. Raises what Audit
    raises.
    """
    return iter(Audit(paths, **options))


def _as_list(one_or_more: _OneOrMore) -> list[str]:
    """Return the value of an option that takes one word or several, as a list."""
    several = [one_or_more] if isinstance(one_or_more, (str, os.PathLike)) else one_or_more
    return [os.fspath(word) for word in several]


class Audit:
    """One audit: iterate over its findings, once, then look at its `summary`.

    The options are those of AuditOptions, by name. Raises BadValue for a
    bad path or option, Unavailable if git fails, Unsafe if it hangs, and
    Conflict if iterated over twice.
    """

    def __init__(self, paths: _OneOrMore = ".", **options: Any) -> None:
        """Look for the PATHs, and read the project's settings and baseline; no other file is read yet."""
        self.paths = _as_list(paths)
        self.options = AuditOptions(**options)
        self.options.check()
        self.summary = Summary()  # counted as files are read
        self._begun = False  # whether it has been iterated over
        self._scope = _find_scope(self.paths, self.options)
        self.base = self._scope.base  # the folder that paths are relative to, with "/" at its end
        self._settings = self._read_settings()
        self.baseline = self._find_baseline()  # accepted findings; None if the project isn't trusted
        self._disabled = {*_as_list(self.options.disable), *self._settings.disabled}  # ids of rules
        if not self._settings.rule_ids.issuperset(self._disabled):
            raise BadValue("no such rule to disable", hint="see: audit --list-rules")
        known = self.options.known
        self._scanner = _Scanner(
            custom=self._settings.rules,
            known=known.find if known else None,
            archives=self.options.archives,
            levels=CONFIDENCES[CONFIDENCES.index(self.options.confidence) :],
        )
        words = _as_list(self.options.exclude)
        words = [re.sub(r"^(!?)\./", r"\1/", word) for word in words]  # as a shell completes them
        self._excluded = IgnorePatterns(words)  # by options
        gitignore = self.options.gitignore
        if gitignore is None:
            gitignore = not self.options.untrusted  # a stranger's .git/info/exclude may name every file
        # A stranger may track a secret in a folder of that name.
        skips_vendored = gitignore or not self.options.untrusted
        self._filter = FileFilter(
            self._excludes, gitignore, skips_vendored, self.add_unreadable, self.summary.skipped
        )

    def rules(self) -> list[Rule]:
        """Return the built-in rules, and those of the project's settings."""
        return [*all_rules(), *self._settings.rules]

    def _read_settings(self) -> _AuditSettings:
        """Return the settings at the project's top.

        They are empty if there are none, or if the project isn't trusted. Raise BadValue if they are wrong.
        """
        path = self._scope.top + AUDIT_SETTINGS
        if self.options.untrusted or not os.path.lexists(path):
            return _AuditSettings()
        with disk_errors(f"read {path}"):
            return _AuditSettings(os.fsdecode(read_file(path, follow=False)))

    def _find_baseline(self) -> Baseline | None:
        """Return the baseline of the option or, if the project is trusted, that at its top; else None.

        One without a file is empty. Raise what Baseline raises.
        """
        if self.options.baseline is not None:
            return Baseline(self.options.baseline)
        if self.options.untrusted:
            return None
        return Baseline((self._scope.top + BASELINE).removeprefix(real_path("")))

    def path_in_project(self, path: str) -> str:
        """Return a path, as a finding has it, from the project's top instead.

        Fingerprints, settings and the baseline use it. Stdin, "-", and the
        files in an archive on stdin, "-!NAME", keep their paths.
        """
        is_stdin = path.partition("!")[0] == "-"
        return path if is_stdin else (self.base + path).removeprefix(self._scope.top)

    def __iter__(self) -> Iterator[Finding]:
        """Yield the findings as they are found, and count what is read in the summary.

        Raise Conflict the second time.
        """
        if self._begun:  # everything would be counted twice
            raise Conflict("this audit has already run", hint="keep its findings, or make another Audit")
        self._begun = True
        known = self.options.known
        if known and known.without_history:
            self.summary.skipped["secrets' older values"] = len(known.without_history)
        if self.options.history is not None:
            contents = self._scan_history(_as_list(self.options.history))
        elif self.options.staged:
            contents = self._scan_blobs(staged_blobs(self._scope.folder, self._scope.tree))
        else:
            scans = _scan_all(self.files(), self._scanner, self.options.jobs or os.cpu_count() or 1)
            contents = chain.from_iterable(map(self._count, scans))
        for blob, matches in contents:
            for finding in self._findings(blob, matches):
                self.summary.findings += 1
                self.summary.by_confidence[finding.confidence] += 1
                yield finding

    def _findings(self, blob: Blob, matches: list[Match]) -> Iterator[Finding]:
        """Yield a finding for each rule and value in a content, in the order of lines and columns.

        Matches that are silenced are only counted.
        """
        groups: dict[tuple[Rule, int], list[Match]] = {}
        for match in matches:
            silenced = self._silenced_by(blob.path, match)
            if silenced:
                self.summary.silenced[silenced] += 1
            else:
                groups.setdefault((match.rule, match.identity), []).append(match)
        findings = [self._finding(blob, places) for places in groups.values()]
        yield from sorted(findings, key=attrgetter("line", "column"))

    def _finding(self, blob: Blob, places: list[Match]) -> Finding:
        """Return the finding for a value that one rule found in these places.

        It has the place and the confidence of the most certain match, and all places.
        """
        match = max(places, key=lambda place: CONFIDENCES.index(place.confidence))
        rule = match.rule
        path = self.path_in_project(blob.path)
        locations = tuple(
            Location(at.line, at.end_line, at.column, _fingerprint_at(path, rule.id, at.mark))
            for at in [match, *(place for place in places if place is not match)]
        )
        known = self.options.known.about.get(rule) if self.options.known else None
        details = known or {"sample": match.sample, "fix": _advice_for(blob.path, match.name)}
        return Finding(
            path=blob.path,
            **locations[0]._asdict(),
            rule=rule.id,
            what=rule.what,
            severity=rule.severity,
            confidence=match.confidence,
            commit=blob.commit,
            date=blob.date,
            locations=locations,
            **details,
        )

    def _silenced_by(self, path: str, match: Match) -> str:
        """Return the name of what silences a match, as the last line of a report has it; "" for nothing.

        The first of these counts: an option, the settings, the store's own file or a comment, the baseline.
        """
        if match.rule.id in self._disabled:
            return "disabled rules"
        in_project = self.path_in_project(path)
        if any(self._settings.allows(in_project, name) for name in _accepting(match.rule.id)):
            return AUDIT_SETTINGS
        known = self.options.known
        if known and match.rule in known.about:
            # No comment silences a known value: whoever wrote that need not know that the value is in use.
            # In git, the store's own file is a leak like any other.
            if known.own_file == self.base + path and not self._scope.folder:
                return "the store's own file"
        elif match.silenced and not self.options.untrusted:
            return match.silenced
        if self.baseline and self.baseline.accepts(in_project, match.rule.id, match.mark):
            return "the baseline"
        return ""

    def explain(self, chunks: Iterator[bytes], path: str, line: int) -> Iterator[str]:
        """Yield why a line is or isn't reported, without values.

        `path` is that of a finding in it. An excluded file is explained as
        well; an archive isn't opened.
        """
        if self._excludes(path):
            yield "it is excluded, so it is not read"
        skipped = Counter[str]()
        is_empty = True
        scanner = self._scanner
        for match in scan(
            chunks, path, custom=scanner.custom, known=scanner.known, skipped=skipped, explain=True
        ):
            if match.line <= line <= match.end_line:
                is_empty = False
                yield f"column {match.column}: rule {match.rule.id}, {self._outcome(path, match)}"
                yield from match.why
        if skipped:
            kind = "an archive" if "archive" in skipped else "binary"
            yield f"it is {kind}, so it is not read"
        elif is_empty:
            kind = language_of(path).kind
            yield f"nothing here reads as a long enough value assigned to a secret's name ({kind})"

    def _outcome(self, path: str, match: Match) -> str:
        """Return how a report treats a match: its confidence, or "not reported", and what keeps it out."""
        if not match.confidence:
            return "not reported"
        outcome = f"{match.confidence} confidence"
        if match.confidence not in self._scanner.levels:
            return f"{outcome}, which isn't reported"
        silenced = self._silenced_by(path, match)
        return f"{outcome}, silenced by {silenced}" if silenced else outcome

    def _excludes(self, path: str) -> bool:
        """Return whether the options or the settings exclude a path."""
        return self._excluded.match(path) or self._settings.excluded.match(self.path_in_project(path))

    def add_unreadable(self, path: str, why: str) -> None:
        """Count an unreadable file in the summary, and call `on_error`.

        The path is that of a finding; "" is the base itself, shown as ".".
        """
        path = path or "."
        self.summary.unreadable += 1
        self.summary.errors.append((path, why))
        if self.options.on_error:
            self.options.on_error(path, why)

    def _count(self, scanned: _Scanned) -> _Matches:
        """Add the scan of one content to the summary; return its matches and those of the files in it."""
        for path, why in scanned.errors:
            self.add_unreadable(path, why)
        self.summary.skipped.update(scanned.skipped)
        self.summary.files += scanned.files
        self.summary.bytes += scanned.bytes
        if self.options.on_progress:
            self.options.on_progress(self.summary)
        return iter(scanned.matches)

    def files(self) -> Iterator[ListedFile]:
        """Yield (path to open, path to show) of each file in the PATHs.

        A file that is in several of them is yielded once. What is left
        out, or can't be read, is counted in the summary.
        """
        seen = set[str]()
        for start in self.paths:
            for path, shown in self._files_at(start):
                if shown not in seen:
                    yield path, shown
                if len(self.paths) > 1:
                    seen.add(shown)

    def _files_at(self, start: str) -> Iterator[ListedFile]:
        """Yield the file at a PATH, "-" for stdin, or the files below it if it is a folder.

        Nothing is yielded for an excluded one, nor for a FIFO or a device, which counts as unreadable.
        """
        shown = shown_path(start, self.base)
        if os.path.isdir(start):
            yield from files_below(start, shown and shown + "/", self._filter)
        elif self._filter.leave_out(shown):  # a shell or a hook may list every file
            return
        elif start == "-":
            yield start, shown
        elif os.path.isfile(start):
            yield os.path.realpath(start), shown  # a link that was asked for is followed
        else:
            self.add_unreadable(
                shown or os.path.basename(start),
                "it isn't a file or a folder; pipe its content into: audit -",
            )

    def _scan_history(self, revisions: Sequence[str]) -> _Matches:
        """Yield the matches that are new in each version: none before it has the rule and value at this path.

        A match that is silenced doesn't make later ones old. Versions from before a range of revisions are
        only compared. What a shallow clone lacks counts as unreadable.
        """
        folder = self._scope.folder
        is_range = any(revision.startswith("^") or ".." in revision for revision in revisions)
        # A range doesn't reach what a shallow clone lacks.
        if not is_range and ask_git(folder, "rev-parse", "--is-shallow-repository") == "true":
            why = "a shallow clone lacks older commits; get them with: git fetch --unshallow"
            self.add_unreadable(folder, why)
        if self.options.known:
            yield from self._scan_messages(self.options.known, revisions)
        # By path, rule, value, and whether it is silenced: the first version that has such a match.
        first: dict[tuple[str, str, int, bool], Blob] = {}
        for blob, matches in self._scan_blobs(file_versions(folder, revisions)):
            new = []
            for match in matches:
                is_silenced = bool(self._silenced_by(blob.path, match))
                key = (blob.path, match.rule.id, match.identity, is_silenced)
                if first.setdefault(key, blob) == blob:  # a version may have the value in several places
                    new.append(match)
            if not blob.is_older:
                yield blob, new

    def _scan_messages(self, known: KnownValues, revisions: Sequence[str]) -> _Matches:
        """Yield the known values, and nothing else, in the messages of commits and tags."""
        messages = object_ids(self._scope.folder, "commit tag", revisions)
        for oid, size, chunks in read_objects(self._scope.folder, messages):
            first = next(chunks, b"")
            # Most have none, which a search finds out faster. Memory must not hold all of a large one.
            if size <= len(first) and not known.find(first):
                continue
            scanned = self._scanner.scan(Blob(oid, f"commit {oid[:12]}", oid), chain([first], chunks), size)
            for path, why in scanned.errors:
                self.add_unreadable(path, why)
            for blob, matches in scanned.matches:
                yield blob, [match for match in matches if match.rule in known.about]

    def _scan_blobs(self, blobs: Iterator[Blob]) -> _Matches:
        """Yield the matches of each blob that is to be scanned; what the clone lacks counts as unreadable.

        They are read in batches, sorted by path, since git stores the versions of a file as differences. The
        versions of a path stay in order.
        """
        missing = 0
        wanted = filter(self._wants, blobs)
        while batch := list(islice(wanted, _GIT_BATCH)):
            batch.sort(key=lambda blob: blob.path)
            contents = read_objects(self._scope.folder, (blob.oid for blob in batch))
            for blob, (_, size, chunks) in zip(batch, contents):
                if size >= 0:
                    yield from self._count(self._scanner.scan(blob, chunks, size))
                elif self.options.staged:
                    self.add_unreadable(blob.path, "this clone lacks it")
                elif not blob.is_older:
                    missing += 1
        if missing:  # in one line: a partial clone may lack most of them
            why = f"missing or broken objects in its history: {missing:,}"
            self.add_unreadable(self._scope.folder, why)

    def _wants(self, blob: Blob) -> bool:
        """Return whether to scan a blob: it is below the PATHs, and not left out, which is counted."""
        above = ("", *accumulate(blob.path.split("/"), "{}/{}".format))  # for a/b: the top, a and a/b
        if not blob.oid or not any(path in self._scope.roots for path in above):  # a removed one has no id
            return False
        return not self._filter.leave_out_vendored(blob.path) and not self._filter.leave_out(blob.path)


# How to read a secret in a language, by file extension. To add a language, add a row.
_READS = {
    ".py": 'os.environ["{}"]',
    ".js .jsx .ts .tsx .mjs .cjs .vue": "process.env.{}",
    ".go": 'os.Getenv("{}")',
    ".rb .erb": 'ENV.fetch("{}")',
    ".php": "getenv('{}')",
    ".java .kt .scala .groovy": 'System.getenv("{}")',
    ".cs": 'Environment.GetEnvironmentVariable("{}")',
    ".rs": 'std::env::var("{}")',
    ".sh .bash .zsh .yml .yaml .properties": "${{{}}}",
    ".json .toml": "secret:{} if SecretConfig reads this file",
}


def _advice_for(path: str, name: str) -> str:
    """Return the next step for a value that a file assigns to `name`, or to no secret's name for "".

    Return "" for a kind of file in which no step is known to be right.
    """
    name_of_file = os.path.basename(path)
    if name_of_file.startswith(".env.") or name_of_file.endswith(".env"):
        return "move it to a store: import this file with --backend file"
    ending = os.path.splitext(name_of_file)[1]
    reads = next((text for endings, text in _READS.items() if ending in endings.split()), "")
    if not reads:
        return ""
    if not name:
        return "store it under a name of your own"
    name = variable_name(name)
    return f"set {name}, and write {reads.format(name)}"


def _fingerprint_at(path: str, rule: str, mark: str) -> str:
    """Return the fingerprint of a match: 10 hex digits of its path and rule, then its mark, which has 6."""
    import hashlib

    where = os.fsencode(f"{stable_path(path)}\0{rule}")
    return hashlib.sha256(where).hexdigest()[:10] + mark


def _accepting(rule: str) -> tuple[str, ...]:
    """Return the ids in a baseline or in settings that accept this rule's matches.

    Whoever accepts passwords somewhere accepts weak ones there, too.
    """
    return (rule, "password") if rule == "weak-password" else (rule,)


class _Scope(NamedTuple):
    """Where an audit looks: at files or, with a `folder`, at git's index or history."""

    base: str  # the folder that paths are relative to, with "/" at its end; in git, the repository's top
    top: str  # the folder of the project's settings and baseline, with "/" at its end
    folder: str = ""  # the folder to run git in; the rest is for git only
    roots: Container[str] = ()  # the PATHs, relative to the repository's top; "" for everything
    tree: str = ""  # the id of the tree of HEAD, "" before the first commit


def _find_scope(paths: Sequence[str], options: AuditOptions) -> _Scope:
    """Return the scope of an audit.

    Raise BadValue for a PATH that isn't there. In git, it may be in the index or in a commit instead; there,
    raise BadValue for PATHs in more than one repository, too, and Unavailable outside of a repository.
    """
    if not options.staged and options.history is None:
        for path in paths:
            if path != "-" and not os.path.lexists(path):
                raise BadValue(f"no file or folder called {show(path)}")
        return _scope_of_files(paths, options.baseline)
    # What find_in_repository returns is the top, and the id of HEAD's tree unless there is no commit.
    if paths in ([], ["."]):  # the default: all that git has, even from a subfolder
        top, *tree = find_in_repository(".", "HEAD:")
        return _Scope(top, top, ".", {""}, *tree)
    found, *others = {tuple(find_in_repository(_folder_to_ask(path), "HEAD:")) for path in paths}
    if others:
        raise BadValue("these PATHs are in more than one repository", hint="audit one after the other")
    top, *tree = found
    folder = top
    # In a hook, git finds the commit's index only from the working directory.
    with suppress(Unavailable):
        if find_in_repository(".")[0] == top:
            folder = "."
    roots = {_path_in_git(path, top): path for path in paths}
    for root, path in roots.items():
        there = ("--", f":(top,literal){root}")
        is_there = os.path.lexists(path) or ask_git(folder, "ls-files", *there)
        if not (is_there or ask_git(folder, "rev-list", "-1", "--all", "--reflog", *there)):
            raise BadValue(f"no file or folder called {show(path)}")
    return _Scope(top, top, folder, roots, *tree)


def _scope_of_files(paths: Iterable[str], baseline: StrPath | None) -> _Scope:
    """Return the scope of an audit of files.

    Its base is the working directory or, if a PATH is outside of that, the folder that all PATHs are in. Its
    top is that of the PATHs' repository; without one, the folder of the option's baseline, if that is the
    base or above it; else the base. So fingerprints don't depend on where an audit starts.
    """
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in paths]
    try:
        common = real_path(os.path.commonpath(map(os.path.realpath, folders)))
    except ValueError:  # no PATHs, or on several drives of Windows
        common = ""
    base = real_path("")
    if not common.startswith(base):
        base = common
    repository = find_above(os.path.realpath(common), ".git")
    if repository:
        return _Scope(base, real_path(os.path.dirname(repository)))
    if baseline is not None:
        above = real_path(os.path.dirname(os.fspath(baseline)))
        if base.startswith(above):
            return _Scope(base, above)
    return _Scope(base, base)


def _folder_to_ask(path: str) -> str:
    """Return a folder in a PATH's repository, even if the PATH itself is gone.

    It is the last one on the way to the PATH that is there. A link in a repository isn't followed: it may
    lead out of it.
    """
    first, *steps = os.path.abspath(path).replace(os.sep, "/").split("/")
    folder = first + "/"
    for step in steps:
        below = f"{folder}{step}/"
        is_link = os.path.islink(below[:-1]) and find_above(os.path.realpath(folder), ".git")
        if is_link or not os.path.isdir(below):
            break
        folder = below
    return os.path.dirname(folder)  # without "/" at its end


def shown_path(path: str, base: str) -> str:
    """Return a path relative to the base, which it is in, without "/" at its end: "" for the base itself.

    "-", which is stdin, stays.
    """
    if path == "-":
        return path
    return real_path(path)[len(base) :].rstrip("/")


def _path_in_git(path: str, top: str) -> str:
    """Return a path relative to a repository's top, as git has it: links in there aren't followed."""
    steps = os.path.abspath(path).replace(os.sep, "/").split("/")
    for size in range(1, len(steps) + 1):  # the top is the folder that these first steps lead to
        if real_path("/".join(steps[:size]) + "/") == top:
            return "/".join(steps[size:])
    return shown_path(path, top)  # a link leads into the repository, below its top


_MAX_SETTINGS = 1 << 16  # characters: a stranger's tree must not make each path take long
_SETTINGS_HINTS = {  # the sections of .paissive-audit, and what to write there
    "rules": "write a name, what it begins with and its shape: acme-key = acme_(live|test)_ {A32}",
    "exclude": "write a pattern, as in .gitignore",
    "disable": "write the id of a rule; see: audit --list-rules",
    "allow": "write a pattern and the ids of rules; see: audit --list-rules",
}


class _AuditSettings:
    """The project's `.paissive-audit`; paths and patterns are relative to its folder, the project's top.

    Raise BadValue that names the line that is wrong. Without a text, there are no settings.
    """

    def __init__(self, text: str = "") -> None:
        """Read the text of the file."""
        self.rules: tuple[Rule, ...] = ()
        self.rule_ids = {rule.id for rule in all_rules()}
        self.disabled = set[str]()
        self.excluded = IgnorePatterns()  # files that aren't read
        self._allowed: list[tuple[IgnorePatterns, list[str]]] = []  # where these rules find nothing
        if len(text) > _MAX_SETTINGS:
            raise BadValue(f"{AUDIT_SETTINGS} is larger than 64 KiB", hint="shorten it")
        section = ""
        entries = []
        for number, line in enumerate(map(str.strip, text.lstrip("\ufeff").split("\n")), 1):
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
            elif line and not line.startswith("#"):
                entries.append((number, section, line))
        entries.sort(key=lambda entry: entry[1] != "rules")  # rules first, since others refer to them
        for number, section, line in entries:
            try:
                self._add(section, line)
            except (BadValue, KeyError, re.error) as error:
                why = getattr(error, "message", "can't be understood")
                hint = getattr(error, "hint", "") or _SETTINGS_HINTS.get(section, "")
                hint = hint or f"put it below one of [{'], ['.join(_SETTINGS_HINTS)}]"
                raise BadValue(f"line {number} of {AUDIT_SETTINGS}: {why}", hint=hint) from None

    def _add(self, section: str, line: str) -> None:
        """Take in a line of a section.

        Raise KeyError for an unknown section and for an id of no rule, BadValue or re.error for a rule or a
        pattern that can't be used.
        """
        if len(line) > 1000:  # some patterns take the square of their length
            raise BadValue("it is too long")
        if section == "rules":
            name, _, pattern = line.partition("=")
            rule = custom_rule(name.strip(), pattern)
            self.rules += (rule,)
            self.rule_ids.add(rule.id)
        elif section == "disable" and line in self.rule_ids:
            self.disabled.add(line)
        elif section == "exclude":
            self.excluded.add(line)
        else:
            pattern, *rules = line.split()
            if section != "allow" or not rules or not self.rule_ids.issuperset(rules):
                raise KeyError(section)
            self._allowed.append((IgnorePatterns([pattern]), rules))

    def allows(self, path: str, rule: str) -> bool:
        """Return whether a line of [allow] has this rule and matches the path."""
        return any(rule in rules and patterns.match(path) for patterns, rules in self._allowed)


# How severe it is to find a value that a store holds or held, and what to do next.
_VERDICTS = {
    "current": ("critical", "change it where it is used, then: set {0} (with a policy: rotate now {0})"),
    "pending": ("high", "undo its rotation and start over: rotate abort {0}, rotate now {0}"),
    "previous": ("high", "revoke it where it was issued; `rotate drop {}` does if its policy has --revoke"),
    "retired": ("low", "revoke it where it was issued, unless that was done"),
}


class KnownValues:
    """The values in a store, to be found in any encoding that masking knows.

    The values themselves are never shown. `notes` say of which secrets no
    value is searched for, and why.

    Raise Unavailable for a store that isn't there, Moved for one some of
    whose secrets were moved to another one.
    """

    def __init__(self, store: Backend) -> None:
        """Read all values of the store, also older ones, and tell which can be searched for."""
        store = default_manager.store(store)
        store.check_exists()
        check_nothing_moved(store)  # what is elsewhere would not be found
        self.about: dict[Rule, dict[str, Any]] = {}  # what a Finding says of a value
        self.notes: list[str] = []
        self.own_file = real_path(store.plaintext_file() or os.devnull)
        if ask_about_file(self.own_file, "ls-files"):
            self.own_file = os.devnull  # what git tracks is a leak like any other
        self._rules: dict[str, Rule] = {}  # by value
        references = set[str]()
        plain = set[str]()
        for name, verdict, value in self._collect(store):
            if looks_like_reference(value) and store.references_to_follow(name):
                references.add(name)
            elif not maskable(value) or TOO_PLAIN.fullmatch(value):
                plain.add(name)
            else:
                self._add(name, verdict, value)
        self._encodings = Encodings(self._rules)
        for why, names in (
            ("references (audit their store with --backend)", references),
            ("too short or too plain to search for", plain),
            ("older values are not kept, so leaks of them can't be found", self.without_history),
        ):
            if names:
                self.notes.append(f"{why}: {', '.join(map(printable, sorted(names)))}")

    def _add(self, name: str, verdict: str, value: str) -> None:
        """Search for a value of this secret; if two secrets have it, or two stages, the first one counts."""
        severity, fix = _VERDICTS[verdict]
        rule = Rule("known-value", f"value of {printable(name)}, {verdict}", "high", severity)
        self.about[rule] = {
            "secret": name,
            "verdict": verdict,
            "fix": fix.format(shell_word(name)),
            "sample": "…",
        }
        self._rules.setdefault(value, rule)

    def find(self, text: bytes) -> list[Span]:
        """Return the spans of values in a text, in any encoding.

        Longer ones come first.
        """
        matches = sorted(self._encodings.find(text), key=lambda place: place.start - place.end)
        return [Span(start, end, self._rules[value], "high") for start, end, value in matches]

    def _collect(self, store: Store) -> Iterator[tuple[str, str, str]]:
        """Yield (name, verdict, value) for all current, pending, previous and retired values, in this order.

        Set `without_history` to the names of secrets whose retired values can't be had.
        """
        stages = store.get_stages()
        for verdict in ("current", "pending", "previous"):
            for name, values in stages.items():
                if verdict in values:
                    yield name, verdict, values[verdict]
        self.without_history = list(stages)
        with suppress(BadValue):  # raised by a store that keeps no older values
            if isinstance(store, FileStore):
                yield from self._values_in_git(store)
            else:
                for name in stages:
                    yield from ((name, "retired", value) for value in store.older_values(name))
                self.without_history = []

    def _values_in_git(self, store: FileStore) -> Iterator[tuple[str, str, str]]:
        """Yield (name, "retired", value) for each version of a sealed file in git that the identity opens.

        Current values are among them. A note says how many versions don't open. Remove from `without_history`
        the secrets whose files git has. Outside of a repository, do nothing.
        """
        secrets = store.sealed_folder()
        folder = os.path.dirname(secrets)
        try:
            top = shown_path(secrets, find_in_repository(folder)[0]) + "/"
        except Unavailable:
            return
        names: dict[str, set[str]] = {}  # by the id of a file's version, which its copies share
        for blob in changed_blobs(folder, object_ids(folder, "commit")):
            if blob.path.startswith(top):
                name = blob.path[len(top) :].removesuffix(".age")
                names.setdefault(blob.oid, set()).add(name)
        self.without_history = sorted({*self.without_history}.difference(*names.values()))
        unopened = 0
        for oid, _, chunks in read_objects(folder, names):
            sealed = b"".join(chunks)
            for name in names[oid]:  # a file opens under the name that is sealed in it
                with suppress(WrongKey, Corrupt, BadValue):
                    value = store.open_copy(name, sealed)
                    yield base_of_stage(name) or name, "retired", value
                    break
            else:
                unopened += 1
        if unopened:
            self.notes.append(f"older encrypted files that the store's identity doesn't open: {unopened}")


class _Scanned:
    """The scan of one content: its matches, those of the files in it, and counts for the summary."""

    def __init__(self) -> None:
        self.files = 0  # 1, or 0 for a file that has vanished; the files in an archive don't count
        self.bytes = 0
        self.matches: list[tuple[Blob, list[Match]]] = []
        self.errors: list[tuple[str, str]] = []  # (path, why) of what is unreadable
        self.skipped = Counter[str]()  # as in Summary

    def count_read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield chunks of a stream, and count their bytes."""
        for chunk in chunks:
            self.bytes += len(chunk)
            yield chunk


class _Scanner:
    """Scans contents; other processes get a copy."""

    def __init__(
        self,
        custom: tuple[Rule, ...],
        known: Callable[[bytes], list[Span]] | None,
        archives: bool,
        levels: Sequence[str],
    ) -> None:
        self.custom = custom  # the project's own rules
        self.known = known  # finds a store's values
        self.archives = archives  # whether to scan the files in archives
        self.levels = levels  # the confidences to report

    def scan_file(self, file: ListedFile) -> _Scanned:
        """Scan a file, or stdin for "-".

        If it can't be read to its end, that is among the errors, and what was found before stays. A file that
        has vanished since it was listed isn't counted.
        """
        path, shown = file
        scanned = _Scanned()
        try:
            with open(0, "rb", closefd=False) if path == "-" else open_regular(path, follow=False) as data:
                size = 0 if path == "-" else os.fstat(data.fileno()).st_size
                chunks = chunks_of(data.read)
                if path == "-":  # a pipe has no size
                    chunks = scanned.count_read(chunks)
                self._scan_into(scanned, Blob("", shown), chunks, size)
        except VANISHED:
            return _Scanned()
        except OSError as error:
            scanned.errors.append((shown, str(error.strerror)))
        return scanned

    def scan(self, blob: Blob, chunks: Iterator[bytes], size: int) -> _Scanned:
        """Scan the content of a blob, which has this many bytes."""
        scanned = _Scanned()
        self._scan_into(scanned, blob, chunks, size)
        return scanned

    def _scan_into(self, scanned: _Scanned, blob: Blob, chunks: Iterator[bytes], size: int) -> None:
        """Scan a content of `size` bytes into `scanned`; with `archives`, open archives.

        Reading may raise OSError.
        """
        first = next(chunks, b"")  # enough to tell an archive
        scanned.files = 1
        scanned.bytes += size
        chunks = chain([first], chunks)
        if self.archives and is_archive(first):
            budget = ArchiveBudget()
            try:
                self._scan_archive(blob, budget.count_read(chunks), scanned, budget)
            except ArchiveTooLarge as error:
                scanned.errors.append((blob.path, error.message))
        else:
            self._scan_one(blob, chunks, blob.path, scanned)

    def _scan_archive(
        self, blob: Blob, chunks: Iterator[bytes], scanned: _Scanned, budget: ArchiveBudget, level: int = 1
    ) -> None:
        """Scan the files in an archive, which is at level 1, and in the archives in it, which are at level 2.

        One that can't be read to its end is reported as an error. Raise ArchiveTooLarge beyond the budget.
        """
        if level > MAX_ARCHIVE_LEVELS:
            scanned.errors.append((blob.path, f"archives are nested more than {MAX_ARCHIVE_LEVELS} deep"))
            return
        try:
            for name, content in unpack(chunks, os.path.basename(blob.path), budget):
                inner = blob._replace(path=f"{blob.path}!{name}")
                first = next(content, b"")
                content = chain([first], content)
                if is_archive(first):
                    self._scan_archive(inner, content, scanned, budget, level + 1)
                else:
                    self._scan_one(inner, content, name, scanned)
        except ArchiveTooLarge:  # which is the outermost archive's error, whichever archive spends its budget
            raise
        except BadValue as error:
            scanned.errors.append((blob.path, error.message))

    def _scan_one(self, blob: Blob, chunks: Iterator[bytes], name: str, scanned: _Scanned) -> None:
        """Scan a file, which is judged by `name`: its path or, in an archive, its name there.

        An internal error is reported for this file only, and the audit goes on. Reading may raise OSError or,
        in an archive, BadValue: what was found before that stays.
        """
        found: list[Match] = []  # it is filled below, after it is in scanned.matches
        try:
            matches = scan(
                chunks,
                name,
                custom=self.custom,
                skipped=scanned.skipped,
                known=self.known,
                levels=self.levels,
            )
            for match in matches:
                if not found:
                    scanned.matches.append((blob, found))
                if len(found) == _MAX_FINDINGS:
                    why = f"what follows line {found[-1].line} was not examined, for it has too many findings"
                    scanned.errors.append((blob.path, why))
                    break
                found.append(match)
        except (OSError, SecretsError):
            raise
        except Exception as error:
            why = f"internal error: {type(error).__name__}; please report it (leave out secrets)"
            scanned.errors.append((blob.path, why))


_BATCH = 16  # files that a process scans at a time
# CPU time before other processes help: starting them takes a tenth of that. On a busy machine, where the
# clock runs on meanwhile, they would help least.
_ALONE_SECONDS = 0.4


def _scan_all(files: Iterator[ListedFile], scanner: _Scanner, jobs: int) -> Iterator[_Scanned]:
    """Yield the scan of each file, in order: here at first and, after a while, in `jobs` processes."""
    until = time.process_time() + _ALONE_SECONDS
    for file in files:
        if jobs > 1 and time.process_time() > until:
            yield from _scan_in_processes([file, *files], scanner, jobs)  # with this one, all that are left
            return
        yield scanner.scan_file(file)


def _scan_in_processes(files: list[ListedFile], scanner: _Scanner, jobs: int) -> Iterator[_Scanned]:
    """Yield the scan of each file, in order, from several processes; raise Unavailable if one is killed."""
    import multiprocessing
    import signal
    import threading
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # Forking is faster, but a lock that another thread holds stays locked. Windows can't fork.
    can_fork = hasattr(os, "fork") and threading.active_count() == 1
    context = multiprocessing.get_context("fork" if can_fork else "spawn")
    # Windows can't wait for more than 61.
    pool = ProcessPoolExecutor(min(jobs, 61), context, _start_helper, (scanner,))
    try:
        # Hold Ctrl-C back meanwhile: a half-started pool would never end.
        mask = getattr(signal, "pthread_sigmask", lambda how, signals: signals)  # not on Windows
        before = mask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            results = pool.map(_scan_in_helper, files, chunksize=_BATCH)
        finally:
            mask(signal.SIG_SETMASK, before)
        yield from results
    except BrokenProcessPool:
        raise Unavailable("a process of the audit was killed", hint="try --jobs 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


_helper: _Scanner  # of a helper process, which gets it once: known values take long to send


def _start_helper(scanner: _Scanner) -> None:
    """Make this process a helper, which scans files with this scanner."""
    import signal

    global _helper
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _helper = scanner


def _scan_in_helper(file: ListedFile) -> _Scanned:
    """Scan a file in a helper process."""
    return _helper.scan_file(file)


class Baseline:
    """Accepted findings, in a file of JSON lines: no values or line numbers.

    The first line holds the version, every other an accepted place, in any
    order, so that branches merge. A missing file accepts nothing. Raises
    BadValue if it isn't a baseline, Unsafe if it isn't a file, and Denied
    or Unavailable if it can't be read.
    """

    def __init__(self, path: StrPath) -> None:
        """Read the file, if there is one."""
        self.path = os.fspath(path)
        # (path, rule, fingerprint) of each accepted place: read from the file, and added by `update`.
        self.entries = set[tuple[str, ...]]()
        self._load()

    def _load(self) -> None:
        """Add the entries of the file, if there is one; raise BadValue if one is wrong."""
        import json

        if not os.path.lexists(self.path):
            return
        with disk_errors(f"read {self.path}"):
            lines = read_file(self.path).splitlines()
        try:
            rows = [json.loads(line) for line in lines if line.strip()]
            # Don't guess at other versions: an entry that is misread would hide a secret. A merge may
            # repeat the first line.
            if {row.get("version") for row in rows} - {None} != {_BASELINE_VERSION}:
                raise ValueError
            for row in rows:
                if "version" in row:
                    continue
                entry = tuple(row[name] for name in _BASELINE_FIELDS)
                os.fsencode("".join(entry))  # raises ValueError if no file could be called that
                self.entries.add(entry)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            hint = "resolve the merge, or remove the file and write a new one with --update-baseline"
            raise BadValue(f"{show(self.path)} is not a baseline of this version", hint=hint) from None

    def accepts(self, path: str, rule: str, mark: str) -> bool:
        """Return whether a match is accepted by path, id of rule, and mark.

        An entry for password accepts a weak-password as well.
        """
        return any(
            (stable_path(path), name, _fingerprint_at(path, name, mark)) in self.entries
            for name in _accepting(rule)
        )

    def update(self, findings: Iterable[Finding]) -> None:
        """Accept all places of these findings, and write the file.

        Their paths must be relative to the project's top. Earlier entries
        stay, and those that another audit has written meanwhile.
        """
        import json

        for found in findings:
            path = stable_path(found.path)
            self.entries |= {(path, found.rule, place.fingerprint) for place in found.locations}
        with disk_errors(f"write {self.path}"), FileLock(self.path):
            self._load()
            lines = io.BytesIO()  # one after the other: there may be very many
            lines.write(b'{"version": %d}\n' % _BASELINE_VERSION)
            for entry in sorted(self.entries):
                lines.write(json.dumps(dict(zip(_BASELINE_FIELDS, entry))).encode() + b"\n")
            rewrite(self.path, lines.getvalue(), 0o644)


# === Reports ===
# One writer per format, which streams the findings, so that a report takes no memory; the summary is complete
# after the last of them. Text from files, above all paths, is escaped for its destination.

_COLOURS = {"high": "31;1", "medium": "33", "low": "36"}
_LEVELS = {  # of SARIF, and of GitHub
    "critical": ("error", "9.5"),
    "high": ("error", "8.0"),
    "medium": ("warning", "5.5"),
    "low": ("note", "3.0"),
}
_MAX_OTHER_LINES = 20  # of a finding's other places, in text
# Singular and plural of the counts of things that were not examined, where these are nouns.
_NOUNS = {
    "archive": ("archive", "archives"),
    "secrets' older values": ("secret's older values", "secrets' older values"),
}
_NEXT_STEPS = (
    "next: if anybody else could read the file, revoke each secret where it was issued; store its\n"
    "      successor (set NAME) and read it from there. If it isn't a secret, write `paissive: allow` in a\n"
    "      comment on its line, or accept it with --update-baseline, which also works for git's history."
)


def report_text(run: Audit, out: TextIO) -> None:
    """Write a line for each finding, then the next steps, and a line of counts."""
    summary = run.summary
    # Each finding, in one line.
    is_colourful = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for finding in run:
        confidence = finding.confidence
        if is_colourful:
            confidence = f"\x1b[{_COLOURS[confidence]}m{confidence}\x1b[0m"
        line = f"{printable(finding.path)}:{finding.line}:{finding.column}: {confidence}: {finding.what}"
        line += f" [{finding.rule}] {printable(finding.sample)}"
        line += _other_lines(finding)
        if finding.commit:
            line += f" from {finding.commit[:12]}"
        if finding.date:
            line += f" of {finding.date}"
        if finding.fix:
            line += f"; next: {printable(finding.fix)}"
        print(line, file=out)
    # What to do about them, and the counts, which are complete by now.
    found = "no findings"
    if summary.findings:
        print(f"\n{_NEXT_STEPS}\n", file=out)
        found = plural(summary.findings, "finding")
        found += _list_counts(" (", summary.by_confidence.items()) + ")"
    silenced = [(f"by {why}", count) for why, count in sorted(summary.silenced.items())]
    skipped = {**summary.skipped, "unreadable": summary.unreadable}
    found += f" in {plural(summary.files, 'file')}, {summary.bytes / 1e6:.1f} MB"
    found += _list_counts("; silenced: ", silenced)
    not_examined = []
    for kind, count in sorted(skipped.items()):
        one, several = _NOUNS.get(kind, (kind, kind))
        not_examined.append((one if count == 1 else several, count))
    print(found + _list_counts("; not examined: ", not_examined), file=out)


def _other_lines(finding: Finding) -> str:
    """Return " and in 2 other places: lines 3, 9" for a finding with several places; "" for one place."""
    lines = [str(place.line) for place in finding.locations[1:]]
    if not lines:
        return ""
    others = plural(len(lines), "other place")
    if len(lines) > _MAX_OTHER_LINES:
        lines[_MAX_OTHER_LINES:] = ["…"]
    return f" and in {others}: {'line' if len(lines) == 1 else 'lines'} {', '.join(lines)}"


def _list_counts(start: str, counts: Iterable[tuple[str, int]]) -> str:
    """Return `start`, followed by "3 this, 1 that" without counts of 0; "" if all are 0."""
    text = ", ".join(f"{count} {what}" for what, count in counts if count)
    if not text:
        return ""
    return start + text


def plural(count: int, what: str) -> str:
    """Return "1 file" or "2,000 files"; `what` is the singular of a noun with a regular plural."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def report_json(run: Audit, out: TextIO) -> None:
    """Write an object with the version of the format, the findings, and a summary."""
    import json

    print('{"version": 1, "findings": [', file=out)
    _print_rows(map(_json_row, run), out)
    errors = [{"path": _utf8_text(path), "why": why} for path, why in run.summary.errors]
    summary = {**vars(run.summary), "errors": errors}
    print(f'], "summary": {json.dumps(summary)}}}', file=out)


def _json_row(finding: Finding) -> dict[str, Any]:
    """Return a finding for JSON, without empty fields, such as the date outside of a history.

    `locations` is always there, with one place at least.
    """
    row = {name: _utf8_text(value) for name, value in finding._asdict().items() if value}
    return {**row, "locations": [place._asdict() for place in finding.locations]}


def _utf8_text(value: Any) -> Any:
    r"""Return text, such as a file's name, with bytes that aren't UTF-8 as \xff; other values unchanged."""
    if not isinstance(value, str):
        return value
    # Such bytes are surrogates in a name (PEP 383), which JSON can't hold. Not os.fsencode: where names are
    # in Latin-1, that can't encode the … of a sample.
    return value.encode(errors="surrogateescape").decode("utf-8", "backslashreplace")


def _print_rows(rows: Iterable[dict[str, Any]], out: TextIO) -> None:
    """Write the rows of a JSON array, one a line, as they come."""
    import json

    for number, row in enumerate(rows):
        print(("," if number else "") + json.dumps(row), file=out)


def report_sarif(run: Audit, out: TextIO) -> None:
    """Write SARIF 2.1.0: the findings, the rules that found them, and a notification for unreadable files."""
    import json

    rules: dict[str, dict[str, Any]] = {}
    print('{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",', file=out)
    # Without columnKind, a reader may count UTF-16 units and mark the wrong characters.
    print('"runs": [{"columnKind": "unicodeCodePoints", "results": [', file=out)
    _print_rows((_sarif_result(finding, rules) for finding in run), out)
    notes = [
        {"level": "error", "message": {"text": f"can't read it: {why}"}, "locations": [_sarif_location(path)]}
        for path, why in run.summary.errors
    ]
    is_success = bool(run.summary.files or not notes)  # some unreadable files don't make a scan a failure
    invocation = {"executionSuccessful": is_success, "toolExecutionNotifications": notes}
    driver = {"name": "paissive_secrets", "version": __version__, "rules": list(rules.values())}
    end = json.dumps({"invocations": [invocation], "tool": {"driver": driver}})
    print(f"], {end[1:]}]}}", file=out)


def _sarif_location(path: str, **details: Any) -> dict[str, Any]:
    """Return a place in a file, below the root of the source, with details such as its `region`."""
    from urllib.parse import quote

    # RFC 3986 quotes bytes, not text: a name may not be UTF-8.
    artifact = {"uri": quote(os.fsencode(path)), "uriBaseId": "%SRCROOT%"}
    return {"physicalLocation": {"artifactLocation": artifact, **details}}


def _sarif_rule(finding: Finding) -> dict[str, Any]:
    """Return a finding's rule for SARIF, whose severity is a number from 0 to 10, by which GitHub sorts."""
    # Known values have rules of their own, one for each, with the same id. In a report, one stands for all.
    if finding.secret:
        finding = finding._replace(what="value of a secret in the store", severity="critical")
    return {
        "id": finding.rule,
        "shortDescription": {"text": finding.what},
        "help": {"text": _NEXT_STEPS},
        "properties": {
            "security-severity": _LEVELS[finding.severity][1],
            "tags": ["security", "external/cwe/cwe-798"],
        },
    }


def _sarif_result(finding: Finding, rules: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a finding as a result of SARIF, and add its rule to `rules`, by id, if it isn't there yet."""
    rules.setdefault(finding.rule, _sarif_rule(finding))
    places = []
    for at in finding.locations:
        region = {"startLine": at.line, "startColumn": at.column, "endLine": at.end_line}
        places.append(_sarif_location(finding.path, region=region))
    first, *others = places
    related = [{**place, "message": {"text": "the same value"}} for place in others]
    details = pick(finding, "confidence", "secret", "verdict", "commit", "date").items()
    message = f"{finding.what} {finding.sample}"  # a colon would make the report's line a finding
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": list(rules).index(finding.rule),
        "level": _LEVELS[finding.severity][0],
        "message": {"text": message},
        "locations": [first],
        # GitHub recognises an alert by this; its own action appends ":1" for the first of a hash.
        "partialFingerprints": {"primaryLocationLineHash": f"{finding.fingerprint}:1"},
        "properties": {name: value for name, value in details if value},
    }
    if related:
        result["relatedLocations"] = related
    return result


def pick(source: object, *names: str) -> dict[str, Any]:
    """Return {name: value} of these attributes of an object."""
    return {name: getattr(source, name) for name in names}


# === Check ===
# Which names a project asks for, and where: in code, in what its tools and platforms fill in, in examples of
# .env, and in references of config files. Each kind of file is searched as text, by rows of one table. The
# names are compared with those in a store; no value is shown. Code that reads .env itself is named, since it
# doesn't get what `run` supplies.

_OWN_BEGIN = b"#!/usr/bin/env python3\n# paissive_secrets "  # a copy of this file asks for its settings
# `#[` begins an attribute in Rust and PHP.
_COMMENT_LINE = lazily(r"[ \t]*(?:#(?!\[)|//|\*\s|--[\s\[]|;|<!--)")
# Functions that take a name and, in most languages, a default: a word in each file that calls them, and an
# expression for what is before the parenthesis. To add one, add a row, and a line that calls it to the tests.
_GETTERS = (
    ("etenv", r"[gG]etenv(?:\(\)(?:\.get(?:OrDefault)?)?)?"),  # Go, Java, PHP and C
    ("LookupEnv", "LookupEnv"),  # Go
    ("GetEnvironmentVariable", "GetEnvironmentVariable"),  # .NET
    ("get_env", r"System\.get_env"),  # Elixir, like the next two
    ("fetch_env", r"System\.fetch_env!?"),
    ("Env.get", r"Env\.get\w*"),
    ("Deno.env", r"Deno\.env\.get"),
    ("env!", "(?:dot)?env!"),  # Rust
)
# What the expressions below may refer to, and what that may refer to. @NAME is for places where names in
# lower case are others, such as Spring's properties. Behind a name, `|| "x"` is a default, and
# `|| raise "x"` isn't.
_PARTS = {
    "@name": r"(?P<name>[A-Za-z_]\w*)",
    "@NAME": r"(?P<name>[A-Z][A-Z0-9_]+)",
    "@or": r"\s*(?:\|\||\?\?|\?:|=(?![=~>]))(?!\s*(?:abort|die|exit|fail|halt|panic|raise|throw)\b)",
    "@example": (
        r"/(?:\.?env[._-](?:\w+[._-])?(?:example|sample|template|dist|tmpl|tpl)(?:-\w+)?"
        r"|\.?(?:example|sample|template)\.env)"
    ),
    "@code": (
        r"(?:@script|@ruby|\.(?:php|phtml|java|kts?|groovy|gradle|go|c|cc|cpp|h|rs|exs?|prisma"
        r"|cs|vb|fs|fsx|ps1|psm1|cshtml|razor))"
    ),
    "@script": r"\.(?:[cm]?[jt]sx?|vue|svelte|astro)",
    "@ruby": r"(?:\.(?:rb|rake|ru|erb|gemspec)|/(?:Gem|Rake|Guard|Cap)file)",
    "@yaml": r"\.ya?ml",
    "@compose": r"/(?:docker-)?compose[\w.-]*\.ya?ml",
}


class _Way(NamedTuple):
    """A way to ask for names. To add one, add a row to _WAYS, and a line that asks so to the tests."""

    files: str  # matches the end of a path
    word: str  # in each file that asks so
    # An expression with a group `name`. It may have a group `backend`, and one `default`, which matches where
    # the name may be missing.
    asks: str
    within: str = ""  # matches the stretches of a file to search; "" for all of it
    is_secret: bool = False  # whether each name is a secret's; else it depends on the name
    how: str = "requires"  # how it asks for a name without a default; see _Use
    variable: Callable[[str], str] = str  # makes the variable from the name as it is written


_WAYS = (
    # This tool's references.
    _Way(
        r"\.(?:json|toml|ya?ml|in|tmpl|tpl|template)",
        "secret:",
        r"""(?<![\w$])(?<!\$\$\{)secret:(?://(?P<backend>[a-z]+)/)?(?P<name>[A-Za-z_][^\s"'`{}<>,\]]*)""",
        is_secret=True,
    ),
    # The value of API_KEY=changeme is an example, that of PORT=3000 a default.
    _Way(
        "@example",
        "=",
        r"(?m)^[ \t]*(?:export[ \t]+)?@name[ \t]*=(?P<default>[ \t]*null[ \t]*$)?",
    ),
    # One that is commented out is what may be set.
    _Way(
        "@example",
        "#",
        r"(?m)^[ \t]*#[ \t]?(?:export[ \t]+)?@NAME=(?!=)",
        how="reads",
    ),
    # A default is the second argument, or follows the call.
    *(
        _Way(
            "@code",
            word,
            rf"""(?<![\w>$]){get}[(\[ ]\s*["'`]@name(?P<default>["'`](?:\s*,|[\])]@or))?""",
        )
        for word, get in _GETTERS
    ),
    # Functions called env: Laravel, Next.js, Prisma.
    _Way(
        "@code",
        "env(",
        r"""(?<![\w.>$])(?:get_)?env\(["'`](?P<name>[A-Z]\w+)["'`](?P<default>\s*,|\)@or)?""",
    ),
    # Python: calls of this tool, and the environment. What is read right after `try:` may be missing.
    _Way(
        r"\.py",
        "paissive_secrets",
        r"""\b(?:get|require)_secret\((?:[^()]*\bname=)?\s*["'](?P<name>[^"'\n]+)["']"""
        r"""(?P<default>\s*,\s*(?:default\b|(?!\w+=)["'\w]))?"""
        r"""(?:[^()]*\bbackend=["']?(?:\w+\.)*(?P<backend>\w+))?""",
        is_secret=True,
    ),
    _Way(
        r"\.py",
        "environ",
        r"""(?P<default>\btry:\n[^\n]{0,200}?)?\benviron\[\s*["']@name["']\s*\](?!\s*=(?!=))""",
    ),
    _Way(
        r"\.py",
        "env",
        r"""\b(?:getenv|environ\.(?:get|pop|setdefault))\(\s*["']@name["'](?P<default>\s*,)?""",
        how="reads",
    ),
    # What the code sets or looks for, it can do without.
    _Way(r"\.py", "environ", r"""\benviron\[\s*["']@name["']\s*\]\s*=(?!=)""", how="default"),
    _Way(r"\.py", "environ", r"""["']@name["']\s+(?:not\s+)?in\s+(?:\w+\.)*environ\b""", how="default"),
    # environs and django-environ, python-decouple, Starlette, pydantic.
    *(
        _Way(
            r"\.py",
            word,
            rf"""(?<![\w.]){call}\(\s*["']@NAME["']"""
            r"""(?P<default>\s*,\s*(?:(?:[^()]|\([^()]*\))*?\bdefault=|(?!\w+=)[^\s)]))?""",
        )
        for word, call in (
            ("env", r"env(?:\.(?!get\b|pop\b|setdefault\b)\w+)?"),
            ("decouple", "config"),
            ("starlette.config", "config"),
        )
    ),
    _Way(
        r"\.py",
        "pydantic",
        r"(?m)^(?: {4}|\t)(?P<name>[A-Za-z]\w*):[^=\n]*(?P<default>=)?",
        within=r"(?m)^class \w+\([^)\n]{0,200}?Settings\b[^)\n]{0,200}\):.*\n"
        r"(?!(?:(?:[ \t].*)?\n)*?[ \t].*\benv_prefix\b)(?:(?:[ \t].*)?\n)*",
        variable=str.upper,
    ),
    # JavaScript: Node.js, Vite and Bun.
    _Way(
        "@script",
        ".env",
        r"""\b(?:process|import\.meta|Bun)\.env(?:\??\.|(?:\?\.)?\[["'`])@name"""
        r"""(?P<default>["'`]?\]?!?(?: as string)?\)?@or)?""",
    ),
    _Way(
        "@script",
        ".env",
        r"[{,]\s*@name(?P<default>[^,}=]*=)?",
        within=r"\{[^{}]*\}(?=\s*=\s*(?:process|import\.meta|Bun)\.env\b(?!\.))",
    ),
    # Ruby, also in YAML that is a template, and PHP.
    _Way(
        r"(?:@ruby|@yaml|\.php|\.phtml)",
        "ENV",
        r"""(?:\b|\$_)ENV(?:\.fetch[( ]\s*|\[)["']@name"""
        r"""(?P<default>["'](?:\s*,|\)\s*(?:\{|do\b)|[\])](?:\.presence)?@or))?""",
    ),
    # Symfony.
    _Way(r"(?:\.php|\.xml|@yaml)", "%env(", r"%env\((?:(?P<default>default:\w*:)|\w+:){0,6}@name\)%"),
    _Way("@yaml", "env(", r"""(?m)^[ \t]*["']?env\(@name\)["']?(?P<default>:)"""),
    # Go: tags of structs.
    _Way(
        r"\.go",
        "env",
        r"""\b(?:env|envconfig|environ):"@name(?P<default>[^`]{0,200}?[dD]efault:")?""",
        within="`[^`\n]*`",
    ),
    # Spring.
    _Way(
        r"\.(?:java|kts?|groovy)",
        "@Value",
        r"\$\{@NAME(?P<default>:)?",
        within=r"@Value\([^)]{0,500}\)",
    ),
    _Way(
        r"(?:\.properties|(?:/resources/.*|/(?:application|bootstrap)[\w-]*)@yaml)",
        "${",
        r"(?<!\$)\$\{@NAME(?P<default>:)?",
    ),
    # Rust: the standard library, and clap.
    _Way(
        r"\.rs",
        "env",
        r"""\benv::var(?:_os)?\(\s*"@name(?P<default>"\)\s*\.(?:ok(?!_or)|unwrap_or|is_ok|is_err|or|map_or))?""",
    ),
    _Way(
        r"\.rs",
        "env",
        r"""\benv\s*=\s*"@name(?P<default>[^\]]{0,200}\bdefault_value)?""",
        within=r"#\[(?:arg|clap|structopt)\([^\]]{0,500}\]",
    ),
    # Shells.
    _Way(r"(?:\.(?:sh|bash|zsh)|/[\w-]*entrypoint[\w-]*)", "?", r"\$\{@name:?\?"),
    # Docker Compose, which also passes variables on and makes secrets of them, and CI services, whose own
    # variables begin with their names.
    _Way(
        r"(?:@compose|/\.(?:travis|gitlab-ci)@yaml)",
        "${",
        r"(?<!\$)\$\{(?!CI_|GITLAB_|TRAVIS_)@name(?P<default>:?[-+])?",
    ),
    _Way(
        r"(?:@compose|/\.(?:travis|gitlab-ci)@yaml)",
        "$",
        r"(?<!\$)\$(?!CI_|GITLAB_|TRAVIS_)@NAME",
    ),
    _Way("@compose", "environment", r"""(?m)^[ \t]+(?:-|environment:)[ \t]+["']?@NAME["']?[ \t]*$"""),
    # GitHub Actions; GITHUB_TOKEN is always there.
    _Way(
        "@yaml",
        "secrets.",
        r"(?<![\w.-])secrets\.(?!GITHUB_TOKEN\b)@name(?P<default>\s*\|\|)?",
        within=r"\$\{\{.{0,500}?\}\}|(?m:^[ \t]*(?:- )?if:.*)",
        is_secret=True,
    ),
    _Way("@yaml", "vars.", r"(?<![\w.-])vars\.@name(?P<default>\s*\|\|)?", within=r"\$\{\{.{0,500}?\}\}"),
    # Ansible and Terraform.
    _Way(
        r"(?:@yaml|\.j2|\.jinja2?)",
        "env",
        r"""\b(?:lookup|query|q)\(\s*["'](?:ansible\.builtin\.)?env["']\s*,\s*["']@name"""
        r"""(?P<default>["']\s*(?:,\s*default\s*=|\)\s*(?:\|\s*(?:d|default)\s*\(|or\b)))?""",
    ),
    _Way(
        r"^(?!.*/modules/).*\.tf",  # what calls a module gives it its variables
        "variable",
        r"""(?m)^variable\s+"@name"\s*\{(?P<default>(?:[^{}]|\{[^{}]*\})*?^[ \t]*default\s*=)?""",
        variable="TF_VAR_{}".format,
    ),
)

# Where a program reads .env by itself. A group `name` is the path of the file; the others read what stands
# beside or above their code. To add one, add a row, and a line that reads so to the tests.
_DOTENV_READERS = (
    _Way(r"\.py", "dotenv", r"(?<!def )\b(?:load_dotenv|dotenv_values)\("),
    _Way(r"\.py", "read_env", r"(?<!def )\bread_env\("),
    _Way("@script", "loadEnv", r"(?<!function )\bloadEnv(?:File|Config)?\("),
    _Way(
        "@code",
        "otenv",
        r"""\bdotenv\.config\(|["']dotenv["']\)\.config\(|["']dotenv(?:-rails|/load|(?:-\w+)?/config)["']"""
        r"|\bDotenv(?:::Rails)?\.(?:load|overload)\b|\bDotenv::create\w+\(|\bnew Dotenv\("
        r"|\bgodotenv\.(?:Load|Overload|Read)\(|/godotenv/autoload|\bdotenvy?::(?:dotenv|from_\w+|load)\w*",
    ),
    _Way(r"\.php", "autoload_runtime", r"/autoload_runtime\.php"),
    _Way(r"\.php", "Application", r"\bApplication::configure\(|new Illuminate\\Foundation\\Application\("),
    _Way(r"\.py", "decouple", r"(?m)^[ \t]*from decouple import"),
    _Way(r"\.py", "env_file", r"""\benv_file\s*=\s*[(\[]?\s*["'](?P<name>[^"']+)"""),
    _Way(r"/package\.json", "dotenv", r"\bdotenv(?:/config| -e\b| --)"),
    _Way(
        r"/package\.json",
        "",
        r'"[^"\n]*\b(?:next|nuxt|vite|astro|react-scripts) (?:dev|build|start|preview)\b',
    ),
    _Way(
        "@compose", "env_file", r"""env_file:\s*(?:\[\s*|-\s+(?:path:\s*)?)?["']?(?P<name>[^\s"',\[\]#]+)"""
    ),
    _Way(
        r"(?:\.(?:sh|bash|zsh|mk|ya?ml)|/package\.json|/[\w-]*(?:Makefile|entrypoint|justfile)[\w.-]*)",
        "env",
        r"""--env-file[ =]["']?(?P<name>[\w./-]*\.env[\w.-]*)"""
        r"|(?m:^[ \t]*(?:source|include|\.) [\w./-]*\.env\b|^set dotenv-load)",
    ),
)


class _Use(NamedTuple):
    """A place that asks for a name."""

    name: str
    line: int
    how: str  # it "requires" the name, "reads" it and gets nothing without, or has a "default"
    backend: str  # "" is the store in use


class _Comparison(NamedTuple):
    """What a project asks for, and doesn't get; a place is, for instance, "app.py:3"."""

    names: int  # how many names it asks for
    # By name, the places that ask for what has no value: for names that are needed, and for others.
    missing: dict[str, list[str]]
    optional: dict[str, list[str]]
    # By place that reads .env files without this tool, those files: with references, which are text to the
    # program, and with secrets that are in a store now.
    literal: dict[str, list[str]]
    moved: dict[str, list[str]]


def compare_names(audit: Audit, manager: SecretsManager, backend: str) -> _Comparison:
    """Compare the names that a project asks for with those in the manager's store, called `backend`.

    A name is needed if one place requires it and none has a default, or if .env says that its value is in a
    store, and it isn't there. Raise what opening the store raises.
    """
    places: dict[str, list[str]] = {}  # by name
    asked = set[tuple[str, str]]()  # (name, how)
    # What a .env file holds, as `_dotenv_holds` says: the places that read it, each with the files.
    readers: dict[str, dict[str, list[str]]] = {"references": {}, "moved": {}}
    dotenv_holds = cache(partial(_dotenv_holds, audit))
    for shown, text in _texts_to_check(audit):
        for use in _uses_in(shown, text):
            if use.backend in ("", backend):
                places.setdefault(use.name, []).append(f"{shown}:{use.line}")
                asked.add((use.name, use.how))
        for line, path, holds in _dotenv_readers(shown, text, audit.base, dotenv_holds):
            readers[holds].setdefault(f"{shown}:{line}", []).append(path)
    variables = set(map(variable_name, places))
    known = _names_with_value(manager, variables)
    dotenv = manager.dotenv()
    # Secrets that the .env says are in a store, and aren't.
    lost = {name for name in dotenv.moved().keys() - known if not is_store_credential(name)}
    missing: dict[str, list[str]] = {}
    optional: dict[str, list[str]] = {}
    for name in sorted(places):
        if variable_name(name) in known:
            continue
        is_required = (name, "requires") in asked and (name, "default") not in asked
        if is_required or variable_name(name) in lost:
            missing[name] = places[name]
        else:
            optional[name] = places[name]
    for name in sorted(lost - variables):  # for which no code asks
        missing[name] = [dotenv.plaintext_file()]
    return _Comparison(len(places), missing, optional, readers["references"], readers["moved"])


def _names_with_value(manager: SecretsManager, asked: Iterable[str]) -> set[str]:
    """Return the variables that have a value in the store, the environment or the .env here.

    Names in .env count even if the store lacks them, since the program reads .env itself, and moved ones if
    the store has them to which they were moved. Empty values don't count, and an empty variable hides the
    store's value. NAME_FILE counts for NAME, too. Vault is only asked for the fields that may be variables in
    `asked`.
    """
    environment = manager.dotenv()
    known: set[str] = set()
    for source in dict.fromkeys((manager.store(), environment)):  # which may be the same
        found = set(source.names_for(asked))
        names = [name for name in found if not is_stage(name, found)]
        if source.plaintext_file():  # where an empty value is a form to fill in
            names = [name for name in names if source.get_stages(name)[name].get("current") != ""]
        names += [name for name, value in source.plain_settings().items() if value]
        known.update(map(variable_name, names))
    moved = environment.moved()
    for backend in set(moved.values()):
        listed = set(map(variable_name, manager.list_secrets(backend=backend)))
        known.update(variable for variable in moved.keys() & listed if moved[variable] == backend)
    known.difference_update(name for name, value in os.environ.items() if not value)  # they hide the store's
    for name, value in os.environ.items():
        if value:
            known.update((name, name.removesuffix("_FILE")))
    return known


def _texts_to_check(audit: Audit) -> Iterator[tuple[str, str]]:
    """Yield (path to show, content) of each text file, of which 16 MiB at most.

    Left out are copies of this file, and Yarn's own files; an unreadable file is counted as such.
    """
    for path, shown in audit.files():
        if re.search(r"(?:\A|/)\.yarn/", shown):  # a package manager, and what it has fetched
            continue
        try:
            with open_regular(path, follow=False) as file:
                data = file.read(MAX_FILE_BYTES)
        except VANISHED:
            continue
        except OSError as error:
            audit.add_unreadable(shown, str(error.strerror))
            continue
        if b"\0" not in data and not data.startswith(_OWN_BEGIN):
            audit.summary.files += 1
            yield shown, data.decode("utf-8", "replace")


def _uses_in(shown: str, text: str) -> Iterator[_Use]:
    """Yield the uses of names in a file, by the rows of _WAYS."""
    for way, line, match in _find_ways(_WAYS, shown, text):
        groups = match.groupdict()
        name = way.variable(groups["name"])
        how = way.how
        # A setting such as PORT isn't needed: this tool has only secrets to supply.
        if groups.get("default") is not None or not (way.is_secret or is_secret(name)):
            how = "default"
        yield _Use(name, line, how, (groups.get("backend") or "").lower())


def _find_ways(ways: Iterable[_Way], shown: str, text: str) -> Iterator[tuple[_Way, int, re.Match[str]]]:
    """Yield (way, line of the name, match) for each match of these ways in a file of this name.

    Left out are those on a line that is a comment, unless they begin with it: such a way looks for comments.
    """
    import bisect

    for way in ways:
        # Most ways end here: the word is found much faster than the expression.
        if not _compile(rf"(?:{way.files})\Z").search(f"/{shown}") or way.word not in text:
            continue
        stretches = [(0, len(text))]
        if way.within:
            stretches = [match.span() for match in _compile(way.within).finditer(text)]
        asks = _compile(way.asks)
        line_starts = [0, *(found.end() for found in re.finditer("\n", text))]
        is_comment = cache(partial(_COMMENT_LINE.match, text))
        for match in chain.from_iterable(asks.finditer(text, *stretch) for stretch in stretches):
            at = match.start("name") if match.groupdict().get("name") else match.start()
            line = bisect.bisect(line_starts, at)
            start = line_starts[line - 1]
            if match.start() == start or not is_comment(start):
                yield way, line, match


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    """Return an expression of the tables above, with the parts that it refers to, compiled."""
    for part, meaning in _PARTS.items():  # in this order: earlier ones refer to later ones
        pattern = pattern.replace(part, meaning)
    return re.compile(pattern)


# --- .env files that others read ---


def _dotenv_readers(
    shown: str, text: str, base: str, dotenv_holds: Callable[[str], str]
) -> Iterator[tuple[int, str, str]]:
    """Yield (line, path to show, what it holds) for each .env file without its secrets that a line reads.

    What it holds is "references" or "moved"; `dotenv_holds` finds that out. A program that calls this tool's
    load_env before that line has the moved secrets, so "moved" is left out then.
    """
    folder = os.path.dirname(base + shown)
    loads = re.search(r"(?m)^[^#\n]*(?<!def )\bload_env\(", text)
    for _, line, match in _find_ways(_DOTENV_READERS, shown, text):
        name = match.groupdict().get("name")
        files = [os.path.join(folder, name)] if name else _dotenv_files_above(folder, base)
        is_loaded = loads and loads.start() < match.start()
        for path in files:
            holds = dotenv_holds(path)
            if holds == "references" or (holds == "moved" and not is_loaded):
                yield line, shown_path(path, base), holds


def _dotenv_files_above(folder: str, base: str) -> list[str]:
    """Return the paths of .env, .env.local and so on in a folder and in those above, up to `base`."""
    is_read = re.compile(r"\.env(?:\.(?!example|sample|template|dist)\w+)*")
    found: list[str] = []
    while True:  # not by recursion: a hostile tree may be deeper than Python allows
        with suppress(OSError):
            names = sorted(filter(is_read.fullmatch, os.listdir(folder)))
            found += [os.path.join(folder, name) for name in names]
        prefix = os.path.join(folder, "")  # of the root folder, which ends with a slash, itself
        if prefix == base or not prefix.startswith(base):
            return found
        folder = os.path.dirname(folder)


def _dotenv_holds(audit: Audit, path: str) -> str:
    """Return "references" if a .env file has any, else "moved" if its secrets were, or "".

    For one that can't be read, return "" and count it as unreadable. A folder or a device is no .env.
    """
    try:
        dotenv = Dotenv(read_file(path).decode("utf-8", "replace"), path)
    except (Unsafe, FileNotFoundError):
        return ""
    except BadValue:
        audit.add_unreadable(shown_path(path, audit.base), "it is too large")
        return ""
    except OSError as error:
        audit.add_unreadable(shown_path(path, audit.base), str(error.strerror))
        return ""
    if dotenv.has_references():
        return "references"
    return "moved" if dotenv.moved() else ""


# === Commands ===
# One function per command, whose result is the exit code. Results go to stdout, everything else to
# stderr. main() opens stores of its own, and so changes nothing about a program that calls it.


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; return its exit code.

    0: done; 1: not found, or findings; 2: any other error; 128 and more: a
    signal. `run` returns what its command does. Errors are one line on
    stderr, never an exception.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run_command(words)
    except SystemExit as end:  # --help, --version or a signal
        return int(end.code or 0)
    except KeyboardInterrupt:  # also while an error is printed
        return 130  # SIGINT, as in a shell
    except BrokenPipeError:
        return 141  # SIGPIPE, as of any program in `get X | head -c1`


def _run_command(words: list[str]) -> int:
    """Run one command; return its exit code or, for an error, print that and return the error's code."""
    try:
        args = _parse(words)
        try:
            code: int = args.run(args)
            sys.stdout.flush()
        finally:
            args.manager.close(keep_leases=args.run is not cmd_run)  # a printed credential has to work
        return code
    except SecretsError as error:
        _say(str(error))
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        # An error without a file name is about the output, or about a working directory that was removed.
        nameless = "the output"
        if isinstance(error, FileNotFoundError):
            nameless = "the working directory"
        _say(f"{error.strerror or type(error).__name__}: {error.filename or nameless}")
    # No traceback: it would show arguments on the screen or in a CI log.
    except Exception as error:
        import traceback

        frames = traceback.walk_tb(error.__traceback__)
        *_, line = (line for frame, line in frames if frame.f_globals is globals())
        _say(f"internal error: {type(error).__name__} at line {line}; please report it (leave out secrets)")
    return 2


def run_as_program() -> NoReturn:
    """Prepare streams and signals as a program needs them, run the command, and exit."""
    import gc
    import signal

    gc.freeze()  # don't search all this code for garbage, not at the end either
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    # UTF-8 in any locale, without the \r of Windows; with a buffer even under PYTHONUNBUFFERED, since without
    # one a full disk cuts off the output unnoticed.
    raw = open(sys.stdout.fileno(), "wb")  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(raw, "utf-8", "backslashreplace", "\n", raw.isatty())
    for name in ("SIGTERM", "SIGHUP"):  # end a command as cleanly as Ctrl-C does, unless nohup ignores them
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    if os.name != "nt":  # if a parent ignores it, wait() reports every exit status as 0
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = main()
    with suppress(OSError):  # main() has reported it
        sys.stdout.close()
    sys.exit(code)


def _parse(words: list[str], group: str = "") -> Namespace:
    """Return the arguments of `[--backend B] COMMAND …`, as `_parse_command` does.

    COMMAND may be a group and a command in it, such as `config get`; `group` is the group that came before
    these words, "" for none. Print the version or the help and raise SystemExit if that is asked for. Raise
    BadValue if there is no such command, or if its arguments are wrong.
    """
    lines = ["commands:" if group else _OVERVIEW]
    for row, (run, _) in _COMMANDS.items():
        if row.startswith(group):
            lines.append(f"  {row:<17} " + (run.__doc__ or "").partition("\n")[0])
    parser = _parser(group, "\n".join(lines), _GROUP)
    parser.usage = "%(prog)s [--backend B] COMMAND ..."
    args = parser.parse_args(words)
    if args.version:
        _print_version()
        raise SystemExit
    word, *rest = args.words or ["help"]
    if word == "help":
        return _parse([*rest, "--help"], group)
    if args.backend:  # it came before the command, whose own parser takes it
        rest = ["--backend", args.backend, *rest]
    name = f"{group} {_ALIASES.get(word, word)}".lstrip()
    if name in _COMMANDS:
        return _parse_command(name, rest)
    known = [row.removeprefix(group).split()[0] for row in _COMMANDS if row.startswith(group)]
    if word in known:
        return _parse(rest, name)
    if not group:
        known += _ALIASES
    hint = _suggest(word, known, parser.prog)
    if rest and rest[0] in known:  # such as: API_TOKEN get
        hint = f"the command comes first: {rest[0]} NAME"
    raise BadValue("no such command", hint=hint)


def _parse_command(name: str, words: list[str]) -> Namespace:
    """Return the arguments of the command of this name; raise BadValue if they are wrong.

    Print the help and raise SystemExit if that is asked for. These are added to the arguments:

    run           the function of the command
    command_line  for the command `run`, the words after `--`; else []
    manager       the manager of stores
    store         its method that opens a store
    """
    run, arguments = _COMMANDS[name]
    parser = _parser(name, re.sub("(?m)^ +", "", run.__doc__ or ""), arguments)
    command_line: list[str] = []
    if name == "run":  # what follows the dashes belongs to another program
        dashes = words.index("--") if "--" in words else len(words)
        command_line = words[dashes + 1 :]
        words = words[:dashes]
        parser.parse_known_intermixed_args(words)  # prints the help, if that is asked for
        if not command_line:
            hint = "put it after two dashes: run -- CMD, or run NAME -- CMD"
            raise BadValue("no command to run", hint=hint)
    # argparse mixes options and arguments, or takes what follows "--" as arguments, but not both.
    parse = parser.parse_args if "--" in words else parser.parse_intermixed_args
    try:
        args = parse(words)
    except BadValue as error:
        if "--generate" not in words or "required: NAME" not in error.message:
            raise
        hint = f"--generate takes the word after it for its SPEC: {name} NAME --generate"
        raise error.reworded(error.message, hint) from None
    args.run = run
    args.command_line = command_line
    args.manager = SecretsManager(args.backend)
    args.store = args.manager.store
    return args


def _parser(name: str, description: str, arguments: Iterable[Any]) -> ArgumentParser:
    """Return a parser whose errors are BadValue; in the description, "$ " stands for this program.

    The arguments in a list exclude each other. Each parser also has --backend.
    """
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            """Raise BadValue with what argparse says of wrong arguments, and a hint."""
            # Messages don't repeat words of the command line, since one may be a misplaced value.
            repeats = r"(?s)(unrecognized arguments|ignored explicit argument|invalid (?:choice|\w+ value)).*"
            said = re.sub(repeats, r"\1", message)
            typed = re.findall(r"[\w-]+", message[len(said) :])[:1]
            known = re.findall(r"--[\w-]+|(?<=[{,])[\w-]+", self.format_usage())  # options and choices
            raise BadValue(said, hint=_suggest("".join(typed), known, self.prog))

    parser = Parser(
        prog=f"{_program()} {name}".rstrip(),
        description=description.replace("$ ", f"{_program()} "),
        # Of a fixed width: to ask the terminal, argparse imports slow modules, even if it prints no help.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=78),
        allow_abbrev=False,
    )
    for argument in (*arguments, _arg("--backend", _BACKENDS, choices=STORES)):
        place: Any = parser
        options = [argument]
        if isinstance(argument, list):
            place = parser.add_mutually_exclusive_group()
            options = argument
        for option, settings in options:
            place.add_argument(option, **{**settings, "help": settings["help"] or argparse.SUPPRESS})
    return parser


_OVERVIEW = """Keep secrets out of code, and find those that are in it.

$ set API_TOKEN            # prompts for the value
$ run -- ./server          # with all secrets as variables
$ audit                    # find secrets left in this folder
$ help rotate schedule     # explain a command

Secrets are stored in .env here unless --backend or PAISSIVE_BACKEND names
another store. Exit codes: 0 done; 1 not found, or findings; 2 anything else,
explained in one line.

commands:"""


def _print_version() -> None:
    """Print the version and the id that git has for this file."""
    import hashlib

    blob = "no blob id"
    with suppress(OSError), open(__file__, "rb") as file:  # in an archive there is none
        code = file.read()
        blob = hashlib.sha1(b"blob %d\0" % len(code) + code, usedforsecurity=False).hexdigest()
    print(f"paissive_secrets {__version__} ({__date__}) {blob}")


def _program() -> str:
    """Return the name of the file as which this program was called, for messages and help."""
    return os.path.basename("".join(sys.argv[:1])) or "paissive_secrets.py"


def _suggest(word: str, known: Iterable[str], program: str) -> str:
    """Return a hint: the known word that is most similar to this one or, if none is, how to get help."""
    similar = most_similar(word, known)
    return f"did you mean {similar}?" if similar else f"see: {program} --help"


def _say(message: str) -> None:
    """Print a message on stderr, escaped, after flushing stdout: both may go to one log."""
    with suppress(OSError):  # main() reports it
        sys.stdout.flush()
    print_message(message, _program().removesuffix(".py"))


def _print_value(value: Any) -> None:
    """Print text as it is, with a newline only on a terminal, and anything else as indented JSON."""
    if isinstance(value, str):
        print(value, end="\n" if sys.stdout.isatty() else "")
        return
    import json

    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))  # str: TOML's dates and times


def _arg(form: str, help: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of an argument for argparse's add_argument.

    `form` is the name, or the name and a placeholder for the value; with an empty `help`, the argument isn't
    in the help of its command.
    """
    name, _, metavar = form.partition(" ")
    if metavar:
        settings["metavar"] = metavar
    return name, {"help": help, **settings}


_flag = partial(_arg, action="store_true")
_BACKENDS = "variables and .env (the default), sealed files, this process only, or Vault"
_GROUP = (_flag("--version", "print the version, and git's id of this file"), _arg("words", "", nargs="..."))
_NAME = _arg("name NAME", "a secret, such as DB_PASSWORD or app/db#password")
_NAMES = _arg("names NAME", "secrets; default: all", nargs="*")
_JSON = _flag("--json", "print JSON")
_VERSION = _arg("--version N", "a version of a Vault secret; default: the newest", type=int)
_KEY = _arg("key KEY", "the setting, such as database.host, in PAISSIVE_CONFIG_FILE or config.json")
_SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
_MEMBER = _arg("name NAME", "the member's name")
_SPEC_HELP = f"by default token:32; {SPEC_HINT}; l, u, d, s: lower case, upper case, digits, symbols"
_GENERATE = _arg("--generate SPEC", f"after NAME: a new value, {_SPEC_HELP}", nargs="?", const="token:32")
_ALIASES = {"ls": "list", "rm": "delete"}

_Run = Callable[..., int]
_Problem = tuple[str, SecretsError]  # what `status` names: a code for programs, which doesn't change, and it
# Functions and their arguments by the words of a command, in the order of help. Only @_command adds to it.
_COMMANDS: dict[str, tuple[_Run, tuple[Any, ...]]] = {}


def _command(*arguments: Any) -> Callable[[_Run], _Run]:
    """Return a decorator that makes a function a command with these arguments.

    Arguments in a list exclude each other. cmd_config_get is the command "get" of the group "config". The
    function's docstring is the help: a summary under 60 characters, examples in which $ is this program,
    details.
    """

    def register(run: _Run) -> _Run:
        """Add the function to the table of commands, and return it as it is."""
        _COMMANDS[run.__name__[4:].replace("_", " ")] = (run, arguments)
        return run

    return register


@_command(
    _NAME,
    _arg("stray", "", nargs="*", default=[]),  # not in the help; named in an error
    [
        _arg("--from-file F", "store what this file holds, byte for byte"),
        _GENERATE,
        _arg("--value V", "unsafe: others can see it in ps and history"),
    ],
    _flag("--json", "all fields of a Vault secret, as a JSON object"),
    _flag("--patch", "with --json: some fields; null removes one, others stay"),
)
def cmd_set(args: Namespace) -> int:
    """Store a secret; prompts twice, or reads stdin.

    $ set DB_PASSWORD                  # prompts, twice
    $ set API_TOKEN --generate         # nobody sees it
    gh auth token | $ set GH_TOKEN
    $ set DEPLOY_KEY --from-file id_ed25519
    $ set app/db --json --backend vault < fields.json
    $ set app/db --json --patch --backend vault < some.json

    Drops one newline at the end of piped input; --from-file keeps it.
    """
    # Some stores would take NAME=value for a name, and messages would show it.
    if args.stray or "=" in args.name:
        raise BadValue("the value is not an argument", hint="give NAME alone; it prompts, or reads stdin")
    if args.json:
        _set_fields(args, _vault_store(args))
        return 0
    if args.patch:
        raise BadValue("--patch is for fields", hint="add --json, and pipe a JSON object in")
    store = _persistent_store(args)
    check_settable(store, args.name)  # before the value is typed
    store.set_unless_pending({args.name: _value_to_set(args, store)})
    _warn_after_set(store, args.name)
    return 0


def _set_fields(args: Namespace, store: VaultStore) -> None:
    """Store a JSON object as the fields of a Vault secret: all of them or, with --patch, some.

    Raise BadValue if it isn't an object, or has a field that no name can have; Conflict if this would remove
    a field that is being rotated, or whose previous value has yet to be revoked.
    """
    name = store.name_of_fields(args.name)
    value = _value_to_set(args, store)
    fields = parse_json(value, "the value")
    check_settable(store, *(name + field for field in fields))
    policies = Policies(store)
    with ExitStack() as held:
        for each in policies.names():
            named = [field for field in fields if store.includes(name + field, each)]
            is_removed = store.includes(name, each) and not named
            if args.patch:
                is_removed = any(fields[field] is None for field in named)
            if is_removed:
                held.enter_context(hold_settled(store, each, policies))
        if args.patch:
            store.update_fields(name, fields)
        else:
            store.set_unless_pending({name: value})


def _value_to_set(args: Namespace, store: Store) -> str:
    """Return the value that the options of `set` name or, without any, one from a prompt or stdin."""
    if args.generate is not None:
        return generate(args.generate)
    if args.from_file is not None:
        return decode_value(_read_argument(args.from_file))
    if args.value is not None:
        _say("warning: --value shows the value to ps and to the shell's history; pipe it in instead")
        return str(args.value)
    return _read_value(f"Value of {args.name}", store)


def _persistent_store(args: Namespace) -> Store:
    """Return the chosen store's view whose writes outlive this command; BadValue for the memory store."""
    store: Store = args.store().persistent_view()
    if not store.outlives_process():
        raise BadValue("this store doesn't outlive the command", hint="use --backend file")
    return store


def _read_value(prompt: str, store: Store | None = None) -> str:
    """Return a value from a prompt, typed twice, or from stdin without a line break at its end.

    Unlock the store before the prompt. Raise BadValue if stdin is empty or isn't text.
    """
    if can_ask():
        if store is not None:
            store.unlock()
        return ask(f"{prompt}: ", twice=True)
    data = _read_argument("-")
    if not data:
        raise BadValue("no value on stdin", hint="pipe it in; an empty line means an empty value")
    return without_newline(decode_value(data))


def _read_argument(path: str) -> bytes:
    """Return the content of a file, or of stdin for "-"; BadValue if it is too large.

    Raise Denied or Unavailable if the file can't be read, OSError for stdin.
    """
    if path == "-":
        return read_bounded(sys.stdin.buffer, "stdin")
    with disk_errors(f"read {path}"), open(path, "rb") as file:
        return read_bounded(file, path)


def _name_of_input(path: str) -> str:
    """Return a path as messages show it: "stdin" for "-"."""
    return "stdin" if path == "-" else path


def _warn_after_set(store: Store, *names: str) -> None:
    """Print the store's notes on secrets that were set.

    Warn if git would add the file that holds them in plaintext, and of variables and files that `get` reads
    in place of them.
    """
    for note in store.notes_on_set(*names):
        _say(note)
    path = store.plaintext_file()
    if path and is_committable(path):
        _say(f"warning: git does not ignore {path}; add it to .gitignore before you commit")
    for shadow in filter(None, map(store.overridden_by, names)):
        _say(f"warning: {shadow} comes before {path or 'the store'}, so `get` returns its value")


def _file_store(args: Namespace) -> FileStore:
    """Return the chosen store, by default the files; raise BadValue for one of another kind."""
    return _only(FileStore, "file", args.store(args.backend or "file"))


def _vault_store(args: Namespace) -> VaultStore:
    """Return the chosen store; raise BadValue if it isn't Vault."""
    return _only(VaultStore, "vault", args.store())


def _only(kind: type[T], backend: str, store: Store) -> T:
    """Return a store if it is of this kind; raise BadValue for a command that only one backend has if not."""
    if not isinstance(store, kind):
        raise BadValue(f"only the {backend} backend can do that", hint=f"use --backend {backend}")
    return store


@_command(
    _NAME,
    _arg("--stage", "of a rotation; default: current", choices=STAGES, default="current"),
    _VERSION,
    _flag("--raw", "print a reference instead of what it points to"),
    _flag("--json", "all fields of a Vault secret, as a JSON object"),
)
def cmd_get(args: Namespace) -> int:
    """Print the value of a secret.

    $ get DB_PASSWORD
    $ get DB_PASSWORD --stage previous    # the one before
    $ get app/db#password --backend vault
    $ get app/db --json --backend vault   # all its fields

    Adds a newline only on a terminal.
    """
    store = args.store()
    name = args.name
    if args.json:
        name = _vault_store(args).name_of_fields(name)
    name = store.stage_name(name, args.stage)
    if args.version is not None:
        value = _vault_store(args).get(name, args.version)
    elif args.raw or args.json:  # as it is stored, references too
        value = store.get(name)
    else:
        try:
            value = args.manager.require_secret(args.name, stage=args.stage)
        except NotFound:
            _note_files_here(args)
            raise
    _print_value(value)
    return 0


def _note_files_here(args: Namespace) -> None:
    """Say that this folder, or one above, has encrypted files, unless a backend was chosen."""
    if args.backend or os.environ.get("PAISSIVE_BACKEND"):
        return
    if find_above(working_directory(), ".paissive"):
        _say("note: this folder also has a store in .paissive: --backend file")


@_command(
    _arg("prefix PREFIX", "how the names start", nargs="?", default=""),
    _flag("--all", "also settings of the .env file, such as DB_HOST"),
    [  # not both: Vault doesn't know when a field was set, only its whole secret
        _flag("--fields", "the fields of Vault's secrets, which have to be read for that"),
        _arg("--old TIME", "only secrets last set longer ago than this, such as 90d"),
    ],
    _JSON,
)
def cmd_list(args: Namespace) -> int:
    """List the names of secrets, never values.

    $ list app/ --json --backend file
    $ list --all               # and settings such as DB_HOST
    $ list --old 90d --backend file
    $ list app/ --fields --backend vault
    """
    store = args.store()
    settings = [name for name in store.plain_settings() if name.startswith(args.prefix)]
    found = set(store.field_names(args.prefix) if args.fields else store.names_under(args.prefix))
    names = [name for name in found if not is_stage(name, found)]
    if args.all:
        names += settings
    if args.old is not None:
        before = format_time(time.time() - parse_interval(args.old, "--old"))
        names = [name for name in names if store.last_set(name) < before]
    if not found:  # which may not mean that the store is empty
        _note_files_here(args)
        try:
            store.check_exists()
        except Unavailable as error:
            _say(f"note: {error}")
    if args.json:
        _print_value(sorted(names))
        return 0
    for name in sorted(names):
        print(name)
    if settings and not args.all:
        _say(f"{plural(len(settings), 'setting')} left out; --all lists settings, too")
    return 0


@_command(
    _arg("names NAME", "secrets", nargs="+"),
    [
        _arg("--version N", "only this version of a Vault secret", type=int),
        _flag("--metadata", "a Vault secret with all its versions, for good"),
    ],
)
def cmd_delete(args: Namespace) -> int:
    """Delete secrets, with their previous values.

    $ delete API_TOKEN DB_PASSWORD
    $ delete app/db#old --backend vault   # one field
    $ delete app/db# --backend vault      # all its fields
    $ delete app/db --metadata --backend vault

    Their policies of rotation go, too. In Vault, `undelete` restores all fields,
    but not after --metadata.
    """
    delete = partial(_delete_secret, args)
    if args.version is not None:
        delete = partial(_remove_version, _vault_store(args), VaultStore.delete_version, args.version)
    elif args.metadata:
        delete = partial(_delete_with_metadata, _vault_store(args))
    return _act_on_each(args.names, delete)


def _act_on_each(words: Iterable[str], act: Callable[[str], object]) -> int:
    """Call `act` with each word; print a SecretsError, and go on; return the highest exit code, or 0."""
    code = 0
    for word in words:
        try:
            act(word)
        except SecretsError as error:
            _say(str(error))
            code = max(code, error.exit_code)
    return code


def _delete_secret(args: Namespace, name: str) -> None:
    """Delete a secret as `delete_with_policy` does; raise NotFound if there is none.

    Warn of a variable or file that still has a value for this name.
    """
    store = args.store().persistent_view()
    shadow = store.overridden_by(name)
    if not delete_with_policy(store, name):
        store.get_stored(name)  # raises the store's error, which says that there is none
    if shadow:
        _say(f"warning: {shadow} is still there, so `get` returns its value")


def _delete_with_metadata(store: VaultStore, name: str) -> None:
    """Delete a Vault secret with all versions, and the policies of all its fields.

    Raise BadName for the name of one field, and Conflict while a rotation of a field is unfinished or owes a
    revocation.
    """
    fields = store.name_of_fields(name)
    policies = Policies(store)
    with hold_settled(store, fields, policies) as scheduled:
        store.delete_metadata(fields)
        for field in scheduled:
            policies.delete(field)


def _remove_version(
    store: VaultStore, remove: Callable[[VaultStore, str, int], None], version: int, name: str
) -> None:
    """Delete or destroy a version of a Vault secret; of the newest, only what no rotation needs any more.

    Raise BadName for the name of one field, and what `remove` and `hold_settled` raise.
    """
    fields = store.name_of_fields(name)
    with ExitStack() as held:
        if store.versions(name)[-1].number == version:
            held.enter_context(hold_settled(store, fields, Policies(store)))
        remove(store, name, version)


@_command(
    _NAMES,
    # For the help: the parser never sees what follows the dashes.
    _arg("command_line -- CMD", "the command and its arguments", nargs="*"),
    _flag("--no-mask", "leave the command's output as it is"),
)
def cmd_run(args: Namespace) -> int:
    """Run a command with secrets, masked in its output.

    $ run -- ./server                     # with all secrets
    $ run DB_PASSWORD -- psql app         # with one
    $ run app/db# --backend vault -- env  # APP_DB_USER, …

    Each secret becomes a variable: app/db#user is APP_DB_USER. What the command
    prints of a value becomes ***. Settings of the .env file are passed on as they
    are; what opens a store, such as VAULT_TOKEN, is not passed on. Background
    processes that outlive the command lose their output: after half a second of
    silence, or after five seconds.
    """
    store = args.store()
    environment, values = environment_with_secrets(store, args.names, args.manager)
    if not any(values.values()):
        _say("note: the command gets no secrets; see which store is used with: status")
    settings = {}
    if not args.names:
        _note_values_left_above(environment)
        settings = store.plain_settings()
    _note_left_out(store, environment, settings)
    if args.no_mask:
        run_in_place(args.command_line, environment)  # doesn't return
    _warn_unmasked(variable for variable, held in values.items() if not all(map(maskable, held)))
    return run_masked(args.command_line, environment, chain(*values.values()), args.manager.renew)


def _note_values_left_above(environment: Mapping[str, str]) -> None:
    """Print a note of variables that the .env of a folder above composes of secrets, and the command lacks.

    That file isn't read by `run`. Print nothing if there is a .env here, or if that one can't be read.
    """
    path = dotenv_above()
    if not path:
        return
    with suppress(SecretsError):
        missing = EnvironmentStore(path).composed(environment).keys() - environment.keys()
        if missing:
            names = ", ".join(sorted(missing))
            _say(f"note: not passed on: {names} of {path}; to read it, name it in PAISSIVE_ENV_FILE")


def _note_left_out(store: Store, environment: Mapping[str, str], settings: Mapping[str, str]) -> None:
    """Print notes: the variables that the command doesn't get, settings that look random, files beside .env.

    `environment` is what the command gets. `settings` are those of the .env file; without any, nothing is
    said about that file.
    """
    left_out = {name for name in os.environ if not name.startswith("PAISSIVE_")}
    if settings:
        left_out.update(store.reserved_settings())
    left_out -= environment.keys()
    if left_out:
        _say(f"note: not passed on, since it is for this tool or Vault: {', '.join(sorted(left_out))}")
    shown = sorted(name for name in settings if looks_random(settings[name]))
    if shown:
        _say(f"note: settings are not masked, but these look random: {', '.join(shown)}")
    if settings and (layers := store.layered_files()):
        files = ", ".join(layers)
        _say(f"note: this reads .env, and not {files}; run --backend file leaves all of them to the program")


def _warn_unmasked(names: Iterable[str]) -> None:
    """Name these secrets, if there are any, as too short to be masked."""
    short = ", ".join(sorted(names))
    if short:
        _say(f"not masked (under {MIN_MASKED} characters): {short}")


@_command(
    _arg("file FILE", "a .env file; - for stdin, which may also be JSON"),
    _flag("--all", "move settings such as DB_HOST, too"),
    _flag("--references", "leave references, for a .env that only this tool reads"),
    _flag("--replace", "replace other values that the store has"),
)
def cmd_import(args: Namespace) -> int:
    """Move the secrets of a .env file into a store.

    $ import .env --backend file
    sops -d secrets.json | $ import - --backend file

    A comment takes the place of each secret: `run --backend file`, or load_env,
    gives it to the program. With --references, that is a reference, for a .env
    that only this tool reads. Settings such as DB_HOST stay. After an error,
    repeat the import.
    """
    store = _persistent_store(args)
    path = args.file
    where = _name_of_input(path)
    wanted = Replacement.REFERENCE if args.references else Replacement.COMMENT
    replacement = possible_replacement(path, store, wanted)
    data = _read_argument(path)
    found = parse_import(data, where, replacement, with_settings=args.all)
    if found.is_rewritten and (found.secrets or found.left):
        warn_if_exposed(path)
    import_secrets(store, found.secrets, where, replace=args.replace)
    _warn_after_set(store, *found.secrets)
    backend = _backend_name(args)
    if moved := take_out_secrets(path, data, found, store, backend):
        _say(f"moved {plural(moved, 'secret')} of {path} to the {backend} store")
    _report_import(args, found, store, bool(moved))
    return 0


def _report_import(args: Namespace, found: Import, store: Store, has_moved: bool) -> None:
    """Say which names an import left, and why, what still holds plaintext, and what to do next."""
    path = args.file
    if not found.is_rewritten and os.path.isfile(path) and found.secrets:
        _say(f"note: {path} still holds the secrets in plaintext; delete it")
    reasons = {**found.left, **dict.fromkeys(found.references, "a reference")}
    for reason in sorted(set(reasons.values())):
        names = sorted(name for name in reasons if reasons[name] == reason)
        _say(f"left: {', '.join(map(show, names))} ({reason})")
    if found.settings and not has_moved:
        _say(f"note: {plural(len(found.settings), 'setting')} left out; --all imports settings, too")
    if not (found.secrets or has_moved):
        _say(f"note: {_name_of_input(path)} holds no secrets to move")
    if found.is_rewritten:
        _warn_of_secrets_left(path, found)
        _report_next_steps(args, found, store, has_moved)


def _warn_of_secrets_left(path: str, found: Import) -> None:
    """Warn of secrets that an audit finds in the rest of the file, that git has, or that other files have."""
    places = []
    try:
        places = [f"line {finding.line} ({finding.what})" for finding in audit(path, gitignore=False)]
    except (SecretsError, OSError) as error:  # no reason to fail: the import has succeeded
        _say(f"warning: what is left in {path} can't be audited: {error}")
    if places:
        _say(f"note: an audit still finds secrets in {path}: {', '.join(places)}")
    is_plaintext_left = bool(places) or any(reason != COMPOSED for reason in found.left.values())
    if found.secrets and last_commit(path):
        _say(f"warning: git has {path}, so everyone with a clone has these values: rotate them")
    elif is_plaintext_left and is_committable(path):
        _say(f"warning: git doesn't ignore {path}, which still holds secrets; add it to .gitignore")
    for other, differing in sorted(other_values_beside(path, found.secrets).items()):
        shown = ", ".join(map(show, differing))
        hint = "a program under run gets the store's; import that file into another PAISSIVE_SECRETS_DIR"
        _say(f"note: {other} has other values for {shown}: {hint}")


def _report_next_steps(args: Namespace, found: Import, store: Store, has_moved: bool) -> None:
    """Say how to move by hand the secrets that were left, and how a program gets those that were moved."""
    backend = _backend_name(args)
    for name, reason in found.left.items():
        if reason.endswith(BY_HAND):
            step = f"set {shell_word(name)} --backend {backend}, then"
            if _is_stored(name, store):
                step = f"the store has {show(name)}, so"
            _say(f"by hand: {step} replace its line by: # {name}: in the {backend} store")
    if not has_moved or found.replacement is not Replacement.COMMENT:
        return
    advice = f'next: run --backend {backend} -- CMD or, in the program, load_env(backend="{backend}")'
    # Both need these variables to find the file and its store.
    settings = {}
    if folder := os.environ.get("PAISSIVE_SECRETS_DIR"):
        settings["PAISSIVE_SECRETS_DIR"] = folder
    if "PAISSIVE_ENV_FILE" in os.environ or os.path.abspath(args.file) != os.path.abspath(".env"):
        settings["PAISSIVE_ENV_FILE"] = args.file
    if settings:
        advice += ", with " + " ".join(f"{name}={shell_word(text)}" for name, text in settings.items())
    _say(advice)


def _is_stored(name: str, store: Store) -> bool:
    """Return whether a store has a secret, also for one that isn't open; False if it can't say."""
    with suppress(SecretsError):
        return name in store.names_under(name)
    return False


def _backend_name(args: Namespace) -> str:
    """Return the name of the chosen backend, as references have it."""
    return args.backend or os.environ.get("PAISSIVE_BACKEND") or "env"


@_command(
    _NAMES,
    _arg("--format", "default: env", choices=EXPORT_FORMS, default="env"),
    _arg(
        "--for READER",
        f"one of {', '.join(DOTENV_READERS)}; default: all",
        choices=DOTENV_READERS,
        action="append",
    ),
)
def cmd_export(args: Namespace) -> int:
    """Print secrets for another program to read.

    $ export > .env.local               # for any program
    $ export --for node --for compose   # for these two
    $ export DB_PASSWORD --format json

    A .env file is written so that all its readers get the same values, or not at
    all. Without names, it also has the settings of the .env file here.
    """
    readers = getattr(args, "for") or ()
    if readers and args.format != "env":
        raise BadValue("--for is for .env files", hint="leave --format out")
    values = exported_values(args.store(), args.names, args.manager)
    if args.format != "json":  # programs that resolve their environment would follow them
        for name, value in values.items():
            reject_reference(value, f"the value of {show(name)}", "use --format json")
    print(export_secrets(values, args.format, readers), end="")
    return 0


@_command(
    _arg("file FILE", "the template; default: stdin", nargs="?", default="-"),
    _arg("--output F", "write a file of mode 0600 instead of stdout"),
    _arg("--escape HOW", f"{', '.join(ESCAPES)}; default: by FILE's name", choices=ESCAPES),
)
def cmd_inject(args: Namespace) -> int:
    """Put secrets into a template: ${secret:NAME}.

    $ inject app.conf.in --output app.conf   # mode 0600
    $ inject app.conf.in | ssh web "cat > app.conf"

    ${secret://vault/app/db#password} names a backend; $${secret: stands for
    itself. In JSON, YAML, TOML, XML, .env, shell scripts and Java's properties,
    values are escaped, and a reference without quotes becomes a quoted text. In
    other files, and on stdin without --escape, a value with quotes, backslashes, $
    or line breaks is refused; --escape none writes any as it is. If a secret is
    missing, or can't be written in its place, nothing is written.
    """
    template = _read_argument(args.file).decode(errors="surrogateescape")
    where = _name_of_input(args.file)
    escape = args.escape or escape_of(args.file)
    snapshot = Snapshot(args.manager)
    snapshot.collect([(f"\n{template}", args.store())])  # after a line break, it isn't one reference
    resolve = partial(Resolver(snapshot).text, store=args.store(), where=where)
    filled = fill_template(template, escape, where, resolve)
    data = filled.encode(errors="surrogateescape")
    if not args.output:
        sys.stdout.buffer.write(data)
        return 0
    _write_output(args.output, data, is_private=True)
    return 0


def _write_output(path: str, data: bytes, *, is_private: bool) -> None:
    """Write the file that --output names, all of it or nothing, or write into a pipe or a device.

    A private file gets mode 0600, any other keeps its mode or gets that of new files.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # which a file mustn't replace
        with disk_errors(f"write {path}"), open(path, "wb") as pipe:
            pipe.write(data)
        return
    mode = 0o600
    if not is_private:
        umask = os.umask(0)  # it can only be read by changing it
        os.umask(umask)
        mode = 0o666 & ~umask
    with disk_errors(f"write {path}"), FileLock(path), replacing(path, mode, keep=not is_private) as file:
        file.write(data)


@_command(
    _arg("files FILE", "text files, - for stdin; default: stdin", nargs="*"),
    _flag("--in-place", "replace the files instead of printing them"),
    _flag("--found", "also mask what an audit finds with high confidence"),
    _arg("--confidence", "also mask what an audit finds with this or a higher one", choices=CONFIDENCES),
)
def cmd_redact(args: Namespace) -> int:
    """Replace the store's values in any text with ***.

    $ redact < app.log > shared.log
    $ redact --in-place --found app.log notes.txt

    Masks all stages of all secrets, in every encoding that `run` masks.
    """
    args.store().check_exists()
    secrets = RedactingFilter()
    _warn_unmasked(secrets.add(args.manager))
    if args.in_place and not args.files:
        raise BadValue("--in-place needs files", hint="name them, or leave it out to redact stdin")
    redact_one = redact_file if args.in_place else _redact_to_stdout

    def redact_path(path: str) -> None:
        """Redact one file, or raise."""
        mask_more: Callable[..., Any] = iter
        if args.found or args.confidence:
            level = CONFIDENCES.index(args.confidence or "high")
            mask_more = partial(mask_found, path=path, levels=CONFIDENCES[level:])
        with disk_errors(f"redact {path}"):
            redact_one(path, secrets, mask_more)

    return _act_on_each(args.files or ["-"], redact_path)


def _redact_to_stdout(path: str, secrets: RedactingFilter, mask_more: Callable[..., Iterable[bytes]]) -> None:
    """Print a file, or stdin for "-", masked by the store's values, then by `mask_more`, as it is read."""
    with open(0 if path == "-" else path, "rb", 0, closefd=path != "-") as file:
        for piece in mask_more(secrets.redact_stream(file.read, _name_of_input(path))):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()  # for those who follow a log


@_command(_KEY, _flag("--secret", "resolve references"))
def cmd_config_get(args: Namespace) -> int:
    """Print a setting; with --secret, resolve its references.

    $ config get database.password            # a reference
    $ config get database.password --secret   # its value
    """
    config = SecretConfig(backend=args.manager)
    value = config.get(args.key, ABSENT, use_secret=args.secret)
    if value is ABSENT:
        raise NotFound(
            f"no setting {show(args.key)} in {config.path}",
            hint=f"see: config explain {shell_word(args.key)}",
        )
    _print_value(value)
    return 0


@_command(
    _KEY,
    _arg("value VALUE", "default: prompts, or reads stdin", nargs="?"),
    [
        _flag("--json", "VALUE is JSON: a number, true, a list"),
        _flag("--secret", "store the value, and a reference in the file"),
    ],
)
def cmd_config_set(args: Namespace) -> int:
    """Write a setting; with --secret, store its value.

    $ config set database.host db1
    $ config set database.port 5432 --json
    $ config set database.password --secret   # prompts
    """
    import json

    config = SecretConfig(backend=args.manager)
    if args.secret:
        if args.value is not None:
            raise BadValue("a secret on the command line shows in ps", hint="leave VALUE out")
        store = _persistent_store(args)
        check_replaceable(store, args.key)  # before the value is typed
        config.set(args.key, _read_value(f"Value of {args.key}", store), use_secret=True)
        _warn_after_set(store, args.key)
        return 0
    value: Any = _read_value(f"Value of {args.key}") if args.value is None else args.value
    if args.json:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadValue("VALUE is not JSON", hint="leave --json out for plain text") from None
    config.set(args.key, value)
    if config.get(args.key) != value:
        _say(f"note: {config.explain(args.key)} comes before the file")
    return 0


@_command(_KEY)
def cmd_config_delete(args: Namespace) -> int:
    """Remove a setting; a secret it refers to stays."""
    config = SecretConfig(backend=args.manager)
    if not config.delete(args.key):
        raise NotFound(f"no setting {show(args.key)} in {config.path}")
    return 0


@_command(_KEY)
def cmd_config_explain(args: Namespace) -> int:
    """Say where a setting comes from, never its value."""
    print(printable(SecretConfig(backend=args.manager).explain(args.key)))
    return 0


@_command(
    _NAME,
    _arg("--every TIME", "30d, 12h, 90m, 2w; default: 30d", default="30d"),
    _arg(
        "--generate SPEC",
        f"how to make values, {_SPEC_HELP}, or command:CMD",
        nargs="?",
        const="token:32",
        default="token:32",
    ),
    _arg("--apply CMD", "puts the value, read from stdin, where it is used"),
    _arg("--verify CMD", "fails if the value, read from stdin, doesn't work"),
    _arg("--revoke CMD", "makes an old value, read from stdin, useless where it was issued"),
    _arg("--timeout TIME", "for each of these; default: 60s", default=STEP_TIMEOUT),
    _arg("--keep-previous TIME", "when to revoke and delete the previous value; default: never"),
)
def cmd_rotate_schedule(args: Namespace) -> int:
    """Set when and how a secret is rotated: its policy.

    $ rotate schedule API_TOKEN --every 30d
    $ rotate schedule DB_PASSWORD --apply ./set --verify ./test

    A rotation makes a new value, applies it, verifies it, and only then makes it
    current; if a step fails, the old value stays. Nothing rotates by itself: let
    cron run `rotate now`. A new policy replaces the old one. Commands run in the
    folder that the store is in.
    """
    options = pick(args, "every", "generate", "apply", "verify", "revoke", "timeout", "keep_previous")
    _rotation(args).schedule(args.name, **options)
    return 0


@_command(_NAME)
def cmd_rotate_unschedule(args: Namespace) -> int:
    """Remove the policy of a secret, which stays as it is."""
    if not _rotation(args).unschedule(args.name):
        raise NotFound(f"{show(args.name)} isn't scheduled", hint="see: rotate due")
    return 0


@_command(_JSON)
def cmd_rotate_due(args: Namespace) -> int:
    """List secrets that are due or half rotated; exit 1 if any.

    Exit 2 if nothing is scheduled.
    """
    rotation = _rotation(args)
    dates = rotation.due_dates()
    unfinished = rotation.unfinished()
    if not unfinished:  # which needs no policy
        _scheduled_names(rotation)  # raises an error if nothing is scheduled
    found: dict[str, dict[str, str]] = {"due": {}, "later": {}}
    for name, date in dates.items():
        if name not in unfinished:
            found["due" if date <= utc_now() else "later"][name] = date
    if args.json:
        _print_value({**found, "unfinished": {name: one._asdict() for name, one in unfinished.items()}})
    else:
        for name in sorted({*found["due"], *unfinished}):
            print(name)
        for _, error in _unfinished_problems(unfinished):
            _say(str(error))
        if found["later"]:
            _say("due later: " + ", ".join(f"{name} {date}" for name, date in found["later"].items()))
    return 1 if found["due"] or unfinished else 0


def _scheduled_names(rotation: SecretRotation) -> list[str]:
    """Return the names that have a policy; raise BadValue if none has one: a cron job must not pass then."""
    names = rotation.scheduled()
    if not names:
        hint = "for another store add --backend, or: rotate schedule"
        raise BadValue(f"nothing is scheduled for this store in {rotation.path}", hint=hint)
    return names


@_command(
    _arg("names NAME", "secrets; default: all that are due", nargs="*"),
    [
        _flag("--stdin", "the new value comes from a prompt, or stdin"),
        _GENERATE,
    ],
)
def cmd_rotate_now(args: Namespace) -> int:
    """Rotate these secrets, or all that are due.

    $ rotate now                       # from cron
    $ rotate now API_TOKEN             # now, due or not
    openssl rand -hex 20 | $ rotate now API_TOKEN --stdin

    Without a name, this resumes rotations that were left unfinished. A secret
    without a policy needs --stdin or --generate: its value is only changed here.
    """
    rotation = _rotation(args)
    store = _persistent_store(args)
    value = _new_value(args, store)
    names = args.names or _scheduled_names(rotation)
    store.check_known()  # else each would fail, for the same reason
    rotated: list[str] = []

    def rotate(name: str) -> None:
        """Rotate a secret that was named, or else one that is due; print it."""
        if args.names:
            rotation.rotate(name, value)
        elif not rotation.rotate_if_due(name):
            return
        print(f"rotated {name}")
        rotated.append(name)

    code = _act_on_each(names, rotate)
    secrets = store.sealed_folder()
    has_new_values = rotated or (code and rotation.unfinished())  # one that failed may have a pending value
    if has_new_values and secrets and is_committable(secrets):
        commit = f"commit {os.path.dirname(secrets)} and push it"
        _say(f"note: {commit}: what is deployed from git has the old values until then")
    return code


def _new_value(args: Namespace, store: Store) -> str | None:
    """Return the new value by --stdin or --generate; None without them: the policy generates one.

    Raise BadValue unless it is for one secret, NotFound if that doesn't exist.
    """
    if not args.stdin and args.generate is None:
        return None
    if len(args.names) != 1:
        hint = "name it: rotate now NAME --stdin, or NAME --generate"
        raise BadValue("--stdin and --generate are for one secret", hint=hint)
    name = args.names[0]
    store.get(name)  # raises NotFound: only `set` makes new secrets
    return _read_value(f"Value of {name}") if args.stdin else generate(args.generate)


@_command(_NAME)
def cmd_rotate_rollback(args: Namespace) -> int:
    """Make the previous value current again.

    A rotation to it: the policy's steps run with the previous value.
    """
    _rotation(args).rollback(args.name)
    return 0


@_command(_NAME)
def cmd_rotate_resume(args: Namespace) -> int:
    """Finish a rotation that failed or was killed.

    Goes on with its new value, from the step at which it ended; see: rotate due.
    """
    _rotation(args).resume(args.name)
    return 0


@_command(_NAME, _flag("--force", "only forget the new value; run no step"))
def cmd_rotate_abort(args: Namespace) -> int:
    """Undo a rotation that failed or was killed.

    Applies the old value again, and revokes the new one, as the policy says.
    """
    _rotation(args).abort(args.name, force=args.force)
    if args.force:
        _say("note: the new value may be in use where it was applied; nothing was undone there")
    return 0


@_command(_NAME, _flag("--force", "delete it without revoking it"))
def cmd_rotate_drop(args: Namespace) -> int:
    """Revoke and delete the previous value of a secret.

    Without --revoke in its policy, the value is only deleted here.
    """
    if not _rotation(args).drop(args.name, force=args.force):
        raise NotFound(f"{show(args.name)} has no previous value", hint="nothing to do")
    if args.force:
        _say("note: the old value wasn't revoked, and still works where it was issued")
    return 0


def _rotation(args: Namespace) -> SecretRotation:
    """Return the rotation of the chosen store; raise Unavailable if that doesn't exist.

    Without this, cron in a wrong folder would find nothing due, and pass.
    """
    store = _persistent_store(args)
    store.check_exists()
    return SecretRotation(store)


@_command(
    _arg("paths PATH", "files, folders, - for stdin; default: this folder", nargs="*"),
    _arg("--exclude D", "files and folders to skip; patterns as in .gitignore", **_SEVERAL),
    _arg("--confidence", "report this and above; default: medium", choices=CONFIDENCES, default="medium"),
    [_JSON, _flag("--sarif", "print SARIF 2.1.0, for code scanning")],
    _arg("--baseline F", f"the file of accepted findings; default: {BASELINE}"),
    _arg("--output F", "write the report to a file"),
    _flag("--update-baseline", "accept what is found now, too, instead of a report"),
    [
        _flag("--staged", "what git would commit"),
        _arg("--history REV", "all of git's history, or what REV or A..B reaches", nargs="*"),
        _arg("--pushed REMOTE", "for a pre-push hook: what a push sends, as git says on stdin"),
        _arg("--explain FILE:LINE", "why a line is reported or not"),
        _flag("--list-rules", "list the rules"),
    ],
    _flag("--no-gitignore", "also read what .gitignore names"),
    _flag("--archives", "also read what is in zip, tar and gzip files"),
    _arg("--disable RULE", "rules to skip", **_SEVERAL),
    _flag("--untrusted", f"for strangers' code: ignore {AUDIT_SETTINGS}, {BASELINE}, .gitignore, comments"),
    # The system keeps the last 8 bits of an exit code: 256 would pass a build.
    _arg("--exit-code N", "for findings, 0 to 255; default: 1", type=int, choices=range(256), default=1),
    _arg("--jobs N", "processes for a big tree; default: one per core", type=int, default=0),
    _flag("--known", "also search for the store's values"),
)
def cmd_audit(args: Namespace) -> int:
    """Find secrets in files, git's index or its history.

    $ audit src --exclude fixtures '*.min.js'
    $ audit --staged                   # what git would commit
    $ audit --history                  # what git ever had
    $ audit --update-baseline          # accept what is found now
    $ audit --explain settings.py:12   # why or why not

    Needs no store. Exits with 1 if it finds anything, else with 2 if it couldn't
    read everything. A comment `paissive: allow` on a line accepts what is there.
    """
    if (args.explain or args.update_baseline) and (args.json or args.sarif or args.output):
        hint = "leave out --json, --sarif and --output"
        raise BadValue("--explain and --update-baseline write no report", hint=hint)
    if args.explain:
        _explain_line(args)
        return 0
    if args.list_rules:
        _print_rules(args)
        return 0
    if args.pushed is not None:
        args.history = pushed_revisions(args.pushed, sys.stdin)
        if not args.history:
            return 0
    run = _make_audit(args)
    if args.update_baseline:
        _update_baseline(run)
    else:
        _report(run, args)
        if run.summary.findings and args.exit_code:
            return int(args.exit_code)
    return 2 if run.summary.unreadable else 0  # CI must not pass because something couldn't be read


def _update_baseline(run: Audit) -> None:
    """Run an audit, and accept what it finds in its baseline; raise BadValue if it has none."""
    if not run.baseline:
        hint = "name one with --baseline"
        raise BadValue("--untrusted reads no baseline that it could update", hint=hint)
    run.baseline.update(found._replace(path=run.path_in_project(found.path)) for found in run)
    _say(f"{run.baseline.path} now accepts {plural(len(run.baseline.entries), 'place')}")


def _report(run: Audit, args: Namespace) -> None:
    """Run an audit, and print its report in the chosen form, or write it to the file that --output names."""
    report = report_text
    if args.json:
        report = report_json
    elif args.sarif:
        report = report_sarif
    if not args.output:
        report(run, sys.stdout)
        return
    text = io.StringIO()
    report(run, text)
    # Only now, so that no error leaves half a report.
    _write_output(args.output, text.getvalue().encode(), is_private=False)


def _print_rules(args: Namespace) -> None:
    """Print the rules of an audit, including those of the project's settings."""
    rules = Audit(args.paths or ["."], untrusted=args.untrusted).rules()
    if args.json:
        _print_value([pick(rule, "id", "what", "severity", "confidence") for rule in rules])
        return
    for rule in rules:
        print(f"{rule.id:32} {rule.confidence:6} {rule.severity:8} {rule.what}")


def _explain_line(args: Namespace) -> None:
    """Print why the line that --explain names is reported or not; raise BadValue if there is no such line."""
    path, _, line = args.explain.rpartition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,17}", line):
        raise BadValue("--explain takes FILE:LINE", hint="for example: audit --explain settings.py:12")
    if args.archives:
        raise BadValue("--explain reads no archives", hint="unpack it, and name a file in it")
    with disk_errors(f"read {path}"), open_regular(path) as file:
        # By chunks: a log may be larger than the memory.
        if int(line) > 1 + sum(chunk.count(b"\n") for chunk in chunks_of(file.read)):
            hint = f"for what is found there: audit {shell_word(path)}"
            raise BadValue(f"{path} has no line {line}", hint=hint)
        file.seek(0)
        args.paths = [path]
        audit = _make_audit(args)
        for text in audit.explain(chunks_of(file.read), shown_path(path, audit.base), int(line)):
            print(printable(text))


def _make_audit(args: Namespace) -> Audit:
    """Return the audit that the options describe, yet to run; raise BadValue if --baseline isn't there."""
    paths = args.paths or ["."]
    if args.baseline and not (args.update_baseline or os.path.lexists(args.baseline)):
        raise BadValue(f"no baseline {show(args.baseline)}", hint="write one with --update-baseline")
    run = Audit(
        paths,
        **pick(args, "exclude", "confidence", "disable", "baseline", "staged"),
        **pick(args, "history", "archives", "untrusted", "jobs"),
        gitignore=False if args.no_gitignore else None,
        known=_known_values(args),
        on_error=_warn_unreadable,
        on_progress=_print_progress if sys.stderr.isatty() else None,
    )
    if args.exclude:  # it may have taken a PATH for a pattern
        _say(f"note: auditing {', '.join(paths)} without {', '.join(args.exclude)}")
    return run


def _warn_unreadable(path: str, why: str) -> None:
    """Name a file that can't be read, as soon as it is found."""
    _say(f"can't read {path}: {why}")


def _print_progress(summary: Summary) -> None:
    """Print the number of files that were read so far, every hundred files, over the last such line."""
    if summary.files % 100 == 0:
        print(plural(summary.files, "file"), "read", end="\r", file=sys.stderr, flush=True)


def _known_values(args: Namespace) -> KnownValues | None:
    """Return the values of the store that an audit also searches for; None if it searches for none.

    Raise what opening the store raises. Before a push, return None instead and print a note, except where a
    .env says that its values were moved to the store: no rule would find those.
    """
    if not (args.known or args.backend or args.pushed is not None):
        return None
    try:
        known = KnownValues(args.store())
    except SecretsError as error:
        if args.pushed is None or isinstance(error, Moved):
            raise
        _say(f"note: the store's values are not searched for: {error}")
        return None
    if args.pushed is None:
        for note in known.notes:
            _say(f"note: {note}")
    return known


@_command(_arg("paths PATH", "files, folders; default: this folder", nargs="*"), _JSON)
def cmd_check(args: Namespace) -> int:
    """Compare the names that code asks for with the store's.

    $ check src --backend file --json

    Looks at literals in code, such as os.environ["X"] and process.env.X, at
    .env.example, at what CI, Compose, Ansible and others fill in, and at references
    in config files.

    missing    the store has no value, or an empty one
    optional   likewise, but the code has a default
    literal    code reads a .env file by itself, and takes its references for values
    moved      code reads a .env file by itself, whose secrets are in a store now

    Exits with 1 if a name is missing or literal, else with 2 if it couldn't read
    everything.
    """
    # Untrusted, since what .paissive-audit excludes may ask for names as well.
    audit = Audit(args.paths or ".", untrusted=True, gitignore=True, on_error=_warn_unreadable)
    found = compare_names(audit, args.manager, _backend_name(args))
    rows = pick(found, "missing", "optional", "literal", "moved")
    if args.json:
        _print_value(rows)
    else:
        _print_names(rows)
    files = plural(audit.summary.files, "file")
    _say(f"{plural(found.names, 'name')} in {files}, {len(found.missing)} missing")
    if found.missing or found.literal:
        return 1
    return 2 if audit.summary.unreadable else 0


def _print_names(rows: Mapping[str, dict[str, list[str]]]) -> None:
    """Print the rows of `check`, with three places at most, and what to do about places that read .env.

    Optional names that are no secrets, such as PORT, are left out.
    """
    for kind, names in rows.items():
        for name, places in names.items():
            if kind != "optional" or is_secret(name):  # not PORT
                print(f"{kind:<9} {printable(name)}  {printable(', '.join(places[:3]))}")
    start = "start the program with `run --backend file -- CMD`, or call load_env first"
    if rows["literal"]:
        _say(f"the places marked `literal` take references for values; import these files again, and {start}")
    if rows["moved"]:
        _say(f"note: the places marked `moved` read a file that lacks its secrets; {start}")


@_command(_flag("--pre-push", "audit what is pushed, before each push"))
def cmd_hook_install(args: Namespace) -> int:
    """Have git audit what is staged before each commit.

    $ hook install
    $ hook install --pre-push --backend file   # before each push
    SKIP=paissive-audit git commit     # skip it once

    Before a push, also searches for the store's values, if it opens without a
    prompt; before a commit, only with --backend. The hook has the --backend that
    is given here.
    """
    name = "pre-push" if args.pre_push else "pre-commit"
    _say(f"installed {install_hook(name, args.backend or '')}")
    attributes = os.path.relpath(find_in_repository(".")[0] + ".gitattributes")
    if set_merge_driver(attributes):
        _say(f"added a line to {attributes}, so that git merges two branches' baselines; commit that file")
    return 0


@_command(_JSON, _arg("--trust FP", "confirm that the store here has this fingerprint"))
def cmd_status(args: Namespace) -> int:
    """Describe the store and what is wrong with it; no values.

    $ status --json --backend vault
    $ status --trust 0123…     # which another member sees, too
    """
    store: Store = args.store()
    if args.trust is not None:
        store = _file_store(args)
        store.trust(args.trust)
    rows, problems = _state_and_problems(store)
    if args.json:
        found = {label.replace(" ", "_"): value for label, value in rows if label != "note"}
        found["problems"] = [{"code": code, **pick(error, "message", "hint")} for code, error in problems]
        _print_value(found)
    else:
        rows += [("problem", error) for _, error in problems]
        for label, value in rows:
            print(f"{label:<10} {printable(_status_text(value))}")
    # With --trust, the exit code says whether the store is the right one, whatever else is wrong with it.
    return 2 if problems and args.trust is None else 0


def _state_and_problems(store: Store) -> tuple[list[tuple[str, Any]], list[_Problem]]:
    """Return the state of a store as labels and values, and its problems.

    What is due is a row only if the store opens and its policies can be read; else why not is a problem.
    """
    rows: list[tuple[str, Any]] = []
    problems: list[_Problem] = []
    for label, value in store.status():
        if isinstance(value, SecretsError):
            problems.append((_code_of(value), value))
        elif label == "conflict":
            problems.append(("merge-conflict", _merge_conflict(str(value))))
        elif label == "known to leavers":
            problems.append(("known-to-former-member", _known_to_leavers(cast("list[str]", value))))
        else:
            rows.append((label, value))
    if ("opens", False) not in rows:
        rotation = SecretRotation(store)
        try:
            unfinished = rotation.unfinished()
            problems += _unfinished_problems(unfinished)
            rows.append(("due", sorted({*rotation.due(), *unfinished})))
        except SecretsError as error:  # the policies can't be read
            problems.append((_code_of(error), error))
    return rows, problems


def _code_of(error: SecretsError) -> str:
    """Return a code for programs from the name of the error's class, such as wrong-key for WrongKey."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()


def _status_text(value: Any) -> str:
    """Return a value of `status` as text: "yes" or "no", names with commas or "none", any other as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value)


def _unfinished_problems(unfinished: Mapping[str, UnfinishedRotation]) -> list[_Problem]:
    """Return unfinished rotations as problems, with the step and since when, if these are known."""
    problems: list[_Problem] = []
    for name, rotation in unfinished.items():
        error = unfinished_error(name)
        if rotation.step:
            error.message += f", at {rotation.step}"
        if rotation.since:
            error.message += f" since {rotation.since}"
        problems.append(("unfinished-rotation", error))
    return problems


def _known_to_leavers(names: list[str]) -> SecretsError:
    """Return the error that a removed member knew these secrets and stages, which have yet to be changed."""
    values = [show(name) for name in names if not base_of_stage(name)]
    values += [f"the previous value of {show(base_of_stage(name))}" for name in names if base_of_stage(name)]
    message = f"a member who was removed knew {', '.join(values)}"
    return SecretsError(message, hint="change each by rotate now, or set; for previous values: rotate drop")


def _merge_conflict(path: str) -> SecretsError:
    """Return the error that a merge left a file in conflict, with the command that chooses a side."""
    shown = real_path(path).removeprefix(real_path(""))
    word = shell_word(shown)
    sides = f"git checkout --ours -- {word}, or --theirs (in a rebase, --ours is upstream's)"
    return SecretsError(f"{shown} has a merge conflict", hint=f"choose a side: {sides}, then: git add {word}")


@_command()
def cmd_password(args: Namespace) -> int:
    """Change the master password; prompts, or reads stdin."""
    store = _file_store(args)
    store.check_exists()
    store.unlock()  # prompts for the old one first
    store.change_password(_read_value("New master password"))
    _say("the master password is changed; copies of the old identity.age still open with the old one")
    return 0


@_command(_flag("--post-quantum", "use a post-quantum key"))
def cmd_rekey(args: Namespace) -> int:
    """Seal all secrets to a new identity.

    The identity is the key that opens the sealed files. After a leak of the old
    one, change the master password and the secrets, too. Members keep access: if
    the key of one leaked, use `member remove` instead.
    """
    store = _file_store(args)
    members = store.members()  # before: what opens the store now may not open it afterwards
    _warn_of_new_identity(store, store.rekey(post_quantum=args.post_quantum))
    if members:
        names = ", ".join(member.name for member in members)
        _say(f"these members keep access: {names}; if the key of one leaked: member remove NAME")
    if not args.post_quantum:
        return 0
    weak = ", ".join(not_post_quantum(members))
    if weak:
        again = "identity --new --post-quantum, then member add NAME age1pq… --replace, and last rekey again"
        _say(f"not post-quantum yet are the keys of {weak}; for each: {again}")
    _say("git's history has copies that are not post-quantum, so set or rotate each secret")
    return 0


def _warn_of_new_identity(store: Store, fingerprint: str) -> None:
    """Say how many secrets are sealed to a new identity, and who needs it or its fingerprint."""
    sealed = plural(len(list(store.names())), "secret")
    _say(f"sealed {sealed} to a new identity; update PAISSIVE_IDENTITY where it holds the old one")
    _say(f"its fingerprint, for others' status --trust and PAISSIVE_STORE_FINGERPRINT, is {fingerprint}")


@_command(
    _flag("--new", "a new key of your own"),
    _flag("--post-quantum", "with --new: one for post-quantum stores"),
)
def cmd_identity(args: Namespace) -> int:
    """Print the identity of the store, or make one of your own.

    $ identity | gh secret set PAISSIVE_IDENTITY
    $ identity --new           # your own, as age-keygen does

    The identity opens the sealed files without the master password. To become a
    member with one of your own, have somebody run `member add` with its public key.
    """
    if args.new:  # in the format of age-keygen
        key = Identity.generate(post_quantum=args.post_quantum)
        print(f"# created: {utc_now()}\n# public key: {key.recipient()}\n{key.reveal()}")
        _say(f"public key: {key.recipient()}")
        return 0
    if args.post_quantum:
        raise BadValue(
            "--post-quantum is for a new key", hint="add --new; for the store's: rekey --post-quantum"
        )
    print(_file_store(args).reveal_identity())
    return 0


@_command(
    _MEMBER,
    _arg("recipient AGE1…", "the public half of their key"),
    _flag("--replace", "in place of a member's key"),
)
def cmd_member_add(args: Namespace) -> int:
    """Let somebody open the encrypted files with their own key.

    $ member add ada age1…             # from: identity --new

    Commit the new files.
    """
    _file_store(args).add_member(args.name, args.recipient, replace=args.replace)
    if args.replace:
        _say(f"the key that {show(args.name)} had still opens the store, until: rekey")
    return 0


@_command()
def cmd_member_list(args: Namespace) -> int:
    """List who can open the encrypted files with their own key."""
    for member in _file_store(args).members():
        print(printable("  ".join(member)))
    return 0


@_command(_MEMBER)
def cmd_member_remove(args: Namespace) -> int:
    """Seal all secrets to a new identity, without a member.

    $ member remove ada

    Needs the master password, if there is one. If the member knows it, change it
    first, with `password`: the new identity is sealed to it. Lists the secrets
    that the member knew, and how to change each.
    """
    store = _file_store(args)
    fingerprint = store.rekey(without=args.name)
    scheduled = Policies(store).names()
    # The member may have the values: a new identity keeps only new ones from them.
    for name in args.manager.list_secrets(backend=store):
        command = "rotate now" if name in scheduled else "set"
        print(f"next: {command} {shell_word(name)}")
    _warn_of_new_identity(store, fingerprint)
    _say(f"{show(args.name)} knew the values above; if the master password, too: password, then rekey")
    return 0


@_command(_NAME)
def cmd_versions(args: Namespace) -> int:
    """List the versions of a Vault secret.

    $ versions app/db --backend vault
    """
    for version in _vault_store(args).versions(args.name):
        state = "there"
        if version.destroyed:
            state = "destroyed"
        elif version.deleted:
            when = f"{version.deleted}Z"
            state = f"there until {when}"
            if when <= utc_now():
                state = f"deleted {when}"
        print(f"{version.number:>4}  {version.created}Z  {state}")
    return 0


@_command(_NAME, _VERSION)
def cmd_undelete(args: Namespace) -> int:
    """Restore a deleted version of a Vault secret, all fields.

    $ undelete app/db --backend vault
    """
    _vault_store(args).undelete(args.name, args.version)
    return 0


@_command(_NAME, _arg("--version N", "the version to remove", type=int, required=True))
def cmd_destroy(args: Namespace) -> int:
    """Remove a version of a Vault secret for good, all fields.

    $ destroy app/db --version 2 --backend vault
    """
    _remove_version(_vault_store(args), VaultStore.destroy, args.version, args.name)
    return 0


if __name__ == "__main__":
    run_as_program()
