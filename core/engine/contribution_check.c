/* The rules that keep a contribution inside its own lines and files, whatever the template writes. */
#include "engine/contribution_check.h"

#include <stdbool.h>
#include <string.h>

#define FILE_NAME_MAX 250

static bool has_byte(const char *bytes, size_t length, char byte)
{
    return length > 0 && memchr(bytes, byte, length);
}

static bool has_control(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)bytes[i] < ' ' || bytes[i] == 0x7f)
            return true;
    return false;
}

static bool is_harmless(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '-' && c <= ':') || c == '_' || c == '+' ||
           c == '@' || c == '~';
}

/* The name of a file in a folder: harmless characters, not hidden. haproxy/disk has the same rule; a name that it
 * refuses would block the writing of all files. */
static bool is_file_name(const char *name, size_t length)
{
    if (length == 0 || length > FILE_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_harmless(name[i]) || name[i] == '/')
            return false;
    return true;
}

const char *contribution_problem(const struct contribution_input *c)
{
    if (c->scope_length > SCOPE_MAX)
        return "its scope is too long";
    if (c->key_length > KEY_MAX)
        return "its key is too long";
    if (has_control(c->scope, c->scope_length))
        return "its scope has a control character";
    if (has_control(c->key, c->key_length))
        return "its key has a control character";
    switch (c->kind) {
    case CONTRIBUTION_SECTION:
        if (c->scope_length == 0)
            return "a section needs a name";
        if (has_byte(c->text, c->text_length, '\0'))
            return "its text has a NUL";
        return c->text_length > 0 && c->text[c->text_length - 1] != '\n' ? "its last line has no end" : NULL;
    case CONTRIBUTION_SECTION_FROM:
        if (c->key_length != strlen("from") || memcmp(c->key, "from", c->key_length) != 0)
            return "a section has one \"from\", and its key is that word"; /* the users of sections rely on this rule */
        return has_control(c->text, c->text_length) ? "the name of a section has a control character" : NULL;
    case CONTRIBUTION_MAP_ENTRY:
    case CONTRIBUTION_CRT_LIST:
        if (has_control(c->text, c->text_length))
            return "a value or line has a control character";
        return is_file_name(c->scope, c->scope_length) ? NULL : "its scope is no file name";
    case CONTRIBUTION_FILE:
    case CONTRIBUTION_CERTIFICATE:
        return is_file_name(c->scope, c->scope_length) ? NULL : "its scope is no file name";
    case CONTRIBUTION_GUARD:
        if (c->key_length == 0)
            return "a guard needs the name of a fragment";
        return c->text_length == 0 || has_control(c->text, c->text_length) ? "a guard needs the name of a backend"
                                                                           : NULL;
    case CONTRIBUTION_FETCH:
        return c->key_length == 0 || has_byte(c->text, c->text_length, '\0') ? "a wish for a URL needs its identity"
                                                                             : NULL;
    case CONTRIBUTION_OBJECT:
        return c->scope_length == 0 || c->key_length == 0 || has_byte(c->text, c->text_length, '\0')
                   ? "an object needs its kind and its identity"
                   : NULL;
    case CONTRIBUTION_STATUS:
    case CONTRIBUTION_EVENT:
    case CONTRIBUTION_WARNING:
        return has_byte(c->text, c->text_length, '\0') ? "its text has a NUL" : NULL;
    }
    return "there is no such kind of contribution";
}
