"""The pieces that the tests put together: an Envoy, replicas of Jeton behind it, and those who verify."""

from contextlib import ExitStack, contextmanager

import pytest

from gateway import Gateway
from jeton import postgres
from replicas import Replicas
from verifiers import all_verifiers


@contextmanager
def deployment(directory, count, settings, resource_servers, lifetime):
    """Replicas on one fresh PostgreSQL database, and verifiers of their tokens. Shows the logs when a test fails."""
    gateway = Gateway(directory)
    with ExitStack() as stack:
        stack.callback(gateway.stop)
        store = stack.enter_context(postgres(directory))
        replicas = Replicas(directory, count, store, gateway.issuer, settings)
        stack.callback(replicas.kill)
        replicas.start()
        replicas.register(resource_servers, lifetime)
        gateway.start(replicas.addresses, list(resource_servers))
        verifiers = all_verifiers(gateway)
        for verifier in verifiers:
            stack.callback(verifier.stop)
        yield replicas, verifiers


@pytest.fixture(scope="session")
def show(pytestconfig):
    """Prints a line although the tests run quietly."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def line(text):
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)

    return line


@pytest.fixture(scope="module")
def directory(tmp_path_factory, request, show):
    """Where logs are written. They are shown when a test of the module fails."""
    path = tmp_path_factory.mktemp("rotation")
    failed = request.session.testsfailed
    yield path
    if request.session.testsfailed > failed:
        for log in sorted(path.glob("*.log")):
            show(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-10_000:]}---")
