/**
 * Both workers in their threads, and a local program in front of them and a target behind: what
 * comes of all parts together.
 */

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { createSocket, type Socket } from "node:dgram";
import { libraries } from "../../../tests/fixtures/libraries.ts";
import { clientStart, serverStart } from "../../../tests/fixtures/tunnel.ts";
import { endpoint } from "../../../ffi/endpoint.ts";
import { ipBytes } from "../../base/ip.ts";
import { Log } from "../../base/log.ts";
import type { InboundSpec } from "../../inbound/spec.ts";
import { Pool } from "../../loop/pool.ts";
import type { ClientProtocol, ServerProtocol, SessionReport } from "../protocol.ts";

const libs = libraries();

const hostname = "127.0.0.1";
const loopback = ipBytes(hostname);
const utf8 = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(value);
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Targets: TCP and UDP echo, and an HTTP server. */
class Targets {
  readonly tcp = Deno.listen({ hostname, port: 0 });
  readonly udp: Socket = createSocket("udp4");
  readonly http: Server = createServer((request, response) => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      const body = `${request.method} ${request.url} ${length}`;
      response.writeHead(200, { "content-length": body.length }).end(body);
    });
  });

  async open(): Promise<void> {
    this.udp.on("message", (bytes, { port, address }) => this.udp.send(bytes, port, address));
    await new Promise<void>((resolve) => this.udp.bind(0, hostname, resolve));
    await new Promise<void>((resolve) => this.http.listen(0, hostname, () => resolve()));
    (async () => {
      for await (const conn of this.tcp) conn.readable.pipeTo(conn.writable).catch(() => {});
    })();
  }

  get httpPort(): number {
    const address = this.http.address();
    return typeof address === "object" ? address!.port : 0;
  }

  close(): void {
    this.tcp.close();
    this.udp.close();
    this.http.closeAllConnections();
    this.http.close();
  }
}

interface Bench {
  readonly client: Pool<ClientProtocol>;
  /** What it says of its session. */
  readonly reports: SessionReport[];
  readonly targets: Targets;
  readonly ports: readonly number[];
}

async function bench(test: (bench: Bench) => Promise<void>): Promise<void> {
  const targets = new Targets();
  await targets.open();
  const common = {
    libs,
    log: new Log(({ level, message }) => ["info", "debug"].includes(level) || assert.fail(message)),
  };
  const server = await Pool.start<ServerProtocol>({
    ...common,
    code: new URL("../server/worker.ts", import.meta.url),
    name: "server",
    starts: [serverStart({ rules: [{ cidr: ["127.0.0.0/8"], outbound: "direct" }] })],
  });
  const { port } = server.ready("tunnel")[0]!;
  const listen = endpoint(loopback, 0);
  const tcpPort = (targets.tcp.addr as Deno.NetAddr).port;
  const inbounds: InboundSpec[] = [
    { kind: "mixed", listen },
    { kind: "tcp", listen, target: `${hostname}:${tcpPort}` },
    { kind: "udp", listen, target: `${hostname}:${targets.udp.address().port}` },
    { kind: "tcp", listen, target: `${hostname}:1` },
  ];
  const reports: SessionReport[] = [];
  const client = await Pool.start<ClientProtocol>({
    ...common,
    code: new URL("worker.ts", import.meta.url),
    name: "client",
    starts: [clientStart([endpoint(loopback, port)], { inbounds })],
    heard: { tunnel: (said) => void ("state" in said && reports.push(said)) },
  });
  const { ports } = client.ready("tunnel")[0]!;
  try {
    await test({ client, reports, targets, ports });
  } finally {
    await client.stop();
    await server.stop();
    targets.close();
  }
}

async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  return new Uint8Array(await new Response(conn.readable).arrayBuffer());
}

async function sendAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

async function echoed(port: number, bytes: Uint8Array): Promise<void> {
  const conn = await Deno.connect({ hostname, port });
  const [back] = await Promise.all([
    readAll(conn),
    sendAll(conn, bytes).then(() => conn.closeWrite()),
  ]);
  assert.equal(back.length, bytes.length);
  assert.ok(back.every((byte, i) => byte === bytes[i]));
}

Deno.test("workers: TCP forward, 32 MB there and back, and eight at a time", async () => {
  await bench(async ({ ports }) => {
    const bytes = new Uint8Array(32 << 20).map((_, i) => i * 31 + (i >> 9));
    await echoed(ports[1]!, bytes);
    await Promise.all(Array.from({ length: 8 }, () => echoed(ports[1]!, bytes.subarray(0, 4e6))));
  });
});

Deno.test("workers: a proxy for HTTP, CONNECT and SOCKS5", async () => {
  await bench(async ({ ports, targets }) => {
    const [port] = ports;
    const url = `http://${hostname}:${targets.httpPort}/path`;
    const plain = await Deno.connect({ hostname, port: port! });
    for (let i = 0; i < 3; i++) {
      const body = "b".repeat(1000 * i);
      const head = `POST ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
      await sendAll(plain, utf8(head + body));
      let answer = "";
      const buffer = new Uint8Array(4096);
      while (!answer.endsWith(`POST /path ${body.length}`)) {
        const count = await plain.read(buffer);
        assert.ok(count !== null, answer);
        answer += text(buffer.subarray(0, count));
      }
    }
    plain.close();
    const origin = `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    const authority = `${hostname}:${targets.httpPort}`;
    const connect = await Deno.connect({ hostname, port: port! });
    await sendAll(connect, utf8(`CONNECT ${authority} HTTP/1.1\r\nHost: x\r\n\r\n${origin}`));
    assert.match(text(await readAll(connect)), /^HTTP\/1.1 200 Conn[^]*HTTP\/1.1 200[^]*GET \/ 0/);
    const socks = await Deno.connect({ hostname, port: port! });
    const target = [127, 0, 0, 1, targets.httpPort >> 8, targets.httpPort & 255];
    const request = Uint8Array.of(5, 1, 0, 5, 1, 0, 1, ...target);
    await sendAll(socks, request);
    await sendAll(socks, utf8(origin));
    assert.match(text(await readAll(socks)), /HTTP\/1.1 200 OK[^]*GET \/ 0/);
  });
});

Deno.test("workers: a target that refuses resets the forward", async () => {
  await bench(async ({ ports }) => {
    const conn = await Deno.connect({ hostname, port: ports[3]! });
    await assert.rejects(readAll(conn));
  });
});

Deno.test("workers: UDP forward, and the session's report", async () => {
  await bench(async ({ ports, client, reports }) => {
    const socket = createSocket("udp4");
    const answer = new Promise<string>((resolve) => {
      socket.on("message", (bytes) => resolve(text(bytes)));
    });
    socket.send("a datagram", ports[2]!, hostname);
    assert.equal(await answer, "a datagram");
    socket.close();
    reports.length = 0;
    client.tell("tunnel", { kind: "report" });
    while (reports.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const report = reports[0]!;
    assert.equal(report.state, "open");
    assert.ok(report.rttMs > 0 && report.rttMs < 1000);
    assert.equal(report.bytesUp, 10);
    assert.equal(report.bytesDown, 10);
  });
});
