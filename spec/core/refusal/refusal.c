/* A library in front of HAProxy's main(): it ends the program in a way that HAProxy itself will not, before it begins.
 * The check's jail starts one program only, so a script in front of HAProxy is not possible there.
 *
 * HAPTIC_SPEC_REFUSAL names a file; its first word is the way:
 *   poison     "something is wrong" without a place, when haproxy.cfg has the word "poison"
 *   dies       exit code 7 without a word; die-poison: when haproxy.cfg has the word "poison"
 *   exclusive  "two", when haproxy.cfg has the word "exclusive" in two lines
 *   idle       an invalid instruction, under SCHED_IDLE
 *   none       HAProxy begins */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SCHED_IDLE
#define SCHED_IDLE 5
#endif

static unsigned lines_with(const char *word)
{
    FILE *config = fopen("haproxy.cfg", "r");
    char line[4096];
    unsigned count = 0;

    if (config == NULL)
        return 0;
    while (fgets(line, sizeof(line), config) != NULL)
        count += strstr(line, word) != NULL;
    fclose(config);
    return count;
}

static void refuse(const char *why)
{
    char text[128];
    int length = snprintf(text, sizeof(text), "[ALERT]    (1) : config : %s\n", why);

    (void)!write(STDOUT_FILENO, text, (size_t)length);
    _exit(1);
}

__attribute__((constructor)) static void in_front(void)
{
    const char *path = getenv("HAPTIC_SPEC_REFUSAL");
    FILE *file = path ? fopen(path, "r") : NULL;
    char way[32] = "";

    if (file == NULL || fscanf(file, "%31s", way) != 1)
        _exit(99); /* a test that cannot refuse would pass for the wrong reason */
    fclose(file);
    if (strcmp(way, "poison") == 0 && lines_with("poison") > 0)
        refuse("something is wrong");
    if (strcmp(way, "dies") == 0 || (strcmp(way, "die-poison") == 0 && lines_with("poison") > 0))
        _exit(7);
    if (strcmp(way, "exclusive") == 0 && lines_with("exclusive") > 1)
        refuse("two");
    if (strcmp(way, "idle") == 0 && sched_getscheduler(0) == SCHED_IDLE)
        __builtin_trap();
}
