/* Values by their 32 digits. A hold adds a reference to each of its values. A value without references stays in the
 * table until the next sweep, when the referee can mark it. Redaction searches in the unusual direction, because the
 * text is short and there are many values: the parts of 8 bytes of the text go into a small table, and the values are
 * run past it.
 */
#include "store/vault.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hidden.h"
#include "base/map.h"
#include "base/vec.h"
#include "store/vault_filter.h"

#define PREFIX_LENGTH (sizeof(VAULT_PREFIX) - 1)
#define DIGITS 32
#define CUT_DIGITS 8 /* that many digits behind the prefix are no accident */
#define ENTRY_OVERHEAD 256
#define WINDOW VAULT_FILTER_PART

_Static_assert(VAULT_REDACT_MIN == VAULT_FILTER_MIN, "the filter is asked about everything that is redacted");

struct entry {
    unsigned refs;
    bool marked;
    bool used;     /* given out by vault_get() */
    bool filtered; /* its parts are in the vault's filter */
    int64_t released_ns;
    size_t length;
    char *bytes;
    char *secret, *key;
    char digits[DIGITS + 1];
};

struct vault {
    unsigned refs; /* its owner and every hold */
    size_t bytes, max_bytes;
    size_t released;    /* number of entries without references */
    struct map entries; /* digits → struct entry */
    struct hidden memory;
    unsigned char key[32]; /* of hashes of content */
    bool fixed_handles;
    vault_referee *referee;
    void *referee_ctx;
    bool sweeping;
    size_t used;                /* number of entries that are used and long enough to be redacted */
    bool filter_lacks;          /* some of them are not in the filter */
    struct vault_filter filter; /* made at the first redaction */
};

struct vault_hold {
    unsigned shares; /* besides the first */
    struct vault *vault;
    size_t bytes;
    VEC(struct entry *) entries;
};

static const char *const ends[] = {[VAULT_PLAIN] = "End", [VAULT_FORMAT] = "Fmt", [VAULT_REGEX] = "Rgx"};

/* ---- life ---- */

struct vault *vault_new(size_t max_bytes)
{
    struct vault *v = xcalloc(1, sizeof(*v));
    v->refs = 1;
    v->max_bytes = max_bytes;
    map_init(&v->entries, true);
    if (getrandom(v->key, sizeof(v->key), 0) != (ssize_t)sizeof(v->key))
        abort();
    return v;
}

static size_t entry_bytes(const struct entry *e)
{
    return e->length + strlen(e->secret) + strlen(e->key) + ENTRY_OVERHEAD;
}

static bool is_redacted(const struct entry *e)
{
    return e->used && e->length >= VAULT_REDACT_MIN;
}

static void entry_free(struct vault *v, struct entry *e)
{
    v->bytes -= entry_bytes(e);
    v->used -= is_redacted(e);
    hidden_free(&v->memory, e->bytes, e->length);
    free(e->secret);
    free(e->key);
    free(e);
}

static void vault_unref(struct vault *v)
{
    struct map_slot *slot;
    if (--v->refs > 0)
        return;
    for (size_t it = 0; (slot = map_next(&v->entries, &it));)
        entry_free(v, slot->value);
    map_done(&v->entries);
    vault_filter_done(&v->filter);
    hidden_done(&v->memory);
    explicit_bzero(v->key, sizeof(v->key));
    free(v);
}

struct vault *vault_free(struct vault *v)
{
    if (!v)
        return NULL;
    v->referee = NULL;
    vault_sweep(v, 0);
    vault_unref(v);
    return NULL;
}

size_t vault_count(const struct vault *v)
{
    return v->entries.count;
}

size_t vault_bytes(const struct vault *v)
{
    return v->bytes;
}

/* ---- putting ---- */

void vault_fix_handles(struct vault *v)
{
    v->fixed_handles = true;
}

static void digits_of_version(const struct vault_name *n, char digits[DIGEST_HEX_SIZE])
{
    const char *const parts[] = {"haptic secret", n->namespace, n->name, n->key, n->uid, n->resource_version};
    size_t lengths[ARRAY_LEN(parts)];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        lengths[i] = strlen(parts[i]);
    (void)digest_hex(digest_of_parts(ARRAY_LEN(parts), parts, lengths), digits);
}

/* The key is hashed twice, before and after the content. This is as good as a keyed hash against length extension,
 * because the digest is cut. */
static void digits_of_content(const struct vault *v, const struct vault_name *n, const void *bytes, size_t length,
                              char digits[DIGEST_HEX_SIZE])
{
    const char *const parts[] = {(const char *)v->key, n->namespace, n->name, n->key, bytes, (const char *)v->key};
    const size_t lengths[] = {sizeof(v->key), strlen(n->namespace), strlen(n->name), strlen(n->key),
                              length,         sizeof(v->key)};
    (void)digest_hex(digest_of_parts(ARRAY_LEN(parts), parts, lengths), digits);
}

static bool entry_is(const struct entry *e, const char *bytes, size_t length)
{
    return e->length == length && (length == 0 || memcmp(e->bytes, bytes, length) == 0);
}

/* Takes ownership of secret. */
static struct entry *entry_make(struct vault *v, char *secret, const char *key, const char *digits, const char *bytes,
                                size_t length)
{
    struct entry *e = xcalloc(1, sizeof(*e));
    memcpy(e->digits, digits, DIGITS + 1);
    e->secret = secret;
    e->key = xstrdup(key);
    e->length = length;
    if (length) {
        e->bytes = hidden_alloc(&v->memory, length);
        memcpy(e->bytes, bytes, length);
    }
    v->bytes += entry_bytes(e);
    v->released++;
    (void)map_put(&v->entries, e->digits, e);
    return e;
}

/* Makes room for this many bytes more, by removing unreferenced values. -1 when there is none. */
static int make_room(struct vault *v, size_t wanted, struct err *err)
{
    if (v->released && v->bytes + wanted > v->max_bytes / 2)
        vault_sweep(v, 0);
    if (wanted > v->max_bytes || v->bytes > v->max_bytes - wanted)
        return err_set(err, ERR_LIMIT, "all values of Secrets together would take more than the maximum of %zu bytes",
                       v->max_bytes);
    return 0;
}

int vault_put(struct vault *v, struct vault_hold **hold, const struct vault_name *name, const void *bytes,
              size_t length, char ret_handle[VAULT_HANDLE_LENGTH + 1], struct err *err)
{
    char digits[DIGEST_HEX_SIZE];
    struct entry *e = NULL;
    bool versioned = v->fixed_handles || (*name->uid && *name->resource_version);

    if (versioned) {
        digits_of_version(name, digits);
        e = map_get(&v->entries, digits);
    }
    if (!versioned || (e && !entry_is(e, bytes, length))) {
        digits_of_content(v, name, bytes, length, digits);
        e = map_get(&v->entries, digits);
    }
    if (!e) {
        size_t wanted = length + strlen(name->namespace) + strlen(name->name) + strlen(name->key) + 1 + ENTRY_OVERHEAD;
        if (make_room(v, wanted, err) < 0)
            return -1;
        char *secret = *name->namespace ? xasprintf("%s/%s", name->namespace, name->name) : xstrdup(name->name);
        e = entry_make(v, secret, name->key, digits, bytes, length);
    }
    if (!*hold) {
        *hold = xcalloc(1, sizeof(**hold));
        (*hold)->vault = v;
        v->refs++;
    }
    if (e->refs++ == 0)
        v->released--;
    vec_push(&(*hold)->entries, e);
    (*hold)->bytes += entry_bytes(e);
    memcpy(ret_handle, VAULT_PREFIX, PREFIX_LENGTH);
    memcpy(ret_handle + PREFIX_LENGTH, e->digits, DIGITS);
    memcpy(ret_handle + PREFIX_LENGTH + DIGITS, ends[VAULT_PLAIN], 4);
    return 0;
}

int vault_restore(struct vault *v, const char *digits, const char *secret, const char *key, const void *bytes,
                  size_t length, struct err *err)
{
    if (strlen(digits) != DIGITS || strspn(digits, "0123456789abcdef") != DIGITS)
        return err_set(err, ERR_INVALID, "a value under a name that is no handle's");
    if (map_getn(&v->entries, digits, DIGITS))
        return 0;
    if (make_room(v, length + strlen(secret) + strlen(key) + ENTRY_OVERHEAD, err) < 0)
        return -1;
    entry_make(v, xstrdup(secret), key, digits, bytes, length)->released_ns = clock_now_ns();
    return 0;
}

size_t vault_hold_bytes(const struct vault_hold *hold)
{
    return hold ? hold->bytes : 0;
}

struct vault_hold *vault_share(struct vault_hold *hold)
{
    if (hold)
        hold->shares++;
    return hold;
}

void vault_release(struct vault_hold *hold)
{
    if (!hold || hold->shares-- > 0)
        return;
    struct vault *v = hold->vault;
    for (size_t i = 0; i < hold->entries.length; i++) {
        struct entry *e = hold->entries.items[i];
        if (--e->refs > 0)
            continue;
        e->released_ns = clock_now_ns();
        v->released++;
    }
    vec_done(&hold->entries);
    free(hold);
    vault_unref(v);
}

/* ---- handles ---- */

static bool is_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool form_of(const char *end, enum vault_form *ret_form)
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (memcmp(end, ends[i], 3) == 0) {
            *ret_form = (enum vault_form)i;
            return true;
        }
    return false;
}

const char *vault_find(const char *text, size_t length, bool *ret_whole)
{
    const char *end = text + length, *at = text;
    while ((at = memmem(at, (size_t)(end - at), VAULT_PREFIX, PREFIX_LENGTH))) {
        size_t room = (size_t)(end - at) - PREFIX_LENGTH, digits = 0;
        enum vault_form form;
        while (digits < DIGITS && digits < room && is_digit(at[PREFIX_LENGTH + digits]))
            digits++;
        if (digits >= CUT_DIGITS) {
            *ret_whole = digits == DIGITS && room >= DIGITS + 3 && form_of(at + PREFIX_LENGTH + DIGITS, &form);
            return at;
        }
        at += PREFIX_LENGTH;
    }
    return NULL;
}

int vault_get(struct vault *v, const char *handle, struct vault_value *ret_value, struct err *err)
{
    enum vault_form form = VAULT_PLAIN;
    struct entry *e = v ? map_getn(&v->entries, handle + PREFIX_LENGTH, DIGITS) : NULL;
    if (!form_of(handle + PREFIX_LENGTH + DIGITS, &form) || !e)
        return err_set(err, ERR_NOTFOUND, "%.*s is no value of a Secret that is watched", (int)VAULT_HANDLE_LENGTH,
                       handle);
    if (!e->used && e->length >= VAULT_REDACT_MIN) {
        v->used++;
        v->filter_lacks = true;
    }
    e->used = true;
    *ret_value = (struct vault_value){
        .bytes = e->bytes ? e->bytes : "", .length = e->length, .form = form, .secret = e->secret, .key = e->key};
    return 0;
}

/* ---- sweeping ---- */

void vault_set_referee(struct vault *v, vault_referee *referee, void *ctx)
{
    v->referee = referee;
    v->referee_ctx = ctx;
}

void vault_mark(struct vault *v, const char *text, size_t length)
{
    const char *end = text + length;
    bool whole;
    for (const char *at = text; (at = vault_find(at, (size_t)(end - at), &whole)); at += PREFIX_LENGTH) {
        struct entry *e = whole ? map_getn(&v->entries, at + PREFIX_LENGTH, DIGITS) : NULL;
        if (e)
            e->marked = true;
    }
}

void vault_sweep(struct vault *v, int64_t age_ns)
{
    struct map_slot *slot;
    int64_t now = clock_now_ns();
    bool due = false;

    if (!v->released || v->sweeping)
        return;
    for (size_t it = 0; (slot = map_next(&v->entries, &it));) {
        struct entry *e = slot->value;
        e->marked = e->refs > 0 || now - e->released_ns < age_ns;
        due = due || !e->marked;
    }
    if (!due)
        return;
    v->sweeping = true;
    if (v->referee)
        v->referee(v->referee_ctx, v);
    v->sweeping = false;
    for (size_t it = 0; (slot = map_next(&v->entries, &it));) {
        struct entry *e = slot->value;
        if (e->marked)
            continue;
        map_del(&v->entries, e->digits);
        v->released--;
        entry_free(v, e);
    }
}

/* ---- redaction ---- */

struct redaction {
    const char *text;
    size_t length;
    const struct entry **owner; /* of each byte of the text; NULL: none */
    uint32_t *first, *next;     /* positions in the text + 1, by the hash of the 8 bytes there */
    size_t slots;
    uint64_t factor; /* of the hash; odd and secret */
};

static uint32_t *window_list(const struct redaction *r, const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return &r->first[(size_t)((word * r->factor) >> 32) & (r->slots - 1)];
}

static void redact_windows(void *ctx, const struct entry *e, const char *bytes, size_t length)
{
    struct redaction *r = ctx;
    for (size_t i = 0; i + WINDOW <= length; i++)
        for (uint32_t *at = window_list(r, bytes + i); *at;) {
            if (memcmp(r->text + *at - 1, bytes + i, WINDOW) != 0) {
                at = &r->next[*at - 1];
                continue;
            }
            for (size_t k = 0; k < WINDOW; k++)
                r->owner[*at - 1 + k] = e;
            *at = r->next[*at - 1]; /* finding a position once is enough */
        }
}

static void redact_whole(struct redaction *r, const struct entry *e)
{
    const char *end = r->text + r->length;
    for (const char *at = r->text; (at = memmem(at, (size_t)(end - at), e->bytes, e->length)); at++)
        for (size_t k = 0; k < e->length; k++)
            r->owner[(size_t)(at - r->text) + k] = e;
}

/* At a cut end of a text, the beginning of a value may be its end. */
static void redact_cut(struct redaction *r, const struct entry *e)
{
    for (size_t n = WINDOW - 1; n >= VAULT_REDACT_MIN; n--)
        if (n <= e->length && n <= r->length && memcmp(r->text + r->length - n, e->bytes, n) == 0)
            for (size_t k = 0; k < n; k++)
                r->owner[r->length - n + k] = e;
}

/* The ways to write a value in haproxy.cfg, on the command line and in a log-format: the prefix for each set of
 * characters. */
static const struct {
    const char *special, *before;
} quotings[] = {{"'", "'\\'"}, {" ;\\", "\\"}, {"%", "%"}};

/* A value with characters that quoting changes is also searched in its quoted form. Only windows with such a character
 * differ from those of the value itself, so the cost is that of these characters. */
static void quoted_each(void *ctx, const struct entry *e,
                        void (*fn)(void *ctx, const struct entry *e, const char *bytes, size_t length))
{
    CLEANUP(buf_done) struct buf quoted = {0};
    for (size_t form = 0; form < ARRAY_LEN(quotings); form++) {
        bool is_special[256] = {false};
        for (const char *c = quotings[form].special; *c; c++)
            is_special[(unsigned char)*c] = true;
        for (size_t at = 0; at < e->length; at++) {
            if (!is_special[(unsigned char)e->bytes[at]])
                continue;
            size_t from = at >= WINDOW - 1 ? at - (WINDOW - 1) : 0;
            size_t to = e->length - at > WINDOW ? at + WINDOW : e->length;
            buf_clear(&quoted);
            for (size_t i = from; i < to; i++) {
                if (is_special[(unsigned char)e->bytes[i]])
                    buf_puts(&quoted, quotings[form].before);
                buf_putc(&quoted, e->bytes[i]);
            }
            fn(ctx, e, quoted.data, quoted.length);
        }
    }
    if (quoted.data)
        explicit_bzero(quoted.data, quoted.capacity);
}

/* ---- values that cannot be in the text ---- */

struct filtering {
    struct vault_filter *filter;
    bool fits;
};

/* For a quoted piece, every gram: the piece is short, and can begin anywhere. */
static void filter_piece(void *ctx, const struct entry *e, const char *bytes, size_t length)
{
    struct filtering *f = ctx;
    (void)e;
    for (size_t i = 0; i + VAULT_FILTER_PART <= length; i++)
        f->fits = f->fits && vault_filter_add(f->filter, bytes + i, VAULT_FILTER_PART);
}

static bool filter_entry(struct vault *v, struct entry *e)
{
    struct filtering f = {.filter = &v->filter, .fits = vault_filter_add(&v->filter, e->bytes, e->length)};
    quoted_each(&f, e, filter_piece);
    e->filtered = f.fits;
    return f.fits;
}

/* Adds values that are used now to the filter. Removed values stay in it until it has to grow. */
static void filter_update(struct vault *v)
{
    struct map_slot *slot;
    for (size_t room = v->bytes;; room *= 2) {
        bool fits = v->filter.bits != NULL;
        for (size_t it = 0; fits && (slot = map_next(&v->entries, &it));) {
            struct entry *e = slot->value;
            if (is_redacted(e) && !e->filtered)
                fits = filter_entry(v, e);
        }
        if (fits) {
            v->filter_lacks = false;
            return;
        }
        uint64_t key;
        memcpy(&key, v->key + sizeof(key), sizeof(key));
        vault_filter_begin(&v->filter, room, key);
        for (size_t it = 0; (slot = map_next(&v->entries, &it));)
            ((struct entry *)slot->value)->filtered = false;
    }
}

static void redact_write(const struct redaction *r, struct buf *out)
{
    for (size_t i = 0; i < r->length;) {
        const struct entry *e = r->owner[i];
        size_t from = i;
        while (i < r->length && r->owner[i] == e)
            i++;
        if (e)
            buf_printf(out, VAULT_PREFIX "%s%s", e->digits, ends[VAULT_PLAIN]);
        else
            buf_add(out, r->text + from, i - from);
    }
}

void vault_redact(struct vault *v, const char *text, size_t length, struct buf *out)
{
    struct map_slot *slot;
    struct redaction r = {.text = text, .length = length, .slots = 64};

    if (v && v->used && v->filter_lacks)
        filter_update(v);
    if (!v || !v->used || length >= UINT32_MAX || !vault_filter_may_have(&v->filter, text, length)) {
        buf_add(out, text, length);
        return;
    }
    while (r.slots < 4 * length)
        r.slots *= 2;
    r.owner = xcalloc(length, sizeof(*r.owner));
    r.first = xcalloc(r.slots, sizeof(*r.first));
    r.next = xcalloc(length, sizeof(*r.next));
    memcpy(&r.factor, v->key, sizeof(r.factor));
    r.factor |= 1;
    for (size_t i = 0; i + WINDOW <= length; i++) {
        uint32_t *first = window_list(&r, text + i);
        r.next[i] = *first;
        *first = (uint32_t)i + 1;
    }
    for (size_t it = 0; (slot = map_next(&v->entries, &it));) {
        const struct entry *e = slot->value;
        if (!is_redacted(e))
            continue;
        if (e->length < WINDOW)
            redact_whole(&r, e);
        else
            redact_windows(&r, e, e->bytes, e->length);
        quoted_each(&r, e, redact_windows);
        redact_cut(&r, e);
    }
    redact_write(&r, out);
    free(r.owner);
    free(r.first);
    free(r.next);
}

void vault_redact_err(struct vault *v, struct err *err)
{
    CLEANUP(buf_done) struct buf clean = {0};
    enum err_kind kind = err->kind;
    int sys = err->sys;
    vault_redact(v, err->text, strlen(err->text), &clean);
    (void)err_set(err, kind, "%s", buf_str(&clean));
    err->sys = sys;
}
