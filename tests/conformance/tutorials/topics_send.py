"""Tutorial 5, the source: keys are words with dots between them, as in "kernel.warning". topics_send.py KEY TEXT"""
import sys

import tutorial

EXCHANGE = 'tutorial.topics'

key, text = sys.argv[1], ' '.join(sys.argv[2:])
connection = tutorial.connect()
channel = connection.channel()
channel.exchange_declare(EXCHANGE, 'topic')
channel.basic_publish(EXCHANGE, key, text)
tutorial.say(f'sent {key}: {text}')
connection.close()
