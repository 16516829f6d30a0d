"""The Celery application whose worker celery_test.py starts. CONFORMANCE_BROKER_URL and CONFORMANCE_QUEUE come from it."""
import os
import pathlib
import time

import celery
from celery.exceptions import Reject

app = celery.Celery('conformance', broker=os.environ['CONFORMANCE_BROKER_URL'], backend='rpc://')
app.conf.update(
    task_default_queue=os.environ['CONFORMANCE_QUEUE'],
    broker_connection_retry_on_startup=True,
    broker_heartbeat=0,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    task_queue_max_priority=9,
    task_send_sent_event=True,
)


@app.task
def add(left, right):
    return left + right


@app.task
def fails(text):
    raise ValueError(text)


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True, retry_backoff_max=1, retry_jitter=True, max_retries=5)
def flaky(self, succeed_at):
    """Fails until it was tried `succeed_at` times, with Celery's own backoff."""
    if self.request.retries < succeed_at:
        raise ConnectionError(f'attempt {self.request.retries}')
    return self.request.retries


@app.task(bind=True, max_retries=5)
def asks_for_retry(self, succeed_at):
    """As flaky, by calling self.retry itself."""
    if self.request.retries < succeed_at:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def marks_then_waits(self, folder):
    """Leaves a file that tells who runs it. The first runner then hangs until it is killed; the second returns."""
    folder = pathlib.Path(folder)
    first = not any(folder.iterdir())
    (folder / self.request.hostname).write_text(str(os.getpid()))
    while first:
        time.sleep(1)  # the work that never ends
    return self.request.hostname, self.request.delivery_info['redelivered']


@app.task
def tells(path, text):
    """Adds a line to a file: what ran, in which order."""
    with open(path, 'a', encoding='utf-8') as file:
        file.write(f'{text}\n')


@app.task(bind=True, max_retries=2)
def tells_and_fails(self, path):
    """Runs three times with its priority, and is then given up."""
    with open(path, 'a', encoding='utf-8') as file:
        file.write(f'{self.request.retries} {self.request.delivery_info["priority"]}\n')
    raise self.retry(exc=KeyError('never there'), countdown=0.05)


@app.task(bind=True, acks_late=True)
def rejects(self, path):
    """Sends itself back once, then drops itself."""
    with open(path, 'a', encoding='utf-8') as file:
        file.write(f'{self.request.delivery_info["redelivered"]}\n')
    raise Reject('not now', requeue=not self.request.delivery_info['redelivered'])
