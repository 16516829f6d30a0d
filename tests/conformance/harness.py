"""The broker under test, and how to wait for it without sleeping. Shared by every suite in this folder.

Which broker:
  HARRIER_TEST_PORT=5672      one that already runs (HARRIER_TEST_HOST, default 127.0.0.1). Crash tests then say that
                              they did not run, because nobody may kill a broker that is not ours.
  HARRIER_TEST_COMMAND='...'  any broker started by this command, with {port}, {data} and {http} filled in. It must stay
                              in the foreground. Ready when it speaks AMQP. This is how the suites are run against RabbitMQ.
  otherwise                   $HARRIERD, or build/$HARRIER_PRESET/bin/harrierd (preset dev), on a free port and a fresh
                              data folder. HARRIERD_ARGS adds arguments. Ready when it prints "Server startup complete".
"""
import atexit
import importlib
import os
import pathlib
import random
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
READY_LINE = b'Server startup complete'
DEADLINE = float(os.environ.get('HARRIER_TEST_DEADLINE', '30'))  # seconds; sanitizer builds may need more


# ---- waiting ---------------------------------------------------------------------------------------------------

def eventually(condition, what, deadline=DEADLINE, every=0.02):
    """Returns the first true value of condition(); fails, saying `what` was awaited, after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'not within {deadline:g} s: {what}')
        time.sleep(every)


# ---- what must be installed: absent means failure, never a skip -----------------------------------------------------

def require(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        sys.exit(f'FAILED: Python module {module} cannot be imported ({error}). Install it: apt-get install {package}')


def require_program(name, package):
    path = shutil.which(name)
    if path is None:
        sys.exit(f'FAILED: program {name} is missing. Install it: apt-get install {package}')
    return path


def compile_c(source, folder, *flags):
    """Compiles one C file of this folder with rabbitmq-c; returns the program's path."""
    require_program('cc', 'gcc')
    if subprocess.run(['cc', '-E', '-include', 'amqp.h', '-x', 'c', '/dev/null'], stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode != 0:
        sys.exit('FAILED: amqp.h is missing. Install it: apt-get install librabbitmq-dev')
    program = pathlib.Path(folder) / pathlib.Path(source).stem
    subprocess.run(['cc', '-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-o', program, HERE / source,
                    *flags, '-lrabbitmq'], check=True)
    return program


# ---- the broker --------------------------------------------------------------------------------------------------

def free_port():
    """A port nobody listens on, below the range of outgoing connections: it must still be free after a restart."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue


def pid_listening_on(port):
    """The process that listens on 127.0.0.1:port, or None when it is not on this machine."""
    inodes = set()
    for table in ('/proc/net/tcp', '/proc/net/tcp6'):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == '0A' and int(fields[1].rsplit(':', 1)[1], 16) == port:
                inodes.add(f'socket:[{fields[9]}]')
    for fd_folder in pathlib.Path('/proc').glob('[0-9]*/fd'):
        try:
            if any(os.readlink(fd) in inodes for fd in fd_folder.iterdir()):
                return int(fd_folder.parent.name)
        except OSError:
            continue  # it ended, or is another user's
    return None


class Broker:
    """One broker process with its data folder. start, stop, kill and restart keep port and data."""

    def __init__(self, arguments=()):
        self.host = os.environ.get('HARRIER_TEST_HOST', '127.0.0.1')
        self.external = 'HARRIER_TEST_PORT' in os.environ
        self.process = None
        self.starts = 0
        self.is_harrierd = not self.external and 'HARRIER_TEST_COMMAND' not in os.environ
        self.arguments = [*arguments, *shlex.split(os.environ.get('HARRIERD_ARGS', ''))]
        if self.external:
            self.port = int(os.environ['HARRIER_TEST_PORT'])
            return
        self.host = '127.0.0.1'
        self.port = free_port()
        self.http_port = free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='harrier-conformance-'))
        self.data = self.folder / 'data'
        self.data.mkdir()
        atexit.register(self.dispose)

    def start(self):
        if self.external:
            self.wait_until_it_speaks_amqp()
            return self
        self.starts += 1
        self.log = self.folder / f'broker.{self.starts}.log'
        with open(self.log, 'wb') as output:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            if self.is_harrierd:
                eventually(lambda: self.check_alive() and READY_LINE in self.log.read_bytes(),
                           f'"{READY_LINE.decode()}" on the output of the broker', max(DEADLINE, 60))
            else:
                self.wait_until_it_speaks_amqp()
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self.log_tail()}') from None
        return self

    def stop(self):
        """SIGTERM, and the broker has to leave with status 0."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(max(DEADLINE, 60))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f'the broker ignored SIGTERM\n{self.log_tail()}') from None
        self.end_group()
        if self.is_harrierd and status != 0:
            raise AssertionError(f'the broker ended with status {status} after SIGTERM\n{self.log_tail()}')

    def kill(self):
        """A power cut as far as the process can tell: SIGKILL."""
        assert not self.external, 'an external broker is not ours to kill'
        self.process.kill()
        self.process.wait()
        self.end_group()

    def restart(self):
        self.stop()
        return self.start()

    def pid(self):
        return self.process.pid if self.process else pid_listening_on(self.port)

    def rss_kib(self):
        """Resident memory of the broker in KiB; None when its process cannot be found."""
        pid = self.pid()
        if pid is None:
            return None
        for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
            if line.startswith('VmRSS:'):
                return int(line.split()[1])
        return None

    def address(self):
        return self.host, self.port

    def url(self, vhost='%2F'):
        return f'amqp://guest:guest@{self.host}:{self.port}/{vhost}'

    # -- inside

    def command(self):
        if not self.is_harrierd:
            return shlex.split(os.environ['HARRIER_TEST_COMMAND'].format(
                port=self.port, data=self.data, http=self.http_port))
        preset = os.environ.get('HARRIER_PRESET', 'dev')
        program = pathlib.Path(os.environ.get('HARRIERD', ROOT / 'build' / preset / 'bin' / 'harrierd'))
        if not program.exists():
            sys.exit(f'FAILED: {program} does not exist. Build it: cmake --build build/{preset} --target harrierd')
        return [program, '--data-dir', self.data, '--set', f'listeners.tcp.default=127.0.0.1:{self.port}',
                '--set', 'management.tcp.ip=127.0.0.1', '--set', f'management.tcp.port={self.http_port}', *self.arguments]

    def check_alive(self):
        status = self.process.poll() if self.process else None
        assert status is None, f'the broker ended at start with status {status}\n{self.log_tail()}'
        return True

    def wait_until_it_speaks_amqp(self):
        def speaks():
            if self.process:
                self.check_alive()
            try:
                with socket.create_connection(self.address(), 5) as probe:
                    probe.sendall(b'AMQP\x00\x00\x09\x01')
                    return probe.recv(1) == b'\x01'
            except OSError:
                return False
        eventually(speaks, f'an AMQP broker on {self.host}:{self.port}', max(DEADLINE, 60))

    def log_tail(self):
        lines = self.log.read_text(errors='replace').splitlines()[-60:] if self.starts else []
        return '\n'.join(['--- last lines of the broker:', *lines])

    def end_group(self):
        self.process, process = None, self.process
        try:
            os.killpg(process.pid, signal.SIGKILL)  # helpers the command may have started; the session is ours alone
        except ProcessLookupError:
            pass

    def dispose(self):
        if self.process:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def harrier(*arguments, folder=None):
    """Runs the CLI that was built with the broker: exit status, standard output, standard error."""
    program = pathlib.Path(os.environ.get('HARRIERD', ROOT / 'build' / os.environ.get('HARRIER_PRESET', 'dev') / 'bin'
                                          / 'harrierd')).with_name('harrier')
    if not program.exists():
        sys.exit(f'FAILED: {program} does not exist. Build it: cmake --build build/dev --target harrier')
    ran = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=DEADLINE * 4)
    return ran.returncode, ran.stdout, ran.stderr


# ---- differences on purpose ----------------------------------------------------------------------------------------

_server_properties = {}


def server_properties(broker):
    """What the broker announces in connection.start."""
    import wire
    if broker.port not in _server_properties:
        with wire.Wire(*broker.address()) as connection:
            _server_properties[broker.port] = connection.read_start()
    return _server_properties[broker.port]


def is_rabbitmq_3(broker):
    """The only switch for answers in which RabbitMQ 3.x differs from what Harrier does (RabbitMQ 4.2's behaviour)."""
    properties = server_properties(broker)
    return properties.get('product') == 'RabbitMQ' and str(properties.get('version')).startswith('3.')


# ---- running ------------------------------------------------------------------------------------------------------

_shared = None


def shared_broker():
    """One broker for all test cases of a process."""
    global _shared
    if _shared is None:
        _shared = Broker().start()
    return _shared


class BrokerTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.broker = shared_broker()

    def name(self, what='q'):
        """A name nobody else uses, which tells where it came from."""
        return f'conformance.{self._testMethodName[5:35]}.{what}.{uuid.uuid4().hex[:8]}'

    def needs_own_broker(self):
        if self.broker.external:
            print(f'NOT RUN: {self.id()}: it kills the broker, and this broker is external', flush=True)
            self.skipTest('it kills the broker, and this broker is external (HARRIER_TEST_PORT)')


def main():
    """Runs the test cases of the calling file; status 0 only if all passed and the broker ended well."""
    raise_open_file_limit()
    program = unittest.main(module='__main__', exit=False, verbosity=2, warnings='ignore')
    good = program.result.wasSuccessful()
    if _shared is not None:
        good = finish(_shared) and good
    sys.exit(0 if good else 1)


def finish(broker):
    try:
        if not broker.external:
            broker.stop()
        return True
    except AssertionError as error:
        print(f'FAILED: {error}', file=sys.stderr)
        return False


def raise_open_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
