"""Channels that change definitions."""
import client
import world

import wire

FANOUT_MAX = 10  # bindings per exchange


class Control(client.Channel):
    """Declares, deletes, purges and binds; at most one change on its way per queue and exchange."""

    def __init__(self, connection, of):
        super().__init__(connection)
        self.world, self.oracle = of, of.oracle

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
        exchange = self.oracle.exchanges[self.world.random.choice(list(world.PATTERNS))]
        bound = [binding for binding in exchange.bindings if binding[0] is queue]
        if bound and (self.world.random.random() < 0.5 or len(exchange.bindings) > FANOUT_MAX):
            self.unbind(exchange, self.world.random.choice(bound))
        elif len(exchange.bindings) < FANOUT_MAX:
            self.bind(exchange, queue, self.world.random.choice(world.PATTERNS[exchange.name]))

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
