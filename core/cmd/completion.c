/* Scripts that shells read: names of commands and options stand in them as words, so they start no program. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "cmd/subcommand.h"

/* Words that the help of an option may have for its value, by the name of the value there. */
static const struct vocabulary {
    const char *argument, *words;
} vocabularies[] = {
    {"FORMAT", "text json junit tap sarif github"},
    {"TYPE", "cfg maps certs files all status objects events"},
    {"ACTION", "deny warn audit"},
    {"LEVEL", "TRACE DEBUG INFO WARN ERROR"},
};

static bool is_file(const char *argument)
{
    return strstr(argument, "FILE") != NULL || strcmp(argument, "PATH") == 0;
}

static bool is_folder(const char *argument)
{
    return strcmp(argument, "DIR") == 0;
}

static bool has_word(const char *text, const char *word, size_t length)
{
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        if ((at == text || !isalpha((unsigned char)at[-1])) && !isalpha((unsigned char)at[length]))
            return true;
    return false;
}

/* The possible values of an option, with blanks between: "text|json" and "reload" are the words themselves. Empty: any
 * text. */
static void put_words(const struct option_row *row, struct buf *out)
{
    const char *words = row->argument;

    if (row->argument == NULL || is_file(row->argument))
        return;
    if (strchr(row->argument, '|') != NULL || islower((unsigned char)*row->argument)) {
        for (; *words != '\0'; words++)
            buf_putc(out, *words == '|' ? ' ' : *words);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(vocabularies); i++) {
        if (strcmp(vocabularies[i].argument, row->argument) != 0)
            continue;
        for (const char *at = vocabularies[i].words; *at != '\0'; at += strspn(at, " ")) {
            size_t length = strcspn(at, " ");
            CLEANUP(free_ptr) char *word = xmemdup0(at, length);
            if (has_word(row->help, word, length))
                buf_printf(out, "%s%s", out->length > 0 ? " " : "", word);
            at += length;
        }
    }
}

/* The word that may stand after a command's options; NULL: files, or nothing. */
static const char *argument_of(const struct option_table *table)
{
    return strcmp(table->command, "crds") == 0 ? "apply" : strcmp(table->command, "config") == 0 ? "view" : NULL;
}

static bool takes_files(const struct option_table *table)
{
    return table->arguments != NULL && argument_of(table) == NULL;
}

/* ---- bash ---- */

static void print_bash_values(const struct option_table *table)
{
    printf("        case $prev in\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        CLEANUP(buf_done) struct buf words = {0};
        if (row->argument == NULL)
            continue;
        put_words(row, &words);
        if (row->letter != 0)
            printf("        --%s|-%c) ", row->name, row->letter);
        else
            printf("        --%s) ", row->name);
        if (words.length > 0)
            printf("COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", buf_str(&words));
        else if (is_folder(row->argument))
            printf("compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n");
        else if (is_file(row->argument))
            printf("compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        else
            printf("return ;;\n");
    }
    printf("        esac\n");
}

static void print_bash_command(const struct subcommand *command)
{
    const struct option_table *table = command->options();

    printf("    %s)\n", command->name);
    print_bash_values(table);
    printf("        if [[ $cur == -* ]]; then\n            COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < table->count; i++)
        printf("%s--%s", i > 0 ? " " : "", table->rows[i].name);
    printf("' -- \"$cur\"))\n");
    if (argument_of(table) != NULL)
        printf("        else\n            COMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n", argument_of(table));
    else if (takes_files(table))
        printf("        else\n            compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))\n");
    printf("        fi\n        ;;\n");
}

static void print_names(const struct subcommand *commands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%s ", commands[i].name);
    printf("completion man help");
}

static void print_bash(const struct subcommand *commands, size_t count)
{
    printf("# bash completion for haptic: source <(haptic completion bash)\n"
           "_haptic() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        COMPREPLY=($(compgen -W '");
    print_names(commands, count);
    printf("' -- \"$cur\"))\n        return\n    fi\n"
           "    # --option=value comes as three words\n"
           "    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
           "    case ${COMP_WORDS[1]} in\n"
           "    completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")) ;;\n"
           "    man) COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < count; i++)
        if (commands[i].options != NULL)
            printf("%s ", commands[i].name);
    printf("' -- \"$cur\")) ;;\n");
    for (size_t i = 0; i < count; i++)
        if (commands[i].options != NULL)
            print_bash_command(&commands[i]);
    printf("    esac\n}\ncomplete -F _haptic haptic\n");
}

/* ---- zsh ---- */

/* Inside of '…[…]': quotes end the word, brackets and colons have a meaning. */
static void print_zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void print_zsh_option(const struct option_row *row)
{
    CLEANUP(buf_done) struct buf words = {0};

    put_words(row, &words);
    if (row->letter != 0)
        printf("            '(-%c --%s)'{-%c,--%s}'[", row->letter, row->name, row->letter, row->name);
    else
        printf("            '--%s[", row->name);
    print_zsh_text(row->help);
    printf("]");
    if (row->argument != NULL) {
        printf(":");
        print_zsh_text(row->argument);
        if (words.length > 0)
            printf(":(%s)", buf_str(&words));
        else
            printf(is_folder(row->argument) ? ":_files -/" : is_file(row->argument) ? ":_files" : ": ");
    }
    printf("' \\\n");
}

static void print_zsh(const struct subcommand *commands, size_t count)
{
    printf("#compdef haptic\n# zsh completion for haptic: haptic completion zsh >~/.zfunc/_haptic\n"
           "_haptic() {\n    if (( CURRENT == 2 )); then\n        local -a commands=(\n");
    for (size_t i = 0; i < count; i++) {
        printf("            '%s:", commands[i].name);
        print_zsh_text(commands[i].help);
        printf("'\n");
    }
    printf("            'completion:a completion script for a shell'\n            'man:a manual page'\n        )\n"
           "        _describe command commands\n        return\n    fi\n"
           "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n"
           "    completion) _arguments '1:shell:(bash zsh fish)' ;;\n    man) _arguments '1:command:(");
    for (size_t i = 0; i < count; i++)
        if (commands[i].options != NULL)
            printf("%s ", commands[i].name);
    printf(")' ;;\n");
    for (size_t i = 0; i < count; i++) {
        if (commands[i].options == NULL)
            continue;
        const struct option_table *table = commands[i].options();
        printf("    %s)\n        _arguments -s \\\n", commands[i].name);
        for (size_t j = 0; j < table->count; j++)
            print_zsh_option(&table->rows[j]);
        if (argument_of(table) != NULL)
            printf("            '1:what:(%s)'\n", argument_of(table));
        else
            printf(takes_files(table) ? "            '*:file:_files'\n" : "            && return\n");
        printf("        ;;\n");
    }
    printf(
        "    esac\n}\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then _haptic \"$@\"; else compdef _haptic haptic; fi\n");
}

/* ---- fish ---- */

static void print_fish_text(const char *text)
{
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void print_fish_command(const struct subcommand *command)
{
    const struct option_table *table = command->options();

    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        CLEANUP(buf_done) struct buf words = {0};
        put_words(row, &words);
        printf("complete -c haptic -n '__fish_seen_subcommand_from %s' -l %s", command->name, row->name);
        if (row->letter != 0)
            printf(" -s %c", row->letter);
        if (words.length > 0)
            printf(" -x -a '%s'", buf_str(&words));
        else if (row->argument != NULL)
            printf(is_folder(row->argument) ? " -x -a '(__fish_complete_directories)'"
                   : is_file(row->argument) ? " -r -F"
                                            : " -x");
        printf(" -d ");
        print_fish_text(row->help);
        putchar('\n');
    }
    if (takes_files(table))
        printf("complete -c haptic -n '__fish_seen_subcommand_from %s' -F\n", command->name);
    if (argument_of(table) != NULL)
        printf("complete -c haptic -n '__fish_seen_subcommand_from %s' -a '%s'\n", command->name, argument_of(table));
}

static void print_fish(const struct subcommand *commands, size_t count)
{
    printf("# fish completion for haptic: haptic completion fish | source\ncomplete -c haptic -f\n");
    for (size_t i = 0; i < count; i++) {
        printf("complete -c haptic -n __fish_use_subcommand -a %s -d ", commands[i].name);
        print_fish_text(commands[i].help);
        putchar('\n');
    }
    printf("complete -c haptic -n __fish_use_subcommand -a completion -d 'a completion script for a shell'\n"
           "complete -c haptic -n __fish_use_subcommand -a man -d 'a manual page'\n"
           "complete -c haptic -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
           "complete -c haptic -n '__fish_seen_subcommand_from man' -a '");
    for (size_t i = 0; i < count; i++)
        if (commands[i].options != NULL)
            printf("%s ", commands[i].name);
    printf("'\n");
    for (size_t i = 0; i < count; i++)
        if (commands[i].options != NULL)
            print_fish_command(&commands[i]);
}

int completion_print(const struct subcommand *commands, size_t count, int argc, char **argv)
{
    const char *shell = argc == 2 ? argv[1] : "";

    if (strcmp(shell, "bash") == 0) {
        print_bash(commands, count);
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh(commands, count);
    } else if (strcmp(shell, "fish") == 0) {
        print_fish(commands, count);
    } else {
        fprintf(stderr, "haptic completion: for which shell? bash, zsh or fish\n");
        return 2;
    }
    return 0;
}
