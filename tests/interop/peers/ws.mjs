// The npm package ws. What a peer does is described in puppet.py.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createInterface } from "node:readline";
import WebSocket, { WebSocketServer } from "ws";

const SUBPROTOCOLS = ["chat.v2", "chat.v1"];
const certificates = process.argv[2];
const pem = readFileSync(`${certificates}/server.pem`);
const ca = readFileSync(`${certificates}/ca.pem`);

const print = (object) => process.stdout.write(JSON.stringify(object) + "\n");

function obey(socket, path) {
  socket.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (text.startsWith("!")) {
      execute(socket, JSON.parse(text.slice(1)));
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
  socket.on("close", (code, reason) => {
    print({ path, subprotocol: socket.protocol || null, code, reason: reason.toString() });
  });
}

function execute(socket, order) {
  if (order.do === "close") {
    socket.close(order.code, order.reason);
  } else if (order.do === "ping") {
    socket.once("pong", (payload) => socket.send(payload.toString() === order.payload ? "pong" : "another pong"));
    socket.ping(order.payload);
  } else {
    const pieces = order.text ?? order.binary;
    pieces.forEach((piece, i) => {
      socket.send(Buffer.from(piece), { binary: !order.text, fin: i === pieces.length - 1 });
    });
  }
}

function listen(server) {
  const sockets = new WebSocketServer({
    server,
    perMessageDeflate: true,
    handleProtocols: (offered) => SUBPROTOCOLS.find((name) => offered.has(name)) ?? false,
    verifyClient: ({ req }, decide) => {
      const refused = req.url.startsWith("/refuse/");
      decide(!refused, 403, "not today\n");
    },
  });
  sockets.on("connection", (socket, request) => obey(socket, request.url));
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

function connect({ uri, subprotocols }) {
  const path = new URL(uri).pathname;
  const socket = new WebSocket(uri, subprotocols, { ca });
  socket.on("open", () => obey(socket, path));
  socket.on("unexpected-response", async (_request, response) => {
    const body = (await response.toArray()).join("");
    print({ path, status: response.statusCode, body });
  });
}

const port = await listen(http.createServer());
const tls_port = await listen(https.createServer({ key: pem, cert: pem }));
print({ port, tls_port, lacks: [] });
for await (const line of createInterface({ input: process.stdin })) {
  connect(JSON.parse(line));
}
process.exit();
