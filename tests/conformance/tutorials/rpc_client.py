"""Tutorial 6, the client: sends requests and waits for the reply that carries its correlation id. rpc_client.py PLACE..."""
import sys
import uuid

import pika
import tutorial

QUEUE = 'tutorial.rpc'


class FibonacciClient:
    def __init__(self):
        self.connection = tutorial.connect()
        self.channel = self.connection.channel()
        self.replies = {}
        self.reply_queue = self.channel.queue_declare('', exclusive=True).method.queue
        self.channel.basic_consume(self.reply_queue, self.on_reply, auto_ack=True)

    def on_reply(self, _channel, _method, properties, body):
        self.replies[properties.correlation_id] = int(body)

    def call(self, place):
        request = str(uuid.uuid4())
        self.channel.basic_publish('', QUEUE, str(place),
                                   pika.BasicProperties(reply_to=self.reply_queue, correlation_id=request))
        while request not in self.replies:
            self.connection.process_data_events(time_limit=None)
        return self.replies.pop(request)


client = FibonacciClient()
for place in map(int, sys.argv[1:]):
    tutorial.say(f'fibonacci({place}) = {client.call(place)}')
client.connection.close()
