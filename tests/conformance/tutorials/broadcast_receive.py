"""Tutorial 3, a listener: a queue of its own, gone when it leaves. broadcast_receive.py"""
import tutorial

EXCHANGE = 'tutorial.broadcast'

channel = tutorial.connect().channel()
channel.exchange_declare(EXCHANGE, 'fanout')
queue = channel.queue_declare('', exclusive=True).method.queue  # the broker chooses the name
channel.queue_bind(queue, EXCHANGE)
channel.basic_consume(queue, lambda _c, _m, _p, body: tutorial.say(f'heard: {body.decode()}'), auto_ack=True)
tutorial.consume_until_interrupted(channel)
