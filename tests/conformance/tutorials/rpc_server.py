"""Tutorial 6, the server: answers each number with the Fibonacci number at that place. rpc_server.py"""
import pika
import tutorial

QUEUE = 'tutorial.rpc'


def fibonacci(place):
    here, following = 0, 1
    for _ in range(place):
        here, following = following, here + following
    return here


def on_request(channel, method, properties, body):
    place = int(body)
    tutorial.say(f'asked for {place}')
    channel.basic_publish('', properties.reply_to, str(fibonacci(place)),
                          pika.BasicProperties(correlation_id=properties.correlation_id))
    channel.basic_ack(method.delivery_tag)


channel = tutorial.connect().channel()
channel.queue_declare(QUEUE)
channel.basic_qos(prefetch_count=1)
channel.basic_consume(QUEUE, on_request)
tutorial.consume_until_interrupted(channel)
