#!/usr/bin/python3
"""Runs the six tutorials as a newcomer would, each program a process, and reads what they print."""
import os
import signal
import subprocess
import threading

import harness

pika = harness.require('pika', 'python3-pika')


class Program:
    """A tutorial program that runs until it is interrupted; its lines arrive in self.lines."""

    def __init__(self, command, environment):
        self.lines = []
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.wait_for('ready')

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))

    def wait_for(self, line):
        harness.eventually(lambda: line in self.lines, f'the line "{line}"; there were {self.lines}')

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.reader.join(20)
        status = self.process.wait(20)
        self.process.stdout.close()
        return status

    def output(self):
        return [line for line in self.lines if line != 'ready']


class TutorialsTest(harness.BrokerTest):
    def setUp(self):
        self.environment = {**os.environ, 'HARRIER_TEST_HOST': self.broker.host, 'HARRIER_TEST_PORT': str(self.broker.port),
                            'PYTHONDONTWRITEBYTECODE': '1'}
        self.remove_leftovers()
        self.addCleanup(self.remove_leftovers)

    def remove_leftovers(self):
        with pika.BlockingConnection(pika.ConnectionParameters(*self.broker.address())) as connection:
            channel = connection.channel()
            for queue in ('tutorial.hello', 'tutorial.work', 'tutorial.rpc'):
                channel.queue_delete(queue)
            for exchange in ('tutorial.broadcast', 'tutorial.routing', 'tutorial.topics'):
                channel.exchange_delete(exchange)

    def command(self, name, *arguments):
        return ['/usr/bin/python3', harness.HERE / 'tutorials' / f'{name}.py', *arguments]

    def start(self, name, *arguments):
        program = Program(self.command(name, *arguments), self.environment)
        self.addCleanup(lambda: program.process.poll() is None and program.end())
        return program

    def run_once(self, name, *arguments):
        return subprocess.run(self.command(name, *arguments), env=self.environment, check=True, capture_output=True, text=True,
                              timeout=60).stdout.splitlines()

    def test_1_hello_world(self):
        self.assertEqual(self.run_once('hello_send'), ['sent: Hello, world!'])
        receiver = self.start('hello_receive')
        receiver.wait_for('received: Hello, world!')
        self.run_once('hello_send', 'and', 'again')
        receiver.wait_for('received: and again')
        self.assertEqual(receiver.end(), 0)
        self.assertEqual(receiver.output(), ['received: Hello, world!', 'received: and again'])

    def test_2_work_queues(self):
        workers = [self.start('work_worker', name) for name in ('ada', 'bob')]
        tasks = [f'task-{number}' for number in range(6)]
        self.assertEqual(self.run_once('work_new_task', *tasks), [f'queued: {task}' for task in tasks])

        def finished():
            return sorted(line.split(': ')[1] for worker in workers for line in worker.output() if ' finished: ' in line)
        harness.eventually(lambda: finished() == tasks, f'all tasks to be finished once, not {finished()}')
        self.run_once('work_new_task', 'die')
        harness.eventually(lambda: 'die' in finished(), 'the task of the dead worker to be finished by the other')
        victim = next(worker for worker in workers if worker.output()[-1].endswith('works on: die'))
        self.assertEqual(victim.process.wait(20), 1)
        survivor = next(worker for worker in workers if worker is not victim)
        self.assertEqual([line.split(' ', 1)[1] for line in survivor.output()[-2:]], ['works on: die again', 'finished: die'])
        victim.end()

    def test_3_publish_and_subscribe(self):
        listeners = [self.start('broadcast_receive') for _ in range(3)]
        for text in ('one', 'two'):
            self.run_once('broadcast_send', text)
        for listener in listeners:
            listener.wait_for('heard: two')
            self.assertEqual(listener.output(), ['heard: one', 'heard: two'])

    def test_4_routing(self):
        errors, everything = self.start('routing_receive', 'error'), self.start('routing_receive', 'info', 'warning', 'error')
        self.run_once('routing_send', 'info', 'all', 'is', 'well')
        self.run_once('routing_send', 'error', 'disk on fire')
        for reader in (errors, everything):
            reader.wait_for('error: disk on fire')
        self.assertEqual(errors.output(), ['error: disk on fire'])
        self.assertEqual(everything.output(), ['info: all is well', 'error: disk on fire'])

    def test_5_topics(self):
        kernel, critical, everything = (self.start('topics_receive', 'kernel.*'), self.start('topics_receive', '*.critical'),
                                        self.start('topics_receive', '#'))
        sent = ['kernel.critical: panic', 'kernel.info: booted', 'cron.critical: late', 'cron.job.done: ok']
        for line in sent:
            self.run_once('topics_send', *line.split(': '))
        everything.wait_for(sent[3])
        kernel.wait_for(sent[1])
        critical.wait_for(sent[2])
        self.assertEqual(everything.output(), sent)
        self.assertEqual(kernel.output(), sent[:2])
        self.assertEqual(critical.output(), [sent[0], sent[2]])

    def test_6_rpc(self):
        server = self.start('rpc_server')
        self.assertEqual(self.run_once('rpc_client', '0', '1', '10', '90'),
                         ['fibonacci(0) = 0', 'fibonacci(1) = 1', 'fibonacci(10) = 55', 'fibonacci(90) = 2880067194370816120'])
        server.wait_for('asked for 90')
        self.assertEqual(server.output(), ['asked for 0', 'asked for 1', 'asked for 10', 'asked for 90'])


if __name__ == '__main__':
    harness.main()
