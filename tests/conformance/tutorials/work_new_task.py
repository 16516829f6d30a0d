"""Tutorial 2, who has work to give: a persistent message in a durable queue for each argument. work_new_task.py TASK..."""
import sys

import pika
import tutorial

QUEUE = 'tutorial.work'

connection = tutorial.connect()
channel = connection.channel()
channel.queue_declare(QUEUE, durable=True)
channel.confirm_delivery()  # from here on, basic_publish returns when the broker has the message
for task in sys.argv[1:]:
    channel.basic_publish('', QUEUE, task, pika.BasicProperties(delivery_mode=2))
    tutorial.say(f'queued: {task}')
connection.close()
