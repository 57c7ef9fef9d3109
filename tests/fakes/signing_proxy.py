"""Signs what passes for AWS, as the sidecar does that AWS gives to a Prometheus that does not sign by itself."""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.listening import Listening
from tests.fakes.managed_prometheus import KEY, SECRET

_SIGNED = ("content-type", "content-encoding", "x-prometheus-remote-write-version")


class SigningProxy(Listening):
    """Passes requests on to `to`, signed with one key for one region."""

    def __init__(self, to: str, region: str, key: str = KEY, secret: str = SECRET) -> None:
        self.to = to
        self.signer = SigV4Auth(Credentials(key, secret), "aps", region)
        super().__init__(_Passing)


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        proxy: SigningProxy = self.server.fake  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() in _SIGNED}
        signed = AWSRequest("POST", f"{proxy.to}{self.path}", headers=headers, data=body)
        proxy.signer.add_auth(signed)
        behind = http.client.HTTPConnection(urlsplit(proxy.to).netloc, timeout=30)
        try:
            behind.request("POST", self.path, body, dict(signed.headers.items()))
            answer = behind.getresponse()
            words = answer.read()
        finally:
            behind.close()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)
