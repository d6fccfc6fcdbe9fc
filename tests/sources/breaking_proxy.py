"""A TCP proxy on loopback that breaks connections, or answers in the server's place."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class BreakingProxy:
    """Passes bytes between clients and a server on 127.0.0.1.

    cuts: how many bytes go back to clients before the connection that carries them ends; after a cut the next one
    counts from zero. answers: sent in place of the server's, one a request, each followed by the end of the
    connection. passed: bytes that went back to clients.
    """

    def __init__(self, port: int) -> None:
        self.cuts: list[int] = []
        self.answers: list[bytes] = []
        self.passed = 0
        self._server_port = port
        self._since_cut = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """What a client connects to instead of the server."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Break everything off."""
        with suppress(OSError):
            self._listener.shutdown(
                socket.SHUT_RDWR
            )  # a close alone leaves a waiting accept at work
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [client, server]
                for pump in (self._requests, self._answers):
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.answers:
                    client.sendall(self.answers.pop(0))
                    break
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            client.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                data, is_cut = self._measured(data)
                client.sendall(data)
                if is_cut:
                    server.shutdown(socket.SHUT_RDWR)
                    break
            client.shutdown(socket.SHUT_RDWR)

    def _measured(self, data: bytes) -> tuple[bytes, bool]:
        with self._lock:
            is_cut = bool(self.cuts) and self._since_cut + len(data) >= self.cuts[0]
            if is_cut:
                data = data[: self.cuts.pop(0) - self._since_cut]
            self._since_cut = 0 if is_cut else self._since_cut + len(data)
            self.passed += len(data)
            return data, is_cut

    def start_counting(self, *cuts: int) -> None:
        """Forget what passed, and cut from now on."""
        with self._lock:
            self.cuts, self.passed, self._since_cut = list(cuts), 0, 0


@contextmanager
def breaking_proxy(port: int) -> Iterator[BreakingProxy]:
    """A proxy before the server on `port`, closed on the way out."""
    proxy = BreakingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
