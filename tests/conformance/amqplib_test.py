#!/usr/bin/python3
"""Runs the amqplib suites (amqplib_*_test.js, node:test) against one broker."""
import os
import pathlib
import subprocess
import sys

import harness

MODULES = pathlib.Path(os.environ.get('HARRIER_NODE_MODULES', harness.ROOT / 'build' / 'node' / 'node_modules'))


class AmqplibTest(harness.BrokerTest):
    def run_suite(self, file):
        environment = {**os.environ, 'HARRIER_NODE_MODULES': str(MODULES), 'HARRIER_TEST_HOST': self.broker.host,
                       'HARRIER_TEST_PORT': str(self.broker.port),
                       'HARRIER_TEST_IS_RABBITMQ_3': '1' if harness.is_rabbitmq_3(self.broker) else '0'}
        done = subprocess.run(['node', '--test', '--test-reporter=spec', harness.HERE / file], env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        print(done.stdout, flush=True)
        self.assertEqual(done.returncode, 0, f'{file} failed; see its report above')
        self.assertNotIn('tests 0\n', done.stdout, f'{file} ran no test')

    def test_promise_api(self):
        self.run_suite('amqplib_promise_test.js')

    def test_callback_api(self):
        self.run_suite('amqplib_callback_test.js')


if __name__ == '__main__':
    harness.require_program('node', 'nodejs')
    if not (MODULES / 'amqplib').is_dir():
        sys.exit(f'FAILED: amqplib is missing in {MODULES}. Install it: npm install --no-save --prefix build/node amqplib@0.10')
    harness.main()
