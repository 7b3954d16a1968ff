/* saved_test.h — the requests of a prompt's session, written as a test.
 * Thread:  loop thread only.
 * Owns:    the requests that were noted.
 * Errors:  ERR_SYS: the file exists, or cannot be written.
 */
#ifndef HAPTIC_OFFLINE_SAVED_TEST_H
#define HAPTIC_OFFLINE_SAVED_TEST_H

#include "offline/workbench.h"

struct saved_test {
    VEC(char *) requests; /* JSON, with what is expected of the answer */
};

/* request: a JSON object. Beyond 1000 nothing is noted. */
void saved_test_note(struct saved_test *s, const char *request);
void saved_test_done(struct saved_test *s);
/* Writes the loaded objects (without Secrets, whose values a prompt does not have) and the requests. replaces: an
 * existing file is replaced; otherwise it is an error. ret_left_out: the number of Secrets. */
int saved_test_write(const struct saved_test *s, struct workbench *w, const char *path, bool replaces,
                     size_t *ret_left_out, struct err *err) MUST_CHECK;

#endif
