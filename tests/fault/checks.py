"""After a start: are the definitions there, how many messages, and are they the right ones?"""
import time

import client
from consumers import Consumer
from definitions import Control
from publishers import Barrier
from world import KINDS

import wire

PATIENCE = wire.DEADLINE * 2  # seconds for an answer; sanitizer builds stretch it


class Interrupted(Exception):
    """The time of the kill has come."""


class Checker:
    def __init__(self, world, kill_at):
        self.world, self.oracle, self.kill_at = world, world.oracle, kill_at
        self.connection = client.Connection(world.loop, world.port)
        self.control = Control(self.connection, world)
        self.barrier = Barrier(self.connection, world)

    def wait(self, condition, what, progress=None):
        """Until condition(); a broker that does nothing for PATIENCE seconds fails the run. False then."""
        last, end = None, time.monotonic() + PATIENCE
        while not condition():
            if self.kill_at is not None and time.monotonic() > self.kill_at:
                raise Interrupted
            if not self.connection.open and not self.connection.closed_well:
                raise AssertionError('the broker ended a connection while it was checked')
            if progress and progress() != last:
                last, end = progress(), time.monotonic() + PATIENCE
            if time.monotonic() > end:
                self.oracle.violated('--', 'silence', f'not within {PATIENCE:g} s: {what}')
                return False
            self.world.loop.step(0.02)
        return True

    # ---- definitions (I9) and counts (I6) ------------------------------------------------------------------------

    def definitions(self):
        """Returns the number of messages by queue."""
        probes = [Probe(self.connection, wire.queue_declare, queue.name) for queue in self.oracle.queues.values()]
        exchanges = [*KINDS, *self.world.spare_exchanges]
        exchange_probes = [ExchangeProbe(self.connection, name) for name in exchanges]
        self.wait(lambda: all(probe.done for probe in probes + exchange_probes), 'answers to passive declares')
        counts = {}
        for queue, probe in zip(list(self.oracle.queues.values()), probes):
            self.oracle.found(queue, probe.exists)
            if probe.exists:
                counts[queue] = probe.count
                self.check_count(queue, probe.count)
        for name, probe in zip(exchanges, exchange_probes):
            self.check_exchange(name, probe.exists)
        self.resolve_bindings()
        return counts

    def check_count(self, queue, count):
        least, most = self.oracle.bounds(queue)
        if count < least:
            self.oracle.violated('I1', 'lost', f'{queue} has {count} messages, at least {least} have to be there')
        if count > most:
            self.oracle.violated('I6', 'count', f'{queue} has {count} messages, at most {most} can be there')

    def check_exchange(self, name, exists):
        state = self.world.spare_exchanges.get(name, 'present')
        if state == 'present' and not exists:
            self.oracle.violated('I9', 'definitions', f'exchange {name} is gone')
        if state == 'absent' and exists:
            self.oracle.violated('I9', 'definitions', f'exchange {name} is there, though it is transient or was deleted')
        if name in self.world.spare_exchanges:
            self.world.spare_exchanges[name] = 'present' if exists else 'absent'

    def resolve_bindings(self):
        """What was bound or unbound at the kill is unbound now, so that it is known."""
        for exchange in self.oracle.exchanges.values():
            for binding in [binding for binding, sure in exchange.bindings.items() if not sure]:
                self.control.unbind(exchange, binding)
        self.wait(lambda: not self.world.busy, 'unbind-ok')

    def set_up(self):
        """The first life."""
        self.control.send(wire.queue_declare(self.control.number, Barrier.QUEUE, durable=True))
        self.control.ask({(50, 11): None})
        for name, kind in KINDS.items():
            self.control.send(client.exchange_declare(self.control.number, name, kind, True))
            self.control.ask({(40, 11): None})
        self.wait(lambda: not self.control.replies, 'exchange.declare-ok')

    # ---- contents (I1 to I4, I6, I7) -----------------------------------------------------------------------------

    def drain(self, counts, live=False):
        """Reads these queues to their end. `live`: others have read in this life, and all of them have left."""
        channel = Drain(self.connection, self.world)
        readers = {queue: channel.consume(queue, alone=not live) for queue in counts}
        expected = sum(counts.values())
        if live:
            # Messages of connections that were cut may come back late, so the counts say nothing.
            surely = {queue: {number for number, copy in queue.copies.items() if copy.must and not copy.excuses}
                      for queue in counts}
            done = lambda: all(numbers <= readers[queue].seen for queue, numbers in surely.items())  # noqa: E731
        else:
            done = lambda: channel.received >= expected  # noqa: E731
        self.wait(done, f'{expected} messages', lambda: channel.received)
        channel.ack_all()
        emptied = [Count(channel, queue) for queue in counts]
        self.wait(lambda: not channel.replies, 'counts after a drain')
        for count in emptied if not live else []:
            self.check_drained(count, counts[count.queue], len(readers[count.queue].seen))
        for queue, reader in readers.items():
            for copy in [copy for number, copy in queue.copies.items() if number not in reader.seen]:
                # Live, what a purge or an ack may have taken may still be with a connection that was cut.
                if not live or (copy.message.number not in self.oracle.open and not copy.excuses):
                    self.oracle.absent(copy, live)
        self.sync()

    def check_drained(self, count, expected, came):
        if came != expected or count.value != 0:
            self.oracle.violated('I6', 'count',
                                 f'{count.queue} announced {expected} messages, {came} came, {count.value} are left')

    def sync(self):
        """Settles for good what was processed."""
        synced = []
        self.barrier.act(lambda: synced.append(True))
        self.wait(lambda: synced, 'a confirm')

    def empty_barrier(self):
        self.control.send(client.queue_purge(self.control.number, Barrier.QUEUE))
        self.control.ask({(50, 31): None})
        self.wait(lambda: not self.control.replies, 'purge-ok')

    def leave(self):
        self.connection.ask_close()
        self.wait(lambda: self.connection.closed_well, 'connection.close-ok')


class Probe(client.Channel):
    """A passive declare on a channel of its own, which it may cost."""

    def __init__(self, connection, declare, name):
        super().__init__(connection)
        self.done = self.exists = False
        self.count = 0
        self.send(declare(self.number, name, passive=True))
        self.ask({(50, 11): self.found})

    def found(self, fields):
        fields.short()
        self.count = fields.unpack('I')
        self.finish(True)

    def finish(self, exists):
        self.done, self.exists = True, exists
        if exists:
            self.send(wire.channel_close(self.number))
            self.ask({(20, 41): lambda _: self.ended()})

    def on_closed(self, close):
        assert close.code == 404, f'a passive declare ended with {close}'
        self.finish(False)


class ExchangeProbe(Probe):
    def __init__(self, connection, name):
        super().__init__(connection, lambda number, name, passive: client.exchange_declare_passive(number, name), name)
        self.replies.pop()
        self.ask({(40, 11): lambda _: self.finish(True)})


class Count:
    """How many messages are ready in a queue, asked on the channel that acked its last ones."""

    def __init__(self, channel, queue):
        self.queue, self.value = queue, None
        acked = channel.acked.pop(queue, [])

        def answered(fields):
            fields.short()
            self.value = fields.unpack('I')
            channel.oracle.processed += acked
        channel.send(wire.queue_declare(channel.number, queue.name, passive=True))
        channel.ask({(50, 11): answered})


class Drain(Consumer):
    """Acks all it gets, now and then."""

    def __init__(self, connection, world):
        super().__init__(connection, world, 500)
        self.received = 0

    def take(self, *arguments):
        super().take(*arguments)
        self.received += 1
        if len(self.unacked) >= 150:
            self.ack_all()

    def ack_all(self):
        if not self.unacked:
            return
        tags = list(self.unacked)
        self.send(client.basic_ack(self.number, tags[-1], multiple=True))
        self.settled(tags)

    def on_closed(self, close):
        raise AssertionError(f'the broker closed the channel of a drain: {close.code} {close.text}')
