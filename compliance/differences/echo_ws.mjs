// The npm package ws: `node echo_ws.mjs FOLDER server`, or `client URI COUNT`; FOLDER contains it in node_modules. See peers.py.

import { createRequire } from "node:module";

const [folder, role, uri, count] = process.argv.slice(2);
const { WebSocket, WebSocketServer } = createRequire(`${folder}/`)("ws");

function echo(socket) {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("error", () => {});
}

function serve() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });
  server.on("connection", echo);
  server.on("listening", () => console.log(`listening on port ${server.address().port}`));
}

function connect() {
  const socket = new WebSocket(uri);
  echo(socket);
  return new Promise((resolve) => socket.on("close", resolve));
}

if (role === "server") {
  serve();
} else {
  for (let i = 0; i < Number(count); i++) {
    await connect();
  }
}
