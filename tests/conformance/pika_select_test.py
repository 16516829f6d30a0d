#!/usr/bin/python3
"""pika's SelectConnection: the same broker seen by an event loop, many operations in flight at once.

A test is a generator. `result = yield start` calls start(done) on the loop and resumes with what was given to done.
"""
import harness

pika = harness.require('pika', 'python3-pika')
from pika import BasicProperties, exceptions  # noqa: E402


class Script:
    """Runs one generator on a SelectConnection's loop."""

    def __init__(self, broker, steps, parameters):
        self.failure = None
        self.closed_with = None
        self.waiting_for_close = None
        self.steps = steps
        self.connection = pika.SelectConnection(
            pika.ConnectionParameters(broker.host, broker.port, **parameters), on_open_callback=self.on_open,
            on_open_error_callback=self.on_open_error, on_close_callback=self.on_close)
        self.connection.ioloop.call_later(harness.DEADLINE, self.on_deadline)
        self.connection.ioloop.start()
        self.connection.ioloop.close()
        if self.failure:
            raise self.failure

    def on_open(self, connection):
        self.generator = self.steps(self)
        self.advance(None)

    def advance(self, result):
        try:
            step = self.generator.send(result)
            once = Once(lambda value=None, *more: self.connection.ioloop.add_callback_threadsafe(
                lambda: self.advance((value, *more) if more else value)))
            step(once)
        except StopIteration:
            self.finish(None)
        except BaseException as error:
            self.finish(error)

    def finish(self, failure):
        self.failure = self.failure or failure
        if self.connection.is_open:
            self.connection.close()
        elif self.connection.is_closed:
            self.connection.ioloop.stop()

    def on_open_error(self, _connection, error):
        self.failure = error
        self.connection.ioloop.stop()

    def on_close(self, _connection, reason):
        self.closed_with = reason
        if self.waiting_for_close:
            done, self.waiting_for_close = self.waiting_for_close, None
            done(reason)
        else:
            if not isinstance(reason, exceptions.ConnectionClosedByClient):
                self.failure = self.failure or reason
            self.connection.ioloop.stop()

    def on_deadline(self):
        self.failure = self.failure or AssertionError(f'the script did not end within {harness.DEADLINE:g} s')
        self.connection.ioloop.stop()

    # -- steps

    def channel(self):
        return lambda done: self.connection.channel(on_open_callback=done)

    def closed(self, action):
        """Yields the reason with which the broker closes the connection after the action."""
        def start(done):
            self.waiting_for_close = done
            action()
        return start


class Once:
    """A callback that only counts the first time: pika calls some of them again for later events."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *arguments):
        call, self.call = self.call, lambda *_: None
        call(*arguments)


def no_steps(_script):
    yield from ()


class SelectTest(harness.BrokerTest):
    def run_script(self, steps, **parameters):
        return Script(self.broker, steps, {'heartbeat': 0, **parameters})

    def test_connects_and_closes(self):
        script = self.run_script(no_steps)
        self.assertIsInstance(script.closed_with, exceptions.ConnectionClosedByClient)

    def test_a_wrong_password_is_reported_to_the_open_error_callback(self):
        with self.assertRaises(exceptions.AMQPConnectionError) as caught:
            self.run_script(no_steps, credentials=pika.PlainCredentials('guest', 'wrong'))
        self.assertIn('403', str(caught.exception))

    def test_an_unknown_vhost_is_reported_to_the_open_error_callback(self):
        with self.assertRaises(exceptions.AMQPConnectionError) as caught:
            self.run_script(no_steps, virtual_host='no-such-vhost')
        self.assertIn('vhost no-such-vhost not found', str(caught.exception))

    def test_publishes_with_confirms_and_consumes_in_order(self):
        count, acked, received = 1000, [], []

        def steps(script):
            channel = yield script.channel()
            queue = (yield lambda done: channel.queue_declare('', exclusive=True, callback=done)).method.queue
            yield lambda done: channel.confirm_delivery(acked.append, callback=done)

            def consume(done):
                def on_message(_channel, method, _properties, body):
                    received.append(int(body))
                    channel.basic_ack(method.delivery_tag)
                    if len(received) == count:
                        done()
                channel.basic_consume(queue, on_message)
                for number in range(count):
                    channel.basic_publish('', queue, str(number))
            yield consume
            yield self.until(script, lambda: self.highest(acked) == count)
        self.run_script(steps)
        self.assertEqual(received, list(range(count)))
        self.assertEqual({type(frame.method).__name__ for frame in acked}, {'Ack'})

    @staticmethod
    def highest(frames):
        """How many publishes are confirmed, counting what `multiple` covers."""
        settled = set()
        for frame in frames:
            tag = frame.method.delivery_tag
            settled |= set(range(1, tag + 1)) if frame.method.multiple else {tag}
        return len(settled)

    @staticmethod
    def until(script, condition):
        def start(done):
            def look():
                if condition():
                    done()
                else:
                    script.connection.ioloop.call_later(0.01, look)
            look()
        return start

    def test_pipelined_declarations_are_answered_in_order(self):
        names = [self.name(str(number)) for number in range(100)]
        answered = []

        def steps(script):
            channel = yield script.channel()

            def start(done):
                def on_declared(frame):
                    answered.append(frame.method.queue)
                    if len(answered) == len(names):
                        done()
                for name in names:
                    channel.queue_declare(name, exclusive=True, callback=on_declared)
            yield start
        self.run_script(steps)
        self.assertEqual(answered, names)

    def test_a_channel_error_reports_its_code_and_the_connection_goes_on(self):
        reasons = []

        def steps(script):
            channel = yield script.channel()

            def start(done):
                channel.add_on_close_callback(lambda _channel, reason: (reasons.append(reason), done()))
                channel.queue_declare('conformance.never-declared', passive=True)
            yield start
            again = yield lambda done: script.connection.channel(channel.channel_number, on_open_callback=done)
            yield lambda done: again.queue_declare('', exclusive=True, callback=done)
        self.run_script(steps)
        self.assertEqual([(reason.reply_code, reason.reply_text) for reason in reasons],
                         [(404, "NOT_FOUND - no queue 'conformance.never-declared' in vhost '/'")])

    def test_a_connection_error_reports_its_code(self):
        def steps(script):
            channel = yield script.channel()
            reason = yield script.closed(lambda: channel.basic_qos(prefetch_size=1))
            self.assertEqual((reason.reply_code, reason.reply_text), (540, 'NOT_IMPLEMENTED - prefetch_size!=0 (1)'))
        self.run_script(steps)

    def test_a_mandatory_message_without_route_is_returned(self):
        def steps(script):
            channel = yield script.channel()

            def start(done):
                channel.add_on_return_callback(lambda _channel, method, properties, body: done(method, properties, body))
                channel.basic_publish('', self.name(), b'nobody', BasicProperties(message_id='m'), mandatory=True)
            method, properties, body = yield start
            self.assertEqual((method.reply_code, method.reply_text, properties.message_id, body),
                             (312, 'NO_ROUTE', 'm', b'nobody'))
        self.run_script(steps)

    def test_a_consumer_is_told_when_its_queue_is_deleted(self):
        def steps(script):
            channel = yield script.channel()
            queue = (yield lambda done: channel.queue_declare('', exclusive=True, callback=done)).method.queue

            def start(done):
                channel.add_on_cancel_callback(done)
                channel.basic_consume(queue, lambda *_: None, consumer_tag='mine',
                                      callback=lambda _: channel.queue_delete(queue))
            frame = yield start
            self.assertEqual(frame.method.consumer_tag, 'mine')
        self.run_script(steps)

    def test_100_channels_open_at_once(self):
        def steps(script):
            channels = []

            def start(done):
                for _ in range(100):
                    script.connection.channel(on_open_callback=lambda channel: (
                        channels.append(channel), len(channels) == 100 and done()))
            yield start
            self.assertEqual(sorted(channel.channel_number for channel in channels), list(range(1, 101)))
        self.run_script(steps)

    def test_transactions(self):
        def steps(script):
            channel = yield script.channel()
            queue = (yield lambda done: channel.queue_declare('', exclusive=True, callback=done)).method.queue
            yield lambda done: channel.tx_select(done)
            channel.basic_publish('', queue, b'one')
            yield lambda done: channel.tx_rollback(done)
            channel.basic_publish('', queue, b'two')
            yield lambda done: channel.tx_commit(done)
            _channel, method, _properties, body = yield lambda done: channel.basic_get(queue, done, auto_ack=True)
            self.assertEqual((body, method.message_count), (b'two', 0))
        self.run_script(steps)

    def test_closing_while_deliveries_pour_in(self):
        def steps(script):
            channel = yield script.channel()
            queue = (yield lambda done: channel.queue_declare('', exclusive=True, callback=done)).method.queue
            for _ in range(500):
                channel.basic_publish('', queue, b'x' * 1000)
            yield lambda done: channel.basic_consume(queue, lambda *_: done())
        self.assertIsInstance(self.run_script(steps).closed_with, exceptions.ConnectionClosedByClient)

    def test_a_small_frame_size_is_honoured(self):
        body = bytes(range(256)) * 400

        def steps(script):
            channel = yield script.channel()
            queue = (yield lambda done: channel.queue_declare('', exclusive=True, callback=done)).method.queue
            channel.basic_publish('', queue, body)
            got = yield lambda done: channel.basic_get(queue, done, auto_ack=True)
            self.assertEqual(got[3], body)
        self.run_script(steps, frame_max=4096)


if __name__ == '__main__':
    harness.main()
