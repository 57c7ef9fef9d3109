"""The HTTP protocol, with one word of our own: also what is no HTTP is told so in our JSON."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class AgentProtocol(HttpToolsProtocol):
    """uvicorn's, which answers such a request before any application sees it."""

    def send_400_response(self, msg: str) -> None:
        told = {"error": {"code": "bad_request", "message": f"{msg} Send HTTP/1.1 with a known method."}}
        body = json.dumps(told).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[400] + head + body)
        self.transport.close()
