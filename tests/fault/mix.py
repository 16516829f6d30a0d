"""What clients do between two kills: random publishers, consumers, transactions and changes of definitions."""
import collections

import client
import oracle as model
import wire

UNCONFIRMED_MAX = 300
OUTPUT_MAX = 4 << 20
COPIES_MAX = 40000           # over all queues; above it publishers rest
OCTETS_MAX = 96 << 20        # likewise
SIZES = ((0.05, 0, 0), (0.80, 1, 200), (0.97, 200, 4 << 10), (0.997, 4 << 10, 64 << 10), (0.9995, 64 << 10, 1 << 20),
         (1.0, 1 << 20, model.BODY_MAX))
KEYS = {'kl.direct': ['k0', 'k1', 'k2', 'k3'], 'kl.topic': ['a', 'a.b', 'a.b.c', 'b.c', 'c.b.a'], 'kl.fanout': ['', 'any']}
PATTERNS = {'kl.direct': KEYS['kl.direct'], 'kl.topic': ['#', 'a.#', '*.b', 'a.*.c', '#.c', 'a'], 'kl.fanout': ['']}
KINDS = {'kl.direct': 'direct', 'kl.topic': 'topic', 'kl.fanout': 'fanout'}
FANOUT_MAX = 10


class World:
    """What all clients of a run share."""

    def __init__(self, oracle, random, loop, port, shards):
        self.oracle, self.random, self.loop, self.port, self.shards = oracle, random, loop, port, shards
        self.commits = []          # (messages, acked copies) sent and not answered
        self.closed_acks = []      # acks of connections that ended with close-ok
        self.busy = set()          # queues and exchanges with a change on its way
        self.spare_exchanges = {}  # name -> state; nothing is bound to them
        for number in range(50):
            self.add_queue(f'kl.d{number}', True)
        for number in range(6):
            self.add_queue(f'kl.t{number}', False)
        for number in range(4):
            self.add_queue(f'kl.x{number}', False)
        self.target = 10           # how many durable queues there should be
        for name, kind in KINDS.items():
            oracle.exchanges[name] = model.Exchange(name, kind)
        for number in range(4):
            self.spare_exchanges[f'kl.spare{number}'] = 'absent'

    def add_queue(self, name, durable):
        self.oracle.queues[name] = model.Queue(name, durable)

    def present(self):
        """What anybody may use."""
        return [queue for queue in self.oracle.queues.values() if queue.state == 'present' and queue.owner is None]

    def too_much(self):
        copies = octets = 0
        for queue in self.oracle.queues.values():
            copies += len(queue.copies)
            if len(queue.copies) < 5000:
                octets += sum(copy.message.size for copy in queue.copies.values())
        return copies > COPIES_MAX or octets > OCTETS_MAX

    def size(self):
        chance = self.random.random()
        for limit, least, most in SIZES:
            if chance <= limit:
                return self.random.randint(least, most)
        return 0

    def destination(self):
        """An exchange and a routing key."""
        chance = self.random.random()
        present = self.present()
        if chance < 0.4 and present:
            return '', self.random.choice(present).name
        if chance < 0.43:
            return '', self.random.choice(list(self.oracle.queues))
        exchange = self.random.choice(list(KEYS))
        return exchange, self.random.choice(KEYS[exchange])


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


class Control(client.Channel):
    """Declares, deletes, purges and binds; at most one change on its way per queue and exchange."""

    def __init__(self, connection, world):
        super().__init__(connection)
        self.world, self.oracle = world, world.oracle

    def act(self):
        if not self.open or self.connection.close_asked:
            return
        random = self.world.random
        action = random.choice((self.queue, self.queue, self.queue, self.binding, self.binding, self.purge, self.exchange))
        action()

    def request(self, thing, octets, reply, done):
        """Sends a change of `thing`, which is busy until the reply."""
        def answered(fields):
            self.world.busy.discard(thing)
            done(fields)
        self.world.busy.add(thing)
        self.send(octets)
        self.ask({reply: answered})

    def idle(self, things):
        found = [thing for thing in things if thing not in self.world.busy and not str(thing).startswith('kl.x')]
        return self.world.random.choice(found) if found else None

    def queue(self):
        queue = self.idle(self.oracle.queues.values())
        if queue is None:
            return
        durable = sum(each.durable for each in self.world.present())
        wanted = 0.5 if not queue.durable else 0.85 if durable < self.world.target else 0.08
        if queue.state == 'absent' and self.world.random.random() < wanted:
            self.declare(queue)
        elif queue.state == 'present' and self.world.random.random() > wanted + 0.3 * (self.world.random.random() < 0.7):
            self.delete(queue)

    def declare(self, queue, done=lambda fields: None):
        queue.state = 'declaring'
        self.oracle.topology_changed()

        def declared(fields):
            self.oracle.declared(queue)
            done(fields)
        self.request(queue, wire.queue_declare(self.number, queue.name, durable=queue.durable), (50, 11), declared)

    def delete(self, queue):
        self.oracle.delete_sent(queue)
        self.request(queue, wire.queue_delete(self.number, queue.name), (50, 41), lambda _: self.oracle.deleted(queue))

    def purge(self):
        queue = self.idle(self.world.present())
        if queue is None or self.world.random.random() < 0.7:
            return
        surely = self.oracle.purge_sent(queue)
        self.request(queue, client.queue_purge(self.number, queue.name), (50, 31),
                     lambda fields: self.oracle.purged(queue, surely, fields.unpack('I')))

    def binding(self):
        queue = self.idle(self.world.present())
        if queue is None:
            return
        exchange = self.oracle.exchanges[self.world.random.choice(list(PATTERNS))]
        bound = [binding for binding in exchange.bindings if binding[0] is queue]
        if bound and (self.world.random.random() < 0.5 or len(exchange.bindings) > FANOUT_MAX):
            self.unbind(exchange, self.world.random.choice(bound))
        elif len(exchange.bindings) < FANOUT_MAX:
            self.bind(exchange, queue, self.world.random.choice(PATTERNS[exchange.name]))

    def bind(self, exchange, queue, pattern):
        binding = (queue, pattern)
        exchange.bindings.setdefault(binding, False)
        self.oracle.topology_changed()

        def bound(_):
            exchange.bindings[binding] = True
            self.oracle.topology_changed()
        self.request(queue, client.queue_bind(self.number, queue.name, exchange.name, pattern), (50, 21), bound)

    def unbind(self, exchange, binding):
        queue, pattern = binding
        exchange.bindings[binding] = False
        self.oracle.topology_changed()

        def unbound(_):
            del exchange.bindings[binding]
            self.oracle.topology_changed()
        self.request(queue, client.queue_unbind(self.number, queue.name, exchange.name, pattern), (50, 51), unbound)

    def exchange(self):
        """Those nothing is published to: only whether they are there is of interest."""
        name = self.idle(self.world.spare_exchanges)
        if name is None:
            return
        state = self.world.spare_exchanges[name]
        if state == 'absent':
            change, reply, then = client.exchange_declare(self.number, name, 'direct', not name.endswith('3')), 11, 'present'
        else:
            change, reply, then = client.exchange_delete(self.number, name), 21, 'absent'
        self.world.spare_exchanges[name] = 'unknown'
        self.request(name, change, (40, reply), lambda _: self.world.spare_exchanges.__setitem__(name, then))
