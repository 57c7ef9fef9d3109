"""Kept connections to any host, by way of the proxy that the environment names, with its certificates.

urllib3 rather than httpx where model weights pass: less than half of the time in this process per byte
(docs/staging.md), and it hands a buffer to the socket as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.util import Timeout, make_headers

TIMEOUT = Timeout(connect=10.0, read=30.0)
_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


class Connections:
    """Thread-safe. One pool of at most `each` kept connections per host.

    Args:
        ca_bundle: a file of certificates; None means SSL_CERT_FILE, REQUESTS_CA_BUNDLE, else certifi's.
    """

    def __init__(self, each: int, timeout: Timeout = TIMEOUT, ca_bundle: str | None = None) -> None:
        named = (os.environ[name] for name in _CA_BUNDLES if os.environ.get(name))
        self._settings: dict[str, Any] = {
            "num_pools": 32,
            "maxsize": each,
            "timeout": timeout,
            "ca_certs": ca_bundle or next(named, None) or certifi.where(),
        }
        self._proxies = getproxies()
        self._direct = urllib3.PoolManager(**self._settings)
        self._by_way_of: dict[str, urllib3.ProxyManager] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Any = None, stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        """One try, no redirect. With `stream` the body is left to be read, and the answer has to be closed.

        Raises: urllib3.exceptions.HTTPError.
        """
        return self._for(url).request(
            method, url, headers=headers, body=body, preload_content=not stream, decode_content=False, retries=False,
            redirect=False,
        )  # fmt: skip

    def _for(self, url: str) -> urllib3.PoolManager:
        if not self._proxies:
            return self._direct
        at = urlsplit(url)
        proxy = self._proxies.get(at.scheme) or self._proxies.get("all")
        if not proxy or proxy_bypass(at.netloc):
            return self._direct
        with self._lock:
            if proxy not in self._by_way_of:
                user = urlsplit(proxy)
                known = make_headers(proxy_basic_auth=f"{user.username}:{user.password}") if user.username else None
                self._by_way_of[proxy] = urllib3.ProxyManager(proxy, proxy_headers=known, **self._settings)
            return self._by_way_of[proxy]
