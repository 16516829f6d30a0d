#!/usr/bin/python3
"""A broker whose disk is full: publishers wait, consumers do not, and it goes on when there is space.

Runs itself where mounts concern nobody else and mounts a small tmpfs there: as root, or where users may make name
spaces. Where neither is allowed it says so and ends with 77.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import client  # finds the folder of harness and wire
import harness
import wire

NOT_ALLOWED = 77
DISK = 96 << 20  # room for what the store writes of the backlog, several times
BACKLOG = 10_000  # messages, ten times queue_memory
BODY = 1000
WINDOW = 500  # unconfirmed at a time
QUEUE = 'q'
PERSISTENT = b'\x10\x00\x02'  # property flags, delivery-mode 2
SETTINGS = ('queue_memory=1MiB', 'write_buffer_size=4MiB', 'shards=2', 'disk_free_limit.absolute=0')
FULL_LINE = b'the disk is full, nothing is confirmed until there is space'


class Publisher(client.Channel):
    """Publishes 0, 1, 2, ... with confirms."""

    def __init__(self, connection):
        super().__init__(connection)
        self.sent = 0
        self.confirmed = set()
        self.waiting = []
        self.send(client.confirm_select(self.number))
        self.ask({(85, 11): None})

    def publish(self):
        text = f'{self.sent}:'.encode().ljust(BODY, b'.')
        self.send(client.publish(self.number, '', QUEUE, PERSISTENT, text))
        self.waiting.append(self.sent)
        self.sent += 1

    def fill_window(self, end):
        while self.sent < end and len(self.waiting) < WINDOW:
            self.publish()

    def on_confirm(self, number, multiple, good):
        assert good, f'publish {number} was refused'
        told = {one for one in self.waiting if one + 1 == number or (multiple and one + 1 < number)}
        self.waiting = [one for one in self.waiting if one not in told]
        self.confirmed |= told


class Consumer(client.Channel):
    """Acknowledges one by one, so that nothing more comes when acknowledgements are not heard."""

    def __init__(self, connection, prefetch=100):
        super().__init__(connection)
        self.numbers = []
        self.redelivered = set()
        self.send(client.basic_qos(self.number, prefetch))
        self.ask({(60, 11): None})
        self.send(client.basic_consume(self.number, QUEUE, 'c'))
        self.ask({(60, 21): None})

    def on_deliver(self, tag, delivery_tag, redelivered, content):
        self.numbers.append(int(content.body[:content.body.index(b':')]))
        assert len(content.body) == BODY
        if redelivered:
            self.redelivered.add(self.numbers[-1])
        self.send(client.basic_ack(self.number, delivery_tag))


class SmallDisk:
    """A tmpfs, and a file on it that takes what is free."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='harrier-small-disk-'))
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={DISK}', 'tmpfs', self.path], check=True)
        self.ballast = self.path / 'ballast'

    def fill(self):
        """Takes all that is free now. The store may take or give some meanwhile."""
        with open(self.ballast, 'ab') as file:
            while free := os.fstatvfs(file.fileno()).f_bavail * os.fstatvfs(file.fileno()).f_frsize:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free)
                except OSError:
                    continue  # less is free than a moment ago

    def free(self):
        self.ballast.unlink()

    def remove(self):
        subprocess.run(['umount', '--lazy', self.path], check=True)
        self.path.rmdir()


class FullDiskTest(unittest.TestCase):
    def setUp(self):
        self.disk = SmallDisk()
        self.addCleanup(self.disk.remove)
        self.broker = harness.Broker([part for setting in SETTINGS for part in ('--set', setting)])
        self.addCleanup(self.broker.dispose)
        self.broker.data = self.disk.path / 'data'
        self.broker.start()
        self.loop = client.Loop()
        self.publisher = Publisher(self.connect())
        self.publisher.send(wire.queue_declare(self.publisher.number, QUEUE, durable=True))
        self.publisher.ask({(50, 11): None})
        self.publish_and_await(BACKLOG)

    def tearDown(self):
        for connection in list(self.loop.connections.values()):
            connection.drop()

    def connect(self):
        return client.Connection(self.loop, self.broker.port)

    def await_that(self, condition, what):
        good = self.loop.until(condition, time.monotonic() + harness.DEADLINE)
        self.assertTrue(good, f'not within {harness.DEADLINE:g} s: {what}\n{self.broker.log_tail()}')

    def publish_and_await(self, count):
        """Publishes `count` more and waits until everything is confirmed."""
        publisher, end = self.publisher, self.publisher.sent + count

        def is_done():
            publisher.fill_window(end)
            return publisher.sent == end and not publisher.waiting
        self.await_that(is_done, f'{count} more confirms')

    def fill_disk(self):
        """Takes all space while messages come, until the store has said that it cannot write, and on to the pause."""
        publisher = self.publisher

        def is_full():
            self.disk.fill()
            publisher.fill_window(publisher.sent + WINDOW)
            return FULL_LINE in self.broker.log.read_bytes()

        def is_blocked():
            publisher.publish()
            return publisher.connection.blocked
        self.await_that(is_full, 'a store without space')
        self.await_that(is_blocked, 'connection.blocked')
        self.assertEqual(self.publisher.connection.blocked, ['low on disk'])
        self.assertTrue(self.publisher.waiting)

    def count(self, channel):
        """Messages in the queue, by an answer that comes after everything `channel` had sent."""
        counts = []
        channel.send(wire.queue_declare(channel.number, QUEUE, passive=True))
        channel.ask({(50, 11): lambda fields: counts.append((fields.short(), fields.unpack('I'))[1])})
        self.await_that(lambda: counts, 'queue.declare-ok')
        return counts[0]

    def restart_and_drain(self):
        """What a consumer gets after a SIGKILL, until the queue is empty."""
        self.broker.kill()
        self.loop.read_what_is_left()
        self.disk.ballast.unlink(missing_ok=True)
        self.broker.start()
        consumer = Consumer(self.connect())
        self.await_that(lambda: self.count(consumer) == 0, 'an empty queue')
        return consumer

    def test_publishers_wait_and_consumers_get_what_is_there(self):
        self.fill_disk()
        process, confirmed = self.broker.process.pid, set(self.publisher.confirmed)
        consumer = Consumer(self.connect())
        self.await_that(lambda: confirmed.issubset(consumer.numbers), 'all confirmed messages while the disk is full')
        self.assertEqual(self.publisher.confirmed, confirmed)
        self.assertEqual(self.publisher.connection.blocked, ['low on disk'])
        self.assertEqual(consumer.connection.blocked, [])

        self.disk.free()
        self.await_that(lambda: not self.publisher.waiting, 'the confirms of what was published on a full disk')
        self.assertEqual(self.publisher.connection.blocked, ['low on disk', None])
        self.await_that(lambda: len(consumer.numbers) == self.publisher.sent, 'the rest')
        self.assertEqual(self.count(consumer), 0)
        consumer.connection.drop()
        settled = self.publisher.sent
        self.assertEqual(consumer.numbers, list(range(settled)))
        self.publish_and_await(BACKLOG)
        self.assertEqual(self.broker.pid(), process)
        self.assertIsNone(self.broker.process.poll())

        # The acknowledgements are as durable as what was confirmed after them.
        self.assertEqual(self.restart_and_drain().numbers, list(range(settled, self.publisher.sent)))

    def test_a_kill_while_the_disk_is_full_loses_nothing_that_was_confirmed(self):
        self.fill_disk()
        consumer = Consumer(self.connect())
        self.await_that(lambda: len(consumer.numbers) >= 100, 'what the queue has in memory')
        again = self.restart_and_drain()
        self.assertEqual(again.numbers, sorted(set(again.numbers)))
        self.assertLessEqual(self.publisher.confirmed, set(consumer.numbers) | set(again.numbers))
        self.assertLessEqual(set(again.numbers), set(range(self.publisher.sent)))
        self.assertLessEqual(set(consumer.numbers) & set(again.numbers), again.redelivered)


def main():
    """Again in a mount name space of its own."""
    if os.environ.get('HARRIER_SMALL_DISK'):
        harness.main()
    flags = ['--mount', '--propagation', 'private']
    for more in ([], ['--user', '--map-root-user']):
        allowed = ['unshare', *flags, *more, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']
        if subprocess.run(allowed, stderr=subprocess.DEVNULL).returncode == 0:
            os.environ['HARRIER_SMALL_DISK'] = '1'
            os.execvp('unshare', ['unshare', *flags, *more, sys.executable, *sys.argv])
    print('not run: mounting a tmpfs is not allowed here, see disk_full_test')
    sys.exit(NOT_ALLOWED)


if __name__ == '__main__':
    main()
