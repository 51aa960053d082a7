"""A SPIRE server and an agent on one host, with one workload: whoever runs as this user."""

import json
import os
import subprocess
import time
from pathlib import Path

from build import spire
from jeton import free_port

TRUST_DOMAIN = "example.org"
WORKLOAD = f"spiffe://{TRUST_DOMAIN}/billing"
NODE = f"spiffe://{TRUST_DOMAIN}/node"

SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  trust_domain = "{domain}"
  data_dir = "{here}/server"
  socket_path = "{server_socket}"
  log_level = "INFO"
  ca_ttl = "2h"
  default_x509_svid_ttl = "1h"
  default_jwt_svid_ttl = "5m"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3", connection_string = "{here}/server/data.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
"""

AGENT = """
agent {{
  data_dir = "{here}/agent"
  log_level = "INFO"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{agent_socket}"
  trust_bundle_path = "{here}/bootstrap.pem"
  trust_domain = "{domain}"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"""


class TrustDomain:
    """The server and the agent."""

    def __init__(self, directory, sockets):
        # The path of a socket has at most 108 bytes.
        self.here, self.bin, self.processes = directory, spire(), []
        self.server_socket, self.agent_socket = sockets / "server.sock", sockets / "agent.sock"
        self.values = {
            "here": directory,
            "port": free_port(),
            "domain": TRUST_DOMAIN,
            "server_socket": self.server_socket,
            "agent_socket": self.agent_socket,
        }

    def start(self):
        for part in ("server", "agent"):
            (self.here / part).mkdir()
        self.run("spire-server", SERVER)
        self.wait(lambda: self.server("healthcheck"))
        (self.here / "bootstrap.pem").write_text(self.server("bundle", "show"))
        token = json.loads(self.server("token", "generate", "-spiffeID", NODE, "-output", "json"))["value"]
        user = f"unix:uid:{os.getuid()}"
        self.server("entry", "create", "-parentID", NODE, "-spiffeID", WORKLOAD, "-selector", user)
        self.run("spire-agent", AGENT, "-joinToken", token)
        self.wait(lambda: self.fetch_jwt("nobody"))

    def run(self, program, config, *arguments):
        """Starts one of the two."""
        file = self.here / f"{program}.conf"
        file.write_text(config.format(**self.values))
        with (self.here / f"{program}.log").open("ab") as output:
            command = [self.bin / program, "run", "-config", file, *arguments]
            self.processes.append(subprocess.Popen(command, stdout=output, stderr=output))

    def wait(self, attempt):
        """Waits until something works."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return attempt()
            except subprocess.CalledProcessError as error:
                if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                    raise AssertionError(f"SPIRE does not become ready: {error.stderr}") from error
                time.sleep(0.2)

    def ask(self, program, *arguments):
        command = [self.bin / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout

    def server(self, *arguments):
        """What a command of the server's answers."""
        return self.ask("spire-server", *arguments, "-socketPath", self.server_socket)

    def bundle(self):
        """Its SPIFFE bundle."""
        return self.server("bundle", "show", "-format", "spiffe")

    def fetch_jwt(self, audience):
        """The workload's JWT-SVID for an audience."""
        socket = ["-socketPath", self.agent_socket, "-output", "json"]
        answers = json.loads(self.ask("spire-agent", "api", "fetch", "jwt", "-audience", audience, *socket))
        return answers[0]["svids"][0]["svid"]

    def fetch_x509(self):
        """The files of the workload's X.509-SVID: with what leads to an authority, and its key."""
        folder = Path(self.here) / f"svid-{time.monotonic_ns()}"
        folder.mkdir()
        self.ask("spire-agent", "api", "fetch", "x509", "-write", folder, "-socketPath", self.agent_socket)
        return str(folder / "svid.0.pem"), str(folder / "svid.0.key")

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()
