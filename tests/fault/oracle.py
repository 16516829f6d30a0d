"""What must hold, whatever the broker was doing when it was killed.

The terms are those of model.py, the names I1 to I9 those of docs/testing.md.
"""
import collections
import random
import struct

from model import (BODY_MAX, COMMITTING, DELETED, EXCUSES, PURGED, SHIFTS, Copy, Exchange, Group, Message,
                   number_of)

import wire

HISTORIES_MAX = 50000  # of copies that are gone


class Oracle:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pool = random.Random(seed ^ 0x5eed).randbytes(BODY_MAX + SHIFTS)
        self.life = 0
        self.clock = 0             # counts what happened, to compare which came first
        self.crash_clock = 0
        self.last_number = 0
        self.last_publisher = 0
        self.messages = {}
        self.open = {}
        self.queues = {}
        self.exchanges = {'': Exchange('', '')}
        self.histories = collections.OrderedDict()
        self.processed = []        # copies whose ack was processed
        self.routes = {}           # cache of route()
        self.counts = collections.Counter()
        self.on_violation = lambda text: None

    def violated(self, rule, what, text):
        """`what`: the figure of the summary it belongs to."""
        self.counts[what] += 1
        text = f'{rule} {what}: {text} (life {self.life})'
        self.on_violation(text)

    # ---- definitions ---------------------------------------------------------------------------------------------

    def route(self, exchange, key):
        """The queues a message surely reaches, and those it may reach, by what was sent and answered until now."""
        found = self.routes.get((exchange.name, key))
        if found is None:
            sure, may = set(), set()
            if exchange.name == '':
                targets = [(self.queues[key], True)] if key in self.queues else []
            else:
                targets = [(queue, is_sure) for (queue, pattern), is_sure in exchange.bindings.items()
                           if exchange.matches(key, pattern)]
            for queue, is_sure in targets:
                if queue.state != 'absent':
                    may.add(queue)
                    if is_sure and queue.state == 'present':
                        sure.add(queue)
            found = self.routes[(exchange.name, key)] = (sure, may)
        return found

    def topology_changed(self):
        """Call after each change sent or answered: what is on its way may or may not meet it."""
        self.routes.clear()
        for message in self.open.values():
            sure, may = self.route(message.exchange, message.key)
            for queue, copy in message.copies.items():
                copy.sure = copy.sure and queue in sure
            for queue in may - message.copies.keys():
                self.add_copy(message, queue, False)

    def declared(self, queue):
        queue.state = 'present'
        self.topology_changed()

    def delete_sent(self, queue):
        queue.state = 'deleting'
        for copy in queue.copies.values():
            self.excuse(copy, DELETED | (PURGED if copy.message.number in self.open else 0))
        self.topology_changed()

    def deleted(self, queue):
        queue.state = 'absent'
        for copy in list(queue.copies.values()):
            if copy.message.number not in self.open:
                copy.gone = True  # but a delivery may be on its way
        self.forget_bindings(queue)
        self.topology_changed()

    def forget_bindings(self, queue):
        for exchange in self.exchanges.values():
            for binding in [binding for binding in exchange.bindings if binding[0] is queue]:
                del exchange.bindings[binding]

    def found(self, queue, exists):
        """What a passive declare after a start says."""
        was = queue.state
        if was == 'present' and not exists:
            self.violated('I9', 'definitions', f'queue {queue} is gone')
        if was == 'absent' and exists:
            self.violated('I9', 'definitions', f'queue {queue} is there, though it is transient or was deleted')
        queue.state = 'present' if exists else 'absent'
        if exists:
            for copy in queue.copies.values():
                copy.excuses &= ~DELETED  # the delete did not happen
        else:
            self.forget_bindings(queue)
            for copy in list(queue.copies.values()):
                self.drop(copy)
        self.routes.clear()

    # ---- purge ---------------------------------------------------------------------------------------------------

    def purge_sent(self, queue):
        """Returns the copies that surely go with it."""
        self.clock += 1
        queue.purging += 1
        queue.purge_clock = self.clock
        surely = []
        for copy in queue.copies.values():
            if copy.holder is None:
                if copy.must and not copy.excuses and queue.read_life != self.life:
                    surely.append(copy)
                self.excuse(copy, PURGED)
        return surely

    def purged(self, queue, surely, count):
        queue.purging -= 1
        if queue.state != 'present' or queue.read_life == self.life:
            return
        if count < len(surely):
            self.violated('I6', 'count', f'purge of {queue} dropped {count}, but {len(surely)} were surely there')
        self.processed += surely

    def taken_without_ack(self, queue):
        """A consumer that does not ack works like a purge that lasts until the end of the life."""
        self.purge_sent(queue)

    # ---- publishing ----------------------------------------------------------------------------------------------

    def new_publisher(self):
        self.last_publisher += 1
        return self.last_publisher

    def publish(self, publisher, exchange, key, persistent, size):
        """A new message, to be sent now."""
        self.clock += 1
        self.last_number += 1
        self.counts['published'] += 1
        message = Message()
        message.number, message.publisher, message.order = self.last_number, publisher, self.last_number
        message.exchange, message.key, message.persistent, message.size = exchange, key, persistent, size
        message.properties = self.properties(message.number, persistent)
        message.copies = {}
        self.messages[message.number] = self.open[message.number] = message
        sure, may = self.route(exchange, key)
        for queue in may:
            self.add_copy(message, queue, queue in sure)
        return message

    def add_copy(self, message, queue, sure):
        copy = Copy()
        copy.message, copy.queue, copy.sure = message, queue, sure
        copy.durable = message.persistent and queue.durable
        copy.birth_life, copy.birth = self.life, self.clock
        copy.history = [f'published in life {self.life} clock {self.clock} sure {sure}']
        copy.must = copy.seen = copy.seen_fresh = copy.gone = False
        copy.excuses, copy.excuse_life = 0, 0
        if queue.purging:
            self.excuse(copy, PURGED)
        copy.holder = copy.publish_group = copy.ack_group = None
        message.copies[queue] = queue.copies[message.number] = copy

    def properties(self, number, persistent):
        """Flags and values as they go over the wire; the content type is the number."""
        flags, octets = 0x9000, wire.short(f'm{number}')
        chance = self.random.random()
        if chance < 0.1:
            flags |= 0x2000
            octets += wire.table({'k' * (1 + number % 20): number, 'text': 'x' * (number % 40), 'yes': True})
        octets += b'\2' if persistent else b'\1'
        if chance < 0.3:
            flags |= 0x0c60
            octets += struct.pack('>B', number % 10) + wire.short(f'c{number}') + struct.pack('>Q', number) + wire.short('t')
        return struct.pack('>H', flags) + octets

    def body(self, message):
        start = message.number * 7919 % SHIFTS
        return self.pool[start:start + message.size]

    def confirmed(self, message):
        self.counts['confirmed'] += 1
        self.close(message)
        for copy in message.copies.values():
            copy.must = copy.sure
            copy.note(f'confirmed @{self.clock}')
        self.forget_if_done(message)

    def close(self, message):
        del self.open[message.number]

    def never_published(self, message):
        """Rolled back, or never committed."""
        self.close(message)
        for copy in list(message.copies.values()):
            self.drop(copy)
        self.forget_if_done(message)

    def returned(self, content):
        number = number_of(content)
        message = self.messages.get(number)
        if message is not None and any(copy.sure for copy in message.copies.values()):
            self.violated('I1', 'lost', f'message {number} was returned, but {list(message.copies)} are there')

    # ---- deliveries ----------------------------------------------------------------------------------------------

    def reads(self, queue):
        """Somebody is about to read from it."""
        self.clock += 1
        queue.read_life = self.life

    def delivered(self, reader, redelivered, content):
        """The copy that came, or None when nothing should have come."""
        queue = reader.queue
        self.counts['delivered'] += 1
        number = number_of(content)
        copy = queue.copies.get(number)
        if copy is None:
            self.came_unexpected(reader, number, content)
            return None
        message = copy.message
        if content.properties != message.properties or content.body != self.body(message):
            self.violated('I3', 'altered',
                          f'message {number} of {message.size} octets came from {queue} with {len(content.body)}')
        self.counts['duplicates'] += copy.seen
        self.check_mark(reader, copy, redelivered)
        self.check_order(reader, copy, redelivered)
        reader.seen.add(number)
        self.witness_delivery(copy)
        if copy.birth_life < self.life:
            copy.must = True  # it came from the disk, so it stays there
            if copy.excuse_life < self.life:
                copy.excuses = 0
        copy.note(f'delivered in life {self.life} @{self.clock} redelivered {redelivered}')
        copy.seen, copy.seen_life, copy.seen_fresh = True, self.life, copy.seen_fresh or not redelivered
        return copy

    def came_unexpected(self, reader, number, content):
        if not 0 < number <= self.last_number:
            self.violated('I3', 'unknown', f'{content.properties[:40]!r} came from {reader.queue} and was never published')
            return
        life, history = self.histories.get((number, reader.queue.name), (None, 'never routed there'))
        text = f'message {number} came from {reader.queue}: {history}'
        if life == self.life:
            reader.suspects.append(text)
        else:
            self.violated('I2', 'resurrected', text)

    def check_mark(self, reader, copy, redelivered):
        # Within a life the first delivery may be read after the second, which came through another socket.
        if not redelivered and (copy.seen_fresh or (copy.seen and copy.seen_life < self.life)):
            self.violated('I4', 'unmarked', f'{copy} came again without redelivered')
        untouched = copy.birth > self.crash_clock and copy.birth_life > reader.others_life
        if redelivered and not copy.seen and reader.alone and untouched:
            self.violated('I4', 'marked', f'{copy} came with redelivered, but nobody had it before')

    def check_order(self, reader, copy, redelivered):
        if not reader.alone and redelivered:
            return
        message = copy.message
        last = reader.orders.get(message.publisher, 0)
        if message.order <= last:
            self.violated('I4', 'order', f'{copy} of publisher {message.publisher} came after {last}')
        reader.orders[message.publisher] = message.order

    def witness_delivery(self, copy):
        if copy.publish_group is not None and copy.publish_group.life < self.life:
            self.witness(copy.publish_group, happened=f'{copy} came')
            copy.publish_group = None
        if copy.ack_group is not None and copy.ack_group.life is not None and copy.ack_group.life < self.life:
            self.witness(copy.ack_group, missing=f'{copy}, acked in it, came again')
            copy.ack_group = None

    def witness(self, group, happened=None, missing=None):
        """I7: all of a group or nothing."""
        known = group.happened and group.missing
        group.happened = group.happened or happened
        group.missing = group.missing or missing
        if group.happened and group.missing and not known:
            text = f'{group.what} of life {group.life}: {group.happened}, but {group.missing}'
            self.violated('I7', 'torn', text)

    def released(self, copy, channel, after=0):
        """`channel` no longer holds it: it is ready again, and a purge sent since `after` may have taken it."""
        if copy.holder is channel:
            copy.holder = None
            copy.note(f'released in life {self.life} @{self.clock}')
            if copy.queue.purging or (after and copy.queue.purge_clock >= after):
                self.excuse(copy, PURGED)

    def convict(self, reader):
        for text in reader.suspects:
            self.violated('I2', 'resurrected', text)
        reader.suspects.clear()

    # ---- ends ----------------------------------------------------------------------------------------------------

    def excuse(self, copy, why):
        copy.excuses |= why
        copy.note(f'{EXCUSES[why]} in life {self.life} @{self.clock}')
        copy.excuse_life = self.life

    def drop(self, copy):
        self.histories[(copy.message.number, copy.queue.name)] = (self.life, copy.history)
        if len(self.histories) > HISTORIES_MAX:
            self.histories.popitem(last=False)
        copy.queue.copies.pop(copy.message.number, None)
        copy.message.copies.pop(copy.queue, None)
        self.forget_if_done(copy.message)

    def forget_if_done(self, message):
        if not message.copies and message.number not in self.open:
            self.messages.pop(message.number, None)

    def take_processed(self):
        """What becomes durable with a persistent message that is published now and then confirmed."""
        taken, self.processed = self.processed, []
        return taken

    def settled_for_good(self, copies):
        for copy in copies:
            copy.note(f'settled for good @{self.clock}')
            self.counts['settled for good'] += 1
            self.drop(copy)

    def absent(self, copy, live=False):
        """The queue was read to its end and the copy did not come. `live`: in the life in which all this happened."""
        if copy.must and not copy.excuses and not copy.gone:
            self.violated('I1', 'lost', f'{copy} of {copy.message.size} octets through {copy.message.exchange.name!r}')
        if live:  # what was not synced may go with the life
            self.drop(copy)
            return
        if copy.publish_group is not None and not copy.excuses:
            self.witness(copy.publish_group, missing=f'{copy} is not there')
        if copy.ack_group is not None and copy.must and copy.excuses == COMMITTING:
            self.witness(copy.ack_group, happened=f'{copy}, acked in it, is gone')
        self.drop(copy)

    def bounds(self, queue):
        """How many messages may be in it."""
        sure = sum(copy.must and not copy.excuses and not copy.gone for copy in queue.copies.values())
        return sure, len(queue.copies)

    # ---- the end of a life ---------------------------------------------------------------------------------------

    def life_ended(self, killed, commits):
        """`commits`: (messages, acked copies) of each commit that was sent and not answered."""
        self.counts['kills' if killed else 'clean stops'] += 1
        if killed:
            self.crash_clock = self.clock
        for messages, acked in commits:
            group = Group('commit')
            group.life = self.life
            for message in messages:
                self.close_in_group(message, group)
            for copy in acked:
                if not copy.excuses & DELETED:  # a queue on its way out no longer takes acks, and may come back
                    copy.ack_group = group
        for message in list(self.open.values()):
            group = Group(f'publish of message {message.number}')
            group.life = self.life
            self.close_in_group(message, group)
        for queue in self.queues.values():
            self.queue_life_ended(queue)
        for exchange in self.exchanges.values():
            for queue, key in list(exchange.bindings):
                if not queue.durable:
                    del exchange.bindings[(queue, key)]
        self.processed = []
        self.routes.clear()
        self.life += 1
        self.clock += 1

    def close_in_group(self, message, group):
        if message.number not in self.open:
            return
        self.close(message)
        for copy in message.copies.values():
            if copy.sure and copy.durable and not copy.gone:
                copy.publish_group = group
        self.forget_if_done(message)

    def queue_life_ended(self, queue):
        queue.purging = 0
        queue.owner = None
        for copy in list(queue.copies.values()):
            copy.holder = None
            if copy.gone or not copy.durable:
                self.drop(copy)
        if not queue.durable:
            queue.state = 'absent'
        elif queue.state in ('declaring', 'deleting'):
            queue.state = 'unknown'
