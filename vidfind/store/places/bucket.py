"""Object storage: how a store is reached, and what its errors mean.

Small files go through Arrow's file systems, tables through LanceDB; both find credentials in the usual places
(environment, profile, role of the machine) by themselves, so that vidfind never sees them. Times are in seconds.
"""

from __future__ import annotations

import configparser
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vidfind.errors import BadInput, StorageError, VidfindError
from vidfind.store.places.credentials import has_credentials, require_credentials

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for that says nothing; an answer that comes slowly may take REQUEST_TIME."""

    silence: float
    """A request for a small file is made again after so long without a byte of the answer; at least 1."""
    tries: int
    """It is made so often."""
    table_silence: float
    """The same for tables. LanceDB makes each request four to six times, whatever it is told."""
    lasting: int
    """Each of these is made again for so long."""


READING = Patience(silence=10, tries=2, table_silence=4, lasting=3)
"""Of searches and whatever else only reads: someone waits for it, for 16 to 26 seconds."""
WRITING = Patience(silence=60, tries=4, table_silence=60, lasting=180)
"""While an index is written to: a run goes on after the network was away for a while."""
CONNECT_TIMEOUT = 5
REQUEST_TIME = 1800
SLOW = 3.0
URL = re.compile(r"(s3|gs|az)://")
BUCKET_NAMES = {
    "s3": (re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "3 to 63 small letters, digits, '-' and '.'"),
    "gs": (re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"), "3 or more small letters, digits, '-', '_' and '.'"),
    "az": (re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}"), "3 to 63 small letters, digits and single '-'"),
}
EXAMPLES = {"s3": "s3://BUCKET/NAME", "gs": "gs://BUCKET/NAME", "az": "az://CONTAINER/NAME"}
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS to a file of yours, or sign in: gcloud auth application-default login",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or sign in: az login",
}
ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_STORAGE_ENDPOINT",),
    "az": ("AZURE_STORAGE_ENDPOINT",),
}
"""The variables that name another server than that of Amazon, Google or Microsoft, the first that is set."""
ALLOW_HTTP = ("AWS_ALLOW_HTTP", "ALLOW_HTTP")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
NOT_THERE = re.compile(r"No such (file or )?directory\b")
SILENCE = "{server} does not answer. Check the network{endpoint}"
MEANINGS = {
    # What errors hold, without anything but letters and in lower case, in this order.
    "requesttimetooskewed|requestexpired": "the clock of this machine is wrong. Set it, then run the command again",
    "expiredtoken|tokenrefreshrequired|tokenexpired|tokenhasexpired"
    "|invalidgrant": "the credentials have expired. Sign in again, or set new {credentials}",
    "invalidaccesskeyid|signaturedoesnotmatch|invalidclienttokenid|unrecognizedclient|invalidtoken|authenticationfailed"
    "|invalidsecurity|baseencodedstring": "the credentials are wrong. Check {credentials}",
    "nocredentials|nocredentialproviders|credentialproviderwasnotenabled|notloadedcredentials|credentialsnotloaded"
    "|credentialsnotfound|validaccountname|noprovidersinchain|couldnotloadcredentials|cannotopencredentialsfile"
    "|failedtogettoken|bearertokenauthenticationisnotpermitted": "there are no credentials. Set {credentials}",
    "nosuchbucket|bucketnotfound|containernotfound|thespecifiedbucketdoesnotexist": "there is no {bucket}. Make it, or "
    "check the name",
    "accessdenied|forbidden|authorizationfailure|statusforbidden": "access is denied. Let these credentials list, "
    "read, write and delete in {bucket}",
    "permanentredirect|authorizationheadermalformed|movedpermanently": "{bucket} is in another region. Set AWS_REGION",
    "slowdown|serviceunavailable|internalerror|toomanyrequests": "the server has too much to do. Run the command again "
    "later; what was stored before is kept",
    "networkconnection|connectionrefused|couldntconnect|couldnotconnect|curlcode|curlerror|dnserror"
    "|errorsendingrequest|connecterror|timedout|connectionreset|connection(was)?closed|failedtolookup|couldnotresolvehost"
    "|failtogetanewconnection|hyper": SILENCE,
    "quotaexceeded|entitytoolarge|insufficientstorage|storagefull": "there is no room left. Free some, then run the "
    "command again",
}
_answered: set[str] = set()
"""The buckets that have answered this process."""
_writing: list[object] = []
"""Stands for the indexes to which this process writes now."""


class NoAnswer(StorageError):
    """The server of object storage does not answer."""


@contextmanager
def patiently() -> Iterator[None]:
    """Requests of this process have the patience of WRITING meanwhile, also those of other threads."""
    _writing.append(None)
    try:
        yield
    finally:
        _writing.pop()


def patience() -> Patience:
    """Returns the patience that requests have now."""
    return WRITING if _writing else READING


def is_url(name: str) -> bool:
    """Whether the name of an index is a URL of any kind, or meant as one: `s3:/bucket` lacks a slash."""
    return ":" in name


def checked_url(url: str) -> str:
    """Returns the URL of an index without a slash at its end. Raises BadInput for one that cannot be."""
    kind, colon, _ = url.partition("://")
    if (meant := url.partition(":")[0].lower()) in EXAMPLES and (not colon or meant != kind):
        raise BadInput(f"{url!r} cannot be an index: one in object storage is given as {EXAMPLES[meant]}.")
    if kind not in EXAMPLES:
        raise BadInput(f"{url!r} cannot be an index: give a name, or {', '.join(EXAMPLES.values())}.")
    bucket, _, inside = url.partition("://")[2].partition("/")
    pattern, allowed = BUCKET_NAMES[kind]
    if "@" in bucket or "?" in url or "#" in url:
        raise BadInput(
            f"An index in object storage is given as {EXAMPLES[kind]}; credentials come from the environment."
        )
    if not pattern.fullmatch(bucket):
        raise BadInput(f"{bucket!r} cannot be the name of a bucket: it has {allowed}.")
    parts = inside.rstrip("/").split("/")
    if not all(re.fullmatch(r"[\w.=+-]+( [\w.=+-]+)*", part) and part not in (".", "..") for part in parts):
        raise BadInput(f"{url!r} names no folder for an index: give {EXAMPLES[kind]}.")
    return f"{kind}://{bucket}/{'/'.join(parts)}"


def endpoint(kind: str) -> str | None:
    """Returns the URL of the server that the environment, or the profile of a user, names; None for the usual one.

    Raises BadInput if it is reached without encryption, and that is not allowed."""
    variable = _endpoint_variable(kind)
    url = os.environ[variable] if variable else (_profile().get("endpoint_url") if kind == "s3" else None)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{variable or 'endpoint_url'} must be a URL such as https://minio.example.org:9000.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not _allows_http():
        raise BadInput(
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} is not encrypted. To use it all the same, set "
            f"{ALLOW_HTTP[0]}=true."
        )
    return url.rstrip("/")


def _endpoint_variable(kind: str) -> str | None:
    return next((name for name in ENDPOINTS[kind] if os.environ.get(name)), None)


def _allows_http() -> bool:
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in ALLOW_HTTP)


def _region() -> str | None:
    named = (os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))
    return next(filter(None, named), None) or _profile().get("region")


def _profile() -> Mapping[str, str]:
    """Returns the settings of the user's profile for Amazon's tools; the credentials are not among them."""
    config = configparser.RawConfigParser()
    try:
        config.read(os.environ.get("AWS_CONFIG_FILE") or Path.home() / ".aws" / "config", encoding="utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError, configparser.Error):  # Amazon's own tools say what is wrong
        return {}
    name = os.environ.get("AWS_PROFILE") or "default"
    section = next((one for one in (name, f"profile {name}") if config.has_section(one)), None)
    return {key: value for key, value in config.items(section) if key in ("endpoint_url", "region")} if section else {}


def table_options(kind: str) -> dict[str, str]:
    """Returns LanceDB's storage options for a kind of store. No credentials: LanceDB looks for them itself."""
    options = {
        "connect_timeout": f"{CONNECT_TIMEOUT}s",
        "read_timeout": f"{patience().table_silence * 1000:.0f}ms",
        "timeout": f"{REQUEST_TIME}s",
        "client_retry_timeout": str(patience().lasting),
    }
    if url := endpoint(kind):
        name = "google_base_url" if kind == "gs" else "endpoint"
        options |= {name: url, "allow_http": str(url.startswith("http://")).lower()}
    if kind == "s3" and (region := _region() or ("us-east-1" if url else None)):
        options["region"] = region
    return options


def file_system(kind: str, bucket: str) -> FileSystem:
    """Returns Arrow's file system for a bucket. Raises BadInput, and StorageError if the region cannot be found out."""
    environment = tuple(sorted(_environment(kind).items()))
    return _file_system(kind, bucket, endpoint(kind), _region(), environment, patience())


def _environment(kind: str) -> dict[str, str]:
    """Returns what of the environment a client depends on: a change of it makes another client."""
    prefix = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}[kind]
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


@lru_cache(maxsize=16)
def _file_system(
    kind: str,
    bucket: str,
    url: str | None,
    region: str | None,
    environment: tuple[tuple[str, str], ...],
    ours: Patience,
) -> FileSystem:
    require_credentials(kind)
    from pyarrow import fs  # 60 ms, which only indexes in object storage need

    server: dict[str, Any] = {"endpoint_override": urlsplit(url).netloc, "scheme": urlsplit(url).scheme} if url else {}
    if kind == "s3":
        return fs.S3FileSystem(
            allow_delayed_open=True,  # type: ignore[call-arg]  # of Arrow 21, and not in the stubs yet
            region=region or (None if not url else "us-east-1"),
            connect_timeout=CONNECT_TIMEOUT,
            request_timeout=ours.silence,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ours.tries),
            **server,
        )
    if kind == "gs":
        from datetime import timedelta

        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=CONNECT_TIMEOUT * ours.tries), **server)
    given = dict(environment)
    options: dict[str, Any] = {
        "account_key": given.get("AZURE_STORAGE_ACCOUNT_KEY"),
        "sas_token": given.get("AZURE_STORAGE_SAS_TOKEN"),
        "tenant_id": given.get("AZURE_TENANT_ID"),
        "client_id": given.get("AZURE_CLIENT_ID"),
        "client_secret": given.get("AZURE_CLIENT_SECRET"),
    }
    account = given.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    return fs.AzureFileSystem(account, **options, **(azure_server(url, account) if url else {}))


def azure_server(url: str, account: str) -> dict[str, Any]:
    """Returns Arrow's options for a server of Azure's kind.

    Where it has a name for each account, Arrow wants the rest of that name; data lakes have another."""
    server = urlsplit(url)
    blob = server.netloc.removeprefix(account) if server.netloc.startswith(f"{account}.") else server.netloc
    names = {"blob": blob, "dfs": blob.replace(".blob.", ".dfs.", 1)}
    authorities = {f"{part}_storage_authority": name for part, name in names.items()}
    return authorities | {f"{part}_storage_scheme": server.scheme for part in names}


@contextmanager
def bucket_errors(url: str) -> Iterator[None]:
    """Turns what Arrow and LanceDB say of object storage into StorageError, with what is wrong and the remedy.

    What they say may quote requests, and is not shown. Other errors, and FileNotFoundError, are left as they are.
    Until a bucket has answered once, a request that takes long is told of. Raises FileNotFoundError also where Arrow
    says in another error that a file is not there, as it does of Google's."""
    bucket = url.split("/")[2]
    waiting = threading.Timer(SLOW, log.warning, (f"Waiting for an answer from {url} ...",))
    waiting.daemon = True
    if bucket not in _answered:
        waiting.start()
    try:
        yield
        _answered.add(bucket)
    except (VidfindError, FileNotFoundError):
        raise
    except Exception as error:  # Arrow raises OSError, LanceDB many kinds
        if isinstance(error, OSError) and NOT_THERE.match(str(error)):
            raise FileNotFoundError(str(error)) from None
        if meaning := _meaning(url, str(error)):
            raise (NoAnswer if is_silence(error) else StorageError)(meaning) from None
        raise
    finally:
        waiting.cancel()


def is_silence(error: Exception) -> bool:
    """Whether Arrow or LanceDB say in an error that a server does not answer."""
    return _general_meaning(str(error)) == SILENCE


def _general_meaning(said: str) -> str:
    """Returns the text of MEANINGS for an error; empty for one that is not of object storage."""
    letters = re.sub(r"[^a-z]", "", said.lower())
    return next((text for words, text in MEANINGS.items() if re.search(words, letters)), "")


def _meaning(url: str, said: str) -> str:
    """Returns what an error means and what to do; empty for one that is not of object storage."""
    kind, bucket = url.partition("://")[0], url.partition("://")[2].partition("/")[0]
    meaning = _general_meaning(said)
    if not meaning:
        return ""
    if meaning.startswith("access is denied") and kind == "s3" and not has_credentials(kind):
        meaning = MEANINGS[next(words for words in MEANINGS if "nocredentials" in words)]
    server = endpoint(kind)
    facts = {
        "credentials": CREDENTIALS[kind],
        "bucket": f"{'container' if kind == 'az' else 'bucket'} {bucket!r}",
        "server": urlsplit(server).netloc.rpartition("@")[2] if server else "the server",
        "endpoint": f", and {named}" if (named := _endpoint_variable(kind)) else "",
    }
    return f"{url} cannot be used: {meaning.format(**facts)}."
