"""schemathesis.test.ts -> here: runs of schemathesis, one after the other.

Guarantees: each runs in a process of its own, a fork of this one: what takes longest at a start is loaded once.

A line of stdin is a run's arguments, as a JSON array; a line of stdout is its {"code", "output"}.
"""

import json
import os
import sys
import tempfile

import schemathesis as library
from schemathesis.cli import schemathesis

# What a run would load otherwise, in its own time. A version that has moved one of them loads it then.
for module in (
    "hypothesis.strategies._internal.regex",
    "rich.live",
    "rich.progress",
    "schemathesis.cli.commands.run.executor",
    "schemathesis.engine.run.unit",
    "schemathesis.specs.openapi.schemas",
    "schemathesis.transport.asgi",
):
    try:
        __import__(module)
    except ImportError:
        pass
# Hypothesis' table of characters, which it keeps in its folder: more than a second of computing, which on a busy machine
# took all the time of the first run.
try:
    from hypothesis.internal.charmap import intervals_from_codec

    intervals_from_codec("utf-8")
except ImportError:
    pass


@library.hook
def filter_case(context, case):
    """Where a body may be missing, the framework takes `null` for a missing one."""
    return case.body is not None


def run(arguments, file):
    """Never returns."""
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    code = 1
    try:
        schemathesis(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


for line in sys.stdin:
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            run(json.loads(line), file)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        answer = {"code": code, "output": file.read().decode(errors="replace")}
    print(json.dumps(answer), flush=True)
