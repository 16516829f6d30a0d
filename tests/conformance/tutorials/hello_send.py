"""Tutorial 1, the sender: one message into one queue. hello_send.py [TEXT]"""
import sys

import tutorial

QUEUE = 'tutorial.hello'

connection = tutorial.connect()
channel = connection.channel()
channel.queue_declare(QUEUE)  # both sides declare it, so either may start first
text = ' '.join(sys.argv[1:]) or 'Hello, world!'
channel.basic_publish(exchange='', routing_key=QUEUE, body=text)
tutorial.say(f'sent: {text}')
connection.close()  # returns when everything is written
