/* getopt_long over a table. */
#include "cmd/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define LETTER_BASE 0x10000 /* ids of long options begin here for getopt, so that no letter is one */
#define HELP_COLUMN 30
#define WIDTH 110

static int set_value(const struct option_row *row, const char *value, const char *from,
                     int (*set)(void *ctx, int id, const char *value, struct err *err), void *ctx, struct err *err)
{
    if (set(ctx, row->id, value, err) == 0)
        return 0;
    return *from == '-' ? err_wrap(err, "--%s", row->name) : err_wrap(err, "environment variable %s", from);
}

static int set_defaults(const struct option_table *t, int (*set)(void *ctx, int id, const char *value, struct err *err),
                        void *ctx, struct err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct option_row *row = &t->rows[i];
        const char *value = row->environment ? getenv(row->environment) : NULL;
        const char *from = row->environment;

        if (value == NULL || *value == '\0') {
            value = row->fallback;
            from = "-";
        }
        if (value != NULL && set_value(row, value, from, set, ctx, err) < 0)
            return -1;
    }
    return 0;
}

static const struct option_row *row_of(const struct option_table *t, int found)
{
    for (size_t i = 0; i < t->count; i++)
        if (found == t->rows[i].letter || found == LETTER_BASE + (int)i)
            return &t->rows[i];
    return NULL;
}

int options_parse(const struct option_table *t, int argc, char **argv,
                  int (*set)(void *ctx, int id, const char *value, struct err *err), void *ctx,
                  struct option_arguments *ret_arguments, struct err *err)
{
    CLEANUP(free_ptr) struct option *longs = xcalloc(t->count + 1, sizeof(*longs));
    char letters[2 * 64 + 2] = ":";
    int found;

    for (size_t i = 0; i < t->count; i++) {
        const struct option_row *row = &t->rows[i];
        longs[i] = (struct option){
            .name = row->name, .has_arg = row->argument ? required_argument : no_argument, .val = LETTER_BASE + (int)i};
        size_t n = strlen(letters);
        if (row->letter != 0 && n + 3 < sizeof(letters))
            snprintf(letters + n, sizeof(letters) - n, "%c%s", row->letter, row->argument ? ":" : "");
    }
    if (set_defaults(t, set, ctx, err) < 0)
        return -1;
    opterr = 0;
    optind = 1;
    while ((found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const struct option_row *row = row_of(t, found);
        if (found == ':')
            return err_set(err, ERR_INVALID, "%s needs a value; see haptic %s --help", argv[optind - 1], t->command);
        if (row == NULL)
            return err_set(err, ERR_INVALID, "unknown option %s; see haptic %s --help", argv[optind - 1], t->command);
        if (set_value(row, optarg, "-", set, ctx, err) < 0)
            return -1;
    }
    if (optind < argc && t->arguments == NULL)
        return err_set(err, ERR_INVALID, "unexpected argument \"%.64s\"; see haptic %s --help", argv[optind],
                       t->command);
    for (int i = optind; i < argc; i++)
        vec_push(&ret_arguments->items, argv[i]);
    vec_push(&ret_arguments->items, NULL);
    ret_arguments->items.length--;
    return 0;
}

static void print_wrapped(const char *text, int column)
{
    int at = column;

    for (const char *word = text; *word != '\0';) {
        int length = (int)strcspn(word, " ");
        if (at > column && at + 1 + length > WIDTH) {
            printf("\n%*s", column, "");
            at = column;
        } else if (at > column) {
            putchar(' ');
            at++;
        }
        printf("%.*s", length, word);
        at += length;
        word += length + (word[length] == ' ');
    }
}

void options_print_help(const struct option_table *t)
{
    printf("Usage: haptic %s [OPTION…]%s%s\n\n%s\n\nOptions:\n", t->command, t->arguments ? " " : "",
           t->arguments ? t->arguments : "", t->text);
    for (size_t i = 0; i < t->count; i++) {
        const struct option_row *o = &t->rows[i];
        char letter[8] = "    ";
        if (o->letter != 0)
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        int n = printf("  %s--%s%s%s", letter, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        printf("%*s", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "");
        print_wrapped(o->help, HELP_COLUMN);
        if (o->environment != NULL)
            printf(" [%s]", o->environment);
        if (o->fallback != NULL)
            printf(" (%s)", o->fallback);
        putchar('\n');
    }
}
