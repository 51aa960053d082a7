"""The way of a guide to the package registries: out of its own network by a Unix socket, which belongs to no network.

In the guide's network this file is a program that listens where a proxy would and hands each connection to the socket.
Behind the socket, outside, a thread answers as an HTTP proxy that knows CONNECT and nothing else.
"""

import contextlib
import os
import socket
import sys
import threading

PORT = 3128
LOCAL = "127.0.0.1,localhost"


def environment():
    """What the registries' clients go by; Java's has words of its own."""
    proxy = f"http://127.0.0.1:{PORT}"
    java = f"-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={PORT} -Dhttp.nonProxyHosts=127.0.0.1|localhost"
    return {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": LOCAL, "no_proxy": LOCAL, "MAVEN_OPTS": java}


@contextlib.contextmanager
def listening(path):
    """Outside: a proxy at this socket; the first to ask makes it, and it lasts as long as the program."""
    with _once:
        if not os.path.exists(path):
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(path))
            server.listen(64)
            threading.Thread(target=_accept, args=(server, _connect), daemon=True).start()
    yield


nothing = contextlib.nullcontext
_once = threading.Lock()


def _accept(server, handle):
    while True:
        connection, _ = server.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


def _connect(inside):
    """Answers CONNECT HOST:PORT."""
    with inside, contextlib.suppress(OSError, ValueError):
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536:
            if not (part := inside.recv(4096)):
                return
            head += part
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or port != "443":
            inside.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((host.strip("[]"), 443), timeout=30) as outside:
            outside.settimeout(None)
            inside.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _both_ways(inside, outside)


def _both_ways(one, other):
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)


def _inside(path):
    def handle(connection):
        with connection, socket.socket(socket.AF_UNIX) as outside:
            outside.connect(path)
            _both_ways(connection, outside)

    server = socket.create_server(("127.0.0.1", PORT))
    _accept(server, handle)


if __name__ == "__main__":
    _inside(sys.argv[1])
