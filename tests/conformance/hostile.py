#!/usr/bin/python3
"""Peers that break the rules: each gets the documented answer, and nobody else notices.

Every case runs on a connection of its own, many at once. Meanwhile a canary (a well-behaved pika client) publishes
and consumes; it must never see an error or a long pause, and the broker's memory must stay bounded.
Where RabbitMQ 3.x answers differently from what Harrier does on purpose, a row names both answers (rabbitmq_3=...).

  hostile.py              all cases
  hostile.py -k tune      those whose name contains the word
  hostile.py --seed 7     other random octets
"""
import argparse
import concurrent.futures
import os
import random
import re
import select
import socket
import struct
import sys
import threading
import time
import traceback

import harness
import wire

pika = harness.require('pika', 'python3-pika')

MIB = 1024  # in KiB
RSS_LIMIT_KIB = int(os.environ.get('HARRIER_TEST_RSS_SLACK_MIB', '128')) * MIB
CANARY_PATIENCE = float(os.environ.get('HARRIER_TEST_CANARY_PATIENCE', '5'))  # seconds for one message there and back


# ---- answers -----------------------------------------------------------------------------------------------------

class Answer:
    """What a peer may see after it misbehaved."""


class Closes(Answer):
    """A close with exactly this code, text (a string, or a compiled pattern) and ids."""

    def __init__(self, code, text, class_id=0, method_id=0, channel=0):
        self.expected = wire.Close(channel, code, text, class_id, method_id)

    def check(self, peer):
        got, expected = peer.read_close(), self.expected
        if isinstance(expected.text, re.Pattern):
            assert expected.text.fullmatch(got.text), f'the text {got.text!r} does not match {expected.text.pattern!r}'
            got = got._replace(text=expected.text)
        assert got == expected, f'\n  got      {got}\n  expected {expected}'
        if got.channel == 0:  # the broker then only waits for close-ok
            peer.send(wire.method(0, 10, 51))
            peer.read_end()


class Ends(Answer):
    """TCP ends without a word within `seconds`; a proper connection.close first is just as good."""

    def __init__(self, seconds=8):
        self.seconds = seconds

    def check(self, peer):
        try:
            close = peer.read_close(self.seconds)
            assert close.channel == 0 and close.code >= 300, f'expected an end, got {close}'
        except wire.Gone as gone:
            assert gone.args[0] == b'', f'TCP ended inside a frame: {gone.args[0]!r}'


class SpeaksHeader(Answer):
    """The eight octets of the protocol header the broker would have liked, then the end."""

    def check(self, peer):
        got = peer.read_end()
        assert got == wire.HEADER_0_9_1, f'expected the protocol header, got {got!r}'


class GoesOn(Answer):
    """Nothing happens: the channel still answers."""

    def __init__(self, channel=1):
        self.channel = channel

    def check(self, peer):
        peer.send(wire.queue_declare(self.channel, '', exclusive=True))
        peer.expect(50, 11)
        peer.send(wire.connection_close())
        peer.expect(10, 51)


class Replies(Answer):
    """A method of these ids comes."""

    def __init__(self, class_id, method_id):
        self.ids = class_id, method_id

    def check(self, peer):
        peer.expect(*self.ids)


class ClosesWithOneOf(Answer):
    """connection.close with one of these codes; the text is the broker's own."""

    def __init__(self, *codes):
        self.codes = codes

    def check(self, peer):
        close = peer.read_close()
        assert close.channel == 0 and close.code in self.codes, f'expected one of {self.codes}, got {close}'


class Waits(Answer):
    """No answer: the broker waits for more, and is still there."""

    def check(self, peer):
        peer.send(wire.connection_close())
        peer.expect(10, 51)


class OneOf(Answer):
    """The first frame decides: a close with one of these codes, or else the other answer."""

    def __init__(self, codes, otherwise):
        self.codes, self.otherwise = codes, otherwise

    def check(self, peer):
        class_id, method_id, channel, fields = peer.read_method()
        if (class_id, method_id) == (10, 50):
            close = wire.decode_close(channel, fields)
            assert close.code in self.codes, f'expected one of {self.codes} or {self.otherwise.ids}, got {close}'
        else:
            assert (class_id, method_id) == self.otherwise.ids, f'got {class_id},{method_id}'


# ---- stages: how far a peer behaves before it does not ------------------------------------------------------------

def connected(peer):
    pass


def started(peer):
    peer.read_start()


def tuned(peer):
    started(peer)
    peer.send(wire.start_ok())
    peer.expect(10, 30)


def opened(peer):
    peer.open()


def on_channel(peer):
    peer.open().open_channel()


# ---- the table ---------------------------------------------------------------------------------------------------

CASES = []


def case(name, stage, octets, answer, rabbitmq_3=None):
    CASES.append((name, stage, octets, answer, rabbitmq_3))


def frame_error(kind, octets, detail, first=''):
    return Closes(501, f'FRAME_ERROR - type {kind}, {first or "all"} octets = <<{octets}>>: {detail}')


FLOW = struct.pack('>HHB', 20, 20, 1)  # channel.flow{active=true}, a method of 5 octets
DECLARE = wire.queue_declare(1, 'q', passive=True)
PUBLISH = wire.basic_publish(1, 'conformance.nowhere')
NO_METHOD = 'UNEXPECTED_FRAME - expected method frame, got non method frame instead'
NO_HEADER = 'UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead'
NO_BODY = 'UNEXPECTED_FRAME - expected content body, got non content body frame instead'
UNIMPLEMENTED = 'COMMAND_INVALID - unimplemented method'
NOT_OPEN = "CHANNEL_ERROR - expected 'channel.open'"
NOT_RUNNING = 'CHANNEL_ERROR - unexpected method in connection state running'
INTERNAL = Closes(541, 'INTERNAL_ERROR')

# -- protocol header (§1.1)
case('an HTTP request instead of a protocol header', connected, b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', SpeaksHeader())
case('a TLS hello instead of a protocol header', connected,
     b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\x5a' * 64, SpeaksHeader())
case('AMQP 2.0', connected, b'AMQP\x00\x02\x00\x00', SpeaksHeader())
case('AMQP 0-10', connected, b'AMQP\x01\x01\x00\x0a', SpeaksHeader())
case('octets of zero', connected, b'\0' * 64, SpeaksHeader())
case('the 0-9 header means 0-9-1', connected, b'AMQP\x01\x01\x00\x09', Replies(10, 10))
case('the 0-8 header', connected, b'AMQP\x01\x01\x08\x00', SpeaksHeader(), rabbitmq_3=Replies(10, 10))
case('nothing at all', connected, b'', Ends(15))
case('half a protocol header', connected, b'AMQP', Ends(15))

# -- before tune-ok: any error may end TCP silently (§2.4)
case('no start-ok', started, b'', Ends(15))
case('no tune-ok', tuned, b'', Ends(15))
case('no open', tuned, wire.tune_ok(), Ends(15))
case('an unknown SASL mechanism', started, wire.start_ok(mechanism='FOO'), Ends())
case('a PLAIN response with an authorization id', started, wire.start_ok(user='someone\0guest'), Ends())
case('a wrong password', started, wire.start_ok(password='wrong'), Closes(
    403, 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.'))
case('an empty password', started, wire.start_ok(password=''), Closes(
    403, 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.'))
case('a wrong password without the capability to be told', started, wire.start_ok(password='wrong', properties={}), Ends())
case('queue.declare instead of start-ok', started, DECLARE, Ends())
case('start-ok on channel 1', started, b'\x01\x00\x01' + wire.start_ok()[3:], Ends())
case('a start-ok of 9000 octets', started, wire.start_ok(properties={'x': 'x' * 9000}), Ends())
case('a start-ok of 6000 octets', started, wire.start_ok(properties={'x': 'x' * 6000}), Replies(10, 30), rabbitmq_3=Ends())
case('a frame of 4 GB before start-ok', started, struct.pack('>BHI', 1, 0, 0xffffffff) + b'x' * 100, Ends())
case('a wrong frame end before start-ok', started, wire.start_ok()[:-1] + b'\0', Ends())
for tune in ({'frame_max': 4095}, {'frame_max': 1}, {'frame_max': 0}, {'frame_max': 131073}, {'frame_max': 0xffffffff},
             {'channel_max': 0}, {'channel_max': 2048}, {'channel_max': 65535}):
    case(f'tune-ok with {tune}', tuned, wire.tune_ok(**tune) + wire.connection_open(), Ends())
case('tune-ok with frame_max 4096 and channel_max 1', tuned, wire.tune_ok(1, 4096) + wire.connection_open(), Replies(10, 41))
case('tune-ok with heartbeat 65535', tuned, wire.tune_ok(heartbeat=65535) + wire.connection_open(), Replies(10, 41))
case('an unknown vhost', tuned, wire.tune_ok() + wire.connection_open('nope'), Closes(
    530, 'NOT_ALLOWED - vhost nope not found', 10, 40))
case('an empty vhost', tuned, wire.tune_ok() + wire.connection_open(''), Closes(
    530, 'NOT_ALLOWED - vhost  not found', 10, 40))

# -- frames (§1.3)
case('a wrong frame end', on_channel, wire.frame(1, 1, FLOW, end=b'\0'),
     frame_error(1, '0,20,0,20,1', '{invalid_frame_end_marker,0}'))
case('a frame longer than it says', on_channel, wire.frame(1, 1, FLOW + b'abc', size=5),
     frame_error(1, '0,20,0,20,1', '{invalid_frame_end_marker,97}'))
case('a wrong frame end behind more than 16 octets', on_channel, wire.frame(3, 1, b'A' * 40, end=b'\x01'),
     frame_error(3, '"AAAAAAAAAAAAAAAA"', '{invalid_frame_end_marker,1}', 'first 16'))
case('a frame one octet too large', on_channel, struct.pack('>BHI', 3, 1, 131073),
     frame_error(3, '', '{frame_too_large,131073,131064}'))
case('a frame of 4 GB', on_channel, struct.pack('>BHI', 1, 1, 0xffffffff) + b'x' * 1000,
     frame_error(1, '', '{frame_too_large,4294967295,131064}'))
case('an unknown frame type', on_channel, wire.frame(5, 1, b'abc'), frame_error(5, '"abc"', 'unknown_frame'))
case('a heartbeat with payload', on_channel, wire.frame(8, 0, b'x'), frame_error(8, '"x"', 'unknown_frame'))
case('a method of three octets', on_channel, wire.frame(1, 1, b'\0\x14\0'), frame_error(1, '0,20,0', 'unknown_frame'))
case('a header of eleven octets', on_channel, PUBLISH + wire.frame(2, 1, b'\0\x3c' + b'\0' * 9),
     frame_error(2, '0,60,0,0,0,0,0,0,0,0,0', 'unknown_frame'))
case('a heartbeat on channel 1', on_channel, wire.frame(8, 1, b''), Closes(505, 'UNEXPECTED_FRAME - type 8, all octets = <<>>'))
case('a body on channel 0', on_channel, wire.body(0, b'abc'), Closes(505, 'UNEXPECTED_FRAME - type 3, all octets = <<"abc">>'))
case('a header on channel 0', on_channel, wire.header(0, 0), Closes(
    505, 'UNEXPECTED_FRAME - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>'))
case('a heartbeat nobody asked for', on_channel, wire.frame(8, 0, b''), GoesOn())

# -- content (§1.3)
case('a header without a publish', on_channel, wire.header(1, 0), Closes(505, NO_METHOD))
case('a body without a publish', on_channel, wire.body(1, b'x'), Closes(505, NO_METHOD))
case('a body on a channel that is not open', on_channel, wire.body(7, b'x'), Closes(505, NO_METHOD))
case('a method where a header belongs', on_channel, PUBLISH + DECLARE, Closes(505, NO_HEADER, 60, 40))
case('a body where a header belongs', on_channel, PUBLISH + wire.body(1, b'x'), Closes(505, NO_HEADER, 60, 40))
case('a header with weight 1', on_channel, PUBLISH + wire.header(1, 0, weight=1), Closes(505, NO_HEADER, 60, 40))
case('a header of another class', on_channel, PUBLISH + wire.header(1, 0, class_id=50), Closes(
    505, 'UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead', 60, 40))
case('a method where a body belongs', on_channel, PUBLISH + wire.header(1, 3) + DECLARE, Closes(505, NO_BODY, 60, 40))
case('a header where a body belongs', on_channel, PUBLISH + wire.header(1, 3) + wire.header(1, 3), Closes(505, NO_BODY, 60, 40))
case('a body longer than declared', on_channel, PUBLISH + wire.header(1, 3) + wire.body(1, b'abcdef'), Closes(
    501, 'FRAME_ERROR - content body frame exceeds remaining content size', 60, 40), rabbitmq_3=Waits())
case('a body size beyond the maximum', on_channel, PUBLISH + wire.header(1, 536870913), Closes(
    501, 'FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912', 60, 40),
     rabbitmq_3=Waits())
case('a body size of 2^64-1', on_channel, PUBLISH + wire.header(1, 2 ** 64 - 1), Closes(
    501, 'FRAME_ERROR - content body size 18446744073709551615 exceeds maximum allowed size 536870912', 60, 40),
     rabbitmq_3=Waits())
case('empty body frames in between', on_channel,
     PUBLISH + wire.header(1, 2) + wire.body(1, b'a') + wire.body(1, b'') + wire.body(1, b'b'), GoesOn())
case('a property flag that continues', on_channel, PUBLISH + wire.header(1, 0, flags=1), GoesOn())
case('properties that end too early', on_channel,
     PUBLISH + wire.header(1, 0, flags=0x8000, properties=b'\x09abc'), INTERNAL)
case('properties with octets left over', on_channel,
     PUBLISH + wire.header(1, 0, flags=0x8000, properties=b'\x01abcdef'), INTERNAL)
case('a header table with an unknown tag', on_channel,
     PUBLISH + wire.header(1, 0, flags=0x2000, properties=wire.table({'k': b'?x'})), INTERNAL)
case('a header table that lies about its length', on_channel,
     PUBLISH + wire.header(1, 0, flags=0x2000, properties=struct.pack('>I', 0x7fffffff) + b'x'), INTERNAL)
case('a string in a header table that lies about its length', on_channel, PUBLISH + wire.header(
    1, 0, flags=0x2000, properties=wire.table({'k': b'S' + struct.pack('>I', 0xffffffff)})), INTERNAL)

# -- methods (§1.3)
case('arguments that end too early', on_channel, wire.method(1, 50, 10, b'\0\0\x09abc'), Closes(
    501, re.compile(r'FRAME_ERROR - cannot decode <<.*>>'), 50, 10))
case('arguments with octets left over', on_channel, wire.method(1, 20, 20, b'\x01\x01\x01'), Closes(
    501, re.compile(r'FRAME_ERROR - cannot decode <<.*>>'), 20, 20))
case('a queue name that is not UTF-8', on_channel, wire.queue_declare(1, b'\xff\xfe'), Closes(
    501, 'FRAME_ERROR - Malformed UTF-8 in shortstr'))
case('an unknown class', on_channel, wire.method(1, 99, 10), Closes(503, UNIMPLEMENTED, 99, 10), rabbitmq_3=Ends())
case('an unknown method', on_channel, wire.method(1, 50, 99), Closes(503, UNIMPLEMENTED, 50, 99), rabbitmq_3=Ends())
for label, arguments in (('an unknown tag', wire.table({'k': b'?x'})), ('a lying length', struct.pack('>I', 0x7fffffff)),
                         ('a lying string', wire.table({'k': b'S\x7f\xff\xff\xff'}))):
    octets = wire.method(1, 50, 10, b'\0\0' + wire.short('q') + b'\0' + arguments)
    case(f'an argument table with {label}', on_channel, octets, ClosesWithOneOf(501, 502), rabbitmq_3=Ends())
case('a method on a channel that is not open', opened, DECLARE, Closes(504, NOT_OPEN, 50, 10))
case('channel.close on a channel that is not open', opened, wire.channel_close(1), Closes(504, NOT_OPEN, 20, 40))
case('a second channel.open', on_channel, wire.channel_open(1), Closes(504, "CHANNEL_ERROR - second 'channel.open' seen", 20, 10))
case('channel.open on channel 0', on_channel, wire.channel_open(0), Closes(504, NOT_RUNNING, 20, 10))
case('queue.declare on channel 0', on_channel, wire.queue_declare(0, 'q'), Closes(504, NOT_RUNNING, 50, 10))
case('connection.open once more', on_channel, wire.connection_open(), Closes(504, NOT_RUNNING, 10, 40))
case('start-ok once more', on_channel, wire.start_ok(), Closes(504, NOT_RUNNING, 10, 11))
case('connection.close on channel 1', on_channel, b'\x01\x00\x01' + wire.connection_close()[3:], Closes(
    503, UNIMPLEMENTED, 10, 50))
case('queue.declare-ok from a client', on_channel, wire.method(1, 50, 11, wire.short('q') + b'\0' * 8), Closes(
    503, UNIMPLEMENTED, 50, 11))
case('channel.flow-ok from a client', on_channel, wire.method(1, 20, 21, b'\x01'), Closes(503, UNIMPLEMENTED, 20, 21))
case('channel.close-ok nobody waits for', on_channel, wire.method(1, 20, 41), Closes(503, UNIMPLEMENTED, 20, 41))
case('basic.cancel-ok from a client', on_channel, wire.method(1, 60, 31, wire.short('tag')), GoesOn(),
     rabbitmq_3=Closes(503, UNIMPLEMENTED, 60, 31))
case('channel.flow{false}', on_channel, wire.method(1, 20, 20, b'\0'), Closes(540, 'NOT_IMPLEMENTED - active=false', 20, 20))
case('an immediate publish', on_channel, wire.basic_publish(1, 'q', immediate=True) + wire.header(1, 0), GoesOn(),
     rabbitmq_3=Closes(540, 'NOT_IMPLEMENTED - immediate=true', 60, 40))
case('recover without requeue', on_channel, wire.method(1, 60, 110, b'\0'), Closes(
    540, 'NOT_IMPLEMENTED - requeue=false', 60, 110))
case('a prefetch size', on_channel, wire.method(1, 60, 10, struct.pack('>IHB', 10, 0, 0)),
     Closes(540, 'NOT_IMPLEMENTED - prefetch_size!=0 (10)', 60, 10))
case('connection.close in the middle of a content', on_channel,
     PUBLISH + wire.header(1, 1000) + wire.body(1, b'x') + wire.connection_close(), Replies(10, 51))
case('access.request of old clients', on_channel, wire.method(1, 30, 10, wire.short('/data') + b'\x1f'), Replies(30, 11))
case('channel numbers up to 65535', opened, wire.channel_open(65535), Replies(20, 11))


def nested(depth, kind):
    """A table of `depth` tables (or arrays) within each other; at most 6 (5) octets a level."""
    octets = b''
    for _ in range(depth):
        octets = (b'\0F' if kind == 'tables' else b'A') + struct.pack('>I', len(octets)) + octets
    return wire.long(octets if kind == 'tables' else b'\x01k' + octets)


# No nesting limit is promised but the frame size; a broker may have one, as long as it says so.
for kind in ('tables', 'arrays'):
    case(f'20,000 nested {kind} as arguments', on_channel,
         wire.method(1, 50, 10, b'\0\0' + wire.short('') + b'\x04' + nested(20000, kind)),
         OneOf((501, 502, 541), Replies(50, 11)))
    case(f'20,000 nested {kind} as headers', on_channel,
         PUBLISH + wire.header(1, 0, flags=0x2000, properties=nested(20000, kind)) + wire.method(1, 20, 20, b'\x01'),
         OneOf((501, 502, 541), Replies(20, 21)))


# ---- cases that need more than a row ---------------------------------------------------------------------------------

SCRIPTS = []


def script(function):
    SCRIPTS.append(function)
    return function


def connect(broker):
    return wire.Wire(*broker.address())


@script
def a_slow_loris_gets_no_more_than_the_handshake_timeout(broker):
    """One octet of start-ok at a time: the broker gives up after its handshake timeout (10 s), not later."""
    with connect(broker) as peer:
        started(peer)
        start = time.monotonic()
        for octet in wire.start_ok()[:60]:
            peer.send(bytes([octet]))
            if wire.select_readable(peer.socket, 0.4):
                break
        Ends(1).check(peer)
        assert time.monotonic() - start < 20, 'the broker was too patient'


@script
def every_octet_in_a_segment_of_its_own_is_understood(broker):
    with connect(broker) as peer:
        started(peer)
        for octet in wire.start_ok():
            peer.send(bytes([octet]))
        peer.expect(10, 30)
        for octet in wire.tune_ok() + wire.connection_open() + wire.channel_open(1) + wire.queue_declare(1, '', exclusive=True):
            peer.send(bytes([octet]))
        peer.expect(10, 41)
        peer.expect(20, 11)
        queue = peer.expect(50, 11).short()
        message = wire.basic_publish(1, queue) + wire.header(1, 5) + wire.body(1, b'he') + wire.body(1, b'llo')
        for octet in message + wire.basic_get(1, queue):
            peer.send(bytes([octet]))
        peer.expect(60, 71)
        peer.read_frame()
        assert peer.read_frame().payload == b'hello'


@script
def a_whole_session_in_one_segment_is_understood(broker):
    with connect(broker) as peer:
        peer.send(wire.HEADER_0_9_1, wire.start_ok(), wire.tune_ok(), wire.connection_open(), wire.channel_open(1),
                  wire.queue_declare(1, '', exclusive=True), wire.connection_close())
        for ids in ((10, 10), (10, 30), (10, 41), (20, 11), (50, 11), (10, 51)):
            peer.expect(*ids)


@script
def after_a_connection_error_only_closing_is_answered(broker):
    with connect(broker) as peer:
        on_channel(peer)
        peer.send(wire.method(1, 20, 20, b'\0'), wire.queue_declare(1, '', exclusive=True))
        assert peer.read_close().code == 540
        peer.send(wire.queue_declare(1, '', exclusive=True), wire.channel_open(2), wire.connection_close())
        peer.expect(10, 51)


@script
def after_a_channel_error_the_channel_is_deaf_until_it_is_closed(broker):
    missing = wire.queue_declare(1, 'conformance.never-declared', passive=True)
    with connect(broker) as peer:
        on_channel(peer)
        peer.send(missing, missing, PUBLISH, wire.header(1, 3), wire.body(1, b'abc'))
        Closes(404, "NOT_FOUND - no queue 'conformance.never-declared' in vhost '/'", 50, 10, channel=1).check(peer)
        peer.send(wire.queue_declare(1, '', exclusive=True), wire.method(1, 20, 41), wire.channel_open(1))
        peer.expect(20, 11)
        GoesOn().check(peer)


@script
def opening_a_channel_that_waits_for_close_ok_is_504(broker):
    with connect(broker) as peer:
        on_channel(peer)
        peer.send(wire.queue_declare(1, 'conformance.never-declared', passive=True))
        assert peer.read_close().code == 404
        peer.send(wire.channel_open(1))
        Closes(504, "CHANNEL_ERROR - second 'channel.open' seen", 20, 10).check(peer)


@script
def half_sent_contents_are_forgotten_with_their_connection(broker):
    queue = 'conformance.hostile.half'
    with connect(broker) as watcher:
        on_channel(watcher)
        watcher.send(wire.queue_declare(1, queue, auto_delete=True))
        watcher.expect(50, 11)
        peers = [connect(broker) for _ in range(30)]
        for peer in peers:
            on_channel(peer)
            peer.send(wire.basic_publish(1, queue), wire.header(1, 400 * 1024 * 1024), wire.body(1, b'x' * 100_000),
                      struct.pack('>BHI', 3, 1, 131064), b'x' * 1000)
        for peer in peers:
            peer.socket.close()
        watcher.send(wire.queue_declare(1, queue, passive=True))
        fields = watcher.expect(50, 11)
        fields.short()
        assert fields.unpack('I') == 0, 'half a message arrived'
        watcher.send(wire.queue_delete(1, queue))
        watcher.expect(50, 41)


@script
def a_consumer_that_does_not_read_holds_nobody_up(broker):
    """30 MB wait for a peer that never reads; the canary shows that others go on, the memory check that it is bounded."""
    with connect(broker) as deaf, connect(broker) as feeder:
        on_channel(deaf)
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.send(wire.queue_declare(1, '', auto_delete=True))
        queue = deaf.expect(50, 11).short()
        deaf.send(wire.method(1, 60, 20, b'\0\0' + wire.short(queue) + wire.short('') + b'\x02' + wire.table({})))
        deaf.expect(60, 21)
        on_channel(feeder)
        feeder.send(wire.method(1, 85, 10, b'\0'))
        feeder.expect(85, 11)
        message = wire.basic_publish(1, queue) + wire.header(1, 100_000) + wire.body(1, b'x' * 100_000)
        confirmed = set()
        for _ in range(300):
            feeder.send(message)
        while len(confirmed) < 300:
            fields = feeder.expect(60, 80)
            tag, multiple = fields.unpack('Q'), fields.unpack('B')
            confirmed |= set(range(1, tag + 1)) if multiple else {tag}


@script
def a_peer_that_sends_requests_but_reads_no_answers_holds_nobody_up(broker):
    with connect(broker) as deaf:
        on_channel(deaf)
        deaf.socket.setblocking(False)
        request = wire.method(1, 20, 20, b'\x01') * 2000  # channel.flow, each with an answer
        sent, end = 0, time.monotonic() + 3
        while sent < 20_000_000 and time.monotonic() < end:
            try:
                sent += deaf.socket.send(request)
            except BlockingIOError:
                if not writable(deaf.socket, 0.5):
                    break  # the broker stopped reading: just what it should do
            except ConnectionError:
                break


def writable(sock, seconds):
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    return poller.poll(seconds * 1000)


# ---- random octets: a job for each number -----------------------------------------------------------------------------

def random_octets_after_the_handshake(broker, chance):
    with connect(broker) as peer:
        on_channel(peer)
        peer.send(chance.randbytes(chance.choice((10, 1000, 100_000))))
        end_politely(peer)


def random_octets_instead_of_a_handshake(broker, chance):
    with connect(broker) as peer:
        if chance.random() < 0.5:
            started(peer)
        peer.send(chance.randbytes(chance.choice((1, 8, 100, 10_000))))
        end_politely(peer)


SESSION = (wire.queue_declare(1, '', exclusive=True, arguments={'x-max-length': 5, 'table': {'a': {'b': 'c'}}}) + PUBLISH +
           wire.header(1, 10, flags=0xb800, properties=wire.short('text/plain') + wire.table({'n': 1, 's': 'x'}) + b'\x02\x05') +
           wire.body(1, b'0123456789') + wire.basic_get(1, '') + wire.method(1, 60, 10, b'\0' * 7) +
           wire.method(1, 90, 10) + wire.method(1, 90, 20) + wire.channel_close(1) + wire.connection_close())


def a_session_with_flipped_bits(broker, chance):
    octets = bytearray(SESSION)
    for _ in range(chance.randint(1, 4)):
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    with connect(broker) as peer:
        on_channel(peer)
        peer.send(bytes(octets))
        end_politely(peer)


def end_politely(peer):
    """Says that nothing more comes; then the broker has to end the connection, whatever it made of the octets."""
    try:
        peer.socket.shutdown(socket.SHUT_WR)
        peer.read_end(deadline=15)
    except OSError:
        pass  # it is gone already
    except wire.Silence:
        raise AssertionError('the broker keeps a connection whose peer has ended') from None


RANDOM = ((random_octets_after_the_handshake, 40), (random_octets_instead_of_a_handshake, 40), (a_session_with_flipped_bits, 150))


@script
def connections_that_come_and_go_leave_nothing_behind(broker):
    for number in range(300):
        with connect(broker) as peer:
            if number % 3:
                peer.send(wire.HEADER_0_9_1)
            if number % 3 == 2:
                peer.expect(10, 10)


# ---- the well-behaved neighbour ---------------------------------------------------------------------------------------

class Canary(threading.Thread):
    """Sends itself numbered messages with confirms and reads each back."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.broker = broker
        self.stopping = threading.Event()
        self.failure = None
        self.count, self.slowest, self.peak_kib = 0, 0.0, 0

    def run(self):
        try:
            with pika.BlockingConnection(pika.ConnectionParameters(*self.broker.address(), heartbeat=2)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                queue = channel.queue_declare('', exclusive=True).method.queue
                received = []
                channel.basic_consume(queue, lambda _c, _m, _p, body: received.append(body), auto_ack=True)
                while not self.stopping.is_set():
                    self.sing(connection, channel, queue, received)
        except Exception as error:
            self.failure = f'the canary died: {error!r}'

    def sing(self, connection, channel, queue, received):
        start = time.monotonic()
        note = str(self.count).encode()
        channel.basic_publish('', queue, note, mandatory=True)
        while not received:
            connection.process_data_events(0.05)
            assert time.monotonic() - start < CANARY_PATIENCE, f'no delivery for {CANARY_PATIENCE:g} s'
        assert received.pop() == note and not received, 'the canary got something else'
        self.count += 1
        self.slowest = max(self.slowest, time.monotonic() - start)
        connection.sleep(0.005)  # leaves the processor to the others
        if self.count % 20 == 0:
            self.peak_kib = max(self.peak_kib, self.broker.rss_kib() or 0)


# ---- running ------------------------------------------------------------------------------------------------------

def run_row(broker, row):
    name, stage, octets, answer, rabbitmq_3 = row
    if rabbitmq_3 is not None and harness.is_rabbitmq_3(broker):
        answer = rabbitmq_3
    with connect(broker) as peer:
        stage(peer)
        peer.send(octets)
        answer.check(peer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-k', default='', metavar='WORD', help='only the cases whose name contains it')
    parser.add_argument('--seed', default='1')
    options = parser.parse_args()
    harness.raise_open_file_limit()
    broker = harness.shared_broker()
    harness.is_rabbitmq_3(broker)
    jobs = [(row[0], lambda row=row: run_row(broker, row)) for row in CASES]
    jobs += [(function.__name__.replace('_', ' '),
              lambda function=function: function(broker)) for function in SCRIPTS]
    for function, count in RANDOM:
        for number in range(count):
            name = f'{function.__name__.replace("_", " ")}, seed {options.seed}, number {number}'
            jobs.append((name, lambda function=function, name=name: function(broker, random.Random(name))))
    jobs = [(name, job) for name, job in jobs if options.k in name]
    assert jobs, f'no case contains "{options.k}"'

    before = broker.rss_kib()
    canary = Canary(broker)
    canary.start()
    harness.eventually(lambda: canary.count > 0 or canary.failure, 'the first message of the canary')
    failures = run_all(jobs)
    canary.stopping.set()
    canary.join(30)
    if canary.failure or canary.is_alive():
        failures.append(canary.failure or 'the canary hangs')
    print(f'{len(jobs)} cases, {len(failures)} failures; the canary sent {canary.count} messages, the slowest took '
          f'{canary.slowest * 1000:.0f} ms')
    failures += check_memory(broker, before, canary.peak_kib)
    if not harness.finish(broker):
        failures.append('the broker did not end well')
    for failure in failures:
        print(f'FAILED: {failure}')
    sys.exit(1 if failures else 0)


def run_all(jobs):
    """Runs the jobs 48 at a time, since many of them wait for a timeout of the broker; returns what failed."""
    failures = []
    with concurrent.futures.ThreadPoolExecutor(48) as pool:
        waiting = {pool.submit(timed, job): name for name, job in jobs}
        for done in concurrent.futures.as_completed(waiting):
            error, seconds = done.result()
            if error:
                failures.append(f'{waiting[done]}: {"".join(traceback.format_exception_only(error)).strip()}')
            print(f'{"FAIL" if error else "ok"} {seconds:5.1f} s: {waiting[done]}', flush=True)
    return failures


def timed(job):
    """The error of the job, or None, and how long it took."""
    start = time.monotonic()
    try:
        job()
        return None, time.monotonic() - start
    except Exception as error:
        return error, time.monotonic() - start


def check_memory(broker, before, peak):
    if before is None:
        print('memory: NOT MEASURED, the broker is not on this machine')
        return []
    print(f'memory: {before} KiB before, at most {peak} KiB meanwhile, {broker.rss_kib()} KiB after')
    if harness.is_rabbitmq_3(broker) or peak - before < RSS_LIMIT_KIB:
        return []  # the Erlang VM takes what it likes
    return [f'the memory of the broker grew by {peak - before} KiB; at most {RSS_LIMIT_KIB} KiB were expected']


if __name__ == '__main__':
    main()
