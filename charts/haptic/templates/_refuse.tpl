{{/* Values that cannot be together, each with a sentence that names them. */}}
{{- define "haptic.refuse" -}}
{{- $election := .Values.controller.config.controller.leader_election | default dict -}}
{{- if and (gt (int .Values.replicaCount) 1) (not $election.enabled) -}}
{{- fail (printf "replicaCount is %d and controller.config.controller.leader_election.enabled is false: without election run one replica" (int .Values.replicaCount)) -}}
{{- end -}}
{{- range $name := list "autoscaling" "keda" -}}
{{- range $component := list "controller" "haproxy" -}}
{{- $scaler := index $.Values $component $name -}}
{{- if gt (int $scaler.minReplicas) (int $scaler.maxReplicas) -}}
{{- fail (printf "%s.%s.minReplicas is %d, which is more than %s.%s.maxReplicas, %d" $component $name (int $scaler.minReplicas) $component $name (int $scaler.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- with index $.Values.controller $name -}}
{{- if and .enabled (not $election.enabled) -}}
{{- fail (printf "controller.%s.enabled is true and controller.config.controller.leader_election.enabled is false: without election run one replica" $name) -}}
{{- end -}}
{{- end -}}
{{- with index $.Values.haproxy $name -}}
{{- if and .enabled (ne $.Values.haproxy.kind "Deployment") -}}
{{- fail (printf "haproxy.%s.enabled is true and haproxy.kind is DaemonSet: only a Deployment is scaled" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $component := list "controller" "haproxy" -}}
{{- with index $.Values $component -}}
{{- if and .autoscaling.enabled .keda.enabled -}}
{{- fail (printf "%s.autoscaling.enabled and %s.keda.enabled are both true: one of them can set the number of pods" $component $component) -}}
{{- end -}}
{{- if and .keda.enabled (not .keda.triggers) -}}
{{- fail (printf "%s.keda.enabled is true and %s.keda.triggers is empty: KEDA needs at least one trigger" $component $component) -}}
{{- end -}}
{{- $resources := eq $component "controller" | ternary $.Values.resources .resources -}}
{{- if and .autoscaling.enabled (not (dig "requests" "cpu" "" $resources)) -}}
{{- fail (printf "%s.autoscaling.enabled is true and %s has no requests.cpu: %s.autoscaling.targetCPUUtilizationPercentage is a percentage of this request" $component (eq $component "controller" | ternary "resources" "haproxy.resources") $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.controller.verticalPodAutoscaler.enabled .Values.controller.autoscaling.enabled (ne .Values.controller.verticalPodAutoscaler.updateMode "Off") -}}
{{- fail "controller.autoscaling.enabled is true and controller.verticalPodAutoscaler.updateMode is not Off: both would react to the CPU usage, and each would undo the other's change" -}}
{{- end -}}
{{- if and .Values.controller.verticalPodAutoscaler.enabled .Values.controller.keda.enabled (ne .Values.controller.verticalPodAutoscaler.updateMode "Off") -}}
{{- range .Values.controller.keda.triggers -}}
{{- if has .type (list "cpu" "memory") -}}
{{- fail (printf "controller.keda.triggers has one of the type %s and controller.verticalPodAutoscaler.updateMode is not Off: both would react to the same usage, and each would undo the other's change" .type) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.haproxy.hostNetwork -}}
{{- if ne .Values.haproxy.kind "DaemonSet" -}}
{{- fail "haproxy.hostNetwork is true and haproxy.kind is Deployment: two pods on a node could not have the ports; use DaemonSet" -}}
{{- end -}}
{{- range $name, $port := .Values.haproxy.hostPorts -}}
{{- if and (gt (int $port) 0) (lt (int $port) 1024) -}}
{{- fail (printf "haproxy.hostNetwork is true and haproxy.hostPorts.%s is %d: HAProxy may not listen below 1024; without hostNetwork, the node forwards this port to the pod" $name (int $port)) -}}
{{- end -}}
{{- if has (int $port) (list 5555 5557 8404) -}}
{{- fail (printf "haproxy.hostNetwork is true and haproxy.hostPorts.%s is %d: the pod uses this port itself" $name (int $port)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "haptic.port.http" .) (include "haptic.port.https" .)) .Values.https.enabled -}}
{{- fail "haproxy.hostNetwork is true and HTTP and HTTPS would have the same port: set haproxy.hostPorts.http and haproxy.hostPorts.https" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.haproxy.agent.nativeSidecar (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "haproxy.agent.nativeSidecar is true and Kubernetes is %s: native sidecars need 1.30; set it to false" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and (ne .Values.haproxy.service.type "LoadBalancer") (or .Values.haproxy.service.loadBalancerClass .Values.haproxy.service.loadBalancerIP .Values.haproxy.service.loadBalancerSourceRanges) -}}
{{- fail (printf "haproxy.service.type is %s: haproxy.service.loadBalancerClass, haproxy.service.loadBalancerIP and haproxy.service.loadBalancerSourceRanges are for LoadBalancer" .Values.haproxy.service.type) -}}
{{- end -}}
{{- if and (eq .Values.haproxy.service.type "ClusterIP") (or .Values.haproxy.service.http.nodePort .Values.haproxy.service.https.nodePort (eq .Values.haproxy.service.externalTrafficPolicy "Local")) -}}
{{- fail "haproxy.service.type is ClusterIP: haproxy.service.http.nodePort, haproxy.service.https.nodePort and haproxy.service.externalTrafficPolicy Local are for NodePort and LoadBalancer" -}}
{{- end -}}
{{- if ne .Values.haproxy.kind "DaemonSet" -}}
{{- range $name, $port := .Values.haproxy.hostPorts -}}
{{- if $port -}}
{{- fail (printf "haproxy.hostPorts.%s is set and haproxy.kind is Deployment: two pods on a node could not have the port; use DaemonSet" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.haproxy.service -}}
{{- if $.Values.https.enabled -}}
{{- if eq (int .http.port) (int .https.port) -}}
{{- fail (printf "haproxy.service.http.port and haproxy.service.https.port are both %d" (int .http.port)) -}}
{{- end -}}
{{- if and .http.nodePort (eq (int .http.nodePort) (int .https.nodePort)) -}}
{{- fail (printf "haproxy.service.http.nodePort and haproxy.service.https.nodePort are both %d" (int .http.nodePort)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.haproxy.hostPorts.https (not .Values.https.enabled) -}}
{{- fail "haproxy.hostPorts.https is set and https.enabled is false: nothing would listen there" -}}
{{- end -}}
{{- if .Values.https.acme.directory -}}
{{- if not .Values.https.enabled -}}
{{- fail "https.acme.directory is set and https.enabled is false: the certificates are for HTTPS" -}}
{{- end -}}
{{- if ne .Values.haproxy.kind "Deployment" -}}
{{- fail "https.acme.directory is set and haproxy.kind is DaemonSet: HAProxy can only obtain certificates where there is one pod of it; use Deployment" -}}
{{- end -}}
{{- if gt (int .Values.haproxy.replicaCount) 1 -}}
{{- fail (printf "https.acme.directory is set and haproxy.replicaCount is %d: each pod would order its own certificates, and could not answer the challenges of the others; use 1" (int .Values.haproxy.replicaCount)) -}}
{{- end -}}
{{- range $name := list "autoscaling" "keda" -}}
{{- if (index $.Values.haproxy $name).enabled -}}
{{- fail (printf "https.acme.directory is set and haproxy.%s.enabled is true: HAProxy can only obtain certificates where there is one pod of it" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.https.http3 (not .Values.https.enabled) -}}
{{- fail "https.http3 is set and https.enabled is false: HTTP/3 needs the certificates of HTTPS" -}}
{{- end -}}
{{- if and .Values.https.secretNames (ne .Values.https.secrets "referenced") -}}
{{- fail (printf "https.secretNames is set and https.secrets is %s: Secrets are read by name only with referenced" .Values.https.secrets) -}}
{{- end -}}
{{- if and .Values.defaultSSLCertificate.secretName (not .Values.https.enabled) -}}
{{- fail "defaultSSLCertificate.secretName is set and https.enabled is false: no client would get that certificate" -}}
{{- end -}}
{{- if and .Values.controller.rbac.namespaces .Values.defaultSSLCertificate.namespace (not (has .Values.defaultSSLCertificate.namespace (append .Values.controller.rbac.namespaces .Release.Namespace))) -}}
{{- fail "defaultSSLCertificate.namespace is not among controller.rbac.namespaces: the controller may not read it" -}}
{{- end -}}
{{- if and .Values.defaultSSLCertificate.namespace (not .Values.defaultSSLCertificate.secretName) -}}
{{- fail "defaultSSLCertificate.namespace is set and defaultSSLCertificate.secretName is not: the certificate that the controllers make is in the namespace of the release" -}}
{{- end -}}
{{- with .Values.defaultSSLCertificate -}}
{{- if .certManager.enabled -}}
{{- if not $.Values.https.enabled -}}
{{- fail "defaultSSLCertificate.certManager.enabled is true and https.enabled is false: no client would get that certificate" -}}
{{- end -}}
{{- if not (and .certManager.issuerRef.name .certManager.dnsNames) -}}
{{- fail "defaultSSLCertificate.certManager.enabled is true: set the issuer in defaultSSLCertificate.certManager.issuerRef, and the names in defaultSSLCertificate.certManager.dnsNames" -}}
{{- end -}}
{{- if and .namespace (ne .namespace $.Release.Namespace) -}}
{{- fail "defaultSSLCertificate.certManager.enabled is true and defaultSSLCertificate.namespace is not the namespace of the release: cert-manager makes the Secret in the namespace of its Certificate" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $tls := .Values.haproxy.agent.tls -}}
{{- if and $tls.managed (or $tls.serverSecretName $tls.clientSecretName) -}}
{{- fail "haproxy.agent.tls.managed is true: haproxy.agent.tls.serverSecretName and haproxy.agent.tls.clientSecretName are for certificates that you provide" -}}
{{- end -}}
{{- if and (not $tls.managed) (not (and $tls.serverSecretName $tls.clientSecretName)) -}}
{{- fail "haproxy.agent.tls.managed is false: name the Secrets in haproxy.agent.tls.serverSecretName and haproxy.agent.tls.clientSecretName" -}}
{{- end -}}
{{- if and (not $tls.managed) (eq $tls.serverSecretName $tls.clientSecretName) -}}
{{- fail "haproxy.agent.tls.serverSecretName and haproxy.agent.tls.clientSecretName are the same: the agents would have the certificate of the controllers" -}}
{{- end -}}
{{- if le (int .Values.haproxy.terminationGracePeriodSeconds) (int .Values.haproxy.drainSeconds) -}}
{{- fail (printf "haproxy.terminationGracePeriodSeconds is %d and haproxy.drainSeconds is %d: it must be more, or connections that are open after these seconds are closed" (int .Values.haproxy.terminationGracePeriodSeconds) (int .Values.haproxy.drainSeconds)) -}}
{{- end -}}
{{- if and .Values.controller.rbac.namespaces .Values.controller.ingressStatus.publishNodes -}}
{{- fail "controller.rbac.namespaces is set and controller.ingressStatus.publishNodes, too: with Roles only, nodes cannot be read" -}}
{{- end -}}
{{- $published := .Values.controller.ingressStatus.publishService -}}
{{- if and .Values.controller.rbac.namespaces $published (not (has (splitList "/" $published | first) (append .Values.controller.rbac.namespaces .Release.Namespace))) -}}
{{- fail "the namespace of controller.ingressStatus.publishService is not among controller.rbac.namespaces: the controller may not read it" -}}
{{- end -}}
{{- if .Values.controller.rbac.namespaces -}}
{{- range .Values.ingressClass.further -}}
{{- if not .name -}}
{{- fail (printf "controller.rbac.namespaces is set and an entry of ingressClass.further has no name (controllerName %s): with Roles only, IngressClasses cannot be read" .controllerName) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.controller.rbac.namespaces .Values.ingressClass.default -}}
{{- fail "controller.rbac.namespaces is set and ingressClass.default is true: with Roles only, IngressClasses cannot be read" -}}
{{- end -}}
{{- with .Values.controller.webhook -}}
{{- if and .haproxyTemplateConfig.enabled (not .enabled) -}}
{{- fail "controller.webhook.haproxyTemplateConfig.enabled is true and controller.webhook.enabled is false: there would be no webhook" -}}
{{- end -}}
{{- if and .haproxyTemplateConfig.enabled (not $.Values.controller.configResource.enabled) -}}
{{- fail "controller.webhook.haproxyTemplateConfig.enabled is true and controller.configResource.enabled is false: the configuration would be no resource" -}}
{{- end -}}
{{- if and .haproxyTemplateConfig.enabled (not .haproxyTemplateConfig.token) -}}
{{- fail "controller.webhook.haproxyTemplateConfig.enabled is true and controller.webhook.haproxyTemplateConfig.token is empty: set 16 or more random letters and digits (openssl rand -hex 16)" -}}
{{- end -}}
{{- if and .enabled .secretName (not .caBundle) (not .annotations) -}}
{{- fail "controller.webhook.secretName is set and neither controller.webhook.caBundle nor controller.webhook.annotations is: the API server could not verify the webhook" -}}
{{- end -}}
{{- if and .caBundle (not .secretName) -}}
{{- fail "controller.webhook.caBundle is set and controller.webhook.secretName is not: without controller.webhook.secretName, the controllers write the authority themselves" -}}
{{- end -}}
{{- if and .enabled $.Values.controller.rbac.namespaces (not .secretName) -}}
{{- fail "controller.webhook.enabled is true and controller.rbac.namespaces is set: with Roles only, the controllers cannot write caBundle: set controller.webhook.secretName and controller.webhook.caBundle" -}}
{{- end -}}
{{- end -}}
{{- range .Values.ingressClass.further -}}
{{- if and .create (not .name) -}}
{{- fail "ingressClass.further: an entry with create has no name: a class that the chart creates needs a name" -}}
{{- end -}}
{{- if and .create (eq .name $.Values.ingressClass.name) -}}
{{- fail "ingressClass.further: an entry with create has the name of ingressClass.name, which the chart creates already" -}}
{{- end -}}
{{- end -}}
{{- end }}
