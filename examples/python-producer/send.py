"""Sends a message to each user of the command line, in signed requests: the secret never travels.

Usage: PETREL_COLLECT=URL PETREL_KEY=KEY.SECRET python3 send.py TEXT USER...
Needs nothing but Python 3.9. docs/send/producers.md says what is signed.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

COLLECT = os.environ["PETREL_COLLECT"]
KEY, SECRET = os.environ["PETREL_KEY"].split(".", 1)
ATTEMPTS = 6


def ask(method, target, value=None):
    """One signed request. Raises urllib.error.HTTPError where it is refused."""
    body = b"" if value is None else json.dumps(value).encode()
    nonce, timestamp = str(uuid.uuid4()), str(int(time.time()))
    text = "\n".join([nonce, timestamp, method, target, hashlib.sha256(body).hexdigest()])
    signature = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "petrel-key": KEY,
        "petrel-id": nonce,
        "petrel-timestamp": timestamp,
        "petrel-signature": f"v1,{signature}",
    }
    if value is not None:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(COLLECT + target, body or None, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


def send(user, data):
    """Resolves a lost answer by itself: with its idempotency key a message may be sent again."""
    message = {"to": {"user": user}, "data": data, "idempotencyKey": str(uuid.uuid4())}
    for attempt in range(ATTEMPTS):
        try:
            return ask("POST", "/v1/messages", message)["id"]
        except urllib.error.HTTPError as refusal:
            error = json.loads(refusal.read())["error"]
            if not error["retryable"] or attempt == ATTEMPTS - 1:
                raise SystemExit(f"{user}: {error['code']}: {error['message']}") from refusal
            time.sleep(float(refusal.headers.get("retry-after", 1)))
        except OSError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(2**attempt / 4)


if __name__ == "__main__":
    text, *users = sys.argv[1:]
    for name in users:
        sent = send(name, {"text": text})
        print(name, sent, ask("GET", f"/v1/messages/{sent}")["state"])
