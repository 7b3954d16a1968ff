{{/* Parts of NOTES.txt that depend on the form of the installation. */}}

{{/* The third step: the address of HAProxy. */}}
{{- define "haptic.notes.ask" -}}
{{- $haproxy := .Values.haproxy -}}
{{- $service := printf "%s-haproxy" (include "haptic.fullname" .) -}}
{{- $curl := "curl -H 'Host: hello.example' http://ADDRESS" -}}
{{- if or $haproxy.hostNetwork $haproxy.hostPorts.http -}}
{{- $port := $haproxy.hostNetwork | ternary (include "haptic.port.http" .) (toString $haproxy.hostPorts.http) -}}
3. Send a request to the address of a node with a pod of HAProxy:

     kubectl get nodes -o wide
     {{ $curl }}{{ if ne $port "80" }}:{{ $port }}{{ end }}/
{{- else if eq $haproxy.service.type "LoadBalancer" -}}
3. Send a request to the external address of the Service "{{ $service }}", when the load balancer is ready:

     kubectl -n {{ .Release.Namespace }} get service {{ $service }}
     {{ $curl }}{{ if ne (int $haproxy.service.http.port) 80 }}:{{ $haproxy.service.http.port }}{{ end }}/
{{- else if eq $haproxy.service.type "NodePort" -}}
3. Send a request to the address of a node and the node port of the Service "{{ $service }}":

     kubectl -n {{ .Release.Namespace }} get service {{ $service }} -o jsonpath='{.spec.ports[?(@.name=="http")].nodePort}'
     {{ $curl }}:{{ $haproxy.service.http.nodePort | default "PORT" }}/
{{- else -}}
3. Send a request. The Service "{{ $service }}" has an address in the cluster only. From outside:

     kubectl -n {{ .Release.Namespace }} port-forward service/{{ $service }} 8080:{{ $haproxy.service.http.port }}
     curl -H 'Host: hello.example' http://localhost:8080/
{{- end }}
{{- end }}

{{/* The autoscaler that sets the number of pods. */}}
{{- define "haptic.notes.numbers" -}}
{{- range $component := list "controller" "haproxy" -}}
{{- $values := index $.Values $component -}}
{{- $what := eq $component "controller" | ternary "controllers" "pods of HAProxy" }}
{{- if $values.autoscaling.enabled }}

A HorizontalPodAutoscaler sets the number of {{ $what }}, from {{ $values.autoscaling.minReplicas }} to {{ $values.autoscaling.maxReplicas }}. It needs the cluster's metrics server.
{{- else if $values.keda.enabled }}

KEDA sets the number of {{ $what }}, from {{ $values.keda.minReplicas }} to {{ $values.keda.maxReplicas }}. KEDA must be installed in the cluster.
{{- end -}}
{{- end -}}
{{- if .Values.controller.verticalPodAutoscaler.enabled }}

The resources of the controllers are managed by a VerticalPodAutoscaler ({{ .Values.controller.verticalPodAutoscaler.updateMode }}). Its operator must be installed in the cluster.
{{- end -}}
{{- end }}

{{/* Limits of this form of the installation. */}}
{{- define "haptic.notes.cautions" -}}
{{- $haproxy := .Values.haproxy -}}
{{- with .Values.controller.webhook -}}
{{- if .enabled }}

The API server asks the controllers before it stores an Ingress{{ if .haproxyTemplateConfig.enabled }} or the release's HAProxyTemplateConfig{{ end }}. An object that they cannot check in time is {{ eq .failurePolicy "Fail" | ternary "refused" "accepted" }}.
Their answers: /debug/state under "webhook", and the metrics haptic_webhook_*. The webhook: kubectl get validatingwebhookconfigurations {{ include "haptic.webhookConfiguration" $ }}
{{- end -}}
{{- end -}}
{{- if or $haproxy.hostNetwork $haproxy.hostPorts.http $haproxy.hostPorts.https }}

Pods with ports of their node do not meet the Pod Security Standard "restricted": the namespace must allow them.
{{- end -}}
{{- if $haproxy.hostNetwork }}
NetworkPolicies have no effect on them: every client that reaches a node also reaches its ports 5555, 5557 and 8404.
{{- end -}}
{{- if not $haproxy.agent.nativeSidecar }}

The agent is not a native sidecar: HAProxy waits for it at its start, and both end at the same time, after {{ $haproxy.drainSeconds }} s.
{{- end -}}
{{- if not .Values.controller.configResource.enabled }}

The configuration is a file. A change is in force within about a minute.
{{- end -}}
{{- if not (or .Values.ingressClass.enabled .Values.controller.rbac.namespaces) }}

The IngressClass "{{ .Values.ingressClass.name }}" is not made by this chart (ingressClass.enabled).
{{- end -}}
{{- $fixed := not (or .Values.controller.autoscaling.enabled .Values.controller.keda.enabled) -}}
{{- $least := .Values.podDisruptionBudget.minAvailable | toString -}}
{{- if and .Values.podDisruptionBudget.enabled $fixed (gt (int .Values.replicaCount) 1) (regexMatch "^[0-9]+$" $least) -}}
{{- if ge (int $least) (int .Values.replicaCount) }}

CAUTION: podDisruptionBudget.minAvailable is {{ $least }} and replicaCount is {{ .Values.replicaCount }}: no node with a controller can be drained.
{{- end -}}
{{- end -}}
{{- end }}
