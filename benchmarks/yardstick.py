"""Raw TLS over loopback: the same sending loop as the load, a receiver that only reads."""

import multiprocessing
import socket
import ssl
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.load import connect

_PIECE = 4 << 20


def _receive(port: Connection, certificate: str, key: str) -> None:
    """Receiver process: accepts one connection, reads until it ends, reports its CPU seconds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    port.send(listener.getsockname()[1])
    raw, _ = listener.accept()
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(raw, server_side=True) as connection:
        buffer, total, started = memoryview(bytearray(1 << 20)), 0, time.process_time()
        wanted = int.from_bytes(connection.recv(8), "big")
        while total < wanted:
            total += connection.recv_into(buffer)
        connection.sendall(b"k")
        port.send(time.process_time() - started)


def raw_tls(certificate: Path, key: Path, total: int) -> tuple[float, float, float]:
    """Seconds, sender's and receiver's CPU seconds of ``total`` bytes over one TLS connection."""
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=_receive, args=(theirs, str(certificate), str(key)), daemon=True)
    receiver.start()
    connection = connect("127.0.0.1", ours.recv())
    connection.sendall(total.to_bytes(8, "big"))
    body = memoryview(bytes(_PIECE))
    started, cpu = time.monotonic(), time.process_time()
    for _ in range(total // _PIECE):
        view = body
        while len(view):
            view = view[connection.send(view) :]
    connection.recv(1)
    seconds, own = time.monotonic() - started, time.process_time() - cpu
    connection.close()
    other = ours.recv()
    receiver.join(5)
    return seconds, own, other
