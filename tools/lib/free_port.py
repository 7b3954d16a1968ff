"""Prints a TCP port that nobody uses and that no outgoing connection gets.

A port of the range from which the kernel serves outgoing connections is free only until the next connection: a client
that keeps trying to reach a daemon that restarts can even be given the daemon's own port, and then talks to itself.
"""
import random
import socket

LOWEST = 10000
TRIES = 1000


def main():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        below = int(file.read().split()[0])
    for _ in range(TRIES):
        port = random.randrange(LOWEST, max(below, LOWEST + 1000))
        with socket.socket() as sock:
            try:
                sock.bind(("", port))
            except OSError:
                continue
            print(port)
            return
    raise SystemExit(f"free_port: no free port from {LOWEST} to {below} in {TRIES} tries")


main()
