/** The protocol's numbers: what both sides agree on, apart from what an implementation chooses. */

// ---- Specification constants: another value speaks another protocol ----

export const PROTOCOL_VERSION = 5;

export const HEADER_BYTES = 16;
export const TAG_BYTES = 16;
export const SALT_BYTES = 16;
export const IDENT_BYTES = 8;
export const KEY_BYTES = 32;
export const MASK_KEY_BYTES = 16;
export const RESET_TOKEN_BYTES = 16;
/** Anything shorter has no sample for the header mask. */
export const PACKET_BYTES_MIN = HEADER_BYTES + 16;
/** The length of a TCP record is a u16. */
export const PACKET_BYTES_MAX = 65_535;
/** What any path carries in one packet (RFC 9000 §14), before more is known of it. */
export const PACKET_BYTES_BASE = 1200;
/** What a DATA packet has around its frames. */
export const DATA_OVERHEAD = HEADER_BYTES + TAG_BYTES;

export const WINDOW_MS = 30_000;
/** How far a HELLO's time may be from the server's. */
export const TIME_SKEW_MS_MAX = 30_000;
/** How long a server without its earlier record can't tell a replay: three windows. */
export const REPLAY_BLIND_MS = 3 * WINDOW_MS;

/** DATA packet numbers that a receiver remembers. */
export const DATA_WINDOW_NUMBERS = 8192;
/** 48 bits: 29 years at 300,000 packets a second. */
export const PACKET_NUMBER_MAX = 2 ** 48 - 1;

/** Packets that one key seals: with ChaCha20-Poly1305, and with AES-256-GCM (RFC 9001 B.1). */
export const KEY_UPDATE_PACKETS = 2 ** 30;
export const KEY_UPDATE_PACKETS_AES = 2 ** 23;
/** Packets of a session that did not open, before it is ended. */
export const FORGED_PACKETS_MAX = 2 ** 36;
export const KEY_UPDATE_MS = 120_000;
/** How long a receiver keeps the key before the present one. */
export const KEY_OLD_MS = 3_000;

/** RESETs to one source, a second. */
export const RESETS_A_SECOND_MAX = 1;
/** A client believes a RESET only about a number that it sent within this time. */
export const RESET_NUMBER_MS_MAX = 10_000;

/** Initial flow control, before MAX_STREAM and MAX_DATA. */
export const STREAM_WINDOW_BYTES = 1 << 20;
export const SESSION_WINDOW_BYTES = 16 << 20;

/** To a path that has not answered its challenge: bytes sent for each byte received. */
export const UNPROVEN_PATH_FACTOR = 3;

export const PADDING_BYTES_MAX = 255;

// ---- Implementation constants: more than this from a peer ends its session ----

/** Ranges of one ACK frame. A 1452-byte packet could carry about 700. */
export const ACK_RANGES_MAX = 256;
/** Bytes of the reason in a CLOSE frame. */
export const CLOSE_REASON_BYTES_MAX = 256;

// ---- Implementation constants: a server's memory ----

/** HELLOs of one window; further ones are refused. */
export const REPLAY_SLICE_MAX = 1_000_000;
/** Windows of which the replay memory holds a slice: w-1, w, w+1 and one to spare. */
export const REPLAY_SLICES_MAX = 4;
/** How long the answer to a HELLO is remembered once its session has gone. */
export const HANDSHAKE_KEEP_MS = 90_000;
/** How long a server knows that a session was one of its own, and how far it had come. */
export const ENDED_KEEP_MS = 90_000;
/** Users of one server. */
export const USERS_MAX = 65_536;
