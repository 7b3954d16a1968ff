/* The codes are an interface: a row may be reworded, but its code keeps its meaning, and no code is used again. */
#include "offline/finding.h"

#include <strings.h>

#include "base/cleanup.h"

static const struct finding_code_row rows[] = {
    [FINDING_MANIFEST] =
        {"HT0101", FINDING_ERROR, "A manifest, or an object in it, cannot be used",
         "The file is not valid YAML or JSON, or the API server would not store an object in it. A running "
         "controller that reads a folder keeps the last good version of that object, and uses all other "
         "objects.",
         "Correct the file at the line in the message.",
         "m/a.yaml:5:3: error HT0101: Ingress shop/a: spec.rules: must be a list"},
    [FINDING_FIELD_IGNORED] =
        {"HT0102", FINDING_WARNING, "A field of the configuration has no effect",
         "The field belongs to the resource, but this program does not use it.", "Remove the field.",
         "c.yaml:3:3: warning HT0102: dataplane.port: has no effect: HAProxy is reached by its sockets, not by the Data Plane API"},
    [FINDING_CONFIG] =
        {"HT0103", FINDING_ERROR, "The configuration is wrong",
         "The configuration cannot be used. A running controller keeps the previous configuration.",
         "Correct the field at the line in the message.",
         "c.yaml:3:5: error HT0103: templateSnippets.own.lua.templat: unknown field; did you mean \"template\"?"},
    [FINDING_MANIFEST_WARNING] =
        {"HT0104", FINDING_WARNING, "The API server would store an object with a warning",
         "The object is used. The API server ignores the field in the message. `kubectl apply` refuses an unknown field "
         "unless it is called with `--validate=false`.",
         "Correct or remove the field in the message.",
         "m/a.yaml:5:3: warning HT0104: Service shop/a: spec.prots: unknown field, which is ignored"},
    [FINDING_PROGRAM] = {"HT0201", FINDING_ERROR, "The templates do not load",
                         "A script or a text template does not compile, or it failed while it was loaded. A running "
                         "controller keeps the previous templates.",
                         "Correct the template at the line in the message.",
                         "own.lua:2:1: error HT0201: undeclared global 'fragmant'; did you mean 'fragment'?"},
    [FINDING_FRAGMENT_FAILED] =
        {"HT0202", FINDING_ERROR, "A template failed for an object",
         "The function ended with an error, so this object has no new output. A running controller keeps "
         "the last good output of this object, and renders all other objects.",
         "Correct the template at the line in the message, or the field of the object that it reads.",
         "backend-500-x:2:32: error HT0202: undeclared global 'nobody' (ingresses default/shop)"},
    [FINDING_RENDERER_KILLED] =
        {"HT0203", FINDING_ERROR, "A template exceeded its time or memory",
         "A fragment took more time or memory than templatingSettings.renderTimeout or renderMemoryBytes "
         "allow. It is left out until its object changes. After a time-out the message names the line that "
         "was running.",
         "Look for a loop that does not end, or for output that grows with the square of the input.",
         "own.lua:3:3: error HT0203: the renderer was ended while it ran this template: a rendering may take 200ms (templatingSettings.renderTimeout)"},
    [FINDING_REFUSED_OBJECT] =
        {"HT0301", FINDING_ERROR, "HAProxy refuses the output of one object",
         "`haproxy -c` refuses a line that the template wrote for this object. A running controller "
         "quarantines the fragment: HAProxy keeps its last accepted output, and changes of all other "
         "objects go live.",
         "Correct the template at the line in the message, or the field of the object that it writes.",
         "own.lua:4:13: error HT0301: unknown keyword 'no-such' in 'backend' section"},
    [FINDING_REFUSED] =
        {"HT0302", FINDING_ERROR, "HAProxy refuses the configuration",
         "`haproxy -c` refuses output that belongs to no single object. A running controller keeps the last "
         "accepted configuration.",
         "Correct the template that wrote the line.",
         "frontend-http-450-own:2:1: error HT0302: unknown keyword 'no-such' in 'frontend' section"},
    [FINDING_UNCHECKED] =
        {"HT0303", FINDING_ERROR, "The configuration could not be checked",
         "`haproxy -c` could not be started, exceeded a limit and was killed, or ended without a message.",
         "Read the message. If the program is not HAProxy, give another --haproxy-binary.",
         "error HT0303: checking the configuration with haproxy: exit code 1 without a message"},
    [FINDING_TEMPLATE_WARNS] =
        {"HT0401", FINDING_WARNING, "A template warns about an object",
         "The template called out:warn(). In a cluster the object gets the same text as a Warning Event.",
         "Read the message. docs/libraries.md lists the reasons of the built-in libraries.",
         "ingress.lua:75:3: warning HT0401: ServiceNotFound: there is no service nobody"},
    [FINDING_KEY_LOST] =
        {"HT0402", FINDING_WARNING, "An older object has the same key",
         "Two objects write the same entry of a map, section or file, or two templates want different forms "
         "of the same object. The output of the older object is used (creationTimestamp, then namespace and "
         "name).",
         "Give one of the two another host, path or name.",
         "own.lua:2:18: warning HT0402: own.map key is also written by services default/cart, which is older and wins"},
    [FINDING_NOT_FETCHED] =
        {"HT0403", FINDING_WARNING, "A URL that a template fetches has no content here",
         "The offline commands fetch nothing. http:fetch() returns what manifests of kind FetchedURL have, "
         "or httpResources in a test. A running controller fetches the URL.",
         "Add a FetchedURL with this url and its content to the sources. /debug/fetched of a controller "
         "prints those that it has.",
         "warning HT0403: no content is given for https://lists.test/blocked?…"},
    [FINDING_FETCH_REFUSED] =
        {"HT0404", FINDING_ERROR, "A URL that a template fetches is not allowed",
         "No entry of templatingSettings.httpFetch.allow is the beginning of this URL. A running controller "
         "does not fetch it; http:fetch() returns an error.",
         "Add the beginning of the URL to templatingSettings.httpFetch.allow, or correct the URL.",
         "error HT0404: https://other.test/blocked may not be fetched: add its beginning to templatingSettings.httpFetch.allow"},
    [FINDING_TEST_FAILED] = {"HT0501", FINDING_ERROR, "A test failed",
                             "The rendered output does not satisfy an assertion of validationTests.",
                             "Correct the template, or correct the assertion if the new output is right.",
                             "::error title=HT0501,file=c.yaml,line=4::a: expected haproxy.cfg to contain /nobody/"},
    [FINDING_TESTS_WRONG] =
        {"HT0502", FINDING_ERROR, "The tests cannot be run",
         "validationTests cannot be read, or there is no test, or none was selected. A run without a test "
         "counts as a failure.",
         "Correct the field at the line in the message, write a test, or choose another --run.",
         "c.yaml:4:16: error HT0502: validationTests.a.assertions: did you mean \"contains\"?"},
    [FINDING_NO_CONTROLLER] =
        {"HT0601", FINDING_ERROR, "No controller was found",
         "No Pod of the namespace has the labels of a controller, and no address was given.",
         "Give the namespace (-n), the labels (--controller-selector), or an address (--address).",
         "no Pod has the labels of a controller"},
    [FINDING_POD] = {"HT0602", FINDING_ERROR, "A Pod does not run",
                     "The phase of the Pod is not Running, or one of its containers is waiting or has ended.",
                     "Look at kubectl describe pod and kubectl logs --previous.",
                     "the Pod is Running: container main: CrashLoopBackOff"},
    [FINDING_UNREACHABLE] =
        {"HT0603", FINDING_ERROR, "A Pod or an address does not answer",
         "/readyz did not answer. A Pod is asked through the API server's proxy, an address directly.",
         "Grant \"get\" on pods/proxy and check network policies and ports, or use kubectl port-forward and "
         "--address.",
         "no route to host"},
    [FINDING_NOT_READY] = {"HT0604", FINDING_ERROR, "A controller or member is not ready",
                           "/readyz gives the reason. HAProxy serves the last accepted configuration.",
                           "Follow the message. /debug/state and the log have the details.",
                           "not ready: not synced: endpoints"},
    [FINDING_LEASE] = {"HT0605", FINDING_ERROR, "There is no leader",
                       "Without a leader no change goes live. HAProxy serves the last accepted configuration.",
                       "Look for \"lease\" in the controllers' logs. Usually the API server cannot be reached, or a "
                       "permission is missing.",
                       "the Lease haptic-leader was not renewed by a for 61 s"},
    [FINDING_REPLICAS] =
        {"HT0606", FINDING_WARNING, "Replicas have accepted different configurations",
         "Replicas that have read the same objects render the same configuration. They differ for a moment "
         "while they process a change.",
         "Run the command again. If the difference stays, compare /debug/config of both replicas.",
         "it has accepted another configuration than haptic/a"},
    [FINDING_OBJECTS] =
        {"HT0607", FINDING_WARNING, "The newest output of some objects is not in use",
         "HAProxy refuses their output, a template fails for them, or an older object has the same key. "
         "HAProxy keeps their last good output.",
         "Look at problems in /debug/state, and at the Events of these objects.", "2 fragments are quarantined"},
    [FINDING_NOT_IN_FORCE] =
        {"HT0608", FINDING_ERROR, "The newest configuration is not in use",
         "It is wrong, its templates do not load, or its kinds are not listed yet. The previous "
         "configuration stays in use.",
         "Look at the conditions of the resource, or at config in /debug/state. haptic validate names the "
         "line.",
         "the newest configuration is not in force"},
    [FINDING_WATCH] = {"HT0609", FINDING_ERROR, "A kind is not listed",
                       "Templates that read a kind are not rendered before all objects of that kind are read.",
                       "Grant \"list\" and \"watch\" on the kind, or install its CustomResourceDefinition.",
                       "secrets are not listed"},
    [FINDING_CERTIFICATES] =
        {"HT0610", FINDING_WARNING, "Certificates have expired, expire soon, or cannot be used",
         "HAProxy still serves an expired certificate. A certificate that HAProxy cannot use is left out.",
         "Renew the certificates. The Secrets have Events.", "5 certificates have ended"},
    [FINDING_VERSION] =
        {"HT0611", FINDING_WARNING, "HAProxy runs in another version than the one that checks",
         "One version of HAProxy may refuse what another version accepts. Then the reload fails, although "
         "the check succeeded.",
         "Use the same image for HAProxy in the controller and in the members.", "HAProxy runs in another version"},
    [FINDING_MEMBERS] =
        {"HT0612", FINDING_ERROR, "Members do not serve the accepted configuration",
         "They refuse it, cannot be reached, or are still applying it.",
         "Look at members in /debug/state of the leader: it has the state and the problem of each member.",
         "1 of 2 members do not serve the accepted configuration"},
};

const struct finding_code_row *finding_code_row(enum finding_code code)
{
    return &rows[code];
}

size_t finding_code_count(void)
{
    return ARRAY_LEN(rows);
}

void finding_code_write(const struct finding_code_row *row, struct buf *out)
{
    buf_printf(out, "%s: %s\n    %s\n    Remedy: %s\n    Example: %s\n", row->code, row->title, row->meaning,
               row->remedy, row->example);
}

const struct finding_code_row *finding_code_find(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcasecmp(rows[i].code, text) == 0)
            return &rows[i];
    return NULL;
}
