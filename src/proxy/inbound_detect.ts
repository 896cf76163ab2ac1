// One port for SOCKS5 and HTTP: the first byte of a connection tells them apart.

export type InboundKind = "socks5" | "http" | "unknown";

/** SOCKS5 starts with its version, HTTP with the capital letter of a method. */
export function detectInbound(firstByte: number): InboundKind {
  if (firstByte === 5) return "socks5";
  return firstByte >= 0x41 && firstByte <= 0x5a ? "http" : "unknown";
}
