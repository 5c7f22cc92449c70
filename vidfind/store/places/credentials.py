"""Whether this machine has credentials for object storage, in any of the usual places.

Clients that find none ask for those of the machine itself, on a network that may not answer for a minute. Reads no
credentials.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vidfind.system.machine import answers

PATIENCE = 2.0
"""Seconds in which the server that gives a virtual machine its credentials answers: it is on the same host."""
METADATA = {"s3": ("169.254.169.254", 80), "gs": ("metadata.google.internal", 80), "az": ("169.254.169.254", 80)}
VARIABLES = {
    "s3": (
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": ("GCE_METADATA_HOST", "GCE_METADATA_IP"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "IDENTITY_ENDPOINT",
        "MSI_ENDPOINT",
    ),
}
"""The variables of which one suffices."""


class NoCredentials(Exception):
    """No credentials were found in any place."""


def require_credentials(kind: str) -> None:
    """Raises NoCredentials if no usual place names credentials, and this is no virtual machine that has its own."""
    if not has_credentials(kind) and not answers(*METADATA[kind], PATIENCE):
        raise NoCredentials("no credentials")


def has_credentials(kind: str) -> bool:
    """Whether a usual place on this machine names credentials; those of the machine itself are not seen."""
    if kind == "s3" and os.environ.get("AWS_ACCESS_KEY_ID"):
        return bool(os.environ.get("AWS_SECRET_ACCESS_KEY"))
    if kind == "gs" and (file := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")):
        return os.path.isfile(file)
    return any(map(os.environ.get, VARIABLES[kind])) or any(map(os.path.isfile, _files(kind)))


def _files(kind: str) -> list[str]:
    """The files in which the programs of each provider keep who is signed in."""
    home = os.path.expanduser("~")
    if kind == "s3":
        shared = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(home, ".aws", "credentials")
        return [shared, os.environ.get("AWS_CONFIG_FILE") or os.path.join(home, ".aws", "config")]
    if kind == "gs":
        usual = Path(os.environ["APPDATA"], "gcloud") if os.environ.get("APPDATA") else Path(home, ".config", "gcloud")
        folder = os.environ.get("CLOUDSDK_CONFIG") or str(usual)
        return [os.path.join(folder, "application_default_credentials.json")]
    folder = os.environ.get("AZURE_CONFIG_DIR") or os.path.join(home, ".azure")
    return [os.path.join(folder, "azureProfile.json")] if shutil.which("az") else []
