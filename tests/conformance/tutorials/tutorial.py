"""What all tutorial programs share: where the broker is. HARRIER_TEST_HOST and HARRIER_TEST_PORT override the usual place."""
import os

import pika


def connect():
    host = os.environ.get('HARRIER_TEST_HOST', '127.0.0.1')
    port = int(os.environ.get('HARRIER_TEST_PORT', '5672'))
    return pika.BlockingConnection(pika.ConnectionParameters(host, port))


def say(text):
    """One line, at once: whoever watches us may be another program."""
    print(text, flush=True)


def consume_until_interrupted(channel):
    try:
        say('ready')
        channel.start_consuming()
    except KeyboardInterrupt:
        channel.stop_consuming()
        channel.connection.close()
