// Node's amqplib, promise API.
'use strict';

const { test, beforeEach, afterEach } = require('node:test');
const assert = require('node:assert/strict');
const { amqplib, credentials, address, isRabbitmq3, needs, name, deferred, within, nextError, nextEvent, assertError } =
  require('./amqplib_support.js');

let connection;
let channel;

beforeEach(async () => {
  connection = await amqplib.connect(address);
  connection.on('error', () => {}); // tests that expect one listen themselves
  channel = await openChannel();
});

afterEach(async () => {
  await connection.close().catch(() => {}); // some tests have closed it
});

async function openChannel(create = 'createChannel') {
  const opened = await connection[create]();
  opened.on('error', () => {});
  return opened;
}

const exclusiveQueue = async (on = channel, options = {}) => (await on.assertQueue('', { exclusive: true, ...options })).queue;

// Consumes `count` messages; resolves with them.
async function take(on, queue, count, options = { noAck: true }) {
  const taken = [];
  const done = deferred();
  const { consumerTag } = await on.consume(queue, (message) => {
    taken.push(message);
    if (taken.length === count) done.resolve();
  }, options);
  await within(done.promise, `${count} messages from ${queue}`);
  await on.cancel(consumerTag);
  return taken;
}

const text = (message) => message.content.toString();

async function eventually(condition, what) {
  const end = Date.now() + 20000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('connects and tells the server properties', () => {
  const { serverProperties } = connection.connection;
  assert.equal(serverProperties.capabilities.publisher_confirms, true);
  assert.match(serverProperties.version, /^\d+\.\d+\.\d+/);
});

test('a wrong password is refused with 403', async () => {
  await assert.rejects(amqplib.connect(address, { credentials: credentials.plain('guest', 'wrong') }),
    /403 \(ACCESS[-_]REFUSED\).*ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN/s);
});

test('an unknown vhost is refused with a close', async () => { // its code and text are hidden by amqplib
  await assert.rejects(amqplib.connect(`${address}/no-such-vhost`), /Expected ConnectionOpenOk; got <ConnectionClose/);
});

test('AMQPLAIN works like PLAIN', async () => {
  const other = await amqplib.connect(address, { credentials: credentials.amqplain('guest', 'guest') });
  await other.close();
});

for (const frameMax of [0, 4096, 8192, 131072]) {
  test(`bodies pass with frameMax ${frameMax}`, async () => {
    const query = new URL(address);
    query.searchParams.set('frameMax', frameMax);
    const other = await amqplib.connect(query.toString());
    const own = await other.createChannel();
    const queue = await exclusiveQueue(own);
    for (const size of [0, 1, 4088, 4089, 200000]) {
      const body = Buffer.alloc(size, 'x');
      own.sendToQueue(queue, body);
      const [message] = await take(own, queue, 1);
      assert.ok(message.content.equals(body), `${size} octets`);
    }
    await other.close();
  });
}

test('checkQueue of a missing queue: 404 with ids 50,10', async () => {
  const missing = name();
  const error = nextError(channel);
  await assert.rejects(channel.checkQueue(missing));
  assertError(await error, 404, 50, 10, `NOT_FOUND - no queue '${missing}' in vhost '/'`);
});

test('checkExchange of a missing exchange: 404 with ids 40,10', async () => {
  const missing = name();
  const error = nextError(channel);
  await assert.rejects(channel.checkExchange(missing));
  assertError(await error, 404, 40, 10, `NOT_FOUND - no exchange '${missing}' in vhost '/'`);
});

test('declaring a queue differently: 406 with ids 50,10', async () => {
  const queue = await exclusiveQueue(channel, { messageTtl: 1000 });
  const other = await openChannel();
  const error = nextError(other);
  // A server-named queue cannot be redeclared by name at all, so this one has a name of its own.
  const named = name();
  await channel.assertQueue(named, { exclusive: true, messageTtl: 1000 });
  await assert.rejects(other.assertQueue(named, { exclusive: true, messageTtl: 2000 }));
  assertError(await error, 406, 50, 10, "inequivalent arg 'x-message-ttl'");
  assert.match(queue, /^amq\.gen-/);
});

test('declaring an exchange differently: 406 with ids 40,10', async () => {
  const exchange = name('x');
  await channel.assertExchange(exchange, 'direct', { autoDelete: true, durable: false });
  const error = nextError(channel);
  await assert.rejects(channel.assertExchange(exchange, 'fanout', { autoDelete: true, durable: false }));
  assertError(await error, 406, 40, 10, "received 'fanout' but current is 'direct'");
  await (await openChannel()).deleteExchange(exchange);
});

test("get('') without a declared queue: 404 with ids 60,70", async () => {
  const error = nextError(channel);
  await assert.rejects(channel.get(''));
  assertError(await error, 404, 60, 70, 'NOT_FOUND - no previously declared queue');
});

test('get returns false from an empty queue, then messages with their count', async () => {
  const queue = await exclusiveQueue();
  assert.equal(await channel.get(queue), false);
  channel.sendToQueue(queue, Buffer.from('1'));
  channel.sendToQueue(queue, Buffer.from('2'));
  const first = await channel.get(queue);
  assert.deepEqual([text(first), first.fields.messageCount, first.fields.redelivered, first.fields.deliveryTag],
    ['1', 1, false, 1]);
  channel.ack(first);
  const second = await channel.get(queue, { noAck: true });
  assert.deepEqual([text(second), second.fields.messageCount], ['2', 0]);
});

test('publishing to a missing exchange: 404 with ids 60,40', async () => {
  const missing = name('x');
  const error = nextError(channel);
  channel.publish(missing, 'k', Buffer.from('x'));
  assertError(await error, 404, 60, 40, `NOT_FOUND - no exchange '${missing}' in vhost '/'`);
});

test('acking an unknown tag: 406 with ids 60,80', async () => {
  const error = nextError(channel);
  channel.ack({ fields: { deliveryTag: 7 } });
  assertError(await error, 406, 60, 80, 'PRECONDITION_FAILED - unknown delivery tag 7');
});

test('a mandatory message without route is returned before it is confirmed', async () => {
  const confirming = await openChannel('createConfirmChannel');
  const events = [];
  confirming.on('return', (message) => events.push(['return', message.fields.replyCode, message.fields.replyText, text(message)]));
  const confirmed = deferred();
  confirming.publish('', name(), Buffer.from('nobody'), { mandatory: true }, (error) => {
    events.push(['confirm', error]);
    confirmed.resolve();
  });
  await within(confirmed.promise, 'the confirm');
  assert.deepEqual(events, [['return', 312, 'NO_ROUTE', 'nobody'], ['confirm', null]]);
});

test('5,000 messages are all confirmed, and none is missing', async () => {
  const confirming = await openChannel('createConfirmChannel');
  const queue = await exclusiveQueue(confirming);
  let confirmed = 0;
  for (let number = 0; number < 5000; number += 1) {
    confirming.sendToQueue(queue, Buffer.from(String(number)), {}, (error) => { if (!error) confirmed += 1; });
  }
  await within(confirming.waitForConfirms(), '5,000 confirms', 60000);
  assert.equal(confirmed, 5000);
  const taken = await take(confirming, queue, 5000);
  assert.deepEqual(taken.map(text), Array.from({ length: 5000 }, (_, number) => String(number)));
});

test('a full queue that rejects publishes answers with a nack', needs('length limits'), async () => {
  const confirming = await openChannel('createConfirmChannel');
  const queue = await exclusiveQueue(confirming, { maxLength: 1, overflow: 'reject-publish' });
  confirming.sendToQueue(queue, Buffer.from('1'));
  await confirming.waitForConfirms();
  confirming.sendToQueue(queue, Buffer.from('2'));
  await assert.rejects(confirming.waitForConfirms(), /nacked/);
});

test('nack requeues to the old place, marked redelivered', async () => {
  const queue = await exclusiveQueue();
  for (const body of ['0', '1', '2']) channel.sendToQueue(queue, Buffer.from(body));
  const first = await channel.get(queue);
  channel.nack(first);
  const again = await channel.get(queue);
  assert.deepEqual([text(again), again.fields.redelivered], ['0', true]);
  channel.nack(again, false, false);
  assert.deepEqual((await take(channel, queue, 2)).map(text), ['1', '2']);
});

test('nackAll and ackAll settle everything', async () => {
  const queue = await exclusiveQueue();
  for (const body of ['0', '1', '2']) channel.sendToQueue(queue, Buffer.from(body));
  for (let count = 0; count < 3; count += 1) await channel.get(queue);
  channel.nackAll();
  for (let count = 0; count < 3; count += 1) {
    const message = await channel.get(queue);
    assert.deepEqual([text(message), message.fields.redelivered], [String(count), true]);
  }
  channel.ackAll();
  const other = await openChannel();
  await channel.close();
  assert.equal(await other.get(queue), false);
});

test('reject drops to the dead letter exchange', needs('dead-lettering'), async () => {
  const dead = await exclusiveQueue();
  const queue = await exclusiveQueue(channel, { deadLetterExchange: '', deadLetterRoutingKey: dead });
  channel.sendToQueue(queue, Buffer.from('bad'));
  const [message] = await take(channel, queue, 1, {});
  channel.reject(message, false);
  const [died] = await take(channel, dead, 1);
  assert.equal(text(died), 'bad');
  assert.equal(died.properties.headers['x-death'][0].reason, 'rejected');
  assert.equal(died.properties.headers['x-death'][0].count, 1);
});

test('prefetch holds back what is beyond it', async () => {
  const queue = await exclusiveQueue();
  await channel.prefetch(2);
  const taken = [];
  let changed = deferred();
  await channel.consume(queue, (message) => { taken.push(message); changed.resolve(); changed = deferred(); });
  for (let number = 0; number < 6; number += 1) channel.sendToQueue(queue, Buffer.from(String(number)));
  const reach = async (count) => { while (taken.length < count) await within(changed.promise, `${count} deliveries`); };
  await reach(2);
  await channel.checkQueue(queue);
  assert.equal(taken.length, 2);
  channel.ack(taken[0]);
  await reach(3);
  channel.ack(taken[2], true);
  await reach(5);
  await channel.checkQueue(queue);
  assert.deepEqual(taken.map(text), ['0', '1', '2', '3', '4']);
});

test('global prefetch counts the whole channel', async () => {
  const queue = await exclusiveQueue();
  await channel.prefetch(2, true);
  const taken = [];
  const two = deferred();
  const onMessage = (message) => { taken.push(message); if (taken.length >= 2) two.resolve(); };
  await channel.consume(queue, onMessage);
  await channel.consume(queue, onMessage);
  for (let number = 0; number < 6; number += 1) channel.sendToQueue(queue, Buffer.from(String(number)));
  await within(two.promise, '2 deliveries');
  await channel.checkQueue(queue);
  assert.equal(taken.length, 2);
});

test('cancel stops deliveries; cancelling an unknown tag succeeds', async () => {
  const queue = await exclusiveQueue();
  const { consumerTag } = await channel.consume(queue, () => assert.fail('nothing was to be delivered'));
  await channel.cancel(consumerTag);
  await channel.cancel('never-used');
  channel.sendToQueue(queue, Buffer.from('left'));
  assert.equal(text(await channel.get(queue, { noAck: true })), 'left');
});

test('a consumer of a deleted queue gets null', async () => {
  const queue = await exclusiveQueue();
  const cancelled = deferred();
  await channel.consume(queue, cancelled.resolve);
  await channel.deleteQueue(queue);
  assert.equal(await within(cancelled.promise, 'the cancellation'), null);
});

test('deleteQueue ifEmpty and ifUnused: 406 with ids 50,40', async () => {
  const queue = await exclusiveQueue();
  channel.sendToQueue(queue, Buffer.from('x'));
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 1, 'the message is in the queue');
  const notEmpty = nextError(channel);
  await assert.rejects(channel.deleteQueue(queue, { ifEmpty: true }));
  assertError(await notEmpty, 406, 50, 40, `queue '${queue}' in vhost '/' not empty`);
  const second = await openChannel();
  await second.consume(queue, () => {});
  const third = await openChannel();
  const inUse = nextError(third);
  await assert.rejects(third.deleteQueue(queue, { ifUnused: true }));
  assertError(await inUse, 406, 50, 40, `queue '${queue}' in vhost '/' in use`);
});

test('deleteQueue and purgeQueue tell the message count', async () => {
  const queue = await exclusiveQueue();
  channel.sendToQueue(queue, Buffer.from('x'));
  await eventually(async () => (await channel.checkQueue(queue)).messageCount === 1, 'the message is in the queue');
  assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 1 });
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 0 });
});

test('deleteExchange ifUnused: 406 with ids 40,20', async () => {
  const exchange = name('x');
  await channel.assertExchange(exchange, 'direct', { durable: false });
  await channel.bindQueue(await exclusiveQueue(), exchange, 'k');
  const error = nextError(channel);
  await assert.rejects(channel.deleteExchange(exchange, { ifUnused: true }));
  assertError(await error, 406, 40, 20, `exchange '${exchange}' in vhost '/' in use`);
  await (await openChannel()).deleteExchange(exchange);
});

test('an unknown exchange type is refused', async () => {
  const closing = isRabbitmq3 ? nextError(connection) : nextError(channel);
  await assert.rejects(channel.assertExchange(name('x'), 'no-such-type'));
  const error = await closing;
  if (isRabbitmq3) assert.equal(error.code, 503);
  else assertError(error, 406, 40, 10, "PRECONDITION_FAILED - unknown exchange type 'no-such-type'");
});

test('recover redelivers what is unacked', async () => {
  const queue = await exclusiveQueue();
  const taken = [];
  const done = deferred();
  await channel.consume(queue, (message) => {
    taken.push([text(message), message.fields.redelivered]);
    if (taken.length === 1) channel.recover();
    else done.resolve();
  });
  channel.sendToQueue(queue, Buffer.from('x'));
  await within(done.promise, 'the redelivery');
  assert.deepEqual(taken, [['x', false], ['x', true]]);
});

test('exchange to exchange bindings route and unbind', async () => {
  const [source, destination] = [name('source'), name('destination')];
  await channel.assertExchange(source, 'topic', { durable: false });
  await channel.assertExchange(destination, 'fanout', { durable: false });
  const queue = await exclusiveQueue();
  await channel.bindExchange(destination, source, 'a.*');
  await channel.bindQueue(queue, destination, '');
  channel.publish(source, 'a.b', Buffer.from('through'));
  const [message] = await take(channel, queue, 1);
  assert.deepEqual([text(message), message.fields.exchange, message.fields.routingKey], ['through', source, 'a.b']);
  await channel.unbindExchange(destination, source, 'a.*');
  channel.publish(source, 'a.b', Buffer.from('not any more'));
  assert.equal(await channel.get(queue), false);
  await channel.deleteExchange(source);
  await channel.deleteExchange(destination);
});

test('updateSecret is accepted', async () => {
  await within(connection.updateSecret(Buffer.from('new-secret'), 'rotation'), 'update-secret-ok');
  await exclusiveQueue();
});

test('properties and headers of every type make the round trip', async () => {
  const queue = await exclusiveQueue();
  const headers = {
    text: 'grüße', empty: '', yes: true, no: false, small: 5, negative: -5, large: 4294967297, double: 1.5, nothing: null,
    octets: Buffer.from([0, 255]), table: { inner: { deep: [1, 'two', null] } }, array: [1, 'two', [3]],
    byte: { '!': 'byte', value: 100 }, short: { '!': 'short', value: 1000 }, int: { '!': 'int', value: 100000 },
    long: { '!': 'long', value: 123456 }, float: { '!': 'float', value: 0.5 },
    decimal: { '!': 'decimal', value: { digits: 12345, places: 2 } }, timestamp: { '!': 'timestamp', value: 1234567 },
  };
  const options = {
    contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 5, correlationId: 'c', replyTo: 'r',
    expiration: '60000', messageId: 'm', timestamp: 1234567890, type: 't', userId: 'guest', appId: 'a', headers,
  };
  channel.sendToQueue(queue, Buffer.from('x'), options);
  const [{ properties }] = await take(channel, queue, 1);
  for (const key of Object.keys(options)) if (key !== 'headers') assert.deepEqual(properties[key], options[key], key);
  const read = properties.headers;
  for (const key of ['text', 'empty', 'yes', 'no', 'small', 'negative', 'large', 'double', 'nothing', 'octets', 'table', 'array']) {
    assert.deepEqual(read[key], headers[key], key);
  }
  assert.deepEqual([read.byte, read.short, read.int, read.long, read.float], [100, 1000, 100000, 123456, 0.5]);
  assert.deepEqual(read.decimal, headers.decimal);
  assert.deepEqual(read.timestamp, headers.timestamp);
});

test('CC and BCC copy to further queues', async () => {
  const [to, copy, blind] = [await exclusiveQueue(), await exclusiveQueue(), await exclusiveQueue()];
  channel.sendToQueue(to, Buffer.from('x'), { CC: copy, BCC: blind });
  for (const queue of [to, copy, blind]) {
    const [message] = await take(channel, queue, 1);
    assert.deepEqual(message.properties.headers, { CC: [copy] });
  }
});

test('direct reply-to answers a call', async () => {
  const service = await exclusiveQueue();
  await channel.consume(service, (request) => channel.sendToQueue(request.properties.replyTo,
    Buffer.from(`echo ${text(request)}`), { correlationId: request.properties.correlationId }), { noAck: true });
  const requester = await openChannel();
  const reply = deferred();
  await requester.consume('amq.rabbitmq.reply-to', reply.resolve, { noAck: true });
  requester.sendToQueue(service, Buffer.from('hi'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '1' });
  const message = await within(reply.promise, 'the reply');
  assert.deepEqual([text(message), message.properties.correlationId], ['echo hi', '1']);
});

test('a channel closed by the client is gone; the connection goes on', async () => {
  const closed = nextEvent(channel, 'close');
  await channel.close();
  await closed;
  assert.throws(() => channel.sendToQueue('q', Buffer.from('x')), /closed/i);
  await assert.rejects(async () => channel.close(), /closed/i);
  await openChannel();
});

test('closing a connection closes its channels', async () => {
  const closed = nextEvent(connection, 'close');
  await connection.close();
  await closed;
  assert.throws(() => channel.sendToQueue('q', Buffer.from('x')), /closed/i);
  await assert.rejects(async () => connection.createChannel(), /closed/i);
});

test('closing a connection while messages pour in', async () => {
  const queue = await exclusiveQueue();
  const some = deferred();
  let count = 0;
  await channel.consume(queue, () => { count += 1; if (count === 10) some.resolve(); });
  for (let number = 0; number < 2000; number += 1) channel.sendToQueue(queue, Buffer.alloc(1000));
  await within(some.promise, '10 messages');
  await within(connection.close(), 'close-ok');
});

test('a channel error leaves other channels alone, and channel numbers are used again', async () => {
  const steady = await openChannel();
  for (let round = 0; round < 50; round += 1) {
    const failing = await openChannel();
    await assert.rejects(failing.checkQueue('conformance.never-declared'));
  }
  await exclusiveQueue(steady);
});
