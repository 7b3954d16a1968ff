/* setting.h — the value of --set KEY=VALUE: text that means what it would mean in a YAML file.
 * Thread:  any.
 * Owns:    nothing; the value belongs to the document.
 *
 * true, 8080, 1.5, null, "quoted text", [a, b] and {a: 1} are what they are in YAML. Everything else is the text as it
 * stands, so that "#", ": " and a colon at the beginning need no quotes.
 */
#ifndef HAPTIC_CONTROLLER_SETTING_H
#define HAPTIC_CONTROLLER_SETTING_H

#include <yyjson.h>

/* Never fails: a text that is no YAML becomes a string. */
yyjson_mut_val *setting_value(yyjson_mut_doc *doc, const char *text);

#endif
