/* A name is used only when it can be a word of HAProxy's language and a JSON string without escapes. */
#include "store/secret_users.h"

#include <ctype.h>
#include <string.h>

#define NAME_MAX_BYTES 255

bool secret_users_is_key(const char *key)
{
    return strcmp(key, "auth") == 0 || strcmp(key, "htpasswd") == 0;
}

static bool is_plain(const char *text, size_t length, const char *more)
{
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr(more, text[i]) == NULL)
            return false;
    return length > 0 && memchr(text, '\0', length) == NULL;
}

int secret_users_each(const char *text, size_t length,
                      int (*fn)(void *ctx, const char *name, size_t name_length, const char *hash, size_t hash_length,
                                struct err *err),
                      void *ctx, struct err *err)
{
    size_t count = 0;

    for (const char *at = text, *end = text + length; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *last = stop ? stop : end, *next = stop ? stop + 1 : end;
        if (last > at && last[-1] == '\r')
            last--;
        const char *colon = memchr(at, ':', (size_t)(last - at));
        if (colon != NULL && (size_t)(colon - at) <= NAME_MAX_BYTES && *at != '#' &&
            is_plain(at, (size_t)(colon - at), "-_.@+") &&
            is_plain(colon + 1, (size_t)(last - colon - 1), "./$=,+{}")) {
            if (++count > SECRET_USERS_MAX)
                return err_set(err, ERR_LIMIT, "a password file has more than %d users", SECRET_USERS_MAX);
            if (fn(ctx, at, (size_t)(colon - at), colon + 1, (size_t)(last - colon - 1), err) < 0)
                return -1;
        }
        at = next;
    }
    return 0;
}
