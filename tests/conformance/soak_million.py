#!/usr/bin/python3
"""Persistent messages with confirms through four queues: none lost, none out of order, none doubled without a mark.

  soak_million.py                                    50,000 messages, then 50,000 with the broker killed in the middle
  soak_million.py --count 1000000                    the long run, without a kill
  soak_million.py --count 1000000 --kill-after 400000   SIGKILL after that many deliveries, restart on the same data
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import uuid

import harness


def soak(broker, program, count, kill_after):
    """Returns the totals the program printed."""
    command = [program, broker.host, str(broker.port), str(count), f'conformance.soak.{uuid.uuid4().hex[:8]}']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    totals = None
    try:
        for line in process.stdout:
            progress = re.match(r'progress (\d+)', line)
            if progress and kill_after and int(progress[1]) >= kill_after:
                kill_after = None
                broker.kill()
                start = time.monotonic()
                broker.start()
                print(f'  killed after {progress[1]} deliveries; ready again after {time.monotonic() - start:.1f} s', flush=True)
            elif not progress:
                totals = {key: float(number) for key, number in re.findall(r'([a-z-]+) ([0-9.]+)', line)}
                print('  ' + line.strip(), flush=True)
        status = process.wait()
    finally:
        process.kill()
        process.wait()
    if status != 0 or totals is None:
        raise AssertionError(f'{pathlib.Path(program).name} ended with status {status}')
    if kill_after:
        raise AssertionError(f'the run ended before {kill_after} deliveries; nothing was killed')
    return totals


def check_undisturbed(totals, count):
    for key, expected in (('confirmed', count), ('delivered', count), ('nacked', 0), ('redelivered', 0), ('duplicates', 0),
                          ('lost', 0), ('connection-losses', 0)):
        assert totals[key] == expected, f'{key} is {totals[key]:g}, not {expected}'


def check_killed(totals):
    assert totals['lost'] == 0
    assert totals['connection-losses'] >= 8, 'all eight connections must have broken'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=50_000)
    parser.add_argument('--kill-after', type=int, metavar='N', help='SIGKILL the broker after N deliveries (0: never)')
    options = parser.parse_args()
    count = options.count // 4 * 4
    kills = [options.kill_after] if options.kill_after is not None or count != 50_000 else [None, count // 3]
    with tempfile.TemporaryDirectory() as folder:
        program = harness.compile_c('soak_million.c', folder, '-pthread')
        for kill_after in kills:
            broker = harness.Broker().start()
            try:
                if kill_after and broker.external:
                    print('NOT RUN: the kill; this broker is external (HARRIER_TEST_PORT)', flush=True)
                    continue
                print(f'{count} messages, ' + (f'killed after {kill_after} deliveries' if kill_after else 'no kill'), flush=True)
                totals = soak(broker, program, count, kill_after)
                check_killed(totals) if kill_after else check_undisturbed(totals, count)
            finally:
                if not broker.external:
                    broker.stop()
    print('OK')


if __name__ == '__main__':
    try:
        main()
    except (AssertionError, subprocess.SubprocessError) as error:
        sys.exit(f'FAILED: {error}')
