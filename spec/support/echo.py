#!/usr/bin/env python3
"""A backend for specs: answers with the address it was reached at, the request line and the headers as it got them.

    echo.py PORT READY_SOCKET

Listens on all IPv4 addresses and, where there is IPv6, on all of those; then on READY_SOCKET, a Unix socket, where it
answers the same. A path that begins with /slow takes three seconds. "Upgrade" to websocket or h2c is accepted with 101; every line after that is echoed.
"""
import base64
import hashlib
import os
import socket
import socketserver
import sys
import threading
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while self.one():
                pass
        except (OSError, ValueError):
            pass

    def one(self):
        line = self.rfile.readline(65536)
        if not line.strip():
            return False
        headers = []
        for header in iter(lambda: self.rfile.readline(65536), b"\r\n"):
            if not header:
                return False
            headers.append(header)
        low = {}
        for header in headers:
            name, _, value = header.partition(b":")
            low[name.strip().lower()] = value.strip()
        self.rfile.read(int(low.get(b"content-length", 0)))
        if b" /slow" in line:
            time.sleep(3)
        here = self.request.getsockname()
        address = here[0] if isinstance(here, tuple) else "unix"
        text = address.encode() + b" " + line + b"".join(headers)
        upgrade = low.get(b"upgrade", b"").lower()
        if upgrade in (b"websocket", b"h2c"):
            accept = hashlib.sha1(low.get(b"sec-websocket-key", b"") + GUID).digest()
            self.wfile.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + upgrade
                + b"\r\nSec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
            )
            for line in iter(lambda: self.rfile.readline(65536), b""):
                self.wfile.write(b"echo " + line)
            return False
        body = b"" if line.startswith(b"HEAD") else text
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + body)
        return low.get(b"connection", b"").lower() != b"close" and b"HTTP/1.1" in line


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class Server6(Server):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


class UnixServer(Server):
    address_family = socket.AF_UNIX


def main():
    port, ready = int(sys.argv[1]), sys.argv[2]
    servers = [Server(("0.0.0.0", port), Handler)]
    try:
        servers.append(Server6(("::", port), Handler))
    except OSError:
        pass
    servers.append(UnixServer(ready + ".new", Handler))
    os.rename(ready + ".new", ready)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


main()
