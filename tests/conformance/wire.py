"""A very small AMQP 0-9-1 codec over a raw socket, for what no well-behaved client would send.

Frame: octet type | u16 channel | u32 size | payload[size] | octet 0xCE.   AMQP 0-9-1 §2.3.5.
"""
import collections
import os
import select
import socket
import struct
import time

HEADER_0_9_1 = b'AMQP\x00\x00\x09\x01'
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = b'\xce'
DEADLINE = float(os.environ.get('HARRIER_TEST_DEADLINE', '20'))  # seconds

Frame = collections.namedtuple('Frame', 'type channel payload')
Close = collections.namedtuple('Close', 'channel code text class_id method_id')  # channel 0: connection.close


class Gone(Exception):
    """The peer ended the TCP connection."""


class Silence(AssertionError):
    """The peer neither answered nor ended the connection in time."""


# ---- encoding ----------------------------------------------------------------------------------------------------

def frame(kind, channel, payload, end=FRAME_END, size=None):
    return struct.pack('>BHI', kind, channel, len(payload) if size is None else size) + payload + end


def method(channel, class_id, method_id, arguments=b''):
    return frame(METHOD, channel, struct.pack('>HH', class_id, method_id) + arguments)


def header(channel, body_size, class_id=60, weight=0, flags=0, properties=b''):
    return frame(HEADER, channel, struct.pack('>HHQH', class_id, weight, body_size, flags) + properties)


def body(channel, octets):
    return frame(BODY, channel, octets)


def short(text):
    octets = text if isinstance(text, bytes) else text.encode()
    return struct.pack('>B', len(octets)) + octets


def long(text):
    octets = text if isinstance(text, bytes) else text.encode()
    return struct.pack('>I', len(octets)) + octets


def value(item):
    """Enough tags to write what the tests send; bytes are taken as an already tagged value."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, bool):
        return b't' + struct.pack('>B', item)
    if isinstance(item, int):
        return b'l' + struct.pack('>q', item)
    if isinstance(item, str):
        return b'S' + long(item)
    if isinstance(item, dict):
        return b'F' + table(item)
    raise TypeError(type(item))


def table(items):
    return long(b''.join(short(key) + value(item) for key, item in items.items()))


def start_ok(user='guest', password='guest', mechanism='PLAIN', properties=None):
    if properties is None:
        properties = {'capabilities': {'authentication_failure_close': True, 'consumer_cancel_notify': True}}
    return method(0, 10, 11, table(properties) + short(mechanism) + long(f'\0{user}\0{password}') + short('en_US'))


def tune_ok(channel_max=2047, frame_max=131072, heartbeat=0):
    return method(0, 10, 31, struct.pack('>HIH', channel_max, frame_max, heartbeat))


def connection_open(vhost='/'):
    return method(0, 10, 40, short(vhost) + short('') + b'\0')


def connection_close():
    return method(0, 10, 50, struct.pack('>H', 200) + short('bye') + struct.pack('>HH', 0, 0))


def channel_open(channel):
    return method(channel, 20, 10, short(''))


def channel_close(channel):
    return method(channel, 20, 40, struct.pack('>H', 200) + short('bye') + struct.pack('>HH', 0, 0))


def queue_declare(channel, queue, passive=False, durable=False, exclusive=False, auto_delete=False, no_wait=False,
                  arguments=None):
    bits = passive | durable << 1 | exclusive << 2 | auto_delete << 3 | no_wait << 4
    return method(channel, 50, 10, b'\0\0' + short(queue) + bytes([bits]) + table(arguments or {}))


def queue_delete(channel, queue, no_wait=False):
    return method(channel, 50, 40, b'\0\0' + short(queue) + bytes([no_wait << 2]))


def basic_publish(channel, routing_key, exchange='', mandatory=False, immediate=False):
    return method(channel, 60, 40, b'\0\0' + short(exchange) + short(routing_key) + bytes([mandatory | immediate << 1]))


def basic_get(channel, queue, no_ack=True):
    return method(channel, 60, 70, b'\0\0' + short(queue) + bytes([no_ack]))


# ---- decoding ----------------------------------------------------------------------------------------------------

class Reader:
    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def take(self, count):
        piece = self.octets[self.at:self.at + count]
        assert len(piece) == count, f'the broker sent a truncated field at {self.at} of {self.octets!r}'
        self.at += count
        return piece

    def unpack(self, form):
        return struct.unpack('>' + form, self.take(struct.calcsize('>' + form)))[0]

    def short(self):
        return self.take(self.unpack('B')).decode()

    def long(self):
        return self.take(self.unpack('I'))

    def table(self):
        inner, items = Reader(self.long()), {}
        while inner.at < len(inner.octets):
            key = inner.short()
            items[key] = inner.value()
        return items

    def value(self):
        tag = self.take(1)
        if tag == b't':
            return bool(self.unpack('B'))
        if tag == b'S':
            return self.long().decode('utf-8', 'replace')
        if tag == b'F':
            return self.table()
        if tag == b'A':
            inner, items = Reader(self.long()), []
            while inner.at < len(inner.octets):
                items.append(inner.value())
            return items
        if tag == b'V':
            return None
        if tag == b'x':
            return self.long()
        if tag == b'D':
            return self.unpack('B'), self.unpack('I')
        return self.unpack({b'b': 'b', b'B': 'B', b's': 'h', b'u': 'H', b'I': 'i', b'i': 'I', b'l': 'q', b'L': 'q',
                            b'f': 'f', b'd': 'd', b'T': 'Q'}[tag])


# ---- a connection ------------------------------------------------------------------------------------------------

class Wire:
    """One TCP connection. Reads wait at most `deadline` seconds."""

    def __init__(self, host, port, deadline=DEADLINE):
        self.deadline = deadline
        self.buffer = bytearray()
        self.socket = socket.create_connection((host, port), deadline)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *pieces):
        """Sends everything; a peer that closes meanwhile is not an error here: reading will tell."""
        try:
            self.socket.sendall(b''.join(pieces))
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def open(self, properties=None, **tune):
        """The whole handshake."""
        self.read_start()
        self.send(start_ok(properties=properties))
        self.expect(10, 30)
        self.send(tune_ok(**tune), connection_open())
        self.expect(10, 41)
        return self

    def open_channel(self, channel=1):
        self.send(channel_open(channel))
        self.expect(20, 11)
        return self

    def read_start(self):
        """Sends the protocol header; returns the server properties."""
        self.send(HEADER_0_9_1)
        fields = self.expect(10, 10)
        fields.take(2)
        return fields.table()

    def read(self, count, deadline=None):
        end = time.monotonic() + (self.deadline if deadline is None else deadline)
        while len(self.buffer) < count:
            left = end - time.monotonic()
            if left <= 0 or not select_readable(self.socket, left):
                raise Silence(f'neither an answer nor an end after {self.deadline if deadline is None else deadline:g} s')
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionResetError:
                chunk = b''
            if not chunk:
                raise Gone(bytes(self.buffer))
            self.buffer += chunk
        piece = bytes(self.buffer[:count])
        del self.buffer[:count]
        return piece

    def read_frame(self, deadline=None):
        kind, channel, size = struct.unpack('>BHI', self.read(7, deadline))
        payload = self.read(size, deadline)
        end = self.read(1, deadline)
        assert end == FRAME_END, f'the broker ended a frame with {end!r}'
        return Frame(kind, channel, payload)

    def read_method(self, deadline=None):
        """The next frame that is not a heartbeat: (class id, method id, channel, fields)."""
        while True:
            got = self.read_frame(deadline)
            if got.type != HEARTBEAT:
                break
        assert got.type == METHOD, f'expected a method, got {got}'
        fields = Reader(got.payload)
        return fields.unpack('H'), fields.unpack('H'), got.channel, fields

    def expect(self, class_id, method_id):
        got_class, got_method, channel, fields = self.read_method()
        if (got_class, got_method) in ((10, 50), (20, 40)) and (class_id, method_id) != (got_class, got_method):
            raise AssertionError(f'expected {class_id},{method_id}, got {decode_close(channel, fields)}')
        assert (got_class, got_method) == (class_id, method_id), \
            f'expected {class_id},{method_id}, got {got_class},{got_method}'
        return fields

    def read_close(self, deadline=None):
        """The close the broker sends next, on a channel or (channel 0) of the connection."""
        class_id, method_id, channel, fields = self.read_method(deadline)
        assert (class_id, method_id) == ((20, 40) if channel else (10, 50)), f'expected a close, got {class_id},{method_id}'
        return decode_close(channel, fields)

    def read_end(self, deadline=None):
        """Reads until the peer ends TCP; returns the octets that came before."""
        octets = b''
        try:
            while True:
                octets += self.read(1, deadline)
        except Gone:
            return octets


def decode_close(channel, fields):
    return Close(channel, fields.unpack('H'), fields.short(), fields.unpack('H'), fields.unpack('H'))


def select_readable(sock, seconds):
    poller = select.poll()  # not select(): descriptors above 1024 are usual in scale.py
    poller.register(sock, select.POLLIN)
    return poller.poll(max(0, seconds) * 1000)
