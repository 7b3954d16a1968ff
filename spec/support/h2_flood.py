#!/usr/bin/env python3
"""An HTTP/2 client that changes its settings without end: h2_flood.py PORT FRAMES prints "closed" or "open".

HAProxy counts each change of the window size as a glitch. The connection is plain TCP with prior knowledge (RFC 9113, 3.3).
"""
import socket
import struct
import sys


def frame(kind, flags, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", 0) + payload


def is_closed(client, frames):
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, b""))
    try:
        for i in range(frames):
            client.sendall(frame(4, 0, struct.pack(">HI", 4, 1000 + i % 2)))
        client.sendall(frame(6, 0, b"the last"))  # a ping: its answer follows those of all frames before it
        answers = b""
        while b"the last" not in answers[-4096:]:
            more = client.recv(65536)
            if not more:
                return True
            answers += more
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as connection:
    print("closed" if is_closed(connection, int(sys.argv[2])) else "open")
