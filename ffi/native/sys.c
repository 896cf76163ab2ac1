// SPDX-License-Identifier: MIT
/* System calls that Deno has no name for. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <net/if.h>
#include <sys/file.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "addr.h"

/*
 * Large buffers come and go with sessions. Mapped, each costs what of it is used, and goes back
 * when it is freed; glibc would raise its threshold with the first one freed, and cut the next
 * ones, cleared byte by byte, out of arenas that never shrink.
 */
#define MAPPED_BYTES_MIN (256 << 10)

__attribute__((constructor)) static void tune_malloc(void)
{
	mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
}

int32_t ph_open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int32_t ph_lock_folder(const char *path)
{
	int fd = ph_open_folder(path);
	int err;

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int32_t ph_is_bpffs(const char *path)
{
	struct statfs info;

	if (statfs(path, &info) < 0)
		return -errno;
	return (uint32_t)info.f_type == BPF_FS_MAGIC;
}

int32_t ph_mount_bpffs(const char *path)
{
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		return -errno;
	return 0;
}

int32_t ph_ifindex(const char *name)
{
	unsigned int index = if_nametoindex(name);

	return index ? (int32_t)index : -ENODEV;
}

int32_t ph_try_socket(int32_t family, int32_t type, int32_t protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* ---- descriptors ---- */

static _Atomic int32_t spared_from = INT32_MAX;

int32_t ph_descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };

		/* The hard limit may be above what the kernel allows; then all stays as it was. */
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur > INT32_MAX ? INT32_MAX : (int32_t)limit.rlim_cur;
}

void ph_descriptors_spare(int32_t from)
{
	atomic_store_explicit(&spared_from, from, memory_order_relaxed);
}

void ph_memory_unused(uint8_t *bytes, uint64_t length)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t begin = ((uint64_t)(uintptr_t)bytes + page - 1) / page * page;
	uint64_t end = ((uint64_t)(uintptr_t)bytes + length) / page * page;

	/* Where it fails the pages stay, which is no harm. */
	if (begin < end)
		(void)madvise((void *)(uintptr_t)begin, end - begin, MADV_DONTNEED);
}

void ph_heap_release(void)
{
	(void)malloc_trim(0);
}

/* The kernel gives out the lowest that is free: its number tells how many there are, at least. */
int unspared(int fd)
{
	if (fd < atomic_load_explicit(&spared_from, memory_order_relaxed))
		return fd;
	close(fd);
	errno = EMFILE;
	return -1;
}
