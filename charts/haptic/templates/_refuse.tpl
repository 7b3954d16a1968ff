{{/* Values that cannot be together, each with a sentence that names them. */}}
{{- define "haptic.refuse" -}}
{{- $election := .Values.controller.config.controller.leader_election | default dict -}}
{{- if and (gt (int .Values.replicaCount) 1) (not $election.enabled) -}}
{{- fail (printf "replicaCount is %d and controller.config.controller.leader_election.enabled is false: without election run one replica" (int .Values.replicaCount)) -}}
{{- end -}}
{{- if and (ne .Values.haproxy.service.type "LoadBalancer") (or .Values.haproxy.service.loadBalancerClass .Values.haproxy.service.loadBalancerSourceRanges) -}}
{{- fail (printf "haproxy.service.type is %s: haproxy.service.loadBalancerClass and loadBalancerSourceRanges are for LoadBalancer" .Values.haproxy.service.type) -}}
{{- end -}}
{{- if and (eq .Values.haproxy.service.type "ClusterIP") (or .Values.haproxy.service.http.nodePort .Values.haproxy.service.https.nodePort (eq .Values.haproxy.service.externalTrafficPolicy "Local")) -}}
{{- fail "haproxy.service.type is ClusterIP: haproxy.service.http.nodePort, https.nodePort and externalTrafficPolicy Local are for NodePort and LoadBalancer" -}}
{{- end -}}
{{- if and (or .Values.haproxy.hostPorts.http .Values.haproxy.hostPorts.https) (ne .Values.haproxy.kind "DaemonSet") -}}
{{- fail "haproxy.hostPorts is set and haproxy.kind is Deployment: two pods on a node could not have the port; use DaemonSet" -}}
{{- end -}}
{{- if and .Values.haproxy.autoscaling.enabled (ne .Values.haproxy.kind "Deployment") -}}
{{- fail "haproxy.autoscaling.enabled is true and haproxy.kind is DaemonSet: only a Deployment is scaled" -}}
{{- end -}}
{{- if gt (int .Values.haproxy.autoscaling.minReplicas) (int .Values.haproxy.autoscaling.maxReplicas) -}}
{{- fail "haproxy.autoscaling.minReplicas is more than haproxy.autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.https.http3 (not .Values.https.enabled) -}}
{{- fail "https.http3 is set and https.enabled is false" -}}
{{- end -}}
{{- if and .Values.defaultSSLCertificate.secretName (not .Values.https.enabled) -}}
{{- fail "defaultSSLCertificate.secretName is set and https.enabled is false" -}}
{{- end -}}
{{- if and .Values.controller.rbac.namespaces .Values.defaultSSLCertificate.namespace (not (has .Values.defaultSSLCertificate.namespace (append .Values.controller.rbac.namespaces .Release.Namespace))) -}}
{{- fail "defaultSSLCertificate.namespace is not among controller.rbac.namespaces: the controller may not read it" -}}
{{- end -}}
{{- if and .Values.defaultSSLCertificate.namespace (not .Values.defaultSSLCertificate.secretName) -}}
{{- fail "defaultSSLCertificate.namespace is set and defaultSSLCertificate.secretName is not" -}}
{{- end -}}
{{- $tls := .Values.haproxy.agent.tls -}}
{{- if and $tls.managed (or $tls.serverSecretName $tls.clientSecretName) -}}
{{- fail "haproxy.agent.tls.managed is true: serverSecretName and clientSecretName are for certificates that somebody else makes" -}}
{{- end -}}
{{- if and (not $tls.managed) (not (and $tls.serverSecretName $tls.clientSecretName)) -}}
{{- fail "haproxy.agent.tls.managed is false: name the Secrets in haproxy.agent.tls.serverSecretName and clientSecretName" -}}
{{- end -}}
{{- if and (not $tls.managed) (eq $tls.serverSecretName $tls.clientSecretName) -}}
{{- fail "haproxy.agent.tls.serverSecretName and clientSecretName are the same: an agent would have the controllers' certificate" -}}
{{- end -}}
{{- if le (int .Values.haproxy.terminationGracePeriodSeconds) (int .Values.haproxy.drainSeconds) -}}
{{- fail "haproxy.terminationGracePeriodSeconds must be more than haproxy.drainSeconds" -}}
{{- end -}}
{{- if and .Values.controller.rbac.namespaces .Values.controller.ingressStatus.publishNodes -}}
{{- fail "controller.rbac.namespaces is set and controller.ingressStatus.publishNodes, too: with Roles only, nodes cannot be read" -}}
{{- end -}}
{{- $published := .Values.controller.ingressStatus.publishService -}}
{{- if and .Values.controller.rbac.namespaces $published (not (has (splitList "/" $published | first) (append .Values.controller.rbac.namespaces .Release.Namespace))) -}}
{{- fail "the namespace of controller.ingressStatus.publishService is not among controller.rbac.namespaces: the controller may not read it" -}}
{{- end -}}
{{- if and .Values.controller.rbac.namespaces .Values.ingressClass.default -}}
{{- fail "controller.rbac.namespaces is set and ingressClass.default is true: with Roles only, IngressClasses cannot be read" -}}
{{- end -}}
{{- end }}
