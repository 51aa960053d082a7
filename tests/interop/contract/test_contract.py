"""schemathesis asks a real server everything that openapi.yaml describes, and everything that it forbids.

It may remove whatever it finds, so the server is its own. JETON_FUZZ_SECONDS, JETON_FUZZ_SEED and JETON_FUZZ_ENGINE
(`postgres`, under scripts/with-postgres) make another run than the one that every change has to pass.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import requests

from jeton import Server, free_port, jeton, postgres, sqlite

HERE = Path(__file__).resolve().parent
DESCRIPTION = HERE.parent.parent.parent / "openapi.yaml"

# What the examples of openapi.yaml speak of.
REGISTRATIONS = [
    ["resource-servers", "create", "orders", "--identifier", "https://orders.example.com"]
    + ["--permission", "orders:read=Read orders", "--permission", "orders:write=Change orders"],
    ["resource-servers", "create", "stock", "--identifier", "https://stock.example.com"]
    + ["--permission", "stock:read=Read the stock"],
    ["roles", "create", "order-reader", "--permission", "orders/orders:read"],
    ["clients", "create", "billing", "--role", "order-reader"],
    ["clients", "create", "orders"],
]


@pytest.fixture
def environment(tmp_path):
    engine = {"sqlite": sqlite, "postgres": postgres}[os.environ.get("JETON_FUZZ_ENGINE", "sqlite")]
    with engine(tmp_path) as store:
        address = f"127.0.0.1:{free_port()}"
        environment = {"PATH": os.environ["PATH"], "JETON_ISSUER": f"http://{address}", "JETON_LISTEN": address, **store}
        server = Server(environment, tmp_path / "server.log")
        try:
            server.start()
            for arguments in REGISTRATIONS:
                jeton(environment, *arguments)
            yield environment
            server.stop()
        finally:
            server.kill()


def test_the_server_does_what_its_description_says(environment, tmp_path):
    report = tmp_path / "report.ndjson"
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml"]
    command += ["run", DESCRIPTION, "--url", environment["JETON_ISSUER"], "--checks", "all", "--no-color"]
    # By the number of examples, so that a slower machine asks the same; by time only for whoever hunts.
    if seconds := os.environ.get("JETON_FUZZ_SECONDS"):
        command += ["--max-time", seconds]
    else:
        command += ["--max-examples", "20"]
    command += ["--report-ndjson-path", report]
    if seed := os.environ.get("JETON_FUZZ_SEED"):
        command += ["--seed", seed]
    passed_on = {
        **os.environ,
        "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}",
        "SCHEMATHESIS_HOOKS": "hooks",
        "JETON_TEST_ENVIRONMENT": json.dumps(environment),
    }
    done = subprocess.run(command, env=passed_on, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0, "schemathesis found what its output above says"
    described = requests.get(f"{environment['JETON_ISSUER']}/docs/openapi.json", timeout=10).json()
    all_were_asked(described, answers(report))


def answers(report):
    """How often each operation answered with each status."""
    statuses = defaultdict(Counter)
    for line in report.read_text().splitlines():
        finished = json.loads(line).get("ScenarioFinished")
        recorder = (finished or {}).get("recorder") or {}
        for case, interaction in recorder.get("interactions", {}).items():
            value = recorder["cases"][case]["value"]
            if interaction["response"]:
                statuses[f"{value['method']} {value['path']}"][interaction["response"]["status_code"]] += 1
    return statuses


def all_were_asked(described, statuses):
    """A run that asked nothing, or that nothing let in, finds nothing."""
    operations = [f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item]
    assert len(operations) > 40
    for operation in operations:
        counted = statuses[operation]
        assert counted.total() >= 3, f"{operation} was asked {counted.total()} times"
        succeeded = any(200 <= status < 300 for status in counted)
        assert succeeded, f"{operation} never succeeded: {dict(counted)}"
