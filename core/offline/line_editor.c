/* libedit's native interface: it has no global state, and a completion is a function bound to a key. */
#include "offline/line_editor.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define HISTORY_LINES 2000
#define SHOWN_MAX 60
#define CTRL_D L'\x04'

struct line_editor {
    EditLine *edit; /* NULL: not a terminal */
    History *history;
    char *history_file, *line, *prompt;
    size_t capacity;
    line_editor_complete *complete;
    void *ctx;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* One character. The interrupt is blocked but for the wait itself, so that none is missed between look and wait. */
static int read_character(EditLine *edit, wchar_t *ret_character)
{
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    mbstate_t state = {0};
    sigset_t open;

    (void)edit;
    sigprocmask(SIG_BLOCK, NULL, &open);
    sigdelset(&open, SIGINT);
    for (;;) {
        char byte;
        if (ppoll(&ready, 1, NULL, &open) < 0) {
            if (errno == EINTR && !interrupted)
                continue;
            return -1;
        }
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0)
            return n < 0 && errno == EAGAIN ? -1 : (int)n;
        size_t used = mbrtowc(ret_character, &byte, 1, &state);
        if (used == (size_t)-2)
            continue; /* more bytes belong to it */
        if (used == (size_t)-1) {
            *ret_character = (wchar_t)(unsigned char)byte;
            state = (mbstate_t){0};
        }
        if (*ret_character == L'\0') /* Ctrl-D that was typed before the editor had the terminal */
            *ret_character = CTRL_D;
        return 1;
    }
}

static char *prompt_of(EditLine *edit)
{
    struct line_editor *e;

    el_get(edit, EL_CLIENTDATA, &e);
    return e->prompt;
}

/* What all candidates begin with. */
static size_t common_length(const char *first, const char *all)
{
    size_t common = strcspn(first, "\n");

    for (const char *at = all; *at != '\0';) {
        size_t length = strcspn(at, "\n"), same = 0;
        while (same < length && same < common && at[same] == first[same])
            same++;
        common = same;
        at += length + (at[length] == '\n');
    }
    return common;
}

static void show_all(const char *all)
{
    unsigned shown = 0;

    putchar('\n');
    for (const char *at = all; *at != '\0' && shown < SHOWN_MAX; shown++) {
        size_t length = strcspn(at, "\n");
        printf("%.*s  ", (int)length, at);
        at += length + (at[length] == '\n');
    }
    putchar('\n');
}

static unsigned char on_tab(EditLine *edit, int key)
{
    struct line_editor *e;
    const LineInfo *info = el_line(edit);

    (void)key;
    el_get(edit, EL_CLIENTDATA, &e);
    CLEANUP(free_ptr) char *begin = xmemdup0(info->buffer, (size_t)(info->cursor - info->buffer));
    CLEANUP(free_ptr) char *all = e->complete ? e->complete(e->ctx, begin) : NULL;
    if (all == NULL || *all == '\0')
        return CC_REFRESH_BEEP;
    /* The candidates begin with what is typed of them. */
    size_t common = common_length(all, all), length = strlen(begin), typed = length < common ? length : common;
    while (typed > 0 && memcmp(begin + length - typed, all, typed) != 0)
        typed--;
    if (common > typed) {
        CLEANUP(free_ptr) char *rest = xmemdup0(all + typed, common - typed);
        return el_insertstr(edit, rest) == 0 ? CC_REFRESH : CC_REFRESH_BEEP;
    }
    if (strchr(all, '\n') == NULL)
        return CC_REFRESH;
    show_all(all);
    return CC_REDISPLAY;
}

struct line_editor *line_editor_new(const char *history_file, line_editor_complete *complete, void *ctx)
{
    struct line_editor *e = xcalloc(1, sizeof(*e));
    HistEvent event;

    e->complete = complete;
    e->ctx = ctx;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return e;
    e->edit = el_init("haptic", stdin, stdout, stderr);
    if (e->edit == NULL)
        return e;
    e->history = history_init();
    e->history_file = history_file ? xstrdup(history_file) : NULL;
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    if (history_file != NULL)
        history(e->history, &event, H_LOAD, history_file);
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, prompt_of);
    el_set(e->edit, EL_GETCFN, read_character);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_HIST, history, e->history);
    el_set(e->edit, EL_ADDFN, "complete", "complete a name", on_tab);
    el_set(e->edit, EL_BIND, "^I", "complete", NULL);
    return e;
}

struct line_editor *line_editor_free(struct line_editor *e)
{
    HistEvent event;

    if (e == NULL)
        return NULL;
    if (e->edit != NULL) {
        if (e->history_file != NULL)
            history(e->history, &event, H_SAVE, e->history_file);
        history_end(e->history);
        el_end(e->edit);
    }
    free(e->history_file);
    free(e->line);
    free(e);
    return NULL;
}

/* Ctrl-C at the prompt gives up the line; it must not end the program. */
static enum line_read read_terminal(struct line_editor *e, const char **ret_line)
{
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigset_t blocked, mask;
    int length = 0;

    interrupted = 0;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &mask);
    sigaction(SIGINT, &action, &before);
    const char *line = el_gets(e->edit, &length);
    sigaction(SIGINT, &before, NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    if (interrupted) {
        el_reset(e->edit);
        putchar('\n');
        return LINE_INTERRUPTED;
    }
    if (line == NULL || length <= 0)
        return LINE_END;
    free(e->line);
    e->line = xmemdup0(line, strcspn(line, "\n"));
    e->capacity = 0;
    *ret_line = e->line;
    return LINE_READ;
}

enum line_read line_editor_read(struct line_editor *e, const char *prompt, const char **ret_line)
{
    e->prompt = (char *)(uintptr_t)prompt;
    if (e->edit != NULL)
        return read_terminal(e, ret_line);
    ssize_t length = getline(&e->line, &e->capacity, stdin);
    if (length < 0)
        return LINE_END;
    e->line[strcspn(e->line, "\r\n")] = '\0';
    *ret_line = e->line;
    return LINE_READ;
}

void line_editor_remember(struct line_editor *e, const char *text)
{
    HistEvent event;

    if (e->edit != NULL && *text != '\0')
        history(e->history, &event, H_ENTER, text);
}

bool line_editor_is_terminal(const struct line_editor *e)
{
    return e->edit != NULL;
}

char *line_editor_history(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state != NULL && *state == '/')
        return xasprintf("%s/haptic_history", state);
    return home != NULL && *home == '/' ? xasprintf("%s/.haptic_history", home) : NULL;
}
