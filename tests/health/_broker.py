"""A process that speaks as much AMQP 0-9-1 as a channel needs, by the frames of pamqp. It prints its port."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from pamqp import commands, frame, header

ANSWERS = {
    commands.Connection.StartOk: lambda: commands.Connection.Tune(channel_max=2047, frame_max=131072, heartbeat=60),
    commands.Connection.Open: commands.Connection.OpenOk,
    commands.Connection.Close: commands.Connection.CloseOk,
    commands.Channel.Open: commands.Channel.OpenOk,
    commands.Channel.Close: commands.Channel.CloseOk,
}
LIKE_RABBITMQ = {"capabilities": {"publisher_confirms": True, "basic.nack": True, "connection.blocked": True}}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.readexactly(8) != header.ProtocolHeader(0, 9, 1).marshal():
        sys.exit("not AMQP 0-9-1")
    writer.write(frame.marshal(commands.Connection.Start(server_properties=LIKE_RABBITMQ), 0))
    with suppress(asyncio.IncompleteReadError):  # until the client goes
        while True:
            head = await reader.readexactly(7)
            size = int.from_bytes(head[3:], "big")
            _, channel, asked = frame.unmarshal(head + await reader.readexactly(size + 1))
            if answer := ANSWERS.get(type(asked)):  # TuneOk and heartbeats need none
                writer.write(frame.marshal(answer(), channel))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
