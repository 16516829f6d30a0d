"""What clients do between two kills: random publishers, consumers, transactions and changes of definitions."""
import time

import client
from checks import PATIENCE
from consumers import Consumer, Transactional
from definitions import Control
from publishers import Barrier, Publisher


class Clients:
    """The connections of one round."""

    def __init__(self, world):
        self.world, self.random = world, world.random
        self.connections = []
        self.controls = [self.open(lambda connection: Control(connection, world)) for _ in range(2)]
        self.barrier = Barrier(self.controls[0].connection, world)
        self.publishers = [channel for _ in range(self.random.randint(1, 3)) for channel in self.open(self.publishing)]
        self.consumers = [channel for _ in range(self.random.randint(0, 3)) for channel in self.open(self.consuming)]
        self.weights = {'publish': self.random.choice((1, 4, 10)), 'consume': self.random.choice((1, 4, 10)),
                        'control': self.random.choice((0.1, 0.5, 2)), 'churn': self.random.choice((0, 0.02, 0.1)),
                        'barrier': 0.3}

    def open(self, fill):
        connection = client.Connection(self.world.loop, self.world.port)
        self.connections.append(connection)
        return fill(connection)

    def publishing(self, connection):
        return [Transactional(connection, self.world, self.prefetch()) if self.random.random() < 0.3 else
                Publisher(connection, self.world) for _ in range(self.random.randint(1, 3))]

    def consuming(self, connection):
        channels = [Consumer(connection, self.world, self.prefetch()) for _ in range(self.random.randint(1, 3))]
        own = [queue for queue in self.world.oracle.queues.values()
               if queue.name.startswith('kl.x') and queue.state == 'absent']
        if own and self.random.random() < 0.3:
            channels[0].declare_exclusive(own[0])
        return channels

    def prefetch(self):
        return self.random.choice((1, 2, 10, 100, 1000))

    def act_until(self, end):
        kinds = list(self.weights)
        weights = list(self.weights.values())
        resting, checked = False, 0.0
        while time.monotonic() < end:
            self.world.loop.step()
            if time.monotonic() > checked:
                resting, checked = self.world.too_much(), time.monotonic() + 0.1
            for kind in self.random.choices(kinds, weights, k=6):
                if kind != 'publish' or not resting:
                    getattr(self, 'act_' + kind)()

    def act_publish(self):
        self.random.choice(self.publishers).act()

    def act_consume(self):
        if self.consumers:
            self.random.choice(self.consumers).act()

    def act_control(self):
        self.random.choice(self.controls).act()

    def act_barrier(self):
        self.barrier.act()

    def act_churn(self):
        """A consumer's connection is cut, or another one comes."""
        if self.consumers and self.random.random() < 0.6:
            connection = self.random.choice(self.consumers).connection
            if self.random.random() < 0.5:
                connection.flush()
            connection.drop()
            self.consumers = [channel for channel in self.consumers if channel.connection is not connection]
        elif len(self.connections) < 30:
            self.consumers += self.open(self.consuming)

    def leave(self):
        """All go in good order."""
        for connection in self.connections:
            if connection.open:
                connection.ask_close()
        if not self.world.loop.until(lambda: not any(connection.open for connection in self.connections),
                                     time.monotonic() + PATIENCE):
            self.world.oracle.violated('--', 'silence', 'no connection.close-ok')
