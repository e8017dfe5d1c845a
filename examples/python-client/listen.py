"""Prints what a user receives, a JSON text a line. How it is called: README.md."""

import asyncio
import json
import os
import urllib.request

from petrel_client import PetrelClient

token, refresh_token = os.environ["PETREL_TOKEN"], os.environ.get("PETREL_REFRESH_TOKEN")


def show(name, frame):
    print(json.dumps({"event": name, **frame}), flush=True)


def refresh():
    global refresh_token
    body = json.dumps({"refreshToken": refresh_token}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(os.environ["PETREL_AUTH_URL"] + "/v1/tokens/refresh", body, headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    refresh_token = answer["refreshToken"]
    return answer["accessToken"]


async def get_token(reason):
    return token if reason == "connect" else await asyncio.to_thread(refresh)


async def handle(message):
    show("handled", {"id": message["id"], "seq": message["seq"], "data": message["data"]})


asyncio.run(PetrelClient(os.environ["PETREL_URLS"].split(","), get_token, handle, show).run())
