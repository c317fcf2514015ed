// ws from npm. "memory" uses the settings that its README recommends for low memory.
import { readFileSync } from "node:fs";
import { createServer as createPlainServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../../tests/interop/package.json", import.meta.url));
const { WebSocketServer } = require("ws");

const COMPRESSIONS = {
    off: false,
    default: true,
    memory: {
        zlibDeflateOptions: { chunkSize: 1024, memLevel: 7, level: 3 },
        zlibInflateOptions: { chunkSize: 10 * 1024 },
        clientNoContextTakeover: true,
        serverNoContextTakeover: true,
        serverMaxWindowBits: 10,
    },
};

const { values, positionals } = parseArgs({
    options: { loop: { type: "string" }, compression: { type: "string", default: "off" }, tls: { type: "string" } },
    allowPositionals: true,
});
process.on("SIGUSR2", () => globalThis.gc());

const server = values.tls
    ? createTlsServer({ cert: readFileSync(values.tls), key: readFileSync(positionals[0]) })
    : createPlainServer();
const webSocketServer = new WebSocketServer({ server, perMessageDeflate: COMPRESSIONS[values.compression] });
webSocketServer.on("connection", (socket) => {
    socket.on("error", console.error);
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen(0, "127.0.0.1", () => console.log(`listening on port ${server.address().port}`));
