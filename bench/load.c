/* The load generator: one thread and one keep-alive connection per line of clients, plain HTTP/1.1 over TCP.
 *
 * It must cost little, because it shares the machine with the server it measures: bodies are sent from one prepared
 * buffer, pulled bytes are discarded inside the kernel (MSG_TRUNC), and every digest was computed before it started.
 *
 * The plan comes on standard input, one word-separated line each; `conn` begins the script of another connection:
 *
 *     conn
 *     push put|patch|chunked CHUNK REPOSITORY SIZE DIGEST TAIL    POST, then the blob; SIZE bytes, the last 64 are TAIL
 *     store PATH SIZE TAIL [SHA256]                               the same bytes in one PUT to PATH, as a signed URL has it
 *     get PATH LENGTH RATE                                        LENGTH -1: any; RATE in bytes per second, 0: no limit
 *     fetch PATH LENGTH                                           a GET that is answered with 307; then a GET there
 *     head PATH LENGTH
 *     post PATH STATUS                                            an empty POST (a mount)
 *     body NAME LENGTH                                            LENGTH raw bytes and a line feed follow
 *     put PATH TYPE NAME                                          a manifest
 *     session NAME REPOSITORY SIZE DIGEST TAIL PART SEED          a blob that goes up in parts of PART bytes; stands before
 *                                                                 the conn lines. SEED 0: in sequence, else shuffled by it
 *     open NAME                                                   POST /start-multipart
 *     send NAME                                                   waits until it is open; takes part after part from the
 *                                                                 queue all connections share: asks for its URL, PUTs it
 *                                                                 there, which may be another host
 *     close NAME                                                  waits for the last part; POST /complete-multipart
 *     lap                                                         waits for all connections, and notes the time
 *
 * Each script runs once, or again and again with --seconds (not with sessions); a SIGTERM ends the run early. What is cut off by that end
 * is no error. One JSON line on standard output tells the result; every other answer than the expected one is an error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { TAIL_BYTES = 64, BUFFER_BYTES = 32768, PATH_BYTES = 4096, MAX_ERRORS_PER_CONNECTION = 20, PIECES = 32 };
enum { TEXT_BYTES = 8192, ETAG_BYTES = 128, LISTED_PART_BYTES = 2 * ETAG_BYTES + 64, MAX_LAPS = 16 };
enum kind { PUSH_PUT, PUSH_PATCH, PUSH_CHUNKED, STORE, GET, HEAD, POST, PUT, FETCH, OPEN, SEND, CLOSE, LAP };
enum call { START, URL, PART, COMPLETE, COMMIT, CALLS };
static const char *CALL_NAMES[] = {"start", "url", "part", "complete", "commit"};

struct body { char name[64]; char *bytes; size_t length; struct body *next; };

struct op {
    enum kind kind;
    char *path;                       /* the repository for a push */
    long long size;                   /* of the blob, or the expected Content-Length; -1: any */
    long chunk, rate;
    int status;
    char digest[160], tail[TAIL_BYTES + 1], type[128];
    struct body *body;
    struct session *session;
};

/* A blob that goes up in parts; all connections that name it work on it. */
struct session {
    char name[64];
    struct op blob;
    long long part_bytes;
    int count, taken, arrived, failed; /* of the parts; `failed`: nobody needs to go on */
    int *order;
    char id[512];                     /* empty until it is open */
    char (*etags)[ETAG_BYTES];
    pthread_mutex_t lock;             /* of taken, arrived, failed and id */
    pthread_cond_t moved;
    struct session *next;
};

struct spent { size_t count; double total_s, longest_s; };

struct peer { char host[256]; int port; };

struct conn {
    pthread_t thread;
    struct op *ops;
    size_t count, room;
    struct peer to, other;            /* who is asked now, and who was before */
    int fd, other_fd;
    char buffer[BUFFER_BYTES];        /* received and not yet consumed: [at, have) */
    size_t at, have;
    uint32_t *latencies_us;
    size_t requests, latency_room;
    struct spent spent[CALLS];
    long long bytes;
    int errors, statuses[600];
    double ended_s;
};

struct reply { int status, chunked, closing; long long length; char location[PATH_BYTES], etag[ETAG_BYTES]; };

static const char *host = "127.0.0.1";
static int port, timeout_s = 120;
static double seconds, every_s;
static char *pattern;
static size_t pattern_bytes;
static struct conn *conns;
static size_t conn_count;
static struct body *bodies;
static struct session *sessions;
static pthread_mutex_t lap_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lap_over = PTHREAD_COND_INITIALIZER;
static size_t at_lap, lap_count;
static double lap_s[MAX_LAPS];
static pthread_barrier_t start_line;
static atomic_int stopping, finished;
static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;
static char first_error[400];
static double began_s;

static const char *ACCEPT =
    "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*\r\n";

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_s(double s)
{
    if (s <= 0)
        return;
    struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&t, NULL);
}

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(2);
}

static void *grown(void *old, size_t bytes)
{
    void *p = realloc(old, bytes);
    if (!p)
        die("out of memory");
    return p;
}

static void hang_up(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->at = c->have = 0;
}

/* Counts a failure and keeps the words of the first; -1 so that callers can return it. Cut off by the end: none. */
static int failed(struct conn *c, const char *format, ...)
{
    hang_up(c);
    if (atomic_load(&stopping))
        return -1;
    c->errors++;
    pthread_mutex_lock(&error_lock);
    if (!first_error[0]) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(first_error, sizeof first_error, format, arguments);
        va_end(arguments);
    }
    pthread_mutex_unlock(&error_lock);
    return -1;
}

/* Who a URL leads to: a path alone to the server of --host and --port. */
static struct peer peer_of(const char *url)
{
    struct peer p = {.port = port};
    const char *authority = url[0] == '/' ? NULL : strstr(url, "://");
    snprintf(p.host, sizeof p.host, "%s", host);
    if (authority && sscanf(authority + 3, "%255[^:/?]:%d", p.host, &p.port) == 1)
        p.port = 80;
    return p;
}

/* Asks whoever this URL leads to from now on; the connection to who was asked before is kept. */
static void turn_to(struct conn *c, const char *url)
{
    struct peer wanted = peer_of(url), left = c->to;
    int left_fd = c->fd, known = !strcmp(wanted.host, c->other.host) && wanted.port == c->other.port;
    if (!strcmp(wanted.host, c->to.host) && wanted.port == c->to.port)
        return;
    if (!known && c->other_fd >= 0)
        close(c->other_fd);
    c->fd = known ? c->other_fd : -1;
    c->at = c->have = 0;
    c->to = wanted;
    c->other = left;
    c->other_fd = left_fd;
}

static int dial(struct conn *c)
{
    if (c->fd >= 0)
        return 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->to.port)};
    if (inet_pton(AF_INET, c->to.host, &address.sin_addr) != 1) {
        struct addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
        int unknown = getaddrinfo(c->to.host, NULL, &hints, &found);
        if (unknown)
            return failed(c, "%.120s: %s", c->to.host, gai_strerror(unknown));
        address.sin_addr = ((struct sockaddr_in *)found->ai_addr)->sin_addr;
        freeaddrinfo(found);
    }
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    struct timeval limit = {timeout_s, 0};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        return failed(c, "connect: %s", strerror(errno));
    return 0;
}

static int send_vector(struct conn *c, struct iovec *v, int n)
{
    while (n > 0) {
        ssize_t sent = writev(c->fd, v, n);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        while (n > 0 && (size_t)sent >= v->iov_len) {
            sent -= (ssize_t)v->iov_len;
            v++, n--;
        }
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + sent;
            v->iov_len -= (size_t)sent;
        }
    }
    return 0;
}

/* Where the bytes of a blob from `offset` on lie, and how many of them (at most `wanted`) lie there together. */
static size_t piece(struct op *op, long long offset, size_t wanted, char **bytes)
{
    long long body_end = op->size - TAIL_BYTES;
    size_t there;
    if (offset >= body_end) {
        *bytes = op->tail + (offset - body_end);
        there = (size_t)(op->size - offset);
    } else {
        size_t in_pattern = (size_t)(offset % (long long)pattern_bytes);
        *bytes = pattern + in_pattern;
        there = pattern_bytes - in_pattern;
        if ((long long)there > body_end - offset)
            there = (size_t)(body_end - offset);
    }
    return there < wanted ? there : wanted;
}

static int send_counted(struct conn *c, struct op *op, long long offset, long long length)
{
    while (length > 0) {
        struct iovec v;
        v.iov_len = piece(op, offset, (size_t)length, (char **)&v.iov_base);
        offset += (long long)v.iov_len;
        length -= (long long)v.iov_len;
        if (send_vector(c, &v, 1) < 0)
            return -1;
    }
    return 0;
}

static int send_chunked(struct conn *c, struct op *op)
{
    long long offset = 0;
    while (offset < op->size) {
        struct iovec v[3 * PIECES];
        char sizes[PIECES][24];
        int n = 0;
        for (int i = 0; i < PIECES && offset < op->size; i++, n += 3) {
            v[n + 1].iov_len = piece(op, offset, (size_t)op->chunk, (char **)&v[n + 1].iov_base);
            v[n].iov_len = (size_t)snprintf(sizes[i], sizeof sizes[i], "%zx\r\n", v[n + 1].iov_len);
            v[n].iov_base = sizes[i];
            v[n + 2].iov_base = "\r\n";
            v[n + 2].iov_len = 2;
            offset += (long long)v[n + 1].iov_len;
        }
        if (send_vector(c, v, n) < 0)
            return -1;
    }
    struct iovec end = {"0\r\n\r\n", 5};
    return send_vector(c, &end, 1);
}

/* One more piece from the socket behind what the buffer holds; <= 0 as recv says. */
static ssize_t fill(struct conn *c)
{
    memmove(c->buffer, c->buffer + c->at, c->have - c->at);
    c->have -= c->at;
    c->at = 0;
    ssize_t got;
    do
        got = recv(c->fd, c->buffer + c->have, sizeof c->buffer - 1 - c->have, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        c->have += (size_t)got;
        c->buffer[c->have] = 0;
    }
    return got;
}

static int skip(struct conn *c, long long left, long rate)
{
    size_t held = c->have - c->at;
    if ((long long)held > left)
        held = (size_t)left;
    c->at += held;
    c->bytes += (long long)held;
    left -= (long long)held;
    double begun = now_s();
    long long taken = 0;
    while (left > 0) {
        if (atomic_load(&stopping))
            return -1;
        long long wanted = left < (4 << 20) ? left : (4 << 20);
        if (rate > 0) {
            sleep_s(begun + (double)taken / (double)rate - now_s());
            wanted = wanted < rate / 10 ? wanted : rate / 10;
        }
        ssize_t got = recv(c->fd, NULL, (size_t)wanted, MSG_TRUNC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        c->bytes += got;
        taken += got;
        left -= got;
    }
    return 0;
}

static int skip_chunked(struct conn *c)
{
    for (;;) {
        char *end;
        while (!(end = memmem(c->buffer + c->at, c->have - c->at, "\r\n", 2)))
            if (fill(c) <= 0)
                return -1;
        long long size = strtoll(c->buffer + c->at, NULL, 16);
        c->at = (size_t)(end + 2 - c->buffer);
        if (skip(c, size, 0) < 0)
            return -1;
        while (c->have - c->at < 2)
            if (fill(c) <= 0)
                return -1;
        c->at += 2;
        if (size == 0)
            return 0;
    }
}

/* The path and query of a URL. */
static void copy_path(char *path, const char *url)
{
    const char *authority = strstr(url, "://");
    if (authority && url[0] != '/')
        url = strchrnul(authority + 3, '/');
    snprintf(path, PATH_BYTES, "%s", url);
}

static void read_field(struct reply *r, const char *line)
{
    if (!strncasecmp(line, "content-length:", 15))
        r->length = atoll(line + 15);
    else if (!strncasecmp(line, "transfer-encoding:", 18))
        r->chunked = 1;
    else if (!strncasecmp(line, "connection:", 11))
        r->closing = strcasestr(line, "close") != NULL;
    else if (!strncasecmp(line, "location:", 9))
        snprintf(r->location, sizeof r->location, "%s", line + 9 + strspn(line + 9, " "));
    else if (!strncasecmp(line, "etag:", 5))
        snprintf(r->etag, sizeof r->etag, "%s", line + 5 + strspn(line + 5, " "));
}

static int read_head(struct conn *c, struct reply *r)
{
    char *end;
    memset(r, 0, sizeof *r);
    while (!(end = memmem(c->buffer + c->at, c->have - c->at, "\r\n\r\n", 4)))
        if (fill(c) <= 0)
            return -1;
    *end = 0;
    r->status = atoi(c->buffer + c->at + 9);
    char *rest = NULL;
    for (char *line = strtok_r(c->buffer + c->at, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest))
        read_field(r, line);
    c->at = (size_t)(end + 4 - c->buffer);
    return r->status >= 100 && r->status < 600 ? 0 : -1;
}

static void note_latency(struct conn *c, double since_s)
{
    if (c->requests == c->latency_room) {
        c->latency_room = c->latency_room ? 2 * c->latency_room : 256;
        c->latencies_us = grown(c->latencies_us, c->latency_room * sizeof *c->latencies_us);
    }
    c->latencies_us[c->requests++] = (uint32_t)((now_s() - since_s) * 1e6);
}

static void note_spent(struct conn *c, enum call call, double since_s)
{
    struct spent *s = &c->spent[call];
    double took = now_s() - since_s;
    s->count++;
    s->total_s += took;
    s->longest_s = took > s->longest_s ? took : s->longest_s;
}

/* Reads the head of the answer; 0 when its status is the expected one. */
static int answer_head(struct conn *c, const char *method, const char *path, int expected, struct reply *r)
{
    do
        if (read_head(c, r) < 0)
            return failed(c, "%s %.120s: no answer (%s)", method, path, errno ? strerror(errno) : "closed");
    while (r->status < 200);
    c->statuses[r->status]++;
    if (r->status != expected)
        return failed(c, "%s %.120s: %d, not %d: %.120s", method, path, r->status, expected, c->buffer + c->at);
    return 0;
}

/* Reads the answer, discards its body and checks its status; 0 when it is `expected`. */
static int answer(struct conn *c, const char *method, const char *path, int expected, long rate, struct reply *r)
{
    int is_head = method[0] == 'H';
    if (answer_head(c, method, path, expected, r) < 0)
        return -1;
    if (!is_head && r->status != 204) {
        if (r->chunked ? skip_chunked(c) < 0 : skip(c, r->length, rate) < 0)
            return failed(c, "%s %.120s: the body ended early", method, path);
    }
    if (r->closing)
        hang_up(c);
    return 0;
}

static int ask(struct conn *c, const char *method, const char *path, const char *fields, void *bytes, size_t length)
{
    char head[2 * PATH_BYTES], shown_port[16] = "";
    if (dial(c) < 0)
        return -1;
    errno = 0;
    if (c->to.port != 80)
        snprintf(shown_port, sizeof shown_port, ":%d", c->to.port);
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s%s\r\nUser-Agent: bench\r\n%s\r\n", method, path,
                     c->to.host, shown_port, fields);
    struct iovec v[2] = {{head, (size_t)n}, {bytes, length}};
    return send_vector(c, v, length ? 2 : 1);
}

/* One step of a push: `length` bytes of the blob from `offset` (-1: all of it in chunks); follows the Location, of
 * which only path and query count: there is one server. */
static int step(struct conn *c, struct op *op, const char *method, char *path, long long offset, long long length,
                int expected)
{
    char fields[400];
    struct reply r;
    double since = now_s();
    if (length < 0)
        snprintf(fields, sizeof fields, "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n");
    else
        snprintf(fields, sizeof fields, "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\n", length);
    if (op->kind == STORE && op->digest[0]) {
        size_t n = strlen(fields);
        snprintf(fields + n, sizeof fields - n, "x-amz-content-sha256: %s\r\n", op->digest);
    }
    int sent = ask(c, method, path, fields, NULL, 0);
    if (c->fd < 0)
        return -1;
    if (sent == 0)
        sent = length < 0 ? send_chunked(c, op) : send_counted(c, op, offset, length);
    /* A server may refuse in the middle of a body: its answer says why, so read it even when sending failed. */
    if (answer(c, method, path, expected, 0, &r) < 0)
        return -1;
    note_latency(c, since);
    if (sent < 0)
        return failed(c, "%s %.120s: the connection broke while sending", method, path);
    copy_path(path, r.location);
    return 0;
}

static int store(struct conn *c, struct op *op)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s", op->path);
    if (step(c, op, "PUT", path, 0, op->size, 200) < 0)
        return -1;
    c->bytes += op->size;
    return 0;
}

static int push(struct conn *c, struct op *op)
{
    char path[PATH_BYTES + 200];
    snprintf(path, PATH_BYTES, "/v2/%s/blobs/uploads/", op->path);
    if (step(c, op, "POST", path, 0, 0, 202) < 0)
        return -1;
    long long left_for_put = op->size;
    if (op->kind == PUSH_CHUNKED && step(c, op, "PATCH", path, 0, -1, 202) < 0)
        return -1;
    if (op->kind == PUSH_PATCH)
        for (long long offset = 0; offset < op->size; offset += op->chunk) {
            long long length = op->size - offset < op->chunk ? op->size - offset : op->chunk;
            if (step(c, op, "PATCH", path, offset, length, 202) < 0)
                return -1;
        }
    if (op->kind != PUSH_PUT)
        left_for_put = 0;
    size_t n = strlen(path);
    snprintf(path + n, sizeof path - n, "%cdigest=%s", strchr(path, '?') ? '&' : '?', op->digest);
    double since = now_s();
    if (step(c, op, "PUT", path, 0, left_for_put, 201) < 0)
        return -1;
    if (!left_for_put)
        note_spent(c, COMMIT, since);
    c->bytes += op->size;
    return 0;
}

static int simple(struct conn *c, struct op *op, double since)
{
    static const char *METHODS[] = {[GET] = "GET", [HEAD] = "HEAD", [POST] = "POST", [PUT] = "PUT"};
    const char *method = METHODS[op->kind];
    char fields[300];
    struct reply r;
    if (op->kind == PUT)
        snprintf(fields, sizeof fields, "Content-Type: %s\r\nContent-Length: %zu\r\n", op->type, op->body->length);
    else
        snprintf(fields, sizeof fields, "%s", op->kind == POST ? "Content-Length: 0\r\n" : ACCEPT);
    int sent = ask(c, method, op->path, fields, op->body ? op->body->bytes : NULL, op->body ? op->body->length : 0);
    if (c->fd < 0)
        return -1;
    if (sent < 0)
        return failed(c, "%s %.120s: cannot send: %s", method, op->path, strerror(errno));
    if (answer(c, method, op->path, op->status, op->rate, &r) < 0)
        return -1;
    note_latency(c, since);
    if (op->kind == PUT)
        c->bytes += (long long)op->body->length;
    if (op->kind <= HEAD && op->size >= 0 && r.length != op->size)
        return failed(c, "%s %.120s: Content-Length %lld, not %lld", method, op->path, r.length, op->size);
    return 0;
}

/* A GET that the server answers with where the bytes are; from there they are fetched. */
static int fetch(struct conn *c, struct op *op, double since)
{
    char path[PATH_BYTES];
    struct reply r;
    struct op there = *op;
    if (ask(c, "GET", op->path, ACCEPT, NULL, 0) < 0 && c->fd < 0)
        return -1;
    if (answer(c, "GET", op->path, 307, 0, &r) < 0)
        return -1;
    copy_path(path, r.location);
    there.kind = GET;
    there.path = path;
    turn_to(c, r.location);
    int done = simple(c, &there, since);
    turn_to(c, "/");
    return done;
}

/* A POST of a JSON object that is answered with 200 and another; that is put into `text`, of TEXT_BYTES. */
static int call(struct conn *c, const char *path, char *json, char *text)
{
    char fields[100];
    struct reply r;
    size_t length = strlen(json);
    snprintf(fields, sizeof fields, "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
    int sent = ask(c, "POST", path, fields, json, length);
    if (c->fd < 0)
        return -1;
    if (answer_head(c, "POST", path, 200, &r) < 0)
        return -1;
    if (sent < 0 || r.chunked || r.length >= TEXT_BYTES)
        return failed(c, "POST %.120s: no answer of a known, small length", path);
    while ((long long)(c->have - c->at) < r.length)
        if (fill(c) <= 0)
            return failed(c, "POST %.120s: the body ended early", path);
    memcpy(text, c->buffer + c->at, (size_t)r.length);
    text[r.length] = 0;
    c->at += (size_t)r.length;
    if (r.closing)
        hang_up(c);
    return 0;
}

/* The string that stands under a key of a JSON object, and in no other place of it under that name; -1 if none fits. */
static int text_under(const char *json, const char *key, char *value, size_t room)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *at = strstr(json, quoted);
    if (!at)
        return -1;
    at += strlen(quoted);
    at += strspn(at, " :\t\r\n");
    if (*at++ != '"')
        return -1;
    size_t n = 0;
    for (; *at && *at != '"' && n + 1 < room; at++) {
        unsigned code;
        if (at[0] == '\\' && sscanf(at, "\\u%4x", &code) == 1) {
            value[n++] = (char)code;        /* what a URL may hold is ASCII */
            at += 5;
        } else {
            if (at[0] == '\\')
                at++;
            value[n++] = *at;
        }
    }
    value[n] = 0;
    return *at == '"' && n ? 0 : -1;
}

static void note_call(struct conn *c, enum call call, double since_s)
{
    note_spent(c, call, since_s);
    note_latency(c, since_s);
}

/* Nobody needs to go on with this session: whoever waits for it is told. */
static int abandoned(struct session *s)
{
    pthread_mutex_lock(&s->lock);
    s->failed = 1;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    return -1;
}

static int open_session(struct conn *c, struct session *s)
{
    char json[1024 + PATH_BYTES], text[TEXT_BYTES], id[sizeof s->id];
    double since = now_s();
    snprintf(json, sizeof json,
             "{\"did\": \"did:web:bench\", \"digest\": \"%s\", \"repository\": \"%s\", \"size\": %lld, "
             "\"part_size\": %lld}",
             s->blob.digest, s->blob.path, s->blob.size, s->part_bytes);
    if (call(c, "/start-multipart", json, text) < 0)
        return abandoned(s);
    note_call(c, START, since);
    if (text_under(text, "upload_id", id, sizeof id) < 0) {
        failed(c, "POST /start-multipart: no upload_id in %.120s", text);
        return abandoned(s);
    }
    pthread_mutex_lock(&s->lock);
    memcpy(s->id, id, sizeof id);
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int send_part_there(struct conn *c, struct session *s, int index)
{
    char json[2048], text[TEXT_BYTES], url[TEXT_BYTES], path[PATH_BYTES], fields[64];
    struct reply r;
    long long offset = index * s->part_bytes, rest = s->blob.size - offset;
    long long length = rest < s->part_bytes ? rest : s->part_bytes;
    double since = now_s();
    snprintf(json, sizeof json,
             "{\"did\": \"did:web:bench\", \"digest\": \"%s\", \"upload_id\": \"%s\", \"part_number\": %d}",
             s->blob.digest, s->id, index + 1);
    if (call(c, "/part-presigned-url", json, text) < 0)
        return -1;
    note_call(c, URL, since);
    if (text_under(text, "url", url, sizeof url) < 0)
        return failed(c, "POST /part-presigned-url: no url in %.120s", text);
    copy_path(path, url);
    turn_to(c, url);
    since = now_s();
    snprintf(fields, sizeof fields, "Content-Length: %lld\r\n", length);
    int sent = ask(c, "PUT", path, fields, NULL, 0);
    if (c->fd < 0)
        return -1;
    if (sent == 0)
        sent = send_counted(c, &s->blob, offset, length);
    long long bytes = c->bytes + length;    /* what the answer says is not counted */
    if (answer(c, "PUT", path, 200, 0, &r) < 0)
        return -1;
    if (sent < 0 || !r.etag[0])
        return failed(c, "PUT %.120s: %s", path, sent < 0 ? "the connection broke while sending" : "no ETag");
    note_call(c, PART, since);
    memcpy(s->etags[index], r.etag, sizeof r.etag);
    c->bytes = bytes;
    return 0;
}

static int send_part(struct conn *c, struct session *s, int index)
{
    int done = send_part_there(c, s, index);
    turn_to(c, "/");
    return done;
}

/* Waits until `count` parts have arrived; -1 when they never will. */
static int wait_for_parts(struct session *s, int count)
{
    pthread_mutex_lock(&s->lock);
    while ((!s->id[0] || s->arrived < count) && !s->failed && !atomic_load(&stopping))
        pthread_cond_wait(&s->moved, &s->lock);
    int given_up = s->failed || atomic_load(&stopping);
    pthread_mutex_unlock(&s->lock);
    return given_up ? -1 : 0;
}

static int send_parts(struct conn *c, struct session *s)
{
    if (wait_for_parts(s, 0) < 0)
        return -1;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        int index = s->failed || s->taken == s->count ? -1 : s->order[s->taken++];
        pthread_mutex_unlock(&s->lock);
        if (index < 0)
            return 0;
        if (send_part(c, s, index) < 0)
            return abandoned(s);
        pthread_mutex_lock(&s->lock);
        s->arrived++;
        pthread_cond_broadcast(&s->moved);
        pthread_mutex_unlock(&s->lock);
    }
}

/* {"part_number": n, "etag": "..."}, with the quotes that an ETag has escaped; how long that is. */
static size_t list_part(char *json, int number, const char *etag)
{
    size_t n = (size_t)sprintf(json, "%s{\"part_number\": %d, \"etag\": \"", number > 1 ? ", " : "", number);
    for (; *etag; etag++) {
        if (*etag == '"' || *etag == '\\')
            json[n++] = '\\';
        json[n++] = *etag;
    }
    json[n++] = '"';
    json[n++] = '}';
    return n;
}

static int close_session(struct conn *c, struct session *s)
{
    char text[TEXT_BYTES];
    if (wait_for_parts(s, s->count) < 0)
        return -1;
    double since = now_s();
    char *json = grown(NULL, 2048 + (size_t)s->count * LISTED_PART_BYTES);
    size_t n = (size_t)snprintf(json, 2048,
                                "{\"did\": \"did:web:bench\", \"digest\": \"%s\", \"upload_id\": \"%s\", \"parts\": [",
                                s->blob.digest, s->id);
    for (int i = 0; i < s->count; i++)
        n += list_part(json + n, i + 1, s->etags[i]);
    memcpy(json + n, "]}", 3);
    int done = call(c, "/complete-multipart", json, text);
    free(json);
    if (done < 0)
        return abandoned(s);
    note_call(c, COMPLETE, since);
    return 0;
}

static void lap(void)
{
    pthread_mutex_lock(&lap_lock);
    size_t this_lap = lap_count;
    if (++at_lap == conn_count) {
        at_lap = 0;
        if (lap_count < MAX_LAPS)
            lap_s[lap_count] = now_s() - began_s;
        lap_count++;
        pthread_cond_broadcast(&lap_over);
    } else
        while (this_lap == lap_count && !atomic_load(&stopping))
            pthread_cond_wait(&lap_over, &lap_lock);
    pthread_mutex_unlock(&lap_lock);
}

static void perform(struct conn *c, struct op *op, double since)
{
    switch (op->kind) {
    case PUSH_PUT: case PUSH_PATCH: case PUSH_CHUNKED: push(c, op); break;
    case STORE: store(c, op); break;
    case GET: case HEAD: case POST: case PUT: simple(c, op, since); break;
    case FETCH: fetch(c, op, since); break;
    case OPEN: open_session(c, op->session); break;
    case SEND: send_parts(c, op->session); break;
    case CLOSE: close_session(c, op->session); break;
    case LAP: lap(); break;
    }
}

/* With --every-ms: waits for the next beat; beats that came due while the last answer was outstanding are left out, or
 * one connection could never catch up with a server that answers more slowly than it is asked. */
static double beat(double *due)
{
    double now = now_s();
    if (every_s == 0)
        return now;
    *due = now > *due + every_s ? now : *due + every_s;
    sleep_s(*due - now);
    return now_s();
}

static void *run(void *argument)
{
    struct conn *c = argument;
    c->to = peer_of("/");
    dial(c);
    pthread_barrier_wait(&start_line);
    double due = now_s();
    do
        for (size_t i = 0; i < c->count && !atomic_load(&stopping) && c->errors < MAX_ERRORS_PER_CONNECTION; i++) {
            double since = beat(&due);
            perform(c, &c->ops[i], since);
        }
    while (seconds > 0 && !atomic_load(&stopping) && c->errors < MAX_ERRORS_PER_CONNECTION && c->count);
    c->ended_s = now_s();
    hang_up(c);
    if (c->other_fd >= 0)
        close(c->other_fd);
    c->other_fd = -1;
    if (c->errors >= MAX_ERRORS_PER_CONNECTION)
        atomic_store(&stopping, 1);   /* others may wait for this one */
    atomic_fetch_add(&finished, 1);
    return NULL;
}

/* Whoever waits for another connection sees that the run is over. */
static void wake_all(void)
{
    pthread_mutex_lock(&lap_lock);
    pthread_cond_broadcast(&lap_over);
    pthread_mutex_unlock(&lap_lock);
    for (struct session *s = sessions; s; s = s->next) {
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->moved);
        pthread_mutex_unlock(&s->lock);
    }
}

/* Ends the run at its time or on SIGTERM; half a second later nobody may still be waiting for a byte. */
static void *watch(void *argument)
{
    sigset_t *signals = argument;
    double deadline = seconds > 0 ? began_s + seconds : began_s + 86400;
    struct timespec tick = {0, 20000000};
    while (now_s() < deadline && (size_t)atomic_load(&finished) < conn_count && !atomic_load(&stopping)
           && sigtimedwait(signals, NULL, &tick) < 0)
        ;
    atomic_store(&stopping, 1);
    wake_all();
    sleep_s((size_t)atomic_load(&finished) < conn_count ? 0.5 : 0);
    for (size_t i = 0; i < conn_count; i++)
        if (conns[i].fd >= 0)
            shutdown(conns[i].fd, SHUT_RDWR);
    return NULL;
}

static struct body *body_named(const char *name)
{
    for (struct body *b = bodies; b; b = b->next)
        if (!strcmp(b->name, name))
            return b;
    die("no body is called %s", name);
    return NULL;
}

static void read_body(const char *name, size_t length)
{
    struct body *b = grown(NULL, sizeof *b);
    snprintf(b->name, sizeof b->name, "%s", name);
    b->bytes = grown(NULL, length + 1);
    b->length = length;
    b->next = bodies;
    if (fread(b->bytes, 1, length + 1, stdin) != length + 1)
        die("the plan ends inside a body");
    bodies = b;
}

static struct session *session_named(const char *name)
{
    for (struct session *s = sessions; s; s = s->next)
        if (!strcmp(s->name, name))
            return s;
    die("no session is called %s", name);
    return NULL;
}

static void new_session(const char *name, struct op *blob, unsigned seed)
{
    struct session *s = grown(NULL, sizeof *s);
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    s->blob = *blob;
    s->part_bytes = blob->chunk;
    s->count = (int)((blob->size + s->part_bytes - 1) / s->part_bytes);
    s->order = grown(NULL, (size_t)s->count * sizeof *s->order);
    s->etags = grown(NULL, (size_t)s->count * sizeof *s->etags);
    for (int i = 0; i < s->count; i++)
        s->order[i] = i;
    for (int i = s->count - 1; seed && i > 0; i--) {
        int other = rand_r(&seed) % (i + 1), kept = s->order[i];
        s->order[i] = s->order[other];
        s->order[other] = kept;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->moved, NULL);
    s->next = sessions;
    sessions = s;
}

static struct op *new_op(void)
{
    if (!conn_count)
        die("the plan must begin with conn");
    struct conn *c = &conns[conn_count - 1];
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 4;
        c->ops = grown(c->ops, c->room * sizeof *c->ops);
    }
    memset(&c->ops[c->count], 0, sizeof *c->ops);
    return &c->ops[c->count++];
}

static void read_line(char *line)
{
    char path[PATH_BYTES] = "", how[16], name[64];
    unsigned seed;
    struct op o = {.status = 200};
    if (!strncmp(line, "conn", 4)) {
        conns = grown(conns, (conn_count + 1) * sizeof *conns);
        memset(&conns[conn_count], 0, sizeof *conns);
        conns[conn_count].other_fd = -1;
        conns[conn_count++].fd = -1;
        return;
    }
    if (sscanf(line, "body %63s %lld", name, &o.size) == 2) {
        read_body(name, (size_t)o.size);
        return;
    }
    if (sscanf(line, "session %63s %4095s %lld %159s %64s %ld %u", name, path, &o.size, o.digest, o.tail, &o.chunk,
               &seed) == 7) {
        if (o.size < TAIL_BYTES || strlen(o.tail) != TAIL_BYTES || !pattern_bytes || o.chunk < 1)
            die("a session needs 64 bytes of tail, as many of body, a pattern and a part size: %s", line);
        o.path = strdup(path);
        new_session(name, &o, seed);
        return;
    }
    if (sscanf(line, "push %15s %ld %4095s %lld %159s %64s", how, &o.chunk, path, &o.size, o.digest, o.tail) == 6) {
        o.kind = how[1] == 'u' ? PUSH_PUT : how[0] == 'p' ? PUSH_PATCH : PUSH_CHUNKED;
        if (o.size < TAIL_BYTES || strlen(o.tail) != TAIL_BYTES || !pattern_bytes)
            die("a push needs 64 bytes of tail, as many of body, and a pattern: %s", line);
    } else if (sscanf(line, "store %4095s %lld %64s %159s", path, &o.size, o.tail, o.digest) >= 3) {
        o.kind = STORE;
        if (o.size < TAIL_BYTES || strlen(o.tail) != TAIL_BYTES || !pattern_bytes)
            die("a store needs 64 bytes of tail, as many of body, and a pattern: %s", line);
    } else if (sscanf(line, "fetch %4095s %lld", path, &o.size) == 2)
        o.kind = FETCH;
    else if (sscanf(line, "get %4095s %lld %ld", path, &o.size, &o.rate) == 3)
        o.kind = GET;
    else if (sscanf(line, "head %4095s %lld", path, &o.size) == 2)
        o.kind = HEAD;
    else if (sscanf(line, "post %4095s %d", path, &o.status) == 2)
        o.kind = POST;
    else if (sscanf(line, "put %4095s %127s %63s", path, o.type, name) == 3) {
        o.kind = PUT;
        o.status = 201;
        o.body = body_named(name);
    } else if (sscanf(line, "open %63s", name) == 1) {
        o.kind = OPEN;
        o.session = session_named(name);
    } else if (sscanf(line, "send %63s", name) == 1) {
        o.kind = SEND;
        o.session = session_named(name);
    } else if (sscanf(line, "close %63s", name) == 1) {
        o.kind = CLOSE;
        o.session = session_named(name);
    } else if (!strncmp(line, "lap", 3))
        o.kind = LAP;
    else
        die("cannot read this line of the plan: %s", line);
    o.path = strdup(path);
    *new_op() = o;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\' || (unsigned char)*text < 32 || (unsigned char)*text > 126)
            putchar(' ');
        else
            putchar(*text);
    putchar('"');
}

/* The calls of sessions over all connections, and the laps: what there was of them. */
static void print_sessions(void)
{
    const char *comma = "";
    printf("\"calls\": {");
    for (int k = 0; k < CALLS; k++) {
        struct spent all = {0};
        for (size_t i = 0; i < conn_count; i++) {
            struct spent *one = &conns[i].spent[k];
            all.count += one->count;
            all.total_s += one->total_s;
            all.longest_s = one->longest_s > all.longest_s ? one->longest_s : all.longest_s;
        }
        if (all.count) {
            printf("%s\"%s\": {\"count\": %zu, \"total_s\": %.6f, \"longest_s\": %.6f}", comma, CALL_NAMES[k],
                   all.count, all.total_s, all.longest_s);
            comma = ", ";
        }
    }
    printf("}, \"laps_s\": [");
    for (size_t i = 0; i < lap_count && i < MAX_LAPS; i++)
        printf("%s%.6f", i ? ", " : "", lap_s[i]);
    printf("], ");
}

static void report(double cpu)
{
    long long bytes = 0, least = conn_count ? conns[0].bytes : 0;
    size_t requests = 0, errors = 0;
    int statuses[600] = {0};
    double ended = began_s;
    for (size_t i = 0; i < conn_count; i++) {
        struct conn *c = &conns[i];
        bytes += c->bytes;
        requests += c->requests;
        errors += (size_t)c->errors;
        least = c->bytes < least ? c->bytes : least;
        ended = c->ended_s > ended ? c->ended_s : ended;
        for (int s = 0; s < 600; s++)
            statuses[s] += c->statuses[s];
    }
    uint32_t *all = grown(NULL, (requests + 1) * sizeof *all);
    size_t n = 0;
    for (size_t i = 0; i < conn_count; n += conns[i].requests, i++)
        if (conns[i].requests)
            memcpy(all + n, conns[i].latencies_us, conns[i].requests * sizeof *all);
    qsort(all, n, sizeof *all, by_value);
    all[n] = n ? all[n - 1] : 0;
    printf("{\"seconds\": %.6f, \"bytes\": %lld, \"least_bytes\": %lld, \"requests\": %zu, \"errors\": %zu, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"cpu_s\": %.3f, \"statuses\": {",
           ended - began_s, bytes, least, requests, errors, all[n / 2] / 1e3, all[n * 99 / 100] / 1e3, all[n] / 1e3,
           cpu);
    const char *comma = "";
    for (int s = 0; s < 600; s++)
        if (statuses[s]) {
            printf("%s\"%d\": %d", comma, s, statuses[s]);
            comma = ", ";
        }
    printf("}, ");
    print_sessions();
    printf("\"first_error\": ");
    print_text(first_error);
    printf("}\n");
}

static void read_pattern(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        die("cannot open %s: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    pattern_bytes = (size_t)ftell(f);
    rewind(f);
    pattern = grown(NULL, pattern_bytes);
    if (fread(pattern, 1, pattern_bytes, f) != pattern_bytes)
        die("cannot read %s", path);
    fclose(f);
}

static void read_arguments(int count, char **values)
{
    for (int i = 1; i + 1 < count; i += 2) {
        const char *flag = values[i], *value = values[i + 1];
        if (!strcmp(flag, "--host"))
            host = value;
        else if (!strcmp(flag, "--port"))
            port = atoi(value);
        else if (!strcmp(flag, "--pattern"))
            read_pattern(value);
        else if (!strcmp(flag, "--seconds"))
            seconds = atof(value);
        else if (!strcmp(flag, "--every-ms"))
            every_s = atof(value) / 1e3;
        else if (!strcmp(flag, "--timeout-s"))
            timeout_s = atoi(value);
        else
            die("unknown flag %s", flag);
    }
    if (!port)
        die("--port is missing");
}

int main(int count, char **values)
{
    char *line = NULL;
    size_t room = 0;
    sigset_t signals;
    pthread_t watcher;
    pthread_attr_t small;

    read_arguments(count, values);
    while (getline(&line, &room, stdin) > 0)
        read_line(line);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    pthread_barrier_init(&start_line, NULL, (unsigned)conn_count + 1);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    for (size_t i = 0; i < conn_count; i++)
        if (pthread_create(&conns[i].thread, &small, run, &conns[i]))
            die("cannot start thread %zu", i);
    double cpu_before = cpu_s();
    began_s = now_s();
    pthread_barrier_wait(&start_line);
    began_s = now_s();
    pthread_create(&watcher, NULL, watch, &signals);
    for (size_t i = 0; i < conn_count; i++)
        pthread_join(conns[i].thread, NULL);
    pthread_join(watcher, NULL);
    report(cpu_s() - cpu_before);
    return 0;
}
