"""A Service's port as a byte pump: which pod a connection gets, and how its ends and its pace go through."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from genai_pipeline.local.cluster.forwarder import Forwarder
from genai_pipeline.local.ports import free_port


async def echo_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with everything that came, once the client has sent its last byte."""
    writer.write(await reader.read())
    writer.write_eof()
    await writer.drain()


async def greet(name: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readline():
        writer.write(name + b"\n")


@asynccontextmanager
async def forwarding(*pods: asyncio.Server) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder("127.0.0.1", free_port())
    await forwarder.set_backends([pod.sockets[0].getsockname() for pod in pods])
    try:
        yield forwarder
    finally:
        forwarder.close()
        for pod in pods:
            pod.close()


async def pod(name: bytes) -> asyncio.Server:
    return await asyncio.start_server(lambda r, w: greet(name, r, w), "127.0.0.1", 0, backlog=1024)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"?\n")
    return (await reader.readline()).strip()


def test_a_kept_connection_stays_and_a_new_one_follows() -> None:
    async def scenario() -> None:
        blue, green = await pod(b"blue"), await pod(b"green")
        async with forwarding(blue) as forwarder:
            kept = await asyncio.open_connection(forwarder.host, forwarder.port)
            assert await ask(*kept) == b"blue"
            await forwarder.set_backends([green.sockets[0].getsockname()])
            new = await asyncio.open_connection(forwarder.host, forwarder.port)

            assert await ask(*new) == b"green"
            assert await ask(*kept) == b"blue"

    asyncio.run(scenario())


def test_the_end_of_one_direction_goes_through_and_the_other_goes_on() -> None:
    async def scenario() -> None:
        async with forwarding(await asyncio.start_server(echo_all, "127.0.0.1", 0)) as forwarder:
            reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
            writer.write(b"x" * 3_000_000)
            writer.write_eof()

            assert len(await reader.read()) == 3_000_000

    asyncio.run(scenario())


def test_a_client_that_reads_slowly_holds_its_pod_back() -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async def scenario() -> None:
        async with forwarding(await asyncio.start_server(pour, "127.0.0.1", 0)) as forwarder:
            with socket.create_connection((forwarder.host, forwarder.port)) as client:
                client.setblocking(False)
                for _ in range(2_000):  # meanwhile a pod that nothing holds back sends more than 100 MB
                    await asyncio.get_running_loop().sock_recv(client, 1)
                    await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert sent < 50_000_000


def test_a_reset_of_the_pod_resets_the_client() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    async def scenario() -> None:
        async with forwarding(await asyncio.start_server(reset, "127.0.0.1", 0)) as forwarder:
            reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
            writer.write(b"?\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readexactly(1), 10)

    asyncio.run(scenario())


def test_without_a_pod_a_connection_is_refused_and_hundreds_at_once_are_served() -> None:
    async def scenario() -> None:
        server = await pod(b"one")
        async with forwarding(server) as forwarder:
            clients = [await asyncio.open_connection(forwarder.host, forwarder.port) for _ in range(300)]
            assert set(await asyncio.gather(*(ask(*client) for client in clients))) == {b"one"}

            await forwarder.set_backends([])
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(forwarder.host, forwarder.port)
            assert await ask(*clients[0]) == b"one"

    asyncio.run(scenario())
