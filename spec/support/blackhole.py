#!/usr/bin/env python3
"""A server for specs that answers nobody, not even with a refusal, until SIGUSR1 comes; then it answers with its name.

    blackhole.py ADDRESS PORT READY_FILE

Its queue of connections is full, so the kernel drops what asks for another one.
"""
import os
import select
import signal
import socket
import sys

address, port, ready = sys.argv[1], int(sys.argv[2]), sys.argv[3]
woken, wake = os.pipe()
signal.signal(signal.SIGUSR1, lambda *_: os.write(wake, b"x"))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, port))
listener.listen(0)
fillers = []
for _ in range(4):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((address, port))
    fillers.append(s)
select.select([listener], [], [], 5)
open(ready, "w").close()
os.read(woken, 1)
for s in fillers:
    s.close()
listener.listen(128)
while True:
    client, _ = listener.accept()
    client.settimeout(2)
    try:
        if client.recv(65536):
            body = address.encode() + b" woken\n"
            client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    except OSError:
        pass
    client.close()
