/* Pages in the macros of man(7), from the same tables as --help. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/subcommand.h"
#include "cmd/version.h"

/* A text of one line or of several, with what has a meaning in roff escaped. */
static void print_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool line_begins = i == 0 || text[i - 1] == '\n';
        if (line_begins && (text[i] == '.' || text[i] == '\''))
            printf("\\&");
        if (text[i] == '\\')
            printf("\\e");
        else if (text[i] == '-')
            printf("\\-");
        else if (strncmp(text + i, "…", 3) == 0)
            printf("..."), i += 2;
        else
            putchar(text[i]);
    }
}

static void print_string(const char *text)
{
    print_text(text, strlen(text));
}

/* Paragraphs are filled; lines that are indented are examples and stay as they are. */
static void print_description(const char *text)
{
    bool example = false, empty = false;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        bool indented = *text == ' ';
        if (length == 0) {
            empty = true;
        } else {
            if (example && !indented)
                printf(".EE\n.RE\n");
            if (!example && indented)
                printf(".PP\n.RS\n.EX\n");
            else if (empty && !indented)
                printf(".PP\n");
            else if (empty)
                putchar('\n');
            size_t from = indented ? 2 : 0;
            print_text(text + from, length - from);
            putchar('\n');
            example = indented;
            empty = false;
        }
        text += length + (text[length] == '\n');
    }
    if (example)
        printf(".EE\n.RE\n");
}

static void print_option(const struct option_row *row)
{
    printf(".TP\n");
    if (row->letter != 0)
        printf("\\fB\\-%c\\fR, ", row->letter);
    printf("\\fB\\-\\-");
    print_string(row->name);
    printf("\\fR");
    if (row->argument != NULL) {
        printf(" \\fI");
        print_string(row->argument);
        printf("\\fR");
    }
    putchar('\n');
    print_string(row->help);
    if (row->fallback != NULL) {
        printf(" (default: ");
        print_string(row->fallback);
        putchar(')');
    }
    if (row->environment != NULL) {
        printf("; environment variable \\fB");
        print_string(row->environment);
        printf("\\fR");
    }
    putchar('\n');
}

static void print_heading(const char *name, const char *help)
{
    printf(".\\\" Made from the program's table of options.\n.TH ");
    for (const char *c = name; *c != '\0'; c++)
        putchar(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    printf(" 1 \"" HAPTIC_DATE "\" \"haptic %s\" \"HAPTIC\"\n.SH NAME\n", HAPTIC_VERSION);
    print_string(name);
    printf(" \\- ");
    print_string(help);
    printf("\n.SH SYNOPSIS\n");
}

static void print_command(const struct subcommand *command)
{
    const struct option_table *table = command->options();
    char name[64];

    snprintf(name, sizeof(name), "haptic-%s", command->name);
    print_heading(name, command->help);
    printf(".B haptic %s\n.RI [ OPTION ...]", command->name);
    if (table->arguments != NULL) {
        printf("\n");
        print_string(table->arguments);
    }
    printf("\n.SH DESCRIPTION\n");
    print_description(table->text);
    printf(".SH OPTIONS\n");
    for (size_t i = 0; i < table->count; i++)
        print_option(&table->rows[i]);
    printf(".SH SEE ALSO\n.BR haptic (1)\n");
}

static void print_overview(const struct subcommand *commands, size_t count)
{
    print_heading("haptic", "controller that renders HAProxy's configuration from Kubernetes objects");
    printf(".B haptic\n.I COMMAND\n.RI [ ARGUMENT ...]\n.SH DESCRIPTION\nHAPTIC watches Kubernetes objects, renders "
           "HAProxy's configuration from them with Lua templates, checks it with HAProxy itself,\nand deploys it to a "
           "fleet of HAProxy pods. The offline commands do the same with files.\n.SH COMMANDS\n");
    for (size_t i = 0; i < count; i++) {
        printf(".TP\n");
        printf(commands[i].options != NULL ? ".BR haptic\\-%s (1)\n" : ".B %s\n", commands[i].name);
        print_string(commands[i].help);
        printf("\n");
    }
    printf(".TP\n.B completion\na completion script for bash, zsh or fish\n.TP\n.B man\na manual page, in roff: "
           "\\fBhaptic man render | man \\-l \\-\\fR\n");
}

int manual_print(const struct subcommand *commands, size_t count, int argc, char **argv)
{
    if (argc == 1) {
        print_overview(commands, count);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++)
            if (commands[i].options != NULL)
                printf("%s\n", commands[i].name);
        return 0;
    }
    for (size_t i = 0; argc == 2 && i < count; i++)
        if (commands[i].options != NULL && strcmp(commands[i].name, argv[1]) == 0) {
            print_command(&commands[i]);
            return 0;
        }
    fprintf(stderr, "haptic man: there is no page of that name; haptic --help lists the commands\n");
    return 2;
}
