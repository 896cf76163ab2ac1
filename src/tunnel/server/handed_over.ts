/**
 * A HELLO whose handshake another worker has, as that one is told of it: what it takes to answer
 * once more, and no frames.
 *
 *     client_session u48 | client_public 32 | user id 8 | bytes of the HELLO u16 | route 12 × u32
 */

import { type Route, routeWords } from "../../../ffi/endpoint.ts";
import type { HelloOpened } from "../../crypto/hello.ts";
import type { UserTable } from "../../crypto/users.ts";
import { Reader, Writer } from "../../wire/cursor.ts";
import { IDENT_BYTES, KEY_BYTES } from "../../wire/limits.ts";

const BYTES = 6 + KEY_BYTES + IDENT_BYTES + 2 + 4 * routeWords;

/** How a worker reaches the others of its server. */
export interface Neighbours {
  /** What the other does not take is lost. */
  tell(worker: number, message: Uint8Array<ArrayBuffer>): void;
  /** Hands over packets of its sessions (strays.ts); whether it will hear of them. */
  stray(worker: number, message: Uint8Array<ArrayBuffer>): boolean;
}

export function writeHandedOver(
  { clientSession, clientPublic, user }: HelloOpened,
  route: Route,
  length: number,
): Uint8Array<ArrayBuffer> {
  const w = new Writer(new Uint8Array(BYTES));
  w.u48(clientSession);
  w.copy(clientPublic, 0, KEY_BYTES);
  w.copy(user!.id, 0, IDENT_BYTES);
  w.u16(length);
  for (const word of route) w.u32(word);
  return w.bytes as Uint8Array<ArrayBuffer>;
}

/** Fills in `opened` and `route`; the bytes of the HELLO, or -1: its user has gone. */
export function readHandedOver(
  message: Uint8Array,
  users: UserTable,
  opened: HelloOpened,
  route: Route,
): number {
  const r = new Reader(message);
  opened.clientSession = r.u48();
  r.copyTo(opened.clientPublic, 0, KEY_BYTES);
  opened.user = users.find(message, r.skip(IDENT_BYTES));
  opened.framesBytes = 0;
  const length = r.u16();
  for (let i = 0; i < routeWords; i++) route[i] = r.u32();
  return opened.user === undefined ? -1 : length;
}
