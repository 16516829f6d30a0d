"""Tutorial 4, the logger: a direct exchange sorts by severity. routing_send.py SEVERITY TEXT"""
import sys

import tutorial

EXCHANGE = 'tutorial.routing'

severity, text = sys.argv[1], ' '.join(sys.argv[2:])
connection = tutorial.connect()
channel = connection.channel()
channel.exchange_declare(EXCHANGE, 'direct')
channel.basic_publish(EXCHANGE, severity, text)
tutorial.say(f'sent {severity}: {text}')
connection.close()
