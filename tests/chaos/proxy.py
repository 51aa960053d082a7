"""What stands between Jeton and PostgreSQL: an address that moves, and a network that fails."""

import asyncio
import socket
import struct

# A notification of PostgreSQL's protocol begins with this.
NOTIFICATION = ord("A")

# How a transaction is committed: a simple query.
COMMIT = b"COMMIT\0"


class Proxy:
    """Hands connections on to `target`, and does what `mode` says to those that there are:

    through   hands on whatever comes.
    cut       resets every connection, and those that come.
    silent    hands on nothing, and answers nothing: packets are lost. What was held back arrives afterwards, as TCP
              sends it again.
    deaf      hands on all but notifications.
    lost      discards what comes on the connections that there are and on those that are made, for ever, and closes none:
              neither side hears of it, and when the network is back these connections still lead nowhere. So does one
              whose state a firewall has forgotten.
    """

    def __init__(self, port, target):
        self.port, self.target, self.mode = port, target, "through"
        self.swallowed = 0
        # Both ends of each connection, and how many losses there were when it was made: what is older than the last one
        # leads nowhere.
        self._connections, self._losses = {}, 0
        self._commits = asyncio.Event()
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
        if mode == "lost":
            # In the moment of a COMMIT, which is lost as well: PostgreSQL has a transaction that nobody goes on with.
            self._commits.clear()
            try:
                await asyncio.wait_for(self._commits.wait(), 2)
            except TimeoutError:
                self._losses += 1
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
        if mode == "lost":
            return await self._lead_nowhere(reader, writer)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        both, losses = (writer, to_writer), self._losses
        self._connections |= dict.fromkeys(both, losses)
        pumps = [asyncio.create_task(self._pump(reader, to_writer))]
        hand_on = self._pump_without_notifications if mode == "deaf" else self._pump
        pumps.append(asyncio.create_task(hand_on(to_reader, writer)))
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._losses > losses:
                # One side has closed, which the other cannot hear.
                await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            for one in both:
                self._connections.pop(one, None)
                one.close()

    def half_open(self):
        """How many ends there are of connections that lead nowhere."""
        return sum(losses < self._losses for losses in self._connections.values())

    async def _lead_nowhere(self, reader, writer):
        """A connection on which nobody ever answers."""
        self._connections[writer] = self._losses - 1
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            self._connections.pop(writer, None)
            writer.close()

    async def _pump(self, reader, writer):
        losses = self._losses
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                if self.mode == "lost" and COMMIT in data and not self._commits.is_set():
                    self._losses += 1
                    self._commits.set()
                if self._losses > losses:
                    continue
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
