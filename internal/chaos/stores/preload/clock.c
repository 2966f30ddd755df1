// A library for LD_PRELOAD that moves the wall clock of a process. The file whose name is in
// CHAOS_CLOCK begins with the number of microseconds to add, as a 64-bit integer. The file is
// mapped, so a change takes effect at the next call, and costs nothing.
//
// Redis and PostgreSQL read the wall clock with gettimeofday and time. The monotonic clock, with
// which they measure timeouts, stays as it is.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t zero;
static const volatile int64_t *offset = &zero; // the allocator may ask for the time before open_clock

__attribute__((constructor)) static void open_clock(void) {
	const char *name = getenv("CHAOS_CLOCK");
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *p = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		offset = p;
	close(fd);
}

static int64_t now(void) {
	struct timespec t;
	timespec_get(&t, TIME_UTC);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000 + *offset;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
	(void)tz;
	int64_t t = now();
	tv->tv_sec = t / 1000000;
	tv->tv_usec = t % 1000000;
	return 0;
}

time_t time(time_t *p) {
	time_t t = now() / 1000000;
	if (p)
		*p = t;
	return t;
}
