/* SHA-256 by OpenSSL; each part is preceded by its length so that borders count. The implementation is looked up once,
 * and a thread makes its context once: for texts as short as ours, each of them takes longer than hashing (OpenSSL's
 * guide, ossl-guide-libcrypto-intro, on explicit fetching). */
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
static pthread_key_t context_key;

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void sha256_fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || pthread_key_create(&context_key, free_context) != 0)
        abort();
}

/* Each thread has a context, which is freed when the thread ends. */
static EVP_MD_CTX *thread_context(void)
{
    EVP_MD_CTX *context = pthread_getspecific(context_key);

    if (!context) {
        context = EVP_MD_CTX_new();
        if (!context || pthread_setspecific(context_key, context) != 0)
            abort();
    }
    return context;
}

struct digest digest_of(const void *bytes, size_t length)
{
    unsigned char sha[EVP_MAX_MD_SIZE];
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, sha256_fetch);
    EVP_MD_CTX *context = thread_context();
    if (EVP_DigestInit_ex2(context, sha256, NULL) != 1 || EVP_DigestUpdate(context, bytes, length) != 1 ||
        EVP_DigestFinal_ex(context, sha, NULL) != 1)
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
