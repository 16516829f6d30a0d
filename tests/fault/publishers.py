"""Channels that publish with confirms."""
import collections

import client

UNCONFIRMED_MAX = 300
OUTPUT_MAX = 4 << 20


class Publisher(client.Channel):
    def __init__(self, connection, world):
        client.Channel.__init__(self, connection)
        self.world, self.oracle = world, world.oracle
        self.publisher = self.oracle.new_publisher()
        self.sent = 0
        self.unconfirmed = collections.OrderedDict()
        self.select()

    def select(self):
        self.send(client.confirm_select(self.number))
        self.ask({(85, 11): None})

    def can_publish(self):
        return (self.open and not self.connection.close_asked and len(self.unconfirmed) < UNCONFIRMED_MAX
                and len(self.connection.output) < OUTPUT_MAX)

    def publish(self):
        random = self.world.random
        exchange, key = self.world.destination()
        message = self.oracle.publish(self.publisher, self.oracle.exchanges[exchange], key, random.random() < 0.93,
                                      self.world.size())
        self.sent += 1
        self.track(message)
        self.send(client.publish(self.number, exchange, key, message.properties, self.oracle.body(message),
                                 random.random() < 0.05))

    def track(self, message):
        self.unconfirmed[self.sent] = message

    def on_confirm(self, number, multiple, good):
        if not good:
            self.oracle.violated('I1', 'nacked', f'publish {number} was refused')
        numbers = [number]
        if multiple:
            numbers = []
            for pending in self.unconfirmed:
                if pending > number:
                    break
                numbers.append(pending)
        for one in numbers:
            message = self.unconfirmed.pop(one, None)
            if message is None:
                self.oracle.violated('I1', 'protocol', f'publish {one} was confirmed twice or never sent')
            else:
                self.oracle.confirmed(message)

    def on_return(self, content):
        self.oracle.returned(content)

    def act(self):
        if self.can_publish():
            for _ in range(self.world.random.randint(1, 12)):
                self.publish()


class Barrier(Publisher):
    """Proves that what was processed before is on disk: its messages stay in a queue without readers."""
    QUEUE = 'kl.barrier'

    def track(self, message):
        raise AssertionError('a barrier has no messages of the mix')

    def act(self, done=None):
        self.sent += 1
        self.unconfirmed[self.sent] = (self.oracle.take_processed(), done)
        self.send(client.publish(self.number, '', self.QUEUE, b'\x10\0\2', b'barrier'))

    def on_confirm(self, number, multiple, good):
        for one in [pending for pending in self.unconfirmed if pending == number or (multiple and pending < number)]:
            copies, done = self.unconfirmed.pop(one)
            self.oracle.settled_for_good(copies)
            if done:
                done()
