"""Ask the agent a question over HTTP and judge its answer. Standard library only; ends with 1 and says why."""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

REQUEST_TIMEOUT_S = 60


def main() -> None:
    ends_at = time.monotonic() + float(os.environ["TIMEOUT_S"])
    while True:  # no pod may be ready yet
        try:
            reply = ask()
            break
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.read(2000).decode(errors='replace')}"
            if error.code < 500 and error.code != 429:
                sys.exit(f"refused: {problem}")
        except (OSError, ValueError) as error:
            problem = str(error)
        if time.monotonic() > ends_at:
            sys.exit(f"no answer within {os.environ['TIMEOUT_S']} s, at last: {problem}")
        time.sleep(1)
    print(json.dumps(reply, ensure_ascii=False))
    problems = [*judge(reply)]
    if problems:
        sys.exit("\n".join(problems))
    print("passed")


def ask():
    headers = {"Content-Type": "application/json"}
    key = os.environ.get("API_KEYS", "").split(",")[0].strip()
    if key:
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({"prompt": os.environ["QUESTION"]}).encode()
    request = urllib.request.Request(os.environ["AGENT_URL"], body, headers)
    with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
        return json.load(answer)


def judge(reply):
    for field in ("response", "session_id", "usage", "tools"):
        if field not in reply:
            yield f"the reply has no {field}"
    if not re.search(os.environ["EXPECT_TEXT"], str(reply.get("response", ""))):
        yield f"the answer does not hold {os.environ['EXPECT_TEXT']!r}: {reply.get('response')!r}"
    tool = os.environ["EXPECT_TOOL"]
    calls = [(call.get("name"), call.get("status")) for call in reply.get("tools") or []]
    if tool and (tool, "success") not in calls:
        yield f"{tool} was not called with success: {calls or 'no tool was'}"


main()
