"""Tutorial 2, a worker: takes one task at a time and acks it when done. work_worker.py NAME

A task that says "die" ends the worker before it acks; another worker then gets the task again.
"""
import os
import sys

import tutorial

QUEUE = 'tutorial.work'
name = sys.argv[1]


def on_task(channel, method, _properties, body):
    again = ' again' if method.redelivered else ''
    tutorial.say(f'{name} works on: {body.decode()}{again}')
    if body == b'die' and not method.redelivered:
        os._exit(1)  # no goodbye: the broker only sees the connection break
    tutorial.say(f'{name} finished: {body.decode()}')
    channel.basic_ack(method.delivery_tag)


channel = tutorial.connect().channel()
channel.queue_declare(QUEUE, durable=True)
channel.basic_qos(prefetch_count=1)  # fair: the next task goes to whoever is free
channel.basic_consume(QUEUE, on_task)
tutorial.consume_until_interrupted(channel)
