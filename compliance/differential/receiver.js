'use strict';
// Plays sequences to the Receiver of ws from npm. Reads batches as lines of JSON from stdin, and writes their outcomes
// to stdout. Usage: node receiver.js PATH/TO/ws

const path = require('path');
const readline = require('readline');
const library = path.resolve(process.argv[2], 'lib');
const Receiver = require(path.join(library, 'receiver.js'));
const PerMessageDeflate = require(path.join(library, 'permessage-deflate.js'));
const { kStatusCode } = require(path.join(library, 'constants.js'));

const TIME_LIMIT = 10000; // ms; a receiver that takes longer is considered to hang

function play({ isServer, deflate, maxPayload, chunks }) {
  return new Promise((resolve) => {
    const events = [];
    const extensions = {};
    if (deflate !== null) {
      const extension = new PerMessageDeflate({ isServer, maxPayload });
      extension.params = deflate;
      extensions[PerMessageDeflate.extensionName] = extension;
    }
    const receiver = new Receiver({ isServer, extensions, maxPayload });
    let ended = false;
    const timer = setTimeout(() => end(-1, 'hangs'), TIME_LIMIT);
    const end = (failure, reason) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      if (deflate !== null) extensions[PerMessageDeflate.extensionName].cleanup();
      resolve({ events, failure, reason });
    };
    receiver.on('message', (data, isBinary) =>
      events.push([isBinary ? 'binary' : 'text', data.toString('base64'), 0])
    );
    receiver.on('ping', (data) => events.push(['ping', data.toString('base64'), 0]));
    receiver.on('pong', (data) => events.push(['pong', data.toString('base64'), 0]));
    receiver.on('conclude', (code, reason) => {
      events.push(['close', reason.toString('base64'), code]);
      end(null, '');
    });
    receiver.on('error', (error) => end(error[kStatusCode] || -1, error.message));
    const next = (index) => {
      if (ended) return;
      if (index === chunks.length) return end(null, '');
      receiver.write(Buffer.from(chunks[index], 'base64'), (error) => {
        if (!error) next(index + 1);
      });
    };
    next(0);
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const outcomes = [];
    for (const sequence of JSON.parse(line)) outcomes.push(await play(sequence));
    process.stdout.write(JSON.stringify(outcomes) + '\n');
  }
})();
