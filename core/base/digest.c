/* SHA-256 by OpenSSL's one-shot; each part is preceded by its length so that borders count. The implementation is
 * looked up once: for texts as short as ours that takes longer than hashing them (OpenSSL's guide,
 * ossl-guide-libcrypto-intro, on explicit fetching). */
#include "base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static struct digest cut(const unsigned char sha[32])
{
    struct digest d;

    memcpy(&d.low, sha, 8);
    memcpy(&d.high, sha + 8, 8);
    return d;
}

static EVP_MD *sha256; /* never changes again, and is never freed */

static void sha256_fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256)
        abort();
}

struct digest digest_of(const void *bytes, size_t length)
{
    unsigned char sha[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, sha256_fetch);
    if (EVP_Digest(bytes, length, sha, &size, sha256, NULL) != 1)
        abort();
    return cut(sha);
}

struct digest digest_of_parts(size_t count, const char *const parts[], const size_t lengths[])
{
    char small[1024] = ""; /* gcc 12 does not see that digest_of() reads only what is written */
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += sizeof(uint64_t) + lengths[i];
    char *joined = total <= sizeof(small) ? small : xmalloc(total);
    char *at = joined;
    for (size_t i = 0; i < count; i++) {
        uint64_t length = lengths[i];
        memcpy(at, &length, sizeof(length));
        at += sizeof(length);
        if (lengths[i] > 0)
            memcpy(at, parts[i], lengths[i]);
        at += lengths[i];
    }
    struct digest d = digest_of(joined, total);
    if (joined != small)
        free(joined);
    return d;
}

struct digest digest_add(struct digest sum, struct digest member)
{
    struct digest d = {.low = sum.low + member.low};

    d.high = sum.high + member.high + (d.low < sum.low);
    return d;
}

struct digest digest_sub(struct digest sum, struct digest member)
{
    struct digest d = {.low = sum.low - member.low};

    d.high = sum.high - member.high - (sum.low < member.low);
    return d;
}

bool digest_equal(struct digest a, struct digest b)
{
    return a.low == b.low && a.high == b.high;
}

const char *digest_hex(struct digest d, char ret_hex[DIGEST_HEX_SIZE])
{
    snprintf(ret_hex, DIGEST_HEX_SIZE, "%016llx%016llx", (unsigned long long)d.high, (unsigned long long)d.low);
    return ret_hex;
}
