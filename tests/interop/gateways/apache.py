"""A private Apache httpd with Debian's mod_oauth2, and an API behind it that says as whom it was called."""

import http.server
import os
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import requests

from jeton import free_port

PROGRAM = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")
LOADED = ["mpm_event", "authn_core", "authz_core", "proxy", "proxy_http", "oauth2"]

# How long a verdict is kept, in seconds: how much longer than its end or its revocation a token is accepted.
CACHE = 1

CONFIG = """
ServerName 127.0.0.1
ServerRoot "{root}"
DefaultRuntimeDir "{root}"
PidFile "{root}/httpd.pid"
ErrorLog "{root}/apache.log"
LogLevel warn
{listen}
{user}
{modules}

# One cache for each who asks: its key is the token alone.
{caches}

{hosts}
"""

HOST = """
<VirtualHost 127.0.0.1:{port}>
  <Location "/">
    AuthType oauth2
    OAuth2TokenVerify introspect {issuer}/oauth2/introspect {options}
    # Whoever has a good token without the role hears 403, not 401.
    AuthzSendForbiddenOnFailure On
    <RequireAny>
      <RequireAll>
        Require method GET
        Require oauth2_claim roles:order-reader
      </RequireAll>
      <RequireAll>
        Require method POST
        Require oauth2_claim roles:order-writer
      </RequireAll>
    </RequireAny>
    ProxyPass "http://127.0.0.1:{upstream}/"
  </Location>
</VirtualHost>
"""


class Upstream(http.server.BaseHTTPRequestHandler):
    """The API: it answers as whom the gateway says that it is called."""

    def do_GET(self):
        body = self.headers.get("OAUTH2_CLAIM_sub", "nobody").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        """Says nothing."""


class Apache:
    """One virtual host for each of these clients, which introspects as that client."""

    def __init__(self, directory, issuer, credentials):
        self.root = directory / "apache"
        self.ports = {client: free_port() for client in credentials}
        self.upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        self._issuer, self._credentials = issuer, credentials
        self.process = None

    def start(self):
        """Starts it, and waits until it answers."""
        self.root.mkdir()
        config = self.root / "httpd.conf"
        config.write_text(self._config())
        # It has secrets in it.
        config.chmod(0o600)
        threading.Thread(target=self.upstream.serve_forever, daemon=True).start()
        self.process = subprocess.Popen([PROGRAM, "-f", config, "-DFOREGROUND"], env={"PATH": os.environ["PATH"]})
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                requests.get(f"http://127.0.0.1:{next(iter(self.ports.values()))}/", timeout=5)
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError(f"Apache does not become ready:\n{self.words()}")

    def stop(self):
        self.upstream.shutdown()
        if self.process:
            # Its parent ends its children.
            self.process.terminate()
            self.process.wait(timeout=30)

    def words(self):
        log = self.root / "apache.log"
        return log.read_text(errors="replace")[-10_000:] if log.exists() else "it has no log"

    def ask(self, client, token, method="GET", headers=None):
        """The status and the words that a request with this token, or without any, gets."""
        headers = {**(headers or {}), **({"authorization": f"Bearer {token}"} if token else {})}
        answer = requests.request(method, f"http://127.0.0.1:{self.ports[client]}/", headers=headers, timeout=20)
        return answer.status_code, answer.text

    def _config(self):
        hosts, caches = [], []
        for client, secret in self._credentials.items():
            credentials = {"client_id": client, "client_secret": secret}
            options = {"introspect.auth": "client_secret_basic", **credentials}
            options |= {"verify.cache": client, "expiry": CACHE}
            caches.append(f"OAuth2Cache shm name={client}")
            hosts.append(
                HOST.format(
                    port=self.ports[client],
                    issuer=self._issuer,
                    options=urllib.parse.urlencode(options),
                    upstream=self.upstream.server_port,
                )
            )
        return CONFIG.format(
            root=self.root,
            listen="\n".join(f"Listen 127.0.0.1:{port}" for port in self.ports.values()),
            # Apache refuses to serve as root.
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            modules="\n".join(f'LoadModule {name}_module "{MODULES}/mod_{name}.so"' for name in LOADED),
            caches="\n".join(caches),
            hosts="".join(hosts),
        )
