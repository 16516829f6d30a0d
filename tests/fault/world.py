"""What all clients of a run share: names, sizes, and what is on its way."""
import model

COPIES_MAX = 40000           # over all queues; above it publishers rest
OCTETS_MAX = 96 << 20        # likewise
SIZES = ((0.05, 0, 0), (0.80, 1, 200), (0.97, 200, 4 << 10), (0.997, 4 << 10, 64 << 10), (0.9995, 64 << 10, 1 << 20),
         (1.0, 1 << 20, model.BODY_MAX))
KEYS = {'kl.direct': ['k0', 'k1', 'k2', 'k3'], 'kl.topic': ['a', 'a.b', 'a.b.c', 'b.c', 'c.b.a'], 'kl.fanout': ['', 'any']}
PATTERNS = {'kl.direct': KEYS['kl.direct'], 'kl.topic': ['#', 'a.#', '*.b', 'a.*.c', '#.c', 'a'], 'kl.fanout': ['']}
KINDS = {'kl.direct': 'direct', 'kl.topic': 'topic', 'kl.fanout': 'fanout'}


class World:
    """What all clients of a run share."""

    def __init__(self, oracle, random, loop, port):
        self.oracle, self.random, self.loop, self.port = oracle, random, loop, port
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
