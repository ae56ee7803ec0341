"""Servers on this machine, for tests."""

import threading
from contextlib import contextmanager


@contextmanager
def running(server):
    """``server`` (of :mod:`socketserver`, or werkzeug's) answers in a thread until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
