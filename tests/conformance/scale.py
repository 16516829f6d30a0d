#!/usr/bin/python3
"""Many connections, queues and channels at once, and what a connection costs in memory.

  scale.py                                                            what CI runs: 500 connections, 500 queues, 200 channels
  scale.py --connections 5000 --queues 10000 --channels 1000          the big run
"""
import argparse
import contextlib
import os
import sys
import time

import harness
import wire

BATCH = 200  # handshakes in flight together; the listen queue must hold them
RSS_SLACK_KIB = int(os.environ.get('HARRIER_TEST_RSS_SLACK_MIB', '64')) * 1024  # what an allocator may keep


def timed(what, action):
    start = time.monotonic()
    result = action()
    print(f'{what}: {time.monotonic() - start:.2f} s', flush=True)
    return result


def open_connections(broker, count, stack):
    """All connections through the handshake, BATCH at a time; idle afterwards, with heartbeats off."""
    connections = []
    while len(connections) < count:
        batch = [stack.enter_context(wire.Wire(*broker.address(), deadline=60))
                 for _ in range(min(BATCH, count - len(connections)))]
        for connection in batch:
            connection.send(wire.HEADER_0_9_1)
        for connection in batch:
            connection.expect(10, 10)
            connection.send(wire.start_ok())
        for connection in batch:
            connection.expect(10, 30)
            connection.send(wire.tune_ok(), wire.connection_open())
        for connection in batch:
            connection.expect(10, 41)
        connections += batch
    return connections


def many_connections(broker, count):
    before = broker.rss_kib()
    with contextlib.ExitStack() as stack:
        connections = timed(f'{count} connections opened', lambda: open_connections(broker, count, stack))
        idle = broker.rss_kib()
        if idle is None:
            print('memory per connection: NOT MEASURED, the broker is not on this machine')
        else:
            print(f'memory per idle connection: {(idle - before) / count:.1f} KiB (broker {before} -> {idle} KiB)')

        def use_all():
            for connection in connections:
                connection.send(wire.channel_open(1), wire.queue_declare(1, '', exclusive=True))
            for connection in connections:
                connection.expect(20, 11)
                connection.queue = connection.expect(50, 11).short()
            for number, connection in enumerate(connections):  # to a queue of somebody else, through the broker
                target = connections[number - 1].queue
                connection.send(wire.basic_publish(1, target), wire.header(1, 3), wire.body(1, b'%03d' % (number % 1000)),
                                wire.channel_open(2))
            for connection in connections:
                connection.expect(20, 11)
            for number, connection in enumerate(connections):
                body = harness.eventually(lambda: get(connection, 1, connection.queue), 'the message of the neighbour')
                expected = b'%03d' % ((number + 1) % len(connections) % 1000)
                assert body == expected, f'{body!r} came instead of {expected!r}'
        timed('each declared a queue, sent and received', use_all)

        def close_all():
            for connection in connections:
                connection.send(wire.connection_close())
            for connection in connections:
                connection.expect(10, 51)
        timed('all closed', close_all)


def get(connection, channel, queue):
    """basic.get: the body, or None."""
    connection.send(wire.basic_get(channel, queue))
    _, method_id, _, _ = connection.read_method()
    if method_id == 72:
        return None
    connection.read_frame()
    return connection.read_frame().payload


def many_queues(broker, count):
    names = [f'conformance.scale.{number}' for number in range(count)]
    with wire.Wire(*broker.address(), deadline=120) as connection:
        connection.open().open_channel()

        def pipelined(commands, answer):
            """Sends all; checks that as many answers come, in order."""
            for start in range(0, count, 500):
                connection.send(*commands[start:start + 500])
                for number in range(start, min(start + 500, count)):
                    answer(number)

        def declared(number):
            assert connection.expect(50, 11).short() == names[number]
        delete = [wire.queue_delete(1, name) for name in names]
        pipelined(delete, lambda _: connection.expect(50, 41))  # leftovers of a run that failed
        timed(f'{count} durable queues declared', lambda: pipelined(
            [wire.queue_declare(1, name, durable=True) for name in names], declared))
        timed('declared again', lambda: pipelined([wire.queue_declare(1, name, durable=True) for name in names], declared))
        for name in names:
            connection.send(wire.basic_publish(1, name), wire.header(1, len(name)), wire.body(1, name.encode()))

        def used():
            for name in names:
                body = harness.eventually(lambda: get(connection, 1, name), f'the message in {name}')
                assert body == name.encode(), f'{name} held {body!r}'
        timed('a message taken from each', used)
        timed('all deleted', lambda: pipelined(delete, lambda _: connection.expect(50, 41)))
        connection.send(wire.queue_declare(1, names[0], passive=True))
        assert connection.read_close().code == 404


def many_channels(broker, count):
    with wire.Wire(*broker.address(), deadline=60) as connection:
        connection.open()

        def work():
            connection.send(*[wire.channel_open(number) for number in range(1, count + 1)])
            for number in range(1, count + 1):
                connection.expect(20, 11)
            connection.send(*[wire.queue_declare(number, f'conformance.scale.channel.{number}', exclusive=True)
                              for number in range(1, count + 1)])
            declared = set()
            for _ in range(count):  # in order per channel, in any order among channels
                _, _, channel, fields = connection.read_method()
                assert fields.short() == f'conformance.scale.channel.{channel}'
                declared.add(channel)
            assert len(declared) == count
            connection.send(*[wire.channel_close(number) for number in range(1, count + 1)])
            for _ in range(count):
                connection.expect(20, 41)
            connection.send(wire.connection_close())
            connection.expect(10, 51)
        timed(f'{count} channels opened, used and closed', work)


def too_many_channels(broker):
    with wire.Wire(*broker.address()) as connection:
        connection.open(channel_max=2)
        connection.send(wire.channel_open(1), wire.channel_open(2), wire.channel_open(3))
        connection.expect(20, 11)
        connection.expect(20, 11)
        close = connection.read_close()
        text = 'NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)'
        assert close == wire.Close(0, 530, text, 0, 0), close


def settles_down(broker, before, connections):
    """After everything is closed, the broker must not keep more than a bounded remainder."""
    if before is None:
        return
    limit = before + RSS_SLACK_KIB + 8 * connections
    if harness.is_rabbitmq_3(broker):
        print(f'memory at the end: {broker.rss_kib()} KiB, from {before} KiB')  # the Erlang VM keeps what it likes
        return
    harness.eventually(lambda: broker.rss_kib() < limit, f'the broker to shrink below {limit} KiB; it has {broker.rss_kib()} KiB')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--connections', type=int, default=500)
    parser.add_argument('--queues', type=int, default=500)
    parser.add_argument('--channels', type=int, default=200)
    options = parser.parse_args()
    harness.raise_open_file_limit()
    broker = harness.shared_broker()
    before = broker.rss_kib()
    many_connections(broker, options.connections)
    many_channels(broker, options.channels)
    too_many_channels(broker)
    many_queues(broker, options.queues)
    settles_down(broker, before, options.connections)
    if not harness.finish(broker):
        sys.exit(1)
    print('OK')


if __name__ == '__main__':
    try:
        main()
    except (AssertionError, wire.Gone, OSError) as error:
        sys.exit(f'FAILED: {error!r}')
