#!/usr/bin/env node
// An extension on Node's own modules: notes its events and the telemetry that it is sent.
import { appendFileSync } from "node:fs";
import { lookup } from "node:dns/promises";
import http from "node:http";
import { basename } from "node:path";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const managed = process.env.AWS_LAMBDA_INITIALIZATION_TYPE === "lambda-managed-instances";
const name = basename(process.argv[1]);

const note = (text) => (process.env.OUT ? appendFileSync(process.env.OUT, text + "\n") : console.log(text));

function call(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path, headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() }));
    });
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}

const events = managed ? ["SHUTDOWN"] : ["INVOKE", "SHUTDOWN"];
const registered = await call("POST", "/2020-01-01/extension/register", { "Lambda-Extension-Name": name }, { events });
const me = { "Lambda-Extension-Identifier": registered.headers["lambda-extension-identifier"] };

const receiver = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    for (const { type, record } of JSON.parse(Buffer.concat(parts).toString())) {
      if (type === "function") note(`node function ${typeof record === "string" ? record : JSON.stringify(record)}`);
      if (type === "platform.report") note(`node report ${record.requestId}`);
    }
    response.end();
  });
});
const address = await lookup("sandbox.localdomain", 4).then((found) => found.address, () => "127.0.0.1");
await new Promise((resolve) => receiver.listen(0, address, resolve));
const subscribed = await call("PUT", "/2022-07-01/telemetry", me, {
  schemaVersion: managed ? "2025-01-29" : "2022-12-13",
  types: ["platform", "function"],
  destination: { protocol: "HTTP", URI: `http://sandbox.localdomain:${receiver.address().port}` },
  buffering: { maxItems: 1000, maxBytes: 262144, timeoutMs: 1000 },
});
if (subscribed.status !== 200) process.exit(3);

for (let event = {}; event.eventType !== "SHUTDOWN"; ) {
  event = JSON.parse((await call("GET", "/2020-01-01/extension/event/next", me)).body);
  note(`node ${event.eventType}`);
}
setTimeout(() => process.exit(0), 300); // what is still on its way
