#!/usr/bin/env python3
"""A name server for specs: dns.py PORT READY_FILE.

Every name has AAAA 2001:db8::1 and A 127.0.0.1; a name that begins with "many" has 40 A records, 127.1.0.1 and up,
and no AAAA: an answer that does not fit into 512 bytes, so that it is cut off for clients that announce no more.
"""
import socket
import struct
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
open(sys.argv[2], "w").close()
while True:
    query, client = server.recvfrom(4096)
    end = 12
    while query[end]:
        end += query[end] + 1
    kind, question = struct.unpack(">H", query[end + 1 : end + 3])[0], query[12 : end + 5]
    many = question[1:5] == b"many"
    room = 512
    if query[10:12] != b"\0\0" and query[end + 5 : end + 8] == b"\0\0\x29":
        room = max(512, struct.unpack(">H", query[end + 8 : end + 10])[0])
    records = []
    if kind == 1:
        records = [bytes([127, 1, 0, n]) for n in range(1, 41)] if many else [bytes([127, 0, 0, 1])]
    elif kind == 28 and not many:
        records = [socket.inet_pton(socket.AF_INET6, "2001:db8::1")]
    answers = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 30, len(r)) + r for r in records)
    flags = b"\x81\x80"
    if 12 + len(question) + len(answers) > room:
        flags, answers, records = b"\x83\x80", b"", []
    head = query[:2] + flags + b"\0\1" + struct.pack(">H", len(records)) + b"\0\0\0\0"
    server.sendto(head + question + answers, client)
