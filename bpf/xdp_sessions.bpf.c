// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What user space does to single entries of `sessions`, run by BPF_PROG_TEST_RUN and attached to
 * nothing: the frame is a list of requests, and comes back with what became of them. By system
 * call user space could only write back a whole value, and with it counters that have gone on.
 *
 * An XDP program because those run so on every kernel that we know; SYSCALL programs are of 5.14,
 * and bpf_for_each_map_elem and timers, which could sweep by themselves, of 5.13 and 5.15.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "contract/tunnel.h"
#include "maps/config.h"
#include "tunnel/front.h"
#include "tunnel/report.h"

#define FLUSH_AFTER_NS 100000000ull

/* Types that only a frame or a ring buffer has would be missing from BTF. */
struct {
	struct ph_session_request request;
	struct ph_event event;
	enum ph_event_kind event_kind;
	enum ph_request_limit limit;
	enum ph_session_op op;
	enum ph_session_result result;
	enum ph_session_state state;
} btf_anchor SEC(".bss.anchor") = {};

static __always_inline __u32 set_state(struct xdp_md *ctx, const struct ph_session_key *key,
				       struct ph_session_value *value, __u32 state, __u64 now)
{
	__u32 kind = state == PH_SESSION_STATE_CLOSING ? PH_EVENT_KIND_CLOSING :
							 PH_EVENT_KIND_ESTABLISHED;

	if (value->state == state)
		return PH_SESSION_RESULT_DONE;
	value->state = state;
	value->last_seen_ns = now;
	report_session(ctx, 0, kind, 0, key);
	return PH_SESSION_RESULT_DONE;
}

static __always_inline __u64 timeout_of(const struct ph_config *settings, __u32 state)
{
	if (state == PH_SESSION_STATE_ESTABLISHED)
		return settings->established_timeout_ns;
	return state == PH_SESSION_STATE_CLOSING ? settings->closing_timeout_ns :
						   settings->new_timeout_ns;
}

/*
 * A packet on another CPU between the look and the removal loses its entry; the next packet makes
 * another one.
 */
static __always_inline __u32 expire(struct xdp_md *ctx, const struct ph_config *settings,
				    const struct ph_session_key *key,
				    const struct ph_session_value *value, __u64 now)
{
	__u64 seen = value->last_seen_ns;
	__u32 state = value->state;

	if (now < seen || now - seen < timeout_of(settings, state))
		return PH_SESSION_RESULT_KEPT;
	/* Of a closing one its closing has told, a new one has never been one. */
	if (!bpf_map_delete_elem(&sessions, key) && state == PH_SESSION_STATE_ESTABLISHED)
		report_session(ctx, 0, PH_EVENT_KIND_GONE, 0, key);
	return PH_SESSION_RESULT_DONE;
}

/*
 * Writes into their entries what slots hold that their CPU has not touched for a while. Should it
 * do so at this very moment, a packet or two are counted twice or not at all.
 */
__noinline int flush_slots(__u32 from)
{
	__u64 now = bpf_ktime_get_ns();

	for (__u32 i = 0; i < PH_REQUEST_LIMIT_SLOTS; i++) {
		__u32 index = from + i;
		struct ph_front *slot = bpf_map_lookup_elem(&front, &index);

		if (!slot)
			return PH_SESSION_RESULT_MISSING;
		if (slot->packets && now > slot->tick_ns && now - slot->tick_ns > FLUSH_AFTER_NS)
			flush_front(slot);
	}
	return PH_SESSION_RESULT_DONE;
}

static __always_inline __u32 count_sent(struct ph_session_value *value,
					const struct ph_session_request *request)
{
	value->packets_out += request->packets;
	value->bytes_out += request->bytes;
	return PH_SESSION_RESULT_DONE;
}

static __always_inline __u32 do_request(struct xdp_md *ctx, const struct ph_session_key *key,
					const struct ph_session_request *request)
{
	__u32 op = request->op;
	__u32 zero = 0;
	const struct ph_config *settings = bpf_map_lookup_elem(&config, &zero);
	struct ph_session_value *value;
	__u64 now = bpf_ktime_get_ns();

	if (op == PH_SESSION_OP_FLUSH)
		return flush_slots(*(const __u32 *)key);
	value = bpf_map_lookup_elem(&sessions, key);
	if (!value || !settings)
		return PH_SESSION_RESULT_MISSING;
	if (op == PH_SESSION_OP_ESTABLISH)
		return set_state(ctx, key, value, PH_SESSION_STATE_ESTABLISHED, now);
	if (op == PH_SESSION_OP_CLOSE)
		return set_state(ctx, key, value, PH_SESSION_STATE_CLOSING, now);
	if (op == PH_SESSION_OP_EXPIRE)
		return expire(ctx, settings, key, value, now);
	if (op == PH_SESSION_OP_SENT)
		return count_sent(value, request);
	return PH_SESSION_RESULT_NONE;
}

/* Global, as is flush_slots: the verifier looks at it once, and not for every request. */
__noinline int serve(struct xdp_md *ctx, __u32 index)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ph_session_request *request;
	struct ph_session_key key;

	if (index >= PH_REQUEST_LIMIT_RUN)
		return 0;
	request = data + PH_REQUEST_LIMIT_HEAD_BYTES + index * sizeof(*request);
	if ((void *)(request + 1) > end)
		return 0;
	__builtin_memcpy(&key, request->key, sizeof(key));
	request->result = do_request(ctx, &key, request);
	return 1;
}

/* How many requests were served. */
SEC("xdp")
int xdp_sessions(struct xdp_md *ctx)
{
	int served = 0;

	while (served < PH_REQUEST_LIMIT_RUN && serve(ctx, served))
		served++;
	return served;
}

char LICENSE[] SEC("license") = "GPL";
