#!/usr/bin/python3
"""pika's BlockingConnection against the broker: every behaviour a Python program can see, one test per rule."""
import contextlib
import datetime
import decimal
import os
import threading
import time

import harness
import wire

pika = harness.require('pika', 'python3-pika')
from pika import BasicProperties, exceptions  # noqa: E402


def cut(text):
    """A reply text as a shortstr can carry it."""
    return text if len(text) <= 255 else text[:252] + '...'


class Inbox:
    """What a consumer received, in order."""

    def __init__(self, channel, queue, **options):
        self.channel = channel
        self.deliveries = []
        self.tag = channel.basic_consume(queue, self.on_message, **options)

    def on_message(self, _channel, method, properties, body):
        self.deliveries.append((method, properties, body))

    def wait(self, count):
        """Waits until `count` messages have come; returns their bodies."""
        def enough():
            self.channel.connection.process_data_events(0.01)
            return len(self.deliveries) >= count
        harness.eventually(enough, f'{count} deliveries, there are {len(self.deliveries)}', every=0)
        return self.bodies()

    def wait_and_no_more(self, count):
        """As wait; then gives the broker the chance to send too many."""
        self.wait(count)
        self.channel.connection.process_data_events(0.15)
        return self.bodies()

    def bodies(self):
        return [body for _, _, body in self.deliveries]

    def tags(self):
        return [method.delivery_tag for method, _, _ in self.deliveries]

    def redelivered(self):
        return [method.redelivered for method, _, _ in self.deliveries]


class PikaTest(harness.BrokerTest):
    def connect(self, **parameters):
        parameters.setdefault('heartbeat', 0)
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, **parameters))
        self.addCleanup(self.disconnect, connection)
        return connection

    @staticmethod
    def disconnect(connection):
        with contextlib.suppress(exceptions.AMQPConnectionError):  # some tests end the broker
            if connection.is_open:
                connection.close()

    def setUp(self):
        self.connection = self.connect()
        self.channel = self.connection.channel()

    def queue(self, what='q', channel=None, **options):
        """An exclusive queue, unless the options say otherwise; then it is deleted at the end."""
        name = self.name(what)
        if not options.keys() & {'durable', 'auto_delete', 'exclusive'}:
            options['exclusive'] = True
        (channel or self.channel).queue_declare(name, **options)
        if not options.get('exclusive'):
            self.addCleanup(lambda: self.once(lambda c: c.queue_delete(name)))
        return name

    def exchange(self, kind, what='x', **options):
        name = self.name(what)
        self.channel.exchange_declare(name, kind, **options)
        self.addCleanup(lambda: self.once(lambda c: c.exchange_delete(name)))
        return name

    def once(self, action):
        """Runs the action on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return action(connection.channel())

    def publish(self, queue, *bodies, channel=None, exchange='', properties=None):
        for body in bodies:
            (channel or self.channel).basic_publish(exchange, queue, body, properties)

    def get(self, queue, auto_ack=True, channel=None):
        """The next message; it must come."""
        channel = channel or self.channel
        got = harness.eventually(lambda: (lambda g: g[0] and g)(channel.basic_get(queue, auto_ack)), f'a message in {queue}')
        return got

    def drain(self, queue, channel=None):
        """All bodies that are ready now."""
        bodies = []
        while True:
            method, _, body = (channel or self.channel).basic_get(queue, True)
            if method is None:
                return bodies
            bodies.append(body)

    def assert_ready(self, queue, count):
        """A declare sees every publish made before it on the same channel. (In RabbitMQ it may overtake them.)"""
        if harness.is_rabbitmq_3(self.broker):
            harness.eventually(lambda: self.ready(queue) == count, f'{count} messages in {queue}')
        self.assertEqual(self.ready(queue), count)

    def ready(self, queue, channel=None):
        return (channel or self.channel).queue_declare(queue, passive=True).method.message_count

    @contextlib.contextmanager
    def channel_error(self, code, text):
        """The block must make the broker close the channel with exactly this; then the same number is opened anew."""
        number = self.channel.channel_number
        with self.assertRaises(exceptions.ChannelClosedByBroker) as caught:
            yield
        self.assertEqual((caught.exception.reply_code, caught.exception.reply_text), (code, text))
        self.channel = self.connection.channel(number)

    @contextlib.contextmanager
    def connection_error(self, code, text):
        with self.assertRaises(exceptions.ConnectionClosedByBroker) as caught:
            yield
        self.assertEqual((caught.exception.reply_code, caught.exception.reply_text), (code, text))
        self.connection = self.connect()
        self.channel = self.connection.channel()


class Connecting(PikaTest):
    def test_the_broker_announces_the_capabilities_clients_look_for(self):
        properties = harness.server_properties(self.broker)
        for capability in ('publisher_confirms', 'exchange_exchange_bindings', 'basic.nack', 'consumer_cancel_notify',
                           'connection.blocked', 'consumer_priorities', 'authentication_failure_close',
                           'per_consumer_qos', 'direct_reply_to'):
            self.assertIs(properties['capabilities'].get(capability), True, capability)
        for key in ('product', 'version', 'platform', 'cluster_name', 'copyright', 'information'):
            self.assertIsInstance(properties[key], str)
        self.assertRegex(properties['version'], r'^\d+\.\d+\.\d+')
        self.assertTrue(self.connection.basic_nack_supported)
        self.assertTrue(self.connection.publisher_confirms_supported)

    def test_a_wrong_password_is_answered_with_403(self):
        with self.assertRaises(exceptions.ProbableAuthenticationError) as caught:
            self.connect(credentials=pika.PlainCredentials('guest', 'wrong'))
        self.assertIn('ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. '
                      'For details see the broker logfile.', str(caught.exception))

    def test_an_unknown_user_is_answered_like_a_wrong_password(self):
        with self.assertRaises(exceptions.ProbableAuthenticationError) as caught:
            self.connect(credentials=pika.PlainCredentials('nobody-known', 'guest'))
        self.assertIn('403', str(caught.exception))

    def test_an_unknown_vhost_is_answered_with_530(self):
        with self.assertRaises(exceptions.ProbableAccessDeniedError) as caught:
            self.connect(virtual_host='no-such-vhost')
        self.assertIn('NOT_ALLOWED - vhost no-such-vhost not found', str(caught.exception))

    def test_a_url_with_an_encoded_vhost_connects(self):
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url()))
        self.assertTrue(connection.is_open)
        connection.close()

    def test_200_channels_on_one_connection_work_side_by_side(self):
        channels = [self.connection.channel() for _ in range(200)]
        queue = self.queue()
        for index, channel in enumerate(channels):
            channel.basic_publish('', queue, str(index))
        # Each publish went over a channel of its own: order among them is not promised, presence is.
        for channel in channels:
            self.ready(queue, channel)
        self.assertEqual(sorted(map(int, self.drain(queue))), list(range(200)))
        for channel in channels:
            channel.close()
        self.assertTrue(self.connection.is_open)

    def test_a_connection_closes_while_it_consumes(self):
        queue = self.queue(auto_delete=True)
        feeder = self.connect().channel()
        inbox = Inbox(self.channel, queue)
        self.publish(queue, *[b'x' * 1000] * 500, channel=feeder)
        inbox.wait(10)
        self.connection.close()
        self.assertTrue(self.connection.is_closed)
        harness.eventually(lambda: not self.exists(queue), 'the auto-delete queue to go with its consumer')

    def exists(self, queue):
        try:
            self.once(lambda channel: channel.queue_declare(queue, passive=True))
            return True
        except exceptions.ChannelClosedByBroker as error:
            self.assertEqual(error.reply_code, 404)
            return False

    def test_many_threads_each_with_a_connection(self):
        failures = []

        def work(number):
            try:
                connection = self.connect()
                channel = connection.channel()
                queue = channel.queue_declare('', exclusive=True).method.queue
                for index in range(50):
                    channel.basic_publish('', queue, f'{number}/{index}')
                inbox = Inbox(channel, queue, auto_ack=True)
                self.assertEqual(inbox.wait(50), [f'{number}/{index}'.encode() for index in range(50)])
                connection.close()
            except Exception as error:  # reported by the main thread
                failures.append(f'thread {number}: {error!r}')
        threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_heartbeats_keep_an_idle_connection_open(self):
        connection = self.connect(heartbeat=1)
        channel = connection.channel()
        connection.process_data_events(3.5)
        self.assertTrue(connection.is_open)
        channel.queue_declare('', exclusive=True)

    def test_the_broker_sends_heartbeats_and_drops_a_silent_peer(self):
        with wire.Wire(*self.broker.address()) as peer:
            peer.open(heartbeat=1)
            start = time.monotonic()
            octets = peer.read_end(deadline=10)
            elapsed = time.monotonic() - start
        heartbeat = wire.frame(wire.HEARTBEAT, 0, b'')
        self.assertEqual(octets, heartbeat * (len(octets) // len(heartbeat)), 'nothing but heartbeats, no close')
        self.assertGreaterEqual(len(octets) // len(heartbeat), 2)
        self.assertTrue(1.5 <= elapsed <= 5, f'dropped after {elapsed:.2f} s; expected two to three intervals of 1 s')


class Declaring(PikaTest):
    def test_a_server_named_queue_gets_a_generated_name(self):
        first = self.channel.queue_declare('', exclusive=True).method.queue
        second = self.channel.queue_declare('', exclusive=True).method.queue
        self.assertRegex(first, r'^amq\.gen-[A-Za-z0-9_-]{22}$')
        self.assertNotEqual(first, second)

    def test_declare_ok_tells_ready_messages_and_consumers(self):
        queue = self.queue()
        self.publish(queue, b'a', b'b')
        self.assert_ready(queue, 2)
        reply = self.channel.queue_declare(queue, exclusive=True).method
        self.assertEqual((reply.queue, reply.message_count, reply.consumer_count), (queue, 2, 0))
        inbox = Inbox(self.channel, queue)
        inbox.wait(2)
        reply = self.channel.queue_declare(queue, exclusive=True).method
        self.assertEqual((reply.message_count, reply.consumer_count), (0, 1))

    def test_a_passive_declare_of_a_missing_queue_is_404(self):
        name = self.name()
        with self.channel_error(404, f"NOT_FOUND - no queue '{name}' in vhost '/'"):
            self.channel.queue_declare(name, passive=True)

    def test_a_passive_declare_of_a_missing_exchange_is_404(self):
        name = self.name()
        with self.channel_error(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'"):
            self.channel.exchange_declare(name, passive=True)

    def test_a_passive_declare_ignores_flags_and_arguments(self):
        queue = self.queue(durable=True)
        self.assertEqual(self.channel.queue_declare(queue, passive=True, durable=False,
                                                    arguments={'x-max-length': 1}).method.queue, queue)

    def test_redeclaring_a_queue_differently_is_406(self):
        queue = self.queue(durable=True)
        start = f"for queue '{queue}' in vhost '/'"
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'durable' {start}: "
                                     "received 'false' but current is 'true'"):
            self.channel.queue_declare(queue, durable=False)
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'auto_delete' {start}: "
                                     "received 'true' but current is 'false'"):
            self.channel.queue_declare(queue, durable=True, auto_delete=True)
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' {start}: "
                                     "received the value '5' of type 'signedint' but current is none"):
            self.channel.queue_declare(queue, durable=True, arguments={'x-message-ttl': 5})

    def test_redeclaring_with_another_argument_value_is_406(self):
        queue = self.queue(exclusive=True, arguments={'x-message-ttl': 5000, 'x-max-length': 10})
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{queue}' in "
                                     "vhost '/': received '6000' but current is '5000'"):
            self.channel.queue_declare(queue, exclusive=True, arguments={'x-message-ttl': 6000, 'x-max-length': 10})
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{queue}' in "
                                     "vhost '/': received none but current is the value '10' of type 'signedint'"):
            self.channel.queue_declare(queue, exclusive=True, arguments={'x-message-ttl': 5000})

    def test_integer_arguments_of_another_width_are_equal_and_unknown_ones_ignored(self):
        queue = self.queue(exclusive=True, arguments={'x-message-ttl': 5000})
        self.channel.queue_declare(queue, exclusive=True,
                                   arguments={'x-message-ttl': pika_long(5000), 'x-conformance-unknown': 'ignored'})

    def test_invalid_queue_arguments_are_406(self):
        for arguments, detail in (
                ({'x-message-ttl': -1}, '{value_negative,-1}'), ({'x-expires': 0}, '{value_zero,0}'),
                ({'x-max-length': 'many'}, '"expected integer, got longstr"'),
                ({'x-overflow': 'explode'}, 'invalid_overflow'),
                ({'x-dead-letter-routing-key': 'k'}, 'routing_key_but_no_dlx_defined'),
                ({'x-max-priority': 256}, '{max_value_exceeded,256}')):
            with self.subTest(arguments=arguments):
                name, (key,) = self.name(), arguments
                with self.channel_error(406, f"PRECONDITION_FAILED - invalid arg '{key}' for queue '{name}' in "
                                             f"vhost '/': {detail}"):
                    self.channel.queue_declare(name, exclusive=True, arguments=arguments)

    def test_a_reply_text_too_long_for_a_shortstr_is_cut(self):
        name = 'n' * 250
        text = f"NOT_FOUND - no queue '{name}' in vhost '/'"
        with self.channel_error(404, text[:252] + '...'):
            self.channel.queue_declare(name, passive=True)

    def test_a_reserved_name_is_403(self):
        with self.channel_error(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"):
            self.channel.queue_declare('amq.mine')
        with self.channel_error(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"):
            self.channel.exchange_declare('amq.mine', 'direct')

    def test_redeclaring_an_exchange_differently_is_406(self):
        exchange = self.exchange('direct', durable=True)
        place = f"for exchange '{exchange}' in vhost '/'"
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'type' {place}: "
                                     "received 'fanout' but current is 'direct'"):
            self.channel.exchange_declare(exchange, 'fanout', durable=True)
        with self.channel_error(406, f"PRECONDITION_FAILED - inequivalent arg 'durable' {place}: "
                                     "received 'false' but current is 'true'"):
            self.channel.exchange_declare(exchange, 'direct', durable=False)

    def test_an_unknown_exchange_type_is_refused(self):
        name = self.name()
        if harness.is_rabbitmq_3(self.broker):
            with self.connection_error(503, "COMMAND_INVALID - unknown exchange type 'no-such-type'"):
                self.channel.exchange_declare(name, 'no-such-type')
        else:
            with self.channel_error(406, "PRECONDITION_FAILED - unknown exchange type 'no-such-type'"):
                self.channel.exchange_declare(name, 'no-such-type')

    def test_predeclared_exchanges_exist(self):
        for name in ('amq.direct', 'amq.fanout', 'amq.topic', 'amq.headers', 'amq.match', 'amq.rabbitmq.trace'):
            self.channel.exchange_declare(name, passive=True)

    def test_the_default_exchange_cannot_be_touched(self):
        queue = self.queue()
        refused = (403, 'ACCESS_REFUSED - operation not permitted on the default exchange')
        with self.channel_error(*refused):
            self.channel.exchange_declare('', 'direct')
        with self.channel_error(*refused):
            self.channel.exchange_delete('')
        with self.channel_error(*refused):
            self.channel.queue_bind(queue, '', 'key')

    def test_a_system_exchange_cannot_be_deleted(self):
        with self.channel_error(403, "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed"):
            self.channel.exchange_delete('amq.topic')

    def test_another_connection_cannot_use_an_exclusive_queue(self):
        queue = self.queue()
        other = self.connect()
        locked = cut(f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be "
                     'originally declared on another connection or the exclusive property value does not match that of '
                     'the original declaration.')
        for action in (lambda c: c.queue_declare(queue, exclusive=True), lambda c: c.queue_declare(queue, passive=True),
                       lambda c: c.basic_consume(queue, lambda *_: None), lambda c: c.basic_get(queue),
                       lambda c: c.queue_purge(queue), lambda c: c.queue_delete(queue),
                       lambda c: c.queue_bind(queue, 'amq.direct', 'k')):
            with self.assertRaises(exceptions.ChannelClosedByBroker) as caught:
                action(other.channel())
            self.assertEqual((caught.exception.reply_code, caught.exception.reply_text), (405, locked))
        other.channel().basic_publish('', queue, b'publishing is allowed')
        self.assertEqual(self.get(queue)[2], b'publishing is allowed')

    def test_an_exclusive_queue_is_gone_when_its_connection_closed(self):
        other = self.connect()
        queue = other.channel().queue_declare(self.name(), exclusive=True).method.queue
        other.close()
        with self.channel_error(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
            self.channel.queue_declare(queue, passive=True)

    def test_an_auto_delete_queue_goes_with_its_last_consumer(self):
        queue = self.queue(auto_delete=True)
        first, second = Inbox(self.channel, queue), Inbox(self.channel, queue)
        self.channel.basic_cancel(first.tag)
        self.ready(queue)
        self.channel.basic_cancel(second.tag)
        with self.channel_error(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
            self.ready(queue)

    def test_an_auto_delete_exchange_goes_with_its_last_binding(self):
        exchange, queue = self.exchange('fanout', auto_delete=True), self.queue()
        self.channel.queue_bind(queue, exchange)
        self.channel.queue_unbind(queue, exchange)
        with self.channel_error(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
            self.channel.exchange_declare(exchange, passive=True)

    def test_purge_counts_and_empties(self):
        queue = self.queue()
        self.publish(queue, b'1', b'2', b'3')
        unacked, _, _ = self.get(queue, auto_ack=False)
        self.assert_ready(queue, 2)
        self.assertEqual(self.channel.queue_purge(queue).method.message_count, 2)
        self.assertEqual(self.ready(queue), 0)
        self.channel.basic_nack(unacked.delivery_tag)
        self.assertEqual(self.get(queue)[2], b'1', 'an unacked message is not purged')

    def test_delete_tells_the_count_and_deleting_again_succeeds(self):
        queue = self.queue()
        self.publish(queue, b'1', b'2')
        self.assert_ready(queue, 2)
        self.assertEqual(self.channel.queue_delete(queue).method.message_count, 2)
        self.assertEqual(self.channel.queue_delete(queue).method.message_count, 0)
        self.channel.exchange_delete(self.name())

    def test_delete_respects_if_empty_and_if_unused(self):
        queue, exchange = self.queue(), self.exchange('direct')
        self.publish(queue, b'1')
        self.assert_ready(queue, 1)
        with self.channel_error(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
            self.channel.queue_delete(queue, if_empty=True)
        Inbox(self.channel, queue)
        other = self.connection.channel()
        with self.assertRaises(exceptions.ChannelClosedByBroker) as caught:
            other.queue_delete(queue, if_unused=True)
        self.assertEqual(caught.exception.reply_text, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use")
        self.channel.queue_bind(queue, exchange, 'k')
        with self.channel_error(406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"):
            self.channel.exchange_delete(exchange, if_unused=True)

    def test_an_error_on_one_channel_leaves_the_others_alone(self):
        other = self.connection.channel()
        queue = self.queue(channel=other)
        with self.assertRaises(exceptions.ChannelClosedByBroker):
            self.channel.queue_declare(self.name(), passive=True)
        self.publish(queue, b'still here', channel=other)
        self.assertEqual(self.get(queue, channel=other)[2], b'still here')

    def test_the_number_of_a_closed_channel_can_be_opened_again_and_again(self):
        number = self.channel.channel_number
        for _ in range(30):
            with self.assertRaises(exceptions.ChannelClosedByBroker):
                self.channel.queue_declare('conformance.never-declared', passive=True)
            self.channel = self.connection.channel(number)
        self.assertEqual(self.channel.channel_number, number)
        self.queue()


def pika_long(number):
    """pika encodes integers beyond 32 bits as tag l; smaller ones as I. Its `long` type forces l."""
    from pika.compat import long as pika_compat_long
    return pika_compat_long(number)


class PublishingAndGetting(PikaTest):
    def test_get_of_an_empty_queue_returns_nothing(self):
        self.assertEqual(self.channel.basic_get(self.queue()), (None, None, None))

    def test_get_tells_exchange_key_and_how_many_are_left(self):
        queue = self.queue()
        self.publish(queue, b'1', b'2', b'3')
        method, _, body = self.get(queue)
        self.assertEqual((method.exchange, method.routing_key, method.message_count, method.redelivered, body),
                         ('', queue, 2, False, b'1'))

    def test_bodies_of_every_size_arrive_unchanged(self):
        for frame_max in (4096, 131072):
            connection = self.connect(frame_max=frame_max)
            channel = connection.channel()
            queue = self.queue(channel=channel)
            sizes = [0, 1, frame_max - 9, frame_max - 8, frame_max - 7, 65 * 1024, 200_000]
            if frame_max == 131072:
                sizes.append(5 * 1024 * 1024)
            for size in sizes:
                with self.subTest(frame_max=frame_max, size=size):
                    body = os.urandom(size)
                    self.publish(queue, body, channel=channel)
                    self.assertEqual(self.get(queue, channel=channel)[2], body)
            connection.close()

    def test_a_client_with_small_frames_reads_what_one_with_large_frames_wrote(self):
        connection = self.connect(frame_max=4096)
        channel = connection.channel()
        queue = self.queue(channel=channel)
        body = os.urandom(300_000)
        self.publish(queue, body)
        self.assertEqual(self.get(queue, channel=channel)[2], body)

    def test_all_properties_are_kept(self):
        queue = self.queue()
        sent = BasicProperties(content_type='text/plain', content_encoding='utf-8', headers={'a': 1}, delivery_mode=2,
                               priority=7, correlation_id='corr-ü', reply_to='somewhere', expiration='60000',
                               message_id='id-1', timestamp=1234567890, type='kind', user_id='guest', app_id='app',
                               cluster_id='cluster')
        self.publish(queue, b'x', properties=sent)
        self.assertEqual(self.get(queue)[1], sent)

    def test_absent_and_empty_properties_stay_what_they_are(self):
        queue = self.queue()
        self.publish(queue, b'x', properties=BasicProperties())
        self.publish(queue, b'x', properties=BasicProperties(headers={}, correlation_id=''))
        self.assertIsNone(self.get(queue)[1].headers)
        properties = self.get(queue)[1]
        self.assertEqual((properties.headers, properties.correlation_id), ({}, ''))

    def test_header_values_of_every_type_are_kept(self):
        queue = self.queue()
        headers = {
            'bool': True, 'no': False, 'small': 5, 'negative': -5, 'int32': 2 ** 31 - 1, 'int64': 2 ** 62,
            'decimal': decimal.Decimal('123.45'), 'string': 'grüße', 'empty': '', 'octets': b'\x00\xff', 'void': None,
            'timestamp': datetime.datetime(2020, 1, 2, 3, 4, 5),  # pika 1.2 cannot write floats; see the next test
            'table': {'inner': {'deep': [1, 'two', None]}}, 'array': [1, 'two', True, [3, {'four': 4}], None],
            'empty table': {}, 'empty array': [], '': 'empty key', 'k' * 255: 'long key'}
        self.publish(queue, b'x', properties=BasicProperties(headers=headers))
        self.assertEqual(self.get(queue)[1].headers, headers)

    def test_header_tables_are_passed_on_octet_by_octet(self):
        values = {'t': b't\x01', 'b': b'b\xfb', 'B': b'B\xfb', 's': b's\xff\xfe', 'u': b'u\xff\xfe', 'I': b'I\xff\xff\xff\xfe',
                  'i': b'i\xff\xff\xff\xfe', 'l': b'l' + b'\xff' * 8, 'f': b'f\x3f\xc0\0\0', 'd': b'd\x3f\xf8' + b'\0' * 6,
                  'D': b'D\x02\0\0\x01\0', 'S': b'S\0\0\0\x02hi', 'T': b'T' + b'\0' * 7 + b'\x05',
                  'F': b'F' + wire.table({'x': 1}), 'A': b'A\0\0\0\x03b\x01V', 'x': b'x\0\0\0\x02\0\xff', 'V': b'V'}
        with wire.Wire(*self.broker.address()) as peer:
            peer.open().open_channel()
            peer.send(wire.queue_declare(1, '', exclusive=True))
            queue = peer.expect(50, 11).short()
            sent = wire.table(values)
            peer.send(wire.basic_publish(1, queue), wire.header(1, 0, flags=1 << 13, properties=sent),
                      wire.basic_get(1, queue))
            peer.expect(60, 71)
            received = peer.read_frame().payload[14:]
        self.assertEqual(received, sent)

    def test_publishing_to_a_missing_exchange_closes_the_channel_with_404(self):
        name = self.name()
        with self.channel_error(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'"):
            self.publish('k', b'x', exchange=name)
            self.queue()

    def test_an_invalid_expiration_is_406(self):
        for expiration, detail in (('abc', 'no_integer'), ('10s', '{leftover_string,"s"}'), ('-1', '{value_negative,-1}')):
            with self.channel_error(406, f"PRECONDITION_FAILED - invalid expiration '{expiration}': {detail}"):
                self.publish('k', b'x', properties=BasicProperties(expiration=expiration))
                self.queue()

    def test_a_foreign_user_id_is_406(self):
        with self.channel_error(406, "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"):
            self.publish('k', b'x', properties=BasicProperties(user_id='bob'))
            self.queue()

    def test_messages_expire(self):
        queue = self.queue(exclusive=True, arguments={'x-message-ttl': 50})
        self.publish(queue, b'short')
        harness.eventually(lambda: self.ready(queue) == 0, 'the message to expire')
        queue = self.queue()
        self.channel.confirm_delivery()
        self.publish(queue, b'short', properties=BasicProperties(expiration='50'))
        self.publish(queue, b'long')
        harness.eventually(lambda: self.ready(queue) == 1, 'the message to expire')
        self.assertEqual(self.drain(queue), [b'long'])

    def test_a_length_limit_drops_the_head_or_refuses(self):
        queue = self.queue(exclusive=True, arguments={'x-max-length': 2})
        self.publish(queue, b'1', b'2', b'3')
        self.assertEqual(self.drain(queue), [b'2', b'3'])
        queue = self.queue(exclusive=True, arguments={'x-max-length': 1, 'x-overflow': 'reject-publish'})
        channel = self.connection.channel()
        channel.confirm_delivery()
        channel.basic_publish('', queue, b'1')
        with self.assertRaises(exceptions.NackError):
            channel.basic_publish('', queue, b'2')

    def test_rejected_messages_go_to_the_dead_letter_exchange(self):
        dead = self.queue('dead')
        queue = self.queue('q', exclusive=True, arguments={'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead})
        self.publish(queue, b'bad', properties=BasicProperties(headers={'kept': 'yes'}, correlation_id='c'))
        self.channel.basic_reject(self.get(queue, auto_ack=False)[0].delivery_tag, requeue=False)
        harness.eventually(lambda: self.ready(dead) == 1, 'the dead letter')
        method, properties, body = self.get(dead)
        self.assertEqual((body, method.routing_key, properties.correlation_id, properties.headers['kept']),
                         (b'bad', dead, 'c', 'yes'))
        death = properties.headers['x-death'][0]
        self.assertEqual({key: death[key] for key in ('count', 'reason', 'queue', 'exchange', 'routing-keys')},
                         {'count': 1, 'reason': 'rejected', 'queue': queue, 'exchange': '', 'routing-keys': [queue]})
        self.assertIsInstance(death['time'], datetime.datetime)
        self.assertEqual((properties.headers['x-first-death-queue'], properties.headers['x-first-death-reason']),
                         (queue, 'rejected'))

    def test_priorities_are_served_highest_first(self):
        queue = self.queue(exclusive=True, arguments={'x-max-priority': 5})
        for priority in (None, 3, 5, 1, 9, 3):
            self.publish(queue, str(priority), properties=BasicProperties(priority=priority))
        self.assertEqual(self.drain(queue), [b'5', b'9', b'3', b'3', b'1', b'None'])


class Settling(PikaTest):
    def filled(self, count=5, channel=None):
        queue = self.queue(channel=channel)
        self.publish(queue, *[str(number) for number in range(count)], channel=channel)
        return queue

    def test_acked_messages_do_not_come_back(self):
        queue = self.filled()
        channel = self.connection.channel()
        for tag in range(1, 6):
            method, _, _ = self.get(queue, False, channel)
            self.assertEqual(method.delivery_tag, tag)
            channel.basic_ack(tag)
        channel.close()
        self.assertEqual(self.ready(queue), 0)

    def test_an_ack_of_multiple_settles_all_up_to_the_tag(self):
        queue = self.filled()
        channel = self.connection.channel()
        tags = [self.get(queue, False, channel)[0].delivery_tag for _ in range(5)]
        channel.basic_ack(tags[2], multiple=True)
        channel.close()
        self.assertEqual(self.drain(queue), [b'3', b'4'])

    def test_an_ack_of_tag_0_settles_everything(self):
        queue = self.filled()
        channel = self.connection.channel()
        for _ in range(5):
            self.get(queue, False, channel)
        channel.basic_ack(0, multiple=True)
        channel.close()
        self.assertEqual(self.drain(queue), [])

    def test_an_unknown_delivery_tag_is_406(self):
        with self.channel_error(406, 'PRECONDITION_FAILED - unknown delivery tag 82'):
            self.channel.basic_ack(82)
            self.queue()
        queue = self.filled(1)
        tag = self.get(queue, False)[0].delivery_tag
        self.channel.basic_ack(tag)
        with self.channel_error(406, f'PRECONDITION_FAILED - unknown delivery tag {tag}'):
            self.channel.basic_ack(tag)
            self.queue()

    def test_a_requeued_message_returns_to_its_old_place_marked_redelivered(self):
        queue = self.filled()
        tags = [self.get(queue, False)[0].delivery_tag for _ in range(3)]
        self.channel.basic_reject(tags[1], requeue=True)
        method, _, body = self.get(queue)
        self.assertEqual((body, method.redelivered), (b'1', True))
        self.channel.basic_nack(tags[2], requeue=True)
        self.channel.basic_nack(tags[0], requeue=True)
        got = [self.get(queue) for _ in range(4)]
        self.assertEqual([(body, method.redelivered) for method, _, body in got],
                         [(b'0', True), (b'2', True), (b'3', False), (b'4', False)])

    def test_nack_of_multiple_requeues_in_order(self):
        queue = self.filled()
        tags = [self.get(queue, False)[0].delivery_tag for _ in range(4)]
        self.channel.basic_nack(tags[2], multiple=True, requeue=True)
        self.assertEqual(self.drain(queue), [b'0', b'1', b'2', b'4'])

    def test_a_rejected_message_is_dropped(self):
        queue = self.filled(2)
        self.channel.basic_reject(self.get(queue, False)[0].delivery_tag, requeue=False)
        self.channel.basic_nack(self.get(queue, False)[0].delivery_tag, requeue=False)
        self.assertEqual(self.ready(queue), 0)

    def test_unacked_messages_return_when_the_channel_closes(self):
        queue = self.filled()
        channel = self.connection.channel()
        for _ in range(3):
            self.get(queue, False, channel)
        channel.close()
        got = [self.get(queue) for _ in range(5)]
        self.assertEqual([(int(body), method.redelivered) for method, _, body in got],
                         [(0, True), (1, True), (2, True), (3, False), (4, False)])

    def test_unacked_messages_return_when_the_connection_is_cut(self):
        queue = self.queue(durable=True)
        self.publish(queue, b'0', b'1')
        with wire.Wire(*self.broker.address()) as peer:
            peer.open().open_channel()
            peer.send(wire.basic_get(1, queue, no_ack=False))
            peer.expect(60, 71)
        harness.eventually(lambda: self.ready(queue) == 2, 'the unacked message to return')
        method, _, body = self.get(queue)
        self.assertEqual((body, method.redelivered), (b'0', True))

    def test_recover_redelivers_what_is_unacked(self):
        queue = self.filled(3)
        inbox = Inbox(self.channel, queue)
        inbox.wait(3)
        self.channel.basic_ack(inbox.tags()[0])
        self.channel.basic_recover(requeue=True)
        self.assertEqual(inbox.wait(5)[3:], [b'1', b'2'])
        self.assertEqual(inbox.redelivered(), [False] * 3 + [True] * 2)

    def test_recover_without_requeue_is_540(self):
        with self.connection_error(540, 'NOT_IMPLEMENTED - requeue=false'):
            self.channel.basic_recover(requeue=False)


class Consuming(PikaTest):
    def test_a_consumer_gets_what_was_there_and_what_comes_in_order(self):
        queue = self.queue()
        self.publish(queue, b'0', b'1')
        inbox = Inbox(self.channel, queue, consumer_tag='mine')
        self.assertEqual(inbox.tag, 'mine')
        self.publish(queue, b'2', b'3')
        self.assertEqual(inbox.wait(4), [b'0', b'1', b'2', b'3'])
        self.assertEqual(inbox.tags(), [1, 2, 3, 4])
        self.assertEqual({method.consumer_tag for method, _, _ in inbox.deliveries}, {'mine'})

    def test_generated_consumer_tags_are_unique(self):
        with wire.Wire(*self.broker.address()) as peer:
            peer.open().open_channel()
            peer.send(wire.queue_declare(1, '', exclusive=True))
            queue = peer.expect(50, 11).short()
            tags = []
            for _ in range(2):
                peer.send(wire.method(1, 60, 20, b'\0\0' + wire.short(queue) + wire.short('') + b'\0' + wire.table({})))
                tags.append(peer.expect(60, 21).short())
        self.assertRegex(tags[0], r'^amq\.ctag-[A-Za-z0-9_-]{22}$')
        self.assertNotEqual(*tags)

    def test_consumers_share_a_queue_in_turn(self):
        queue = self.queue()
        inboxes = [Inbox(self.channel, queue, auto_ack=True) for _ in range(3)]
        self.publish(queue, *[str(number) for number in range(9)])
        for inbox in inboxes:
            inbox.wait(3)
        self.assertEqual([len(inbox.deliveries) for inbox in inboxes], [3, 3, 3])

    def test_consuming_from_a_missing_queue_is_404(self):
        name = self.name()
        with self.channel_error(404, f"NOT_FOUND - no queue '{name}' in vhost '/'"):
            self.channel.basic_consume(name, lambda *_: None)

    def test_a_second_consumer_beside_an_exclusive_one_is_403(self):
        queue = self.queue(durable=True)
        Inbox(self.connection.channel(), queue, exclusive=True)
        with self.channel_error(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"):
            Inbox(self.channel, queue)

    def test_cancel_keeps_what_is_unacked_and_stops_deliveries(self):
        queue = self.queue()
        self.publish(queue, b'0', b'1')
        self.channel.basic_qos(prefetch_count=1)
        inbox = Inbox(self.channel, queue)
        inbox.wait(1)
        self.channel.basic_cancel(inbox.tag)
        self.channel.basic_ack(inbox.tags()[0])
        self.assert_ready(queue, 1)
        self.assertEqual(self.drain(queue), [b'1'])

    def test_deleting_a_queue_notifies_its_consumer(self):
        queue = self.queue()
        cancelled = []
        channel = self.connection.channel()
        channel.add_on_cancel_callback(cancelled.append)
        inbox = Inbox(channel, queue, consumer_tag='mine')
        self.channel.queue_delete(queue)
        harness.eventually(lambda: self.connection.process_data_events(0.01) or cancelled, 'basic.cancel', every=0)
        self.assertEqual(cancelled[0].method.consumer_tag, 'mine')
        self.assertEqual(inbox.deliveries, [])

    def test_prefetch_limits_each_consumer_started_after_it(self):
        queue = self.queue()
        self.publish(queue, *[str(number) for number in range(20)])
        self.channel.basic_qos(prefetch_count=3)
        first = Inbox(self.channel, queue)
        self.assertEqual(len(first.wait_and_no_more(3)), 3)
        self.channel.basic_qos(prefetch_count=5)
        second = Inbox(self.channel, queue)
        self.assertEqual(len(second.wait_and_no_more(5)), 5)
        self.channel.basic_ack(first.tags()[0])
        self.assertEqual(len(first.wait_and_no_more(4)), 4)
        self.channel.basic_nack(second.tags()[0], requeue=False)
        self.assertEqual(len(second.wait_and_no_more(6)), 6)
        self.assertEqual(len(first.deliveries), 4)

    def test_global_prefetch_limits_the_channel_as_a_whole(self):
        queue = self.queue()
        self.publish(queue, *[str(number) for number in range(20)])
        self.channel.basic_qos(prefetch_count=4, global_qos=True)
        inboxes = [Inbox(self.channel, queue), Inbox(self.channel, queue)]

        def total():
            return sum(len(inbox.deliveries) for inbox in inboxes)

        def settled_at(count):
            harness.eventually(lambda: self.connection.process_data_events(0.01) or total() >= count, f'{count} deliveries')
            self.connection.process_data_events(0.15)
            self.assertEqual(total(), count)
        settled_at(4)
        self.channel.basic_qos(prefetch_count=6, global_qos=True)
        settled_at(6)
        self.channel.basic_qos(prefetch_count=0, global_qos=True)
        settled_at(20)

    def test_a_prefetch_size_is_540(self):
        with self.connection_error(540, 'NOT_IMPLEMENTED - prefetch_size!=0 (10)'):
            self.channel.basic_qos(prefetch_size=10)

    def test_prefetch_does_not_limit_consumers_without_acks(self):
        queue = self.queue()
        self.publish(queue, *[str(number) for number in range(20)])
        self.channel.basic_qos(prefetch_count=1)
        self.assertEqual(len(Inbox(self.channel, queue, auto_ack=True).wait(20)), 20)

    def test_a_consumer_of_higher_priority_is_served_first(self):
        queue = self.queue()
        low = Inbox(self.channel, queue, auto_ack=True)
        high = Inbox(self.channel, queue, auto_ack=True, arguments={'x-priority': 10})
        self.publish(queue, *[str(number) for number in range(10)])
        high.wait(10)
        self.assertEqual(low.deliveries, [])

    def test_only_one_consumer_is_active_in_a_single_active_consumer_queue(self):
        queue = self.queue(exclusive=True, arguments={'x-single-active-consumer': True})
        first, second = Inbox(self.channel, queue, auto_ack=True), Inbox(self.channel, queue, auto_ack=True)
        self.publish(queue, *[str(number) for number in range(6)])
        first.wait(6)
        self.assertEqual(second.deliveries, [])
        self.channel.basic_cancel(first.tag)
        self.publish(queue, b'next')
        self.assertEqual(second.wait(1), [b'next'])

    def test_reusing_a_consumer_tag_is_530(self):
        # pika refuses a duplicate tag itself, so this speaks to the broker directly.
        with wire.Wire(*self.broker.address()) as peer:
            peer.open().open_channel()
            peer.send(wire.queue_declare(1, '', exclusive=True))
            queue = peer.expect(50, 11).short()
            consume = wire.method(1, 60, 20, b'\0\0' + wire.short(queue) + wire.short('t1') + b'\0' + wire.table({}))
            peer.send(consume)
            peer.expect(60, 21)
            peer.send(consume)
            self.assertEqual(peer.read_close(), wire.Close(0, 530, "NOT_ALLOWED - attempt to reuse consumer tag 't1'", 60, 20))


class Confirming(PikaTest):
    def setUp(self):
        super().setUp()
        self.channel.confirm_delivery()

    def test_routed_messages_are_confirmed(self):
        for queue in (self.queue(), self.queue(durable=True)):
            for mode in (1, 2):
                for number in range(20):
                    self.publish(queue, str(number), properties=BasicProperties(delivery_mode=mode))
            self.assert_ready(queue, 40)

    def test_an_unroutable_message_is_confirmed(self):
        self.publish(self.name(), b'nobody')

    def test_an_unroutable_mandatory_message_is_returned_before_its_confirm(self):
        key = self.name()
        with self.assertRaises(exceptions.UnroutableError) as caught:
            self.channel.basic_publish('', key, b'nobody', BasicProperties(correlation_id='c'), mandatory=True)
        (message,) = caught.exception.messages
        self.assertEqual((message.method.reply_code, message.method.reply_text, message.method.exchange,
                          message.method.routing_key, message.properties.correlation_id, message.body),
                         (312, 'NO_ROUTE', '', key, 'c', b'nobody'))

    def test_return_then_ack_on_the_wire(self):
        with wire.Wire(*self.broker.address()) as peer:
            peer.open().open_channel()
            peer.send(wire.method(1, 85, 10, b'\0'))
            peer.expect(85, 11)
            peer.send(wire.basic_publish(1, 'no-such-queue-here', mandatory=True), wire.header(1, 2), wire.body(1, b'hi'))
            peer.expect(60, 50)
            self.assertEqual([peer.read_frame().type for _ in range(2)], [wire.HEADER, wire.BODY])
            fields = peer.expect(60, 80)
            self.assertEqual((fields.unpack('Q'), fields.unpack('B')), (1, 0))

    def test_every_one_of_2000_pipelined_publishes_is_confirmed_exactly_once(self):
        with wire.Wire(*self.broker.address()) as peer:
            peer.open().open_channel()
            peer.send(wire.queue_declare(1, '', exclusive=True))
            queue = peer.expect(50, 11).short()
            peer.send(wire.method(1, 85, 10, b'\0'))
            peer.expect(85, 11)
            peer.send(*[wire.basic_publish(1, queue) + wire.header(1, 3) + wire.body(1, b'abc') for _ in range(2000)])
            waiting = set(range(1, 2001))
            while waiting:
                fields = peer.expect(60, 80)
                tag, multiple = fields.unpack('Q'), fields.unpack('B')
                confirmed = {number for number in waiting if number <= tag} if multiple else {tag}
                self.assertIn(tag, waiting)
                waiting -= confirmed

    def test_confirm_and_tx_exclude_each_other(self):
        with self.channel_error(406, 'PRECONDITION_FAILED - cannot switch from confirm to tx mode'):
            self.channel.tx_select()
        self.channel.tx_select()
        with self.channel_error(406, 'PRECONDITION_FAILED - cannot switch from tx to confirm mode'):
            self.channel.confirm_delivery()


class Transactions(PikaTest):
    def test_published_messages_appear_at_commit(self):
        queue = self.queue()
        self.channel.tx_select()
        self.publish(queue, b'0', b'1')
        self.assertEqual(self.ready(queue), 0)
        self.channel.tx_commit()
        self.assertEqual(self.drain(queue), [b'0', b'1'])

    def test_a_rollback_forgets_publishes_and_acks(self):
        queue = self.queue()
        self.publish(queue, b'kept')
        channel = self.connection.channel()
        channel.tx_select()
        self.publish(queue, b'forgotten', channel=channel)
        tag = self.get(queue, False, channel)[0].delivery_tag
        channel.basic_ack(tag)
        channel.tx_rollback()
        channel.close()
        self.assertEqual(self.drain(queue), [b'kept'])

    def test_committed_acks_are_final(self):
        queue = self.queue()
        self.publish(queue, b'0')
        channel = self.connection.channel()
        channel.tx_select()
        channel.basic_ack(self.get(queue, False, channel)[0].delivery_tag)
        channel.tx_commit()
        channel.close()
        self.assertEqual(self.ready(queue), 0)

    def test_a_mandatory_message_is_returned_before_commit_ok(self):
        returned = []
        self.channel.add_on_return_callback(lambda *arguments: returned.append(arguments))
        self.channel.tx_select()
        self.channel.basic_publish('', self.name(), b'nobody', mandatory=True)
        self.channel.tx_commit()
        self.connection.process_data_events(0)
        self.assertEqual([arguments[1].reply_code for arguments in returned], [312])

    def test_commit_without_select_is_406(self):
        with wire.Wire(*self.broker.address()) as peer:  # pika does not send it
            peer.open().open_channel()
            peer.send(wire.method(1, 90, 20))
            self.assertEqual(peer.read_close(),
                             wire.Close(1, 406, 'PRECONDITION_FAILED - channel is not transactional', 90, 20))


class Routing(PikaTest):
    def reached(self, exchange, key, queues, headers=None):
        """Which of the queues get a message with this key."""
        self.publish(key, b'x', exchange=exchange, properties=BasicProperties(headers=headers))
        return {label for label, queue in queues.items() if self.drain(queue)}

    def test_direct(self):
        exchange = self.exchange('direct')
        queues = {label: self.queue(label) for label in 'abc'}
        for label, key in (('a', 'red'), ('b', 'red'), ('b', 'blue'), ('c', '')):
            self.channel.queue_bind(queues[label], exchange, key)
        for key, expected in (('red', {'a', 'b'}), ('blue', {'b'}), ('', {'c'}), ('green', set())):
            self.assertEqual(self.reached(exchange, key, queues), expected, key)
        self.channel.queue_unbind(queues['a'], exchange, 'red')
        self.assertEqual(self.reached(exchange, 'red', queues), {'b'})

    def test_fanout(self):
        exchange = self.exchange('fanout')
        queues = {label: self.queue(label) for label in 'abc'}
        for queue in queues.values():
            self.channel.queue_bind(queue, exchange, 'whatever')
        self.assertEqual(self.reached(exchange, 'else', queues), {'a', 'b', 'c'})

    def test_topic(self):
        exchange = self.exchange('topic')
        for pattern, matching, other in (
                ('#', ['', 'a', 'a.b'], []), ('*', ['a'], ['', 'a.b']), ('a.#', ['a', 'a.', 'a.b.c'], ['ab', '']),
                ('#.c', ['c', 'a.b.c'], ['c.d']), ('a.*.c', ['a.b.c', 'a..c'], ['a.c', 'a.b.b.c']),
                ('a.#.c', ['a.c', 'a.b.c', 'a.b.b.c'], ['a']), ('*.*', ['.', 'a.b'], ['a']), ('a*', ['a*'], ['ab'])):
            queue = self.queue()
            self.channel.queue_bind(queue, exchange, pattern)
            for key in matching:
                self.assertEqual(self.reached(exchange, key, {'q': queue}), {'q'}, f'{pattern} should match {key!r}')
            for key in other:
                self.assertEqual(self.reached(exchange, key, {'q': queue}), set(), f'{pattern} should not match {key!r}')
            self.channel.queue_unbind(queue, exchange, pattern)

    def test_headers(self):
        exchange = self.exchange('headers')
        queues = {}
        for label, arguments in (('all', {'x-match': 'all', 'kind': 'report', 'size': 1}),
                                 ('any', {'x-match': 'any', 'kind': 'report', 'size': 1}),
                                 ('default', {'kind': 'report'}), ('present', {'kind': None}),
                                 ('nothing-all', {'x-match': 'all'}), ('nothing-any', {'x-match': 'any'})):
            queues[label] = self.queue(label)
            self.channel.queue_bind(queues[label], exchange, '', arguments)
        always = {'nothing-all'}
        self.assertEqual(self.reached(exchange, '', queues, {'kind': 'report', 'size': 1, 'more': 'x'}),
                         always | {'all', 'any', 'default', 'present'})
        self.assertEqual(self.reached(exchange, '', queues, {'kind': 'memo', 'size': 1}), always | {'any', 'present'})
        self.assertEqual(self.reached(exchange, '', queues, {'size': '1'}), always)
        self.assertEqual(self.reached(exchange, '', queues), always)

    def test_an_invalid_x_match_is_406(self):
        exchange, queue = self.exchange('headers'), self.queue()
        with self.channel_error(406, 'PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all, any, '
                                     'all-with-x, or any-with-x'):
            self.channel.queue_bind(queue, exchange, '', {'x-match': 'some'})

    def test_a_queue_gets_one_copy_however_many_bindings_match(self):
        exchange, queue = self.exchange('topic'), self.queue()
        for pattern in ('#', 'a.*', 'a.b'):
            self.channel.queue_bind(queue, exchange, pattern)
        self.publish('a.b', b'x', exchange=exchange)
        self.assertEqual(self.drain(queue), [b'x'])

    def test_exchanges_are_bound_to_exchanges(self):
        source, middle, queue = self.exchange('topic', 'source'), self.exchange('direct', 'middle'), self.queue()
        self.channel.exchange_bind(middle, source, 'a.#')
        self.channel.exchange_bind(source, middle, 'a.b')  # a loop is harmless
        self.channel.queue_bind(queue, middle, 'a.b')
        self.publish('a.b', b'through', exchange=source)
        method, _, body = self.get(queue)
        self.assertEqual((body, method.exchange, method.routing_key), (b'through', source, 'a.b'))
        self.channel.exchange_unbind(middle, source, 'a.#')
        self.publish('a.b', b'not any more', exchange=source)
        self.assertEqual(self.drain(queue), [])

    def test_binding_to_something_missing_is_404_source_first(self):
        exchange, queue, missing = self.exchange('direct'), self.queue(), self.name('missing')
        with self.channel_error(404, f"NOT_FOUND - no exchange '{missing}' in vhost '/'"):
            self.channel.queue_bind(missing, missing, 'k')
        with self.channel_error(404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"):
            self.channel.queue_bind(missing, exchange, 'k')
        self.channel.queue_unbind(queue, exchange, 'never bound')
        self.channel.queue_unbind(queue, missing, 'never bound')

    def test_the_alternate_exchange_takes_what_is_unroutable(self):
        rest = self.exchange('fanout', 'rest')
        exchange = self.exchange('direct', arguments={'alternate-exchange': rest})
        queues = {'rest': self.queue('rest'), 'main': self.queue('main')}
        self.channel.queue_bind(queues['rest'], rest)
        self.channel.queue_bind(queues['main'], exchange, 'k')
        self.assertEqual(self.reached(exchange, 'k', queues), {'main'})
        self.assertEqual(self.reached(exchange, 'other', queues), {'rest'})
        self.channel.confirm_delivery()
        self.channel.basic_publish(exchange, 'other', b'x', mandatory=True)  # routed: no UnroutableError

    def test_an_internal_exchange_takes_no_publishes(self):
        exchange = self.exchange('direct', internal=True)
        with self.channel_error(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '/'"):
            self.publish('k', b'x', exchange=exchange)
            self.queue()

    def test_cc_and_bcc_headers_route_to_further_keys(self):
        to, copy, blind = self.queue('to'), self.queue('copy'), self.queue('blind')
        self.publish(to, b'x', properties=BasicProperties(headers={'CC': [copy], 'BCC': [blind], 'other': 1}))
        for queue in (to, copy, blind):
            method, properties, body = self.get(queue)
            self.assertEqual((body, method.routing_key, properties.headers), (b'x', to, {'CC': [copy], 'other': 1}))

    def test_a_cc_header_that_is_no_array_is_406(self):
        with self.channel_error(406, 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}'):
            self.publish('k', b'x', properties=BasicProperties(headers={'CC': 'k'}))
            self.queue()


class DirectReplyTo(PikaTest):
    PSEUDO_QUEUE = 'amq.rabbitmq.reply-to'

    def echo_service(self):
        """Answers every request on its queue in a thread of its own until the test ends."""
        connection = self.connect()
        channel = connection.channel()
        queue = channel.queue_declare(self.name('service'), exclusive=True).method.queue

        def on_request(_channel, method, properties, body):
            channel.basic_publish('', properties.reply_to, b'echo ' + body,
                                  BasicProperties(correlation_id=properties.correlation_id))
            channel.basic_ack(method.delivery_tag)
        channel.basic_consume(queue, on_request)
        thread = threading.Thread(target=channel.start_consuming)
        thread.start()

        def end():
            connection.add_callback_threadsafe(channel.stop_consuming)
            thread.join()
        self.addCleanup(end)
        return queue

    def call_many(self, service, label, count):
        connection = self.connect()
        channel = connection.channel()
        replies = {}
        channel.basic_consume(self.PSEUDO_QUEUE, lambda _c, _m, properties, body:
                              replies.__setitem__(properties.correlation_id, body), auto_ack=True)
        for number in range(count):
            key = f'{label}-{number}'
            channel.basic_publish('', service, key, BasicProperties(reply_to=self.PSEUDO_QUEUE, correlation_id=key))
            harness.eventually(lambda: connection.process_data_events(0.05) or key in replies, f'the reply to {key}', every=0)
        connection.close()
        return replies

    def test_200_calls_get_200_replies(self):
        service = self.echo_service()
        self.assertEqual(self.call_many(service, 'call', 200), {f'call-{n}': f'echo call-{n}'.encode() for n in range(200)})

    def test_concurrent_requesters_get_their_own_replies(self):
        service, results = self.echo_service(), {}
        threads = [threading.Thread(target=lambda label=label: results.__setitem__(
            label, self.call_many(service, label, 30))) for label in 'abcdef']
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for label in 'abcdef':
            self.assertEqual(results.get(label), {f'{label}-{n}': f'echo {label}-{n}'.encode() for n in range(30)})

    def test_the_responder_sees_a_full_name_and_can_probe_it(self):
        queue = self.queue()
        replies = Inbox(self.channel, self.PSEUDO_QUEUE, auto_ack=True)
        self.publish(queue, b'request', properties=BasicProperties(reply_to=self.PSEUDO_QUEUE))
        name = self.get(queue)[1].reply_to
        self.assertTrue(name.startswith(self.PSEUDO_QUEUE + '.') and len(name) <= 255, name)
        responder = self.connect().channel()
        probe = responder.queue_declare(name, passive=True).method
        self.assertEqual((probe.queue, probe.message_count, probe.consumer_count), (name, 0, 1))
        responder.basic_publish('', name, b'reply')
        self.assertEqual(replies.wait(1), [b'reply'])
        method = replies.deliveries[0][0]
        self.assertEqual((method.exchange, method.routing_key, method.redelivered), ('', name, False))
        with self.assertRaises(exceptions.ChannelClosedByBroker) as caught:
            responder.queue_declare(name + 'x', passive=True)
        self.assertEqual(caught.exception.reply_text, f"NOT_FOUND - no queue '{name}x' in vhost '/'")

    def test_misuse_is_406(self):
        with self.channel_error(406, 'PRECONDITION_FAILED - fast reply consumer does not exist'):
            self.publish('k', b'x', properties=BasicProperties(reply_to=self.PSEUDO_QUEUE))
            self.queue()
        with self.channel_error(406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge'):
            self.channel.basic_consume(self.PSEUDO_QUEUE, lambda *_: None)
        Inbox(self.channel, self.PSEUDO_QUEUE, auto_ack=True)
        with self.channel_error(406, 'PRECONDITION_FAILED - reply consumer already set'):
            Inbox(self.channel, self.PSEUDO_QUEUE, auto_ack=True)

    def test_a_reply_to_a_requester_that_left_is_dropped_and_returned_if_mandatory(self):
        queue = self.queue()
        requester = self.connect()
        channel = requester.channel()
        Inbox(channel, self.PSEUDO_QUEUE, auto_ack=True)
        channel.basic_publish('', queue, b'request', BasicProperties(reply_to=self.PSEUDO_QUEUE))
        name = self.get(queue)[1].reply_to
        requester.close()
        self.channel.confirm_delivery()
        self.channel.basic_publish('', name, b'late')
        with self.assertRaises(exceptions.UnroutableError):
            self.channel.basic_publish('', name, b'late', mandatory=True)


class ZRestarting(PikaTest):
    """Last, because these stop the broker all cases share."""

    def fill(self, stop):
        self.needs_own_broker()
        durable, transient = self.queue('durable', durable=True), self.queue('transient', auto_delete=True)
        exchange = self.exchange('direct', durable=True)
        self.channel.queue_bind(durable, exchange, 'k')
        self.channel.confirm_delivery()
        headers = {'kept': 'yes'}
        for number in range(50):
            self.publish('k', str(number), exchange=exchange, properties=BasicProperties(delivery_mode=2, headers=headers))
        self.publish(durable, b'transient', properties=BasicProperties(delivery_mode=1))
        stop()
        self.broker.start()
        self.setUp()
        got = [self.get(durable) for _ in range(50)]
        self.assertEqual([int(body) for _, _, body in got], list(range(50)))
        self.assertEqual({properties.headers['kept'] for _, properties, _ in got}, {'yes'})
        self.assertEqual(self.drain(durable), [], 'the transient message does not survive')
        self.publish('k', b'the binding survived', exchange=exchange)
        self.assertEqual(self.drain(durable), [b'the binding survived'])
        with self.channel_error(404, f"NOT_FOUND - no queue '{transient}' in vhost '/'"):
            self.ready(transient)

    def test_durable_things_survive_a_clean_restart(self):
        self.fill(self.stop_cleanly)

    def test_durable_things_survive_a_kill(self):
        self.fill(self.broker.kill)

    def stop_cleanly(self):
        stopping = threading.Thread(target=self.broker.stop)
        stopping.start()
        with self.assertRaises(exceptions.ConnectionClosedByBroker) as caught:
            while True:
                self.connection.process_data_events(0.1)
        stopping.join()
        self.assertEqual((caught.exception.reply_code, caught.exception.reply_text), (
            320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"))


if __name__ == '__main__':
    harness.main()
