"""Jeton where it asks for certificates itself, and behind an nginx that does; and the logs, when a test fails."""

import pytest

from deployment import BehindNginx, InProcess
from jeton import sqlite


@pytest.fixture(scope="session")
def directory(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("mtls")
    yield path
    if request.session.testsfailed:
        for log in sorted(path.rglob("*.log")):
            print(f"--- the end of {log}\n{log.read_text(errors='replace')[-10_000:]}---", flush=True)


@pytest.fixture(scope="session", params=[InProcess, BehindNginx], ids=["in-process", "behind-nginx"])
def deployment(request, directory):
    here = directory / request.param.__name__
    here.mkdir()
    with sqlite(here) as store:
        deployed = request.param(here, store)
        try:
            deployed.start()
            yield deployed
            deployed.stop()
        finally:
            deployed.kill()
