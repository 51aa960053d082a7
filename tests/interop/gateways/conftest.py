"""One Jeton for all gateways; and its log, when a test fails."""

import pytest

from deployment import Deployment
from jeton import sqlite


@pytest.fixture(scope="session")
def directory(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("gateways")
    yield path
    if request.session.testsfailed:
        for log in sorted(path.rglob("*.log")):
            print(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-10_000:]}---", flush=True)


@pytest.fixture(scope="session")
def deployment(directory):
    with sqlite(directory) as store:
        deployed = Deployment(directory, store)
        try:
            deployed.start()
            yield deployed
            deployed.server.stop()
        finally:
            deployed.server.kill()
