"""Tutorial 3, the announcer: a fanout exchange copies the text to every queue bound to it. broadcast_send.py TEXT"""
import sys

import tutorial

EXCHANGE = 'tutorial.broadcast'

connection = tutorial.connect()
channel = connection.channel()
channel.exchange_declare(EXCHANGE, 'fanout')
text = ' '.join(sys.argv[1:])
channel.basic_publish(EXCHANGE, '', text)
tutorial.say(f'sent: {text}')
connection.close()
