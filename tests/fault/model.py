"""The model the oracle compares a broker with: queues, the copies of messages in them, who reads, what belongs together.

Terms:
  life      the time between two starts of the broker, counted. What is not durable ends with its life.
  copy      one message in one queue. It *must* be there once its publish was confirmed, until something was sent that may
            have ended it (an excuse: ack, purge, delete, commit). It is dropped when it surely is gone for good; a delivery
            after that, or of what never was routed there, is a violation.
  open      a publish whose outcome is unknown: neither confirmed nor surely thrown away.
  processed an ack is processed when a later answer about its queue came on its channel; it is durable when a confirm came
            for a persistent message (in a queue without readers) that was published after that answer.
"""

ACKED, PURGED, DELETED, COMMITTING = 1, 2, 4, 8  # excuses
EXCUSES = {ACKED: 'acked', PURGED: 'purged', DELETED: 'deleted', DELETED | PURGED: 'deleted early', COMMITTING: 'commit'}

BODY_MAX = 4 << 20
SHIFTS = 1 << 16  # bodies are slices of one pool of random octets, at this many places


class Message:
    __slots__ = ('number', 'publisher', 'order', 'exchange', 'key', 'persistent', 'size', 'properties', 'copies')


class Copy:
    __slots__ = ('message', 'queue', 'durable', 'sure', 'must', 'excuses', 'excuse_life', 'birth_life', 'birth', 'seen',
                 'seen_life', 'seen_fresh', 'holder', 'gone', 'publish_group', 'ack_group', 'history')

    def __str__(self):
        return f'message {self.message.number} in {self.queue} ({"; ".join(self.history)})'

    def note(self, what):
        """For the report of a violation."""
        self.history.append(what)


class Queue:
    """state: absent, declaring, present, deleting; unknown after a crash in the middle of one of these."""

    def __init__(self, name, durable):
        self.name, self.durable = name, durable
        self.state = 'absent'
        self.owner = None      # the connection it is exclusive to
        self.copies = {}       # message number -> Copy
        self.purging = 0       # purges sent and not answered
        self.purge_clock = 0   # when the last one was sent
        self.read_life = 0     # the last life in which somebody read from it

    def __repr__(self):
        return self.name


class Exchange:
    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.bindings = {}  # (Queue, key) -> sure: bool

    def matches(self, key, pattern):
        if self.kind == 'fanout':
            return True
        return key == pattern if self.kind in ('direct', '') else topic_matches(pattern.split('.'), key.split('.'))


class Group:
    """What becomes durable as one: the copies of an unconfirmed publish, or publishes and acks of a commit."""

    def __init__(self, what):
        self.what = what
        self.life = None  # of the crash it was caught in
        self.happened = self.missing = None


class Reader:
    """Who receives from one queue, for the order of what it gets."""

    def __init__(self, queue, alone=False):
        self.queue = queue
        self.alone = alone  # nobody else has read in this life: the order of everything is known
        self.others_life = queue.read_life
        self.orders = {}    # publisher -> order of the last message of it
        self.seen = set()   # numbers
        # Came after they were settled for good in this life. Right if the channel turns out to have given them back
        # (recover, or its end) before somebody else got them, whose socket was only read earlier.
        self.suspects = []


def topic_matches(pattern, words):
    if not pattern:
        return not words
    if pattern[0] == '#':
        return any(topic_matches(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ('*', words[0]) and topic_matches(pattern[1:], words[1:])


def number_of(content):
    """From the content type, which comes first; 0 when it is none of ours."""
    octets = content.properties
    try:
        return int(octets[4:3 + octets[2]]) if octets[3:4] == b'm' else 0
    except (ValueError, IndexError):
        return 0
