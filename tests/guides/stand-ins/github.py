"""The HTTP servers of the stand-in for GitHub: the issuer with TLS, and the place where a job asks for its token."""

import http.server
import json
import os
import ssl
import sys
import threading
import urllib.parse

sys.path.insert(0, os.environ["GUIDE_STAND_INS"])
import issuer

ISSUER = "https://token.actions.githubusercontent.com"
JOB = {
    "sub": "repo:octo-org/octo-repo:environment:prod", "repository": "octo-org/octo-repo", "repository_id": "74",
    "repository_owner": "octo-org", "repository_owner_id": "65", "environment": "prod", "ref": "refs/heads/main",
    "ref_type": "branch", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
    "event_name": "workflow_dispatch", "runner_environment": "github-hosted",
}  # fmt: skip


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if url.path == "/.well-known/openid-configuration":
            self.answer({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/.well-known/jwks"})
        elif url.path == "/.well-known/jwks":
            self.answer(issuer.jwks(use="sig", alg="RS256"))
        elif url.path == "/token" and self.headers["Authorization"] == "Bearer of-the-job":
            claims = {"iss": ISSUER, "aud": query["audience"][0], "jti": issuer.new_id(), **JOB}
            self.answer({"value": issuer.token(300, **claims)})
        else:
            self.send_error(404)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{sys.argv[1]}/certificate.pem", f"{sys.argv[1]}/key.pem")
secure = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Answers)
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Answers).serve_forever()
