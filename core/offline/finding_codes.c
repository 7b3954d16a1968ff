/* The codes are an interface: a row may be reworded, but its code keeps its meaning, and no code is used again. */
#include "offline/finding.h"

#include <strings.h>

#include "base/cleanup.h"

static const struct finding_code_row rows[] = {
    [FINDING_MANIFEST] =
        {"HT0101", FINDING_ERROR, "A manifest, or an object in it, cannot be used",
         "The file is no YAML or JSON, or an object in it is not what the API server would store. A running controller "
         "that follows a folder keeps the last good version of that object; all others are taken over.",
         "Correct the file at the line that is named."},
    [FINDING_FIELD_IGNORED] = {"HT0102", FINDING_WARNING, "A field of the configuration has no effect",
                               "The field belongs to the resource, but this program does nothing with it.",
                               "Remove the field."},
    [FINDING_CONFIG] = {"HT0103", FINDING_ERROR, "The configuration is wrong",
                        "The document cannot be used. A running controller keeps the configuration that is in force.",
                        "Correct the field at the line that is named."},
    [FINDING_PROGRAM] =
        {"HT0201", FINDING_ERROR, "The templates do not load",
         "A script or a text template does not compile, or failed while it was loaded. A running controller keeps the "
         "templates that are in force.",
         "Correct the template at the line that is named."},
    [FINDING_FRAGMENT_FAILED] =
        {"HT0202", FINDING_ERROR, "A template failed for an object",
         "The function ended with an error, so this object has no new output. A running controller keeps the last good "
         "output of this object; all others are rendered.",
         "Correct the template at the line that is named, or the object's field that it reads."},
    [FINDING_RENDERER_KILLED] =
        {"HT0203", FINDING_ERROR, "A template ended the renderer",
         "A fragment took more time or memory than templatingSettings.renderTimeout or renderMemoryBytes allow. It is "
         "left out until its object changes. When the time was up, the line that ran is named.",
         "Look for a loop that does not end, or for output that grows with the square of the input."},
    [FINDING_REFUSED_OBJECT] =
        {"HT0301", FINDING_ERROR, "HAProxy refuses the output of one object",
         "`haproxy -c` names a line that this object's template wrote. A running controller quarantines the fragment: "
         "its last accepted output stays in force, and all other objects go on.",
         "Correct the template at the line that is named, or the object's field that it writes."},
    [FINDING_REFUSED] =
        {"HT0302", FINDING_ERROR, "HAProxy refuses the configuration",
         "`haproxy -c` refuses output that belongs to no single object. A running controller keeps the whole last "
         "accepted configuration.",
         "Correct the template that wrote the line."},
    [FINDING_UNCHECKED] = {"HT0303", FINDING_ERROR, "The configuration could not be checked",
                           "`haproxy -c` could not be run, was killed at a limit, or died without a message.",
                           "Look at the message; give another --haproxy-binary if that program is no HAProxy."},
    [FINDING_TEMPLATE_WARNS] =
        {"HT0401", FINDING_WARNING, "A template warns about an object",
         "The template called out:warn(). In a cluster the owner of the object gets the same as a Warning event.",
         "Look at the message; docs/libraries.md lists the reasons of the built-in libraries."},
    [FINDING_KEY_LOST] =
        {"HT0402", FINDING_WARNING, "Another object has the same key, and wins",
         "Two objects write the same entry of a map, section or file, or want the same object in different forms. The "
         "older one wins (creationTimestamp, then namespace and name).",
         "Give one of the two another host, path or name."},
    [FINDING_NOT_FETCHED] =
        {"HT0403", FINDING_WARNING, "A URL that templates fetch has no content here",
         "The offline commands fetch nothing: what http:fetch() gives comes from manifests of kind FetchedURL, or from "
         "the httpResources of a test. A running controller fetches the URL.",
         "Add a FetchedURL with that url and a content to the sources; /debug/fetched of a controller has those that it "
         "knows."},
    [FINDING_FETCH_REFUSED] =
        {"HT0404", FINDING_ERROR, "A URL that templates fetch is not allowed",
         "templatingSettings.httpFetch.allow has no entry that the URL begins with. A running controller does not fetch "
         "it, and tells the template so.",
         "Add the beginning of the URL to templatingSettings.httpFetch.allow, or correct the URL."},
    [FINDING_TEST_FAILED] = {"HT0501", FINDING_ERROR, "A test failed",
                             "An assertion of validationTests does not hold for what was rendered.",
                             "Correct the template, or the assertion if the new output is right."},
    [FINDING_TESTS_WRONG] =
        {"HT0502", FINDING_ERROR, "The tests cannot be run",
         "validationTests cannot be read, or no test is there or was selected. A run that tests nothing is a failure.",
         "Correct the field at the line that is named; write a test, or choose another --run."},
    [FINDING_NO_CONTROLLER] =
        {"HT0601", FINDING_ERROR, "No controller was found",
         "No Pod of the namespace has the labels of a controller, and no address was given.",
         "Name the namespace (-n), the labels (--controller-selector), or an address (--address)."},
    [FINDING_POD] = {"HT0602", FINDING_ERROR, "A Pod does not run",
                     "The Pod is not in the phase Running, or one of its containers waits or has ended.",
                     "Look at kubectl describe pod, and at kubectl logs --previous."},
    [FINDING_UNREACHABLE] =
        {"HT0603", FINDING_ERROR, "A Pod or an address does not answer",
         "/readyz could not be asked: through the API server's proxy for a Pod, from here for an address.",
         "Grant \"get\" on pods/proxy, look at network policies and ports, or use kubectl port-forward and --address."},
    [FINDING_NOT_READY] = {"HT0604", FINDING_ERROR, "A controller or member is not ready",
                           "/readyz says why. HAProxy goes on with the last configuration that was accepted.",
                           "Follow the message; /debug/state and the log have more."},
    [FINDING_LEASE] = {"HT0605", FINDING_ERROR, "Nobody leads",
                       "Without a leader nothing is deployed; HAProxy serves on with what it has.",
                       "Look at the controllers' logs for \"lease\": the API server or a permission is missing."},
    [FINDING_REPLICAS] =
        {"HT0606", FINDING_WARNING, "Replicas have accepted different configurations",
         "Replicas that have seen the same objects render the same. For moments, while a change is on its way, they "
         "differ.",
         "Ask again; if it lasts, compare /debug/config of both."},
    [FINDING_OBJECTS] =
        {"HT0607", FINDING_WARNING, "Objects whose newest output is not in force",
         "HAProxy refuses what is rendered for them, a template fails, or an older object has their key. "
         "Their last good output stays in force.",
         "/debug/state lists them under problems; their owners have Events."},
    [FINDING_NOT_IN_FORCE] =
        {"HT0608", FINDING_ERROR, "The newest configuration is not in force",
         "It is wrong, its templates do not load, or its kinds are not listed yet. The one before it stays in force.",
         "Look at the resource's conditions, or at config in /debug/state; haptic validate says the place."},
    [FINDING_WATCH] = {"HT0609", FINDING_ERROR, "A kind is not listed",
                       "Nothing is rendered by templates that read it before it is listed completely.",
                       "Grant \"list\" and \"watch\" on it, or install its CustomResourceDefinition."},
    [FINDING_CERTIFICATES] = {"HT0610", FINDING_WARNING, "Certificates have ended, end soon, or cannot be used",
                              "A certificate that HAProxy cannot use is left out; one that has ended is served on.",
                              "Renew them; the owners of the Secrets have Events."},
    [FINDING_VERSION] = {"HT0611", FINDING_WARNING, "HAProxy runs in another version than the one that checks",
                         "What one version accepts another one may refuse; that is seen at the reload only.",
                         "Use the same image for the controller's HAProxy and the members'."},
    [FINDING_MEMBERS] = {"HT0612", FINDING_ERROR, "Members do not serve what was accepted",
                         "They refuse it, are not reached, or are still taking it.",
                         "/debug/state of the leader says the state and the problem of each member."},
};

const struct finding_code_row *finding_code_row(enum finding_code code)
{
    return &rows[code];
}

size_t finding_code_count(void)
{
    return ARRAY_LEN(rows);
}

const struct finding_code_row *finding_code_find(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcasecmp(rows[i].code, text) == 0)
            return &rows[i];
    return NULL;
}
