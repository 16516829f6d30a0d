#!/usr/bin/python3
"""Retries as frameworks build them out of dead-lettering: Spring's loop of two queues with a parking lot, and the exchanges
of Sneakers' handler Maxretry. Both count by the header x-death."""
import base64
import json
import time
import uuid

import harness
import pika_blocking_test

pika = pika_blocking_test.pika

WAIT = 0.15  # seconds between two attempts


class RetryTest(pika_blocking_test.PikaTest):
    def setUp(self):
        super().setUp()
        self.work = f'retry.{uuid.uuid4().hex[:8]}'
        self.attempts = []  # time and body of each

    def queue(self, name, arguments=None):
        self.channel.queue_declare(name, durable=True, arguments=arguments)
        self.addCleanup(lambda: self.connect().channel().queue_delete(name))

    def exchange(self, name, kind):
        self.channel.exchange_declare(name, kind, durable=True)
        self.addCleanup(lambda: self.connect().channel().exchange_delete(name))

    def listen(self, handle):
        def on_message(_channel, method, properties, body):
            self.attempts.append((time.monotonic(), body))
            handle(method, properties, body)
        self.channel.basic_consume(self.work, on_message)

    def take(self, queue):
        """The next message of the queue; the consumer works meanwhile."""
        def arrived():
            self.connection.process_data_events(0.01)
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            return (method, properties, body) if method else None
        return harness.eventually(arrived, f'a message in {queue}', every=0)

    def pauses(self):
        times = [at for at, _ in self.attempts]
        return [later - earlier for earlier, later in zip(times, times[1:])]

    def count(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.message_count


class SpringTest(RetryTest):
    """As Spring Cloud Stream binds a consumer with autoBindDlq, dlqTtl and dlqDeadLetterExchange=''."""

    ATTEMPTS = 4

    def setUp(self):
        super().setUp()
        self.dlx = self.work + '.DLX'
        self.waiting = self.work + '.dlq'
        self.parking = self.work + '.parkingLot'
        self.exchange(self.dlx, 'direct')
        self.queue(self.work, {'x-dead-letter-exchange': self.dlx, 'x-dead-letter-routing-key': self.work})
        self.queue(self.waiting, {'x-message-ttl': int(WAIT * 1000), 'x-dead-letter-exchange': '',
                                  'x-dead-letter-routing-key': self.work})
        self.queue(self.parking)
        self.channel.queue_bind(self.waiting, self.dlx, self.work)

    def fail(self, method, properties, body):
        """x-death[0] is the latest: the wait of the attempt before."""
        deaths = (properties.headers or {}).get('x-death')
        if deaths:
            self.assertEqual([(death['queue'], death['reason'], death['exchange']) for death in deaths],
                             [(self.waiting, 'expired', self.dlx), (self.work, 'rejected', '')])
            self.assertEqual(deaths[0]['routing-keys'], [self.work])
            self.assertEqual(deaths[0]['count'], deaths[1]['count'])
        if deaths and deaths[0]['count'] == self.ATTEMPTS - 1:
            self.channel.basic_publish('', self.parking, body, properties)
            self.channel.basic_ack(method.delivery_tag)
        else:
            self.channel.basic_reject(method.delivery_tag, requeue=False)

    def test_a_message_that_always_fails_is_parked_after_the_last_attempt(self):
        self.listen(self.fail)
        self.channel.basic_publish('', self.work, b'job', pika.BasicProperties(delivery_mode=2, message_id='1',
                                                                               headers={'k': 'v'}))
        _, properties, body = self.take(self.parking)
        self.assertEqual((body, properties.message_id, properties.delivery_mode, properties.headers['k']),
                         (b'job', '1', 2, 'v'))
        self.assertEqual(len(self.attempts), self.ATTEMPTS)
        for pause in self.pauses():
            self.assertGreaterEqual(pause, WAIT - 0.005)
        self.assertEqual((self.count(self.work), self.count(self.waiting)), (0, 0))

    def test_one_that_succeeds_at_last_ends_there(self):
        def handle(method, properties, body):
            if len([1 for _, seen in self.attempts if seen == body]) == 2:
                self.channel.basic_ack(method.delivery_tag)
            else:
                self.fail(method, properties, body)
        self.listen(handle)
        for number in range(50):
            self.channel.basic_publish('', self.work, str(number).encode(), pika.BasicProperties(delivery_mode=2))

        def done():
            self.connection.process_data_events(0.01)
            return len(self.attempts) == 100
        harness.eventually(done, '100 attempts', every=0)
        self.assertEqual([body for _, body in self.attempts[:50]], [body for _, body in self.attempts[50:]])  # in order
        self.assertEqual((self.count(self.work), self.count(self.waiting), self.count(self.parking)), (0, 0, 0))

    def test_the_loop_goes_on_over_a_restart(self):
        self.needs_own_broker()
        self.channel.confirm_delivery()
        self.channel.basic_publish('', self.work, b'job', pika.BasicProperties(delivery_mode=2))
        method = self.first()
        self.channel.basic_reject(method.delivery_tag, requeue=False)
        harness.eventually(lambda: self.count(self.waiting) == 1 or self.count(self.work) == 1, 'the message to wait')
        self.broker.restart()
        self.connection = self.connect()
        self.channel = self.connection.channel()
        self.listen(self.fail)
        _, properties, body = self.take(self.parking)
        self.assertEqual((body, properties.headers['x-death'][1]['count'], len(self.attempts)),
                         (b'job', self.ATTEMPTS - 1, self.ATTEMPTS - 1))

    def first(self):
        """The delivery of the message in the work queue, by basic.get."""
        return harness.eventually(lambda: self.channel.basic_get(self.work)[0], 'the message')


class SneakersTest(RetryTest):
    """As Sneakers::Handlers::Maxretry declares and decides."""

    MAX_RETRIES = 3

    def setUp(self):
        super().setUp()
        self.retry, self.error, self.requeue = (self.work + end for end in ('-retry', '-error', '-retry-requeue'))
        self.exchange(self.work + '.x', 'topic')
        for name in (self.retry, self.error, self.requeue):
            self.exchange(name, 'topic')
        self.queue(self.retry, {'x-dead-letter-exchange': self.requeue, 'x-message-ttl': int(WAIT * 1000)})
        self.channel.queue_bind(self.retry, self.retry, '#')
        self.queue(self.error)
        self.channel.queue_bind(self.error, self.error, '#')
        self.queue(self.work, {'x-dead-letter-exchange': self.retry})
        self.channel.queue_bind(self.work, self.work + '.x', 'orders.*')
        self.channel.queue_bind(self.work, self.requeue, '#')

    def failure_count(self, headers):
        """Maxretry: failure_count."""
        deaths = [death for death in (headers or {}).get('x-death') or [] if death['queue'] == self.work]
        return sum(death['count'] for death in deaths)

    def handle_retry(self, method, properties, body):
        """Maxretry: handle_retry."""
        attempt = self.failure_count(properties.headers) + 1
        if attempt <= self.MAX_RETRIES:
            self.channel.basic_reject(method.delivery_tag, requeue=False)
            return
        data = {'error': 'reject', 'num_attempts': attempt, 'payload': base64.b64encode(body).decode()}
        self.channel.basic_publish(self.error, method.routing_key, json.dumps(data).encode())
        self.channel.basic_ack(method.delivery_tag)

    def test_a_job_is_tried_again_and_then_published_as_an_error(self):
        self.listen(self.handle_retry)
        self.channel.basic_publish(self.work + '.x', 'orders.new', b'job', pika.BasicProperties(delivery_mode=2))
        method, _, body = self.take(self.error)
        told = json.loads(body)
        self.assertEqual((method.exchange, method.routing_key), (self.error, 'orders.new'))
        self.assertEqual((told['num_attempts'], base64.b64decode(told['payload'])), (self.MAX_RETRIES + 1, b'job'))
        self.assertEqual(len(self.attempts), self.MAX_RETRIES + 1)
        for pause in self.pauses():
            self.assertGreaterEqual(pause, WAIT - 0.005)
        self.assertEqual((self.count(self.work), self.count(self.retry)), (0, 0))

    def test_every_queue_of_an_exchange_counts_its_own_failures(self):
        other = self.work + '.other'
        self.queue(other)
        self.channel.queue_bind(other, self.work + '.x', 'orders.#')
        failures = []

        def handle(method, properties, body):
            failures.append(self.failure_count(properties.headers))
            self.handle_retry(method, properties, body)
        self.listen(handle)
        self.channel.basic_publish(self.work + '.x', 'orders.new', b'job')
        self.take(self.error)
        self.assertEqual(failures, list(range(self.MAX_RETRIES + 1)))
        _, properties, body = self.take(other)
        self.assertEqual((body, properties.headers), (b'job', None))
        self.assertEqual(self.count(other), 0)

    def test_an_explicit_requeue_does_not_count(self):
        def handle(method, properties, body):
            if len(self.attempts) <= 2:
                self.channel.basic_reject(method.delivery_tag, requeue=True)
            else:
                self.handle_retry(method, properties, body)
        self.listen(handle)
        self.channel.basic_publish(self.work + '.x', 'orders.new', b'job')
        self.take(self.error)
        self.assertEqual(len(self.attempts), self.MAX_RETRIES + 3)


if __name__ == '__main__':
    harness.main()
