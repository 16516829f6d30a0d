#!/usr/bin/python3
"""Kills harrierd again and again under a random load and checks that what it promised holds (docs/testing.md).

  kill_loop.py --rounds 300 --seed 7                      one shard
  kill_loop.py --rounds 100 --seed 7 --shards 3
  kill_loop.py --rounds 10 --control drop-log             the newest log loses its end after each kill: must report loss

One data folder lives through all rounds. The seed fixes what clients decide; what meets the kill depends on timing.
"""
import argparse
import os
import pathlib
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

import checks
import client
import mix
import oracle
import world

import harness
import wire

ROUND_SECONDS = (0.2, 2.0)
SHOWN_MAX = 50  # violations in full
FIGURES = ('published', 'confirmed', 'commits', 'delivered', 'duplicates', 'settled for good')
FATAL = ('lost', 'resurrected', 'unknown', 'altered', 'order', 'unmarked', 'marked', 'torn', 'count', 'definitions', 'nacked',
         'protocol', 'silence')


class Broker(harness.Broker):
    """Starts in two steps, so that it can be killed in between; says when it is ready."""

    def __init__(self, program, shards, accept_data_loss):
        super().__init__()
        self.program = pathlib.Path(program).resolve()
        if not self.program.exists():
            sys.exit(f'FAILED: {program} does not exist. Build it: cmake --build build/dev --target harrierd')
        self.shards = shards
        self.settings = []
        self.recoveries = []
        self.keys = subprocess.run([self.program, '--config-keys'], capture_output=True, text=True, check=True).stdout
        usage = subprocess.run([self.program, '--help'], capture_output=True, text=True, check=True).stdout
        self.flags = [flag for flag in ['--accept-data-loss'] if accept_data_loss and flag in usage]

    def command(self):
        return [self.program, '--data-dir', self.data, '--set', f'listeners.tcp.default=127.0.0.1:{self.port}',
                '--set', 'log.console.level=info', '--set', f'shards={self.shards}', *self.settings,
                *self.flags]

    def choose_settings(self, chooser):
        """Small buffers make epochs, flushes and paging frequent."""
        self.settings = ['--set', f'write_buffer_size={chooser.choice((1, 1, 4, 32, 96)) << 20}']
        if '  queue_memory = ' in self.keys:
            self.settings += ['--set', f'queue_memory={chooser.choice((1, 1, 8, 64)) << 20}']

    def spawn(self):
        self.starts += 1
        self.log = self.folder / f'broker.{self.starts}.log'
        old = self.folder / f'broker.{self.starts - 20}.log'
        old.unlink(missing_ok=True)
        self.began = time.monotonic()
        with open(self.log, 'wb') as output:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output,
                                            start_new_session=True)

    def await_ready(self, end=None):
        """False when the time `end` came first. Fails when the broker ends instead."""
        octets = b''
        limit = time.monotonic() + max(harness.DEADLINE, 60)
        while harness.READY_LINE not in octets:
            now = time.monotonic()
            if end is not None and now >= end:
                return False
            if now > limit:
                raise AssertionError('the broker did not get ready')
            if select.select([self.process.stdout], [], [], min(end or limit, limit) - now)[0]:
                chunk = os.read(self.process.stdout.fileno(), 4096)
                if not chunk:
                    raise AssertionError(f'the broker ended at start with status {self.process.wait()}')
                octets += chunk
        self.recoveries.append(time.monotonic() - self.began)
        return True

    def end_group(self):
        self.process.stdout.close()
        super().end_group()


class Run:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.oracle = oracle.Oracle(options.seed)
        self.oracle.on_violation = self.show
        self.shown = 0
        self.broker = Broker(options.harrierd, options.shards, accept_data_loss=options.control == 'drop-log')
        self.loop = client.Loop()
        self.world = world.World(self.oracle, self.random, self.loop, self.broker.port)
        self.nested = 0

    def show(self, text):
        self.shown += 1
        if self.shown <= SHOWN_MAX:
            print(f'  !! {text}', flush=True)
        elif self.shown == SHOWN_MAX + 1:
            print('  !! further ones are only counted', flush=True)

    # ---- rounds --------------------------------------------------------------------------------------------------

    def run(self):
        for number in range(1, self.options.rounds + 1):
            if number % 20 == 1:
                self.world.target = self.random.choice((1, 4, 10, 25, 50))
            began, before = time.monotonic(), self.oracle.counts.copy()
            self.start()
            ending = self.round(first=number == 1)
            print(f'round {number}: {ending}, {self.difference(before)}, {time.monotonic() - began:.1f} s', flush=True)
            if self.options.control and self.oracle.counts['lost']:
                return
        self.start()
        checker = checks.Checker(self.world, None)
        checker.drain(checker.definitions())
        self.broker.stop()
        self.ended(killed=False)

    def round(self, first):
        """Checks, mixes and ends the broker; returns how."""
        early = self.random.random() < 0.1 and not first
        kill_at = time.monotonic() + self.random.uniform(0, 0.15) if early else None
        try:
            checker = checks.Checker(self.world, kill_at)
            if first:
                checker.set_up()
            counts = checker.definitions()
            checker.drain(self.choose_drained(counts))
            checker.empty_barrier()
            if early:
                checker.wait(lambda: False, 'the kill')
            checker.leave()
        except checks.Interrupted:
            self.kill()
            return 'killed while checked'
        return self.mix_and_end()

    def choose_drained(self, counts):
        if self.options.control or self.world.too_much() or self.random.random() < 0.3:
            return counts
        return {queue: count for queue, count in counts.items() if self.random.random() < 0.15}

    def mix_and_end(self):
        chance = self.random.random()
        clean = chance > 0.85 and not self.options.control
        quiet = chance > 0.90 and not self.options.control
        clients = mix.Clients(self.world)
        clients.act_until(time.monotonic() + self.random.uniform(*ROUND_SECONDS))
        if quiet:
            clients.leave()
            if chance > 0.95:
                self.drain_live()
        if clean:
            self.broker.stop()
            self.loop.read_what_is_left()
            # What was surely handled before a clean stop is kept without a sync to show for it.
            self.oracle.settled_for_good(self.oracle.processed + self.world.closed_acks)
            self.ended(killed=False)
            return 'stopped without load' if quiet else 'stopped under load'
        self.kill()
        return 'killed'

    def drain_live(self):
        checker = checks.Checker(self.world, None)
        checker.drain({queue: len(queue.copies) for queue in self.world.present()}, live=True)
        checker.leave()

    # ---- the broker ----------------------------------------------------------------------------------------------

    def start(self):
        """Starts it; some starts are killed on the way."""
        self.broker.choose_settings(self.random)
        while self.broker.recoveries and self.random.random() < 0.2:
            usual = statistics.median(self.broker.recoveries)
            self.broker.spawn()
            self.broker.await_ready(time.monotonic() + self.random.uniform(0, 1.2 * usual))
            self.kill()
            self.nested += 1
        self.broker.spawn()
        self.broker.await_ready()

    def kill(self):
        status = self.broker.process.poll()
        assert status is None, f'the broker ended with status {status}'
        self.broker.kill()
        self.loop.read_what_is_left()
        self.ended(killed=True)
        if self.options.control == 'drop-log':
            self.drop_log()

    def ended(self, killed):
        commits, self.world.commits = self.world.commits, []
        self.world.closed_acks = []
        self.world.busy.clear()
        for name, state in self.world.spare_exchanges.items():
            if name.endswith('3'):
                self.world.spare_exchanges[name] = 'absent'
        self.oracle.life_ended(killed, commits)

    def drop_log(self):
        """What a disk does that loses synced data."""
        logs = sorted((self.broker.data / 'db').glob('*.log'), key=lambda path: int(path.stem))
        if not logs:
            return
        size = logs[-1].stat().st_size
        kept = int(size * self.random.uniform(0.2, 0.8))
        os.truncate(logs[-1], kept)
        print(f'  control: {logs[-1].name} cut from {size} to {kept} octets', flush=True)

    # ---- report --------------------------------------------------------------------------------------------------

    def difference(self, before):
        counts = self.oracle.counts - before
        return ', '.join(f'{counts[what]} {what}' for what in FIGURES[:5])

    def report(self, rounds):
        counts = self.oracle.counts
        recoveries = sorted(self.broker.recoveries) or [0]
        print(f'rounds: {rounds} ({counts["kills"]} kills, {self.nested} of them during start, '
              f'{counts["clean stops"]} clean stops)')
        for what in FIGURES:
            print(f'{what}: {counts[what]}')
        print(f'lost: {counts["lost"]}')
        print(f'order violations: {counts["order"]}')
        for what in FATAL:
            if what not in ('lost', 'order') and counts[what]:
                print(f'{what}: {counts[what]}')
        print(f'recovery: p50 {statistics.median(recoveries) * 1000:.0f} ms, max {recoveries[-1] * 1000:.0f} ms')
        print(f'peak memory of the oracle: {peak_rss_mib()} MiB')


def peak_rss_mib():
    for line in pathlib.Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) // 1024
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument('--harrierd', default=os.environ.get('HARRIERD', harness.ROOT / 'build' / 'dev' / 'bin' / 'harrierd'))
    parser.add_argument('--shards', type=int, default=1)
    parser.add_argument('--control', choices=['drop-log'], help='a broken disk, which the oracle has to notice')
    parser.add_argument('--keep', action='store_true', help='keep the data folder and the last logs of the broker')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the broker goes, too
    print(f'seed {options.seed}, shards {options.shards}', flush=True)
    run = Run(options)
    good = True
    try:
        run.run()
    except (AssertionError, OSError, wire.Gone) as error:
        print(f'FAILED: {type(error).__name__}: {error}\n{run.broker.log_tail()}', flush=True)
        good = False
    run.report(options.rounds)
    good = good and not any(run.oracle.counts[what] for what in FATAL)
    if options.keep or not (good or options.control):
        kept = pathlib.Path(f'{run.broker.folder}.kept')
        if run.broker.process:
            run.broker.kill()
        shutil.copytree(run.broker.folder, kept)
        print(f'kept: {kept}')
    if options.control:
        print(f'control {options.control}: the oracle noticed {run.oracle.counts["lost"]} lost')
    print('passed' if good else 'FAILED')
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
