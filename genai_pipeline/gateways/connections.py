"""Kept connections to any host, through the proxy and with the certificates that the environment names.

Model weights go through urllib3 and not through httpx: it takes less than half of the CPU time per byte.
It also hands a buffer to the socket without a copy (docs/architecture.md, "Staging").
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.util import Timeout, make_headers

TIMEOUT = Timeout(connect=10.0, read=30.0)
_LOOPBACK = re.compile(r"https?://(127\.\d+\.\d+\.\d+|localhost|\[::1\])([:/]|$)")
_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine. Such an address is never asked through a proxy."""
    return bool(_LOOPBACK.match(url))


class Connections:
    """Thread-safe. One pool of kept connections per host.

    Args:
        each: the most kept connections of one host.
        ca_bundle: a file of certificates; None means SSL_CERT_FILE, then REQUESTS_CA_BUNDLE, then certifi's.
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
        """Send one request, without retry or redirect. With `stream` the caller reads the body and closes the answer.

        Raises: urllib3.exceptions.HTTPError.
        """
        return self._for(url).request(
            method, url, headers=headers, body=body, preload_content=not stream, decode_content=False, retries=False,
            redirect=False,
        )  # fmt: skip

    def _for(self, url: str) -> urllib3.PoolManager:
        if not self._proxies or is_loopback(url):
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
