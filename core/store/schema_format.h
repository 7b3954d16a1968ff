/* schema_format.h — forms of texts in Kubernetes objects, as the API server judges them.
 * Thread:  any.
 * Source:  k8s.io/apimachinery/pkg/util/validation; RFC 1035, RFC 1123.
 *
 * Each function returns NULL for a text of that form, otherwise what it must be (static text: "must be …").
 */
#ifndef HAPTIC_STORE_SCHEMA_FORMAT_H
#define HAPTIC_STORE_SCHEMA_FORMAT_H

typedef const char *schema_format(const char *text);

schema_format schema_format_subdomain;      /* a.example: RFC 1123 labels joined by dots, 253 characters */
schema_format schema_format_label;          /* one RFC 1123 label, 63 characters */
schema_format schema_format_service;        /* one RFC 1035 label: it begins with a letter */
schema_format schema_format_optional_label; /* a label, or nothing */
schema_format schema_format_host;           /* of an Ingress rule: a DNS name or *.name, no IP address, or nothing */
schema_format schema_format_tls_host;       /* a DNS name or *.name */
schema_format schema_format_optional_name;  /* a subdomain, or nothing */
schema_format schema_format_port_name;      /* IANA service name: 15 characters, one letter at least; or nothing */
schema_format schema_format_controller;     /* a domain, "/", and a path */
schema_format schema_format_label_key;      /* [prefix/]name */
schema_format schema_format_annotation_key;
schema_format schema_format_label_value;
schema_format schema_format_data_key; /* of a Secret or a ConfigMap */
schema_format schema_format_ipv4;     /* dotted decimal without leading zeros */
schema_format schema_format_ipv6;
schema_format schema_format_external; /* a DNS name, with a dot at its end perhaps */
schema_format schema_format_fqdn;     /* a DNS name of two labels or more */

#endif
