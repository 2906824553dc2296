"""A TCP proxy that fails in the ways networks do."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Self
from urllib.parse import urlsplit


class Proxy(ThreadingTCPServer):
    """Passes bytes on between clients and a server.

    cut_answers_after: bytes of answers after which each connection breaks; None: never
    on_cut: called before a connection breaks
    cuts: how many did
    lost_answers: how many answers to PUT, from now on, the client shall not receive
    down: refuse to serve
    """

    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.cut_answers_after: int | None = None
        self.on_cut: Callable[[], None] = lambda: None
        self.cuts = 0
        self.lost_answers = 0
        self.down = False

    @classmethod
    @contextmanager
    def before(cls, url: str) -> Iterator[Self]:
        """Serve in front of `url` while the context lasts."""
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        with cls((address.hostname, address.port)) as proxy:
            thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield proxy
            finally:
                proxy.shutdown()
                thread.join()


class _Connection(BaseRequestHandler):
    """One client's connection and its twin to the server."""

    request: socket.socket

    def handle(self) -> None:
        assert isinstance(self.server, Proxy)
        self.proxy = self.server
        if self.proxy.down:
            return
        self.method = b""
        with socket.create_connection(self.proxy.target) as upstream:
            asking = threading.Thread(target=self._ask, args=(upstream,), daemon=True)
            asking.start()
            self._answer(upstream)
            for end in (self.request, upstream):
                _hang_up(end)
            asking.join()

    def _ask(self, upstream: socket.socket) -> None:
        while data := _receive(self.request):
            if data.startswith((b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")):
                self.method = data.partition(b" ")[0]
                if self.proxy.down:
                    break
            upstream.sendall(data)
        _hang_up(upstream)

    def _answer(self, upstream: socket.socket) -> None:
        passed = 0
        while data := _receive(upstream):
            if self.proxy.lost_answers and self.method == b"PUT" and b" 200 OK" in data:
                self.proxy.lost_answers -= 1
                return
            limit = self.proxy.cut_answers_after
            if limit is not None and passed + len(data) > limit:
                self.proxy.cuts += 1
                self.proxy.on_cut()
                return
            self.request.sendall(data)
            passed += len(data)


def _receive(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
