"""A TCP proxy that fails in the ways that networks and S3 servers do."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Self
from urllib.parse import urlsplit

REFUSAL = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a closed connection is reset, whatever is still on its way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to requests of objects whose path holds `path`.

    times: to how many of them; None: to all
    verbs: to which requests
    refusal: HTTP status and S3's code that are answered instead of the object; None: it is sent
    cut_after: bytes of an answer, headers included, after which the connection ends; None: never
    resets: whether it ends by a reset rather than in order
    pause_s: rest after each `PIECE` bytes of the answer
    """

    path: str
    times: int | None = None
    refusal: tuple[int, str] | None = None
    cut_after: int | None = None
    resets: bool = False
    pause_s: float = 0
    verbs: tuple[str, ...] = ("GET",)


PIECE = 512


class Proxy(ThreadingTCPServer):
    """Passes bytes on between clients and a server.

    fault: of requests of some objects; None: there is none
    struck: how many requests it has happened to
    on_strike: called before it happens to one

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
        self.fault: Fault | None = None
        self.struck = 0
        self.on_strike: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def strike(self, request: bytes) -> Fault | None:
        """Return what happens to a request that begins like this."""
        with self._lock:
            fault, line = self.fault, request.partition(b"\r\n")[0].decode()
            if not fault or line.partition(" ")[0] not in fault.verbs or fault.path not in line:
                return None
            if fault.times is not None and self.struck >= fault.times:
                return None
            self.struck += 1
        self.on_strike()
        return fault

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
        self.fault: Fault | None = None
        self.passed = self.passed_of_answer = 0
        with socket.create_connection(self.proxy.target) as upstream:
            asking = threading.Thread(target=self._ask, args=(upstream,), daemon=True)
            asking.start()
            self._answer(upstream)
            resets = self.fault is not None and self.fault.resets
            # Nothing is sent by that, but the thread lets go of the connection.
            _hang_up(self.request, socket.SHUT_RD if resets else socket.SHUT_RDWR)
            _hang_up(upstream)
            asking.join()
            if resets:
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.request.close()

    def _ask(self, upstream: socket.socket) -> None:
        while data := _receive(self.request):
            if data.startswith((b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")):
                self.method = data.partition(b" ")[0]
                if self.proxy.down:
                    break
                self.fault, self.passed_of_answer = self.proxy.strike(data), 0
                if self.fault and self.fault.refusal:
                    self.request.sendall(_refusal(*self.fault.refusal))
                    continue
            upstream.sendall(data)
        _hang_up(upstream)

    def _answer(self, upstream: socket.socket) -> None:
        while data := _receive(upstream):
            if self.proxy.lost_answers and self.method == b"PUT" and b" 200 OK" in data:
                self.proxy.lost_answers -= 1
                return None
            limit = self.proxy.cut_answers_after
            if limit is not None and self.passed + len(data) > limit:
                return self._cut()
            if not self._pass_on(data):
                return self._cut()
        return None

    def _cut(self) -> None:
        self.proxy.cuts += 1
        self.proxy.on_cut()

    def _pass_on(self, data: bytes) -> bool:
        """Send what the fault lets through; False: the connection ends here."""
        fault = self.fault or Fault("")
        whole = fault.cut_after is None or self.passed_of_answer + len(data) <= fault.cut_after
        if not whole:
            assert fault.cut_after is not None
            data = data[: max(0, fault.cut_after - self.passed_of_answer)]
        size = PIECE if fault.pause_s else max(1, len(data))
        for first in range(0, len(data), size):
            self.request.sendall(data[first : first + size])
            time.sleep(fault.pause_s)
        self.passed += len(data)
        self.passed_of_answer += len(data)
        return whole


def _refusal(status: int, code: str) -> bytes:
    body = REFUSAL.format(code=code)
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _receive(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def _hang_up(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        end.shutdown(how)
