"""Tutorial 4, a reader of some severities: one binding for each. routing_receive.py SEVERITY..."""
import sys

import tutorial

EXCHANGE = 'tutorial.routing'

channel = tutorial.connect().channel()
channel.exchange_declare(EXCHANGE, 'direct')
queue = channel.queue_declare('', exclusive=True).method.queue
for severity in sys.argv[1:]:
    channel.queue_bind(queue, EXCHANGE, severity)
channel.basic_consume(queue, lambda _c, method, _p, body: tutorial.say(f'{method.routing_key}: {body.decode()}'), auto_ack=True)
tutorial.consume_until_interrupted(channel)
