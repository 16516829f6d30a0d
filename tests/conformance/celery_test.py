#!/usr/bin/python3
"""Celery workers with the rpc:// result backend, and kombu by itself: queues, replies, pidbox, events, redelivery."""
import collections
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import harness

harness.require('celery', 'python3-celery')
harness.require('kombu', 'python3-kombu')
amqp = harness.require('amqp', 'python3-amqp')
from celery import group  # noqa: E402
from kombu import Connection, Consumer, Exchange, Producer, Queue  # noqa: E402


class CeleryTest(harness.BrokerTest):
    """One application, one queue; the worker of the class runs all but the redelivery tests."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.queue = f'conformance.celery.{uuid.uuid4().hex[:8]}'
        os.environ['CONFORMANCE_BROKER_URL'] = cls.broker.url('/')
        os.environ['CONFORMANCE_QUEUE'] = cls.queue
        import celery_app
        cls.tasks = celery_app
        cls.app = celery_app.app
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix='conformance-celery-'))
        cls.workers = []
        cls.addClassCleanup(cls.end_workers)
        cls.name_of_worker = f'main-{uuid.uuid4().hex[:6]}@conformance'
        cls.start_worker(cls.name_of_worker)

    @classmethod
    def start_worker(cls, name, queue=None):
        log = cls.folder / f'{name}.log'
        with open(log, 'wb') as output:
            process = subprocess.Popen(
                ['/usr/bin/python3', '-m', 'celery', '-A', 'celery_app', 'worker', '-P', 'solo', '-n', name, '-Q',
                 queue or cls.queue, '-E', '-l', 'info', '--without-mingle'],
                cwd=harness.HERE, env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'}, stdout=output, stderr=output,
                start_new_session=True)
        cls.workers.append(process)

        def ready():
            assert process.poll() is None, f'the worker ended:\n{log.read_text(errors="replace")}'
            return b'ready.' in log.read_bytes()
        harness.eventually(ready, f'worker {name} to be ready', 60)
        return process

    @classmethod
    def end_workers(cls):
        for process in cls.workers:
            if process.poll() is None:
                process.terminate()
        for process in cls.workers:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        cls.app.close()
        with Connection(cls.broker.url('/')) as connection:
            connection.default_channel.queue_delete(cls.queue)
        shutil.rmtree(cls.folder)

    @contextlib.contextmanager
    def own_queue(self, queue):
        """Workers that are started within are ended, and then the queue deleted."""
        count = len(self.workers)
        try:
            yield
        finally:
            for process in self.workers[count:]:
                if process.poll() is None:
                    process.terminate()
                process.wait(30)
            with Connection(self.broker.url('/')) as connection:
                connection.default_channel.queue_delete(queue)

    def test_1000_tasks_return_their_results(self):
        results = [self.tasks.add.delay(number, number) for number in range(1000)]
        self.assertEqual([result.get(timeout=60) for result in results], [2 * number for number in range(1000)])

    def test_a_group_collects_its_results(self):
        result = group(self.tasks.add.s(number, 1) for number in range(50)).apply_async()
        self.assertEqual(result.get(timeout=60), list(range(1, 51)))

    def test_a_chain_passes_results_on(self):
        self.assertEqual((self.tasks.add.s(1, 2) | self.tasks.add.s(3) | self.tasks.add.s(4)).apply_async().get(timeout=60), 10)

    def test_a_failing_task_returns_its_exception(self):
        with self.assertRaisesRegex(ValueError, 'as it must'):
            self.tasks.fails.delay('as it must').get(timeout=60)

    def test_autoretry_with_backoff_runs_until_it_succeeds(self):
        self.assertEqual(self.tasks.flaky.delay(2).get(timeout=60), 2)

    def test_self_retry_runs_until_it_succeeds(self):
        self.assertEqual(self.tasks.asks_for_retry.delay(3).get(timeout=60), 3)

    def test_priorities_and_expiry_are_accepted(self):
        results = [self.tasks.add.apply_async((number, 0), priority=number, expires=60) for number in range(10)]
        self.assertEqual([result.get(timeout=60) for result in results], list(range(10)))

    def lines(self, path):
        return path.read_text().splitlines() if path.exists() else []

    def test_waiting_tasks_run_by_priority_and_then_in_order(self):
        queue = self.queue + '.priority'
        path = self.folder / 'priorities'
        with self.own_queue(queue):
            for number, priority in enumerate((0, 9, 3, 3, None, 9, 7)):
                self.tasks.tells.apply_async((str(path), f'{priority} {number}'), queue=queue, priority=priority)
            with Connection(self.broker.url('/')) as connection:
                harness.eventually(lambda: connection.default_channel.queue_declare(queue, passive=True).message_count == 7,
                                   'seven tasks to wait')
            self.start_worker('priority@conformance', queue)
            harness.eventually(lambda: len(self.lines(path)) == 7, 'seven tasks to run', 60)
            self.assertEqual(self.lines(path), ['9 1', '9 5', '7 6', '3 2', '3 3', '0 0', 'None 4'])

    def test_a_task_that_always_fails_is_given_up_and_keeps_its_priority(self):
        path = self.folder / 'given up'
        with self.assertRaisesRegex(KeyError, 'never there'):
            self.tasks.tells_and_fails.apply_async((str(path),), priority=6).get(timeout=60)
        self.assertEqual(self.lines(path), ['0 6', '1 6', '2 6'])

    def test_a_task_may_reject_itself(self):
        path = self.folder / 'rejects'
        self.tasks.rejects.delay(str(path))
        harness.eventually(lambda: len(self.lines(path)) == 2, 'two deliveries', 60)
        self.tasks.add.delay(1, 1).get(timeout=60)  # behind a third one
        self.assertEqual(self.lines(path), ['False', 'True'])

    def test_inspect_ping_reaches_the_worker(self):
        replies = harness.eventually(self.app.control.inspect([self.name_of_worker], timeout=2).ping, 'a pong')
        self.assertEqual(replies, {self.name_of_worker: {'ok': 'pong'}})

    def test_inspect_knows_the_queue(self):
        inspect = self.app.control.inspect([self.name_of_worker], timeout=2)
        replies = harness.eventually(inspect.active_queues, 'a reply')
        self.assertEqual([queue['name'] for queue in replies[self.name_of_worker]], [self.queue])

    def test_events_tell_the_life_of_a_task(self):
        seen = collections.defaultdict(list)
        with self.app.connection_for_read() as connection:
            receiver = self.app.events.Receiver(connection, handlers={
                '*': lambda event: seen[event.get('uuid')].append(event['type'])})
            with receiver.Consumer() as (own_connection, _channel, _consumers):
                result = self.tasks.add.delay(1, 1)
                expected = ['task-received', 'task-started', 'task-succeeded']

                def all_seen():
                    with contextlib.suppress(socket.timeout):
                        own_connection.drain_events(timeout=0.2)
                    return len([kind for kind in seen[result.id] if kind in expected]) == 3
                harness.eventually(all_seen, 'the events of the task')
        self.assertEqual([kind for kind in seen[result.id] if kind in expected], expected)
        self.assertEqual(result.get(timeout=60), 2)

    def test_a_late_acked_task_of_a_killed_worker_runs_on_another(self):
        queue = self.queue + '.late'
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        first = self.start_worker('first@conformance', queue)
        result = self.tasks.marks_then_waits.apply_async((str(folder),), queue=queue)
        harness.eventually(lambda: [path.name for path in folder.iterdir()] == ['first@conformance'],
                           'the first worker to start it')
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        self.start_worker('second@conformance', queue)
        self.assertEqual(result.get(timeout=60), ['second@conformance', True])
        self.workers[-1].terminate()
        self.workers[-1].wait(30)
        with Connection(self.broker.url('/')) as connection:
            connection.default_channel.queue_delete(queue)


class KombuTest(harness.BrokerTest):
    def setUp(self):
        self.connection = Connection(self.broker.url('/'))
        self.addCleanup(self.connection.release)

    def test_simple_queue_puts_and_gets(self):
        queue = self.connection.SimpleQueue(self.name())
        self.addCleanup(self.delete, queue)
        for number in range(10):
            queue.put({'number': number, 'text': 'grüße'}, compression='zlib' if number % 2 else None)
        for number in range(10):
            message = queue.get(timeout=10)
            self.assertEqual(message.payload, {'number': number, 'text': 'grüße'})
            message.ack()
        with self.assertRaises(queue.Empty):
            queue.get_nowait()

    def test_simple_buffer_needs_no_acks(self):
        buffer = self.connection.SimpleBuffer(self.name())
        self.addCleanup(buffer.close)
        buffer.put('x')
        self.assertEqual(buffer.get(timeout=10).payload, 'x')

    def test_a_queue_with_priorities_serves_the_highest_first(self):
        queue = Queue(self.name(), Exchange(''), max_priority=10, exclusive=True, durable=False)
        channel = self.connection.channel()
        bound = queue(channel)
        bound.queue_declare()
        producer = Producer(channel, routing_key=queue.name)
        for priority in (1, 9, 5):
            producer.publish(priority, priority=priority)
        self.assertEqual([bound.get(no_ack=True).payload for _ in range(3)], [9, 5, 1])

    def test_topic_consumers_with_prefetch_and_requeue(self):
        exchange = Exchange(self.name('x'), 'topic', durable=False, auto_delete=True)
        queue = Queue(self.name(), exchange, 'log.#', exclusive=True, durable=False, auto_delete=True)
        received = []

        def on_message(body, message):
            received.append((body, message.delivery_info['redelivered']))
            message.requeue() if len(received) == 1 else message.ack()
        with Consumer(self.connection, [queue], callbacks=[on_message], accept=['json'], prefetch_count=1):
            producer = self.connection.Producer(exchange=exchange)
            for number in range(3):
                producer.publish(number, routing_key='log.info')

            def drain():
                self.connection.drain_events(timeout=10)
                return len(received) == 4
            harness.eventually(drain, 'four deliveries', every=0)
        self.assertEqual(received, [(0, False), (0, True), (1, False), (2, False)])

    def test_publishing_with_confirms(self):
        with Connection(self.broker.url('/'), transport_options={'confirm_publish': True}) as connection:
            queue = connection.SimpleQueue(self.name())
            for number in range(50):
                queue.put(number)
            self.assertEqual(queue.qsize(), 50)
            self.delete(queue)

    def delete(self, simple_queue):
        simple_queue.close()
        self.connection.default_channel.queue_delete(simple_queue.queue.name)

    def test_a_wrong_password_is_an_access_refusal(self):
        with self.assertRaises(amqp.AccessRefused) as caught:
            Connection(self.broker.url('/').replace('guest:guest', 'guest:wrong')).connect()
        self.assertIn('ACCESS_REFUSED', str(caught.exception))

    def test_a_missing_queue_is_not_found(self):
        with self.assertRaises(amqp.NotFound) as caught:
            self.connection.channel().queue_declare(self.name(), passive=True)
        self.assertEqual((caught.exception.code, caught.exception.method_sig), (404, (50, 10)))

    def test_heartbeats_keep_the_connection(self):
        with Connection(self.broker.url('/'), heartbeat=2) as connection:
            connection.connect()
            end = time.monotonic() + 5
            while time.monotonic() < end:
                connection.heartbeat_check(rate=4)
                with contextlib.suppress(socket.timeout):  # nothing comes but heartbeats
                    connection.drain_events(timeout=0.5)
            connection.channel().queue_declare('', exclusive=True)


if __name__ == '__main__':
    harness.main()
