"""Tutorial 1, the receiver: prints what comes until it is interrupted. hello_receive.py"""
import tutorial

QUEUE = 'tutorial.hello'


def on_message(_channel, _method, _properties, body):
    tutorial.say(f'received: {body.decode()}')


channel = tutorial.connect().channel()
channel.queue_declare(QUEUE)
channel.basic_consume(QUEUE, on_message, auto_ack=True)
tutorial.consume_until_interrupted(channel)
