"""A client that never blocks: many connections in one thread, fed by one poll loop.

Frames are encoded by tests/conformance/wire.py. Replies of a channel are matched in order with what was asked
(`Channel.ask`); what comes unasked goes to the methods of Channel that subclasses override.
"""
import collections
import pathlib
import select
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'conformance'))

import wire  # noqa: E402

FRAME_BODY_MAX = 131072 - 8
Content = collections.namedtuple('Content', 'properties body')  # properties: flags and what follows, as on the wire


# ---- methods that wire.py does not have -------------------------------------------------------------------------

def exchange_declare(channel, name, kind, durable):
    return wire.method(channel, 40, 10, b'\0\0' + wire.short(name) + wire.short(kind) + bytes([durable << 1]) + bytes(4))


def exchange_declare_passive(channel, name):
    return wire.method(channel, 40, 10, b'\0\0' + wire.short(name) + wire.short('direct') + b'\1' + bytes(4))


def exchange_delete(channel, name):
    return wire.method(channel, 40, 20, b'\0\0' + wire.short(name) + b'\0')


def queue_bind(channel, queue, exchange, key):
    names = wire.short(queue) + wire.short(exchange) + wire.short(key)
    return wire.method(channel, 50, 20, b'\0\0' + names + b'\0' + bytes(4))


def queue_unbind(channel, queue, exchange, key):
    return wire.method(channel, 50, 50, b'\0\0' + wire.short(queue) + wire.short(exchange) + wire.short(key) + bytes(4))


def queue_purge(channel, queue):
    return wire.method(channel, 50, 30, b'\0\0' + wire.short(queue) + b'\0')


def basic_qos(channel, prefetch):
    return wire.method(channel, 60, 10, struct.pack('>IHB', 0, prefetch, 0))


def basic_consume(channel, queue, tag, no_ack=False):
    return wire.method(channel, 60, 20, b'\0\0' + wire.short(queue) + wire.short(tag) + bytes([no_ack << 1]) + bytes(4))


def basic_cancel(channel, tag):
    return wire.method(channel, 60, 30, wire.short(tag) + b'\0')


def basic_ack(channel, tag, multiple=False):
    return wire.method(channel, 60, 80, struct.pack('>QB', tag, multiple))


def basic_nack(channel, tag, multiple, requeue):
    return wire.method(channel, 60, 120, struct.pack('>QB', tag, multiple | requeue << 1))


def basic_reject(channel, tag, requeue):
    return wire.method(channel, 60, 90, struct.pack('>QB', tag, requeue))


def basic_recover(channel):
    return wire.method(channel, 60, 110, b'\1')


def confirm_select(channel):
    return wire.method(channel, 85, 10, b'\0')


def tx(channel, method_id):
    return wire.method(channel, 90, method_id)


def publish(channel, exchange, key, properties, body, mandatory=False):
    """A whole message: method, header (`properties` from the flags on) and body."""
    head = struct.pack('>HHQ', 60, 0, len(body)) + properties
    frames = [wire.basic_publish(channel, key, exchange, mandatory), wire.frame(wire.HEADER, channel, head)]
    frames += [wire.body(channel, body[at:at + FRAME_BODY_MAX]) for at in range(0, len(body), FRAME_BODY_MAX)]
    return b''.join(frames)


# ---- channels ---------------------------------------------------------------------------------------------------

class Channel:
    def __init__(self, connection):
        self.connection = connection
        self.number = connection.add(self)
        self.open = True
        self.replies = collections.deque()  # ((class, method) per possible reply -> function) of what was asked
        self.method = None                  # the method whose content is being read
        self.send(wire.channel_open(self.number))
        self.ask({(20, 11): None})

    def send(self, octets):
        self.connection.output += octets

    def ask(self, answers):
        """`answers`: (class, method) to a function of the decoded arguments (wire.Reader), or None. One per request."""
        self.replies.append(answers)

    def on_frame(self, kind, payload):
        if kind == wire.METHOD:
            self.on_method(struct.unpack_from('>HH', payload), payload)
        elif kind == wire.HEADER:
            self.size, = struct.unpack_from('>Q', payload, 4)
            self.properties = payload[12:]
            self.pieces, self.missing = [], self.size
            if self.size == 0:
                self.content_complete()
        else:
            self.pieces.append(payload)
            self.missing -= len(payload)
            if self.missing <= 0:
                self.content_complete()

    def content_complete(self):
        self.method, method = None, self.method
        method(Content(self.properties, self.pieces[0] if len(self.pieces) == 1 else b''.join(self.pieces)))

    def on_method(self, method, payload):
        if method == (60, 60):
            length = payload[4]
            tag = payload[5:5 + length]
            delivery_tag, redelivered = struct.unpack_from('>QB', payload, 5 + length)
            self.method = lambda content: self.on_deliver(tag, delivery_tag, bool(redelivered), content)
        elif method in ((60, 80), (60, 120)):
            number, bits = struct.unpack_from('>QB', payload, 4)
            self.on_confirm(number, bool(bits & 1), method == (60, 80))
        elif method == (60, 50):
            self.method = self.on_return
        elif method == (60, 30):
            self.on_cancelled(wire.Reader(payload[4:]).short().encode())
        elif method == (20, 40):
            self.send(wire.method(self.number, 20, 41))
            close = wire.decode_close(self.number, wire.Reader(payload[4:]))
            self.ended()
            self.on_closed(close)
        elif method == (60, 71):
            self.replies.popleft()
            delivery_tag, redelivered = struct.unpack_from('>QB', payload, 4)
            self.method = lambda content: self.on_got(delivery_tag, bool(redelivered), content)
        else:
            self.on_reply(method, payload)

    def on_reply(self, method, payload):
        if not self.replies or method not in self.replies[0]:
            raise AssertionError(f'unexpected method {method} on channel {self.number}; awaited {list(self.replies)[:1]}')
        answer = self.replies.popleft()[method]
        if answer:
            answer(wire.Reader(payload[4:]))

    def ended(self):
        self.open = False
        self.replies.clear()

    def on_deliver(self, tag, delivery_tag, redelivered, content):
        raise AssertionError('a delivery that nobody asked for')

    def on_got(self, delivery_tag, redelivered, content):
        raise AssertionError('a message that nobody asked for')

    def on_confirm(self, number, multiple, good):
        raise AssertionError('a confirm that nobody asked for')

    def on_return(self, content):
        raise AssertionError('a returned message that was not mandatory')

    def on_cancelled(self, tag):
        pass

    def on_gone(self):
        """Its connection ended, in good order or not; the channel may have ended before."""

    def on_closed(self, close):
        raise AssertionError(f'the broker closed channel {close.channel}: {close.code} {close.text}')


class Connection:
    """One TCP connection after its handshake (which blocks). `blocked`: the reasons of connection.blocked, None for each
    unblocked."""

    def __init__(self, loop, port):
        opened = wire.Wire('127.0.0.1', port).open({'capabilities': {'connection.blocked': True,
                                                                     'consumer_cancel_notify': True}})
        self.blocked = []
        self.loop = loop
        self.socket = opened.socket
        self.socket.setblocking(False)
        self.input = bytearray(opened.buffer)
        self.output = bytearray()
        self.channels = {}
        self.numbers = iter(range(1, 2048))
        self.close_asked = False
        self.closed_well = False
        self.open = True
        loop.add(self)

    def add(self, channel):
        number = next(self.numbers)
        self.channels[number] = channel
        return number

    def flush(self):
        """Hands to the kernel what it takes."""
        try:
            while self.output:
                with memoryview(self.output) as view:
                    sent = self.socket.send(view[:1 << 18])
                del self.output[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.output.clear()  # the end comes with reading

    def on_readable(self):
        try:
            chunk = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            chunk = b''
        if not chunk:
            self.drop()
            return
        self.input += chunk
        self.parse()

    def parse(self):
        octets, at = bytes(self.input), 0
        while len(octets) - at >= 8:
            kind, channel, size = struct.unpack_from('>BHI', octets, at)
            if len(octets) - at < size + 8:
                break
            payload = octets[at + 7:at + 7 + size]
            assert octets[at + 7 + size] == 0xCE, 'the broker lost the frame boundary'
            at += size + 8
            if channel:
                to = self.channels[channel]
                if to.open:
                    to.on_frame(kind, payload)
            elif kind == wire.METHOD:
                self.on_method(struct.unpack_from('>HH', payload), payload)
        del self.input[:at]

    def on_method(self, method, payload):
        if method == (10, 51):
            self.closed_well = True
            self.drop()
        elif method == (10, 50):
            close = wire.decode_close(0, wire.Reader(payload[4:]))
            if close.code == 320:  # the broker stops
                self.drop()
                return
            raise AssertionError(f'the broker closed the connection: {close.code} {close.text}')
        elif method == (10, 60):
            self.blocked.append(wire.Reader(payload[4:]).short())
        elif method == (10, 61):
            self.blocked.append(None)

    def ask_close(self):
        if not self.close_asked:
            self.close_asked = True
            self.output += wire.connection_close()

    def drop(self):
        """Ends TCP; the channels end with it."""
        if not self.open:
            return
        self.open = False
        self.loop.remove(self)
        self.socket.close()
        for channel in self.channels.values():
            channel.ended()
            channel.on_gone()


class Loop:
    """All sockets of the process; `step` moves octets once."""

    def __init__(self):
        self.poller = select.poll()
        self.connections = {}

    def add(self, connection):
        self.connections[connection.socket.fileno()] = connection
        self.poller.register(connection.socket, select.POLLIN)

    def remove(self, connection):
        self.poller.unregister(connection.socket)
        del self.connections[connection.socket.fileno()]

    def step(self, seconds=0.0):
        for connection in list(self.connections.values()):
            if connection.output:
                connection.flush()
                self.poller.modify(connection.socket, select.POLLIN | (select.POLLOUT if connection.output else 0))
        for number, event in self.poller.poll(seconds * 1000):
            connection = self.connections.get(number)
            if connection is None:
                continue
            if event & ~select.POLLOUT:
                connection.on_readable()

    def until(self, condition, end):
        """Steps until condition() holds; False when the time `end` (monotonic) came first."""
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.step(min(left, 0.05))
        return True

    def read_what_is_left(self):
        """After the peer's death: takes what it had sent, until each connection's end."""
        for connection in list(self.connections.values()):
            connection.output.clear()
            connection.socket.settimeout(5)
            while connection.open:
                connection.on_readable()
