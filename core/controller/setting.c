/* The text is parsed as one YAML document. The result is used when it is a boolean, a number or null, or when the text
 * begins like a quoted string or a flow collection. A text that YAML cannot parse is not an error: it is a string. */
#include "controller/setting.h"

#include <string.h>

#include "controller/config.h"
#include "data/yaml.h"

yyjson_mut_val *setting_value(yyjson_mut_doc *doc, const char *text)
{
    CLEANUP(yaml_docs_done) struct yaml_docs docs = {0};
    struct json_position at;
    struct err err;

    if (yaml_parse(text, strlen(text), CONFIG_FILE_MAX, &docs, &at, &err) == 0 && docs.length <= 1) {
        yyjson_val *value = docs.length == 1 ? yyjson_doc_get_root(docs.items[0].json) : NULL;
        if (value == NULL)
            return yyjson_mut_null(doc);
        if ((!yyjson_is_str(value) && !yyjson_is_ctn(value)) || strchr("\"'[{", *text) != NULL)
            return yyjson_val_mut_copy(doc, value);
    }
    return yyjson_mut_strcpy(doc, text);
}
