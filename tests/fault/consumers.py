"""Channels that read and settle, some of them in transactions."""
import collections

import client
import model
from publishers import Publisher

import wire


class Consumer(client.Channel):
    def __init__(self, connection, world, prefetch):
        client.Channel.__init__(self, connection)
        self.world, self.oracle = world, world.oracle
        self.birth = self.oracle.clock
        self.unacked = {}     # tag -> copy, or None for what should not have come
        self.consumers = {}   # consumer tag -> (reader, no_ack)
        self.gets = collections.deque()
        self.get_readers = {}
        self.acked = collections.defaultdict(list)  # queue -> copies whose ack is not known to be processed
        self.exclusive = None # its own queue
        self.frozen = False   # between recover and its answer no tag is certain
        self.send(client.basic_qos(self.number, prefetch))
        self.ask({(60, 11): None})

    # -- reading

    def consume(self, queue, no_ack=False, alone=False):
        tag = f'c{len(self.consumers)}.{self.oracle.clock}'
        reader = model.Reader(queue, alone)
        self.consumers[tag.encode()] = (reader, no_ack)
        self.oracle.reads(queue)
        if no_ack:
            self.oracle.taken_without_ack(queue)
        self.send(client.basic_consume(self.number, queue.name, tag, no_ack))
        self.ask({(60, 21): None})
        return reader

    def get(self, queue):
        self.oracle.reads(queue)
        self.gets.append(self.get_readers.setdefault(queue, model.Reader(queue)))
        self.send(wire.basic_get(self.number, queue.name, no_ack=False))
        self.ask({(60, 71): None, (60, 72): lambda _: self.gets.popleft()})

    def on_deliver(self, tag, delivery_tag, redelivered, content):
        reader, no_ack = self.consumers[tag]
        self.take(reader, delivery_tag, redelivered, content, no_ack)

    def on_got(self, delivery_tag, redelivered, content):
        self.take(self.gets.popleft(), delivery_tag, redelivered, content, False)

    def take(self, reader, delivery_tag, redelivered, content, no_ack):
        copy = self.oracle.delivered(reader, redelivered, content)
        if self.frozen or self.connection.close_asked:
            reader.suspects.clear()
        if no_ack:
            if copy:
                self.oracle.excuse(copy, model.ACKED)
            return
        self.unacked[delivery_tag] = copy
        if copy and not self.frozen:
            copy.holder = self

    def readers(self):
        return [reader for reader, _ in self.consumers.values()] + list(self.get_readers.values())

    def on_cancelled(self, tag):
        pass  # its queue was deleted; what it delivered may still be acked

    def declare_exclusive(self, queue):
        queue.owner = self.connection
        queue.state = 'declaring'
        self.oracle.topology_changed()
        self.send(wire.queue_declare(self.number, queue.name, exclusive=True))

        def declared(_):
            self.oracle.declared(queue)
            self.consume(queue)
        self.ask({(50, 11): declared})
        self.exclusive = queue

    # -- settling

    def settle(self):
        """Something random with the deliveries there are."""
        if not self.unacked or self.frozen or not self.open or self.connection.close_asked:
            return
        random = self.world.random
        tags = list(self.unacked)
        tag = random.choice(tags)
        chance = random.random()
        if chance < 0.35:
            for tag in tags[:20]:
                self.send(client.basic_ack(self.number, tag))
                self.settled([tag])
        elif chance < 0.75:
            self.send(client.basic_ack(self.number, tag, multiple=True))
            self.settled([each for each in tags if each <= tag])
        elif chance < 0.80:
            self.send(client.basic_reject(self.number, tag, False))
            self.settled([tag])
        elif chance < 0.82:
            self.send(client.basic_nack(self.number, tag, True, False))
            self.settled([each for each in tags if each <= tag])
        elif chance < 0.91:
            self.send(client.basic_reject(self.number, tag, True))
            self.requeued([tag])
        elif chance < 0.98:
            self.send(client.basic_nack(self.number, tag, True, True))
            self.requeued([each for each in tags if each <= tag])
        else:
            self.frozen = True
            for copy in filter(None, self.unacked.values()):
                self.oracle.released(copy, self)
            self.send(client.basic_recover(self.number))
            self.ask({(60, 111): self.recovered})

    def recovered(self, _):
        self.frozen = False
        self.requeued(list(self.unacked))

    def settled(self, tags):
        for tag in tags:
            copy = self.unacked.pop(tag)
            if copy:
                self.oracle.excuse(copy, model.ACKED)
                self.acked[copy.queue].append(copy)

    def requeued(self, tags):
        for tag in tags:
            copy = self.unacked.pop(tag)
            if copy:
                self.oracle.released(copy, self)

    def prove_processed(self):
        """A question about each queue is answered after the acks before it were processed, on whatever shard."""
        if not self.open or self.connection.close_asked:
            return
        for queue in [queue for queue in self.acked if queue.state == 'present']:
            copies = self.acked.pop(queue)
            self.send(wire.queue_declare(self.number, queue.name, passive=True))
            self.ask({(50, 11): lambda fields, copies=copies: self.oracle.processed.extend(copies)})

    # -- ends

    def on_closed(self, close):
        if close.code != 404:  # its queue was deleted meanwhile
            self.oracle.violated('--', 'protocol', f'the broker closed a channel: {close.code} {close.text}')
        self.release_all()
        self.acked.clear()
        for reader in self.readers():
            reader.suspects.clear()

    def on_gone(self):
        self.release_all()
        for reader in self.readers():
            self.oracle.convict(reader)
        if self.exclusive:
            self.oracle.delete_sent(self.exclusive)
        if self.connection.closed_well:
            for copies in self.acked.values():
                self.world.closed_acks += copies

    def release_all(self):
        for copy in self.unacked.values():
            if copy:
                self.oracle.released(copy, self, self.birth)
        self.unacked.clear()

    def act(self):
        random = self.world.random
        present = self.world.present()
        if not self.open or self.connection.close_asked:
            return
        chance = random.random()
        if chance < 0.03 and present and len(self.consumers) < 6:
            self.consume(random.choice(present), no_ack=random.random() < 0.04)
        elif chance < 0.04 and self.consumers:
            tag = random.choice(list(self.consumers))
            if tag in self.consumers and not self.frozen:
                self.send(client.basic_cancel(self.number, tag.decode()))
                self.ask({(60, 31): None})
        elif chance < 0.10 and present:
            queue = random.choice(present)
            for _ in range(random.randint(1, 5)):
                self.get(queue)
        elif chance < 0.25:
            self.prove_processed()
        else:
            self.settle()


class Transactional(Consumer, Publisher):
    """Publishes and acks that count from commit on."""

    def __init__(self, connection, world, prefetch):
        Consumer.__init__(self, connection, world, prefetch)
        self.publisher = self.oracle.new_publisher()
        self.sent = 0
        self.unconfirmed = {}  # never used: UNCONFIRMED_MAX does not hold for transactions
        self.held_messages = []
        self.held = []         # (tag, copy, requeue)
        self.in_commit = collections.Counter()  # copies in commits that are not answered
        self.send(client.tx(self.number, 10))
        self.ask({(90, 11): None})

    def track(self, message):
        self.held_messages.append(message)

    def settled(self, tags):
        self.held += [(tag, self.unacked.pop(tag), False) for tag in tags]

    def requeued(self, tags):
        self.held += [(tag, self.unacked.pop(tag), True) for tag in tags]

    def recovered(self, _):
        self.frozen = False
        Consumer.requeued(self, list(self.unacked))

    def commit(self):
        acked = [copy for _, copy, requeue in self.held if copy and not requeue]
        requeued = [copy for _, copy, requeue in self.held if copy and requeue]
        for copy in acked:
            self.oracle.excuse(copy, model.COMMITTING)
        pending = (self.held_messages, acked)
        self.world.commits.append(pending)
        self.in_commit.update(acked + requeued)
        self.held_messages, self.held = [], []
        self.send(client.tx(self.number, 20))
        self.ask({(90, 21): lambda _: self.committed(pending, requeued)})

    def committed(self, pending, requeued):
        messages, acked = pending
        self.oracle.counts['commits'] += 1
        self.world.commits.remove(pending)
        self.in_commit -= collections.Counter(acked + requeued)
        for message in messages:
            self.oracle.confirmed(message)
        self.oracle.settled_for_good(acked)
        for copy in requeued:
            self.oracle.released(copy, self, self.birth)

    def roll_back(self):
        self.forget_publishes()
        for tag, copy, _ in self.held:
            self.unacked[tag] = copy
        self.held = []
        self.send(client.tx(self.number, 30))
        self.ask({(90, 31): None})

    def forget_publishes(self):
        for message in self.held_messages:
            self.oracle.never_published(message)
        self.held_messages = []

    def release_all(self):
        self.forget_publishes()
        for _, copy, _ in self.held:
            if copy:
                self.oracle.released(copy, self, self.birth)
        for copy in self.in_commit:
            self.oracle.released(copy, self, self.birth)
        self.held = []
        self.in_commit.clear()
        Consumer.release_all(self)

    def act(self):
        if not self.open or self.connection.close_asked:
            return
        chance = self.world.random.random()
        if self.frozen or chance < 0.3:
            Consumer.act(self)
        elif chance < 0.6:
            if len(self.held_messages) < 200 and self.can_publish():
                Publisher.act(self)
        elif chance < 0.85:
            self.commit()
        elif chance < 0.9:
            self.roll_back()
