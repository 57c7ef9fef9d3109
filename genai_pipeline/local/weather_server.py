"""A weather service on this machine: wttr.in's JSON for some seventy cities, made up, known and labelled as such.

    python -m genai_pipeline.local.weather_server --port 8592

GET /<place>?format=j1 answers like wttr.in; a place that is not in weather_data.yaml is 404. Two places are broken
on purpose, and the description of one is an instruction: weather_data.yaml says which. So an evaluation can see what an
agent does then.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from genai_pipeline.evaluation.normalized_text import normalized

SOURCE = "genai_pipeline demo data, not real weather"
HANG_S = 20.0
"""Longer than any agent's tool waits."""
IDLE_CONNECTION_S = 30


@dataclass(frozen=True)
class Weather:
    """The weather of one place, for ever."""

    place: str
    description: str
    celsius: int
    humidity: int
    wind_kmph: int

    def to_j1(self) -> dict[str, Any]:
        """As wttr.in's `format=j1`, cut down to the current condition. Source: wttr.in's README, "JSON output"."""
        condition = {
            "temp_C": str(self.celsius),
            "temp_F": str(round(self.celsius * 9 / 5 + 32)),
            "humidity": str(self.humidity),
            "windspeedKmph": str(self.wind_kmph),
            "weatherDesc": [{"value": self.description}],
        }
        return {
            "source": SOURCE,
            "current_condition": [condition],
            "nearest_area": [{"areaName": [{"value": self.place}]}],
        }


def known_weather(place: str) -> Weather | None:
    """The weather of a place, however it is capitalised or accented, or None if it has none."""
    return _data()[0].get(_folded(place))


def broken_place(place: str) -> str | None:
    """Return how the place is broken: error, hang, or None."""
    return _data()[1].get(_folded(place))


@cache
def _data() -> tuple[Mapping[str, Weather], Mapping[str, str]]:
    data = yaml.safe_load(Path(__file__).with_name("weather_data.yaml").read_text(encoding="utf-8"))
    weather = {_folded(place): Weather(place, *values) for place, values in data["weather"].items()}
    return weather, {_folded(place): how for place, how in data["broken"].items()}


def _folded(place: str) -> str:
    """Letters only matter by themselves: `são paulo`, `Sao Paulo` and `São Paulo, Brazil` are one place."""
    return normalized(place.partition(",")[0])


class WeatherServer(ThreadingHTTPServer):
    """Serves on loopback. `hang_s` is how long the hanging place takes."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, host: str = "127.0.0.1", hang_s: float = HANG_S) -> None:
        super().__init__((host, port), _Handler)
        self.hang_s = hang_s
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"

    def stop(self) -> None:
        """End `serve_forever`, which must be running, and whatever hangs."""
        self.stopped.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet: two cost 40 ms by Nagle and delayed ACK
    timeout = IDLE_CONNECTION_S
    server: WeatherServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the agent logs what it asks for."""

    def do_GET(self) -> None:
        place = unquote(urlsplit(self.path).path.removeprefix("/"))
        if place == "healthz":
            return self._answer(200, {"status": "alive", "source": SOURCE})
        how = broken_place(place)
        if how == "error":
            return self._answer(500, {"error": "broken on purpose", "source": SOURCE})
        if how == "hang":
            self.server.stopped.wait(self.server.hang_s)
            return self._answer(503, {"error": "slow on purpose", "source": SOURCE})
        weather = known_weather(place)
        if weather is None:
            return self._answer(404, {"error": f"Unknown location {place[:80]!r}", "source": SOURCE})
        return self._answer(200, weather.to_j1())

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the demo's weather on loopback.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8592)
    args = parser.parse_args()
    try:
        server = WeatherServer(args.port, args.host)
    except OSError as error:
        raise SystemExit(f"Cannot listen on {args.host}:{args.port}: {error.strerror}. Pass another --port.") from None
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
