# SPDX-License-Identifier: GPL-2.0-or-later
"""Record the outage that the notebook explains, as root, on Linux: `python -m tools.lab.outage`.

Clients ask two services of one machine. `orders` needs longer and longer for each answer, until its accept queue is full and the
kernel drops SYNs; then its process is killed, and the port is closed. `catalogue` is healthy throughout. The capture is made at
the clients' end of the cable; meanwhile the server's own counters are noted, as monitoring of a server does.
"""

from __future__ import annotations

import asyncio
import csv
import multiprocessing
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

from tools.lab.lab import DEVICE, MACS, Lab, captured, run
from tools.lab.requirements import check_requirements

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "pybridge" / "examples"
CLIENTS = ("192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14")
PORTS = {"orders": 8080, "catalogue": 80}
RATES = {"orders": 1.6, "catalogue": 0.9}  # visits per second
AT_ONCE = {"orders": (1, 1, 2, 4), "catalogue": (1, 1, 2)}  # connections of a visit
UPLINK = ("rate", "1mbit", "burst", "200", "limit", "100000")  # so that the connections of a visit overlap
HEALTHY, DEAD, END = 12.0, 42.0, 54.0  # seconds until `orders` becomes slow, is killed, and the clients stop
WORK, GROWTH, SLOWEST = 0.005, 0.03, 0.4  # seconds for an answer: at first, more with each second of the slow phase, at most
BACKLOG = 5
FIRST_PORT = 40000  # of the clients; each connection has the next, so that none meets the TIME-WAIT of another
GIVE_UP = 5.0  # seconds until a client does not wait for the handshake any more
EVERY = 0.5  # seconds between two looks at the server's counters
RANDOM = random.Random(1)  # noqa: S311 - when who asks what, the same in each recording; when what is answered is not
COUNTERS = ("TcpExtListenOverflows", "TcpExtListenDrops")


def main() -> None:
    """Record the outage."""
    check_requirements("tc", "nstat")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is cleaned up
    with captured(EXAMPLES / "outage.pcapng") as lab:
        prepare(lab)
        service = start_orders(lab.listen(PORTS["orders"], BACKLOG))
        lab.stack.callback(service.kill)
        with lab.entered("client"):
            seen = asyncio.run(play(lab, service, lab.listen(PORTS["catalogue"], 100)))
    with (EXAMPLES / "outage.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("time", "accept_queue", "backlog", "overflows", "drops"), *seen])


def prepare(lab: Lab) -> None:
    """Give the clients their addresses, a slow uplink, and more patience than the other scenarios need."""
    client, server = lab.namespace("client"), lab.namespace("server")
    for address in CLIENTS:
        run("ip", "-n", client, "addr", "add", f"{address}/24", "dev", DEVICE)
        run("ip", "-n", server, "neigh", "add", address, "lladdr", MACS["client"], "nud", "permanent", "dev", DEVICE)
    lab.set("client", "net.ipv4.tcp_syn_retries", "6")
    run("tc", "-n", client, "qdisc", "add", "dev", DEVICE, "root", "tbf", *UPLINK)


def start_orders(listener: socket.socket) -> BaseProcess:
    """Start the service that fails, in a process of its own, which alone has its socket."""
    service = multiprocessing.get_context("fork").Process(target=take_orders, args=(listener,), daemon=True)
    service.start()
    listener.close()
    return service


def take_orders(listener: socket.socket) -> None:
    """Answer one connection after the other, until killed."""
    listener.settimeout(None)
    begin = time.monotonic()
    while True:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            connection.recv(1000)
            slow_for = max(0.0, time.monotonic() - begin - HEALTHY)
            time.sleep(WORK + min(GROWTH * slow_for, SLOWEST))
            connection.sendall(answer("accepted"))


def answer(text: str) -> bytes:
    """Return an answer of HTTP."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


async def play(lab: Lab, service: BaseProcess, catalogue: socket.socket) -> list[tuple[object, ...]]:
    """Let the clients ask both services, kill one of them, and return what the server counted."""

    async def browse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("12 items"))
        writer.close()

    async def watch() -> None:
        while True:
            seen.append(await asyncio.to_thread(look, lab))
            await asyncio.sleep(EVERY)

    seen: list[tuple[object, ...]] = []
    ports = count(FIRST_PORT)
    async with await asyncio.start_server(browse, sock=catalogue), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        begin = time.monotonic()
        for start, name in [*visits(), (END, "")]:
            if service.is_alive() and start > DEAD:
                await asyncio.sleep(begin + DEAD - time.monotonic())
                service.kill()
            await asyncio.sleep(begin + start - time.monotonic())
            if name:
                client = RANDOM.choice(CLIENTS)
                for _ in range(RANDOM.choice(AT_ONCE[name])):
                    tasks.create_task(visit((client, next(ports)), lab.address("server"), name))
        watching.cancel()
    return seen


def visits() -> Iterator[tuple[float, str]]:
    """Yield when a service is visited, in order; the intervals are random, as of clients that do not know each other."""
    rate = sum(RATES.values())
    start = RANDOM.expovariate(rate)
    while start < END:
        yield start, RANDOM.choices(list(RATES), list(RATES.values()))[0]
        start += RANDOM.expovariate(rate)


async def visit(client: tuple[str, int], server: str, name: str) -> None:
    """Ask a service by one connection; give up if it is not opened in time."""
    with suppress(OSError):
        async with asyncio.timeout(GIVE_UP):
            reader, writer = await asyncio.open_connection(server, PORTS[name], local_addr=client)
        writer.write(f"GET /{name} HTTP/1.1\r\nHost: {name}.example\r\n\r\n".encode())
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


def look(lab: Lab) -> tuple[object, ...]:
    """Return the time, the accept queue and backlog of `orders` (`ss`), and what the kernel has counted (`nstat`)."""
    port = PORTS["orders"]
    text = lab.inside("server", "sh", "-c", f"ss -ltnH 'sport = :{port}'; nstat -asz {' '.join(COUNTERS)}")
    lines = {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return now, *lines.get("LISTEN", ["", ""])[:2], *(lines[name][0] for name in COUNTERS)


if __name__ == "__main__":
    main()
