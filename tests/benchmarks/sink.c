/* An S3 endpoint that takes objects and forgets their bytes, so that a client's own cost can be measured.

   sink PORT ADDRESS: listens there. One thread, epoll; the kernel drops bodies before they are copied
   to us (recv with MSG_TRUNC). What a body was is not looked at: the size is counted, and the checksum
   that the client names is repeated, as S3 would repeat it. Signatures are not looked at either.

   Knows HeadBucket, HeadObject, PutObject with If-None-Match, multipart uploads, and lists that are
   empty. Bodies must have a Content-Length. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 16384
#define BUCKETS (1 << 16)
#define DRAIN (4L << 20)

struct object {
    struct object *next;
    long size;
    char checksum[192]; /* a whole header line, or empty */
    char key[];
};

struct client {
    int fd;
    size_t used;      /* bytes in `head` */
    size_t head_size; /* of the request whose body is being drained; 0 between requests */
    long left;        /* bytes of the body still to come */
    long size;        /* of the body */
    char head[HEAD_MAX + 1];
};

static struct object *objects[BUCKETS], *uploads[BUCKETS];
static unsigned long next_upload = 1;

static struct object *find(struct object **table, const char *key, int make)
{
    unsigned hash = 2166136261u;
    for (const char *c = key; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    struct object **slot = &table[hash % BUCKETS];
    for (struct object *o = *slot; o; o = o->next)
        if (!strcmp(o->key, key))
            return o;
    if (!make)
        return NULL;
    struct object *made = calloc(1, sizeof *made + strlen(key) + 1);
    strcpy(made->key, key);
    made->next = *slot;
    return *slot = made;
}

/* Copies the value of a header field; returns 0 when there is none. */
static int field(const struct client *c, const char *name, char *value, size_t room)
{
    size_t length = strlen(name);
    for (const char *line = strstr(c->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) || line[length] != ':')
            continue;
        line += length + 1;
        line += strspn(line, " \t");
        size_t size = strcspn(line, "\r\n");
        if (size >= room)
            size = room - 1;
        memcpy(value, line, size);
        value[size] = 0;
        return 1;
    }
    return 0;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (sent < 0)
            return;
        data += sent;
        size -= sent;
    }
}

static void answer(struct client *c, const char *status, const char *fields, const char *body)
{
    char out[4096];
    int size = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nServer: sink\r\nx-amz-request-id: 1\r\n%s", status, fields);
    if (!strcasestr(fields, "content-length:"))
        size += snprintf(out + size, sizeof out - size, "Content-Length: %zu\r\n", strlen(body));
    size += snprintf(out + size, sizeof out - size, "\r\n%s", body);
    send_all(c->fd, out, size);
}

#define ETAG "ETag: \"9a0364b9e99bb480dd25e1f0284c8555\"\r\n"
#define XML "Content-Type: application/xml\r\n"

static void named_checksum(const struct client *c, char *line, size_t room)
{
    char value[100];
    line[0] = 0;
    if (field(c, "x-amz-checksum-sha256", value, sizeof value))
        snprintf(line, room, "x-amz-checksum-sha256: %s\r\n", value);
    else if (field(c, "x-amz-checksum-crc32", value, sizeof value))
        snprintf(line, room, "x-amz-checksum-crc32: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", value);
}

static void put_object(struct client *c, const char *key)
{
    char condition[8], fields[512];
    struct object *o = find(objects, key, 0);
    /* A schema that is there already would be read, to see what it says, and nothing can be read here. */
    int schema = strstr(key, ".schema.json") != NULL;
    if (o && !schema && field(c, "If-None-Match", condition, sizeof condition)) {
        answer(c, "412 Precondition Failed", XML, "<Error><Code>PreconditionFailed</Code></Error>");
        return;
    }
    o = find(objects, key, 1);
    o->size = c->size;
    named_checksum(c, o->checksum, sizeof o->checksum);
    snprintf(fields, sizeof fields, ETAG "%s", o->checksum);
    answer(c, "200 OK", fields, "");
}

static void put_part(struct client *c, char *upload)
{
    char line[192], fields[512];
    upload[strcspn(upload, "&")] = 0;
    find(uploads, upload, 1)->size += c->size;
    named_checksum(c, line, sizeof line);
    snprintf(fields, sizeof fields, ETAG "%s", line);
    answer(c, "200 OK", fields, "");
}

static void complete(struct client *c, const char *key, char *upload)
{
    char body[512], sum[100] = "";
    upload[strcspn(upload, "&")] = 0;
    struct object *parts = find(uploads, upload, 0), *o = find(objects, key, 1);
    o->size = parts ? parts->size : 0;
    named_checksum(c, o->checksum, sizeof o->checksum);
    if (field(c, "x-amz-checksum-crc32", sum, sizeof sum))
        snprintf(body, sizeof body,
                 "<CompleteMultipartUploadResult><ETag>\"9a03-1\"</ETag><ChecksumCRC32>%s</ChecksumCRC32>"
                 "<ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>", sum);
    else
        snprintf(body, sizeof body,
                 "<CompleteMultipartUploadResult><ETag>\"9a03-1\"</ETag></CompleteMultipartUploadResult>");
    answer(c, "200 OK", XML, body);
}

static void head_object(struct client *c, const char *key)
{
    char fields[512];
    struct object *o = find(objects, key, 0);
    if (!o) {
        answer(c, "404 Not Found", "Content-Length: 0\r\n", "");
        return;
    }
    snprintf(fields, sizeof fields,
             ETAG "Last-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\nContent-Type: audio/mpeg\r\n"
             "Content-Length: %ld\r\n%s", o->size, o->checksum);
    answer(c, "200 OK", fields, "");
}

static void handle(struct client *c)
{
    char method[8] = "", target[4096] = "";
    sscanf(c->head, "%7s %4095s", method, target);
    char *query = strchr(target, '?');
    if (query)
        *query++ = 0;
    else
        query = target + strlen(target);
    char *slash = strchr(target + 1, '/'), *upload = strstr(query, "uploadId=");
    int of_object = slash && slash[1];
    if (upload)
        upload += strlen("uploadId=");
    if (!strcmp(method, "PUT") && upload)
        put_part(c, upload);
    else if (!strcmp(method, "PUT"))
        put_object(c, target);
    else if (!strcmp(method, "POST") && upload)
        complete(c, target, upload);
    else if (!strcmp(method, "POST")) {
        char body[256];
        snprintf(body, sizeof body, "<InitiateMultipartUploadResult><UploadId>u%lu</UploadId>"
                 "</InitiateMultipartUploadResult>", next_upload++);
        answer(c, "200 OK", XML, body);
    } else if (!strcmp(method, "HEAD") && of_object)
        head_object(c, target);
    else if (!strcmp(method, "HEAD"))
        answer(c, "200 OK", "Content-Length: 0\r\n", "");
    else if (!strcmp(method, "DELETE"))
        answer(c, "204 No Content", "Content-Length: 0\r\n", "");
    else if (of_object) /* what was stored is not kept: nothing can be read */
        answer(c, "404 Not Found", XML, "<Error><Code>NoSuchKey</Code></Error>");
    else if (strstr(query, "uploads"))
        answer(c, "200 OK", XML, "<ListMultipartUploadsResult></ListMultipartUploadsResult>");
    else
        answer(c, "200 OK", XML, "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>");
}

/* Takes a whole head out of the buffer, if there is one; 0 when more bytes are needed, -1 for nonsense. */
static int begin(struct client *c)
{
    c->head[c->used] = 0;
    char *end = strstr(c->head, "\r\n\r\n"), value[32];
    if (!end)
        return c->used < HEAD_MAX ? 0 : -1;
    c->head_size = end + 4 - c->head;
    end[2] = 0; /* so that field() looks no further */
    if (field(c, "Transfer-Encoding", value, sizeof value))
        return -1;
    c->size = field(c, "Content-Length", value, sizeof value) ? atol(value) : 0;
    size_t here = c->used - c->head_size;
    if (here > (size_t)c->size)
        here = c->size;
    c->left = c->size - here;
    if (c->left && field(c, "Expect", value, sizeof value))
        send_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return 1;
}

static void finish(struct client *c)
{
    handle(c);
    size_t taken = c->head_size;
    size_t body_here = c->used - taken;
    if (body_here > (size_t)c->size)
        body_here = c->size;
    taken += body_here;
    memmove(c->head, c->head + taken, c->used - taken);
    c->used -= taken;
    c->head_size = 0;
}

/* Reads all there is; -1 when the connection is to be closed. */
static int serve(struct client *c)
{
    static char scratch[1];
    for (;;) {
        if (c->head_size && !c->left) {
            finish(c);
            continue;
        }
        if (!c->head_size && c->used) {
            int found = begin(c);
            if (found < 0)
                return -1;
            if (found)
                continue;
        }
        ssize_t got;
        if (c->left)
            got = recv(c->fd, scratch, c->left < DRAIN ? c->left : DRAIN, MSG_TRUNC);
        else
            got = recv(c->fd, c->head + c->used, HEAD_MAX - c->used, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got <= 0)
            return -1;
        if (c->left)
            c->left -= got;
        else
            c->used += got;
    }
}

int main(int count, char **words)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(words[1]) : 0)};
    struct epoll_event event = {.events = EPOLLIN}, events[256];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    at.sin_addr.s_addr = inet_addr(count > 2 ? words[2] : "127.0.0.1");
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1024)) {
        perror("sink");
        return 1;
    }
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct client *c = events[i].data.ptr;
            if (c) {
                if (serve(c) < 0) {
                    close(c->fd);
                    free(c);
                }
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0)
                continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            c = calloc(1, sizeof *c);
            c->fd = fd;
            struct epoll_event mine = {.events = EPOLLIN, .data.ptr = c};
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &mine);
        }
    }
}
