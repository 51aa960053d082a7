"""The server under test and the client registered with it, as tests/interop/run hands them over."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests


@dataclass(frozen=True)
class Client:
    id: str
    # Not to be read in the output of a failing test.
    secret: str = field(repr=False)


@pytest.fixture(scope="session")
def issuer():
    return os.environ["JETON_TEST_ISSUER"]


@pytest.fixture(scope="session")
def billing():
    return Client(os.environ["JETON_TEST_CLIENT_ID"], os.environ["JETON_TEST_CLIENT_SECRET"])


@pytest.fixture(scope="session")
def keys():
    """Where the private keys of the clients that sign are."""
    return Path(os.environ["JETON_TEST_KEYS"])


@pytest.fixture(scope="session")
def metrics():
    """Where the server is scraped."""
    return os.environ["JETON_TEST_METRICS"]


@pytest.fixture(scope="session")
def metadata(issuer):
    """The server's metadata: all else is found from here."""
    answer = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10)
    answer.raise_for_status()
    return answer.json()
