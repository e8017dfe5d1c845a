"""A Petrel client in Python 3.11 on `websockets`, written from docs/receive/protocol.md alone."""

import asyncio
import collections
import json
import random
import time
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

STEPS = dict.fromkeys((1001, 1006, 1011, 1012, 1013, 4408), "resume") | {4401: "refresh", 4429: "backoff"}
STEPS |= dict.fromkeys((1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409), "stop")


class Connection:
    def __init__(self):
        self.ws = self.epoch = self.error = self.code = None
        self.highest = self.retry_after = self.move_at = self.welcomed_at = 0
        self.move, self.renewal = asyncio.Event(), None


class PetrelClient:
    """`get_token(reason)` and `on_message(frame)` are coroutines. The return of the latter acknowledges the message."""

    def __init__(self, urls, get_token, on_message, on_event, epoch=None, position=0):
        self.urls, self.get_token, self.on_message, self.on_event = urls, get_token, on_message, on_event
        self.epoch, self.position, self.received = epoch, position, position
        self.ids, self.queue = collections.OrderedDict(), asyncio.Queue()
        self.current = self.token = None
        self.failures = self.turn = self.acked_at = 0

    async def run(self):
        """Connects, again after each close, until one says stop. Returns its code and the `error` frame before it."""
        worker, step = asyncio.create_task(self._work()), "refresh"
        try:
            while True:
                if step == "refresh":
                    self.token = await self.get_token("connect" if self.token is None else "refresh")
                step, new = "resume", await self._open()
                if new.code is None:
                    old, self.current = self.current, new
                    if old is not None:
                        await old.ws.close(4000)
                    self.queue.put_nowait(None)
                    waits = [asyncio.create_task(self._read(new)), asyncio.create_task(new.move.wait())]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                ended = new if self.current is None else self.current
                if ended.code is None:  # Still open: it is time to move, or a move has failed.
                    if new.code is not None:
                        await asyncio.sleep(self._wait(step, new))
                    continue
                self.current, step = None, STEPS.get(ended.code, "backoff")
                if ended.code == 1006 and ended.error is not None:
                    step = ended.error["action"]
                self.on_event("closed", {"code": ended.code, "error": ended.error})
                if step == "stop":
                    return ended.code, ended.error
                await asyncio.sleep(max(self._wait(step, ended), ended.retry_after, ended.move_at - time.monotonic()))
        finally:
            worker.cancel()

    async def _open(self):
        """A connection that is welcome, or one that has a `code`."""
        new, url, self.turn = Connection(), self.urls[self.turn % len(self.urls)], self.turn + 1
        if self.epoch is not None:
            url += "?" + urlencode({"epoch": self.epoch, "since": self.position})
        headers = {"Authorization": "Bearer " + self.token}
        try:
            async with asyncio.timeout(10):
                new.ws = await connect(url, additional_headers=headers, compression=None)
                while new.code is None and new.epoch is None:
                    await self._take_next(new)
        except InvalidStatus as refusal:
            new.code = 4400 if refusal.response.status_code in (400, 403, 426) else 1013
            new.retry_after = int(refusal.response.headers.get("Retry-After", 0))
        except (OSError, InvalidHandshake):  # TimeoutError is an OSError.
            new.code = 1006
            if new.ws is not None:
                await new.ws.close(4000)
        return new

    async def _read(self, connection):
        while connection.code is None:
            await self._take_next(connection)

    async def _take_next(self, connection):
        try:
            frame = json.loads(await connection.ws.recv())
        except ConnectionClosed as closed:
            connection.code = closed.rcvd.code if closed.rcvd else 1006
            return
        match frame["type"]:
            case "welcome":
                connection.epoch, connection.highest = frame["epoch"], frame["after"]
                connection.welcomed_at = time.monotonic()
                if not frame["resumed"]:
                    self.epoch, self.position, self.received = frame["epoch"], frame["after"], frame["after"]
            case "message" if "seq" in frame:  # One without is of a topic, such as a broadcast.
                connection.highest = max(connection.highest, frame["seq"])
                if connection.epoch == self.epoch:
                    self.queue.put_nowait((self.epoch, frame, frame["seq"] <= self.received or frame["id"] in self.ids))
                    self.received, self.ids[frame["id"]] = max(self.received, frame["seq"]), None
                    if len(self.ids) > 10_000:
                        self.ids.popitem(last=False)
            case "reconnect":
                connection.move_at = time.monotonic() + frame["afterMs"] / 1000
                asyncio.get_running_loop().call_later(frame["afterMs"] / 1000, connection.move.set)
            case "token_expiring":
                wait = frame["inSeconds"] / 2 if frame["inSeconds"] < 25 else 0
                connection.renewal = asyncio.create_task(self._renew(connection, wait, is_fresh=False))
            case "error" if frame.get("on") == "token":
                connection.renewal = asyncio.create_task(self._renew(connection, random.uniform(2, 4), is_fresh=True))
            case "error" if "on" not in frame:
                connection.error = frame
        self.on_event(frame["type"], frame)

    async def _work(self):
        """Hands over one message at a time, and acknowledges what is handled."""
        while True:
            if (entry := await self.queue.get()) is not None:
                epoch, frame, is_copy = entry
                if not is_copy:
                    await self.on_message(frame)
                if epoch == self.epoch:
                    self.position = max(self.position, frame["seq"])
            if self.queue.empty() or time.monotonic() - self.acked_at > 0.005:
                self.acked_at, to = time.monotonic(), self.current
                if to is not None and to.epoch == self.epoch:
                    await self._send(to, {"type": "ack", "seq": min(self.position, to.highest)})

    async def _renew(self, connection, wait, is_fresh):
        await asyncio.sleep(wait)
        if not is_fresh:
            self.token = await self.get_token("expiring")
        await self._send(connection, {"type": "token", "token": self.token})

    async def _send(self, connection, frame):
        try:
            await connection.ws.send(json.dumps(frame))
        except ConnectionClosed:
            pass  # The next connection says it with `since`.

    def _wait(self, step, ended):
        """Seconds before the next attempt."""
        if ended.welcomed_at and time.monotonic() - ended.welcomed_at >= 5:
            self.failures = 0
        n, self.failures = self.failures, min(self.failures + 1, 30)
        if step == "backoff":
            return random.uniform(0.5, 1) * min(120, 5 * 2**n)
        return 0 if step == "refresh" and n == 0 else random.uniform(0, min(30, 0.5 * 2 ** (n // len(self.urls))))
