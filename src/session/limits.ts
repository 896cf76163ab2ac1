/** Named maxima of a session; each is counted when it is hit (SessionCounters). */

/** Streams open at a time in one session; one more is answered "too many streams". */
export const STREAMS_MAX = 65_536;
/** Streams of all sessions of a worker, about 0.8 KB each; and what each session gets of them. */
export const STREAMS_WORKER_MAX = 262_144;
export const STREAMS_SURE = 64;
/** OPENED and RST that a session has not acknowledged: until it does, its OPENs count as lost. */
export const ANSWERS_MAX = 4096;
/** The same where it has all the streams that it gets: each refusal is one more. */
export const REFUSALS_MAX = 64;
/**
 * OPENs that are taken of a session at once, and in a second: each may cost a connection, 70 us and
 * more. Beyond, packets count as lost.
 */
export const OPENINGS_BURST = 512;
export const OPENINGS_A_SECOND = 4000;
/** Where all sessions of a worker open more than so many, at once and a second ... */
export const OPENINGS_WORKER_BURST = 1024;
export const OPENINGS_WORKER_A_SECOND = 8000;
/** ... each gets only so many. */
export const OPENINGS_BUSY_BURST = 32;
export const OPENINGS_BUSY_A_SECOND = 100;
/** Streams of which something came before their OPEN, in a session; beyond, packets are lost. */
export const UNOPENED_MAX = 64;
/** The same of all sessions of a worker, and what each gets of them. */
export const UNOPENED_WORKER_MAX = 1024;
export const UNOPENED_SURE = 4;
/** An id so far above all that were opened is no honest one's: fewer are open at a time. */
export const IDS_AHEAD_MAX: number = STREAMS_MAX;
/** Reset streams that wait for the peer's final size; the oldest of more is forgotten at once. */
export const RESETS_MAX = 4096;
/**
 * Unacknowledged bytes that a stream's sender holds: where every tenth packet is lost, some are
 * lost four times, and all that was sent since waits behind them.
 */
export const STREAM_SEND_MAX = 16 << 20;
/** ... of which so much was not sent yet, where its path is fast. */
export const STREAM_UNSENT_MAX = 4 << 20;
/** ... and so much whatever its path is like. */
export const STREAM_UNSENT_SURE = 64 << 10;
/** What streams of a session together read ahead beyond that: windows of its path, and at most. */
export const READ_AHEAD_WINDOWS = 2;
export const READ_AHEAD_MAX = 4 << 20;
/** Memory that each session gets, whatever others hold. */
export const MEMORY_SURE = 64 << 10;
/** Memory for what came behind a hole: some pages of 4 KiB, and some times what they hold. */
export const SPARSE_PAGES_SURE = 64;
export const SPARSE_FACTOR = 8;
/** Probe timeouts in a row after which a peer counts as silent: nothing more is read for it. */
export const SILENT_TIMEOUTS = 3;
/** Largest receive window of a stream and of a session. */
export const STREAM_WINDOW_MAX = 16 << 20;
export const SESSION_WINDOW_MAX = 64 << 20;
/** A reset stream whose peer does not say its final size is forgotten after this. */
export const FORGET_RESET_MS = 10_000;
/** When memory or frame records were spent, it is tried again after this. */
export const RETRY_MS = 20;
/** A stream that waits for the rate at which it is read goes on when so much may be read. */
export const READ_STEP_BYTES = 16 << 10;
/** Encoded DATAGRAM frames that wait to be sent; what does not fit is dropped and counted. */
export const DATAGRAM_QUEUE_BYTES = 512 << 10;
/** The payload of the largest UDP datagram over IPv4. */
export const PACKET_BYTES_MAX = 65_507;
/** What a datagram may hold, whatever address goes with it. */
export const DATAGRAM_BYTES_MAX = 65_200;
/** Ids of closed streams are kept as ranges; a peer that scatters more than these is cut off. */
export const CLOSED_RANGES_MAX = 16_384;
/** A CLOSE is said again to a peer that goes on sending, this often. */
export const CLOSE_REPEATS_MAX = 3;
/** How long a closed session still answers. */
export const CLOSE_DRAIN_MS = 3000;
/** Nothing sent nor received for so long: what only a busy session needs is given back. */
export const SHRINK_IDLE_MS = 5000;
/** PONGs that one path owes at a time. */
export const PONGS_MAX = 32;
/** PATH_CHALLENGE is repeated after this, so many times. */
export const CHALLENGE_REPEAT_MS = 500;
export const CHALLENGES_MAX = 6;
/** Paths of a session at a time. */
export const PATHS_MAX = 8;
