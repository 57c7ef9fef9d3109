"""`ray start` as the local cluster sees it: a head with a dashboard, a worker with a Serve proxy. No packages needed.

An application whose import path has `broken` in it fails to deploy. The head's crash is `POST /crash`.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPTIONS = dict(a.removeprefix("--").split("=", 1) if "=" in a else (a.removeprefix("--"), "") for a in sys.argv[2:])
TOLD: dict = {}


class Answers(BaseHTTPRequestHandler):
    def say(self, said, code=200):
        body = (said if isinstance(said, str) else json.dumps(said)).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Dashboard(Answers):
    def do_GET(self):
        if self.path == "/api/gcs_healthz":
            self.say("success")
        elif self.is_known():
            self.say({"applications": {a["name"]: status_of(a) for a in TOLD.get("applications", ())}, "told": TOLD})

    def do_PUT(self):
        if self.is_known():
            TOLD.clear()
            TOLD.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.say({})

    def do_POST(self):
        os._exit(3)

    def is_known(self):
        known = self.headers.get("Authorization") == f"Bearer {os.environ['RAY_AUTH_TOKEN']}"
        if not known:
            self.say("Unauthorized: Missing authentication token", 401)
        return known


class Proxy(Answers):
    def do_GET(self):
        self.say(f"{OPTIONS['node-ip-address']} of {OPTIONS['address']}")


class Metrics(Answers):
    def do_GET(self):
        self.say("ray_serve_num_http_requests_total 1")


def status_of(application):
    if "broken" in application["import_path"]:
        return {"status": "DEPLOY_FAILED", "message": "no module named broken", "deployments": {}}
    return {"status": "RUNNING", "message": "", "deployments": {"App": {"status": "HEALTHY", "message": ""}}}


def serve(address, port, handler):
    server = ThreadingHTTPServer((address, port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if "head" in OPTIONS:
    serve(OPTIONS["dashboard-host"], 8265, Dashboard)
else:
    host, _, port = os.environ["GENAI_SERVE_ADDRESS"].partition(":")
    serve(host, int(port), Proxy)
serve("0.0.0.0", int(OPTIONS["metrics-export-port"]), Metrics)
threading.Event().wait()
