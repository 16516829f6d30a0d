"""Tutorial 5, a subscriber by pattern: * is one word, # any number of words. topics_receive.py PATTERN..."""
import sys

import tutorial

EXCHANGE = 'tutorial.topics'

channel = tutorial.connect().channel()
channel.exchange_declare(EXCHANGE, 'topic')
queue = channel.queue_declare('', exclusive=True).method.queue
for pattern in sys.argv[1:]:
    channel.queue_bind(queue, EXCHANGE, pattern)
channel.basic_consume(queue, lambda _c, method, _p, body: tutorial.say(f'{method.routing_key}: {body.decode()}'), auto_ack=True)
tutorial.consume_until_interrupted(channel)
