"""Opens many connections and leaves them idle; a process of its own, so that its descriptors are its own.

    idle_connections.py HOST PORT COUNT {tcp,tls,session} [UPGRADE-TARGET AUTHORIZATION]

Prints the number of open connections, waits for a line on standard input, prints how many are still open.
"""

import asyncio
import resource
import select
import socket
import ssl
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


async def _one(host: str, port: int, kind: str, context: ssl.SSLContext) -> socket.socket | asyncio.StreamWriter | None:
    try:
        if kind == "tcp":
            return await asyncio.to_thread(socket.create_connection, (host, port), 30)
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), 60)
    except OSError:
        return None
    else:
        return writer


def _is_open(raw: socket.socket) -> bool:
    poller = select.poll()
    poller.register(raw, select.POLLIN | select.POLLHUP | select.POLLERR)
    return not any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))


async def main() -> None:
    """See the module."""
    host, port, count, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    turn, opened = asyncio.Semaphore(64), []

    async def open_one() -> None:
        async with turn:
            made = await _one(host, port, kind, context)
        if made is not None:
            opened.append(made)

    await asyncio.gather(*(open_one() for _ in range(count)))
    print(len(opened), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    raw = [made if isinstance(made, socket.socket) else made.get_extra_info("socket") for made in opened]
    print(sum(map(_is_open, raw)), flush=True)


asyncio.run(main())
