/**
 * What servers under attack lead to, as a process of its own: prints a line of JSON with a port of
 * 127.0.0.1 for each.
 *
 *     download  sends PACE bytes a second to each connection
 *     endless   sends as fast as it is read
 *     parcel    sends PARCEL_BYTES, and then nothing: many of them fit into this machine
 *     sink      reads to the end
 *     stuck     never reads
 *     echo      TCP, and UDP at the same port
 *     counted   reads to the end; "COUNT n LINE" on stdout with each connection's first line
 */

import { createSocket } from "node:dgram";

export interface Ports {
  readonly download: number;
  readonly endless: number;
  readonly parcel: number;
  readonly sink: number;
  readonly stuck: number;
  readonly echo: number;
  readonly counted: number;
}

/** Of `download`, in bytes a second: what an honest client asks for. */
export const PACE = 800_000;
const BEAT_MS = 20;
const PARCEL_BYTES = 100 << 10;
const CHUNK = new Uint8Array(64 << 10);

/** Serves each connection with `serve`; one that breaks is nobody's business. */
function listen(serve: (connection: Deno.TcpConn) => Promise<void>, port = 0): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port });
  const accept = async () => {
    for await (const connection of listener) {
      serve(connection).catch(() => {}).finally(() => {
        try {
          connection.close();
        } catch {
          // Closed by who served it.
        }
      });
    }
  };
  void accept();
  return listener.addr.port;
}

async function writeAll(connection: Deno.TcpConn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await connection.write(data.subarray(at));
}

async function download(connection: Deno.TcpConn): Promise<void> {
  const begin = performance.now();
  for (let sent = 0;;) {
    const due = Math.floor((performance.now() - begin) * PACE / 1000);
    // What nobody took in time is not owed for ever.
    const length = Math.min(CHUNK.length, due - sent);
    if (length > 0) await writeAll(connection, CHUNK.subarray(0, length));
    sent = length === CHUNK.length ? due : sent + Math.max(0, length);
    await new Promise((done) => setTimeout(done, BEAT_MS));
  }
}

async function endless(connection: Deno.TcpConn): Promise<void> {
  for (;;) await writeAll(connection, CHUNK);
}

async function parcel(connection: Deno.TcpConn): Promise<void> {
  await writeAll(connection, new Uint8Array(PARCEL_BYTES));
  return new Promise(() => {});
}

async function sink(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(CHUNK.length);
  while (await connection.read(buffer) !== null);
}

async function echo(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(CHUNK.length);
  for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
    await writeAll(connection, buffer.subarray(0, n));
  }
}

async function counted(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(CHUNK.length);
  const length = await connection.read(buffer) ?? 0;
  const [line] = new TextDecoder().decode(buffer.subarray(0, length)).split("\n");
  console.log(`COUNT ${line}`);
  await sink(connection);
}

function echoDatagrams(port: number): Promise<void> {
  const socket = createSocket("udp4");
  socket.on("message", (data, from) => socket.send(data, from.port, from.address));
  return new Promise((done) => socket.bind(port, "127.0.0.1", () => done()));
}

if (import.meta.main) {
  const echoPort = listen(echo);
  await echoDatagrams(echoPort);
  const ports: Ports = {
    ...{ download: listen(download), endless: listen(endless), sink: listen(sink) },
    parcel: listen(parcel),
    ...{ stuck: listen(() => new Promise(() => {})), echo: echoPort, counted: listen(counted) },
  };
  console.log(JSON.stringify(ports));
}
