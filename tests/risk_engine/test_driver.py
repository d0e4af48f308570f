"""Traffic that insists."""

from __future__ import annotations

import asyncio

from risk_engine.fleet import load


async def test_the_load_sends_again_what_a_closed_connection_left_without_an_answer() -> None:
    """As a server does with an idle connection when the next request is under way already."""
    begun = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        if begun > 1:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            body = b'{"tenant_id": "tenant-0"}'
            answer = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            writer.write(answer % (len(body), body))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        tally = await load([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"], tenants=1, events=3, at_once=1)
    assert tally.outcomes == {"assessed": 3}
    assert tally.attempts == {"gone": 1, "assessed": 3}
