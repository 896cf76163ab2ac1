// SPDX-License-Identifier: MIT
/*
 * The consumer side of BPF ring buffers and perf buffers. libbpf's own consumers call back once
 * a record; here a whole batch is moved into one buffer of the caller, which costs JavaScript one
 * call. The layouts are kernel ABI (include/uapi/linux/bpf.h, perf_event.h).
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ph.h"

/* What stands in front of each record in the caller's buffer. */
struct record {
	uint32_t length;
	uint32_t cpu;
};

struct perf_cpu {
	int fd;
	uint32_t cpu;
	struct perf_event_mmap_page *page;
};

struct ph_ring {
	int fd;				/* ring: a duplicate of the map's; perf: an epoll */
	bool is_perf;
	size_t page_size;
	/* ring buffer */
	uint64_t data_size;
	unsigned long *consumer;
	unsigned long *producer;
	const uint8_t *data;
	/* perf buffer */
	size_t perf_bytes;		/* of one CPU, without its first page */
	uint32_t cpus;
	uint32_t next_cpu;		/* where the next drain begins, so that no CPU starves */
	uint64_t lost;
	struct perf_cpu cpu[];
};

static long bpf_call(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int map_info(int map_fd, struct bpf_map_info *info)
{
	union bpf_attr attr = {
		.info = {
			.bpf_fd = (uint32_t)map_fd,
			.info_len = sizeof(*info),
			.info = (uint64_t)(uintptr_t)info,
		},
	};

	memset(info, 0, sizeof(*info));
	return bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attr) < 0 ? -errno : 0;
}

static size_t padded(uint32_t length)
{
	return ((size_t)length + 7) & ~(size_t)7;
}

struct ph_ring *ph_ring_open(int32_t map_fd, int32_t *err)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	struct bpf_map_info info;
	struct ph_ring *ring = NULL;
	void *producer;

	*err = map_info(map_fd, &info);
	if (*err)
		return NULL;
	*err = -EINVAL;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return NULL;
	ring = calloc(1, sizeof(*ring));
	*err = -ENOMEM;
	if (!ring)
		return NULL;
	ring->page_size = page_size;
	ring->data_size = info.max_entries;
	ring->fd = dup(map_fd);
	if (ring->fd < 0)
		goto fail;
	ring->consumer = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (ring->consumer == MAP_FAILED)
		goto fail;
	/* The kernel maps the data twice in a row, so that no record is ever cut in two. */
	producer = mmap(NULL, page_size + 2 * ring->data_size, PROT_READ, MAP_SHARED, ring->fd,
			(off_t)page_size);
	if (producer == MAP_FAILED)
		goto fail_consumer;
	ring->producer = producer;
	ring->data = (const uint8_t *)producer + page_size;
	*err = 0;
	return ring;

fail_consumer:
	*err = -errno;
	munmap(ring->consumer, page_size);
	goto free;
fail:
	*err = -errno;
free:
	if (ring->fd >= 0)
		close(ring->fd);
	free(ring);
	return NULL;
}

static int32_t drain_ring(struct ph_ring *ring, uint8_t *out, uint32_t cap)
{
	unsigned long position = *ring->consumer;
	unsigned long end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	uint32_t used = 0;

	while (position < end) {
		const uint8_t *entry = ring->data + (position & (ring->data_size - 1));
		uint32_t header = __atomic_load_n((const uint32_t *)entry, __ATOMIC_ACQUIRE);
		uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		struct record record = { .length = length };

		if (header & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
			if (sizeof(record) + padded(length) > cap - used) {
				if (!used)
					return -EMSGSIZE;
				break;
			}
			memcpy(out + used, &record, sizeof(record));
			memcpy(out + used + sizeof(record), entry + BPF_RINGBUF_HDR_SZ, length);
			used += sizeof(record) + padded(length);
		}
		position += padded(length + BPF_RINGBUF_HDR_SZ);
	}
	/* One store a batch: the line is shared with every CPU that produces. */
	__atomic_store_n(ring->consumer, position, __ATOMIC_SEQ_CST);
	return (int32_t)used;
}

static int open_perf_cpu(struct ph_ring *ring, int map_fd, uint32_t cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW,
		.sample_period = 1,
		.wakeup_events = 1,
	};
	struct perf_cpu *slot = &ring->cpu[ring->cpus];
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = cpu };
	union bpf_attr update = { .map_fd = (uint32_t)map_fd };
	void *page;
	int fd, err;

	fd = (int)syscall(SYS_perf_event_open, &attr, -1, (int)cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return errno == ENODEV ? 0 : -errno;	/* ENODEV: this CPU is offline */
	page = mmap(NULL, ring->page_size + ring->perf_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
	if (page == MAP_FAILED)
		goto fail;
	update.key = (uint64_t)(uintptr_t)&cpu;
	update.value = (uint64_t)(uintptr_t)&fd;
	if (bpf_call(BPF_MAP_UPDATE_ELEM, &update) < 0 ||
	    epoll_ctl(ring->fd, EPOLL_CTL_ADD, fd, &event) < 0)
		goto fail_page;
	*slot = (struct perf_cpu){ .fd = fd, .cpu = cpu, .page = page };
	ring->cpus++;
	return 0;

fail_page:
	err = -errno;
	munmap(page, ring->page_size + ring->perf_bytes);
	close(fd);
	return err;
fail:
	err = -errno;
	close(fd);
	return err;
}

struct ph_ring *ph_perf_open(int32_t map_fd, uint32_t pages, int32_t *err)
{
	struct bpf_map_info info;
	struct ph_ring *ring;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	*err = map_info(map_fd, &info);
	if (*err)
		return NULL;
	*err = -EINVAL;
	if (info.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY || cpus < 1 || !pages ||
	    pages > (1 << 16) || (pages & (pages - 1)))
		return NULL;
	if ((uint32_t)cpus > info.max_entries)
		cpus = info.max_entries;
	ring = calloc(1, sizeof(*ring) + (size_t)cpus * sizeof(ring->cpu[0]));
	*err = -ENOMEM;
	if (!ring)
		return NULL;
	ring->is_perf = true;
	ring->page_size = (size_t)sysconf(_SC_PAGESIZE);
	ring->perf_bytes = pages * ring->page_size;
	ring->fd = epoll_create1(EPOLL_CLOEXEC);
	*err = ring->fd < 0 ? -errno : 0;
	for (uint32_t cpu = 0; !*err && cpu < (uint32_t)cpus; cpu++)
		*err = open_perf_cpu(ring, map_fd, cpu);
	if (*err) {
		ph_ring_close(ring);
		return NULL;
	}
	return ring;
}

/* Copies out of the perf data area, which wraps. */
static void perf_copy(const struct ph_ring *ring, const struct perf_cpu *cpu, uint64_t from,
		      void *to, size_t length)
{
	const uint8_t *data = (const uint8_t *)cpu->page + ring->page_size;
	size_t start = from & (ring->perf_bytes - 1);
	size_t first = ring->perf_bytes - start < length ? ring->perf_bytes - start : length;

	memcpy(to, data + start, first);
	memcpy((uint8_t *)to + first, data, length - first);
}

/* Appends what this CPU has; answers the bytes used afterwards, or -EMSGSIZE. */
static int32_t drain_perf_cpu(struct ph_ring *ring, struct perf_cpu *cpu, uint8_t *out,
			      uint32_t used, uint32_t cap)
{
	uint64_t tail = cpu->page->data_tail;
	uint64_t head = __atomic_load_n(&cpu->page->data_head, __ATOMIC_ACQUIRE);
	int32_t result = 0;

	while (tail < head) {
		struct perf_event_header header;
		struct record record = { .cpu = cpu->cpu };

		perf_copy(ring, cpu, tail, &header, sizeof(header));
		if (header.type == PERF_RECORD_LOST) {
			uint64_t lost[2];	/* id, count */

			perf_copy(ring, cpu, tail + sizeof(header), lost, sizeof(lost));
			ring->lost += lost[1];
		} else if (header.type == PERF_RECORD_SAMPLE) {
			uint64_t at = tail + sizeof(header);

			perf_copy(ring, cpu, at, &record.length, sizeof(record.length));
			if (sizeof(record) + padded(record.length) > cap - used) {
				result = used ? 0 : -EMSGSIZE;
				break;
			}
			memcpy(out + used, &record, sizeof(record));
			used += sizeof(record);
			perf_copy(ring, cpu, at + 4, out + used, record.length);
			used += padded(record.length);
		}
		tail += header.size;
	}
	__atomic_store_n(&cpu->page->data_tail, tail, __ATOMIC_RELEASE);
	return result ? result : (int32_t)used;
}

int32_t ph_ring_drain(struct ph_ring *ring, void *out, uint32_t cap)
{
	int32_t used = 0;

	if (cap > INT32_MAX)
		cap = INT32_MAX;
	if (!ring->is_perf)
		return drain_ring(ring, out, cap);
	for (uint32_t i = 0; i < ring->cpus && used >= 0; i++) {
		uint32_t at = (ring->next_cpu + i) % ring->cpus;

		used = drain_perf_cpu(ring, &ring->cpu[at], out, (uint32_t)used, cap);
	}
	if (ring->cpus)
		ring->next_cpu = (ring->next_cpu + 1) % ring->cpus;
	return used;
}

uint64_t ph_ring_lost(const struct ph_ring *ring)
{
	return ring->lost;
}

int32_t ph_ring_fd(const struct ph_ring *ring)
{
	return ring->fd;
}

void ph_ring_close(struct ph_ring *ring)
{
	for (uint32_t i = 0; i < ring->cpus; i++) {
		munmap(ring->cpu[i].page, ring->page_size + ring->perf_bytes);
		close(ring->cpu[i].fd);
	}
	if (!ring->is_perf) {
		munmap(ring->consumer, ring->page_size);
		munmap(ring->producer, ring->page_size + 2 * ring->data_size);
	}
	if (ring->fd >= 0)
		close(ring->fd);
	free(ring);
}
