// Tests only, preloaded into a Redis server: shifts its wall clock by the microseconds in $SHIFTED_CLOCK_FILE (8 bytes).
// Guarantees: a change of the file counts at once; monotonic clocks are left alone. Needs no header files.
struct timeval { long seconds, microseconds; };
struct timespec { long seconds, nanoseconds; };
extern void *dlsym(void *, const char *);
extern char *getenv(const char *);
extern int open(const char *, int, ...);
extern void *mmap(void *, unsigned long, int, int, int, long);

static volatile long none = 0;
static volatile long *shift_us = &none;
static int (*real_clock)(int, struct timespec *);

__attribute__((constructor)) static void prepare(void) {
  const char *path = getenv("SHIFTED_CLOCK_FILE");
  real_clock = (int (*)(int, struct timespec *))dlsym((void *)-1L, "clock_gettime");
  if (path == 0) return;
  int file = open(path, 0);
  if (file < 0) return;
  void *mapped = mmap(0, 8, 1, 1, file, 0);
  if (mapped != (void *)-1L) shift_us = mapped;
}

static long now_us(void) {
  struct timespec now;
  if (real_clock == 0) prepare();
  real_clock(0, &now);
  return now.seconds * 1000000L + now.nanoseconds / 1000L + *shift_us;
}

int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  long us = now_us();
  now->seconds = us / 1000000L;
  now->microseconds = us % 1000000L;
  return 0;
}

long time(long *now) {
  long seconds = now_us() / 1000000L;
  if (now != 0) *now = seconds;
  return seconds;
}

int clock_gettime(int clock, struct timespec *now) {
  if (real_clock == 0) prepare();
  int failed = real_clock(clock, now);
  if (failed == 0 && clock == 0) {
    long us = now->seconds * 1000000L + now->nanoseconds / 1000L + *shift_us;
    now->nanoseconds = (us % 1000000L) * 1000L + now->nanoseconds % 1000L;
    now->seconds = us / 1000000L;
  }
  return failed;
}
