#!/usr/bin/python3
"""`harrier backup`: a copy that is taken while clients publish, and what a broker started on it has."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

import harness

pika = harness.require('pika', 'python3-pika')
from pika import BasicProperties  # noqa: E402

PERSISTENT = BasicProperties(delivery_mode=2)
BEFORE = 1000  # messages that are there before the first backup
BODY = 1000
QUEUES = ('first', 'second')


def body(number):
    return f'{number}:'.encode().ljust(BODY, b'.')


def number_of(text):
    return int(text[:text.index(b':')])


def folder_on_another_file_system(data):
    for candidate in ('/dev/shm', '/tmp', '/var/tmp', '.'):
        if os.path.isdir(candidate) and os.stat(candidate).st_dev != os.stat(data).st_dev:
            return pathlib.Path(tempfile.mkdtemp(prefix='harrier-conformance-', dir=candidate))
    raise AssertionError('this test needs a second file system; mount a tmpfs on /dev/shm')


class Publisher(threading.Thread):
    """Publishes numbers in order to a fanout exchange, one confirm after the other, until it is told to end or the
    broker goes. `confirmed` is how many are."""

    def __init__(self, broker, first):
        super().__init__(daemon=True)
        self.parameters = pika.ConnectionParameters(broker.host, broker.port, heartbeat=0)
        self.confirmed = first
        self.ending = threading.Event()
        self.failure = None

    def run(self):
        try:
            with pika.BlockingConnection(self.parameters) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                while not self.ending.is_set():
                    channel.basic_publish('all', '', body(self.confirmed), PERSISTENT)
                    self.confirmed += 1
        except pika.exceptions.AMQPError as error:
            self.failure = error

    def await_another(self, count):
        """Until `count` more are confirmed: clients go on."""
        goal = self.confirmed + count
        harness.eventually(lambda: self.confirmed >= goal, f'{count} more confirms ({self.failure})')


class BackupTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        if 'HARRIER_TEST_PORT' in os.environ or 'HARRIER_TEST_COMMAND' in os.environ:
            print(f'NOT RUN: {self.id()}: backup is a command of Harrier', flush=True)
            self.skipTest('backup is a command of Harrier')
        self.broker = harness.Broker().start()
        self.addCleanup(self.broker.dispose)

    def connect(self):
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, heartbeat=0))
        self.addCleanup(self.close, connection)
        return connection

    def close(self, connection):
        with contextlib.suppress(pika.exceptions.AMQPError):  # its broker may have been killed
            if connection.is_open:
                connection.close()

    def declare(self, channel):
        channel.exchange_declare('all', 'fanout', durable=True)
        channel.exchange_declare('unused', 'topic', durable=True)
        for queue in QUEUES:
            channel.queue_declare(queue, durable=True)
            channel.queue_bind(queue, 'all')
        channel.queue_bind('first', 'unused', 'a.#')

    def backup(self, directory, folder=None):
        """Tells the broker to copy itself there; the copy is complete when this returns."""
        code, out, err = harness.harrier('backup', directory, '--data-dir', self.broker.data, folder=folder)
        self.assertEqual((code, err), (0, ''))
        self.assertRegex(out, r'\Acopied to /\S+: [1-9]\d* files, [1-9]\d* octets, \d+\.\d\d s\n\Z')
        return re.match(r'copied to (\S+): (\d+) files, (\d+) octets', out)

    def start_on(self, directory):
        self.broker.data = directory
        self.broker.start()

    def read_all(self, channel, queue):
        numbers = []
        while True:
            method, _, text = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return numbers
            self.assertEqual(text, body(number_of(text)))
            numbers.append(number_of(text))

    def check_restored(self, at_least, at_most):
        """Every queue has the messages without a gap, all that were confirmed before and none from later."""
        channel = self.connect().channel()
        for queue in QUEUES:
            count = channel.queue_declare(queue, passive=True).method.message_count
            self.assertGreaterEqual(count, at_least)
            self.assertLessEqual(count, at_most)
            self.assertEqual(self.read_all(channel, queue), list(range(count)))
        channel.exchange_declare('unused', passive=True)
        channel.basic_publish('unused', 'a.b', body(1), PERSISTENT)
        channel.basic_publish('all', '', body(2), PERSISTENT)
        self.assertEqual(self.read_all(channel, 'first'), [1, 2])
        self.assertEqual(self.read_all(channel, 'second'), [2])

    def test_copies_taken_under_load_have_all_that_was_confirmed_before(self):
        channel = self.connect().channel()
        channel.confirm_delivery()
        self.declare(channel)
        for number in range(BEFORE):
            channel.basic_publish('all', '', body(number), PERSISTENT)
        publisher = Publisher(self.broker, BEFORE)
        publisher.start()
        publisher.await_another(50)

        copies = []  # directory, confirmed before, published when it was done
        for name in ('one', 'deep/two'):
            confirmed = publisher.confirmed
            told = self.backup(name, folder=self.broker.folder)  # relative to where the CLI runs
            copies.append((self.broker.folder / name, confirmed, publisher.confirmed + 1))
            self.assertEqual(told[1], str(self.broker.folder / name))
            files = [file for file in copies[-1][0].rglob('*') if file.is_file()]
            self.assertEqual((int(told[2]), int(told[3])), (len(files), sum(file.stat().st_size for file in files)))
            publisher.await_another(50)
        code, out, err = harness.harrier('backup', copies[0][0], '--data-dir', self.broker.data)
        self.assertEqual((code, out), (1, ''))
        self.assertEqual(err, f'harrier: cannot copy to {copies[0][0]}: it is not empty; name another\n')
        publisher.await_another(50)
        self.broker.kill()
        publisher.join()

        shutil.rmtree(self.broker.data)
        for directory, at_least, at_most in copies:
            self.start_on(directory)
            self.check_restored(at_least, at_most)
            self.broker.kill()

    def test_a_copy_is_independent_of_what_happens_to_the_original(self):
        channel = self.connect().channel()
        channel.confirm_delivery()
        self.declare(channel)
        for number in range(BEFORE):
            channel.basic_publish('all', '', body(number), PERSISTENT)
        copy = self.broker.folder / 'copy'
        self.backup(copy)
        for queue in QUEUES:
            channel.queue_delete(queue)
        self.broker.stop()
        self.broker.start()
        self.broker.stop()
        shutil.rmtree(self.broker.data)
        self.start_on(copy)
        self.check_restored(BEFORE, BEFORE)
        self.backup(self.broker.folder / 'copy-of-the-copy')
        self.broker.stop()

    def test_a_copy_to_another_file_system(self):
        leftover = self.broker.data / 'backup.links' / 'db'  # of a broker that was killed while it copied
        self.broker.kill()
        leftover.mkdir(parents=True)
        (leftover / 'MANIFEST').write_text('old')
        self.broker.start()
        self.assertFalse(leftover.parent.exists())

        channel = self.connect().channel()
        channel.confirm_delivery()
        self.declare(channel)
        for number in range(BEFORE):
            channel.basic_publish('all', '', body(number), PERSISTENT)
        other = folder_on_another_file_system(self.broker.data)
        self.addCleanup(shutil.rmtree, other)
        self.backup(other / 'deep' / 'copy')
        self.assertFalse(leftover.parent.exists())
        for file in (other / 'deep' / 'copy' / 'db').iterdir():
            self.assertEqual(file.stat().st_nlink, 1, file)
        code, _, err = harness.harrier('backup', other / 'deep', '--data-dir', self.broker.data)
        self.assertEqual(code, 1)
        self.assertIn('is not empty', err)
        self.assertEqual([entry.name for entry in (other / 'deep').iterdir()], ['copy'])
        self.broker.kill()
        shutil.rmtree(self.broker.data)
        self.start_on(other / 'deep' / 'copy')
        self.check_restored(BEFORE, BEFORE)
        self.broker.stop()

    def test_without_a_broker_one_line_says_so(self):
        self.broker.stop()
        self.assertFalse((self.broker.data / 'harrier.sock').exists())
        code, out, err = harness.harrier('backup', 'copy', '--data-dir', self.broker.data, folder=self.broker.folder)
        self.assertEqual((code, out), (69, ''))
        self.assertRegex(err, r'\Aharrier: no broker runs on the data directory .*--data-dir\n\Z')
        self.assertFalse((self.broker.folder / 'copy').exists())

    def test_the_socket_of_a_killed_broker_is_told_from_a_running_one_and_replaced(self):
        self.broker.kill()
        self.assertTrue((self.broker.data / 'harrier.sock').is_socket())
        code, _, err = harness.harrier('backup', 'copy', '--data-dir', self.broker.data, folder=self.broker.folder)
        self.assertEqual(code, 69)
        self.assertIn('Connection refused', err)
        self.broker.start()
        self.backup(self.broker.folder / 'copy')
        self.broker.stop()

    def test_a_refused_copy_leaves_nothing(self):
        for directory, why in ((self.broker.data / 'copy', 'lies in the data directory'), ('/proc/copy', '/proc/copy')):
            code, out, err = harness.harrier('backup', directory, '--data-dir', self.broker.data)
            self.assertEqual((code, out), (1, ''))
            self.assertIn(why, err)
            self.assertEqual(err.count('\n'), 1)
            self.assertFalse(pathlib.Path(directory).exists())
        self.broker.stop()

    def test_a_data_directory_with_a_long_path_has_a_socket_too(self):
        self.broker.stop()
        self.start_on(self.broker.folder / ('a' * 100) / ('b' * 100))
        self.assertEqual(stat.S_IMODE((self.broker.data / 'harrier.sock').stat().st_mode), 0o600)
        self.backup(self.broker.folder / 'copy')
        self.broker.stop()

    def test_hostile_peers_of_the_socket_harm_nobody(self):
        path = str(self.broker.data / 'harrier.sock')
        with contextlib.ExitStack() as peers:
            def peer(octets):
                client = peers.enter_context(socket.socket(socket.AF_UNIX))
                client.settimeout(harness.DEADLINE)
                client.connect(path)
                with contextlib.suppress(OSError):  # cut off while it sends
                    client.sendall(octets)
                return client

            def reply(client):
                return json.loads(client.makefile('rb').readline())
            peer(b'')
            peer(b'{"command":"ba')
            self.assertIn('at most 65536 octets', reply(peer(b'[' * 1_000_000))['error'])
            self.assertIn('one line with a JSON object', reply(peer(b'\x00\xff\n'))['error'])
            self.assertIn('unknown command', reply(peer(b'{"command":"\\u0000"}\n'))['error'])
            peer(json.dumps({'command': 'backup', 'directory': str(self.broker.folder / 'left')}).encode() + b'\n').close()
            harness.eventually(lambda: (self.broker.folder / 'left' / 'db').exists(), 'the copy nobody waits for')
            harness.eventually(lambda: harness.harrier('backup', self.broker.folder / 'copy', '--data-dir',
                                               self.broker.data)[0] == 0, 'a copy after that one')
            self.connect().channel().queue_declare('still works')
        self.broker.stop()


if __name__ == '__main__':
    harness.main()
