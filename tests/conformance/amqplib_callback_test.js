// Node's amqplib, callback API: the same broker, other code paths of the client.
'use strict';

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { callbackApi, address, name, within, nextError, assertError } = require('./amqplib_support.js');

// A test body gets an open connection and `done`; the connection is closed for it.
function withConnection(title, body) {
  test(title, () => within(new Promise((resolve, reject) => {
    callbackApi.connect(address, (error, connection) => {
      if (error) { reject(error); return; }
      connection.on('error', () => {});
      const done = (failure) => connection.close(() => (failure ? reject(failure) : resolve()));
      try { body(connection, done, reject); } catch (failure) { done(failure); }
    });
  }), title));
}

function withChannel(title, body, create = 'createChannel') {
  withConnection(title, (connection, done) => {
    connection[create]((error, channel) => {
      if (error) { done(error); return; }
      channel.on('error', () => {});
      // Assertions inside callbacks end the test instead of the process.
      const guarded = (callback) => (...args) => { try { callback(...args); } catch (failure) { done(failure); } };
      guarded(body)(channel, done, guarded, connection);
    });
  });
}

withConnection('connects', (connection, done) => { assert.ok(connection.connection.serverProperties.capabilities); done(); });

test('a wrong password is reported to the callback', () => within(new Promise((resolve, reject) => {
  callbackApi.connect(address.replace('guest:guest', 'guest:wrong'), (error) => {
    if (error && /ACCESS_REFUSED/.test(error.message)) resolve();
    else reject(error || new Error('connected with a wrong password'));
  });
}), 'the refusal'));

withChannel('declares, sends, gets and acks', (channel, done, guarded) => {
  channel.assertQueue('', { exclusive: true }, guarded((error, { queue, messageCount, consumerCount }) => {
    assert.ifError(error);
    assert.deepEqual([messageCount, consumerCount], [0, 0]);
    channel.sendToQueue(queue, Buffer.from('hello'));
    channel.get(queue, {}, guarded((failure, message) => {
      assert.ifError(failure);
      assert.equal(message.content.toString(), 'hello');
      channel.ack(message);
      channel.get(queue, {}, guarded((_, nothing) => { assert.equal(nothing, false); done(); }));
    }));
  }));
});

withChannel('checkQueue of a missing queue: 404 with ids 50,10', (channel, done) => {
  const missing = name();
  nextError(channel).then((error) => assertError(error, 404, 50, 10, `no queue '${missing}'`)).then(() => done(), done);
  channel.checkQueue(missing, () => {});
});

withChannel('declaring an exchange differently: 406 with ids 40,10', (channel, done) => {
  nextError(channel).then((error) => assertError(error, 406, 40, 10)).then(() => done(), done);
  channel.assertExchange('amq.direct', 'fanout', {}, () => {});
});

withChannel('publishing to a missing exchange: 404 with ids 60,40', (channel, done) => {
  nextError(channel).then((error) => assertError(error, 404, 60, 40)).then(() => done(), done);
  channel.publish(name('x'), 'k', Buffer.from('x'));
});

withChannel('consumes in order; a cancelled consumer gets nothing more', (channel, done, guarded) => {
  channel.assertQueue('', { exclusive: true }, guarded((_, { queue }) => {
    const taken = [];
    channel.consume(queue, guarded((message) => {
      taken.push(message.content.toString());
      channel.ack(message);
      if (taken.length < 100) return;
      assert.deepEqual(taken, Array.from({ length: 100 }, (__, number) => String(number)));
      channel.cancel(message.fields.consumerTag, guarded((error) => { assert.ifError(error); done(); }));
    }));
    for (let number = 0; number < 100; number += 1) channel.sendToQueue(queue, Buffer.from(String(number)));
  }));
});

withChannel('a consumer of a deleted queue gets null', (channel, done, guarded) => {
  channel.assertQueue('', { exclusive: true }, guarded((_, { queue }) => {
    channel.consume(queue, guarded((message) => { assert.equal(message, null); done(); }), {}, guarded((error) => {
      assert.ifError(error);
      channel.deleteQueue(queue, {}, () => {});
    }));
  }));
});

withChannel('waitForConfirms calls back when all are confirmed', (channel, done, guarded) => {
  channel.assertQueue('', { exclusive: true }, guarded((_, { queue }) => {
    let confirmed = 0;
    for (let number = 0; number < 1000; number += 1) {
      channel.sendToQueue(queue, Buffer.from('x'), {}, (error) => { if (!error) confirmed += 1; });
    }
    channel.waitForConfirms(guarded((error) => {
      assert.ifError(error);
      assert.equal(confirmed, 1000);
      done();
    }));
  }));
}, 'createConfirmChannel');

withChannel('the return event comes before the confirm', (channel, done, guarded) => {
  const events = [];
  channel.on('return', () => events.push('return'));
  channel.publish('', name(), Buffer.from('x'), { mandatory: true }, guarded(() => {
    events.push('confirm');
    assert.deepEqual(events, ['return', 'confirm']);
    done();
  }));
}, 'createConfirmChannel');

withChannel('recover calls back', (channel, done) => channel.recover(done));

withChannel('closing a channel calls back; its connection opens another', (channel, done, guarded, connection) => {
  channel.close(guarded((error) => {
    assert.ifError(error);
    connection.createChannel((failure) => done(failure));
  }));
});
