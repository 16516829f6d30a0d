// What both amqplib suites need: the library from build/node, the address of the broker, waiting, and recorded errors.
'use strict';

const path = require('node:path');
const { createRequire } = require('node:module');
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');

const modules = process.env.HARRIER_NODE_MODULES || path.join(__dirname, '..', '..', 'build', 'node', 'node_modules');
const fromModules = createRequire(path.join(modules, 'here.js'));

if (!process.env.HARRIER_TEST_PORT) throw new Error('HARRIER_TEST_PORT is not set; run amqplib_test.py, which starts a broker');
const host = process.env.HARRIER_TEST_HOST || '127.0.0.1';
const address = `amqp://guest:guest@${host}:${process.env.HARRIER_TEST_PORT}`;
const isRabbitmq3 = process.env.HARRIER_TEST_IS_RABBITMQ_3 === '1';

// Options of a test for what RabbitMQ does and Harrier accepts without acting on it (docs/compatibility.md).
const needs = (feature) => ({ skip: !isRabbitmq3 && `Harrier has no ${feature} yet` });

const name = (what = 'q') => `conformance.amqplib.${what}.${randomUUID().slice(0, 8)}`;

// A promise with its resolver; `within` gives it a deadline.
function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((yes, no) => { resolve = yes; reject = no; });
  return { promise, resolve, reject };
}

function within(promise, what, milliseconds = 20000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms: ${what}`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Resolves with the error event of a channel or connection. Call it before what causes the error.
const nextError = (emitter) => within(new Promise((resolve) => emitter.once('error', resolve)), 'an error event');
const nextEvent = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `a ${event} event`);

function assertError(error, code, classId, methodId, text) {
  assert.deepEqual([error.code, error.classId, error.methodId], [code, classId, methodId], error.message);
  if (text) assert.ok(error.message.includes(text), `${error.message} should contain ${text}`);
}

module.exports = {
  amqplib: fromModules('amqplib'), callbackApi: fromModules('amqplib/callback_api'), credentials: fromModules('amqplib/lib/credentials'),
  address, isRabbitmq3, needs, name, deferred, within, nextError, nextEvent, assertError,
};
