/* shared_page.h — one page that core and renderer both map: the limits, and which fragment is at hand.
 * Thread:  one writer on each side; no system call and no lock.
 * Owns:    the mapping; the descriptor is the caller's.
 * Units:   *_bytes bytes.
 * Errors:  -1 with ERR_SYS.
 *
 * The core fills in the limits before the child starts. The child notes each fragment before it runs. The page's size
 * is sealed, so the child can't make the core fault by cutting it; what the child wrote is copied out with every
 * length checked, and it may be torn: the child may have been killed while it wrote.
 */
#ifndef HAPTIC_ENGINE_SHARED_PAGE_H
#define HAPTIC_ENGINE_SHARED_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define AT_HAND_ID_MAX 2048
#define AT_HAND_TEMPLATE_MAX 512
#define AT_HAND_OWNER_KIND_MAX 256
#define AT_HAND_OWNER_ID_MAX 1024
#define AT_HAND_PLACE_MAX 80

struct shared_page {
    /* Written by the core before the child starts. */
    uint64_t memory_bytes, output_bytes, fragment_bytes, garbage_bytes;
    int64_t deadline_ns; /* of one rendering */
    /* Written by the child. */
    _Atomic uint64_t sequence; /* counts fragments, so that one that takes too long is told from many that don't */
    _Atomic uint32_t active;   /* a fragment is running */
    uint32_t id_length, template_length, owner_kind_length, owner_id_length;
    char id[AT_HAND_ID_MAX];
    char template_name[AT_HAND_TEMPLATE_MAX];
    char owner_kind[AT_HAND_OWNER_KIND_MAX];
    char owner_id[AT_HAND_OWNER_ID_MAX];
    _Atomic uint32_t place_length; /* 0: no line of a template was seen since this began */
    char place[AT_HAND_PLACE_MAX];
};

/* What ran, as C strings; all empty where nothing did. */
struct at_hand {
    char id[AT_HAND_ID_MAX + 1];
    char template_name[AT_HAND_TEMPLATE_MAX + 1];
    char owner_kind[AT_HAND_OWNER_KIND_MAX + 1];
    char owner_id[AT_HAND_OWNER_ID_MAX + 1];
    char place[AT_HAND_PLACE_MAX + 1]; /* "ingress.lua:12", where it was; also while a program loads. "": not known */
};

/* Core: make a page; *ret_fd (close-on-exec) is for the child. */
int shared_page_new(struct shared_page **ret_page, int *ret_fd, struct err *err) MUST_CHECK;
/* Child: map the page behind fd. */
int shared_page_map(int fd, struct shared_page **ret_page, struct err *err) MUST_CHECK;
void shared_page_unmap(struct shared_page *page); /* NULL is fine */

/* Child. A string over its maximum is cut. */
struct field;
void shared_page_begin(struct shared_page *page, const struct field *id, const struct field *template_name,
                       const struct field *owner_kind, const struct field *owner_id);
void shared_page_end(struct shared_page *page);
/* The line that runs. Safe in a signal handler. */
void shared_page_place(struct shared_page *page, const char *template_name, int line);

/* Core: copy out what is at hand; false when nothing is (but .place may be known). */
bool shared_page_read(const struct shared_page *page, struct at_hand *ret_at_hand);

#endif
