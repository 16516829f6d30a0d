#!/usr/bin/python3
"""rabbitmq-c: a C program linked with it, and the amqp-tools built on it."""
import os
import subprocess
import tempfile

import harness


class RabbitmqCTest(harness.BrokerTest):
    def test_a_c_program_logs_in_publishes_consumes_and_closes(self):
        with tempfile.TemporaryDirectory() as folder:
            program = harness.compile_c('rabbitmq_c_client.c', folder)
            done = subprocess.run([program, self.broker.host, str(self.broker.port), '2000'], text=True,
                                  capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertRegex(lines.pop(1), r'^declared amq\.gen-')
        self.assertEqual(lines, ['refused 403', 'confirmed 2000', 'consumed 2000', 'channel closed 404 50,10', 'done'])


class AmqpToolsTest(harness.BrokerTest):
    def run_tool(self, tool, *arguments, stdin=b'', status=0):
        done = subprocess.run([f'amqp-{tool}', '--url', self.broker.url(), *arguments], input=stdin, capture_output=True,
                              timeout=60)
        self.assertEqual(done.returncode, status, done.stderr.decode(errors='replace'))
        return done.stdout

    def queue(self):
        name = self.name()
        self.assertEqual(self.run_tool('declare-queue', '-q', name).decode().strip(), name)
        self.addCleanup(self.run_tool, 'delete-queue', '-q', name)
        return name

    def test_publish_then_get(self):
        queue = self.queue()
        self.run_tool('publish', '-r', queue, '-b', 'hello', '-p', '-C', 'text/plain')
        self.run_tool('publish', '-r', queue, stdin=b'from standard input')
        self.assertEqual(self.run_tool('get', '-q', queue), b'hello')
        self.assertEqual(self.run_tool('get', '-q', queue), b'from standard input')
        self.run_tool('get', '-q', queue, status=2)  # empty

    def test_a_large_body_makes_the_round_trip(self):
        queue, body = self.queue(), os.urandom(1_000_000)
        self.run_tool('publish', '-r', queue, stdin=body)
        self.assertEqual(self.run_tool('get', '-q', queue), body)

    def test_publish_line_by_line_then_consume(self):
        queue = self.queue()
        lines = [f'line {number}' for number in range(20)]
        self.run_tool('publish', '-r', queue, '-l', stdin='\n'.join(lines).encode() + b'\n')
        output = self.run_tool('consume', '-q', queue, '-c', '20', '-p', '5', '--', 'sh', '-c', 'cat; echo')
        self.assertEqual([line for line in output.decode().splitlines() if line], lines)

    def test_consume_through_a_binding_of_its_own(self):
        key = self.name('key')
        queue = self.name()
        consumer = subprocess.Popen(['amqp-consume', '--url', self.broker.url(), '-q', queue, '-x', '-e', 'amq.topic',
                                     '-r', key, '-c', '1', 'cat'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def publish_until_it_arrives():
            self.run_tool('publish', '-e', 'amq.topic', '-r', key, '-b', 'routed')
            return consumer.poll() is not None
        harness.eventually(publish_until_it_arrives, 'amqp-consume to receive and end')
        output, _ = consumer.communicate(timeout=20)
        self.assertEqual(output, b'routed')

    def test_delete_tells_the_count(self):
        queue = self.name()
        self.run_tool('declare-queue', '-q', queue, '-d')
        self.run_tool('publish', '-r', queue, '-b', 'x')
        self.assertEqual(self.run_tool('delete-queue', '-q', queue).strip(), b'1')

    def test_errors_end_the_tools_with_a_message(self):
        done = subprocess.run(['amqp-get', '--url', self.broker.url(), '-q', self.name()], capture_output=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b'NOT_FOUND', done.stderr)
        done = subprocess.run(['amqp-get', '--url', self.broker.url().replace('guest:guest', 'guest:wrong'), '-q', 'q'],
                              capture_output=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b'ACCESS_REFUSED', done.stderr)


if __name__ == '__main__':
    for tool in ('publish', 'get', 'consume', 'declare-queue', 'delete-queue'):
        harness.require_program(f'amqp-{tool}', 'amqp-tools')
    harness.main()
