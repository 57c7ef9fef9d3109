"""Ask Dagster's webserver whether its code locations are loaded. Standard library only; ends with 1 and says why."""

import json
import os
import sys
import time
import urllib.request

REQUEST_TIMEOUT_S = 30
QUERY = """{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename
    ... on PythonError { message } } } } } }"""


def main() -> None:
    ends_at = time.monotonic() + float(os.environ["TIMEOUT_S"])
    while problem := judge(ask):  # the code server may still load the definitions
        if time.monotonic() > ends_at:
            sys.exit(f"not loaded within {os.environ['TIMEOUT_S']} s: {problem}")
        time.sleep(1)
    print("passed")


def ask():
    body = json.dumps({"query": QUERY}).encode()
    request = urllib.request.Request(os.environ["GRAPHQL_URL"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
        return json.load(answer)


def judge(asked):
    """Return what is wrong, or an empty text if every location is loaded."""
    try:
        workspace = asked()["data"]["workspaceOrError"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"no answer: {error}"
    if workspace["__typename"] != "Workspace":
        return workspace.get("message", workspace["__typename"])
    entries = workspace["locationEntries"]
    wrong = [
        entry for entry in entries if (entry["locationOrLoadError"] or {}).get("__typename") != "RepositoryLocation"
    ]
    if wrong:
        return "; ".join(
            f"{e['name']}: {(e['locationOrLoadError'] or {}).get('message', e['loadStatus'])}" for e in wrong
        )
    return "" if entries else "there is no code location"


if __name__ == "__main__":
    main()
