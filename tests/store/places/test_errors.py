"""What goes wrong with object storage, and what a user is told; a secret is in no message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.ran import Run
from vidfind.errors import StorageError
from vidfind.store.places import bucket, credentials
from vidfind.store.places.path import RemotePath
from vidfind.store.tables import table_errors


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with the error `code` of S3."""

    code, status = "", 403

    def answer(self) -> None:
        text = f"<Error><Code>{self.code}</Code><Message>{self.code} AKIATESTKEY</Message></Error>".encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch, remote: RemotePath) -> Iterator[type[Refusing]]:
    """The handler of a server that refuses everything, which vidfind asks."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield Refusing
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("InvalidAccessKeyId", 403, "the credentials are wrong"),
        ("SignatureDoesNotMatch", 403, "the credentials are wrong"),
        ("ExpiredToken", 400, "the credentials have expired"),
        ("RequestTimeTooSkewed", 403, "the clock of this machine is wrong"),
        ("AccessDenied", 403, "access is denied"),
        ("NoSuchBucket", 404, "there is no bucket 'media'"),
    ],
)
@pytest.mark.parametrize("command", [["status"], ["search", "a dog"]], ids=" ".join)
def test_a_refusal_is_told_with_its_remedy(
    run: Run, refusing: type[Refusing], remote: RemotePath, code: str, status: int, said: str, command: list[str]
) -> None:
    refusing.code, refusing.status = code, status
    ran = run(*command, "--index", remote.name)
    assert ran.code == 1
    assert said in ran.err
    assert remote.name in ran.err
    assert "secret" not in ran.err and "AKIA" not in ran.err


@pytest.mark.parametrize("missing", [["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], ["AWS_SECRET_ACCESS_KEY"]])
def test_without_credentials_the_variables_are_named(
    run: Run, refusing: type[Refusing], remote: RemotePath, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    refusing.code, refusing.status = "AccessDenied", 403
    for name in missing:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/none")
    assert "there are no credentials. Set AWS_ACCESS_KEY_ID" in run("status", "--index", remote.name).err


@pytest.mark.parametrize(
    ("variables", "url", "said"),
    [
        ({}, "gs://media/x", "there are no credentials. Set GOOGLE_APPLICATION_CREDENTIALS to a file"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/none.json"}, "gs://media/x", "gcloud auth application-default login"),
        ({"AZURE_STORAGE_ACCOUNT_NAME": "films"}, "az://media/x", "and AZURE_STORAGE_ACCOUNT_KEY or sign in: az login"),
        ({}, "s3://media/x", "there are no credentials. Set AWS_ACCESS_KEY_ID"),
    ],
)
def test_without_any_credentials_nothing_is_waited_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, said: str
) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/none")
    monkeypatch.setitem(credentials.METADATA, url[:2], ("127.0.0.1", 1))
    for name in [*credentials.VARIABLES["s3"], "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = run("status", "--index", url)
    assert (ran.code, said in ran.err) == (1, True), ran.err


@pytest.mark.parametrize(
    ("kind", "file", "variables"),
    [
        ("gs", "key.json", {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}),
        ("gs", "application_default_credentials.json", {"CLOUDSDK_CONFIG": "."}),
        ("gs", ".config/gcloud/application_default_credentials.json", {"HOME": "."}),
        ("s3", ".aws/credentials", {"HOME": "."}),
        ("s3", "elsewhere", {"AWS_SHARED_CREDENTIALS_FILE": "elsewhere"}),
    ],
)
def test_credentials_are_seen_in_the_usual_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, file: str, variables: dict[str, str]
) -> None:
    for name in (*credentials.VARIABLES[kind], "AWS_ACCESS_KEY_ID", "GOOGLE_APPLICATION_CREDENTIALS", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert not credentials.has_credentials(kind)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert credentials.has_credentials(kind)


def test_a_bucket_that_does_not_answer_at_once_is_told_of(
    run: Run, refusing: type[Refusing], remote: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing.code, refusing.status = "AccessDenied", 403
    monkeypatch.setattr(bucket, "SLOW", 0.0)
    assert "Waiting for an answer from s3://slow-one/x ..." in run("status", "--index", "s3://slow-one/x").err


@pytest.mark.parametrize(
    ("variables", "url", "said"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://media/x", "127.0.0.1:1 does not answer"),
        ({"AWS_ENDPOINT_URL": "http://minio.test:9000"}, "s3://media/x", "set AWS_ALLOW_HTTP=true"),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "s3://media/x", "AWS_ENDPOINT_URL must be a URL"),
        ({}, "s3://no-such-bucket/x", "there is no bucket 'no-such-bucket'"),
        ({}, "az://media/x", "there are no credentials. Set AZURE_STORAGE_ACCOUNT_NAME"),
        ({}, "s3://ab/x", "'ab' cannot be the name of a bucket: it has 3 to 63"),
        ({}, "s3://media", "names no folder for an index: give s3://BUCKET/NAME"),
        ({}, "s3://key:secret@media/x", "credentials come from the environment"),
        ({}, "s3:/media/x", "given as s3://BUCKET/NAME"),
        ({}, "gs:media/x", "given as gs://BUCKET/NAME"),
        ({}, "S3://media/x", "given as s3://BUCKET/NAME"),
        ({}, "http://media/x", "cannot be an index: give a name, or s3://BUCKET/NAME"),
        (
            {},
            "s3://media/x",
            "There is no index 's3://media/x' yet. Make it: vidfind index FOLDER --index s3://media/x",
        ),
    ],
)
def test_a_place_that_cannot_be_is_told(
    run: Run, remote: RemotePath, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = run("status", "--index", url)
    assert (ran.code, said in ran.err) == (1, True), ran.err
    assert "secret@" not in ran.err


@pytest.mark.parametrize(
    ("remote", "variables", "said"),
    [
        pytest.param(
            *("google", {"GOOGLE_STORAGE_ENDPOINT": "http://127.0.0.1:1"}, "127.0.0.1:1 does not answer"),
            marks=pytest.mark.soak,  # Google's client tries for ten seconds
        ),
        ("google", {}, "there is no bucket 'no-such-bucket'. Make it"),
        ("azure", {"AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1/films"}, "127.0.0.1:1 does not answer"),
        (
            "azure",
            {"AZURE_STORAGE_ACCOUNT_KEY": "no-base64!"},
            "the credentials are wrong. Check AZURE_STORAGE_ACCOUNT",
        ),
        ("azure", {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}, "access is denied"),
        ("azure", {}, "there is no container 'no-such-bucket'. Make it"),
    ],
    indirect=["remote"],
)
def test_other_servers_are_understood_too(
    run: Run, remote: RemotePath, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str, made: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    begun = ["status", "--index", remote.name]
    missing = ["index", made, "--model", "tiny", "--index", f"{remote.kind}://no-such-bucket/x"]
    ran = run(*(begun if variables else missing))
    assert (ran.code, said in ran.err) == (1, True), ran.err


@pytest.mark.parametrize(
    ("url", "account", "blob", "dfs"),
    [
        ("http://127.0.0.1:10000/films", "films", "127.0.0.1:10000", "127.0.0.1:10000"),
        ("https://films.blob.core.test", "films", ".blob.core.test", ".dfs.core.test"),
        ("https://storage.test/films", "films", "storage.test", "storage.test"),
    ],
)
def test_arrow_is_told_the_servers_of_azure_as_it_wants_them(url: str, account: str, blob: str, dfs: str) -> None:
    told = bucket.azure_server(url, account)
    assert (told["blob_storage_authority"], told["dfs_storage_authority"]) == (blob, dfs)


def test_a_connection_that_a_server_has_closed_is_no_damage(remote: RemotePath) -> None:
    with pytest.raises(StorageError, match="does not answer"), table_errors(remote):
        raise OSError(f"Failed to list blobs in a directory: {remote.key} Connection was closed by the server while")
