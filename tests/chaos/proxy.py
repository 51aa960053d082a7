"""What stands between Jeton and PostgreSQL: an address that moves, and a network that fails."""

import asyncio
import socket
import struct

# A notification of PostgreSQL's protocol begins with this.
NOTIFICATION = ord("A")


class Proxy:
    """Hands connections on to `target`, and does what `mode` says to those that there are:

    through   hands on whatever comes.
    cut       resets every connection, and those that come.
    silent    hands on nothing, and answers nothing: packets are lost. What was held back arrives afterwards, as TCP
              sends it again.
    deaf      hands on all but notifications.
    """

    def __init__(self, port, target):
        self.port, self.target, self.mode = port, target, "through"
        self.swallowed = 0
        self._connections = set()
        self._server = None
        self._flows = asyncio.Event()

    async def start(self):
        self._flows.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self):
        self._server.close()
        self.reset()

    async def change(self, mode):
        """From now on."""
        self.mode = mode
        if mode == "silent":
            self._flows.clear()
        else:
            self._flows.set()
        # One that began before cannot be read message by message any more.
        if mode in ("cut", "deaf"):
            self.reset()

    async def move(self, target, reset=True):
        """New connections go there. Those that there are stay where they are, unless they are reset."""
        self.target = target
        if reset:
            self.reset()

    def reset(self):
        for writer in list(self._connections):
            _reset(writer)

    async def _serve(self, reader, writer):
        mode = self.mode
        if mode == "cut":
            _reset(writer)
            return
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        both = {writer, to_writer}
        self._connections |= both
        pumps = [asyncio.create_task(self._pump(reader, to_writer))]
        hand_on = self._pump_without_notifications if mode == "deaf" else self._pump
        pumps.append(asyncio.create_task(hand_on(to_reader, writer)))
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._connections -= both
            for one in both:
                one.close()

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return

    async def _pump_without_notifications(self, reader, writer):
        try:
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                if head[0] == NOTIFICATION:
                    self.swallowed += 1
                    continue
                writer.write(head + body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return


def _reset(writer):
    """Ends a connection without a word (RST)."""
    if (end := writer.get_extra_info("socket")) is not None:
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()
