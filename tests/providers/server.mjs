// What both providers share: loopback, a line on standard output when it listens, rotation by a line on standard input.

import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

/** Serves what `start(url)` returns: `handle(request, response)`, and `rotate()`, after which a new key signs. */
export async function serve(start) {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  const provider = await start(url);
  server.on("request", (request, response) => provider.handle(request, response));
  console.log(JSON.stringify({ url }));
  for await (const _ of createInterface({ input: process.stdin })) {
    await provider.rotate();
    console.log(JSON.stringify({ rotated: true }));
  }
  process.exit();
}
