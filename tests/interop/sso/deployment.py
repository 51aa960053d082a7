"""The two servers, and a browser without scripts."""

import html
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urljoin

import requests

from jeton import Server, free_port

NODE = Path(__file__).resolve().parent.parent / "node"
NODE_BINARY = Path(__file__).resolve().parent.parent / "python" / ".venv" / "bin" / "node"
SECRET = "what the provider knows jeton by"


class Provider:
    """npm's oidc-provider."""

    def __init__(self, port, log):
        self.port, self.log, self.process = port, log, None
        self.issuer = f"http://localhost:{port}"

    def start(self, redirect_uri):
        """Starts it, and waits until it listens."""
        node = os.environ.get("JETON_TEST_NODE", str(NODE_BINARY))
        command = [node, NODE / "oidc-provider.mjs", str(self.port), redirect_uri]
        environment = {"PATH": os.environ["PATH"], "OIDC_CLIENT_SECRET": SECRET}
        with self.log.open("ab") as output:
            # A group of its own: `node` is a script that starts the real one.
            self.process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.issuer in self.log.read_text():
                return
            time.sleep(0.1)
        raise SystemExit("oidc-provider does not start")

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=10)
            self.process = None
            self.log.unlink()


class Jeton:
    """A server with single sign-on, and how people are mapped."""

    def __init__(self, provider, log, store):
        address = f"127.0.0.1:{free_port()}"
        self.issuer = f"http://{address}"
        self.redirect_uri = f"{self.issuer}/admin/sign-in/sso/callback"
        # Nothing is inherited but PATH: a developer's own JETON_ variables must not change what is tested.
        self.environment = {
            "PATH": os.environ["PATH"],
            "JETON_ISSUER": self.issuer,
            "JETON_LISTEN": address,
            "JETON_SSO__ISSUER": provider.issuer,
            "JETON_SSO__CLIENT_ID": "jeton",
            "JETON_SSO__CLIENT_SECRET": SECRET,
            "JETON_SSO__LABEL": "Example",
            "JETON_SSO__SCOPES": "profile,groups",
            "JETON_SSO__ROLE_CLAIM": "groups",
            "JETON_SSO__ADMINISTRATORS": "platform",
            "JETON_SSO__AUDITORS": "audit",
            **store,
        }
        self.server = Server(self.environment, log)


class Browser:
    """Cookies, links and forms."""

    def __init__(self, jeton):
        self.jeton, self.session = jeton, requests.Session()

    def get(self, path):
        return self.session.get(urljoin(self.jeton.issuer, path), timeout=20)

    def sign_in(self, name):
        """From the button, through the provider's pages, to wherever that leads."""
        page = self.get("/admin/sign-in")
        button = re.search(r'href="(/admin/sign-in/sso[^"]*)">Sign in with Example<', page.text)
        assert button, page.text
        page = self.get(html.unescape(button.group(1)))
        # Who it is, then whether Jeton may know: pages of the provider's own.
        for _ in range(3):
            if page.url.startswith(self.jeton.issuer):
                return page
            form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
            assert form, page.text
            fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
            fields |= {"login": name, "password": "any"}
            page = self.session.post(urljoin(page.url, html.unescape(form.group(1))), data=fields, timeout=20)
        return page
