/* log_lasting.h — when to say again that a state lasts.
 * Thread:  loop thread only.
 * Units:   *_ns clock_now_ns().
 */
#ifndef HAPTIC_BASE_LOG_LASTING_H
#define HAPTIC_BASE_LOG_LASTING_H

#include <stdbool.h>
#include <stdint.h>

/* For a state that lasts: it is said when it begins, after 2, 4, 8 … 60 s, and at once when it is put in other words.
 * (A state that changes its words all the time has four changes at once, and one more each ten seconds.) A zeroed
 * struct is at its beginning. */
struct log_lasting {
    uint64_t words; /* hash of what was said last */
    int64_t last_ns, distance_ns;
    int64_t changes_ns; /* when all four changes are there again */
    uint64_t suppressed;
};
bool log_lasting_pass(struct log_lasting *l, const char *words, uint64_t *ret_suppressed);
/* The state is over. Should it begin again within a minute, the distance goes on growing. */
void log_lasting_end(struct log_lasting *l);

#endif
