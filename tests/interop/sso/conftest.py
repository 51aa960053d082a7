"""A Jeton whose people sign in by a real OpenID provider, npm's oidc-provider; and both logs, when a test fails."""

import pytest

from deployment import Jeton, Provider
from jeton import free_port, sqlite


@pytest.fixture(scope="session")
def directory(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("sso")
    yield path
    if request.session.testsfailed:
        for log in sorted(path.rglob("*.log")):
            print(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-10_000:]}---", flush=True)


@pytest.fixture(scope="session")
def parts(directory):
    """Jeton and the provider, which start in this order: Jeton does not need it to start."""
    port = free_port()
    provider = Provider(port, directory / "provider.log")
    with sqlite(directory) as store:
        jeton = Jeton(provider, directory / "jeton.log", store)
        try:
            jeton.server.start()
            yield jeton, provider
            jeton.server.stop()
        finally:
            jeton.server.kill()
            provider.stop()
