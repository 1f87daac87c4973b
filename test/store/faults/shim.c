/*
 * LD_PRELOAD library that makes the disk fail under a running process, or records what the process did to it.
 *
 * It sees the calls that SQLite's unix VFS and libuv make on files below one directory:
 *
 *   ROOST_FAULT_DIR      The directory. Files outside are untouched. Unset: the library does nothing.
 *   ROOST_FAULT_CONTROL  Control page (struct control below), written by faults.ts. Unset: no faults.
 *   ROOST_FAULT_RECORD   Journal of every change, read by power-cut.ts. Unset: no journal.
 *
 * Control page and journal must be outside ROOST_FAULT_DIR.
 *
 * Not seen: mmap (SQLite's -shm), fopen, copy_file_range, sendfile, io_uring, dup, hole punching, truncate by path, hard
 * links and renamed directories.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- Control page ------------------------------------------------------------------------------------------------ */

#define MAGIC 0x31435352u /* "RSC1" */

enum { OFF = 0, ONCE = 1, UNTIL_CHANGED = 2 };
enum { OP_WRITE = 1, OP_SYNC = 2, OP_TRUNCATE = 4, OP_CREATE = 8, OP_REMOVE = 16 };

/* Little endian, no padding. faults.ts writes by the same offsets. */
struct control {
  uint32_t magic;        /*   0 */
  uint32_t sequence;     /*   4 odd while faults.ts changes the page */
  /* The fault. The first matching calls succeed (`skip`), later ones fail. */
  uint32_t mode;         /*   8 OFF, ONCE or UNTIL_CHANGED; ONCE becomes OFF when it has failed a call */
  uint32_t operations;   /*  12 OP_ bits */
  uint32_t error;        /*  16 errno value */
  uint32_t skip;         /*  20 matching calls that still succeed, counted down */
  uint32_t partial;      /*  24 1: half of the first write gets through, the next call fails */
  uint32_t half_written; /*  28 set once that half has been written */
  char suffix[32];       /*  32 of the file's name; names of directories end in a slash; empty: any */
  /* The full disk. */
  uint32_t full;         /*  64 errno value for calls that need more than `room`; 0: the disk is not full */
  uint32_t full_partial; /*  68 1: a write fills the room that is left before the next one fails */
  int64_t room;          /*  72 bytes by which files can still grow; grows when files shrink or are deleted */
  /* Counters. */
  uint64_t injected;     /*  80 calls failed by the fault or the full disk */
  uint64_t short_writes; /*  88 writes of which a part got through */
  uint64_t writes;       /*  96 calls that succeeded: write, pwrite, ... */
  uint64_t syncs;        /* 104 fsync, fdatasync */
  uint64_t truncates;    /* 112 ftruncate, fallocate */
  uint64_t creates;      /* 120 */
  uint64_t removes;      /* 128 unlink, rename */
};

/* ---- Journal ----------------------------------------------------------------------------------------------------- */

/*
 * A file starts with JOURNAL_MAGIC; records follow, each a struct record and `length` bytes. Files are numbered by the
 * library because the kernel reuses inode numbers; names are relative to ROOST_FAULT_DIR. Every record is appended in one
 * call with O_APPEND while the global lock is held, so the order is that of the calls. Another process can append marks.
 */
#define JOURNAL_MAGIC "RoostJ1\n"

enum {
  R_FILE = 1,        /* A file that was there before; arg: length of the name; data: name, content */
  R_DIRECTORY = 2,   /* Gives a directory its number; data: name, empty for ROOST_FAULT_DIR */
  R_CREATE = 3,      /* data: name */
  R_WRITE = 4,       /* arg: offset */
  R_TRUNCATE = 5,    /* arg: size, smaller or larger than before */
  R_SYNC_BEGIN = 6,  /* Of a file or directory; arg: number of this call */
  R_SYNC_END = 7,    /* arg: as in R_SYNC_BEGIN */
  R_SYNC_FAILED = 8, /* arg: as in R_SYNC_BEGIN */
  R_UNLINK = 9,      /* data: name */
  R_RENAME = 10,     /* arg: length of the old name; data: old name, new name */
  R_MARK = 11,       /* data: what was written to the file `acks` */
};

struct record {
  uint32_t type;
  uint32_t file;
  uint64_t arg;
  uint32_t length;
} __attribute__((packed));

/* ---- State ------------------------------------------------------------------------------------------------------- */

struct file {
  char *name; /* Relative; of directories with a slash at the end */
  dev_t dev;
  ino_t ino;
  int is_directory;
  int is_acks;
  int is_gone;
};

#define FDS 65536
#define FILES 262144

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int is_active;
static char dir_given[PATH_MAX];
static char dir_real[PATH_MAX];
static struct control *control;
static const char *record_path;
static int journal = -1;
static int has_asked_to_record;
static uint64_t sync_number;
/* Number of the file << 1 | opened with O_APPEND; 0 if the descriptor is not ours. */
static uint32_t fds[FDS];
/* Numbered from 1. */
static struct file *files[FILES];
static uint32_t file_count;

#define REAL(name) ({ \
  static __typeof__(&name) real_; \
  if (!real_) real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
  real_; \
})
#define COUNT(counter) do { if (control) control->counter++; } while (0)

static void die(const char *what, const char *path)
{
  dprintf(2, "fault shim: %s: %s\n", path, what);
  _exit(99);
}

static void lock(void)
{
  pthread_mutex_lock(&mutex);
}

/* Keeps errno. */
static void unlock(void)
{
  int e = errno;
  pthread_mutex_unlock(&mutex);
  errno = e;
}

/* Resolves //, . and .. in place, without looking at the disk. */
static void normalise(char *path)
{
  char *out = path;
  const char *in = path;
  while (*in) {
    while (*in == '/') in++;
    size_t n = strcspn(in, "/");
    if (n == 0) break;
    if (n == 2 && in[0] == '.' && in[1] == '.') {
      while (out > path && *--out != '/') ;
    } else if (!(n == 1 && in[0] == '.')) {
      *out++ = '/';
      memmove(out, in, n);
      out += n;
    }
    in += n;
  }
  *out = 0;
}

static const char *below(const char *dir, const char *path)
{
  size_t n = strlen(dir);
  if (n == 0 || strncmp(path, dir, n) != 0) return NULL;
  return path[n] == 0 ? path + n : path[n] == '/' ? path + n + 1 : NULL;
}

/* Returns the path relative to ROOST_FAULT_DIR, empty for the directory itself, or NULL if it is outside. */
static const char *inside(int dirfd, const char *path, char absolute[PATH_MAX])
{
  size_t n = 0;
  if (!is_active || !path) return NULL;
  if (path[0] != '/') {
    if (dirfd == AT_FDCWD) {
      if (!getcwd(absolute, PATH_MAX)) return NULL;
      n = strlen(absolute);
    } else {
      char link[40];
      snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
      ssize_t got = readlink(link, absolute, PATH_MAX - 1);
      if (got < 0) return NULL;
      n = (size_t)got;
    }
    absolute[n++] = '/';
  }
  if (n + strlen(path) >= PATH_MAX) return NULL;
  strcpy(absolute + n, path);
  normalise(absolute);
  const char *relative = below(dir_real, absolute);
  return relative ? relative : below(dir_given, absolute);
}

__attribute__((constructor)) static void start(void)
{
  const char *dir = getenv("ROOST_FAULT_DIR");
  const char *control_path = getenv("ROOST_FAULT_CONTROL");
  if (!dir || !dir[0]) return;
  if (strlen(dir) >= PATH_MAX || dir[0] != '/') die("not an absolute path", dir);
  strcpy(dir_given, dir);
  normalise(dir_given);
  if (!realpath(dir, dir_real)) strcpy(dir_real, dir_given);
  record_path = getenv("ROOST_FAULT_RECORD");
  if (record_path && !record_path[0]) record_path = NULL;
  if (control_path && control_path[0]) {
    int fd = REAL(open)(control_path, O_RDWR | O_CLOEXEC);
    if (fd < 0) die(strerror(errno), control_path);
    control = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED || control->magic != MAGIC) die("not a control page", control_path);
    REAL(close)(fd);
  }
  is_active = 1;
}

/* ---- Recording --------------------------------------------------------------------------------------------------- */

/* Data in up to two parts. */
static void record2(uint32_t type, uint32_t file, uint64_t arg, const void *a, size_t na, const void *b, size_t nb)
{
  if (journal < 0) return;
  int e = errno;
  struct record r = { type, file, arg, (uint32_t)(na + nb) };
  struct iovec iov[3] = { { &r, sizeof r }, { (void *)a, na }, { (void *)b, nb } };
  if (REAL(writev)(journal, iov, 3) != (ssize_t)(sizeof r + na + nb)) die("cannot append", record_path);
  errno = e;
}

static void record(uint32_t type, uint32_t file, uint64_t arg, const void *data, size_t n)
{
  record2(type, file, arg, data, n, NULL, 0);
}

static uint32_t add_file(const char *name, const struct stat *st)
{
  if (file_count + 1 >= FILES) die("too many files", dir_given);
  struct file *f = calloc(1, sizeof *f);
  f->is_directory = S_ISDIR(st->st_mode);
  if (asprintf(&f->name, "%s%s", name, f->is_directory ? "/" : "") < 0) die("out of memory", name);
  f->dev = st->st_dev;
  f->ino = st->st_ino;
  f->is_acks = strcmp(name, "acks") == 0;
  files[++file_count] = f;
  if (f->is_directory) record(R_DIRECTORY, file_count, 0, name, strlen(name));
  return file_count;
}

/* Number of the file with this name, or 0. */
static uint32_t find_file(const char *name, const struct stat *st)
{
  size_t n = strlen(name);
  for (uint32_t i = file_count; i > 0; i--) {
    const struct file *f = files[i];
    if (f->is_gone || f->dev != st->st_dev || f->ino != st->st_ino || strncmp(f->name, name, n) != 0) continue;
    if (f->name[n] == 0 || (f->is_directory && f->name[n] == '/')) return i;
  }
  return 0;
}

/* Adds a file that exists already, with its content. */
static uint32_t add_existing(const char *path, const char *name, const struct stat *st)
{
  uint32_t number = add_file(name, st);
  if (journal < 0 || !S_ISREG(st->st_mode) || files[number]->is_acks) return number;
  int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
  size_t size = (size_t)st->st_size;
  char *content = malloc(size + 1);
  if (fd < 0 || !content || read(fd, content, size) != (ssize_t)size) die("cannot read", path);
  record2(R_FILE, number, strlen(name), name, strlen(name), content, size);
  free(content);
  REAL(close)(fd);
  return number;
}

static void add_directory(const char *path, const char *name)
{
  DIR *d = opendir(path);
  if (!d) return;
  for (struct dirent *e; (e = readdir(d)); ) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    char child[PATH_MAX], child_name[PATH_MAX];
    struct stat st;
    if (snprintf(child, PATH_MAX, "%s/%s", path, e->d_name) >= PATH_MAX) continue;
    if (snprintf(child_name, PATH_MAX, "%s%s%s", name, name[0] ? "/" : "", e->d_name) >= PATH_MAX) continue;
    if (lstat(child, &st) != 0) continue;
    if (S_ISDIR(st.st_mode)) add_directory(child, child_name);
    else if (S_ISREG(st.st_mode)) add_existing(child, child_name, &st);
  }
  closedir(d);
}

/*
 * Starts the journal at the first call that concerns the directory. Only one process records: wrappers (npx, a shell) never
 * get here, and children of the recorded process find the journal locked.
 */
static void begin_recording(void)
{
  if (!record_path || has_asked_to_record) return;
  has_asked_to_record = 1;
  int fd = REAL(open)(record_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) die(strerror(errno), record_path);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    REAL(close)(fd);
    return;
  }
  if (lseek(fd, 0, SEEK_END) != 0) die("is the journal of an earlier process; use a new file for each", record_path);
  if (REAL(write)(fd, JOURNAL_MAGIC, 8) != 8) die(strerror(errno), record_path);
  journal = fd;
  add_directory(dir_real, "");
}

/* ---- Faults ------------------------------------------------------------------------------------------------------ */

#define HALF (-1)

static int ends_with(const char *name, const char *suffix)
{
  size_t n = strlen(name), m = strnlen(suffix, sizeof control->suffix);
  return m <= n && memcmp(name + n - m, suffix, m) == 0;
}

/* Waits while faults.ts changes the page, which takes microseconds. */
static void settle(void)
{
  for (int i = 0; i < 100000 && (__atomic_load_n(&control->sequence, __ATOMIC_ACQUIRE) & 1); i++) sched_yield();
}

/* Returns the errno value with which the call fails, HALF, or 0 if it goes to the disk. */
static int fault(const char *name, uint32_t operation, size_t bytes)
{
  if (!control) return 0;
  settle();
  if (control->mode == OFF || !(control->operations & operation) || !ends_with(name, control->suffix)) return 0;
  if (control->skip > 0) {
    control->skip--;
    return 0;
  }
  if (control->partial && operation == OP_WRITE && !control->half_written && bytes > 1) {
    control->half_written = 1;
    control->short_writes++;
    return HALF;
  }
  if (control->mode == ONCE) control->mode = OFF;
  control->injected++;
  return (int)control->error;
}

static int is_full(void)
{
  return control && control->full != 0;
}

static void give_room(int64_t bytes)
{
  if (is_full() && bytes > 0) control->room += bytes;
}

static int fail(int error)
{
  errno = error;
  return -1;
}

/* ---- Calls on descriptors ---------------------------------------------------------------------------------------- */

static uint32_t entry_of(int fd)
{
  return is_active && fd >= 0 && fd < FDS ? __atomic_load_n(&fds[fd], __ATOMIC_ACQUIRE) : 0;
}

static void set_entry(int fd, uint32_t entry)
{
  if (fd >= 0 && fd < FDS) __atomic_store_n(&fds[fd], entry, __ATOMIC_RELEASE);
  else if (entry) die("descriptor too large", files[entry >> 1]->name);
}

/*
 * Number of the file, or 0. libuv closes descriptors with a raw system call, so the number may belong to something else by
 * now: device and inode tell.
 */
static uint32_t file_of(int fd, struct stat *st)
{
  uint32_t entry = entry_of(fd);
  if (!entry) return 0;
  const struct file *f = files[entry >> 1];
  if (fstat(fd, st) == 0 && st->st_dev == f->dev && st->st_ino == f->ino) return entry >> 1;
  set_entry(fd, 0);
  return 0;
}

static ssize_t raw_write(int fd, const void *data, size_t n, off_t at, int is_positioned)
{
  return is_positioned ? REAL(pwrite64)(fd, data, n, at) : REAL(write)(fd, data, n);
}

static ssize_t locked_write(int fd, const void *data, size_t n, off_t at, int is_positioned)
{
  struct stat st;
  uint32_t number = file_of(fd, &st);
  if (!number || files[number]->is_directory) return raw_write(fd, data, n, at, is_positioned);
  if (files[number]->is_acks) {
    ssize_t written = raw_write(fd, data, n, at, is_positioned);
    if (written > 0) record(R_MARK, 0, 0, data, (size_t)written);
    return written;
  }
  /* Linux appends with pwrite as well if O_APPEND is set. */
  if (fds[fd] & 1) at = st.st_size;
  else if (!is_positioned) at = lseek(fd, 0, SEEK_CUR);

  int error = fault(files[number]->name, OP_WRITE, n);
  if (error > 0) return fail(error);
  if (error == HALF) n /= 2;

  int64_t growth = at + (int64_t)n - st.st_size;
  if (growth < 0) growth = 0;
  if (is_full() && growth > control->room) {
    int64_t fits = (int64_t)n - growth + control->room;
    if (!control->full_partial || fits <= 0) {
      control->injected++;
      return fail((int)control->full);
    }
    control->short_writes++;
    n = (size_t)fits;
  }
  ssize_t written = raw_write(fd, data, n, at, is_positioned);
  if (written < 0) return written;
  growth = at + written - st.st_size;
  if (is_full() && growth > 0) control->room -= growth;
  COUNT(writes);
  record(R_WRITE, number, (uint64_t)at, data, (size_t)written);
  return written;
}

static ssize_t do_write(int fd, const void *data, size_t n, off_t at, int is_positioned)
{
  if (!entry_of(fd)) return raw_write(fd, data, n, at, is_positioned);
  lock();
  ssize_t written = locked_write(fd, data, n, at, is_positioned);
  unlock();
  return written;
}

/* One write of all parts. */
static ssize_t do_writev(int fd, const struct iovec *iov, int count, off_t at, int is_positioned)
{
  size_t n = 0;
  for (int i = 0; i < count; i++) n += iov[i].iov_len;
  char *all = malloc(n + 1), *end = all;
  if (!all) return fail(ENOMEM);
  for (int i = 0; i < count; i++) end = mempcpy(end, iov[i].iov_base, iov[i].iov_len);
  ssize_t written = do_write(fd, all, n, at, is_positioned);
  int e = errno;
  free(all);
  errno = e;
  return written;
}

static int do_sync(int fd, int is_data_only)
{
  struct stat st;
  uint32_t number = 0;
  int error = 0;
  uint64_t call = 0;
  if (entry_of(fd)) {
    lock();
    number = file_of(fd, &st);
    if (number && files[number]->is_acks) number = 0;
    if (number) {
      error = fault(files[number]->name, OP_SYNC, 0);
      call = ++sync_number;
      record(R_SYNC_BEGIN, number, call, NULL, 0);
    }
    unlock();
  }
  /* Without the lock: other threads may write meanwhile, and such writes are not covered. */
  int result = error > 0 ? fail(error) : is_data_only ? REAL(fdatasync)(fd) : REAL(fsync)(fd);
  if (number) {
    int e = errno;
    lock();
    if (result == 0) COUNT(syncs);
    record(result == 0 ? R_SYNC_END : R_SYNC_FAILED, number, call, NULL, 0);
    errno = e;
    unlock();
  }
  return result;
}

/* Changes the size with `change`, which returns -1 on errors. */
static int resize(int fd, off_t size, int (*change)(int fd, off_t a, off_t b, int mode), off_t a, off_t b, int mode)
{
  struct stat st;
  if (!entry_of(fd)) return change(fd, a, b, mode);
  lock();
  uint32_t number = file_of(fd, &st);
  int result;
  if (!number || files[number]->is_acks) {
    result = change(fd, a, b, mode);
    unlock();
    return result;
  }
  int64_t growth = size < 0 ? 0 : size - st.st_size;
  int error = fault(files[number]->name, OP_TRUNCATE, 0);
  if (error == 0 && is_full() && growth > 0 && growth > control->room) {
    error = (int)control->full;
    control->injected++;
  }
  result = error > 0 ? fail(error) : change(fd, a, b, mode);
  if (result == 0) {
    if (is_full()) control->room -= growth;
    COUNT(truncates);
    if (growth != 0) record(R_TRUNCATE, number, (uint64_t)size, NULL, 0);
  }
  unlock();
  return result;
}

static int by_ftruncate(int fd, off_t size, off_t unused, int mode)
{
  (void)unused, (void)mode;
  return REAL(ftruncate64)(fd, size);
}

static int by_fallocate(int fd, off_t offset, off_t length, int mode)
{
  return REAL(fallocate64)(fd, mode, offset, length);
}

static int do_fallocate(int fd, int mode, off_t offset, off_t length)
{
  struct stat st;
  off_t size = -1;
  if (mode == 0 && entry_of(fd) && fstat(fd, &st) == 0) size = offset + length > st.st_size ? offset + length : st.st_size;
  return resize(fd, size, by_fallocate, offset, length, mode);
}

/* ---- Calls on paths ---------------------------------------------------------------------------------------------- */

static int do_open(int dirfd, const char *path, int flags, mode_t mode)
{
  char absolute[PATH_MAX];
  const char *name = inside(dirfd, path, absolute);
  if (!name || (flags & O_TMPFILE) == O_TMPFILE) {
    int fd = REAL(openat64)(dirfd, path, flags, mode);
    if (entry_of(fd)) set_entry(fd, 0);
    return fd;
  }
  lock();
  begin_recording();
  struct stat before, st;
  int existed = stat(absolute, &before) == 0;
  int creates = !existed && (flags & O_CREAT);
  int error = creates && strcmp(name, "acks") != 0 ? fault(name, OP_CREATE, 0) : 0;
  int fd = error > 0 ? fail(error) : REAL(openat64)(dirfd, path, flags, mode);
  if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
    uint32_t number = existed ? find_file(name, &st) : 0;
    if (creates) {
      number = add_file(name, &st);
      COUNT(creates);
      if (!files[number]->is_acks) record(R_CREATE, number, 0, name, strlen(name));
    } else if (!number) {
      number = add_existing(absolute, name, &st);
    }
    if (existed && (flags & O_TRUNC) && before.st_size > 0 && !files[number]->is_acks) {
      give_room(before.st_size);
      record(R_TRUNCATE, number, 0, NULL, 0);
    }
    set_entry(fd, number << 1 | ((flags & O_APPEND) != 0));
  } else if (fd >= 0) {
    set_entry(fd, 0);
  }
  unlock();
  return fd;
}

static int do_unlink(int dirfd, const char *path, int flags)
{
  char absolute[PATH_MAX];
  const char *name = inside(dirfd, path, absolute);
  struct stat st;
  if (!name || (flags & AT_REMOVEDIR)) return REAL(unlinkat)(dirfd, path, flags);
  lock();
  begin_recording();
  int existed = lstat(absolute, &st) == 0 && S_ISREG(st.st_mode);
  uint32_t number = existed ? find_file(name, &st) : 0;
  if (existed && !number) number = add_existing(absolute, name, &st);
  int error = existed ? fault(name, OP_REMOVE, 0) : 0;
  int result = error > 0 ? fail(error) : REAL(unlinkat)(dirfd, path, flags);
  if (result == 0 && number) {
    give_room(st.st_size);
    COUNT(removes);
    files[number]->is_gone = 1;
    if (!files[number]->is_acks) record(R_UNLINK, number, 0, name, strlen(name));
  }
  unlock();
  return result;
}

static int do_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
  char from_absolute[PATH_MAX], to_absolute[PATH_MAX];
  const char *from_name = inside(from_fd, from, from_absolute);
  const char *to_name = inside(to_fd, to, to_absolute);
  struct stat st, replaced;
  if ((!from_name && !to_name) || (flags & RENAME_EXCHANGE)) return REAL(renameat2)(from_fd, from, to_fd, to, flags);
  lock();
  begin_recording();
  int is_file = fstatat(from_fd, from, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
  uint32_t number = is_file && from_name ? find_file(from_name, &st) : 0;
  if (is_file && from_name && !number) number = add_existing(from_absolute, from_name, &st);
  int replaces = to_name && lstat(to_absolute, &replaced) == 0 && S_ISREG(replaced.st_mode);
  uint32_t old = replaces ? find_file(to_name, &replaced) : 0;
  int error = is_file ? fault(to_name ? to_name : from_name, OP_REMOVE, 0) : 0;
  int result = error > 0 ? fail(error) : REAL(renameat2)(from_fd, from, to_fd, to, flags);
  if (result == 0 && is_file) {
    COUNT(removes);
    if (replaces) give_room(replaced.st_size);
    if (old) files[old]->is_gone = 1;
    if (number && to_name) {
      free(files[number]->name);
      if (!(files[number]->name = strdup(to_name))) die("out of memory", to_name);
      record2(R_RENAME, number, strlen(from_name), from_name, strlen(from_name), to_name, strlen(to_name));
    } else if (number) {
      files[number]->is_gone = 1;
      record(R_UNLINK, number, 0, from_name, strlen(from_name));
    } else {
      add_existing(to_absolute, to_name, &st);
    }
  }
  unlock();
  return result;
}

/* ---- Interposed symbols ------------------------------------------------------------------------------------------ */

#define MODE_OF(flags) ({ \
  mode_t mode_ = 0; \
  if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
    va_list args_; \
    va_start(args_, flags); \
    mode_ = va_arg(args_, mode_t); \
    va_end(args_); \
  } \
  mode_; \
})

int open(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE_OF(flags)); }
int open64(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE_OF(flags)); }
int openat(int dirfd, const char *path, int flags, ...) { return do_open(dirfd, path, flags, MODE_OF(flags)); }
int openat64(int dirfd, const char *path, int flags, ...) { return do_open(dirfd, path, flags, MODE_OF(flags)); }
/* What callers compiled with _FORTIFY_SOURCE use. */
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int dirfd, const char *path, int flags) { return do_open(dirfd, path, flags, 0); }
int __openat64_2(int dirfd, const char *path, int flags) { return do_open(dirfd, path, flags, 0); }

int close(int fd)
{
  if (entry_of(fd)) set_entry(fd, 0);
  return REAL(close)(fd);
}

ssize_t write(int fd, const void *data, size_t n) { return do_write(fd, data, n, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return do_write(fd, data, n, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return do_write(fd, data, n, at, 1); }

ssize_t writev(int fd, const struct iovec *iov, int count)
{
  return entry_of(fd) ? do_writev(fd, iov, count, 0, 0) : REAL(writev)(fd, iov, count);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
  return entry_of(fd) ? do_writev(fd, iov, count, at, 1) : REAL(pwritev)(fd, iov, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t at)
{
  return pwritev(fd, iov, count, at);
}

int fsync(int fd) { return do_sync(fd, 0); }
int fdatasync(int fd) { return do_sync(fd, 1); }

int ftruncate(int fd, off_t size) { return resize(fd, size, by_ftruncate, size, 0, 0); }
int ftruncate64(int fd, off_t size) { return resize(fd, size, by_ftruncate, size, 0, 0); }
int fallocate(int fd, int mode, off_t offset, off_t length) { return do_fallocate(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off_t offset, off_t length) { return do_fallocate(fd, mode, offset, length); }

/* Returns the error instead of setting errno, and does without file systems that cannot allocate. */
int posix_fallocate(int fd, off_t offset, off_t length)
{
  if (!entry_of(fd)) return REAL(posix_fallocate)(fd, offset, length);
  int e = errno;
  int result = do_fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
  errno = e;
  return result;
}

int posix_fallocate64(int fd, off_t offset, off_t length) { return posix_fallocate(fd, offset, length); }

int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int dirfd, const char *path, int flags) { return do_unlink(dirfd, path, flags); }

int remove(const char *path)
{
  char absolute[PATH_MAX];
  struct stat st;
  int is_ours = inside(AT_FDCWD, path, absolute) && lstat(absolute, &st) == 0 && !S_ISDIR(st.st_mode);
  return is_ours ? do_unlink(AT_FDCWD, path, 0) : REAL(remove)(path);
}

int rename(const char *from, const char *to) { return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_fd, const char *from, int to_fd, const char *to) { return do_rename(from_fd, from, to_fd, to, 0); }

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
  return do_rename(from_fd, from, to_fd, to, flags);
}
