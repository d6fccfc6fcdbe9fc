"""What remote sources are reached with, in the form that workers on other machines get it."""

from __future__ import annotations

import os

import boto3
from huggingface_hub import get_token

_NAMES = (
    "HF_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
)


def environment() -> dict[str, str]:
    """Environment variables with this process's endpoints and credentials, also those it has from files or profiles.

    Holds secrets: pass it to workers, never to a log.
    """
    found = {name: os.environ[name] for name in _NAMES if os.environ.get(name)}
    token = get_token()
    if token:
        found["HF_TOKEN"] = token
    credentials = boto3.Session().get_credentials()
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        found["AWS_ACCESS_KEY_ID"] = frozen.access_key or ""
        found["AWS_SECRET_ACCESS_KEY"] = frozen.secret_key or ""
        if frozen.token:
            found["AWS_SESSION_TOKEN"] = frozen.token
    return found
