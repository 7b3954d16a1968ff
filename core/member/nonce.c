/* Drawn by the kernel: nobody who has seen all earlier ones knows the next. */
#include "member/nonce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void draw(struct nonce *n)
{
    unsigned char bytes[(NONCE_SIZE - 1) / 2];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        abort();
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(n->next + 2 * i, 3, "%02x", bytes[i]);
}

void nonce_init(struct nonce *n)
{
    n->named_in = INT64_MIN;
    draw(n);
}

int nonce_use(struct nonce *n, const char *given, int64_t transitions, struct err *err)
{
    if (!given && transitions <= n->named_in)
        return err_set(err, ERR_CONFLICT, "it names no nonce, and earlier offers of its term do");
    if (given && strcmp(given, n->next) != 0)
        return err_set(err, ERR_CONFLICT,
                       "its nonce is not the next one: it was sent before, or another offer came first");
    if (given && transitions > n->named_in)
        n->named_in = transitions;
    draw(n);
    return 0;
}
